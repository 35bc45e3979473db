"""Trainings that start from weights of others: whole, with new parts, or their features only."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.dot_faces import TOPOLOGY
from tests.trglab.training.test_training import dots, train
from trg.inference.bundle import read_bundle
from trg.network.checkpoint import load_checkpoint
from trg.network.export import network_from_bundle
from trg.network.feature_extractor import ResNet
from trg.network.trg import TRGNetwork
from trglab.training.api import export
from trglab.training.overrides import with_overrides
from trglab.training.recipes import recipe
from trglab.training.state import BEST, FEATURES, LAST, read_log


@pytest.fixture(scope="module")
def trained_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(folder / "first", dots())
    bundle = folder / "first.trg"
    export(folder / "first" / LAST, bundle, name="first", licence="MIT", storage="float32")
    return bundle


def test_a_training_starts_from_the_weights_of_another(tmp_path: Path) -> None:
    train(tmp_path / "first", dots())
    start = tmp_path / "first" / BEST
    still = replace(dots().optim, learning_rate=1e-12, weight_decay=0.0)
    train(tmp_path / "second", dots(start_from=str(start), steps=1, optim=still))
    first = dict(load_checkpoint(start).network.named_parameters())
    for name, tensor in load_checkpoint(tmp_path / "second" / LAST).network.named_parameters():
        torch.testing.assert_close(tensor, first[name], atol=1e-9, rtol=0.0)
    wider = replace(dots().model, heatmap_gain=3.0)
    with pytest.raises(ValueError, match=r"same network, \['heatmap_gain'\] differ"):
        train(tmp_path / "third", dots(start_from=str(start), model=wider))


@pytest.mark.slow
def test_a_training_starts_from_a_bundle_and_gains_parts(
    trained_bundle: Path, tmp_path: Path
) -> None:
    still = replace(dots().optim, learning_rate=1e-12, weight_decay=0.0, ema_decay=None)
    more = replace(dots().model, skips=True, reprojection_residual=True)
    second = dots(start_from=str(trained_bundle), model=more, steps=1, optim=still)
    train(tmp_path / "second", second)
    last = load_checkpoint(trained_bundle.parent / "first" / LAST)
    old = last.network.eval()
    old.load_state_dict(last.extra["average"])
    new = load_checkpoint(tmp_path / "second" / LAST).network.eval()
    assert new.config.skips
    crops, boxes = torch.rand(3, 3, 64, 64) * 255, torch.tensor([[0.1, 0.0, 0.3]]).expand(3, 3)
    with torch.no_grad():
        a, b = old(crops, boxes).steps[-1], new(crops, boxes).steps[-1]
    # One step has moved the norms' running statistics a little towards its batch.
    torch.testing.assert_close(b.rotation, a.rotation, atol=0.02, rtol=0.0)
    less = dots(start_from=str(tmp_path / "second" / LAST))
    with pytest.raises(
        ValueError, match=r"same network, \['reprojection_residual', 'skips'\] differ"
    ):
        train(tmp_path / "third", less)


def test_a_trunk_can_start_from_given_weights(tmp_path: Path) -> None:
    given = {
        name: torch.full_like(tensor, 3.0) if name == "conv1.weight" else tensor
        for name, tensor in ResNet(dots().model.backbone).state_dict().items()
    }
    torch.save(given, tmp_path / "resnet18.pth")
    started = with_overrides(
        dots(steps=1, holdout=None),
        {"backbone_weights": str(tmp_path / "resnet18.pth"), "optim.learning_rate": 1e-9},
    )
    train(tmp_path / "run", started)
    trunk = load_checkpoint(tmp_path / "run" / LAST).network.backbone
    torch.testing.assert_close(trunk.conv1.weight, given["conv1.weight"])


def test_a_backbone_from_random_weights_is_said_on_the_console_and_in_the_log(
    tmp_path: Path,
) -> None:
    unlike_the_paper = dots(steps=2, holdout=None, expects_imagenet=True)
    with pytest.warns(UserWarning, match="starts from random weights") as shown:
        train(tmp_path / "random", unlike_the_paper)
    (line,) = (line for line in read_log(tmp_path / "random") if line["kind"] == "warning")
    assert line["step"] == 0
    assert "backbone_weights=resnet18-f37072fd.pth" in line["message"]
    assert [str(each.message) for each in shown] == [line["message"]]
    given = tmp_path / "resnet18.pth"
    torch.save(ResNet(dots().model.backbone).state_dict(), given)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        train(tmp_path / "given", replace(unlike_the_paper, backbone_weights=str(given)))
    assert all(line["kind"] != "warning" for line in read_log(tmp_path / "given"))


def test_the_papers_recipes_expect_imagenet_weights() -> None:
    for name, options in (
        ("paper", {"arkitface": "a", "w300lp": "b"}),
        ("paper_single/landmark-free", {"arkitface": "a"}),
    ):
        chosen = recipe(name, options)
        assert chosen.warning is not None
        assert chosen.initial_backbone == "random weights"
        given = with_overrides(chosen, {"backbone_weights": "models/resnet18-f37072fd.pth"})
        assert given.warning is None
        assert given.initial_backbone == "ImageNet weights (resnet18-f37072fd.pth)"
        assert replace(chosen, start_from="mine.trg").warning is None
    assert recipe("small").warning is None


def test_an_export_takes_the_average_of_a_last_checkpoint(trained_bundle: Path) -> None:
    last = load_checkpoint(trained_bundle.parent / "first" / LAST)
    name = "regressors.0.trunk.0.weight"
    exported = network_from_bundle(read_bundle(trained_bundle)).state_dict()[name]
    torch.testing.assert_close(exported, last.extra["average"][name])
    assert not torch.equal(exported, last.network.state_dict()[name])


def test_only_regressors_learn_on_features_of_another_network(
    trained_bundle: Path, tmp_path: Path
) -> None:
    other_row = replace(dots().model, iterations=1, multi_scale=False)
    recipe = dots(features_from=str(trained_bundle), model=other_row, steps=3)
    train(tmp_path / "run", recipe)
    trained = load_checkpoint(tmp_path / "run" / LAST).network
    given = network_from_bundle(read_bundle(trained_bundle))
    for name in FEATURES:
        theirs = getattr(given, name).state_dict()
        for key, weight in getattr(trained, name).state_dict().items():
            assert torch.equal(weight, theirs[key]), f"{name}.{key}"
    torch.manual_seed(recipe.seed)
    fresh = TRGNetwork(other_row, TOPOLOGY)
    moved = trained.regressors[0].pose_head.weight - fresh.regressors[0].pose_head.weight
    assert moved.abs().max() > 0


def test_features_of_another_shape_are_refused(trained_bundle: Path, tmp_path: Path) -> None:
    wider = replace(dots().model, decoder=(24, 24, 24))
    with pytest.raises(ValueError, match="features_from"):
        train(tmp_path / "run", dots(features_from=str(trained_bundle), model=wider))
    sharper = replace(dots().model, heatmap_gain=3.0)
    with pytest.raises(ValueError, match=r"expected a heatmap_gain of 3\.0, got 1\.0"):
        train(tmp_path / "run", dots(features_from=str(trained_bundle), model=sharper))
    with pytest.raises(ValueError, match="not both"):
        dots(features_from=str(trained_bundle), start_from=str(trained_bundle))
