from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize

from tests.support.constant_bundle import write_constant_bundle
from tests.support.dot_faces import MeshedDots
from tests.support.known_methods import Z_MM, Known, disturbed
from tests.support.made_samples import TOPOLOGY, make_samples, write
from trg.geometry.camera import Camera
from trglab.cli.evaluate import evaluate as eval_verb
from trglab.cli.evaluate_options import MeasurementOptions
from trglab.datasets import biwi
from trglab.datasets.view_store import ViewStoreSettings, write_views
from trglab.evaluation import protocols
from trglab.evaluation.evaluate import evaluate
from trglab.evaluation.ground_truth import ground_truth_from_samples
from trglab.evaluation.prediction import LabelledImages
from trglab.evaluation.protocols import PROTOCOLS, SEVEN_LANDMARKS, protocol
from trglab.evaluation.reference_alignment import (
    ReferenceFace,
    align_origins,
    geometric_median,
    origin_shift,
    read_reference,
)
from trglab.evaluation.report import write_report

SEVEN = TOPOLOGY.landmarks68[list(SEVEN_LANDMARKS)]
TEMPLATE = ReferenceFace("the template", TOPOLOGY.template_m[SEVEN].astype(np.float64))
OTHER_ORIGIN_M = np.array([0.012, -0.031, 0.084])

places = arrays(np.float64, (7, 3), elements=st.floats(-0.2, 0.2))


def with_origin_at(sample, origin_m):
    """The same head in a head frame whose origin lies at ``origin_m`` of the old one."""
    return replace(
        sample,
        vertices_m=(sample.vertices_m - origin_m).astype(np.float32),
        translation_m=sample.translation_m + sample.rotation @ origin_m,
    )


def images_of(samples, name="arkitface") -> LabelledImages:
    return LabelledImages(samples, name, seven_vertices=lambda: SEVEN)


@settings(max_examples=20)
@given(places, st.integers(0, 6))
def test_the_geometric_median_has_the_least_sum_of_distances(points, repeated) -> None:
    points = np.concatenate([points, points[[repeated]]])
    median = geometric_median(points)

    def total(place):
        return np.linalg.norm(points - place, axis=-1).sum()

    best = min(
        minimize(total, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).fun
        for start in (points.mean(0), median)
    )
    assert total(median) <= best + 1e-8


@settings(max_examples=100)
@given(places, arrays(np.float64, 3, elements=st.floats(-0.3, 0.3)))
def test_a_shifted_origin_is_undone_exactly(face_m, origin_m) -> None:
    back = origin_shift(face_m - origin_m, face_m)
    np.testing.assert_allclose(back.shift_m, origin_m, atol=1e-12)
    assert back.residual_m < 1e-12


def test_the_same_heads_in_another_head_frame_get_the_same_labels() -> None:
    """Each person's face differs from the reference; the alignment forgets where its frame was."""
    samples = make_samples(8)
    moved = [with_origin_at(sample, OTHER_ORIGIN_M) for sample in samples]
    (truth, first), (other, second) = (
        align_origins(ground_truth_from_samples(each), images_of(each), TEMPLATE)
        for each in (samples, moved)
    )
    np.testing.assert_allclose(other.translation_m, truth.translation_m, atol=1e-7)
    np.testing.assert_allclose(np.stack(other.points_m), np.stack(truth.points_m), atol=1e-6)
    np.testing.assert_array_equal(other.rotation, truth.rotation)
    assert set(first.by_subject) == {"7", "8", "9", "10"}
    for name, shift in first.by_subject.items():
        again = second.by_subject[name]
        np.testing.assert_allclose(again.shift_m - shift.shift_m, OTHER_ORIGIN_M, atol=1e-6)
        assert again.residual_m == pytest.approx(shift.residual_m, abs=1e-6)
        assert 0.0005 < shift.residual_m < 0.01  # the vertices have noise of 2 mm


def test_the_head_stays_where_it_is_in_the_camera() -> None:
    samples = [with_origin_at(sample, OTHER_ORIGIN_M) for sample in make_samples(4)]
    truth = ground_truth_from_samples(samples)
    moved, _ = align_origins(truth, images_of(samples), TEMPLATE)
    for row in range(4):
        before, after = (
            each.points_m[row] @ each.rotation[row].T + each.translation_m[row]
            for each in (truth, moved)
        )
        np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.fixture
def biwi_in_another_frame(tmp_path, monkeypatch) -> tuple[list, Path]:
    """BIWI's folder whose head frame has another origin, and the same samples in ours."""
    samples = make_samples(6, Camera(350.0, 345.0, 165.5, 114.25, 320, 240))
    people = {sample.identity: sample.vertices_m for sample in reversed(samples)}
    samples = [replace(sample, vertices_m=people[sample.identity]) for sample in samples]
    folder = tmp_path / "BIWI"
    write([with_origin_at(sample, OTHER_ORIGIN_M) for sample in samples], folder, "biwi")
    numbers = dict(zip(SEVEN_LANDMARKS, SEVEN.tolist(), strict=True))
    monkeypatch.setattr(protocols, "LANDMARK_VERTICES", numbers)
    monkeypatch.setattr(protocols, "MESH_VERTEX_COUNT", 1220)
    return samples, folder


@pytest.mark.parametrize("change", [lambda estimate: estimate, disturbed])
def test_the_truth_scores_zero_and_a_known_error_itself(
    change, biwi_in_another_frame, tmp_path
) -> None:
    """Truth in the frame of the reference: by their own faces, so that no residual is left."""
    samples, folder = biwi_in_another_frame
    rules = protocol("biwi")
    images = rules.read(folder)
    shifts = align_origins(
        ground_truth_from_samples(
            [images.samples[row] for row in range(6)],
            [np.float32(images.points_m(images.samples[row])) for row in range(6)],
        ),
        images,
        TEMPLATE,
    )[1]

    def label(sample):
        row = 2 * (int(sample.identity) - 1) + int(sample.name[-5:])
        own = with_origin_at(samples[row], OTHER_ORIGIN_M)
        return with_origin_at(own, -shifts.by_subject[sample.identity].shift_m)

    method = Known(change, label)
    report, _, run = evaluate(rules, images, method, tmp_path / "out", reference=TEMPLATE)
    error_mm = 0.0 if change is not disturbed else Z_MM
    np.testing.assert_allclose(report.scores.errors["tz_mm"], error_mm, atol=1e-3)
    np.testing.assert_allclose(report.scores.errors["mae_t_mm"], error_mm / 3, atol=1e-3)
    if change is not disturbed:
        np.testing.assert_allclose(report.scores.errors["add_mm"], 0.0, atol=1e-3)
    assert report.as_is["mae_t_mm"].mean > 20.0
    assert "head origins aligned to the template" in report.title
    assert [row.method for row in report.protocol.published][-1] == "TRGv2"
    assert report.protocol.published[-1].means["mae_t_mm"] == 11.33
    assert run.ground_truth.sha256() != report.metadata.dataset_sha256

    write_report(tmp_path / "out", report)
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(stored["origin_alignment"]["by_subject"]) == {"01", "02", "03"}
    expected_mm = 1000.0 * OTHER_ORIGIN_M
    np.testing.assert_allclose(
        stored["origin_alignment"]["mean_shift_mm"], expected_mm, atol=2.0
    )  # the faces have noise of 2 mm
    assert 0.5 < stored["origin_alignment"]["mean_residual_mm"] < 10.0
    assert stored["figures_as_is"]["mae_t_mm"]["mean"] > 20.0
    text = (tmp_path / "out" / "report.md").read_text()
    assert "mean, origins as in the data set" in text
    assert "mean, head frames aligned" in text
    assert "| 01 | " in text


def test_any_data_set_or_bundle_is_a_reference(biwi_in_another_frame, tmp_path) -> None:
    _, folder = biwi_in_another_frame
    write_constant_bundle(tmp_path / "ours.trg", TOPOLOGY, (0.0, 0.0, 0.5))
    ours = read_reference(tmp_path / "ours.trg")
    np.testing.assert_allclose(ours.points_m, TEMPLATE.points_m, atol=1e-7)
    assert ours.label == "the mean face of constant"
    people = make_samples(12, seed=5)
    write(people, tmp_path / "ARKitFace", "arkitface", split="train")
    arkit = read_reference(tmp_path / "ARKitFace")
    expected_m = np.mean([sample.vertices_m[SEVEN] for sample in people], axis=0)
    np.testing.assert_allclose(arkit.points_m, expected_m, atol=1e-6)
    of_biwi = read_reference(folder)
    assert origin_shift(of_biwi.points_m, ours.points_m).shift_m == pytest.approx(
        OTHER_ORIGIN_M, abs=2e-3
    )
    settings_ = ViewStoreSettings(48, image_format="raw")
    write_views(tmp_path / "pack", partial(MeshedDots, 0), settings_, indices=range(4))
    assert read_reference(tmp_path / "pack").points_m.shape == (7, 3)
    with pytest.raises(FileNotFoundError, match="expected a weight bundle"):
        read_reference(tmp_path / "nothing")


def test_biwis_landmarks_are_those_of_its_own_mesh_or_of_a_stand_in(tmp_path, monkeypatch) -> None:
    write(make_samples(1), tmp_path, "biwi")
    images = PROTOCOLS["biwi"].read(tmp_path)
    with pytest.raises(ValueError, match="expected meshes of 6918 vertices"):
        images.seven_vertices()
    monkeypatch.setattr(protocols, "MESH_VERTEX_COUNT", 1220)
    found = images.seven_vertices().tolist()
    assert found == [429, 265, 4574, 4713, 2812, 2532, 6672]
    assert len(biwi.LANDMARK_VERTICES) == 7


def test_data_sets_without_metric_poses_are_refused() -> None:
    samples = [replace(s, translation_m=None, vertices_m=None) for s in make_samples(2)]
    with pytest.raises(ValueError, match="expected metric poses and a mesh"):
        align_origins(ground_truth_from_samples(samples), images_of(samples), TEMPLATE)
    samples = make_samples(2)
    with pytest.raises(ValueError, match="whose seven landmarks are known"):
        align_origins(ground_truth_from_samples(samples), LabelledImages(samples, "mine"), TEMPLATE)


def test_eval_aligns_the_origins_of_biwi_to_the_bundles(
    biwi_in_another_frame, tmp_path, capsys
) -> None:
    _, folder = biwi_in_another_frame
    write_constant_bundle(tmp_path / "ours.trg", TOPOLOGY, (0.0, 0.0, 0.7))
    common = {"bundle": tmp_path / "ours.trg", "boxes": "truth"}
    eval_verb(
        "biwi",
        folder,
        options=MeasurementOptions(**common, align="reference"),
        out=tmp_path / "out",
        plots=False,
    )
    printed = capsys.readouterr().out
    assert "aligned to the mean face of constant" in printed
    assert "mean, origins as in the data set" in printed
    predictions = tmp_path / "out" / "predictions.npz"
    for options, message in (
        (MeasurementOptions(predictions=predictions, align="reference"), "expected --reference"),
        (MeasurementOptions(**common, reference=folder), "expected --align reference"),
    ):
        with pytest.raises(ValueError, match=message):
            eval_verb("biwi", folder, options=options, out=tmp_path / "again", plots=False)
