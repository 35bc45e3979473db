"""Which hairstyles people wear, and how often."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trglab.synth.accessories.hair import GrownHair, Hairline
from trglab.synth.accessories.strands import StrandKind

_SHORT_ODDS = {
    "parted": 0.24, "forward": 0.20, "swept back": 0.14, "buzz": 0.14, "crop": 0.12,
    "curly": 0.07, "medium": 0.06, "balding": 0.03,
}  # fmt: skip
_LONG_ODDS = {
    "long": 0.34, "bob": 0.19, "fringed": 0.15, "bun": 0.12, "ponytail": 0.10, "curly": 0.06,
    "forward": 0.04,
}  # fmt: skip


def sample_hairstyle(
    rng: np.random.Generator, longhaired: bool, coily: float, age: float
) -> GrownHair | None:
    """Draw a hairstyle, or None for a bald head.

    Parameters
    ----------
    longhaired
        Whether the person wears hair as most women do, or as most men do.
    coily
        Probability of tightly coiled hair.
    age
        0 young to 1 old: hairlines recede.
    """
    if not longhaired and rng.random() < 0.04 + 0.14 * age:
        return None
    if rng.random() < coily:
        hair = _coily(rng)
    else:
        odds = _LONG_ODDS if longhaired else _SHORT_ODDS
        names = list(odds)
        name = names[int(rng.choice(len(names), p=np.array(list(odds.values()))))]
        hair = _MAKERS[name](rng)
    hair = replace(hair, hairline=_vary(rng, hair.hairline, 0.0 if longhaired else age))
    return replace(hair, seed=int(rng.integers(2**31)))


def _vary(rng: np.random.Generator, line: Hairline, age: float) -> Hairline:
    receded = age * float(rng.uniform(0.0, 1.0)) ** 2
    return replace(
        line,
        forehead_deg=line.forehead_deg + float(rng.normal(0.0, 3.0)) + 14.0 * receded,
        temple_deg=line.temple_deg + float(rng.normal(0.0, 3.5)) + 26.0 * receded,
        peak_deg=float(max(0.0, rng.normal(0.0, 3.0))),
        sideburn_deg=line.sideburn_deg + float(rng.normal(0.0, 6.0)),
        ear_deg=line.ear_deg + float(rng.normal(0.0, 2.0)),
        nape_deg=line.nape_deg + float(rng.normal(0.0, 4.0)),
    )


def _straightness(rng: np.random.Generator) -> StrandKind:
    kinds: tuple[StrandKind, ...] = ("straight", "wavy", "curly")
    return kinds[int(rng.choice(3, p=[0.62, 0.28, 0.10]))]


def _side(rng: np.random.Generator, low: float, high: float) -> float:
    """Azimuth of a parting on either side."""
    return float(rng.choice([-1.0, 1.0]) * rng.uniform(low, high))


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _parted(rng: np.random.Generator) -> GrownHair:
    azimuth = _side(rng, 22.0, 48.0)
    return GrownHair(
        kind="straight" if rng.random() < 0.75 else "wavy",
        parting_deg=((azimuth, _uniform(rng, 42, 55)), (0.3 * azimuth + 180.0, 74.0)),
        fringe_m=max(0.0, _uniform(rng, -0.02, 0.02)),
        top_m=_uniform(rng, 0.014, 0.034),
        flank_m=_uniform(rng, 0.005, 0.015),
        lift=_uniform(rng, 0.3, 0.9),
        mess=_uniform(rng, 0.1, 0.6),
    )


def _forward(rng: np.random.Generator) -> GrownHair:
    return GrownHair(
        kind=_straightness(rng),
        parting_deg=((_side(rng, 120, 180), 66.0), (180.0, 78.0)),
        fringe_m=_uniform(rng, 0.008, 0.042),
        side_m=_uniform(rng, 0.0, 0.015),
        top_m=_uniform(rng, 0.012, 0.03),
        flank_m=_uniform(rng, 0.006, 0.018),
        wave_m=_uniform(rng, 0.0, 0.002),
        mess=_uniform(rng, 0.3, 1.0),
    )


def _swept_back(rng: np.random.Generator) -> GrownHair:
    return GrownHair(
        kind="straight" if rng.random() < 0.7 else "wavy",
        parting_deg=((_side(rng, 0, 20), 80.0), (180.0, _uniform(rng, 40, 70))),
        back_m=_uniform(rng, 0.0, 0.02),
        top_m=_uniform(rng, 0.015, 0.045),
        flank_m=_uniform(rng, 0.004, 0.012),
        lift=_uniform(rng, 0.5, 1.0),
        mess=_uniform(rng, 0.1, 0.5),
    )


def _buzz(rng: np.random.Generator) -> GrownHair:
    top = _uniform(rng, 0.002, 0.008)
    return GrownHair(
        kind="buzz",
        top_m=top,
        flank_m=top * _uniform(rng, 0.3, 1.0),
        lift=0.6,
        mess=0.1,
        locks=0,
    )


def _crop(rng: np.random.Generator) -> GrownHair:
    """Short sides, upright or tousled top."""
    return GrownHair(
        parting_deg=((180.0, 62.0), (180.0, 76.0)),
        top_m=_uniform(rng, 0.012, 0.03),
        flank_m=_uniform(rng, 0.003, 0.007),
        lift=_uniform(rng, 0.6, 1.0),
        mess=_uniform(rng, 0.5, 1.0),
        locks=90,
    )


def _balding(rng: np.random.Generator) -> GrownHair:
    """A wreath of hair around a bald crown."""
    return GrownHair(
        hairline=Hairline(forehead_deg=62.0, temple_deg=62.0),
        parting_deg=((180.0, 50.0), (180.0, 60.0)),
        top_m=_uniform(rng, 0.002, 0.006),
        flank_m=_uniform(rng, 0.004, 0.012),
        locks=20,
    )


def _medium(rng: np.random.Generator) -> GrownHair:
    azimuth = _side(rng, 0.0, 35.0)
    return GrownHair(
        kind=_straightness(rng),
        hairline=Hairline(ear_deg=-6.0),
        parting_deg=((azimuth, 50.0), (180.0, 76.0)),
        side_m=_uniform(rng, 0.02, 0.07),
        back_m=_uniform(rng, 0.02, 0.08),
        fringe_m=_uniform(rng, 0.0, 0.03),
        top_m=_uniform(rng, 0.014, 0.03),
        flank_m=_uniform(rng, 0.01, 0.022),
        wave_m=_uniform(rng, 0.0, 0.004),
        mess=_uniform(rng, 0.2, 0.9),
    )


def _long(rng: np.random.Generator) -> GrownHair:
    azimuth = _side(rng, 0.0, 35.0)
    length = _uniform(rng, 0.10, 0.30)
    return GrownHair(
        kind=_straightness(rng),
        hairline=Hairline(ear_deg=_uniform(rng, -14.0, -4.0), forehead_deg=40.0),
        parting_deg=((azimuth, _uniform(rng, 42, 56)), (180.0, 78.0)),
        side_m=length * _uniform(rng, 0.7, 1.1),
        back_m=length + 0.05,
        fringe_m=_uniform(rng, 0.0, 0.02),
        top_m=_uniform(rng, 0.010, 0.028),
        flank_m=_uniform(rng, 0.008, 0.026),
        lift=_uniform(rng, 0.3, 0.9),
        wave_m=_uniform(rng, 0.0, 0.007),
        mess=_uniform(rng, 0.1, 0.8),
        in_front=bool(rng.random() < 0.6),
    )


def _bob(rng: np.random.Generator) -> GrownHair:
    return replace(
        _long(rng),
        side_m=_uniform(rng, 0.05, 0.10),
        back_m=_uniform(rng, 0.02, 0.06),
        flank_m=_uniform(rng, 0.014, 0.03),
    )


def _fringed(rng: np.random.Generator) -> GrownHair:
    return replace(
        _long(rng) if rng.random() < 0.6 else _bob(rng),
        parting_deg=((_side(rng, 100, 180), 72.0), (180.0, 80.0)),
        fringe_m=_uniform(rng, 0.03, 0.055),
        mess=_uniform(rng, 0.1, 0.4),
    )


def _bun(rng: np.random.Generator) -> GrownHair:
    seat = (180.0, _uniform(rng, -12.0, 70.0))
    return GrownHair(
        parting_deg=(seat, (180.0, seat[1] + 6.0)),
        top_m=_uniform(rng, 0.006, 0.016),
        flank_m=_uniform(rng, 0.004, 0.010),
        mess=_uniform(rng, 0.05, 0.4),
        lift=0.2,
        gather="bun",
    )


def _ponytail(rng: np.random.Generator) -> GrownHair:
    return replace(_bun(rng), gather="ponytail", back_m=0.0)


def _curly(rng: np.random.Generator) -> GrownHair:
    length = _uniform(rng, 0.0, 0.14)
    return GrownHair(
        kind="curly",
        hairline=Hairline(ear_deg=2.0 if length < 0.03 else -8.0),
        parting_deg=((_side(rng, 0, 60), 60.0), (180.0, 78.0)),
        side_m=length,
        back_m=length,
        fringe_m=_uniform(rng, 0.0, 0.03),
        top_m=_uniform(rng, 0.02, 0.045),
        flank_m=_uniform(rng, 0.012, 0.04),
        lift=0.8,
        wave_m=_uniform(rng, 0.002, 0.006),
        mess=_uniform(rng, 0.6, 1.0),
    )


def _coily(rng: np.random.Generator) -> GrownHair:
    top = 0.005 + 0.065 * float(rng.beta(1.0, 2.5))
    return GrownHair(
        kind="coily" if top > 0.008 else "buzz",
        layers=4 if top > 0.015 else 3,
        top_m=top,
        flank_m=top * _uniform(rng, 0.5, 0.95),
        lift=_uniform(rng, 0.5, 0.9),
        mess=_uniform(rng, 0.3, 0.9),
        locks=0,
    )


_MAKERS = {
    "parted": _parted,
    "forward": _forward,
    "swept back": _swept_back,
    "buzz": _buzz,
    "crop": _crop,
    "curly": _curly,
    "medium": _medium,
    "balding": _balding,
    "long": _long,
    "bob": _bob,
    "fringed": _fringed,
    "bun": _bun,
    "ponytail": _ponytail,
}
