"""Whole trainings by name, their overrides, and the plans of their learning rates."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from inspect import signature
from itertools import pairwise

import pytest

from trg.network.config import TRGConfig, trg_v2
from trg.network.losses import FACE_BOX_PX, LossWeights
from trglab.cli.train import train
from trglab.training.augment import AugmentConfig
from trglab.training.config import OptimConfig
from trglab.training.optim import learning_rate
from trglab.training.overrides import with_overrides
from trglab.training.recipes import RECIPES, paper, recipe


def test_learning_rates_follow_their_plans() -> None:
    step = OptimConfig(schedule="step", warmup_steps=0, learning_rate=1e-4)
    assert learning_rate(step, 19, 30) == 1e-4
    assert learning_rate(step, 20, 30) == pytest.approx(1e-5)
    cosine = OptimConfig(warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(cosine, s, 100) for s in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.01, abs=2e-3)


def test_recipes_by_name() -> None:
    assert recipe("small").model.crop_size == 128
    assert recipe("synthetic_r18/landmark-free").model.geometry is False
    published = recipe("paper", {"arkitface": "a", "w300lp": "b"})
    assert published == paper(arkitface="a", w300lp="b")
    optim = published.optim
    assert (optim.optimizer, optim.learning_rate, published.batch_size) == ("adam", 1e-4, 128)
    assert published.steps * 128 == pytest.approx(30 * (717_840 + 122_450), abs=128)
    assert learning_rate(optim, published.steps * 19 // 30, published.steps) == 1e-4
    assert learning_rate(optim, published.steps * 21 // 30, published.steps) == pytest.approx(1e-5)
    json.dumps(published.to_dict())
    with pytest.raises(ValueError, match="expected one of"):
        recipe("large")
    with pytest.raises(ValueError, match="expected a row of"):
        recipe("small/no-such-row")
    with pytest.raises(ValueError, match="arkitface"):
        recipe("paper_single")


def test_the_papers_recipes_have_the_papers_network_and_losses() -> None:
    """Inputs and losses of the authors' release that the paper lacks are options."""
    for name, options in (
        ("paper", {"arkitface": "a", "w300lp": "b"}),
        ("paper_single", {"arkitface": "a"}),
    ):
        chosen = recipe(name, options)
        assert chosen.losses == LossWeights(20.0, 2.0, 0.01, 10.0, 2.0, 1.25, 0.0, 0.0)
        assert chosen.model == TRGConfig()
        assert chosen.model.box_centre_gain == 1.0
    assert recipe("small").model.box_centre_gain == 4.0
    released = with_overrides(chosen, {"losses.five_points": 0.1, "model.box_centre_gain": 4})
    assert (released.losses.five_points, released.model.box_centre_gain) == (0.1, 4.0)


def test_trgv2_trains_twenty_epochs_and_ten_at_a_tenth() -> None:
    both = recipe("paper_v2", {"arkitface": "a", "w300lp": "b"})
    assert both.model == trg_v2()
    assert both.datasets == paper(arkitface="a", w300lp="b").datasets
    assert both.batch_size == 256
    assert both.steps * 256 == pytest.approx(30 * (717_840 + 122_450), abs=256)
    alone = recipe("paper_v2", {"arkitface": "a"})
    assert len(alone.datasets) == 1
    for epoch, rate in ((1, 1e-4), (19, 1e-4), (21, 1e-5), (29, 1e-5)):
        found = learning_rate(alone.optim, alone.steps * epoch // 30, alone.steps)
        assert found == pytest.approx(rate)


def test_the_papers_augmentation_is_stronger_on_300wlp() -> None:
    arkitface, w300lp = (
        config.augment for config in recipe("paper", {"arkitface": "a", "w300lp": "b"}).datasets
    )
    assert (arkitface.centre_jitter, arkitface.mask_probability) == (0.15, 0.0)
    assert w300lp.centre_jitter == 0.3
    assert w300lp.mask_probability > 0
    assert replace(w300lp, centre_jitter=0.15, mask_probability=0.0) == arkitface
    assert recipe("paper_single", {"arkitface": "a"}).datasets[0].augment == arkitface
    changed = with_overrides(recipe("small"), {"datasets.0.augment.roll_deg": "45"})
    assert changed.datasets[0].augment == replace(AugmentConfig.strong(), roll_deg=45.0)


def test_synthetic_recipes_weigh_the_image_loss_as_when_they_were_tuned() -> None:
    """0.01 at a focal length of 1000 px; b / f has a mean of 0.58 over these faces."""
    assert recipe("small").losses.image == pytest.approx(0.01 * 1000 * 0.58 / FACE_BOX_PX, rel=0.1)
    assert recipe("synthetic_r18").losses == recipe("small").losses
    assert recipe("paper", {"arkitface": "a", "w300lp": "b"}).losses.image == 0.01


def test_overrides_by_dotted_name() -> None:
    changed = with_overrides(
        recipe("small"), {"optim.learning_rate": "3e-4", "steps": "7", "model.crop_size": 96}
    )
    assert (changed.optim.learning_rate, changed.steps, changed.model.crop_size) == (3e-4, 7, 96)
    with pytest.raises(ValueError, match=r"override optim\.lr: expected one of"):
        with_overrides(recipe("small"), {"optim.lr": 1})
    with pytest.raises(ValueError, match="expected a value like 64"):
        with_overrides(recipe("small"), {"batch_size": "many"})


def test_overrides_reach_into_a_dataset() -> None:
    changed = with_overrides(
        recipe("small"), {"datasets.0.reuse": "20", "datasets.0.buffer_size": 8192}
    )
    assert (changed.datasets[0].reuse, changed.datasets[0].buffer_size) == (20, 8192)
    with pytest.raises(ValueError, match=r"override datasets\.1\.reuse: expected one of"):
        with_overrides(recipe("small"), {"datasets.1.reuse": 20})


def test_overrides_append_and_replace_datasets() -> None:
    more = {
        "datasets.1.target": "faces:MyFaces",
        "datasets.1.options.folder": "mine",
        "datasets.1.weight": "0.5",
    }
    first, second = with_overrides(recipe("small"), more).datasets
    assert first == recipe("small").datasets[0]
    assert (second.target, second.options, second.weight) == (
        "faces:MyFaces", {"folder": "mine"}, 0.5,
    )  # fmt: skip
    (other,) = with_overrides(recipe("small"), {"datasets.0.target": "faces:MyFaces"}).datasets
    assert (other.options, other.reuse) == ({}, 1)


def test_only_optional_fields_can_be_cleared() -> None:
    for text in ("null", "None"):
        assert with_overrides(recipe("small"), {"holdout": text}).holdout is None
    with pytest.raises(ValueError, match="override steps: expected a value like 40000, got None"):
        with_overrides(recipe("small"), {"steps": "null"})


def test_errors_name_the_options_of_a_recipe() -> None:
    with pytest.raises(ValueError, match=r"recipe paper: expected --option\.w300lp$"):
        recipe("paper", {"arkitface": "a"})
    with pytest.raises(ValueError, match=r"among \['--option\.arkitface'\], got \['w300lp'\]"):
        recipe("paper_single", {"arkitface": "a", "w300lp": "b"})


def test_the_help_lists_the_options_of_every_recipe() -> None:
    listed = set(re.findall(r"--option\.(\w+)", train.__doc__))
    options = {option for make in RECIPES.values() for option in signature(make).parameters}
    assert listed == options - {"options"}  # which is for Python


def test_a_holdout_lacks_only_assets_that_the_training_lacks_too() -> None:
    """No asset is installed in tests. The first hold-out never has hair_alpha."""
    everything_else = {"photo_skin", "panoramas", "hair_meshes"}
    left_out = recipe("small", {"without": "photo_skin,panoramas,hair,occluders"}).holdout_without
    assert set(left_out) == everything_else
    assert recipe("small").holdout_without == ("panoramas",)
    assert recipe("small", {"holdout_without": ""}).holdout_without == ()
    with pytest.raises(ValueError, match="without: expected some of"):
        recipe("small", {"without": "wigs"})


@pytest.mark.parametrize("name", ["small", "fast", "synthetic_r18"])
def test_trainings_use_only_ingredients_that_are_shown_to_pay(name: str) -> None:
    used = recipe(name).datasets[0].options["ingredients"]
    left_out = {ingredient for ingredient, is_used in used.items() if not is_used}
    assert left_out == {"panoramas", "portraits", "hair_alpha", "beard_volume"}
    everything = recipe(name, {"without": ""}).datasets[0].options["ingredients"]
    assert all(everything.values())


def test_a_training_may_have_people_of_its_own() -> None:
    assert recipe("small", {"people": "3"}).datasets[0].options["seed"] == 3
    assert recipe("synthetic_r18").datasets[0].options["seed"] == 0
    with pytest.raises(ValueError, match="neither without nor people"):
        recipe("small", {"people": "3", "pack": "views"})
