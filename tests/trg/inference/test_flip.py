"""Flip test-time augmentation."""

from __future__ import annotations

import numpy as np
import pytest

from trg.estimator import HeadPoseEstimator
from trg.geometry.face_mesh import LANDMARKS68_MIRROR
from trg.geometry.projection import crop_from_rays, rays_from_points, transform
from trg.inference.bundle import DEFAULT_BUNDLE, bundled, bundled_names
from trg.inference.flip import MIRROR, FlipTTANetwork
from trg.inference.runtime import PoseArrays, PoseNetwork, PoseRuntime

pytestmark = pytest.mark.skipif(
    DEFAULT_BUNDLE not in bundled_names(), reason="needs the bundled weights"
)


@pytest.fixture(scope="module")
def runtime() -> PoseRuntime:
    return PoseRuntime(bundled())


def random_crops(runtime: PoseRuntime, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Patchworks of colour, asymmetric, with their bbox_info."""
    rng = np.random.default_rng(0)
    size = runtime.crop_size
    crops = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    crops = crops.repeat(size // 8, axis=1).repeat(size // 8, axis=2)
    centre, side = rng.uniform(-0.3, 0.3, (count, 2)), rng.uniform(0.1, 0.6, (count, 1))
    return crops, np.concatenate([centre, side], 1).astype(np.float32)


def test_a_flipped_crop_gives_the_flipped_estimate(runtime: PoseRuntime) -> None:
    network = FlipTTANetwork(runtime)
    crops, boxes = random_crops(runtime)
    plain = network(crops, boxes)
    flipped = network(np.ascontiguousarray(crops[:, :, ::-1]), boxes * MIRROR)
    partner = runtime.topology.mirror
    expected = PoseArrays(
        MIRROR[:, None] * plain.rotation * MIRROR,
        plain.translation_m * MIRROR,
        plain.vertices_m[:, partner] * MIRROR,
        plain.vertices_crop[:, partner] * MIRROR[:2],
        plain.landmarks68_crop[:, LANDMARKS68_MIRROR] * MIRROR[:2],
        plain.peaks[:, LANDMARKS68_MIRROR],
    )
    for name, got, wanted in zip(PoseArrays._fields, flipped, expected, strict=True):
        if wanted is not None:
            np.testing.assert_allclose(got, wanted, atol=2e-5, err_msg=name)
    without_flip = runtime(crops, boxes).rotation
    assert np.abs(without_flip - plain.rotation).max() > 1e-3


def test_averaged_estimates_are_consistent(runtime: PoseRuntime) -> None:
    network = FlipTTANetwork(runtime)
    assert isinstance(network, PoseNetwork)
    crops, boxes = random_crops(runtime)
    arrays = network(crops, boxes)
    points_m = transform(arrays.vertices_m, arrays.rotation, arrays.translation_m)
    projected = crop_from_rays(rays_from_points(points_m), boxes)
    np.testing.assert_allclose(arrays.vertices_crop, projected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(arrays.rotation), 1.0, atol=1e-5)
    assert {array.dtype for array in arrays if array is not None} == {np.dtype(np.float32)}
    empty = network(crops[:0], boxes[:0])
    assert {array.shape[0] for array in empty if array is not None} == {0}


def test_the_estimator_flips_on_request(runtime: PoseRuntime) -> None:
    crops, _ = random_crops(runtime, 1)
    box = [[20.0, 20.0, 110.0, 110.0]]
    plain, flipped = (
        HeadPoseEstimator(runtime, flip=flip, refine=False)(crops[0], boxes=box)[0]
        for flip in (False, True)
    )
    assert HeadPoseEstimator(runtime, flip=True).card.name == "trg_s, flip TTA"
    assert not np.allclose(plain.rotation, flipped.rotation, atol=1e-4)
