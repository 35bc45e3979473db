"""People and what their faces do: head shape and size, and structured expressions.

Depth is read from size, so the spread of real sizes decides how exact depth can be. Adults follow
Zhuang and Bradtmiller 2005, "Head-and-face anthropometric survey of U.S. respirator users"
(J. Occup. Environ. Hyg. 2(11), 3,997 people): interpupillary breadth, menton-sellion length and
bizygomatic breadth, men and women. Children's interpupillary distance follows MacLachlan and
Howland 2002, "Normal values and standard deviations for pupil diameter and interpupillary
distance in subjects aged 1 month to 19 years" (Ophthal. Physiol. Opt. 22(3)); their faces are
shorter and rounder than shrunken adults', as in Farkas 1994, "Anthropometry of the head and face".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trglab.synth.head.face_model import FaceModel

Group = Literal["man", "woman", "child"]

CHILD_SHARE = 0.12
CHILD_AGES = (4.0, 16.0)

ADULT_MM = {
    "man": ((64.5, 3.6), (122.7, 7.0), (143.5, 6.9)),
    "woman": ((61.9, 3.5), (113.4, 6.1), (135.1, 6.5)),
}
"""Mean and SD of interpupillary breadth, face length (menton-sellion) and bizygomatic breadth."""

MEASURE_CORRELATION = 0.4
"""Between the three measures of one person; the survey does not print it."""

CHILD_IPD_POLYNOMIAL = {"man": (43.36, 1.663, -0.034), "woman": (41.76, 1.891, -0.052)}
"""Interpupillary distance in mm at an age in years: a + b age + c age^2."""

CHILD_LENGTH_POWER, CHILD_BREADTH_POWER = 0.95, 0.65
"""How length and breadth follow when the eyes' distance is a fraction of the adult one."""

IDENTITY_LIMIT = 2.5
MOVED_IDENTITY_LIMIT = 3.0
SIZE_FREEDOM = 0.02
"""SD of overall size that is left to chance, beside what the model's modes say of it. ICT-FaceKit's
scans are metric, and the three measures spread among them nearly as in the survey: shape and size
go together. Were size free of shape, as with 0.2 here, no picture could tell it."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One person: ``identity`` ``(I,)`` and ``scale`` for the face model, and the age group."""

    identity: NDArray[np.float32]
    scale: float
    group: Group
    age_years: float


class Population:
    """Draws people for a face model whose measured sizes are those of real populations.

    The model's own modes vary size too, so an identity is drawn from the model and then moved by
    the least step (in standard deviations) that gives the head the three drawn measures. Breadth is
    measured between landmarks 1 and 15, which lie a little outside the zygions that a calliper
    presses on: it counts relative to the model's mean head, which is taken to have the mean adult's
    proportion of breadth to the two other measures.
    """

    def __init__(self, model: FaceModel) -> None:
        eyes = [model.part_vertices[name] for name in ("eyeball_left", "eyeball_right")]
        points = [model.landmarks68[[8]], model.landmarks68[[27]]]
        points += [model.landmarks68[[1]], model.landmarks68[[15]]]
        groups: list[NDArray[np.integer[Any]]] = [*eyes, *points]
        self._mean = np.stack([model.mean_m[group].mean(0) for group in groups]).astype(float)
        self._modes = np.stack(
            [model.identity[:, group].mean(1, dtype=np.float64) for group in groups], axis=1
        )
        own = self._measures_m(np.zeros(len(model.identity)))
        adult = np.array([ADULT_MM[sex] for sex in ("man", "woman")])[:, :, 0].mean(0) / 1000.0
        size = np.sqrt(np.prod(own[:2] / adult[:2]))
        self._breadth_factor = float(own[2] / adult[2] / size)

    def sample(self, rng: np.random.Generator) -> Person:
        """Draw a person."""
        sex: Literal["man", "woman"] = "man" if rng.random() < 0.5 else "woman"
        is_child = bool(rng.random() < CHILD_SHARE)
        age = float(rng.uniform(*CHILD_AGES) if is_child else rng.uniform(18.0, 75.0))
        target_m = _sample_measures_mm(rng, sex, age if is_child else None) / 1000.0
        target_m[2] *= self._breadth_factor
        identity = sample_identity(rng, len(self._modes))
        identity, scale = self._fit(identity, target_m)
        return Person(identity.astype(np.float32), scale, "child" if is_child else sex, age)

    def measures_mm(self, person: Person) -> Floats:
        """Return interpupillary distance, face length and face breadth ``(3,)`` of a person."""
        measured: Floats = self._measures_m(person.identity.astype(np.float64)) * person.scale
        measured[2] /= self._breadth_factor
        return measured * 1000.0

    def _measures_m(self, identity: Floats) -> Floats:
        points = self._mean + np.tensordot(identity, self._modes, 1)
        return np.linalg.norm(points[0::2] - points[1::2], axis=1)

    def _fit(self, identity: Floats, target_m: Floats) -> tuple[Floats, float]:
        """Move an identity and find the scale so that the head has the measures ``(3,)``."""
        log_scale = 0.0
        for _ in range(3):
            points = self._mean + np.tensordot(identity, self._modes, 1)
            span = points[0::2] - points[1::2]
            length = np.linalg.norm(span, axis=1)
            change = self._modes[:, 0::2] - self._modes[:, 1::2]
            slope = (change * span).sum(-1).T / length[:, None] ** 2
            missing = np.log(target_m / length) - log_scale
            system = np.column_stack([slope, np.full(3, SIZE_FREEDOM)])
            step = system.T @ np.linalg.solve(system @ system.T + 1e-9 * np.eye(3), missing)
            moved = identity + step[:-1]
            identity = moved.clip(-MOVED_IDENTITY_LIMIT, MOVED_IDENTITY_LIMIT)
            log_scale += SIZE_FREEDOM * step[-1]
        return identity, float(np.exp(log_scale))


def sample_identity(rng: np.random.Generator, count: int) -> Floats:
    """Draw ``(count,)`` coefficients from the normal distribution cut off at +-2.5."""
    identity = rng.standard_normal(count)
    while (outside := np.abs(identity) > IDENTITY_LIMIT).any():
        identity[outside] = rng.standard_normal(int(outside.sum()))
    return identity


def _sample_measures_mm(
    rng: np.random.Generator, sex: Literal["man", "woman"], child_age: float | None
) -> Floats:
    """Draw the three measures ``(3,)`` of one adult, or of a child of that age."""
    mean, deviation = np.array(ADULT_MM[sex]).T
    correlation = np.full((3, 3), MEASURE_CORRELATION)
    np.fill_diagonal(correlation, 1.0)
    drawn = np.linalg.cholesky(correlation) @ rng.standard_normal(3)
    measures: Floats = mean + deviation * drawn.clip(-3.0, 3.0)
    if child_age is not None:
        a, b, c = CHILD_IPD_POLYNOMIAL[sex]
        growth = min(1.0, (a + b * child_age + c * child_age**2) / mean[0])
        measures *= growth ** np.array([1.0, CHILD_LENGTH_POWER, CHILD_BREADTH_POWER])
    return measures
