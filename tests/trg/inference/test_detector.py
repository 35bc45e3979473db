"""The detector at inference, on an artificial graph whose output is known."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from trg.inference.detections import Detections, FixedBoxes, box_iou, non_maximum_suppression
from trg.inference.detector import BUNDLED, CARD, STRIDE, UNIT_SIDE_PX, FaceDetector, bundled_model

SIDE_PX = 48.0
"""Of every box that the made graph finds."""

POINTS = np.linspace(-0.3, 0.3, 10)


def spot_finder() -> onnx.ModelProto:
    """A graph that finds a face in each 8x8 square with a bright middle, scored by its brightness.

    The score is the red of the square's pixel (4, 4) over 255; the face's centre lies a tenth of a
    side to the right of the square's centre.
    """
    numbers = np.array([0.1, 0.0, np.log(SIDE_PX / UNIT_SIDE_PX), *POINTS], np.float32)
    constants = {
        "from": np.array([4, 4, 0], np.int64),
        "to": np.array([10**6, 10**6, 1], np.int64),
        "axes": np.array([1, 2, 3], np.int64),
        "steps": np.array([STRIDE, STRIDE, 1], np.int64),
        "white": np.array(255.0, np.float32),
        "none": np.array(0.0, np.float32),
        "last": np.array([3], np.int64),
        "numbers": numbers,
    }
    nodes = [
        helper.make_node("Slice", ["images", "from", "to", "axes", "steps"], ["red"]),
        helper.make_node("Cast", ["red"], ["level"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["level", "white"], ["share"]),
        helper.make_node("Squeeze", ["share", "last"], ["scores"]),
        helper.make_node("Mul", ["share", "none"], ["zero"]),
        helper.make_node("Add", ["zero", "numbers"], ["faces"]),
    ]
    graph = helper.make_graph(
        nodes,
        "spots",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["b", "h", "w", 3])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["b", "r", "c"]),
            helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["b", "r", "c", 13]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def write_model(path, model: onnx.ModelProto, **card) -> None:
    data = model.SerializeToString()
    metadata = {
        "threshold": 0.5,
        "graph_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    note = onnx.ModelProto(
        metadata_props=[onnx.StringStringEntryProto(key=CARD, value=json.dumps(metadata | card))]
    )
    path.write_bytes(data + note.SerializeToString())


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "spots.onnx"
    write_model(path, spot_finder())
    return path


def image_with_spots(width: int, height: int, spots: dict[tuple[int, int], int]) -> np.ndarray:
    """A black image with bright 8x8 squares at (column, row) of the 8-pixel grid."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for (column, row), level in spots.items():
        pixels[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = level
    return pixels


def test_cells_are_decoded_to_boxes_and_landmarks(model_path) -> None:
    found = FaceDetector(model_path).detect(
        image_with_spots(320, 256, {(10, 5): 255, (30, 20): 200})
    )
    np.testing.assert_allclose(found.scores, [1.0, 200 / 255], atol=1e-6)
    centre = np.array([(10.5 * 8 + 0.1 * SIDE_PX, 5.5 * 8), (30.5 * 8 + 0.1 * SIDE_PX, 20.5 * 8)])
    np.testing.assert_allclose(found.boxes_xyxy[:, :2], centre - SIDE_PX / 2, atol=1e-4)
    np.testing.assert_allclose(found.boxes_xyxy[:, 2:], centre + SIDE_PX / 2, atol=1e-4)
    expected = np.array([10.5 * 8, 5.5 * 8]) + SIDE_PX * POINTS.reshape(5, 2)
    np.testing.assert_allclose(found.points_px[0], expected, atol=1e-4)


@pytest.mark.parametrize("factor", [2, 3, 0.5])
def test_boxes_scale_with_the_image(model_path, factor) -> None:
    """The image's larger side becomes 320 px, whatever it was."""
    small = image_with_spots(320, 256, {(10, 5): 255, (30, 20): 230})
    detector = FaceDetector(model_path)
    if factor < 1:
        scaled = np.ascontiguousarray(small[::2, ::2])
    else:
        scaled = small.repeat(factor, 0).repeat(factor, 1)
    expected, got = detector.detect(small), detector.detect(scaled, threshold=0.4)
    assert len(got.scores) == len(expected.scores) == 2
    np.testing.assert_allclose(got.boxes_xyxy, expected.boxes_xyxy * factor, atol=1e-3)
    np.testing.assert_allclose(got.points_px, expected.points_px * factor, atol=1e-3)


def test_only_local_maxima_above_the_threshold_are_detections(model_path) -> None:
    spots = {(10, 10): 250, (11, 10): 240, (12, 10): 245, (30, 10): 140, (20, 20): 100}
    detector = FaceDetector(model_path)
    found = detector.detect(image_with_spots(320, 256, spots))
    np.testing.assert_allclose(found.scores * 255, [250, 140], atol=1e-3)
    assert detector.threshold == 0.5
    assert len(detector.detect(image_with_spots(320, 256, spots), threshold=0.3).scores) == 3
    lenient = FaceDetector(model_path, threshold=0.3)
    assert len(lenient.detect(image_with_spots(320, 256, spots)).scores) == 3
    with pytest.raises(ValueError, match="threshold: expected a score from 0 to 1, got 30"):
        FaceDetector(model_path, threshold=30)
    assert len(detector.detect(image_with_spots(320, 256, spots), max_faces=1).scores) == 1


def test_without_a_face_of_the_threshold_the_best_of_the_fallback_remains(model_path) -> None:
    weak = {(10, 10): 100, (20, 20): 110, (30, 10): 90}
    detector = FaceDetector(model_path, fallback_threshold=0.4)
    images = [image_with_spots(320, 256, weak | strong) for strong in ({}, {(5, 5): 140})]
    found = detector.detect_batch(images)
    np.testing.assert_allclose(found[0].scores * 255, [110], atol=1e-3)
    np.testing.assert_allclose(found[1].scores * 255, [140], atol=1e-3)
    assert len(detector.detect(images[0], threshold=0.5).scores) == 0, "asked for no others"
    assert len(FaceDetector(model_path, fallback_threshold=0.45).detect(images[0]).scores) == 0
    with pytest.raises(ValueError, match="threshold: expected a score from 0 to 1, got -1"):
        FaceDetector(model_path, fallback_threshold=-1)


def test_a_batch_of_mixed_sizes_equals_single_images(model_path) -> None:
    rng = np.random.default_rng(0)
    images = [
        image_with_spots(w, h, {(int(rng.integers(w // 8)), int(rng.integers(h // 8))): 255})
        for w, h in ((320, 256), (320, 256), (256, 320), (160, 96), (64, 64)) * 2
    ]
    images[3] = images[3].repeat(4, 0).repeat(4, 1)
    detector = FaceDetector(model_path)
    for one, each in zip(detector.detect_batch(images), images, strict=True):
        for a, b in zip(one, detector.detect(each), strict=True):
            np.testing.assert_array_equal(a, b)
        assert len(one.scores) == 1


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 7), (3, 20000), (20000, 2), (480, 20000), (31, 33), (2000, 3)]
)
def test_empty_images_of_any_shape_have_no_face(model_path, shape) -> None:
    found = FaceDetector(model_path).detect(np.zeros((*shape, 3), np.uint8))
    assert [array.shape for array in found] == [(0, 4), (0,), (0, 5, 2)]


def test_faces_are_found_everywhere_in_a_panorama(model_path) -> None:
    detector = FaceDetector(model_path)
    for start in (0, 4000, 9999, 19400):
        pixels = np.zeros((600, 20000, 3), np.uint8)
        pixels[200:320, start : start + 120] = 255
        found = detector.detect(pixels, max_faces=1)
        assert len(found.scores) == 1
        centre = (found.boxes_xyxy[0, :2] + found.boxes_xyxy[0, 2:]) / 2
        assert abs(centre[0] - start - 60) < 120
        assert abs(centre[1] - 260) < 120


def test_small_faces_are_found_in_finer_pyramid_levels(model_path) -> None:
    """A spot of 8 px in a large image is gone at 320 px, and found where it may be so small."""
    pixels = np.zeros((1500, 2000, 3), np.uint8)
    places = [(1601, 1207), (5, 3), (1990, 1490), (760, 700)]
    for x, y in places:
        pixels[y : y + 8, x : x + 8] = 255
    assert len(FaceDetector(model_path).detect(pixels).scores) == 0
    fine = FaceDetector(model_path, smallest_face_px=16.0).detect(pixels, threshold=0.2)
    centres = (fine.boxes_xyxy[:, :2] + fine.boxes_xyxy[:, 2:]) / 2
    for place in places:
        assert np.abs(centres - place).max(1).min() < 24
    sides_px = fine.boxes_xyxy[:, 2] - fine.boxes_xyxy[:, 0]
    assert sides_px.min() == pytest.approx(SIDE_PX / 1.28, rel=1e-2)  # 0.16, doubled three times


@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 6000), st.integers(1, 6000)),
    smallest_px=st.tuples(st.floats(4, 400), st.floats(4, 400)),
)
def test_a_smaller_smallest_face_only_adds_tiles(model_path, size, smallest_px) -> None:
    few, many = (
        FaceDetector(model_path, smallest_face_px=smallest)._tiles(*size)
        for smallest in sorted(smallest_px, reverse=True)
    )
    assert many[: len(few)] == few
    assert few[: len(FaceDetector(model_path)._tiles(*size))] == FaceDetector(model_path)._tiles(
        *size
    )
    finest = max(tile.scale for tile in many)
    assert finest >= min(16.0 / min(smallest_px), 2.0) - 1e-9


def test_a_face_found_for_one_smallest_size_is_found_for_smaller_ones(model_path) -> None:
    pixels = np.zeros((1500, 2000, 3), np.uint8)
    rng = np.random.default_rng(0)
    for x, y in rng.integers(0, (1900, 1400), (12, 2)):
        pixels[y : y + 48, x : x + 48] = rng.integers(160, 256)
    earlier = np.zeros((0, 4))
    for smallest_px in (200, 100, 79, 60, 56, 40, 36, 32, 20):
        found = FaceDetector(model_path, smallest_face_px=smallest_px).detect(pixels).boxes_xyxy
        assert all(box_iou(found, box).max() > 0.4 for box in earlier)
        earlier = found
    assert len(earlier) >= 10


@pytest.mark.parametrize(
    ("size", "scales"),
    [
        ((640, 480), [0.5]),
        ((1280, 720), [0.25, 0.5]),
        ((1920, 1080), [1 / 6, 1 / 3]),
        ((4000, 3000), [0.08, 0.16, 0.32]),
        ((16000, 12000), [0.02, 0.04, 0.08]),
    ],
)
def test_large_images_get_a_bounded_number_of_finer_levels(model_path, size, scales) -> None:
    tiles = FaceDetector(model_path, finer_levels=2)._tiles(*size)
    np.testing.assert_allclose(sorted({tile.scale for tile in tiles}), scales)
    assert len(tiles) <= 8


def test_iou_equals_counting_pixels() -> None:
    rng = np.random.default_rng(1)
    corners = rng.integers(0, 20, (30, 2))
    boxes = np.hstack([corners, corners + rng.integers(1, 15, (30, 2))])

    def mask(box):
        grid = np.zeros((40, 40), bool)
        grid[box[1] : box[3], box[0] : box[2]] = True
        return grid

    for box in boxes[:5]:
        expected = [(mask(a) & mask(box)).sum() / (mask(a) | mask(box)).sum() for a in boxes]
        np.testing.assert_allclose(box_iou(boxes.astype(float), box.astype(float)), expected)


def test_non_maximum_suppression_equals_the_naive_loop() -> None:
    rng = np.random.default_rng(2)
    corners = rng.uniform(0, 60, (80, 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 30, (80, 1))])
    faces = Detections(boxes, rng.random(80), rng.random((80, 5, 2)))
    kept: list[int] = []
    for i in np.argsort(-faces.scores):
        if all(box_iou(boxes[[i]], boxes[j])[0] <= 0.4 for j in kept):
            kept.append(int(i))
    got = non_maximum_suppression(faces)
    assert 5 < len(kept) < 80
    np.testing.assert_array_equal(got.scores, faces.scores[kept])
    np.testing.assert_array_equal(got.points_px, faces.points_px[kept])


def test_fixed_boxes_become_squares_and_are_sorted() -> None:
    fixed = FixedBoxes([[10, 20, 50, 40], [0, 0, 10, 10]], enlarge=2.0, scores=[0.3, 0.9])
    found = fixed.detect(np.zeros((5, 5, 3), np.uint8))
    np.testing.assert_allclose(found.boxes_xyxy, [[-5, -5, 15, 15], [-10, -10, 70, 70]])
    assert found.scores.tolist() == [0.9, 0.3]
    assert np.isnan(found.points_px).all()
    assert len(fixed.detect(np.zeros((5, 5, 3), np.uint8), threshold=0.5).scores) == 1
    assert len(FixedBoxes(np.zeros((0, 4))).detect(np.zeros((5, 5, 3), np.uint8)).scores) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 1, 1, 5]],), "x0 < x1"),
        (([[1, 1, np.nan, 5]],), "finite"),
        (([1, 1, 2, 5],), "shape"),
        (([[1, 1, 2, 5]], 0.0), "enlarge"),
        (([[1, 1, 2, 5]], 1.0, [1, 1]), "scores"),
    ],
)
def test_invalid_fixed_boxes_are_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        FixedBoxes(*arguments)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3), np.float32),
        np.zeros((5, 5, 3), np.uint16),
    ],
)
def test_images_other_than_uint8_rgb_are_refused(model_path, image) -> None:
    for detector in (FaceDetector(model_path), FixedBoxes([[0, 0, 8, 8]])):
        with pytest.raises(ValueError, match=r"image: expected an .*uint8 RGB image"):
            detector.detect(image)


def test_invalid_parameters_are_refused(model_path) -> None:
    detector, image = FaceDetector(model_path), np.zeros((8, 8, 3), np.uint8)
    for threshold in (-0.1, 1.5, np.nan):
        with pytest.raises(ValueError, match="threshold: expected a score"):
            detector.detect(image, threshold=threshold)
    with pytest.raises(ValueError, match="max_faces"):
        detector.detect(image, max_faces=0)
    for name in ("side_px", "smallest_face_px", "threads"):
        with pytest.raises(ValueError, match=name):
            FaceDetector(model_path, **{name: 0})
    with pytest.raises(ValueError, match=r"\['Fast'\] are not installed"):
        FaceDetector(model_path, providers=["Fast"])


def test_files_other_than_detectors_are_refused(model_path, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a face detector"):
        FaceDetector(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ValueError, match=r"text.onnx: expected an ONNX graph"):
        FaceDetector(tmp_path / "text.onnx")
    (tmp_path / "other.onnx").write_bytes(spot_finder().SerializeToString())
    with pytest.raises(ValueError, match="with its card"):
        FaceDetector(tmp_path / "other.onnx")
    data = bytearray(model_path.read_bytes())
    at = data.index(np.float32(POINTS[0]).tobytes())
    data[at] ^= 1
    (tmp_path / "damaged.onnx").write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        FaceDetector(tmp_path / "damaged.onnx")


@pytest.mark.skipif(not BUNDLED.is_file(), reason="this copy of the package has no detector")
def test_the_bundled_detector_is_small_and_finds_nothing_in_blank_images() -> None:
    path = bundled_model()
    assert path.stat().st_size <= 600e3
    detector = FaceDetector()
    assert detector.card["parameters"] <= 250_000
    assert {"licence", "attribution", "training", "figures"} <= set(detector.card)
    for level in (0, 127, 255):
        assert len(detector.detect(np.full((480, 640, 3), level, np.uint8)).scores) == 0
