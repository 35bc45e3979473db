"""``trg synth`` writes folders and contact sheets; research verbs fail with one clear sentence."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.support.cli import trg_cli  # noqa: F401 (a fixture)
from tests.support.made_samples import TOPOLOGY, make_samples
from trg.geometry.camera import Camera
from trg.geometry.projection import transform
from trglab.datasets.arkitface import ARKitFace
from trglab.datasets.sample_store import SampleStore, write_samples
from trglab.evaluation.protocols import open_data_set, open_pack
from trglab.synth.dataset import IMAGES_PER_PERSON

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked")


class MadeFaces:
    """Stands in for the renderer, whose own tests are in tests/trglab/synth."""

    topology = TOPOLOGY

    def __init__(self, seed=0, **options):
        self._samples = make_samples(4, seed=seed)
        self.provenance = {"seed": seed}

    def sample(self, index):
        return replace(self._samples[index % 4], identity=str(index // IMAGES_PER_PERSON))

    def neutral_m(self, index):
        return TOPOLOGY.template_m


@pytest.fixture
def made_faces(monkeypatch):
    monkeypatch.setattr("trglab.synth.dataset.SyntheticFaces", MadeFaces)
    monkeypatch.setattr("trglab.synth.parallel.SyntheticFaces", MadeFaces)


@pytest.mark.parametrize("layout", ["arkitface", "300wlp", "aflw2000", "biwi"])
def test_a_written_folder_is_one_that_eval_can_measure(trg_cli, made_faces, tmp_path, layout):  # noqa: F811
    assert trg_cli("synth", tmp_path / "faces", "--count", 10, "--layout", layout).code == 0
    protocol, images = open_data_set(layout, tmp_path / "faces")
    assert protocol.title.startswith("Synthetic stand-in for")
    assert len(images.samples) == (2 if layout == "arkitface" else 10)


def test_the_test_split_of_a_rendered_arkitface_shows_other_people(trg_cli, made_faces, tmp_path):  # noqa: F811
    arguments = ("--count", 30, "--layout", "arkitface")
    assert trg_cli("synth", tmp_path / "both", *arguments).code == 0
    assert trg_cli("synth", tmp_path / "both", *arguments, "--resume").code == 0
    train, test = (ARKitFace(tmp_path / "both", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (24, 6)
    people = [{split[index].identity for index in range(len(split))} for split in (train, test)]
    assert not people[0] & people[1]


def test_a_single_split_is_written_alone_and_added_later(trg_cli, made_faces, tmp_path):  # noqa: F811
    arguments = ("synth", tmp_path / "faces", "--count", 3, "--layout", "arkitface")
    assert trg_cli(*arguments, "--split", "train").code == 0
    with pytest.raises(FileNotFoundError, match=r"no test split; add one with: .* --split test"):
        open_data_set("arkitface", tmp_path / "faces")
    both = trg_cli(*arguments)
    assert both.code == 2
    assert "--resume" in both.err
    assert trg_cli(*arguments, "--split", "test").code == 0
    assert len(open_data_set("arkitface", tmp_path / "faces")[1].samples) == 3


def test_rendered_images_in_shards_are_measured_under_their_own_title(
    trg_cli,  # noqa: F811
    made_faces,
    tmp_path,
):
    assert trg_cli("synth", tmp_path / "faces", "--count", 3, "--seed", 5).code == 0
    protocol, images = open_pack(tmp_path / "faces")
    assert protocol.title == "Rendered faces of seed 5, not the hold-out"
    assert len(images.samples) == 3
    assert images.samples[2].image.shape == SampleStore(tmp_path / "faces")[2].image.shape


def test_single_images_are_not_measured_as_clips(trg_cli, tmp_path):  # noqa: F811
    write_samples(
        tmp_path, MadeFaces, range(2), provenance={"dataset": "trglab.synth.dataset:SyntheticFaces"}
    )
    done = trg_cli("eval", "clips", tmp_path)
    assert done.code == 2
    assert f"measure them with: trg eval synthetic {tmp_path}" in " ".join(done.err.split())


@pytest.mark.parametrize("layout", ["webdataset", "biwi"])
def test_a_folder_and_a_sheet_are_written_and_resumed(trg_cli, made_faces, tmp_path, layout):  # noqa: F811
    arguments = ("synth", tmp_path / "faces", "--count", 2, "--layout", layout)
    assert trg_cli(*arguments, "--sheet", tmp_path / "sheet.png").code == 0
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    again = trg_cli(*arguments)
    assert again.code == 2
    assert "--resume" in again.err
    assert trg_cli(*arguments, "--resume").code == 0
    other_seed = trg_cli(*arguments, "--resume", "--seed", 1)
    assert other_seed.code == 2
    assert "other settings" in other_seed.err or "expected" in other_seed.err


def test_all_faces_are_taken_by_the_camera_of_a_calibration(trg_cli, tmp_path):  # noqa: F811
    camera = Camera(300.0, 310.0, 130.0, 90.0, 240, 180, (-0.1, 0.02, 0.0, 0.0, 0.0))
    calibration = tmp_path / "camera.json"
    calibration.write_text(json.dumps(camera.to_dict()))
    arguments = ("--count", 2, "--camera", calibration)
    assert trg_cli("synth", tmp_path / "faces", *arguments).code == 0
    faces = SampleStore(tmp_path / "faces")
    for face in (faces[0], faces[1]):
        assert replace(face.camera, source="given") == camera
        assert face.image.shape == (180, 240, 3)
        seen_m = transform(face.vertices_m, face.rotation, face.translation_m)
        pixels = camera.project(seen_m[faces.topology.landmarks68])
        np.testing.assert_allclose(pixels, face.landmarks68_px, atol=0.05)


def test_a_lens_that_the_renderer_cannot_draw_is_refused(trg_cli, tmp_path):  # noqa: F811
    fisheye = Camera(300.0, 300.0, 120.0, 90.0, 240, 180, (0.1, 0, 0, 0), lens_model="fisheye")
    calibration = tmp_path / "camera.json"
    calibration.write_text(json.dumps(fisheye.to_dict()))
    done = trg_cli("synth", tmp_path / "faces", "--camera", calibration)
    assert done.code == 2
    assert "undistort the images" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("synth",), "expected a folder to write"),
        (("synth", "f", "--layout", "biwi", "--split", "test"), "--split: expected --layout ark"),
        (("synth", "f", "--layout", "arkitface", "--count", 1), "--count: expected at least 2"),
        (("synth", "/new", "--camera", "a.json", "--layout", "biwi"), "--layout webdataset"),
        (("asset", "photo_skin", "/nowhere"), "10.6084/m9.figshare.5047666"),
        (("bench", "trg_xxl"), "trg_s"),
        (("bench", "[bold].trg"), "[bold].trg: expected a weight bundle"),
        (("train", "nonsense", "/nowhere"), "paper_single"),
        (("train", "tiny", "/nowhere", "steps"), "NAME=VALUE"),
    ],
)
def test_errors_are_one_clear_sentence(trg_cli, arguments, message):  # noqa: F811
    done = trg_cli(*arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
