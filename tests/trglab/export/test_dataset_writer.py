"""Folders in the formats of data sets: interruptions, and what writing refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.support.made_samples import (
    CAMERA,
    LAYOUTS,
    TOPOLOGY,
    as_fitted,
    files_of,
    make_samples,
    write,
)
from trg.geometry.rotations import geodesic_angle_deg, rotation_from_euler
from trglab.datasets.aflw2000 import AFLW2000
from trglab.datasets.arkitface import ARKitFace
from trglab.datasets.biwi import BIWI
from trglab.datasets.completion import complete_name, is_complete, progress_name
from trglab.datasets.w300lp import W300LP
from trglab.export.dataset_writer import write_dataset


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_interrupted_folder_is_refused_until_resumed(tmp_path, layout):
    samples = make_samples(5)

    class BreaksOff(list):
        def __getitem__(self, index):
            if index == 3:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    with pytest.raises(KeyboardInterrupt):
        write(BreaksOff(samples), tmp_path / "a", layout)
    assert not is_complete(tmp_path / "a")
    with pytest.raises(ValueError, match="half written"):
        {
            "arkitface": ARKitFace,
            "300wlp": W300LP,
            "aflw2000": AFLW2000,
            "biwi": BIWI,
        }[layout](tmp_path / "a")
    with pytest.raises(FileExistsError, match="--resume"):
        write(samples, tmp_path / "a", layout)
    # The kill may also have cut off the last line of the list.
    progress = tmp_path / "a" / progress_name("train" if layout == "arkitface" else None)
    progress.write_bytes(progress.read_bytes()[:-4])
    assert write(samples, tmp_path / "a", layout, resume=True) == 5
    assert is_complete(tmp_path / "a")

    write(samples, tmp_path / "whole", layout)
    resumed, whole = files_of(tmp_path / "a"), files_of(tmp_path / "whole")
    assert resumed.keys() == whole.keys()
    for path, content in whole.items():
        if path.suffix != ".mat":  # their headers hold the time
            assert resumed[path] == content, path


def test_resume_requests_only_missing_samples(tmp_path):
    samples = make_samples(4)
    asked = []

    class Lazy:
        def __len__(self):
            return 4

        def __getitem__(self, index):
            asked.append(index)
            return samples[index]

    write(samples[:2], tmp_path / "a", "biwi")
    (tmp_path / "a" / complete_name()).unlink()
    assert write(Lazy(), tmp_path / "a", "biwi", resume=True) == 4
    assert asked == [2, 3]
    assert json.loads((tmp_path / "a" / complete_name()).read_text())["count"] == 4
    assert write(Lazy(), tmp_path / "a", "biwi", resume=True) == 4
    assert asked == [2, 3]


def test_resume_refuses_other_settings_and_foreign_folders(tmp_path):
    write(make_samples(1), tmp_path / "a", "300wlp")
    with pytest.raises(ValueError, match="begun with"):
        write(make_samples(1), tmp_path / "a", "biwi", resume=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "holiday.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="another folder"):
        write(make_samples(1), tmp_path / "b", "biwi", resume=True)
    with pytest.raises(ValueError, match="layout: expected one of"):
        write(make_samples(1), tmp_path / "c", "coco")
    with pytest.raises(ValueError, match="topology"):
        write_dataset(make_samples(1), tmp_path / "d", "biwi")


def test_samples_without_labels_are_refused(tmp_path):
    bare = replace(make_samples(1)[0], rotation=None)
    for layout in ("arkitface", "biwi", "300wlp", "aflw2000"):
        with pytest.raises(ValueError, match="needs"):
            write([bare], tmp_path / layout, layout)


def test_arkitface_splits_share_a_folder(tmp_path):
    train, test = make_samples(2), make_samples(3, seed=5)
    write(train, tmp_path, "arkitface", split="train")
    with pytest.raises(FileExistsError, match="--resume"):
        write(train, tmp_path, "arkitface", split="train")
    write(test[:2], tmp_path, "arkitface", split="test")
    (tmp_path / complete_name("test")).unlink()
    with pytest.raises(ValueError, match="half written"):
        ARKitFace(tmp_path, "train")
    assert write(test, tmp_path, "arkitface", split="test", resume=True) == 3
    assert is_complete(tmp_path)
    for split, samples in (("train", train), ("test", test)):
        read = list(ARKitFace(tmp_path, split))
        assert len(read) == len(samples)
        for got, made in zip(read, samples, strict=True):
            np.testing.assert_allclose(got.rotation, made.rotation, atol=1e-12)
    with pytest.raises(FileExistsError, match="another"):
        write(train, tmp_path, "biwi")


def test_arkitface_splits_need_one_camera(tmp_path):
    write(make_samples(1), tmp_path, "arkitface", split="train")
    other = replace(CAMERA, fx=500.0)
    with pytest.raises(ValueError, match="one projection matrix"):
        write(make_samples(1, other), tmp_path, "arkitface", split="test")


def test_biwi_writes_the_neutral_head(tmp_path):
    samples = make_samples(3)
    write(samples, tmp_path, "biwi", neutral_m=lambda index: TOPOLOGY.template_m + index)
    meshes = [BIWI(tmp_path).mesh(sequence).vertices_m for sequence in ("01", "02")]
    np.testing.assert_allclose(meshes[0], TOPOLOGY.template_m, atol=1e-8)
    np.testing.assert_allclose(meshes[1], TOPOLOGY.template_m + 2, atol=1e-8)


def test_rotation_survives_every_layout(tmp_path):
    """One strongly turned head through all formats: frames and transposes cannot cancel."""
    sample = replace(
        make_samples(1)[0], rotation=rotation_from_euler(np.array([50.0, -25.0, 35.0]))
    )
    for layout in LAYOUTS:
        write([sample], tmp_path / layout, layout)
    read = [
        ARKitFace(tmp_path / "arkitface")[0],
        BIWI(tmp_path / "biwi")[0],
    ]
    for got in read:
        assert geodesic_angle_deg(got.rotation, sample.rotation) < 1e-6
    fitted = as_fitted(sample)
    assert geodesic_angle_deg(fitted.rotation, sample.rotation) > 1.0
    for got in (
        W300LP(tmp_path / "300wlp", rotations=True)[0],
        AFLW2000(tmp_path / "aflw2000")[0],
    ):
        assert geodesic_angle_deg(got.rotation, fitted.rotation) < 1e-6
