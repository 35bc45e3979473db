"""The head of error bars, and graphs that it is appended to."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from tests.support.constant_bundle import write_constant_bundle
from tests.support.synthetic_topology import ellipsoid_topology
from trg.error_bars import STD_COUNT
from trg.inference.bundle import DEFAULT_BUNDLE, bundled, bundled_names, read_bundle
from trg.inference.runtime import REQUIRED_OUTPUTS, PoseRuntime
from trg.network import error_bars
from trg.network.error_bars import (
    FEATURE_COUNT,
    ErrorBarHead,
    add_error_bars,
    head_inputs,
    without_error_bars,
)

TOPOLOGY = ellipsoid_topology()
BOXES = np.array([[0.1, -0.2, 0.3], [0.0, 0.0, 1.5], [-0.3, 0.1, 0.05]], np.float32)


def random_head() -> ErrorBarHead:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = ErrorBarHead(TOPOLOGY)
        head.log_std.normal_(-3.0)
    return head.eval()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """A bundle without error bars, a head, and the bundle with it."""
    path = tmp_path_factory.mktemp("bundle") / "constant.trg"
    write_constant_bundle(path, TOPOLOGY, (0.0, 0.0, 0.6))
    plain, head = read_bundle(path), random_head()
    graph = error_bars.head_graph(head, TOPOLOGY.vertex_count)  # tracing takes seconds
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(error_bars, "head_graph", lambda *_: graph)
        yield plain, head, add_error_bars(plain, head)


def test_the_graph_gives_the_heads_numbers_and_the_same_pose(bundles):
    plain, head, extended = bundles
    crops = np.zeros((3, 32, 32, 3), np.uint8)
    before, after = PoseRuntime(plain)(crops, BOXES), PoseRuntime(extended)(crops, BOXES)
    for name in REQUIRED_OUTPUTS:
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name), err_msg=name)
    with torch.inference_mode():
        expected = head(*head_inputs(after, torch.from_numpy(BOXES)))
    np.testing.assert_allclose(after.std, expected.numpy(), rtol=1e-4)
    assert np.ptp(after.std, axis=0).max() > 1e-3  # depends on the box
    assert extended.card.parity["std"] < 1e-4


def test_error_bars_are_replaced_not_doubled(bundles):
    plain, _, extended = bundles
    again = add_error_bars(extended, random_head())
    count = len(onnx.load_from_string(extended.model).graph.node)
    assert len(onnx.load_from_string(again.model).graph.node) == count
    stripped = without_error_bars(again)
    assert onnx.load_from_string(stripped.model) == onnx.load_from_string(plain.model)
    assert stripped.card == plain.card


def test_a_head_that_the_graph_does_not_reproduce_is_refused(bundles, monkeypatch):
    plain, head, _ = bundles
    monkeypatch.setattr(error_bars, "PARITY_LIMIT", 0.0)
    with pytest.raises(ValueError, match="agree with the head"):
        add_error_bars(plain, head)


def test_features_are_finite_whatever_the_network_says():
    head = random_head()
    points = torch.zeros(2, TOPOLOGY.vertex_count, 2)
    landmarks = torch.full((2, 68, 2), 1e6)
    features = head.features(
        torch.from_numpy(BOXES[:2]), torch.eye(3).repeat(2, 1, 1), points, landmarks,
        torch.zeros(2, 68),
    )  # fmt: skip
    assert features.shape == (2, FEATURE_COUNT)
    assert features.isfinite().all()
    std = head.log_std_of(features).exp()
    assert std.shape == (2, STD_COUNT)
    assert std.isfinite().all()


@pytest.mark.skipif(DEFAULT_BUNDLE not in bundled_names(), reason="needs the bundled weights")
def test_a_network_is_restored_from_a_bundle_with_error_bars():
    from trg.network.export import network_from_bundle

    bundle = read_bundle(bundled())
    plain = network_from_bundle(without_error_bars(bundle))
    with_bars = network_from_bundle(bundle)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, with_bars.state_dict()[name]), name
