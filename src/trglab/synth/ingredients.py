"""Ingredients of synthetic faces, and where their assets are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trglab.synth.accessories.builder import AccessoryProbabilities
from trglab.synth.assets import (
    find_asset,
    find_hair_alpha,
    require_asset,
    require_hair_alpha,
)
from trglab.synth.shots import HARD_POSES, ShotDistribution


@dataclass(frozen=True, slots=True)
class Ingredients:
    """Ingredients of synthetic faces, those with an asset first.

    ``portraits`` are real skins from photographs without landmarks, beside those of
    ``photo_skin``. ``hair_meshes`` are modelled hairstyles, ``hair_alpha`` their textures of
    strands; ``hair`` stands for all hair, procedural and modelled, ``beard_volume`` for the
    strands of beards, moustaches and brows, and ``occluders`` for everything that hides parts of a
    face: objects, hands, masks, glasses, headwear. ``hidden_faces``, one of them, are faces half
    hidden by hands, objects, microphones or a border of the image. ``hard_poses`` are large rolls,
    profiles and heads that look down; ``hard_light`` is strong light from one side, from behind or
    from below. None: use if the asset is installed; True: require it.
    """

    photo_skin: bool | None = None
    portraits: bool | None = False
    panoramas: bool | None = None
    hair_meshes: bool | None = None
    hair_alpha: bool | None = None
    hair: bool = True
    beard_volume: bool = True
    occluders: bool = True
    hidden_faces: bool = True
    hard_poses: bool = True
    hard_light: bool = True

    def shot_distribution(self, shots: ShotDistribution) -> ShotDistribution:
        """Return a distribution of shots without what is left out."""
        left_out = [] if self.hard_poses else list(HARD_POSES)
        if not self.hides_faces:
            left_out.append("at_border_share")
        zero: dict[str, Any] = dict.fromkeys(left_out, 0.0)
        return replace(shots, **zero)

    @property
    def hides_faces(self) -> bool:
        """Whether faces are half hidden."""
        return self.occluders and self.hidden_faces

    def accessory_probabilities(self) -> AccessoryProbabilities:
        """Return the probability of each kind of accessory."""
        disabled = [] if self.hair else ["hair", "mesh_hair", "beard"]
        if not self.occluders:
            disabled += ["occluder", "mask", "glasses", "headwear", "headphones"]
        return replace(AccessoryProbabilities(), **dict.fromkeys(disabled, 0.0))


def ingredient_path(kind: str, wanted: bool | None) -> Path | None:
    """Return the asset of an ingredient, None if it is left out or not installed.

    Raises FileNotFoundError if it is required and missing; the message says how to leave it out.
    """
    if wanted is False:
        return None
    if not wanted:
        return find_asset(kind)
    with _naming_the_option(kind):
        return require_asset(kind)


def hair_alpha_path(ingredients: Ingredients) -> Path | None:
    """Return the folder of the hair meshes' textures, as :func:`ingredient_path`."""
    if ingredients.hair_alpha is False:
        return None
    if not ingredients.hair_alpha:
        return find_hair_alpha()
    with _naming_the_option("hair_alpha"):
        return require_hair_alpha()


@contextmanager
def _naming_the_option(ingredient: str) -> Iterator[None]:
    """Add how to leave an ingredient out to the error that its asset is missing."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}; or leave it out: `--option.without {ingredient}` of a recipe, "
            f"`--without {ingredient}` of `trg eval synthetic`"
        ) from None
