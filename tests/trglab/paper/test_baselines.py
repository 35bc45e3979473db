"""The baselines: landmarks with PnP, and poses in the local camera of the face box."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.dot_faces import TOPOLOGY, DotFaces
from tests.support.network_cases import tiny_config
from trg.geometry.projection import (
    crop_from_rays,
    rays_from_points,
    transform,
    translation_from_correction,
)
from trg.geometry.rotations import geodesic_angle_deg, rotation_from_euler
from trg.inference.bundle import WeightCard
from trg.inference.runtime import PoseArrays
from trglab.datasets.view import ViewSpec, view_from_sample
from trglab.paper.baselines import PnPNetwork, baseline_configs
from trglab.paper.img2pose import (
    LOCAL_BBOX_INFO,
    LocalPoseNetwork,
    local_view,
    pose_from_local,
    pose_to_local,
)

COUNT = 5


@pytest.fixture
def scene():
    """True poses of faces that differ from the mean, and bbox_info."""
    rng = np.random.default_rng(0)
    boxes = np.concatenate(
        [rng.uniform(-0.3, 0.3, (COUNT, 2)), rng.uniform(0.2, 0.5, (COUNT, 1))], 1
    )
    correction = np.array([1.0, 0.05, -0.04]) + rng.normal(0.0, 0.03, (COUNT, 3))
    rotation = rotation_from_euler(rng.uniform(-40, 40, (COUNT, 3)))
    translation_m = translation_from_correction(correction, boxes)
    waves = 0.004 * np.sin(40.0 * TOPOLOGY.template_m[:, [1, 2, 0]])
    vertices_m = np.stack([TOPOLOGY.template_m + waves] * COUNT)
    rays = rays_from_points(transform(vertices_m, rotation, translation_m))
    return rotation, translation_m, vertices_m, crop_from_rays(rays, boxes), boxes


class FixedNetwork:
    """A network that returns true labels except for the pose; ``changes`` replace arrays."""

    topology = TOPOLOGY
    crop_size = 32
    card = WeightCard("n", 32, {})

    def __init__(self, scene, **changes):
        _, translation_m, vertices_m, crop, _ = scene
        arrays = {
            "rotation": np.tile(np.eye(3), (COUNT, 1, 1)),
            "translation_m": np.ones_like(translation_m),
            "vertices_m": vertices_m,
            "vertices_crop": crop,
            "landmarks68_crop": crop[:, TOPOLOGY.landmarks68],
            "peaks": np.ones((COUNT, 68)),
            **changes,
        }
        self.arrays = PoseArrays(**{name: np.float32(array) for name, array in arrays.items()})
        self.seen = []

    def __call__(self, crops, bbox_info):
        self.seen.append(bbox_info)
        return self.arrays


def call(network, boxes):
    size = network.crop_size
    return network(np.zeros((len(boxes), size, size, 3), np.uint8), boxes.astype(np.float32))


def test_pnp_with_the_true_face_finds_the_true_pose(scene):
    rotation, translation_m, _, crop, boxes = scene
    found = call(PnPNetwork(FixedNetwork(scene), "heatmap", "predicted"), boxes)
    assert geodesic_angle_deg(found.rotation, rotation).max() < 0.01
    np.testing.assert_allclose(found.translation_m, translation_m, atol=1e-4)
    np.testing.assert_allclose(found.vertices_crop, crop, atol=1e-3)
    assert {array.dtype for array in found if array is not None} == {np.dtype(np.float32)}


@pytest.mark.parametrize("points", ["heatmap", "projected"])
def test_pnp_with_a_face_of_wrong_size_scales_the_distance(scene, points):
    larger = 1.08 * TOPOLOGY.template_m
    rotation, translation_m, _, _, boxes = scene
    rays = rays_from_points(transform(np.stack([larger] * COUNT), rotation, translation_m))
    crop = crop_from_rays(rays, boxes)
    network = FixedNetwork(
        scene, vertices_crop=crop, landmarks68_crop=crop[:, TOPOLOGY.landmarks68]
    )
    network = PnPNetwork(network, points, "mean")
    found = call(network, boxes)
    np.testing.assert_allclose(found.translation_m, translation_m / 1.08, rtol=1e-3)
    np.testing.assert_array_equal(found.vertices_m[2], TOPOLOGY.template_m)
    assert network.card.name == f"n, PnP: {points} points, mean face"


def test_pnp_falls_back_to_the_networks_pose(scene):
    network = FixedNetwork(scene, landmarks68_crop=np.zeros((COUNT, 68, 2)))
    found = call(PnPNetwork(network), scene[-1])
    np.testing.assert_array_equal(found.translation_m, np.ones((COUNT, 3)))


def test_pnp_of_the_networks_own_projection_is_refused(scene):
    with pytest.raises(ValueError, match="mean face"):
        PnPNetwork(FixedNetwork(scene), "projected", "predicted")


def test_local_poses_are_invertible_and_independent_of_focal_length(scene):
    rotation, translation_m, _, _, boxes = scene
    there = pose_to_local(rotation, translation_m, boxes)
    back = pose_from_local(*there, boxes)
    np.testing.assert_allclose(back[0], rotation, atol=1e-12)
    np.testing.assert_allclose(back[1], translation_m, atol=1e-12)
    # Twice the focal length seen at twice the distance is the same image: the same local pose.
    zoomed = boxes * 0.5
    farther_m = translation_m * (1.0, 1.0, 2.0)
    np.testing.assert_allclose(pose_to_local(rotation, farther_m, zoomed)[1], there[1], atol=1e-12)


def test_local_views_keep_image_and_projection():
    spec = ViewSpec(48, 1.6, TOPOLOGY.vertex_count)
    view = view_from_sample(DotFaces().sample(3), spec)
    local = local_view(view)
    np.testing.assert_array_equal(local.face_bbox_info, LOCAL_BBOX_INFO.astype(np.float32))
    np.testing.assert_array_equal(local.image, view.image)
    for name in ("view_bbox_info", "face_bbox_info"):
        np.testing.assert_allclose(
            crop_from_rays(local.landmarks68_rays, getattr(local, name)),
            crop_from_rays(view.landmarks68_rays, getattr(view, name)),
            atol=1e-5,
        )
    pose = view.rotation.astype(float), view.translation_m.astype(float)
    back = pose_from_local(
        local.rotation.astype(float),
        local.translation_m.astype(float),
        view.face_bbox_info.astype(float),
    )
    np.testing.assert_allclose(back[0], pose[0], atol=1e-6)
    np.testing.assert_allclose(back[1], pose[1], atol=1e-6)


def test_local_views_of_views_without_a_pose():
    spec = ViewSpec(48, 1.6, TOPOLOGY.vertex_count)
    view = view_from_sample(DotFaces(posed=False).sample(3), spec)
    local = local_view(view)
    np.testing.assert_array_equal(local.rotation, view.rotation)
    np.testing.assert_array_equal(local.translation_m, view.translation_m)


def test_the_local_network_returns_poses_in_the_images_camera(scene):
    rotation, translation_m, _, crop, boxes = scene
    local_rotation, local_translation_m = pose_to_local(rotation, translation_m, boxes)
    network = FixedNetwork(scene, rotation=local_rotation, translation_m=local_translation_m)
    found = call(LocalPoseNetwork(network), boxes)
    np.testing.assert_array_equal(network.seen[0], np.tile(np.float32(LOCAL_BBOX_INFO), (COUNT, 1)))
    np.testing.assert_allclose(found.translation_m, translation_m, rtol=1e-5, atol=1e-6)
    assert geodesic_angle_deg(found.rotation, rotation).max() < 1e-2
    np.testing.assert_allclose(found.vertices_crop, crop, atol=1e-4)


def test_the_landmark_free_baselines_are_configurations_of_the_network():
    configs = baseline_configs(tiny_config())
    assert set(configs) == {"direct", "local"}
    assert not any(config.geometry for config in configs.values())
    assert configs["direct"].translation == "direct"
    assert configs["local"].translation == "correction"
