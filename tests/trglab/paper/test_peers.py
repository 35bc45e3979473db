"""Other methods beside ours: a script stands in for their process, modules for their packages."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.support.constant_bundle import write_constant_bundle
from tests.support.dot_faces import TOPOLOGY, DotFaces
from tests.support.made_samples import as_fitted, make_samples, write
from trg.geometry.camera import Camera
from trg.geometry.mediapipe import MEDIAPIPE_OF_68
from trg.geometry.projection import transform
from trg.geometry.rotations import geodesic_angle_deg
from trglab.cli.evaluate import evaluate as eval_verb
from trglab.cli.evaluate_options import MeasurementOptions
from trglab.datasets.w300lp import pose_from_rotation
from trglab.evaluation.prediction import Estimate
from trglab.evaluation.predictions import PredictionMetadata
from trglab.paper import peer_process, peers
from trglab.paper.peer_comparison import (
    StillsComparison,
    StillsEstimates,
    TimedMethod,
    compare_on_stills,
)
from trglab.paper.peers import LABELS, peer_method

FAKE_PEER = """
import json, sys
import numpy as np
answers = json.load(open(ANSWERS))
for line in sys.stdin:
    request = json.loads(line)
    assert np.load(request["image"]).dtype == np.uint8
    key = f"{request['box'][0]:.1f}"
    print(json.dumps({"ms": 7.0, "faces": answers.get(key, [])}), flush=True)
"""


@pytest.fixture
def fake_peer(tmp_path, monkeypatch):
    """Return a function that replaces the process; it knows the faces by their boxes."""

    def replace(faces_of_samples) -> None:
        answers = {f"{sample.box_xyxy[0]:.1f}": faces for sample, faces in faces_of_samples}
        (tmp_path / "answers.json").write_text(json.dumps(answers))
        script = FAKE_PEER.replace("ANSWERS", repr(str(tmp_path / "answers.json")))
        (tmp_path / "peer.py").write_text(script)
        monkeypatch.setattr(peers, "PEER_FILE", tmp_path / "peer.py")

    return replace


def mesh_points(sample) -> dict[str, list]:
    """FaceMesh's 468 points of a sample's mean face, those that stand for no landmark far off."""
    in_camera = transform(
        TOPOLOGY.template_m[TOPOLOGY.landmarks68].astype(float),
        sample.rotation,
        sample.translation_m,
    )
    points = np.full((468, 2), -1000.0)
    points[MEDIAPIPE_OF_68] = sample.camera.project(in_camera)
    return {"points_px": points.tolist()}


def test_face_mesh_landmarks_give_the_pose_of_the_mean_face(fake_peer) -> None:
    samples = make_samples(3)
    far = {"points_px": (np.random.default_rng(0).random((468, 2)) * 9).tolist()}
    fake_peer(
        [
            (samples[0], [far, mesh_points(samples[0])]),
            (samples[1], []),
            (samples[2], [mesh_points(samples[2])]),
        ]
    )
    with peer_method("mediapipe", sys.executable, TOPOLOGY) as method:
        found = method.estimate(samples)
        assert method.metadata.method == "MediaPipe FaceMesh"
        assert method.times_ms == [7.0] * 3
    assert found[1] is None
    for estimate, sample in ((found[0], samples[0]), (found[2], samples[2])):
        assert geodesic_angle_deg(estimate.rotation, sample.rotation) < 1e-3
        np.testing.assert_allclose(estimate.translation_m, sample.translation_m, atol=1e-5)
        assert estimate.landmarks68_px.shape == (68, 2)
        assert estimate.vertices_m is None


def test_angles_of_6drepnet_are_those_of_300wlp(fake_peer) -> None:
    sample = as_fitted(make_samples(1)[0])
    angles = np.rad2deg(pose_from_rotation(sample.rotation)).tolist()
    fake_peer([(sample, [{"pitch_yaw_roll_deg": angles}])])
    with peer_method("6drepnet", sys.executable, TOPOLOGY) as method:
        (estimate,) = method.estimate([sample])
    np.testing.assert_allclose(estimate.rotation, sample.rotation, atol=1e-9)
    assert estimate.translation_m is None


def test_a_python_without_the_method_is_an_error(monkeypatch, tmp_path) -> None:
    (tmp_path / "peer.py").write_text("import mediapipe_that_is_not_installed")
    monkeypatch.setattr(peers, "PEER_FILE", tmp_path / "peer.py")
    with (
        pytest.raises(ValueError, match=r"ended. Expected a Python with mediapipe 0\.10\.21"),
        peer_method("mediapipe", sys.executable, TOPOLOGY) as method,
    ):
        method.estimate(make_samples(1))
    with (
        pytest.raises(ValueError, match="--python: expected the Python of an environment"),
        peer_method("6drepnet", str(tmp_path / "no-python"), TOPOLOGY),
    ):
        pass


def test_a_method_that_answers_something_else_is_an_error_at_once(monkeypatch, tmp_path) -> None:
    (tmp_path / "peer.py").write_text("import time\nprint('hello', flush=True)\ntime.sleep(300)")
    monkeypatch.setattr(peers, "PEER_FILE", tmp_path / "peer.py")
    with (
        pytest.raises(ValueError, match=r"Expected a Python with sixdrepnet"),
        peer_method("6drepnet", sys.executable, TOPOLOGY) as method,
    ):
        method.estimate(make_samples(1))


def test_a_method_that_finds_no_face_at_all_is_compared() -> None:
    points_px = np.random.default_rng(0).random((3, 68, 2)) * 100.0
    found = StillsEstimates("ours", points_px, np.stack([np.eye(3)] * 3), np.ones(3), 1.0)
    none = StillsEstimates(
        "theirs", *(np.full(shape, np.nan) for shape in ((3, 68, 2), (3, 3, 3), 3)), 1.0
    )
    errors, differences = StillsComparison(("a", "b", "c"), points_px, (found, none)).tables()
    assert [row.cells[2] for row in errors.rows] == ["0", "3"]
    assert {tuple(row.cells) for row in differences.rows} == {("-",)}


def test_eval_prints_the_other_methods_row_above_ours(fake_peer, tmp_path, capsys) -> None:
    samples = make_samples(4, Camera(350.0, 345.0, 165.5, 114.25, 320, 240))
    write(samples, tmp_path / "data", "arkitface", split="test")
    write_constant_bundle(tmp_path / "ours.trg", TOPOLOGY, (0.0, 0.0, 0.7))
    fake_peer([(sample, [mesh_points(sample)]) for sample in samples])
    options = MeasurementOptions(
        tmp_path / "ours.trg", method="mediapipe", python=Path(sys.executable)
    )
    out = tmp_path / "out"
    eval_verb("arkitface", tmp_path / "data", options=options, out=out, plots=False)
    printed = capsys.readouterr().out
    assert "MediaPipe FaceMesh, mean, measured here" in printed
    assert "CPU time per image, median: MediaPipe FaceMesh 7.0 ms" in printed
    theirs = json.loads((out / "mediapipe" / "report.json").read_text())
    assert theirs["figures"]["ge_deg"]["mean"] < 1e-2
    assert theirs["figures"]["mae_t_mm"]["mean"] < 0.1
    assert (out / "mediapipe" / "predictions.npz").is_file()
    ours = json.loads((out / "report.json").read_text())
    assert ours["method"] == "constant"
    assert ours["published"][-1]["method"] == "MediaPipe FaceMesh, mean, measured here"
    assert ours["figures"]["ge_deg"]["mean"] > 1.0
    for wrong, message in (
        (MeasurementOptions(python=Path("x")), "expected --method NAME"),
        (
            MeasurementOptions(predictions=out / "predictions.npz", method="6drepnet"),
            "expected --method or --predictions",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            eval_verb("arkitface", tmp_path / "data", options=wrong, out=out, plots=False)


class Drawn:
    """A method that knows the photographs' points, off by ``shift_px``, and misses some faces."""

    def __init__(self, name, samples, shift_px, missed=()) -> None:
        self.metadata = PredictionMetadata(name)
        self._samples, self._shift_px, self._missed = samples, shift_px, missed

    def estimate(self, samples) -> list[Estimate | None]:
        found = []
        for sample in samples:
            drawn = self._samples[sample.name]
            moved_px = drawn.landmarks68_px + self._shift_px
            estimate = Estimate(drawn.rotation, drawn.translation_m, landmarks68_px=moved_px)
            found.append(None if sample.name in self._missed else estimate)
        return found


def test_photographs_compare_two_methods_image_by_image(tmp_path) -> None:
    samples = {f"{index}.png": DotFaces().sample(index) for index in range(3)}
    for name, sample in samples.items():
        Image.fromarray(sample.image).save(tmp_path / name)
    points_px = np.stack([sample.landmarks68_px for sample in samples.values()])
    np.savez(tmp_path / "landmarks68.npz", names=list(samples), points=points_px)
    compared = compare_on_stills(
        tmp_path,
        [
            TimedMethod(Drawn("ours", samples, (0.0, 0.0))),
            TimedMethod(Drawn("theirs", samples, (3.0, 4.0), ["1.png"])),
        ],
    )
    errors, differences = (
        {row.label: row.cells for row in table.rows} for table in compared.tables()
    )
    assert errors["ours"][0] == "0.00 (0.00 to 0.00)"
    assert (errors["ours"][2], errors["theirs"][2]) == ("0", "1")
    size_px = np.sqrt(np.prod(np.ptp(points_px, axis=1), axis=-1))
    apart = float(differences["68 landmarks apart, median, %"][0].split()[0])
    assert apart == pytest.approx(np.median(500.0 / size_px[[0, 2]]), abs=0.01)
    assert differences["rotation, angle, median, degrees"][0].startswith("0.00")
    assert "on 2 photographs" in compared.tables()[1].title


def test_the_process_asks_each_package_as_its_documentation_says(monkeypatch, tmp_path) -> None:
    def face_mesh(static_image_mode, max_num_faces, refine_landmarks):
        assert static_image_mode
        points = [SimpleNamespace(x=0.25, y=0.5)] * 468
        found = SimpleNamespace(multi_face_landmarks=[SimpleNamespace(landmark=points)])
        return SimpleNamespace(process=lambda image: found)

    mediapipe = ModuleType("mediapipe")
    mediapipe.solutions = SimpleNamespace(face_mesh=SimpleNamespace(FaceMesh=face_mesh))
    seen = []

    class SixDRepNet:
        def __init__(self, gpu_id) -> None:
            assert gpu_id == -1

        def predict(self, image):
            seen.append(image)
            return np.array([1.0]), np.array([2.0]), np.array([3.0])

    sixdrepnet = ModuleType("sixdrepnet")
    sixdrepnet.SixDRepNet = SixDRepNet
    monkeypatch.setitem(sys.modules, "mediapipe", mediapipe)
    monkeypatch.setitem(sys.modules, "sixdrepnet", sixdrepnet)
    image = np.random.default_rng(0).integers(0, 255, (40, 80, 3), dtype=np.uint8)
    np.save(tmp_path / "image.npy", image)
    request = json.dumps({"image": str(tmp_path / "image.npy"), "box": [-4.0, 10.0, 26.0, 40.0]})
    answers = {}
    for name in LABELS:
        monkeypatch.setattr(sys, "stdin", io.StringIO(request + "\n"))
        out = io.StringIO()
        peer_process.main(name, out)
        answers[name] = json.loads(out.getvalue())
        assert answers[name]["ms"] >= 0.0
    assert answers["mediapipe"]["faces"][0]["points_px"][467] == [20.0, 20.0]
    assert answers["6drepnet"]["faces"] == [{"pitch_yaw_roll_deg": [1.0, 2.0, 3.0]}]
    (crop_bgr,) = seen
    assert crop_bgr.shape == (30, 30, 3)
    np.testing.assert_array_equal(crop_bgr[:, 4:], image[10:, :26, ::-1])
    assert not crop_bgr[:, :4].any()
    assert set(peer_process.METHODS) == set(LABELS)
