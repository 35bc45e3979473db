"""A weight bundle with constant output: real files and runtime, no training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trg.geometry.face_mesh import FaceTopology
from trg.inference.bundle import WeightBundle, WeightCard, write_bundle
from trg.inference.runtime import INPUTS, PoseArrays


def write_constant_bundle(
    path: Path,
    topology: FaceTopology,
    translation_m: tuple[float, float, float],
    std: np.ndarray | None = None,
) -> None:
    """Write a bundle of 32 px crops: a frontal template head at one place, whatever is shown.

    ``std``, (86,), are its error bars.
    """
    template = np.float32(topology.template_m)
    answers = PoseArrays(
        rotation=np.eye(3, dtype=np.float32),
        translation_m=np.float32(translation_m),
        vertices_m=template,
        vertices_crop=template[:, :2] * 10.0,
        landmarks68_crop=template[topology.landmarks68, :2] * 9.0,
        peaks=np.full(68, 0.5, np.float32),
        std=None if std is None else np.float32(std),
    )
    nodes, values, outputs = [], [], []
    # Zeros, one for each crop, carry the number of crops into every answer.
    values.append(numpy_helper.from_array(np.float32(0.0), "zero"))
    values.append(numpy_helper.from_array(np.array([0], np.int64), "first"))
    values.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    values.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    nodes.append(helper.make_node("Slice", ["bbox_info", "first", "one", "axis"], ["column"]))
    nodes.append(helper.make_node("Mul", ["column", "zero"], ["zeros"]))
    for name, answer in answers._asdict().items():
        if answer is None:
            continue
        sides = np.array([-1, *(1 for _ in answer.shape)], np.int64)
        values.append(numpy_helper.from_array(answer, f"{name}_value"))
        values.append(numpy_helper.from_array(sides, f"{name}_sides"))
        nodes.append(helper.make_node("Reshape", ["zeros", f"{name}_sides"], [f"{name}_zeros"]))
        nodes.append(helper.make_node("Add", [f"{name}_value", f"{name}_zeros"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", *answer.shape]))
    inputs = [
        helper.make_tensor_value_info(INPUTS[0], TensorProto.UINT8, ["b", 32, 32, 3]),
        helper.make_tensor_value_info(INPUTS[1], TensorProto.FLOAT, ["b", 3]),
    ]
    graph = helper.make_graph(nodes, "constant", inputs, outputs, values)
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    onnx.checker.check_model(model)
    card = WeightCard("constant", 32, {})
    write_bundle(path, WeightBundle(model.SerializeToString(), topology, card))
