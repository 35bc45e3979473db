"""Sampling of people: head shape and size with the statistics of anthropometric surveys.

Depth is inferred from size, so the spread of real sizes limits its accuracy. Adults follow
Zhuang and Bradtmiller 2005, "Head-and-face anthropometric survey of U.S. respirator users"
(J. Occup. Environ. Hyg. 2(11), 3,997 people): interpupillary breadth, menton-sellion length and
bizygomatic breadth, men and women. Children's interpupillary distance follows MacLachlan and
Howland 2002, "Normal values and standard deviations for pupil diameter and interpupillary
distance in subjects aged 1 month to 19 years" (Ophthal. Physiol. Opt. 22(3)); their faces are
shorter and rounder than scaled adults', as in Farkas 1994, "Anthropometry of the head and face".
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
"""Mean and standard deviation of interpupillary, menton-sellion and bizygomatic distance."""

MEASURE_CORRELATION = 0.4
"""Assumed correlation between the three measures; the survey does not report it."""

CHILD_IPD_POLYNOMIAL = {"man": (43.36, 1.663, -0.034), "woman": (41.76, 1.891, -0.052)}
"""Coefficients (a, b, c) of the interpupillary distance in mm: a + b age + c age^2, in years."""

CHILD_LENGTH_POWER, CHILD_BREADTH_POWER = 0.95, 0.65
"""Powers that turn the ratio of interpupillary distances to adults into those of the others."""

IDENTITY_LIMIT = 2.5
FITTED_IDENTITY_LIMIT = 3.0
INDEPENDENT_SCALE_SD = 0.02
"""Standard deviation of the scale that is independent of the identity modes.

ICT-FaceKit's scans are metric and spread nearly as in the survey: shape and size are correlated. If
size were independent of shape (0.2 here), no image could reveal it."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """Parameters of a person for a face model: ``identity`` ``(I,)``, ``scale``, age and sex."""

    identity: NDArray[np.float32]
    scale: float
    group: Group
    age_years: float
    sex: Literal["man", "woman"]
    """Also of children, whose group does not tell it"""


class Population:
    """Draws people for a face model, with the measures of real populations.

    The model's modes also change size. An identity is therefore drawn from the model and then moved
    by the smallest step, in standard deviations, that gives the head three drawn measures. Breadth
    is measured between landmarks 1 and 15, slightly outside the zygions of the survey; it is taken
    relative to the mean head, assumed to have the mean adult's proportions.
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
        return Person(identity.astype(np.float32), scale, "child" if is_child else sex, age, sex)

    def measures_mm(self, person: Person) -> Floats:
        """Return interpupillary distance, face length and breadth ``(3,)`` of a person."""
        measured: Floats = self._measures_m(person.identity.astype(np.float64)) * person.scale
        measured[2] /= self._breadth_factor
        return measured * 1000.0

    def _measures_m(self, identity: Floats) -> Floats:
        points = self._mean + np.tensordot(identity, self._modes, 1)
        return np.linalg.norm(points[0::2] - points[1::2], axis=1)

    def _fit(self, identity: Floats, target_m: Floats) -> tuple[Floats, float]:
        """Return the identity and scale closest to ``identity`` that have the measures ``(3,)``."""
        log_scale = 0.0
        for _ in range(3):
            points = self._mean + np.tensordot(identity, self._modes, 1)
            span = points[0::2] - points[1::2]
            length = np.linalg.norm(span, axis=1)
            change = self._modes[:, 0::2] - self._modes[:, 1::2]
            slope = (change * span).sum(-1).T / length[:, None] ** 2
            missing = np.log(target_m / length) - log_scale
            system = np.column_stack([slope, np.full(3, INDEPENDENT_SCALE_SD)])
            step = system.T @ np.linalg.solve(system @ system.T + 1e-9 * np.eye(3), missing)
            moved = identity + step[:-1]
            identity = moved.clip(-FITTED_IDENTITY_LIMIT, FITTED_IDENTITY_LIMIT)
            log_scale += INDEPENDENT_SCALE_SD * step[-1]
        return identity, float(np.exp(log_scale))


def sample_identity(rng: np.random.Generator, count: int) -> Floats:
    """Draw ``(count,)`` coefficients from a normal distribution truncated at +-2.5."""
    identity = rng.standard_normal(count)
    while (outside := np.abs(identity) > IDENTITY_LIMIT).any():
        identity[outside] = rng.standard_normal(int(outside.sum()))
    return identity


def _sample_measures_mm(
    rng: np.random.Generator, sex: Literal["man", "woman"], child_age: float | None
) -> Floats:
    """Draw the three measures ``(3,)`` of an adult, or of a child of the given age."""
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
