"""The estimator with a network that knows the ground truth: boxes, cameras, batches."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from tests.support.clips import write_clip
from tests.support.oracle_network import (  # noqa: F401 -- a fixture
    Head,
    OracleDetector,
    OracleNetwork,
    UnsureOfSize,
    grey_image,
    numbered_crops,
)
from trg.estimator import HeadPoseEstimator
from trg.geometry.camera import ASSUMED_FOV_DEG, Camera
from trg.geometry.camera_source import FieldOfView
from trg.io.images import UprightImage

pytestmark = pytest.mark.usefixtures("numbered_crops")

CAMERA = Camera.from_fov(60.0, 640, 480)
ALONE = Head((0.05, -0.03, 0.7), (20.0, -10.0, 5.0))
PAIR = [Head((-0.15, 0.0, 0.7)), Head((0.15, 0.02, 0.8), (-30.0, 0.0, 0.0))]
FAKE = Head((0.1, 0.05, 0.6), sure=False)


def make(scenes, **options):
    network = OracleNetwork(scenes)
    detector = OracleDetector(scenes, CAMERA)
    return HeadPoseEstimator(network, detector, **options), network


def assert_is(face, head):
    np.testing.assert_allclose(face.rotation, head.rotation, atol=1e-6)
    np.testing.assert_allclose(face.translation_m, head.translation_m, atol=1e-6)
    np.testing.assert_allclose(
        face.landmarks_px, face.camera.pixels_from_rays(head.rays), atol=1e-2
    )


def test_a_face_is_estimated_exactly_and_is_self_consistent():
    estimator, network = make([[ALONE]])
    (face,) = estimator(grey_image(0), CAMERA)
    assert_is(face, ALONE)
    np.testing.assert_array_equal(
        face.landmarks68_px, face.landmarks_px[network.topology.landmarks68]
    )
    np.testing.assert_allclose(face.box_xyxy, ALONE.box_px(CAMERA), atol=1e-2)
    assert face.confidence > 0.9
    assert face.camera is CAMERA
    assert network.calls == [1]


@pytest.mark.parametrize("kind", ["array", "pillow", "path", "upright"])
def test_every_kind_of_image(kind, tmp_path):
    estimator, _ = make([[ALONE]])
    pixels = grey_image(0)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    image = {
        "array": pixels,
        "pillow": Image.fromarray(pixels),
        "path": tmp_path / "p.png",
        "upright": UprightImage(pixels, None),
    }[kind]
    (face,) = estimator(image, CAMERA)
    assert_is(face, ALONE)


def test_inaccurate_boxes_are_refined_and_accurate_ones_are_not():
    estimator, network = make([[ALONE]])
    good = ALONE.box_px(CAMERA)
    side = good[2] - good[0]
    (face,) = estimator(grey_image(0), CAMERA, boxes=[good + 0.1 * side])
    assert network.calls == [1]
    network.calls.clear()
    wide = good + side * np.array([-0.3, -0.3, 0.3, 0.3])
    (again,) = estimator(grey_image(0), CAMERA, boxes=[wide])
    assert network.calls == [1, 1]
    np.testing.assert_allclose(again.landmarks_px, face.landmarks_px, atol=1e-2)
    fixed, network = make([[ALONE]], refine=False)
    fixed(grey_image(0), CAMERA, boxes=[wide])
    assert network.calls == [1]


def test_refinement_ends_even_if_it_does_not_converge():
    heads = [Head((0.0, 0.0, 0.5))]
    network = OracleNetwork([heads])

    def restless(crops, boxes):
        heads[0] = Head((0.0, 0.0, heads[0].translation_m[2] * 1.4))
        return OracleNetwork.__call__(network, crops, boxes)

    restless.topology, restless.card, restless.crop_size = network.topology, network.card, 32
    shaky = HeadPoseEstimator(restless, OracleDetector([heads], CAMERA))
    assert len(shaky(grey_image(0), CAMERA)) <= 1
    assert network.calls == [1, 1, 1]


def test_false_positives_are_dropped_unless_the_box_was_given():
    estimator, _ = make([[ALONE, FAKE]])
    assert len(estimator(grey_image(0), CAMERA)) == 1
    (face,) = estimator(grey_image(0), CAMERA, boxes=[FAKE.box_px(CAMERA)])
    assert face.confidence < 0.1
    eager, _ = make([[FAKE]], min_confidence=0.0)
    assert len(eager(grey_image(0), CAMERA)) == 1


def test_two_boxes_on_one_face_give_one_face():
    twice = [ALONE, Head((0.055, -0.03, 0.7), (20.0, -10.0, 5.0))]
    estimator, _ = make([twice])
    assert len(estimator(grey_image(0), CAMERA)) == 1
    both, _ = make([PAIR])
    faces = both(grey_image(0), CAMERA)
    assert len(faces) == 2
    for face, head in zip(faces, PAIR, strict=True):
        assert_is(face, head)
    assert len(both(grey_image(0), CAMERA, max_faces=1)) == 1


@pytest.mark.parametrize(
    "box",
    [
        (1000, 1000, 1200, 1200),
        (-300, -300, -100, -100),
        (10, 10, 12, 12),
        (-1e7, -1e7, 1e7, 1e7),
        (5, 5, 5 + 1e-9, 5 + 1e-9),
    ],
)
def test_boxes_outside_the_image_give_no_face(box):
    estimator, _ = make([[ALONE]])
    for camera in (CAMERA, Camera(500, 900, 320, 240, 640, 480, (-0.4, 0.3, 0, 0, 0))):
        assert estimator(grey_image(0), camera, boxes=[box]) == []


def test_images_without_faces_give_none():
    estimator, network = make([[]])
    assert estimator(grey_image(0), CAMERA) == []
    assert estimator(np.zeros((1, 1, 3), np.uint8)) == []
    assert estimator(np.zeros((1, 1, 3), np.uint8), boxes=[(0, 0, 2, 2)]) == []
    assert estimator(grey_image(0), boxes=[]) == []
    assert network.calls == []


def test_heads_behind_the_camera_are_dropped():
    network = OracleNetwork([[ALONE]])

    def behind(crops, boxes):
        arrays = network(crops, boxes)
        return arrays._replace(translation_m=-arrays.translation_m)

    behind.topology, behind.card, behind.crop_size = network.topology, network.card, 32
    inverted = HeadPoseEstimator(behind, OracleDetector([[ALONE]], CAMERA), min_confidence=0.0)
    assert inverted(grey_image(0), CAMERA) == []


def test_every_face_states_its_camera(tmp_path):
    estimator, _ = make([[ALONE]])
    box = [ALONE.box_px(CAMERA)]

    def camera_of(image, camera=None):
        (face,) = estimator(image, camera, boxes=box)
        return face.camera

    assumed = camera_of(grey_image(0))
    assert assumed.source == "assumed"
    assert assumed.fov_deg("diagonal") == pytest.approx(ASSUMED_FOV_DEG)
    exif = Camera(700, 700, 320, 240, 640, 480, source="exif")
    assert camera_of(UprightImage(grey_image(0), exif)) is exif
    assert camera_of(UprightImage(grey_image(0), exif), CAMERA) is CAMERA
    given = camera_of(grey_image(0), 512.5)
    assert (given.fx, given.fy, given.cx, given.cy, given.source) == (512.5,) * 2 + (
        320.0,
        240.0,
        "given",
    )
    matrix = [[600, 0, 300], [0, 610, 200], [0, 0, 1]]
    np.testing.assert_allclose(camera_of(grey_image(0), matrix).matrix, matrix)
    seen = camera_of(grey_image(0), FieldOfView(70.0, "vertical"))
    assert (seen.source, seen.fov_deg("vertical")) == ("fov", pytest.approx(70.0))
    half = camera_of(grey_image(0), CAMERA.resize(320, 240))
    assert half.fx == pytest.approx(CAMERA.fx)
    for bad in (-3.0, [[1, 2], [3, 4]], "wide", CAMERA.resize(100, 400)):
        with pytest.raises(ValueError, match=r"camera|focal|calibration"):
            camera_of(grey_image(0), bad)


def test_batches_equal_single_calls_and_share_network_calls():
    scenes = [[ALONE], PAIR, [], [Head((0.0, 0.1, 0.9))], [FAKE, ALONE]]
    estimator, network = make(scenes)
    images = [grey_image(i % 5) for i in range(23)]
    single = [estimator(each, CAMERA) for each in images]
    network.calls.clear()
    together = list(estimator.batch(iter(images), CAMERA, batch_size=8))
    assert len(together) == 23
    for some, others in zip(together, single, strict=True):
        assert len(some) == len(others)
        for a, b in zip(some, others, strict=True):
            np.testing.assert_allclose(a.landmarks_px, b.landmarks_px, atol=1e-6)
            assert a.confidence == pytest.approx(b.confidence)
    assert max(network.calls) >= 8
    cameras = [CAMERA if i % 2 else None for i in range(23)]
    sources = [[face.camera.source for face in faces] for faces in estimator.batch(images, cameras)]
    assert sources[1] == ["fov", "fov"]
    assert sources[5] == ["fov"]
    assert "assumed" in sources[0]


def test_photos_of_one_person_get_one_size():
    scenes = [[ALONE], PAIR, [], [ALONE]]
    estimator = HeadPoseEstimator(UnsureOfSize(scenes), OracleDetector(scenes, CAMERA))
    images = [grey_image(i) for i in range(4)]
    (first,), (near, far), none, (last,) = estimator.batch(
        images, CAMERA, batch_size=1, same_person=True
    )
    assert none == []
    for face in (near, last):
        assert face.interpupillary_m == pytest.approx(first.interpupillary_m)
        assert face.person_size is not None
    assert far.person_size is None  # the smaller face is another person's
    assert far.interpupillary_m != pytest.approx(first.interpupillary_m, rel=0.01)


def test_batches_are_lazy_and_report_missing_cameras():
    estimator, _ = make([[ALONE]])
    read = []

    def endless():
        while True:
            read.append(1)
            yield grey_image(0)

    results = estimator.batch(endless(), CAMERA, batch_size=4)
    next(results)
    assert len(read) == 4
    with pytest.raises(ValueError, match="one per image, got only 2"):
        list(estimator.batch([grey_image(0)] * 3, [CAMERA, CAMERA]))
    with pytest.raises(ValueError, match="batch_size"):
        estimator.batch([], batch_size=0)
    with pytest.raises(ValueError, match="several images"):
        estimator.batch("photo.jpg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"boxes": [(10, 10, 5, 20)]}, "x0 < x1"),
        ({"boxes": [(10, 10, np.nan, 20)]}, "finite"),
        ({"boxes": (10, 10, 20, 20)}, "shape"),
        ({"max_faces": 0}, "max_faces"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    estimator, _ = make([[ALONE]])
    with pytest.raises(ValueError, match=message):
        estimator(grey_image(0), **arguments)


def test_invalid_models_and_devices_are_refused_with_a_remedy():
    with pytest.raises(ValueError, match=r"device: expected one of .*cuda"):
        HeadPoseEstimator("x.trg", device="abacus")
    with pytest.raises(ValueError, match="pip install onnxruntime-directml"):
        HeadPoseEstimator("x.trg", device="directml")
    with pytest.raises(FileNotFoundError, match="weight bundle"):
        HeadPoseEstimator("nowhere.trg")
    with pytest.raises(ValueError, match="min_confidence"):
        HeadPoseEstimator(OracleNetwork([]), min_confidence=2)


def test_a_video_that_is_left_early_is_closed(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", size=(640, 480), frames=30)
    estimator, *_ = make([[ALONE]])
    frames = estimator.stream(clip)
    assert [next(frames).index for _ in range(3)] == [0, 1, 2]
    frames.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("read_ahead")]


def test_the_estimator_needs_no_torch():
    code = "import sys, trg; trg.HeadPoseEstimator; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
