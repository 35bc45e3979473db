"""Expression weights of a face shape: a bounded, regularised least-squares fit.

The vertices of a face in the head frame are explained by a small rigid motion, a size, the identity
modes and the expression modes of a :class:`~trg.geometry.shape_basis.ShapeBasis`. Identity
coefficients have unit variance; expression weights lie in 0 to 1 and are drawn toward 0. All
other unknowns are eliminated once, so that a fit is a quadratic problem in the weights alone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array
from trg.geometry.rotations import cross
from trg.geometry.shape_basis import ShapeBasis, bundled_shape_basis

Floats = NDArray[np.float64]

NOISE_M = 0.001
"""Standard deviation that the fit assumes for each coordinate of a vertex. Twice as much changes
the correlations with the truth on rendered faces by a hundredth at most."""

WEIGHT_SD = 0.4
"""Standard deviation of an expression weight; holds those near 0 that the shape does not tell."""

SEEN_EXPRESSIONS: tuple[str, ...] = ("jawOpen", "mouthSmileLeft", "mouthSmileRight")
"""Those that the bundled networks see: on rendered faces, seen from the front and not hidden, their
correlation with the truth is at least 0.8 (docs/results.md)."""

ALIGNMENT_SD = (0.02, 0.2, 0.1)
"""Standard deviations of translation (m), rotation (radians) and size (a ratio): all but free."""

MAX_STEPS = 60
TOLERANCE = 1e-8
"""Largest violation of the optimality conditions, relative to the gradient at zero."""


class ExpressionFit:
    """Fits expression weights to face shapes; the basis is factorised once."""

    def __init__(self, basis: ShapeBasis) -> None:
        self.basis = basis
        centred = basis.mean_m - basis.mean_m.mean(0)
        self._size_m = float(np.sqrt((centred**2).sum()))
        # Expressions that move no vertex, as that of the tongue, have the weight 0.
        self._moving = np.flatnonzero(basis.expressions_m.any((1, 2)))
        axes = np.eye(3)
        nuisance = np.concatenate(
            [
                *([np.broadcast_to(axis, centred.shape)] for axis in axes),
                *([cross(np.broadcast_to(axis, centred.shape), centred)] for axis in axes),
                [centred],
                basis.identity_m,
            ]
        ).reshape(-1, centred.size)
        translation, rotation, size = ALIGNMENT_SD
        deviations = np.repeat((translation, rotation, size, 1.0), (3, 3, 1, len(basis.identity_m)))
        modes = basis.expressions_m[self._moving].reshape(-1, centred.size)
        precision = 1.0 / NOISE_M**2
        among = precision * nuisance @ nuisance.T + np.diag(deviations**-2)
        across = precision * nuisance @ modes.T
        explained = np.linalg.solve(among, across).T
        self._hessian = precision * modes @ modes.T - explained @ across
        self._hessian += np.eye(len(modes)) / WEIGHT_SD**2
        self._gradient_of_vertices = precision * (modes - explained @ nuisance)

    def weights(self, vertices_m: ArrayLike) -> Floats:
        """Return the expression weights ``(52,)``, 0 to 1, of vertices in the head frame.

        The size of the face does not matter. Its place in the head frame may differ from the
        basis's by some centimetres, its rotation by one or two degrees.

        Parameters
        ----------
        vertices_m
            ``(n, 3)``, in the order of the basis, metres.

        Raises
        ------
        ValueError
            The shape is wrong, a number is not finite, or all vertices coincide.
        """
        vertices = finite_array("vertices_m", vertices_m, self.basis.mean_m.shape)
        size_m = float(np.sqrt(((vertices - vertices.mean(0)) ** 2).sum()))
        if size_m == 0.0:
            raise ValueError("vertices_m: expected a face, got vertices that all coincide")
        offsets = vertices * (self._size_m / size_m) - self.basis.mean_m
        weights = np.zeros(len(self.basis.expressions_m))
        gradient = self._gradient_of_vertices @ offsets.ravel()
        weights[self._moving] = minimize_in_unit_box(self._hessian, gradient)
        return weights


def minimize_in_unit_box(hessian: Floats, linear: Floats) -> Floats:
    """Return the ``x`` in [0, 1] that minimises ``x @ hessian @ x / 2 - linear @ x``.

    Projected Newton method (Bertsekas 1982, "Projected Newton methods for optimization problems
    with simple constraints", SIAM J. Control Optim. 20(2)): variables at a bound that the gradient
    holds there are fixed, the others take a Newton step, which is projected and halved until the
    objective falls.

    Parameters
    ----------
    hessian
        ``(n, n)``, symmetric, positive definite.
    linear
        ``(n,)``.
    """
    x = np.zeros_like(linear)
    threshold = TOLERANCE * max(float(np.abs(linear).max(initial=0.0)), 1e-300)
    for _ in range(MAX_STEPS):
        gradient = hessian @ x - linear
        held = ((x <= 0.0) & (gradient > 0.0)) | ((x >= 1.0) & (gradient < 0.0))
        free = np.flatnonzero(~held)
        if not len(free) or np.abs(gradient[free]).max() <= threshold:
            break
        step = np.zeros_like(x)
        step[free] = -np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        length = 1.0
        while True:
            moved = np.clip(x + length * step, 0.0, 1.0)
            change = moved - x
            fall = -change @ (gradient + 0.5 * hessian @ change)
            if fall >= -1e-4 * (gradient @ change) or length < 1e-6:
                break
            length *= 0.5
        x = moved
    return x


@lru_cache(maxsize=1)
def bundled_expression_fit() -> ExpressionFit:
    """Return the fit with the basis inside the package; it is prepared once."""
    return ExpressionFit(bundled_shape_basis())
