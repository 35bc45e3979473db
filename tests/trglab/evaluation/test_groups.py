from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.constant_bundle import write_constant_bundle
from tests.support.dot_faces import TOPOLOGY, MeshedDots
from tests.support.known_methods import Known
from tests.support.made_samples import make_samples
from trglab.cli.evaluate import evaluate as eval_verb
from trglab.cli.evaluate_options import HoldoutOptions, MeasurementOptions
from trglab.datasets.sample import Traits
from trglab.datasets.sample_store import SampleStore, write_samples
from trglab.datasets.view_store import ViewStore, ViewStoreSettings, write_views
from trglab.evaluation.groups import GROUPINGS, group_names, group_tables
from trglab.evaluation.prediction import LabelledImages, run_on_dataset
from trglab.evaluation.scores import score

PEOPLE = (
    Traits(8.0, "woman", 60.0),
    Traits(30.0, "man", 45.0),
    Traits(30.0, "woman", -40.0),
    Traits(70.0, "man", 0.0),
)


class TraitedDots(MeshedDots):
    """Dot faces of people whose traits are known; every second image has another person."""

    def sample(self, index):
        return replace(
            super().sample(index), identity=str(index % 4), traits=PEOPLE[index % len(PEOPLE)]
        )


def scored(samples, change=lambda estimate: estimate):
    run = run_on_dataset(LabelledImages(samples, "synthetic"), Known(change))
    return score(run.predictions, run.ground_truth), run.ground_truth


def with_traits(count=16):
    samples = make_samples(count)
    return [
        replace(sample, identity=str(row % 8), traits=PEOPLE[row % 4], name=f"made/{row}")
        for row, sample in enumerate(samples)
    ]


def rows_of(table):
    return {row.label: dict(zip(table.headings, row.cells, strict=True)) for row in table.rows}


def test_a_group_has_the_errors_of_its_images_alone() -> None:
    samples = with_traits()
    women = [sample for sample in samples if sample.traits.sex == "woman"]
    turned = {sample.rotation.tobytes() for sample in women}

    def change(estimate):
        if estimate.rotation.tobytes() not in turned:
            return estimate
        about_y = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
        return estimate._replace(rotation=estimate.rotation @ about_y)

    scores, truth = scored(samples, change)
    tables = dict(zip(GROUPINGS, group_tables(scores, truth, list(GROUPINGS)), strict=True))
    sex = rows_of(tables["sex"])
    assert sex["woman"]["GE °"] == "90.00 (90.00 to 90.00)"
    assert sex["man"]["GE °"] == "0.00 (0.00 to 0.00)"
    assert (sex["woman"]["images"], sex["woman"]["people"]) == ("8", "4")
    age = rows_of(tables["age"])
    assert list(age) == ["0 to 17 years", "17 to 35 years", "from 65 years"]
    assert age["17 to 35 years"]["images"] == "8"
    skin = rows_of(tables["skin"])
    assert list(skin) == ["very light", "light", "brown", "dark"]
    assert skin["dark"]["GE °"].startswith("90.00")
    for name in ("yaw", "distance"):
        assert sum(int(row["images"]) for row in rows_of(tables[name]).values()) <= 16
    assert set(rows_of(tables["occlusion"])) <= {
        "90 to 100 % of the landmarks visible", "70 to 90 %", "50 to 70 %", "below 50 %",
    }  # fmt: skip


def test_a_missed_face_is_the_worst_of_its_group() -> None:
    samples = with_traits()
    scores, truth = scored(samples, lambda estimate: None)
    (table,) = group_tables(scores, truth, ["sex"])
    assert rows_of(table)["man"]["GE °"] == "none (none to none)"
    assert rows_of(table)["man"]["not found"] == "8"


def test_groups_that_are_not_recorded_are_refused() -> None:
    samples = [replace(sample, landmarks68_visible=None) for sample in make_samples(4)]
    scores, truth = scored(samples)
    for name in ("age", "sex", "skin"):
        with pytest.raises(ValueError, match="record who was drawn, found none"):
            group_tables(scores, truth, [name])
    with pytest.raises(ValueError, match="labels of visible landmarks"):
        group_tables(scores, truth, ["occlusion"])
    with pytest.raises(ValueError, match=r"--by: expected some of .*, got \['height'\]"):
        group_names("yaw, height")


def test_stores_keep_who_was_drawn_and_old_ones_stay_readable(tmp_path: Path) -> None:
    settings = ViewStoreSettings(48, image_format="raw")
    write_views(tmp_path / "views", TraitedDots, settings, indices=range(5))
    write_samples(tmp_path / "samples", TraitedDots, range(5))
    for store in (ViewStore(tmp_path / "views"), SampleStore(tmp_path / "samples")):
        assert [store[index].traits for index in range(5)] == [*PEOPLE, PEOPLE[0]]
    write_views(tmp_path / "old", MeshedDots, settings, indices=range(2))
    assert ViewStore(tmp_path / "old")[1].traits is None


def test_eval_prints_and_writes_the_groups(tmp_path: Path, capsys) -> None:
    write_constant_bundle(tmp_path / "ours.trg", TOPOLOGY, (0.0, 0.0, 0.5))
    settings = ViewStoreSettings(48, image_format="raw")
    write_views(tmp_path / "pack", TraitedDots, settings, indices=range(8))
    out = tmp_path / "out"
    eval_verb(
        "synthetic",
        options=MeasurementOptions(tmp_path / "ours.trg", by="age, sex"),
        holdout=HoldoutOptions(pack=tmp_path / "pack"),
        out=out,
        plots=False,
    )
    printed = capsys.readouterr().out
    assert "By age: medians (95 % over people)" in printed
    assert "By sex" in printed
    assert "17 to 35 years" in (out / "by-age.md").read_text()
    assert (out / "by-sex.csv").read_text().startswith(",images,people,not found,GE")
