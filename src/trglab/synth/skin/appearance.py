"""Parameters of one person's skin: tone, age, facial hair, make-up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trglab.synth.accessories.facewear import BeardKind
from trglab.synth.accessories.strands import sample_hair_colour
from trglab.synth.choice import choose
from trglab.synth.colour import Rgb, rgb_tuple, srgb_from_linear
from trglab.synth.skin.tone import SkinTone, sample_skin_tone

_BEARD_PROBABILITIES: dict[BeardKind | None, float] = {
    None: 0.62, "full": 0.22, "goatee": 0.04, "moustache": 0.04, "chinstrap": 0.02, "circle": 0.06,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Brows:
    """A pair of eyebrows."""

    rgb: Rgb
    thickness_m: float
    density: float
    """0 bare to 1 solid."""
    raise_m: float
    """Height above the model's brow line."""
    tail: float
    """Position of the outer end: 1 at the outermost brow landmark."""


@dataclass(frozen=True, slots=True)
class PaintedBeard:
    """Facial hair drawn into the skin texture: stubble, and the skin below a modelled beard."""

    kind: BeardKind | None
    rgb: Rgb
    density: float
    """0 to 1; stubble up to about 0.4."""
    shadow: float
    """Visibility of shaved hair under the skin, 0 to 1."""


@dataclass(frozen=True, slots=True)
class MakeUp:
    """Colours and amounts (0 for none) of make-up."""

    lipstick_rgb: Rgb
    lipstick: float
    shadow_rgb: Rgb
    shadow: float
    liner: float
    blush: float
    paint_rgb: Rgb
    paint: float
    """Face paint in patches."""


@dataclass(frozen=True, slots=True)
class SkinAppearance:
    """Input of :func:`~trglab.synth.skin.paint.paint_skin`; amounts run from 0 to 1."""

    tone: SkinTone
    age_years: float
    hair_rgb: Rgb
    ruddiness: float
    blotches: float
    freckles: float
    moles: int
    eye_rings: float
    wrinkles: float
    oiliness: float
    brows: Brows
    beard: PaintedBeard
    make_up: MakeUp
    scalp: float
    """Hair painted on the scalp: 0 bald, 0.4 shaved, 1 dense, as under a hairstyle."""


def sample_skin_appearance(
    rng: np.random.Generator,
    *,
    age_years: float | None = None,
    masculine: bool | None = None,
    tone: SkinTone | None = None,
    hair_rgb: Rgb | None = None,
    scalp: float | None = None,
    beard: BeardKind | None = None,
) -> SkinAppearance:
    """Draw a person's skin; parameters that are not given are drawn to match those that are.

    Parameters
    ----------
    age_years
        3 to 90; children get no beard, make-up or wrinkles.
    masculine
        Allows a beard and makes make-up rare.
    beard
        Kind of the modelled beard, whose skin is darkened; None: drawn.
    """
    age = float(rng.uniform(16.0, 80.0)) if age_years is None else float(age_years)
    male = bool(rng.random() < 0.5) if masculine is None else masculine
    tone = sample_skin_tone(rng) if tone is None else tone
    darkness = float(np.clip((60.0 - tone.typology_deg) / 120.0, 0.0, 1.0))
    if hair_rgb is None:
        hair_rgb = sample_hair_colour(rng, darkness).root_rgb
    adult = age >= 15.0
    years_past_30 = max(0.0, age - 30.0)
    return SkinAppearance(
        tone=tone,
        age_years=age,
        hair_rgb=hair_rgb,
        ruddiness=float(rng.gamma(2.0, 0.35)) * (1.2 - 0.5 * darkness),
        blotches=float(rng.gamma(2.0, 0.3)),
        freckles=float(rng.random() < 0.25 * (1.2 - darkness)) * float(rng.uniform(0.2, 1.0)),
        moles=int(rng.poisson(2.0)),
        eye_rings=float(rng.gamma(2.0, 0.3)),
        wrinkles=float(np.clip(years_past_30 / 45.0 * rng.uniform(0.5, 1.5), 0.0, 1.3)),
        oiliness=float(rng.beta(2.0, 3.0)),
        brows=_sample_brows(rng, hair_rgb, tone, male),
        beard=_sample_beard(rng, hair_rgb, tone, male and adult, beard),
        make_up=_sample_make_up(rng, adult, male),
        scalp=float(rng.choice([0.0, 0.3, 0.6, 1.0])) if scalp is None else scalp,
    )


def _sample_brows(rng: np.random.Generator, hair_rgb: Rgb, tone: SkinTone, male: bool) -> Brows:
    # Brows are darker than blond hair, and often keep their colour when hair is grey.
    shade = np.asarray(hair_rgb) * rng.uniform(0.55, 0.95)
    return Brows(
        rgb=rgb_tuple(np.minimum(shade, 0.62 * _skin_rgb(tone)), 5.0, 250.0),
        thickness_m=float(rng.uniform(0.0065, 0.0115 if male else 0.0090)),
        density=float(rng.beta(4.0, 2.0)),
        raise_m=float(rng.normal(-0.0045, 0.0013)),
        tail=float(rng.uniform(0.92, 1.12)),
    )


def _sample_beard(
    rng: np.random.Generator,
    hair_rgb: Rgb,
    tone: SkinTone,
    can_grow: bool,
    kind: BeardKind | None,
) -> PaintedBeard:
    if can_grow and kind is None:
        kind = choose(rng, _BEARD_PROBABILITIES)
    stubble = rng.random() < 0.8
    density = rng.uniform(0.1, 0.4) if stubble else rng.uniform(0.45, 0.8)
    # Skin shows through short hair, so even a white beard is not lighter than the skin.
    colour = np.minimum(np.asarray(hair_rgb) * rng.uniform(0.7, 1.0), 0.75 * _skin_rgb(tone))
    return PaintedBeard(
        kind=kind,
        rgb=rgb_tuple(colour, 5.0, 250.0),
        density=float(density),
        shadow=float(rng.beta(1.6, 2.5)) if can_grow else 0.0,
    )


def _sample_make_up(rng: np.random.Generator, adult: bool, male: bool) -> MakeUp:
    wears = adult and rng.random() < (0.01 if male else 0.6)

    def amount(probability: float, low: float, high: float) -> float:
        drawn, strength = rng.random() < probability, rng.uniform(low, high)
        return float(strength) if wears and drawn else 0.0

    lips = _LIPSTICKS[int(rng.integers(len(_LIPSTICKS)))] + rng.normal(0.0, 10.0, 3)
    lids = _EYE_SHADOWS[int(rng.integers(len(_EYE_SHADOWS)))] + rng.normal(0.0, 10.0, 3)
    return MakeUp(
        lipstick_rgb=rgb_tuple(lips, 5.0, 250.0),
        lipstick=amount(0.7, 0.12, 0.6),
        shadow_rgb=rgb_tuple(lids, 5.0, 250.0),
        shadow=amount(0.4, 0.05, 0.25),
        liner=amount(0.6, 0.3, 1.0),
        blush=amount(0.5, 0.1, 0.6),
        paint_rgb=rgb_tuple(rng.uniform(0.0, 255.0, 3), 5.0, 250.0),
        paint=float(rng.uniform(0.4, 0.95)) if rng.random() < 0.003 else 0.0,
    )


def _skin_rgb(tone: SkinTone) -> np.ndarray:
    """Return sRGB ``(3,)`` of bare skin, 0 to 255."""
    return srgb_from_linear(np.exp(-tone.density)[None])[0].astype(np.float64)


_LIPSTICKS = np.array(
    [[168, 32, 44], [190, 70, 80], [200, 105, 105], [140, 30, 55], [110, 35, 45], [205, 90, 120],
     [150, 85, 70], [85, 25, 40]], dtype=np.float64,
)  # fmt: skip
_EYE_SHADOWS = np.array(
    [[120, 90, 75], [80, 60, 55], [150, 110, 90], [70, 75, 95], [110, 70, 90], [60, 80, 75],
     [175, 140, 120]], dtype=np.float64,
)  # fmt: skip
