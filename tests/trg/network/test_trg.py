from __future__ import annotations

import json
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn

from tests.support.network_cases import (
    labelled_batch,
    seeded_network,
    tiny_config,
    tiny_mobile_config,
    wake_heads,
)
from tests.support.synthetic_topology import ellipsoid_topology
from trg.geometry.camera import Camera
from trg.geometry.crop import bbox_info_from_box
from trg.geometry.projection import correction_from_translation, rays_from_crop
from trg.geometry.rotations import rotation_from_euler
from trg.network.checkpoint import load_imagenet_weights
from trg.network.config import (
    PRESETS,
    BackboneConfig,
    RegressorConfig,
    TRGConfig,
    preset,
    table1_variants,
    trg_fast,
    trg_r18,
    trg_s,
    trg_v2,
)
from trg.network.cost import multiply_adds, parameter_count
from trg.network.feature_extractor import ResNet, cell_centres, soft_argmax
from trg.network.losses import TRGLoss
from trg.network.refinement import FeatureSampler
from trg.network.trg import TRGNetwork

TOPOLOGY = ellipsoid_topology()
VARIANTS = table1_variants(tiny_config())
WITH_ADDITIONS = VARIANTS | {
    "additions": replace(tiny_config(), skips=True, reprojection_residual=True),
    "mobile": tiny_mobile_config(),
}


def example_inputs(network: TRGNetwork) -> tuple[torch.Tensor, torch.Tensor]:
    """One black crop and its bbox_info."""
    size = network.config.crop_size
    return torch.zeros(1, 3, size, size), torch.ones(1, 3)


def _shapes_of(network: TRGNetwork, *modules: nn.Module) -> list[tuple[int, ...]]:
    """Run one face and return the shapes that the modules gave."""
    shapes: list[tuple[int, ...]] = []
    hooks = [
        module.register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape)))
        for module in modules
    ]
    size = network.config.crop_size
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size, dtype=torch.uint8), torch.ones(1, 3))
    for hook in hooks:
        hook.remove()
    return shapes


def test_the_papers_network_has_the_papers_shapes() -> None:
    network = seeded_network(trg_r18(), TOPOLOGY)
    maps = _shapes_of(network, network.backbone.layer4, *network.decoder.layers)
    assert maps == [(1, 512, 6, 6), (1, 256, 12, 12), (1, 256, 24, 24), (1, 256, 48, 48)]
    features = _shapes_of(network, *network.samplers)
    assert features == [(1, 1620), (1, 1525), (1, 1525)]
    vertices = [regressor.vertex_head for regressor in network.regressors]
    assert _shapes_of(network, *vertices) == [(1, 3660)] * 3
    assert [r.trunk[0].in_features for r in network.regressors] == [
        count + 3 * 305 + 6 + 3 + 3 for count in (1620, 1525, 1525)
    ]
    layers = [m for m in network.samplers[0].mlp if isinstance(m, nn.Linear)]
    assert [m.in_features for m in layers] + [layers[-1].out_features] == [256, 128, 64, 5]
    assert sum(isinstance(m, nn.LeakyReLU) for m in network.samplers[0].mlp) == 2
    assert [m.out_features for m in network.regressors[0].trunk if isinstance(m, nn.Linear)] == [
        1024,
        1024,
    ]


def test_trgv2_has_two_steps_on_the_first_map() -> None:
    network = seeded_network(trg_v2(), TOPOLOGY)
    first_map = _shapes_of(network, network.decoder.layers[0])
    assert first_map == [(1, 256, 12, 12)]
    inputs = []
    for sampler in network.samplers:
        sampler.register_forward_pre_hook(lambda _m, given: inputs.append(given))
    assert _shapes_of(network, *network.samplers) == [(1, 18 * 18 * 5), (1, 305 * 5)]
    (map_1, points_1), (map_2, points_2) = inputs
    assert map_1 is map_2
    assert (map_1.shape, points_1.shape, points_2.shape) == (
        (1, 256, 12, 12), (1, 324, 2), (1, 305, 2),
    )  # fmt: skip
    assert trg_v2() == table1_variants(trg_r18())["2-iter"]
    assert parameter_count(network) < parameter_count(seeded_network(trg_r18(), TOPOLOGY))


def test_the_small_network_stays_small() -> None:
    network = seeded_network(trg_s(), TOPOLOGY)
    maps = _shapes_of(network, *network.decoder.layers)
    assert [shape[-1] for shape in maps] == [8, 16, 32]
    assert parameter_count(network) <= 8_000_000
    assert multiply_adds(network, *example_inputs(network)) == 196_833_120  # as on the bundled card


def test_the_fast_network_has_less_than_a_third_of_the_small_ones_arithmetic() -> None:
    network = seeded_network(trg_fast(), TOPOLOGY)
    maps = _shapes_of(network, *network.decoder.layers)
    assert maps == [(1, 64, 8, 8), (1, 48, 16, 16), (1, 40, 32, 32)]
    assert parameter_count(network) < 2_200_000
    assert multiply_adds(network, *example_inputs(network)) < 0.3 * 196_833_120


def test_a_grid_of_the_maps_cells_needs_no_sampling() -> None:
    sampler = FeatureSampler(5, tiny_mobile_config().sampler)
    feature_map = torch.randn(2, 5, 4, 4)
    centres = cell_centres(4)
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    points = torch.stack([x, y], -1).reshape(1, -1, 2).expand(2, -1, -1)
    torch.testing.assert_close(sampler(feature_map, None), sampler(feature_map, points))


def test_reducing_the_map_commutes_with_sampling() -> None:
    sampler = FeatureSampler(5, tiny_mobile_config().sampler)
    assert isinstance(sampler.reduce_map, nn.Conv2d)
    feature_map, points = torch.randn(2, 5, 4, 4), torch.rand(2, 7, 2) * 1.4 - 0.7
    sampled_first = nn.functional.grid_sample(feature_map, points[:, None], align_corners=False)
    expected = sampler.mlp(sampler.reduce_map(sampled_first)[:, :, 0].mT).flatten(1)
    torch.testing.assert_close(sampler(feature_map, points), expected)


def test_multiply_adds_agree_with_a_count_by_hand() -> None:
    network = seeded_network(table1_variants(tiny_config())["1-iter"], TOPOLOGY)
    trunk = 4 * 3 * 49 * 16**2  # 7x7, stride 2
    for channels_in, channels, side in ((4, 4, 8), (4, 8, 4), (8, 16, 2), (16, 32, 1)):
        shortcut = channels_in * channels if channels_in != channels else 0
        trunk += (9 * channels_in * channels + 9 * channels**2 + shortcut) * side**2
    decoder = 16 * (32 * 8 * 1 + 8 * 8 * 2**2 + 8 * 8 * 4**2)
    heatmaps = 8 * 68 * 8**2
    points = 324 * (8 * 8 + 8 * 2)
    regressor = (648 + 915 + 12) * 16 + 16 * 16 + 16 * 9 + 16 * 8 + 8 * 3660
    assert (
        multiply_adds(network, *example_inputs(network))
        == trunk + decoder + heatmaps + points + regressor
    )


@pytest.mark.parametrize("name", WITH_ADDITIONS)
def test_every_variant_gives_every_output(name: str) -> None:
    config = WITH_ADDITIONS[name]
    network = wake_heads(seeded_network(config, TOPOLOGY)).eval()
    crops, targets = labelled_batch(TOPOLOGY, config.crop_size, 3)
    output = network(crops, targets.bbox_info)
    assert len(output.steps) == config.iterations
    for stage in output.steps:
        shapes = [tuple(tensor.shape[1:]) for tensor in stage]
        assert shapes == [(6,), (3, 3), (3,), (3,), (1220, 3), (1220, 2)]
        assert all(len(tensor) == 3 and tensor.isfinite().all() for tensor in stage)
        identity = stage.rotation @ stage.rotation.mT
        torch.testing.assert_close(identity, torch.eye(3).expand_as(identity), atol=1e-5, rtol=0)
    assert output.landmarks68_crop.shape == (3, 68, 2)
    assert output.peaks.shape == (3, 68)
    moved = output.steps[-1].vertices_m - network.start_vertices_m
    assert bool(moved.abs().max() > 0) == config.geometry


@pytest.mark.parametrize("name", WITH_ADDITIONS)
def test_every_parameter_of_every_variant_gets_a_gradient(name: str) -> None:
    config = WITH_ADDITIONS[name]
    network = seeded_network(config, TOPOLOGY)
    crops, targets = labelled_batch(TOPOLOGY, config.crop_size, 4)
    TRGLoss(TOPOLOGY)(network(crops, targets.bbox_info), targets).total.backward()
    dead = [
        parameter_name
        for parameter_name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert dead == []


def test_variants_differ_as_table_1_says() -> None:
    base = tiny_config()
    assert [c.iterations for c in VARIANTS.values()] == [1, 2, 3, 3, 3, 3, 3]
    assert [c.multi_scale for c in VARIANTS.values()] == [False] * 3 + [True] * 4
    assert VARIANTS["t-prediction"] == replace(base, translation="direct")
    assert not VARIANTS["landmark-free"].geometry
    assert VARIANTS["grid-sampled"].geometry
    assert VARIANTS["full"] == base
    free = seeded_network(VARIANTS["landmark-free"], TOPOLOGY)
    assert [r.trunk[0].in_features for r in free.regressors] == [324 * 2 + 12] * 3


def test_without_multi_scale_every_step_reads_the_first_map() -> None:
    network = wake_heads(seeded_network(VARIANTS["3-iter"], TOPOLOGY)).eval()
    crops, targets = labelled_batch(TOPOLOGY, 32, 2)
    before = network(crops, targets.bbox_info).steps[-1].vertices_m
    with torch.no_grad():
        network.decoder.layers[1][0].weight.zero_()
    after = network(crops, targets.bbox_info).steps[-1].vertices_m
    assert torch.equal(before, after)


def test_training_starts_near_the_template_facing_the_camera() -> None:
    network = seeded_network(trg_s(), TOPOLOGY).eval()
    crops, targets = labelled_batch(TOPOLOGY, 128, 2)
    for stage in network(crops, targets.bbox_info).steps:
        assert (stage.vertices_m - network.start_vertices_m).abs().max() < 2e-3
        assert (stage.rotation - torch.eye(3)).abs().max() < 0.1
        assert (stage.correction - torch.tensor([1.0, 0.0, 0.0])).abs().max() < 0.1


def test_faces_of_a_batch_do_not_affect_each_other() -> None:
    network = wake_heads(seeded_network(tiny_config(), TOPOLOGY)).eval()
    crops, targets = labelled_batch(TOPOLOGY, 32, 3)
    with torch.no_grad():
        together = network(crops, targets.bbox_info).steps[-1]
        alone = network(crops[1:2], targets.bbox_info[1:2]).steps[-1]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:2], b, atol=1e-5, rtol=1e-4)


def test_uint8_and_float_crops_are_the_same() -> None:
    network = wake_heads(seeded_network(tiny_config(), TOPOLOGY)).eval()
    crops, targets = labelled_batch(TOPOLOGY, 32, 2)
    whole = crops.round().to(torch.uint8)
    a = network(whole, targets.bbox_info).steps[-1].vertices_m
    b = network(whole.float(), targets.bbox_info).steps[-1].vertices_m
    assert torch.equal(a, b)


def test_true_labels_land_on_the_true_pixels_through_any_camera() -> None:
    """Eq. 2 and 3 with a distorted lens, unequal focal lengths and an off-centre axis."""
    camera = Camera(900.0, 960.0, 250.0, 300.0, 640, 480, (0.1, -0.05, 0.002, -0.001, 0.01))
    rotation = rotation_from_euler(np.array([25.0, -10.0, 15.0]))
    translation_m = np.array([0.06, -0.03, 0.55])
    bbox_info = bbox_info_from_box(camera, np.array([200.0, 90.0, 480.0, 370.0]))
    network = seeded_network(tiny_config(), TOPOLOGY).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "head" in name:
                parameter.zero_()
        network.start_rotation_6d.copy_(torch.tensor(rotation[:, :2].T.ravel()))
        correction = correction_from_translation(translation_m, bbox_info)
        network.start_correction.copy_(torch.tensor(correction))
        boxes = torch.tensor(bbox_info, dtype=torch.float32)[None]
        stage = network(torch.zeros(1, 3, 32, 32), boxes).steps[-1]
    np.testing.assert_allclose(stage.translation_m[0], translation_m, atol=1e-6)
    rays = rays_from_crop(stage.vertices_crop[0].double().numpy(), bbox_info)
    expected = camera.project(TOPOLOGY.template_m @ rotation.T + translation_m)
    np.testing.assert_allclose(camera.pixels_from_rays(rays), expected, atol=1e-3)


@pytest.mark.parametrize("name", ["full", "landmark-free"])
def test_given_rotation_and_vertices_are_where_the_first_step_starts(name: str) -> None:
    rotation = torch.tensor(rotation_from_euler(np.array([30.0, 5.0, -20.0])))
    person_m = 1.3 * torch.tensor(TOPOLOGY.template_m)
    network = TRGNetwork(table1_variants(tiny_config())[name], TOPOLOGY, rotation, person_m).eval()
    stage = network(torch.zeros(1, 3, 32, 32), torch.ones(1, 3)).steps[0]
    assert (stage.rotation[0] - rotation).abs().max() < 0.1
    # A network without geometry keeps the template, which nothing would correct.
    expected_m = person_m if name == "full" else torch.tensor(TOPOLOGY.template_m)
    assert (stage.vertices_m[0] - expected_m).abs().max() < 2e-3


def test_sampling_follows_the_crop_convention() -> None:
    sampler = FeatureSampler(2, tiny_config().sampler)
    sampler.mlp = nn.Identity()
    y, x = torch.meshgrid(cell_centres(8), cell_centres(6), indexing="ij")
    points = torch.rand(1, 50, 2, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    read = sampler(torch.stack([x, y])[None], points).reshape(1, 50, 2)
    torch.testing.assert_close(read, points, atol=1e-6, rtol=0)


def test_soft_argmax_agrees_with_a_sum_by_hand() -> None:
    heatmaps = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0)) * 3
    points, peaks = soft_argmax(heatmaps)
    for b in range(2):
        for k in range(3):
            weight = np.exp(heatmaps[b, k].double().numpy())
            weight /= weight.sum()
            x = sum(weight[i, j] * ((j + 0.5) / 6 * 2 - 1) for i in range(4) for j in range(6))
            y = sum(weight[i, j] * ((i + 0.5) / 4 * 2 - 1) for i in range(4) for j in range(6))
            np.testing.assert_allclose(points[b, k].numpy(), [x, y], atol=1e-6)
            np.testing.assert_allclose(peaks[b, k].item(), weight.max(), atol=1e-6)


def _torchvision_names() -> set[str]:
    """The names in torchvision's resnet18 state dict, written down by rule."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = {"conv1.weight", "fc.weight", "fc.bias"} | {f"bn1.{n}" for n in norm}
    for layer in range(1, 5):
        for block in range(2):
            place = f"layer{layer}.{block}"
            for i in (1, 2):
                names |= {f"{place}.conv{i}.weight"} | {f"{place}.bn{i}.{n}" for n in norm}
            if layer > 1 and block == 0:
                names |= {f"{place}.downsample.0.weight"}
                names |= {f"{place}.downsample.1.{n}" for n in norm}
    return names


def _published_state(*, counters: bool) -> dict[str, torch.Tensor]:
    """A resnet18 state dict as torchvision publishes it: 102 tensors, or 122 with the counters."""
    state = {
        name: torch.full_like(t, 2) for name, t in ResNet(BackboneConfig()).state_dict().items()
    }
    state |= {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    return {name: t for name, t in state.items() if counters or "num_batches" not in name}


@pytest.mark.parametrize(("counters", "count"), [(False, 102), (True, 122)])
def test_backbone_takes_torchvisions_weights(tmp_path, counters: bool, count: int) -> None:
    trunk = ResNet(BackboneConfig())
    assert set(trunk.state_dict()) == _torchvision_names() - {"fc.weight", "fc.bias"}
    state = _published_state(counters=counters)
    assert len(state) == count
    torch.save(state, tmp_path / "resnet18.pth")
    load_imagenet_weights(trunk, tmp_path / "resnet18.pth")
    for name, tensor in trunk.state_dict().items():
        assert (tensor == (2 if name in state else 0)).all(), name


def test_backbone_takes_the_weights_of_an_installed_torchvision(monkeypatch) -> None:
    state = _published_state(counters=False)

    class Weights:
        @staticmethod
        def get_state_dict(progress: bool, check_hash: bool) -> dict[str, torch.Tensor]:
            assert check_hash
            return state

    stub = types.ModuleType("torchvision.models")
    stub.ResNet18_Weights = types.SimpleNamespace(IMAGENET1K_V1=Weights)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", stub)
    trunk = ResNet(BackboneConfig())
    load_imagenet_weights(trunk, "torchvision")
    assert (trunk.layer4[1].bn2.running_var == 2).all()
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ImportError, match=r"torchvision cannot be imported .*resnet18-f37072fd"):
        load_imagenet_weights(trunk, "torchvision")


def test_other_backbone_weights_are_refused(tmp_path) -> None:
    trunk, path = ResNet(BackboneConfig()), tmp_path / "resnet18.pth"
    state = _published_state(counters=False)
    torch.save({name: t for name, t in state.items() if name != "layer1.0.bn1.bias"}, path)
    with pytest.raises(ValueError, match=r"Missing: \['layer1.0.bn1.bias'\]"):
        load_imagenet_weights(trunk, path)
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"conv1.weight: expected \(32, 3, 7, 7\), got \(64"):
        load_imagenet_weights(ResNet(BackboneConfig(width=32)), path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="a state dict of tensors"):
        load_imagenet_weights(trunk, path)
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"expected torchvision.* cannot be read safely"):
        load_imagenet_weights(trunk, path)
    with pytest.raises(FileNotFoundError, match=r"resnet18-f37072fd.* found no such file"):
        load_imagenet_weights(trunk, tmp_path / "nothing.pth")


@pytest.mark.parametrize("config", [*VARIANTS.values(), *(make() for make in PRESETS.values())])
def test_configs_survive_json(config: TRGConfig) -> None:
    assert TRGConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_wrong_configs_say_what_was_expected() -> None:
    with pytest.raises(
        ValueError, match="crop_size: expected a positive multiple of 32, at most 2048, got 100"
    ):
        TRGConfig(crop_size=100)
    with pytest.raises(ValueError, match="at most one per map, 3"):
        TRGConfig(iterations=4)
    with pytest.raises(ValueError, match="no landmarks to align to"):
        TRGConfig(geometry=False)
    with pytest.raises(ValueError, match="backbone width: expected 1 to 512, got 0"):
        BackboneConfig(width=0)
    with pytest.raises(ValueError, match="dropout"):
        RegressorConfig(dropout=1.0)
    with pytest.raises(ValueError, match=r"one of \['trg_fast', 'trg_m', .*\], got 'trg_xl'"):
        preset("trg_xl")
    with pytest.raises(ValueError, match="skips: expected True with nearest upsampling"):
        TRGConfig(upsampling="nearest")
    with pytest.raises(ValueError, match="vertex_rank: expected a basis to share, got None"):
        RegressorConfig(shared_basis=True)
    numbers = tiny_config().to_dict()
    numbers["backbone"]["depth"] = 3
    with pytest.raises(ValueError, match=r"network config, backbone: unknown keys \['depth'\]"):
        TRGConfig.from_dict(numbers)


def test_wrong_input_says_what_was_expected() -> None:
    network = seeded_network(tiny_config(), TOPOLOGY)
    with pytest.raises(ValueError, match=r"expected crops \(b, 3, 32, 32\).*got \(1, 32, 32, 3\)"):
        network(torch.zeros(1, 32, 32, 3), torch.ones(1, 3))
    with pytest.raises(ValueError, match=r"got \(2, 3, 32, 32\) and \(1, 3\)"):
        network(torch.zeros(2, 3, 32, 32), torch.ones(1, 3))


def test_shape_annotations_are_executed() -> None:
    """Without the import hook of conftest they would be comments."""
    with pytest.raises(TypeCheckError, match="heatmaps"):
        soft_argmax(torch.zeros(68, 8, 8))
    with pytest.raises(TypeCheckError, match="points_crop"):
        FeatureSampler(2, tiny_config().sampler)(torch.zeros(3, 2, 4, 4), torch.zeros(2, 5, 2))
