"""What `trg data check` finds, and its exit code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.support.made_samples import make_samples, write
from trglab.datasets.catalogue import DatasetFolder
from trglab.datasets.check import check_data_set, data_set_sheet, implausible_labels
from trglab.datasets.view_store import ViewStoreSettings, write_views

LAYOUTS = ("arkitface", "300wlp", "aflw2000", "biwi")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_whole_folders_pass(tmp_path, layout):
    write(make_samples(4), tmp_path, layout)
    told = []
    report = check_data_set(
        DatasetFolder(layout, str(tmp_path)), on_progress=lambda *n: told.append(n)
    )
    assert report.is_valid, report.faults
    assert (report.listed, report.tried, report.readable) == (4, 4, 4)
    assert report.people == (4 if layout == "aflw2000" else 2)
    size = "450x450" if layout in ("300wlp", "aflw2000") else "640x480"
    assert report.image_sizes == {size: 4}
    assert told[-1] == (4, 4)
    sheet = data_set_sheet(DatasetFolder(layout, str(tmp_path)))
    assert sheet.size == (4 * 192, 192)
    assert np.asarray(sheet).std() > 10


def test_faults_are_counted_by_kind_and_name_their_file(tmp_path):
    write(make_samples(6), tmp_path, "arkitface")
    images = sorted(tmp_path.rglob("*_ar.jpg"))
    infos = sorted(tmp_path.rglob("*_info.npz"))
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes()[:700])
    infos[2].write_bytes(b"")
    np.savez(infos[3], verts=np.zeros((1219, 3)), R_t=np.eye(4))
    skewed = dict(np.load(infos[4]))
    skewed["R_t"][0, 0] += 0.1
    np.savez(infos[4], **skewed)
    report = check_data_set(DatasetFolder("arkitface", str(tmp_path)))
    assert (report.listed, report.readable) == (6, 2)
    assert [report.count(kind) for kind in ("missing", "unreadable", "wrong")] == [1, 2, 2]
    messages = [fault.message for fault in report.faults]
    paths = [images[0], images[1], infos[2], infos[3]]
    for path, message in zip(paths, messages[:4], strict=True):
        assert str(path) in message
    assert "train/9/synthetic/0000004: the rotation matrix is not a rotation" in messages[4]
    assert not report.is_valid
    half = check_data_set(DatasetFolder("arkitface", str(tmp_path)), every=5)
    assert (half.listed, half.tried, half.readable) == (6, 2, 1)


def test_a_folder_that_cannot_be_opened_is_a_fault(tmp_path):
    report = check_data_set(DatasetFolder("biwi", str(tmp_path / "nowhere")))
    assert (report.listed, report.count("missing")) == (0, 1)
    write(make_samples(1), tmp_path / "a", "arkitface")
    (tmp_path / "a/ARKitFace_resources/data/triangles.npy").write_bytes(b"?")
    assert check_data_set(DatasetFolder("arkitface", str(tmp_path / "a"))).count("unreadable") == 1
    with pytest.raises(ValueError, match="every: expected at least 1"):
        check_data_set(DatasetFolder("biwi", str(tmp_path)), every=0)


def test_implausible_labels_are_found():
    (sample,) = make_samples(1)
    assert implausible_labels(sample) == []
    for change, message in (
        ({"rotation": np.diag([1.0, 1.0, -1.0])}, "rotation"),
        ({"translation_m": np.array([0.0, 0.0, -0.5])}, "-0.5 m in front of the camera"),
        ({"vertices_m": sample.vertices_m * 1000.0}, "m large"),
        ({"landmarks68_px": sample.landmarks68_px + 2000.0}, "far outside"),
        ({"landmarks68_px": sample.landmarks68_px * np.nan}, "far outside"),
        ({"box_xyxy": sample.box_xyxy[[2, 1, 0, 3]]}, "is empty"),
        ({"image": sample.image[:400]}, "camera is for 640x480 px, the image has 640x400"),
    ):
        (what,) = implausible_labels(replace(sample, **change))
        assert message in what


def test_stores_are_hashed(tmp_path):
    write(make_samples(3), tmp_path / "a", "arkitface")
    data_set = DatasetFolder("arkitface", str(tmp_path / "a"))
    write_views(tmp_path / "p", data_set.open, ViewStoreSettings(48))
    packed = DatasetFolder("packed", str(tmp_path / "p"))
    assert check_data_set(packed).is_valid
    shard = tmp_path / "p" / "shard-000000.tar"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1  # after the end of the archive: no view suffers
    shard.write_bytes(content)
    (fault,) = check_data_set(packed).faults
    assert "SHA-256" in fault.message


def test_the_sheet_leaves_out_what_cannot_be_read(tmp_path):
    write(make_samples(3), tmp_path, "biwi")
    next(tmp_path.rglob("*00001_rgb.png")).unlink()
    assert data_set_sheet(DatasetFolder("biwi", str(tmp_path))).size == (2 * 192, 192)


def run(arguments):
    from trg.app.cli import app

    try:
        app(list(arguments), exit_on_error=False, result_action="return_value")
    except SystemExit as stop:
        return stop.code
    return 0


def test_check_and_pack_from_the_command_line(tmp_path, capsys):
    write(make_samples(3), tmp_path / "a", "arkitface", split="test")
    folder, sheet = str(tmp_path / "a"), tmp_path / "sheet.png"
    verb = ("data", "check", "arkitface", folder, "--split", "test")
    assert run((*verb, "--sheet", str(sheet))) == 0
    assert "listed       3 (complete data set: 184884)" in capsys.readouterr().out
    with Image.open(sheet) as image:
        assert image.size == (3 * 192, 192)
    out = str(tmp_path / "p")
    assert run(("data", "pack", "arkitface", folder, out, "--split", "test", "--size", "48")) == 0
    assert run(("data", "check", "packed", out)) == 0
    next((tmp_path / "a").rglob("*1_info.npz")).unlink()
    capsys.readouterr()
    assert run(verb) == 1
    shown = capsys.readouterr().out
    assert "missing      1" in shown
    assert "0000001_info.npz: this file of ARKitFace is missing" in shown
