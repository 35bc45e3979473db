"""Accessories of a person: sampled as plain data, then built as surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from trg._util.checks import finite_array
from trglab.synth.accessories.body import Body, body_surfaces, sample_body, turn_body
from trglab.synth.accessories.facewear import (
    Beard,
    BeardKind,
    FaceMask,
    LowerFaceRegions,
    MaskKind,
    beard_surfaces,
    mask_surfaces,
)
from trglab.synth.accessories.facial_strands import (
    FacialHair,
    StrandRoots,
    beard_strands,
    brow_strands,
)
from trglab.synth.accessories.glasses import Glasses, glasses_surfaces, sample_glasses
from trglab.synth.accessories.hair import GrownHair, grown_hair_surfaces
from trglab.synth.accessories.hair_cards import HairCards, load_hair_cards, sample_card_hair
from trglab.synth.accessories.hair_meshes import (
    HairMeshes,
    MeshHair,
    load_hair_meshes,
    sample_mesh_hair,
)
from trglab.synth.accessories.hairstyles import sample_hairstyle
from trglab.synth.accessories.head_map import HeadFit, HeadMap
from trglab.synth.accessories.headwear import (
    Headwear,
    earring_surfaces,
    headphone_surfaces,
    headwear_surfaces,
    sample_headwear,
)
from trglab.synth.accessories.occluders import Occluder, occluder_surfaces, sample_occluder
from trglab.synth.accessories.strands import (
    STRAND_KINDS,
    HairColour,
    StrandTexture,
    greyed,
    sample_hair_colour,
    strand_texture,
)
from trglab.synth.choice import choose
from trglab.synth.head.face_model import FaceModel
from trglab.synth.render.surface import Surface

TEXTURES_PER_KIND = 3
"""Strand textures of each kind that all heads of a process share."""

_BEARD_PROBABILITIES: dict[BeardKind, float] = {
    "full": 0.46, "goatee": 0.12, "moustache": 0.16, "circle": 0.18, "chinstrap": 0.08,
}  # fmt: skip
_MASK_PROBABILITIES: dict[MaskKind, float] = {"medical": 0.6, "cloth": 0.25, "respirator": 0.15}


@dataclass(frozen=True, slots=True)
class AccessoryProbabilities:
    """Probability of each kind of accessory.

    ``mesh_hair`` is the share of hair that is a mesh rather than procedural, if meshes are
    installed; ``beard`` is among adult men; ``occluder`` is per image.
    """

    hair: float = 1.0
    mesh_hair: float = 0.2
    beard: float = 0.26
    headwear: float = 0.09
    glasses: float = 0.28
    mask: float = 0.04
    headphones: float = 0.03
    earrings: float = 0.25
    body: float = 0.95
    occluder: float = 0.22

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(
                    f"AccessoryProbabilities.{entry.name}: expected 0 to 1, got {value}"
                )


@dataclass(frozen=True, slots=True)
class Accessories:
    """Hair and accessories of one person; None for absent ones. ``occluder`` varies per image."""

    hair: GrownHair | MeshHair | None = None
    hair_colour: HairColour = field(default=HairColour((40, 30, 25), (55, 42, 34)))
    beard: Beard | None = None
    facial_hair: FacialHair | None = None
    headwear: Headwear | None = None
    glasses: Glasses | None = None
    mask: FaceMask | None = None
    headphones_seed: int | None = None
    earrings_seed: int | None = None
    body: Body | None = None
    occluder: Occluder | None = None
    seed: int = 0


def sample_accessories(
    rng: np.random.Generator,
    probabilities: AccessoryProbabilities = AccessoryProbabilities(),
    *,
    skin_darkness: float = 0.3,
    skin_rgb: tuple[float, float, float] = (200.0, 160.0, 140.0),
    child: bool = False,
    masculine: bool | None = None,
    age_years: float | None = None,
    mesh_count: int = 0,
    card_names: Sequence[str] = (),
) -> Accessories:
    """Draw the hair and accessories of a person.

    Parameters
    ----------
    skin_darkness
        0 lightest to 1 darkest; correlates with the colour and curl of hair.
    skin_rgb
        sRGB of hands and neck.
    masculine
        Selects the distribution of hair, beard and jewellery; None: drawn.
    age_years
        Affects grey hair and the hairline; None: drawn.
    mesh_count
        Number of installed hair meshes, :attr:`AccessoryBuilder.mesh_count`.
    card_names
        Names of hairstyles with textures, :attr:`AccessoryBuilder.card_names`.
    """
    male = bool(rng.random() < 0.5) if masculine is None else masculine
    longhaired = bool(rng.random() < (0.06 if male else 0.86))
    years = float(rng.uniform(18.0, 75.0)) if age_years is None else age_years
    age = 0.0 if child else float(np.clip((years - 18.0) / 60.0, 0.0, 1.0))
    coily = float(np.clip(1.6 * skin_darkness - 0.55, 0.0, 0.75))
    colour = greyed(rng, sample_hair_colour(rng, skin_darkness), 0.0 if child else years)
    headwear = sample_headwear(rng) if rng.random() < probabilities.headwear else None
    hair = _sample_hair(rng, probabilities, longhaired, coily, age, headwear, mesh_count)
    card_rng = rng.spawn(1)[0]  # a stream of its own: the other draws do not depend on it
    if card_names and hair is not None and headwear is None:
        hair = sample_card_hair(card_rng, hair, longhaired, card_names)
    mask = _sample_mask(rng) if rng.random() < probabilities.mask else None
    bearded = male and not child and rng.random() < probabilities.beard
    beard = _sample_beard(rng) if bearded else None
    if beard is not None and mask is not None:  # a mask presses the beard flat
        beard = replace(beard, length_m=0.0015, layers=2)
    headphones = _seed(rng) if rng.random() < probabilities.headphones else None
    if headphones is not None and isinstance(hair, GrownHair):
        hair = replace(hair, flank_m=min(hair.flank_m, 0.008))
    wants_body = rng.random() < probabilities.body
    return Accessories(
        hair=hair,
        hair_colour=colour,
        beard=beard,
        headwear=headwear,
        glasses=sample_glasses(rng) if rng.random() < probabilities.glasses else None,
        mask=mask,
        headphones_seed=headphones,
        earrings_seed=_seed(rng) if not male and rng.random() < probabilities.earrings else None,
        body=sample_body(rng, skin_rgb) if wants_body else None,
        occluder=sample_occluder(rng, skin_rgb) if rng.random() < probabilities.occluder else None,
        seed=_seed(rng),
    )


def resample_occluder(
    accessories: Accessories,
    rng: np.random.Generator,
    probabilities: AccessoryProbabilities = AccessoryProbabilities(),
    skin_rgb: tuple[float, float, float] = (200.0, 160.0, 140.0),
) -> Accessories:
    """Return the accessories of the same person for another image, with a new occluder or none."""
    occluded = rng.random() < probabilities.occluder
    return replace(accessories, occluder=sample_occluder(rng, skin_rgb) if occluded else None)


class AccessoryBuilder:
    """Builds accessories on heads of one face model; create one per process.

    Parameters
    ----------
    model
        The face model.
    hair_meshes
        Path of the packed MakeHuman hair meshes; None: no mesh hair.
    hair_alpha
        Folder of their textures; None: no hair with alpha.
    """

    def __init__(
        self,
        model: FaceModel,
        hair_meshes: Path | None = None,
        hair_alpha: Path | None = None,
    ) -> None:
        self.head_map = HeadMap.of(model)
        self.lower_face = LowerFaceRegions.of(model)
        self._strand_roots = StrandRoots.of(self.lower_face, model.mean_m)
        self._vertex_count = len(model.mean_m)
        self._landmarks68 = model.landmarks68
        rng = np.random.default_rng(20240917)
        self._strand_textures: dict[str, list[StrandTexture]] = {
            kind: [strand_texture(rng, kind) for _ in range(TEXTURES_PER_KIND)]
            for kind in STRAND_KINDS
        }
        self._meshes: HairMeshes | None = None
        if hair_meshes is not None:
            self._meshes = load_hair_meshes(hair_meshes, self.head_map)
        self._cards: HairCards | None = None
        if hair_meshes is not None and hair_alpha is not None:
            self._cards = load_hair_cards(hair_meshes, hair_alpha, self.head_map)

    @property
    def mesh_count(self) -> int:
        """Number of hair meshes."""
        return 0 if self._meshes is None else len(self._meshes.names)

    @property
    def card_names(self) -> tuple[str, ...]:
        """Names of the hairstyles with textures."""
        return () if self._cards is None else self._cards.names

    def fit(self, neutral_m: np.ndarray) -> HeadFit:
        """Fit the head of a person from neutral vertices ``(V, 3)``."""
        neutral = finite_array("neutral vertices", neutral_m, (self._vertex_count, 3))
        return self.head_map.fit(neutral)

    def person_surfaces(
        self, accessories: Accessories, neutral_m: np.ndarray, fit: HeadFit | None = None
    ) -> list[Surface]:
        """Build accessories that expressions do not move: hair, headwear, glasses, jewellery.

        Needed once per person; about 20 ms. ``neutral_m`` is ``(V, 3)``.
        """
        fit = self.fit(neutral_m) if fit is None else fit
        landmarks = np.asarray(neutral_m, dtype=np.float64)[self._landmarks68]
        surfaces = self._hair_surfaces(accessories, fit)
        if accessories.headwear is not None:
            surfaces += headwear_surfaces(accessories.headwear, self.head_map, fit)
        if accessories.glasses is not None:
            surfaces += glasses_surfaces(accessories.glasses, landmarks, self.head_map, fit)
        if accessories.headphones_seed is not None:
            covered = accessories.hair is not None or accessories.headwear is not None
            rng = np.random.default_rng(accessories.headphones_seed)
            surfaces += headphone_surfaces(rng, self.head_map, fit, 0.03 if covered else 0.008)
        if accessories.earrings_seed is not None:
            rng = np.random.default_rng(accessories.earrings_seed)
            surfaces += earring_surfaces(rng, self.head_map, fit)
        return surfaces

    def body_surfaces(self, accessories: Accessories, fit: HeadFit) -> list[Surface]:
        """Build the body, facing straight ahead; needed once per person."""
        return (
            [] if accessories.body is None else body_surfaces(accessories.body, self.head_map, fit)
        )

    def turn_body(
        self, body: list[Surface], fit: HeadFit, body_from_head: np.ndarray
    ) -> list[Surface]:
        """Rotate the body relative to the head by ``body_from_head`` ``(3, 3)``."""
        return turn_body(body, self.head_map, fit, body_from_head)

    def image_surfaces(self, accessories: Accessories, expressed_m: np.ndarray) -> list[Surface]:
        """Build what depends on the image: beard and mask, which follow expressions, and occluder.

        ``expressed_m`` ``(V, 3)`` are the vertices with the current expression.
        """
        surfaces: list[Surface] = []
        if accessories.beard is not None:
            kind = "buzz" if accessories.beard.length_m < 0.009 else "coily"
            strands = self._strands(kind, accessories.seed)
            surfaces += beard_surfaces(
                accessories.beard, accessories.hair_colour, self.lower_face, expressed_m, strands
            )
        if accessories.facial_hair is not None:
            hair = accessories.facial_hair
            surfaces += brow_strands(hair, expressed_m[self._landmarks68])
            if accessories.mask is None:
                surfaces += beard_strands(hair, self._strand_roots, expressed_m)
        if accessories.mask is not None:
            surfaces += mask_surfaces(accessories.mask, self.lower_face, expressed_m)
        if accessories.occluder is not None:
            surfaces += occluder_surfaces(accessories.occluder, expressed_m[self._landmarks68])
        return surfaces

    def _hair_surfaces(self, accessories: Accessories, fit: HeadFit) -> list[Surface]:
        hair, colour = accessories.hair, accessories.hair_colour
        if hair is None:
            return []
        strands = self._strands(hair.kind, accessories.seed)
        if isinstance(hair, GrownHair):
            return grown_hair_surfaces(hair, colour, self.head_map, fit, strands)
        if hair.has_cards and self._cards is not None:
            return self._cards.surfaces(hair, colour, self.head_map, fit)
        if hair.has_cards or self._meshes is None:
            raise ValueError(
                "accessories: mesh hair needs hair meshes; pass hair_meshes (and hair_alpha) to "
                "AccessoryBuilder, or mesh_count=0 and no card_names to sample_accessories"
            )
        return self._meshes.surfaces(hair, colour, self.head_map, fit, strands)

    def _strands(self, kind: str, seed: int) -> StrandTexture:
        return self._strand_textures[kind][seed % TEXTURES_PER_KIND]


def _sample_hair(
    rng: np.random.Generator,
    probabilities: AccessoryProbabilities,
    longhaired: bool,
    coily: float,
    age: float,
    headwear: Headwear | None,
    mesh_count: int,
) -> GrownHair | MeshHair | None:
    if rng.random() >= probabilities.hair or (headwear is not None and headwear.covers_hair):
        return None
    if headwear is None and mesh_count and rng.random() < probabilities.mesh_hair * (1.0 - coily):
        return sample_mesh_hair(rng, mesh_count)
    hair = sample_hairstyle(rng, longhaired, coily, age)
    if hair is None or headwear is None:
        return hair
    if headwear.kind == "headband":
        return replace(hair, top_m=min(hair.top_m, 0.014), fringe_m=0.0)
    edge = min(headwear.back_deg, headwear.front_deg) if headwear.turn_deg < 90.0 else 0.0
    return replace(hair, pressed_above_deg=float(edge), gather="none", fringe_m=0.0)


def _sample_beard(rng: np.random.Generator) -> Beard:
    kind = choose(rng, _BEARD_PROBABILITIES)
    length = 0.0015 + 0.022 * float(rng.beta(1.0, 4.0))
    return Beard(kind, length, layers=3)


def _sample_mask(rng: np.random.Generator) -> FaceMask:
    kind = choose(rng, _MASK_PROBABILITIES)
    return FaceMask(kind, chin_worn=bool(rng.random() < 0.15), seed=_seed(rng))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
