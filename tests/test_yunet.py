"""YuNet's adapter, on a made graph that answers as the model of 2023 does."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from trg.crop import face_box
from trg.yunet import OUTPUTS, STRIDES, YuNet, box_from_points

SIDE = 64
FACE = np.array([[-8, -9], [9, -8], [0, 1], [-7, 9], [8, 10]], float)
"""Five points around their middle, px."""


def answers(faces: dict[tuple[int, int, int], float]) -> dict[str, np.ndarray]:
    """The outputs for faces of a score at (stride, row, column), written as the zoo's code reads.

    ``kps`` counts from the cell's corner in strides: point = (kps + cell) * stride.
    """
    values = {}
    for stride in STRIDES:
        cells = (SIDE // stride) ** 2
        for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            values[f"{kind}_{stride}"] = np.zeros((1, cells, width), np.float32)
    for (stride, row, column), score in faces.items():
        cell = row * (SIDE // stride) + column
        values[f"cls_{stride}"][0, cell] = score
        values[f"obj_{stride}"][0, cell] = score
        values[f"kps_{stride}"][0, cell] = (FACE / stride).ravel()
    return values


def made_yunet(path, values: dict[str, np.ndarray]) -> None:
    """A graph that gives fixed answers, each multiplied by how blue (channel 0) pixel 0 is."""
    constants = {f"{name}_value": value for name, value in values.items()}
    constants |= {
        "from": np.array([0, 0, 0, 0], np.int64),
        "to": np.array([1, 1, 1, 1], np.int64),
        "white": np.array(255.0, np.float32),
        "flat": np.array([1, 1, 1], np.int64),
    }
    nodes = [
        helper.make_node("Slice", ["input", "from", "to"], ["pixel"]),
        helper.make_node("Div", ["pixel", "white"], ["share"]),
        helper.make_node("Reshape", ["share", "flat"], ["factor"]),
        *(helper.make_node("Mul", [f"{name}_value", "factor"], [name]) for name in values),
    ]
    graph = helper.make_graph(
        nodes,
        "yunet",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, v.shape) for n, v in values.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path.write_bytes(model.SerializeToString())


@pytest.fixture
def yunet(tmp_path) -> YuNet:
    made_yunet(tmp_path / "yunet.onnx", answers({(8, 4, 3): 0.9, (16, 1, 3): 0.7, (8, 4, 4): 0.8}))
    return YuNet(tmp_path / "yunet.onnx")


def blue(height: int, width: int) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 2] = 255
    return image


def test_points_are_decoded_and_doubles_suppressed(yunet) -> None:
    found = yunet.detect(blue(SIDE, SIDE))
    np.testing.assert_allclose(found.scores, [0.9, 0.7], atol=1e-6)
    np.testing.assert_allclose(found.points[0], FACE + (3 * 8, 4 * 8), atol=1e-4)
    np.testing.assert_allclose(found.points[1], FACE + (3 * 16, 1 * 16), atol=1e-4)
    np.testing.assert_allclose(found.boxes_xyxy, box_from_points(found.points))
    assert len(yunet.detect(blue(SIDE, SIDE), threshold=0.75).scores) == 1
    assert len(yunet.detect(blue(SIDE, SIDE), max_faces=1).scores) == 1


def test_channels_reach_the_network_as_blue_green_red(yunet) -> None:
    assert len(yunet.detect(blue(SIDE, SIDE)[..., ::-1].copy()).scores) == 0


def test_answers_are_undone_to_the_picture(yunet) -> None:
    found = yunet.detect(blue(2 * SIDE, 4 * SIDE))
    np.testing.assert_allclose(found.points[0], 4 * (FACE + (3 * 8, 4 * 8)), atol=1e-3)
    assert len(yunet.detect(blue(1, 1)).scores) == 2


def test_the_box_follows_a_frontal_face_however_it_is_turned_and_scaled() -> None:
    angle = np.linspace(0, np.pi, 17)
    contour = np.stack([70 * np.cos(angle), 75 * np.sin(angle) - 5], 1)
    eyes = np.array([[-31, -35], [31, -35]], float)
    five = np.array([*eyes, [0, 2], [-24, 38], [24, 38]], float)
    true = face_box(np.concatenate([contour, five, eyes - (0, 22)]))
    for scale in (0.2, 1.0, 7.0):
        got = box_from_points(scale * five[None])[0]
        low, high = np.maximum(got[:2], scale * true[:2]), np.minimum(got[2:], scale * true[2:])
        shared = np.prod(high - low)
        union = np.prod(got[2:] - got[:2]) + np.prod(scale * (true[2:] - true[:2])) - shared
        assert shared / union > 0.7
    for degrees in (30, 90, 200):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turned = box_from_points((five @ np.array([[c, s], [-s, c]]))[None])[0]
        straight = box_from_points(five[None])[0]
        assert np.ptp(turned[[0, 2]]) == pytest.approx(np.ptp(straight[[0, 2]]))
    assert box_from_points(np.zeros((0, 5, 2))).shape == (0, 4)


def test_what_is_no_rgb_picture_is_refused(yunet) -> None:
    with pytest.raises(ValueError, match="uint8 RGB image"):
        yunet.detect(np.zeros((4, 4), np.uint8))


def test_other_files_are_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="face_detection_yunet_2023mar"):
        YuNet(tmp_path / "none.onnx")
    values = answers({})
    del values["kps_8"]
    made_yunet(tmp_path / "other.onnx", values)
    with pytest.raises(ValueError, match="expected YuNet of 2023"):
        YuNet(tmp_path / "other.onnx")
    assert set(answers({})) == set(OUTPUTS)
