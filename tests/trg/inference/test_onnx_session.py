"""ONNX graphs in ONNX Runtime: other files are refused, threads limited, processes supported."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.constant_bundle import write_constant_bundle
from tests.support.synthetic_topology import ellipsoid_topology
from trg.estimator import HeadPoseEstimator
from trg.geometry.camera import Camera
from trg.inference import onnx_session
from trg.inference.bundle import DEFAULT_BUNDLE, bundled_names
from trg.inference.detections import FixedBoxes
from trg.inference.onnx_external_data import refuse_external_data
from trg.inference.onnx_session import OnnxSession
from trg.inference.pose_pipeline import PosePipeline
from trg.inference.runtime import PoseRuntime
from trg.inference.tracker import FaceTracker, TrackingOptions

ADDEND = np.float32([0, 1, 2, 3])


def external_tensor(location: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def addition(tensor: TensorProto) -> onnx.ModelProto:
    """A graph that adds an initializer to its input."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    node = helper.make_node("Add", ["x", tensor.name], ["y"])
    graph = helper.make_graph([node], "add", values[:1], values[1:], [tensor])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def hidden_in_a_branch(tensor: TensorProto) -> onnx.ModelProto:
    """A graph with the tensor as a constant in the body of an `If` in a function."""
    output = helper.make_tensor_value_info("z", TensorProto.FLOAT, [4])
    constant = helper.make_node("Constant", [], ["z"], value=tensor)
    body = helper.make_graph([constant], "body", [], [output])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    opset = [helper.make_opsetid("", 18)]
    function = helper.make_function("own", "Hide", ["c"], ["y"], [branch], opset)
    model = addition(numpy_helper.from_array(ADDEND, "w"))
    model.functions.append(function)
    return model


@pytest.mark.parametrize("make", [addition, hidden_in_a_branch])
@pytest.mark.parametrize("place", ["beside", "above", "absolute", "memory"])
def test_a_graph_that_refers_to_other_files_is_refused(tmp_path, monkeypatch, make, place) -> None:
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    for folder in (tmp_path, tmp_path / "inside"):
        (folder / "private.bin").write_bytes(ADDEND.tobytes())
    location = {
        "beside": "private.bin",
        "above": "../private.bin",
        "absolute": str(tmp_path / "private.bin"),
        "memory": "*/_ORT_MEM_ADDR_/*",
    }[place]
    model = make(external_tensor(location)).SerializeToString()
    with pytest.raises(ValueError, match=r"stranger.trg: .* holds all of its weights"):
        OnnxSession("stranger.trg", model, 1, None)


def test_whole_graphs_run_and_show_their_shapes() -> None:
    model = addition(numpy_helper.from_array(ADDEND, "w")).SerializeToString()
    session = OnnxSession("add", model, 1, None)
    assert session.inputs == {"x": (4,)}
    assert session.outputs == {"y": (4,)}
    np.testing.assert_array_equal(session.run(None, {"x": ADDEND})[0], 2 * ADDEND)
    with pytest.raises(ValueError, match="add: ONNX Runtime cannot run it"):
        session.run(None, {"x": np.zeros(5, np.float32)})


def test_damaged_graphs_are_refused_by_name() -> None:
    whole = addition(numpy_helper.from_array(ADDEND, "w")).SerializeToString()
    generator = np.random.default_rng(0)
    messages = []
    for _ in range(300):
        data = np.frombuffer(whole, np.uint8).copy()
        spots = generator.integers(0, len(data), generator.integers(1, 6))
        data[spots] ^= generator.integers(1, 256, len(spots), np.uint8)
        model = data.tobytes()[: generator.integers(1, len(data) + 1)]
        try:
            OnnxSession("damaged.onnx", model, 1, None)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 200
    assert all(message.startswith("damaged.onnx: ") for message in messages)


def wrapped(field: int, data: bytes) -> bytes:
    """A message in protobuf's wire format with one field of bytes."""
    length, size = len(data), b""
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([field << 3 | 2]) + size + bytes([length]) + data


def test_the_depth_of_a_graph_is_not_limited_by_the_stack() -> None:
    tensor = external_tensor("private.bin").SerializeToString()
    graph = wrapped(5, tensor)
    for _ in range(3000):  # a graph in an attribute of a node of a graph
        graph = wrapped(1, wrapped(5, wrapped(6, graph)))
    with pytest.raises(ValueError, match=r"deep: .* refers to another file"):
        refuse_external_data("deep", wrapped(7, graph))


def test_more_threads_than_usable_cores_are_reduced_with_a_warning(monkeypatch) -> None:
    monkeypatch.setattr(onnx_session, "usable_cores", lambda: 2)
    model = addition(numpy_helper.from_array(ADDEND, "w")).SerializeToString()
    with pytest.warns(UserWarning, match="may use 2 of the cores, .* 128 threads .* using 2"):
        session = OnnxSession("add", model, 128, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        OnnxSession("add", model, 2, None)
        pickle.loads(pickle.dumps(session))


def test_idle_threads_leave_the_cores_to_others(monkeypatch) -> None:
    opened = []

    class Recorded(onnx_session.onnxruntime.InferenceSession):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            opened.append(self)

    monkeypatch.setattr(onnx_session.onnxruntime, "InferenceSession", Recorded)
    model = addition(numpy_helper.from_array(ADDEND, "w")).SerializeToString()
    OnnxSession("add", model, 2, None)
    assert (
        opened[0].get_session_options().get_session_config_entry("session.intra_op.allow_spinning")
        == "0"
    )


def test_a_session_opens_again_in_another_process() -> None:
    model = addition(numpy_helper.from_array(ADDEND, "w")).SerializeToString()
    again = pickle.loads(pickle.dumps(OnnxSession("add", model, 1, None)))
    np.testing.assert_array_equal(again.run(None, {"x": ADDEND})[0], 2 * ADDEND)


@pytest.fixture
def constant_bundle(tmp_path) -> Path:
    path = tmp_path / "constant.trg"
    write_constant_bundle(path, ellipsoid_topology(), (0.0, 0.0, 0.6))
    return path


def grey_faces(estimator: HeadPoseEstimator) -> list:
    return estimator(np.full((100, 100, 3), 127, np.uint8), boxes=[[20, 20, 80, 80]])


def test_an_estimator_is_sent_to_a_spawned_process(constant_bundle) -> None:
    boxes = FixedBoxes([[20.0, 20.0, 80.0, 80.0]])
    estimator = HeadPoseEstimator(constant_bundle, boxes, flip=True)
    [expected] = grey_faces(estimator)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        [face] = pool.apply(grey_faces, (estimator,))
    np.testing.assert_array_equal(face.rotation, expected.rotation)
    np.testing.assert_array_equal(face.translation_m, expected.translation_m)
    assert face.camera == expected.camera


def test_detector_and_tracker_can_be_pickled(constant_bundle) -> None:
    camera, image = Camera.assumed(100, 100), np.full((100, 100, 3), 127, np.uint8)
    boxes = FixedBoxes([[20.0, 20.0, 80.0, 80.0]])
    options = TrackingOptions(new_confidence=0.0, keep_confidence=0.0)
    tracker = FaceTracker(PosePipeline(PoseRuntime(constant_bundle)), boxes, options)
    [face] = tracker.track(image, camera, 0.0)
    [again] = pickle.loads(pickle.dumps(tracker)).track(image, camera, 0.04)
    assert again.id == face.id
    if DEFAULT_BUNDLE in bundled_names():
        estimator = HeadPoseEstimator()
        estimator(image)  # opens the detector
        assert pickle.loads(pickle.dumps(estimator))(image) == []


def test_usable_cores_are_counted() -> None:
    assert 1 <= onnx_session.usable_cores() <= (os.cpu_count() or 1)
