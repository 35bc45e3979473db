"""Face Synthetics and SynthFace, from folders as their documentation describes them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from trg.geometry.crop import face_box
from trglab.datasets.catalogue import DatasetFolder
from trglab.datasets.check import check_data_set
from trglab.datasets.microsoft_faces import FaceSynthetics, SynthFace
from trglab.datasets.view_store import ViewStore, ViewStoreSettings, write_views
from trglab.training.overrides import with_overrides
from trglab.training.recipes import finite_dataset, recipe

POINTS = np.random.default_rng(0).uniform(30.0, 90.0, (70, 2))
IMAGE = np.random.default_rng(1).integers(0, 255, (128, 128, 3), dtype=np.uint8)


def write_face_synthetics(folder):
    folder.mkdir()
    for name in ("000000", "000001"):
        Image.fromarray(IMAGE).save(folder / f"{name}.png")
        Image.fromarray(IMAGE[..., 0]).save(folder / f"{name}_seg.png")
        np.savetxt(folder / f"{name}_ldmks.txt", POINTS, fmt="%.6f")
    return folder


def write_synth_face(folder):
    folder.mkdir()
    for frame in range(2):
        stem = f"0000012_{frame:03d}"
        Image.fromarray(IMAGE).save(folder / f"img_{stem}.jpg", quality=95)
        metadata = {
            "camera": {
                "world_to_camera": np.eye(4).tolist(),
                "camera_to_image": [[300.0, 0.0, 63.5], [0.0, 310.0, 60.5], [0.0, 0.0, 1.0]],
                "resolution": [128, 128],
            },
            "head_pose": np.eye(3).tolist(),
            "landmarks": {"2D": POINTS.tolist()},
        }
        (folder / f"metadata_{stem}.json").write_text(json.dumps(metadata))
    return folder


def test_both_give_the_68_points_at_our_pixel_centres(tmp_path):
    first = FaceSynthetics(write_face_synthetics(tmp_path / "fs"))[1]
    second = SynthFace(write_synth_face(tmp_path / "sf"))[1]
    for sample in (first, second):
        np.testing.assert_allclose(sample.landmarks68_px, POINTS[:68] + 0.5, atol=1e-5)
        np.testing.assert_allclose(sample.box_xyxy, face_box(POINTS[:68] + 0.5), atol=1e-4)
        assert sample.rotation is None
        assert sample.vertices_m is None
    np.testing.assert_array_equal(first.image, IMAGE)
    assert first.camera.source == "assumed"
    assert (second.camera.fx, second.camera.fy) == (300.0, 310.0)
    assert (second.camera.cx, second.camera.cy) == (64.0, 61.0)
    assert (first.identity, second.identity) == ("000001", "0000012")
    assert second.name == "synthface/0000012_001"


@pytest.mark.parametrize("name", ["facesynthetics", "synthface"])
def test_they_are_checked_packed_and_give_partial_labels(name, tmp_path):
    write = write_face_synthetics if name == "facesynthetics" else write_synth_face
    data_set = DatasetFolder(name, str(write(tmp_path / "data")))
    report = check_data_set(data_set)
    assert (report.listed, report.readable, report.is_valid) == (2, 2, True)
    write_views(tmp_path / "pack", data_set.open, ViewStoreSettings(48, image_format="raw"))
    store = ViewStore(tmp_path / "pack")
    view = store.view(0, store.spec)
    assert not view.has_pose
    assert not view.has_vertices
    assert np.isfinite(view.landmarks68_rays).all()


def test_a_recipe_takes_them_as_a_second_data_set():
    target = "trglab.datasets.microsoft_faces:SynthFace"
    changed = with_overrides(
        recipe("small"),
        {"datasets.1.target": target, "datasets.1.options.folder": "synth_face"},
    )
    assert changed.datasets[1].target == finite_dataset(target, {}).target


def test_missing_and_damaged_files_are_named(tmp_path):
    for reader in (FaceSynthetics, SynthFace):
        with pytest.raises(FileNotFoundError, match="expected files such as"):
            reader(tmp_path / "nothing")
    folder = write_face_synthetics(tmp_path / "fs")
    (folder / "000000_ldmks.txt").write_text("1 2 3")
    (folder / "000001.png").unlink()
    faces = FaceSynthetics(folder)
    with pytest.raises(ValueError, match=r"000000_ldmks.txt: expected"):
        faces[0]
    with pytest.raises(FileNotFoundError, match=r"000001.png: this file of Face Synthetics"):
        faces[1]
    folder = write_synth_face(tmp_path / "sf")
    (folder / "metadata_0000012_000.json").write_text("{}")
    with pytest.raises(ValueError, match=r"expected camera and landmarks"):
        SynthFace(folder)[0]
