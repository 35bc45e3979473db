from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.dot_faces import TOPOLOGY, DotFaces, MeshedDots
from tests.support.made_samples import make_samples
from trg.geometry.crop import bbox_info_from_box, crop_face, crop_from_pixels, face_box
from trg.geometry.projection import crop_from_rays, rays_from_points, transform
from trg.geometry.virtual_camera import virtual_camera_of_box
from trg.inference.bundle import WeightCard
from trg.inference.detections import Detections
from trg.inference.runtime import PoseArrays
from trglab.datasets.biwi import shift_inside
from trglab.datasets.view_store import ViewStoreSettings, write_views
from trglab.evaluation import protocols
from trglab.evaluation.prediction import BundleMethod
from trglab.evaluation.predictions import mesh_sha256
from trglab.evaluation.protocols import PROTOCOLS, open_pack, read_pack

SETTINGS = ViewStoreSettings(96, image_format="raw")
CROP = 48


class OracleRuntime:
    """Stands in for a bundle: knows the samples, and answers for the box it is shown."""

    crop_size = CROP
    topology = TOPOLOGY
    card = WeightCard("oracle", CROP, {})

    def __init__(self, samples) -> None:
        self.samples, self.boxes = list(samples), []

    def __call__(self, crops, bbox_info):
        assert crops.shape == (len(bbox_info), CROP, CROP, 3)
        assert crops.dtype == np.uint8
        rows = range(len(bbox_info))
        head = [self.samples[row] for row in rows]
        in_camera = [transform(s.vertices_m, s.rotation, s.translation_m) for s in head]
        projected = [
            crop_from_rays(rays_from_points(in_camera[row]), np.float64(bbox_info[row]))
            for row in rows
        ]
        self.boxes.append(np.float64(bbox_info))
        return PoseArrays(
            np.stack([s.rotation for s in head]).astype(np.float32),
            np.stack([s.translation_m for s in head]).astype(np.float32),
            np.stack([s.vertices_m for s in head]),
            np.stack(projected).astype(np.float32),
            np.zeros((len(head), 68, 2), np.float32),
            np.ones((len(head), 68), np.float32),
        )


class OneBox:
    """A detector that finds the same face in every image, or none."""

    def __init__(self, box_xyxy) -> None:
        self.boxes = np.float64(box_xyxy).reshape(-1, 4)

    def detect(self, image, max_faces=None, threshold=None) -> Detections:
        assert max_faces == 1
        count = len(self.boxes)
        return Detections(self.boxes, np.ones(count), np.full((count, 5, 2), np.nan))


def test_views_of_a_pack_keep_the_geometry_of_their_samples(tmp_path: Path) -> None:
    write_views(tmp_path, MeshedDots, SETTINGS, indices=range(5))
    images = read_pack(tmp_path)
    assert images.mesh_sha256 == mesh_sha256(TOPOLOGY.triangles)
    assert len(images.samples) == 5
    for index in range(5):
        made, view = DotFaces().sample(index), images.samples[index]
        np.testing.assert_allclose(view.rotation, made.rotation, atol=1e-6)
        np.testing.assert_allclose(view.translation_m, made.translation_m, atol=1e-6)
        np.testing.assert_allclose(
            bbox_info_from_box(view.camera, view.box_xyxy),
            bbox_info_from_box(made.camera, made.box_xyxy),
            atol=1e-6,
        )
        # The labels lie on the view's own pixels, through the view's own camera.
        points = transform(view.vertices_m, view.rotation, view.translation_m)
        projected = view.camera.project(points)[TOPOLOGY.landmarks68]
        np.testing.assert_allclose(projected, view.landmarks68_px, atol=0.01)
        brightness = view.image[..., 0].astype(float)
        x, y = view.landmarks68_px[30].astype(int)
        assert brightness[y, x] > 100.0  # a dot, on a ground of 20
        # What the network is shown is nearly what it would be shown of the whole image.
        direct = crop_face(made.image, made.camera, made.box_xyxy, CROP).pixels
        again = crop_face(view.image, view.camera, view.box_xyxy, CROP).pixels
        assert np.abs(direct.astype(float) - again).mean() < 6.0
    with pytest.raises(IndexError, match="0 to 4"):
        images.samples[5]


def test_a_pack_records_the_distance_of_its_faces(tmp_path: Path) -> None:
    for name, nearest in (("near", 0.25), ("far", 2.0)):
        provenance = {"options": {"shots": {"distance_m": [nearest, 3.0]}}}
        write_views(tmp_path / name, MeshedDots, SETTINGS, indices=range(1), provenance=provenance)
    assert "0.25 to 2 m" in open_pack(tmp_path / "near")[0].title
    assert "beyond all training" in open_pack(tmp_path / "far")[0].title
    with pytest.raises(ValueError, match="expected faces beyond 2 m"):
        open_pack(tmp_path / "near", far=True)
    write_views(tmp_path / "silent", MeshedDots, SETTINGS, indices=range(1))
    for far in (False, True):
        assert ("beyond" in open_pack(tmp_path / "silent", far=far)[0].title) == far
    write_views(tmp_path / "bare", DotFaces, SETTINGS, indices=range(1))
    with pytest.raises(ValueError, match="mesh of its vertices"):
        read_pack(tmp_path / "bare")


def test_the_title_names_what_a_hold_out_lacks(tmp_path: Path) -> None:
    options = {"ingredients": {"photo_skin": False, "hair_meshes": False, "hair": True}}
    provenance = {"options": options, "face_model": "built-in procedural head"}
    write_views(tmp_path, MeshedDots, SETTINGS, indices=range(1), provenance=provenance)
    chosen = open_pack(tmp_path)[0]
    assert chosen.title.endswith("0.25 to 2 m, without face model, photo skin, hair meshes")
    assert chosen.without == ("face model", "photo skin", "hair meshes")


def test_true_boxes_come_from_the_labels() -> None:
    samples = make_samples(3)
    runtime = OracleRuntime(samples)
    estimates = BundleMethod(runtime).estimate(samples)
    expected = [bbox_info_from_box(s.camera, s.box_xyxy) for s in samples]
    np.testing.assert_allclose(runtime.boxes[0], expected, atol=1e-6)
    for estimate, sample in zip(estimates, samples, strict=True):
        np.testing.assert_allclose(estimate.landmarks68_px, sample.landmarks68_px, atol=0.01)
        np.testing.assert_allclose(estimate.translation_m, sample.translation_m, atol=1e-6)


def test_landmark_boxes_come_from_a_first_estimate() -> None:
    samples = make_samples(2)
    runtime = OracleRuntime(samples)
    detector = OneBox([100.0, 80.0, 300.0, 320.0])
    estimates = BundleMethod(runtime, "landmarks", detector).estimate(samples)
    first, second = runtime.boxes
    detected = bbox_info_from_box(samples[0].camera, detector.boxes[0])
    np.testing.assert_allclose(first, [detected] * 2, atol=1e-6)
    expected = [face_box(sample.landmarks68_px) for sample in samples]
    for row, sample in enumerate(samples):
        np.testing.assert_allclose(
            second[row], bbox_info_from_box(sample.camera, expected[row]), atol=1e-5
        )
        np.testing.assert_allclose(estimates[row].box_xyxy, expected[row], atol=0.02)


def test_the_papers_boxes_are_the_same_for_every_method(monkeypatch) -> None:
    """On BIWI they lie around landmarks that the package's weights predict, inside the image."""
    samples = make_samples(2)
    detector, fixed = OneBox([100.0, 80.0, 300.0, 320.0]), OracleRuntime(samples)
    monkeypatch.setattr(protocols, "FaceDetector", lambda **options: detector)
    monkeypatch.setattr(protocols, "PoseRuntime", lambda _: fixed)
    wrong = OracleRuntime([replace(s, translation_m=s.translation_m * 2.0) for s in samples])
    method = protocols.method_with_boxes(PROTOCOLS["biwi"], wrong)
    assert method.metadata.settings == {"boxes": "paper"}
    expected = [shift_inside(face_box(s.landmarks68_px), 640, 480) for s in samples]
    np.testing.assert_allclose(method.face_boxes(samples), expected, atol=0.02)
    assert not wrong.boxes
    own = protocols.method_with_boxes(PROTOCOLS["biwi"], wrong, "landmarks")
    assert np.abs(np.subtract(own.face_boxes(samples), expected)).max() > 5.0
    truth = protocols.method_with_boxes(PROTOCOLS["arkitface"], wrong)
    np.testing.assert_array_equal(truth.face_boxes(samples), [s.box_xyxy for s in samples])


def test_every_rule_for_boxes_is_described() -> None:
    biwi, arkitface = PROTOCOLS["biwi"], PROTOCOLS["arkitface"]
    assert "the weights in the package" in biwi.describe_boxes("paper")
    assert "projected mesh" in biwi.describe_boxes("truth")
    for name in ("paper", "detector", "landmarks"):
        assert "shifted back inside" in biwi.describe_boxes(name)
        assert "shifted" not in arkitface.describe_boxes(name)


def test_boxes_are_shifted_inside_only_on_request() -> None:
    samples = make_samples(1)
    outside = np.array([-60.0, 20.0, 190.0, 270.0])
    for shift, box in ((False, outside), (True, shift_inside(outside, 640, 480))):
        runtime = OracleRuntime(samples)
        BundleMethod(runtime, "detector", OneBox(outside), shift_boxes=shift).estimate(samples)
        expected = bbox_info_from_box(samples[0].camera, box)
        np.testing.assert_allclose(runtime.boxes[0][0], expected, atol=1e-6)


def test_poses_in_virtual_cameras_are_converted_to_the_camera_frame() -> None:
    samples = make_samples(3)
    turns = [virtual_camera_of_box(s.camera, s.box_xyxy).cam_from_virtual for s in samples]
    seen = [
        replace(
            sample, rotation=turn.T @ sample.rotation, translation_m=turn.T @ sample.translation_m
        )
        for sample, turn in zip(samples, turns, strict=True)
    ]
    runtime = OracleRuntime(seen)
    method = BundleMethod(runtime, view="virtual")
    assert method.metadata.settings["view"] == "virtual"
    estimates = method.estimate(samples)
    np.testing.assert_array_equal(runtime.boxes[0][:, :2], 0.0)
    for estimate, sample in zip(estimates, samples, strict=True):
        np.testing.assert_allclose(estimate.rotation, sample.rotation, atol=1e-6)
        np.testing.assert_allclose(estimate.translation_m, sample.translation_m, atol=1e-6)
        np.testing.assert_allclose(estimate.landmarks68_px, sample.landmarks68_px, atol=0.01)


def test_refined_views_follow_the_landmarks_out_of_a_wrong_box() -> None:
    sample = make_samples(1)[0]
    centre = (sample.box_xyxy[:2] + sample.box_xyxy[2:]) / 2.0
    wide = np.concatenate([centre, centre]) + 2.0 * (sample.box_xyxy - np.tile(centre, 2))
    sides = {}
    for view in ("virtual", "refined"):
        runtime = OracleRuntime([sample])
        BundleMethod(runtime, view=view).estimate([replace(sample, box_xyxy=wide)])
        sides[view] = [float(boxes[0, 2]) for boxes in runtime.boxes]
    assert len(sides["virtual"]) == 1
    assert sides["refined"][0] == sides["virtual"][0]
    assert sides["refined"][1] < 0.6 * sides["refined"][0]


def test_an_image_without_a_detection_has_no_estimate() -> None:
    samples = make_samples(2)
    for rule in ("detector", "landmarks"):
        method = BundleMethod(OracleRuntime(samples), rule, OneBox([]))
        assert method.estimate(samples) == [None, None]
    with pytest.raises(ValueError, match="expected a detector"):
        BundleMethod(OracleRuntime(samples), "detector")


def test_an_oversized_landmark_box_is_ignored() -> None:
    samples = make_samples(1)
    near = [replace(samples[0], translation_m=np.array([0.0, 0.0, 0.11]))]
    runtime = OracleRuntime(near)
    box = [200.0, 100.0, 400.0, 300.0]
    method = BundleMethod(runtime, "landmarks", OneBox(box))
    estimate = method.estimate(samples)[0]
    landmarks = crop_from_pixels(samples[0].camera, estimate.landmarks68_px, runtime.boxes[0][0])
    assert np.ptp(landmarks) > 8.0  # the first look really went wild
    np.testing.assert_allclose(runtime.boxes[1], runtime.boxes[0])


def test_protocols_follow_the_paper() -> None:
    biwi = PROTOCOLS["biwi"]
    assert (biwi.boxes, biwi.shift_boxes) == ("landmarks", True)
    trg = {row.method: row for row in biwi.published}["TRG, several sets"]
    assert trg.means["mae_r_deg"] == pytest.approx(2.75)
    assert trg.means["tz_mm"] == pytest.approx(24.07)
    arkit = {row.method: row for row in PROTOCOLS["arkitface"].published}["TRG, several sets"]
    assert arkit.means["landmarks_mm"] == pytest.approx(1.58)
    assert arkit.medians["landmarks_mm"] == pytest.approx(1.55)


def test_published_means_are_the_means_of_their_columns() -> None:
    """A check of the typing-in: MAE_r and MAE_t are means of three columns of the same row."""
    parts = {
        "mae_r_deg": ("yaw_deg", "pitch_deg", "roll_deg"),
        "mae_t_mm": ("tx_mm", "ty_mm", "tz_mm"),
    }
    checked = 0
    biwi = PROTOCOLS["biwi"]
    # MAE_t of JMLR after the alignment is 15.25, the mean of its columns 13.34.
    aligned = [row for row in biwi.published_aligned if not row.method.startswith("JMLR")]
    for row in (*biwi.published, *aligned, *PROTOCOLS["arkitface"].published):
        for whole, names in parts.items():
            if whole in row.means and all(name in row.means for name in names):
                mean = np.mean([row.means[name] for name in names])
                # 3DDFA's row of the paper is off by more: 20.22 against 19.07.
                tolerance = 1.2 if row.method == "3DDFA" else 0.03
                assert row.means[whole] == pytest.approx(mean, abs=tolerance), row.method
                checked += 1
    assert checked == 25 + 7 + 2 + 2 + 4  # Table 4; TRGv2's paper: BIWI, aligned, ARKitFace
