"""What a person wears and what hides their face: drawn as plain data, then built as surfaces."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from trg._util.checks import finite_array
from trglab.synth.accessories.body import Body, body_surfaces, sample_body, turn_body
from trglab.synth.accessories.facewear import (
    BEARD_KINDS,
    MASK_KINDS,
    Beard,
    FaceMask,
    LowerFaceRegions,
    beard_surfaces,
    mask_surfaces,
)
from trglab.synth.accessories.glasses import Glasses, glasses_surfaces, sample_glasses
from trglab.synth.accessories.hair import GrownHair, grown_hair_surfaces
from trglab.synth.accessories.hair_meshes import (
    HairMeshes,
    MeshHair,
    load_hair_meshes,
    sample_mesh_hair,
)
from trglab.synth.accessories.hairstyles import sample_hairstyle
from trglab.synth.accessories.head_map import HeadFit, HeadMap, HeadModel
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
from trglab.synth.render.surface import Surface

FIELDS_PER_KIND = 3
"""Strand pictures of each kind that one process shares among all heads."""


@dataclass(frozen=True, slots=True)
class AccessoryProbabilities:
    """How often each kind of thing appears, from 0 (never) to 1.

    ``mesh_hair`` is the share of heads of hair that are modelled meshes, where some are
    installed; ``beard`` is among grown men; ``occluder`` is per picture.
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
    """What one person wears; None means nothing of the kind. ``occluder`` is one picture's."""

    hair: GrownHair | MeshHair | None = None
    hair_colour: HairColour = field(default=HairColour((40, 30, 25), (55, 42, 34)))
    beard: Beard | None = None
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
    odds: AccessoryProbabilities = AccessoryProbabilities(),
    *,
    skin_tone: float = 0.3,
    skin_rgb: tuple[float, float, float] = (200.0, 160.0, 140.0),
    child: bool = False,
    masculine: bool | None = None,
    age_years: float | None = None,
    mesh_count: int = 0,
) -> Accessories:
    """Draw what a person wears.

    Parameters
    ----------
    skin_tone
        0 lightest to 1 darkest; hair colours and coils go with it.
    skin_rgb
        sRGB of bare hands and neck.
    masculine
        Whether hair, beard and jewellery are those of most men; None: drawn.
    age_years
        Hair greys and recedes with it; None: drawn.
    mesh_count
        How many hair meshes are installed (:attr:`AccessoryBuilder.mesh_count`).
    """
    man = bool(rng.random() < 0.5) if masculine is None else masculine
    longhaired = bool(rng.random() < (0.06 if man else 0.86))
    years = float(rng.uniform(18.0, 75.0)) if age_years is None else age_years
    age = 0.0 if child else float(np.clip((years - 18.0) / 60.0, 0.0, 1.0))
    coily = float(np.clip(1.6 * skin_tone - 0.55, 0.0, 0.75))
    colour = greyed(rng, sample_hair_colour(rng, skin_tone), 0.0 if child else years)
    headwear = sample_headwear(rng) if rng.random() < odds.headwear else None
    hair = _sample_hair(rng, odds, longhaired, coily, age, headwear, mesh_count)
    mask = _sample_mask(rng) if rng.random() < odds.mask else None
    bearded = man and not child and rng.random() < odds.beard
    beard = _sample_beard(rng) if bearded else None
    if beard is not None and mask is not None:  # the mask presses it down
        beard = replace(beard, length_m=0.0015, layers=2)
    headphones = _seed(rng) if rng.random() < odds.headphones else None
    if headphones is not None and isinstance(hair, GrownHair):
        hair = replace(hair, flank_m=min(hair.flank_m, 0.008))
    wants_body = rng.random() < odds.body
    return Accessories(
        hair=hair,
        hair_colour=colour,
        beard=beard,
        headwear=headwear,
        glasses=sample_glasses(rng) if rng.random() < odds.glasses else None,
        mask=mask,
        headphones_seed=headphones,
        earrings_seed=_seed(rng) if not man and rng.random() < odds.earrings else None,
        body=sample_body(rng, skin_rgb) if wants_body else None,
        occluder=sample_occluder(rng, skin_rgb) if rng.random() < odds.occluder else None,
        seed=_seed(rng),
    )


def resample_occluder(
    style: Accessories,
    rng: np.random.Generator,
    odds: AccessoryProbabilities = AccessoryProbabilities(),
    skin_rgb: tuple[float, float, float] = (200.0, 160.0, 140.0),
) -> Accessories:
    """Return the same person for another picture, with something else or nothing in front."""
    hidden = rng.random() < odds.occluder
    return replace(style, occluder=sample_occluder(rng, skin_rgb) if hidden else None)


class AccessoryBuilder:
    """Builds styles on the heads of one face model; made once per process.

    Parameters
    ----------
    model
        The face model whose vertices will come in.
    hair_meshes
        The packed MakeHuman hair meshes, or None to do without.
    """

    def __init__(self, model: HeadModel, hair_meshes: Path | None = None) -> None:
        self.chart = HeadMap.of(model)
        self.face = LowerFaceRegions.of(model)
        self._vertex_count = len(model.mean_m)
        self._landmarks68 = np.asarray(model.landmarks68)
        rng = np.random.default_rng(20240917)
        self._fields: dict[str, list[StrandTexture]] = {
            kind: [strand_texture(rng, kind) for _ in range(FIELDS_PER_KIND)]
            for kind in STRAND_KINDS
        }
        self._meshes: HairMeshes | None = None
        if hair_meshes is not None:
            self._meshes = load_hair_meshes(hair_meshes, self.chart)

    @property
    def mesh_count(self) -> int:
        """How many hair meshes there are to choose from."""
        return 0 if self._meshes is None else len(self._meshes.names)

    def fit(self, neutral_m: np.ndarray) -> HeadFit:
        """Measure a person's neutral vertices ``(V, 3)``; pass the result to the others."""
        neutral = finite_array("neutral vertices", neutral_m, (self._vertex_count, 3))
        return self.chart.fit(neutral)

    def person_surfaces(
        self, style: Accessories, neutral_m: np.ndarray, fit: HeadFit | None = None
    ) -> list[Surface]:
        """Build what does not move with the face: hair, headwear, glasses, headphones, earrings.

        Once per person: about 20 ms. ``neutral_m`` is ``(V, 3)``.
        """
        fit = self.fit(neutral_m) if fit is None else fit
        landmarks = np.asarray(neutral_m, dtype=np.float64)[self._landmarks68]
        surfaces = self._hair_surfaces(style, fit)
        if style.headwear is not None:
            surfaces += headwear_surfaces(style.headwear, self.chart, fit)
        if style.glasses is not None:
            surfaces += glasses_surfaces(style.glasses, landmarks, self.chart, fit)
        if style.headphones_seed is not None:
            above = 0.03 if style.hair is not None or style.headwear is not None else 0.008
            rng = np.random.default_rng(style.headphones_seed)
            surfaces += headphone_surfaces(rng, self.chart, fit, above)
        if style.earrings_seed is not None:
            rng = np.random.default_rng(style.earrings_seed)
            surfaces += earring_surfaces(rng, self.chart, fit)
        return surfaces

    def body_surfaces(self, style: Accessories, fit: HeadFit) -> list[Surface]:
        """Build the person's body, held straight; once per person."""
        return [] if style.body is None else body_surfaces(style.body, self.chart, fit)

    def turn_body(
        self, body: list[Surface], fit: HeadFit, body_from_head: np.ndarray
    ) -> list[Surface]:
        """Turn a body below its head, ``body_from_head`` ``(3, 3)``; once per picture."""
        return turn_body(body, self.chart, fit, body_from_head)

    def image_surfaces(self, style: Accessories, expressed_m: np.ndarray) -> list[Surface]:
        """Build what follows the face's expression: beard, mask, and what is in front."""
        surfaces: list[Surface] = []
        if style.beard is not None:
            kind = "buzz" if style.beard.length_m < 0.009 else "coily"
            strands = self._field(kind, style.seed)
            surfaces += beard_surfaces(
                style.beard, style.hair_colour, self.face, expressed_m, strands
            )
        if style.mask is not None:
            surfaces += mask_surfaces(style.mask, self.face, expressed_m)
        if style.occluder is not None:
            surfaces += occluder_surfaces(style.occluder, expressed_m[self._landmarks68])
        return surfaces

    def _hair_surfaces(self, style: Accessories, fit: HeadFit) -> list[Surface]:
        if isinstance(style.hair, GrownHair):
            strands = self._field(style.hair.kind, style.seed)
            return grown_hair_surfaces(style.hair, style.hair_colour, self.chart, fit, strands)
        if isinstance(style.hair, MeshHair):
            if self._meshes is None:
                raise ValueError(
                    "style: asks for a hair mesh, but this wardrobe was made without; pass "
                    "hair_meshes to AccessoryBuilder or mesh_count=0 to sample_accessories"
                )
            strands = self._field(style.hair.kind, style.seed)
            return self._meshes.surfaces(style.hair, style.hair_colour, self.chart, fit, strands)
        return []

    def _field(self, kind: str, seed: int) -> StrandTexture:
        return self._fields[kind][seed % FIELDS_PER_KIND]


def _sample_hair(
    rng: np.random.Generator,
    odds: AccessoryProbabilities,
    longhaired: bool,
    coily: float,
    age: float,
    headwear: Headwear | None,
    mesh_count: int,
) -> GrownHair | MeshHair | None:
    if rng.random() >= odds.hair or (headwear is not None and headwear.covers_hair):
        return None
    if headwear is None and mesh_count and rng.random() < odds.mesh_hair * (1.0 - coily):
        return sample_mesh_hair(rng, mesh_count)
    hair = sample_hairstyle(rng, longhaired, coily, age)
    if hair is None or headwear is None:
        return hair
    if headwear.kind == "headband":
        return replace(hair, top_m=min(hair.top_m, 0.014), fringe_m=0.0)
    edge = min(headwear.back_deg, headwear.front_deg) if headwear.turn_deg < 90.0 else 0.0
    return replace(hair, pressed_above_deg=float(edge), gather="none", fringe_m=0.0)


def _sample_beard(rng: np.random.Generator) -> Beard:
    kind = BEARD_KINDS[int(rng.choice(5, p=[0.46, 0.12, 0.16, 0.18, 0.08]))]
    length = 0.0015 + 0.022 * float(rng.beta(1.0, 4.0))
    return Beard(kind, length, layers=3)


def _sample_mask(rng: np.random.Generator) -> FaceMask:
    kind = MASK_KINDS[int(rng.choice(3, p=[0.6, 0.25, 0.15]))]
    return FaceMask(kind, chin_worn=bool(rng.random() < 0.15), seed=_seed(rng))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
