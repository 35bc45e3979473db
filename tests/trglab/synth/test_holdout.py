"""The hold-outs: the first never changes, the second has more people and all ingredients."""

from __future__ import annotations

import numpy as np
import pytest

from trglab.evaluation.protocols import synthetic_protocol
from trglab.synth.dataset import SyntheticFaces
from trglab.synth.holdout import (
    HOLDOUT_COUNT,
    HOLDOUT_VERSIONS,
    INGREDIENTS,
    holdout_options,
    holdout_version,
    left_out_ingredients,
)
from trglab.synth.shots import HARD_POSES

FIRST_INGREDIENTS = {"photo_skin", "panoramas", "hair_meshes", "hair", "occluders"}


def test_the_first_holdout_has_the_people_and_ingredients_it_always_had():
    options = holdout_options((192, 1.6))
    assert (options["seed"], options["images_per_person"]) == (1_000_003, 24)
    assert {name for name, used in options["ingredients"].items() if used} == FIRST_INGREDIENTS
    assert left_out_ingredients(options) == ()
    assert holdout_version(options) == 1
    without = holdout_options((192, 1.6), without=("panoramas",))
    assert left_out_ingredients(without) == ("panoramas",)


def test_the_second_holdout_has_a_thousand_people_and_all_proven_ingredients():
    options = holdout_options((192, 1.6), version=2)
    assert {name for name in INGREDIENTS if not options["ingredients"][name]} == {"portraits"}
    assert HOLDOUT_COUNT // options["images_per_person"] == 1000
    assert options["seed"] != holdout_options((192, 1.6))["seed"]
    assert holdout_version(options) == 2
    assert "hold-out 2" in synthetic_protocol(version=2).title
    assert synthetic_protocol().title.startswith("Synthetic hold-out,")
    with pytest.raises(ValueError, match=r"version: expected one of \(1, 2\), got 3"):
        holdout_options((192, 1.6), version=3)


def test_new_ingredients_leave_images_without_them_unchanged(monkeypatch):
    """Each draws from a random stream of its own, so that the first hold-out never changes."""
    monkeypatch.setattr("trglab.synth.dataset.HARD_LIGHT_SHARE", 0.0)
    monkeypatch.setattr("trglab.synth.studio.HIDDEN_SHARE", 0.0)
    options = {"window": (48, 1.6), "shots": dict.fromkeys((*HARD_POSES, "at_border_share"), 0.0)}
    plain = dict.fromkeys((*INGREDIENTS[:3], "beard_volume"), False)  # every face has brows
    without = dict.fromkeys(HOLDOUT_VERSIONS[1].lacks, False)
    enabled = SyntheticFaces(0, ingredients=plain, **options).sample(1)
    disabled = SyntheticFaces(0, ingredients=plain | without, window=(48, 1.6)).sample(1)
    np.testing.assert_array_equal(enabled.image, disabled.image)
    np.testing.assert_array_equal(enabled.translation_m, disabled.translation_m)


def test_a_person_has_as_many_images_as_requested():
    plain = dict.fromkeys(INGREDIENTS[:3], False)
    faces = SyntheticFaces(0, window=(16, 1.6), ingredients=plain, images_per_person=4)
    identities = [faces.sample(index).identity for index in (0, 3, 4)]
    assert identities == ["0-0", "0-0", "0-1"]
    with pytest.raises(ValueError, match="divisor of 24"):
        SyntheticFaces(0, ingredients=plain, images_per_person=5)
