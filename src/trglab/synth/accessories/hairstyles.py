"""Distribution of hairstyles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np

from trglab.synth.accessories.hair import GrownHair, Hairline
from trglab.synth.choice import choose

_SHORT = {
    "parted": 0.24, "forward": 0.20, "swept back": 0.14, "buzz": 0.14, "crop": 0.12,
    "curly": 0.07, "medium": 0.06, "balding": 0.03,
}  # fmt: skip
_LONG = {
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
        True: hairstyles most common among women; False: among men.
    coily
        Probability of tightly coiled hair.
    age
        0 young to 1 old: hairlines recede.
    """
    if not longhaired and rng.random() < 0.04 + 0.14 * age:
        return None
    if rng.random() < coily:
        hair = _draw("coily", rng)
    else:
        hair = _draw(choose(rng, _LONG if longhaired else _SHORT), rng)
    hair = replace(hair, hairline=_vary_hairline(rng, hair.hairline, 0.0 if longhaired else age))
    return replace(hair, seed=int(rng.integers(2**31)))


def _vary_hairline(rng: np.random.Generator, line: Hairline, age: float) -> Hairline:
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


Values = dict[str, Any]
"""Fields of :class:`GrownHair` drawn so far; intermediate values start with an underscore."""


class _Uniform(NamedTuple):
    """A uniform random number, multiplied by the field ``times`` if there is one."""

    low: float
    high: float
    times: str | None = None

    def draw(self, rng: np.random.Generator, values: Values) -> float:
        number = float(rng.uniform(self.low, self.high))
        return number if self.times is None else values[self.times] * number


def _draw(name: str, rng: np.random.Generator) -> GrownHair:
    """Draw the fields of a hairstyle in the order of its table."""
    table = _HAIRSTYLES[name]
    values: Values = {}
    for field, entry in table.items():
        if field == "_base":
            base = _draw(entry(rng, values) if callable(entry) else entry, rng)
            values |= {each.name: getattr(base, each.name) for each in fields(base)}
        elif isinstance(entry, _Uniform):
            values[field] = entry.draw(rng, values)
        else:
            values[field] = entry(rng, values) if callable(entry) else entry
    return GrownHair(**{field: value for field, value in values.items() if field[0] != "_"})


def _either_side(low: float, high: float) -> Callable[[np.random.Generator, Values], float]:
    """Azimuth of a parting on the left or on the right, degrees."""
    return lambda rng, _: float(rng.choice([-1.0, 1.0]) * rng.uniform(low, high))


def _parting(
    front: float | _Uniform, back: float | _Uniform
) -> Callable[[np.random.Generator, Values], Any]:
    """Parting from a drawn azimuth to the back of the head, at these elevations in degrees."""

    def draw(rng: np.random.Generator, values: Values) -> Any:
        front_deg, back_deg = (
            end.draw(rng, values) if isinstance(end, _Uniform) else end for end in (front, back)
        )
        return ((values["_azimuth"], front_deg), (180.0, back_deg))

    return draw


def _straight_or_wavy(straight: float) -> Callable[[np.random.Generator, Values], str]:
    return lambda rng, _: "straight" if rng.random() < straight else "wavy"


def _any_kind(rng: np.random.Generator, _: Values) -> str:
    return choose(rng, {"straight": 0.62, "wavy": 0.28, "curly": 0.10})


U = _Uniform
_HAIRSTYLES: Mapping[str, Values] = {
    "parted": {
        "_azimuth": _either_side(22.0, 48.0),
        "kind": _straight_or_wavy(0.75),
        "_elevation": U(42, 55),
        "parting_deg": lambda _, v: (
            (v["_azimuth"], v["_elevation"]),
            (0.3 * v["_azimuth"] + 180.0, 74.0),
        ),
        "fringe_m": lambda rng, _: max(0.0, float(rng.uniform(-0.02, 0.02))),
        "top_m": U(0.014, 0.034),
        "flank_m": U(0.005, 0.015),
        "lift": U(0.3, 0.9),
        "mess": U(0.1, 0.6),
    },
    "forward": {
        "kind": _any_kind,
        "_azimuth": _either_side(120, 180),
        "parting_deg": _parting(66.0, 78.0),
        "fringe_m": U(0.008, 0.042),
        "side_m": U(0.0, 0.015),
        "top_m": U(0.012, 0.03),
        "flank_m": U(0.006, 0.018),
        "wave_m": U(0.0, 0.002),
        "mess": U(0.3, 1.0),
    },
    "swept back": {
        "kind": _straight_or_wavy(0.7),
        "_azimuth": _either_side(0, 20),
        "parting_deg": _parting(80.0, U(40, 70)),
        "back_m": U(0.0, 0.02),
        "top_m": U(0.015, 0.045),
        "flank_m": U(0.004, 0.012),
        "lift": U(0.5, 1.0),
        "mess": U(0.1, 0.5),
    },
    "buzz": {
        "kind": "buzz",
        "top_m": U(0.002, 0.008),
        "flank_m": U(0.3, 1.0, times="top_m"),
        "lift": 0.6,
        "mess": 0.1,
        "locks": 0,
    },
    "crop": {  # short sides, upright or tousled top
        "parting_deg": ((180.0, 62.0), (180.0, 76.0)),
        "top_m": U(0.012, 0.03),
        "flank_m": U(0.003, 0.007),
        "lift": U(0.6, 1.0),
        "mess": U(0.5, 1.0),
        "locks": 90,
    },
    "balding": {  # a ring of hair around a bald crown
        "hairline": Hairline(forehead_deg=62.0, temple_deg=62.0),
        "parting_deg": ((180.0, 50.0), (180.0, 60.0)),
        "top_m": U(0.002, 0.006),
        "flank_m": U(0.004, 0.012),
        "locks": 20,
    },
    "medium": {
        "_azimuth": _either_side(0.0, 35.0),
        "kind": _any_kind,
        "hairline": Hairline(ear_deg=-6.0),
        "parting_deg": _parting(50.0, 76.0),
        "side_m": U(0.02, 0.07),
        "back_m": U(0.02, 0.08),
        "fringe_m": U(0.0, 0.03),
        "top_m": U(0.014, 0.03),
        "flank_m": U(0.01, 0.022),
        "wave_m": U(0.0, 0.004),
        "mess": U(0.2, 0.9),
    },
    "long": {
        "_azimuth": _either_side(0.0, 35.0),
        "_length_m": U(0.10, 0.30),
        "kind": _any_kind,
        "hairline": lambda rng, _: Hairline(
            ear_deg=float(rng.uniform(-14.0, -4.0)), forehead_deg=40.0
        ),
        "parting_deg": _parting(U(42, 56), 78.0),
        "side_m": U(0.7, 1.1, times="_length_m"),
        "back_m": lambda _, v: v["_length_m"] + 0.05,
        "fringe_m": U(0.0, 0.02),
        "top_m": U(0.010, 0.028),
        "flank_m": U(0.008, 0.026),
        "lift": U(0.3, 0.9),
        "wave_m": U(0.0, 0.007),
        "mess": U(0.1, 0.8),
        "in_front": lambda rng, _: bool(rng.random() < 0.6),
    },
    "bob": {
        "_base": "long",
        "side_m": U(0.05, 0.10),
        "back_m": U(0.02, 0.06),
        "flank_m": U(0.014, 0.03),
    },
    "fringed": {
        "_base": lambda rng, _: "long" if rng.random() < 0.6 else "bob",
        "_azimuth": _either_side(100, 180),
        "parting_deg": _parting(72.0, 80.0),
        "fringe_m": U(0.03, 0.055),
        "mess": U(0.1, 0.4),
    },
    "bun": {
        "_elevation": U(-12.0, 70.0),
        "parting_deg": lambda _, v: ((180.0, v["_elevation"]), (180.0, v["_elevation"] + 6.0)),
        "top_m": U(0.006, 0.016),
        "flank_m": U(0.004, 0.010),
        "mess": U(0.05, 0.4),
        "lift": 0.2,
        "gather": "bun",
    },
    "ponytail": {"_base": "bun", "gather": "ponytail", "back_m": 0.0},
    "curly": {
        "_length_m": U(0.0, 0.14),
        "kind": "curly",
        "hairline": lambda _, v: Hairline(ear_deg=2.0 if v["_length_m"] < 0.03 else -8.0),
        "_azimuth": _either_side(0, 60),
        "parting_deg": _parting(60.0, 78.0),
        "side_m": lambda _, v: v["_length_m"],
        "back_m": lambda _, v: v["_length_m"],
        "fringe_m": U(0.0, 0.03),
        "top_m": U(0.02, 0.045),
        "flank_m": U(0.012, 0.04),
        "lift": 0.8,
        "wave_m": U(0.002, 0.006),
        "mess": U(0.6, 1.0),
    },
    "coily": {
        "top_m": lambda rng, _: 0.005 + 0.065 * float(rng.beta(1.0, 2.5)),
        "kind": lambda _, v: "coily" if v["top_m"] > 0.008 else "buzz",
        "layers": lambda _, v: 4 if v["top_m"] > 0.015 else 3,
        "flank_m": U(0.5, 0.95, times="top_m"),
        "lift": U(0.5, 0.9),
        "mess": U(0.3, 0.9),
        "locks": 0,
    },
}
"""Fields of :class:`GrownHair` by hairstyle, drawn in this order.

An entry is a value, a uniform distribution, or a function of the generator and the fields drawn
before. ``_base`` names the hairstyle whose fields are drawn first.
"""
