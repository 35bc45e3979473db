"""A simple analytic head, for tests and demonstrations without a face model.

The skin is a grid of azimuth and height wrapped around an elliptical profile. Eyes and mouth are
slits along a grid row: its vertices are duplicated, and the two edges form lids and lips. The
dimensions are chosen by eye, not measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trglab.synth.head.face_model import PARTS, FaceModel
from trglab.synth.head.mesh_indices import landmark_indices

BUILT_IN_HEAD = "built-in procedural head"
"""Name of this face model."""

COLUMN_DEG = 3.0
FRONT_COLUMNS = 26
"""Columns on each side of the central one, before the coarser back of the head."""
BACK_COLUMNS = 8
ROW_M = 0.0039
TOP_ROWS, BOTTOM_ROWS = 34, 38
"""Rows above and below the one through the origin."""

EYE_M = (0.0315, -0.0351)
EYE_COLUMNS = (4, 14)
"""First and last column of the eye slits, counted from the centre."""
MOUTH_Y_M = 0.0351
MOUTH_COLUMNS = 7
EYEBALL_RADIUS_M = 0.0158
LID_GAP_M = 0.0052
LIP_GAP_M = 0.0004

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Piece:
    """One grid of the head; ``lid`` and ``lip`` give the side of the slits."""

    part: str
    vertices: Floats
    triangles: Ints
    uv: Floats
    lid: Floats
    """``(n,)``: -1 at and above the eye slit, 1 below it, 0 on other parts."""
    lip: Floats
    """``(n,)``: likewise for the mouth."""


@dataclass(frozen=True, slots=True)
class _SkinGrid:
    """Vertex indices of the skin: ``upper[row, column]`` and, along slits, ``lower``."""

    upper: Ints
    lower: Ints
    middle: int

    def at(self, column: int, y_m: float, *, below: bool = False) -> int:
        """Return the vertex of a column, counted from the centre, in the row closest to ``y_m``."""
        row = TOP_ROWS + round(y_m / ROW_M)
        return int((self.lower if below else self.upper)[row, self.middle + column])


@lru_cache(maxsize=1)
def load_procedural_head() -> FaceModel:
    """Return the built-in head as a face model with 1220 landmarks."""
    skin, grid = _skin()
    pieces = [skin, _eyeball(1), _eyeball(-1), _cavity(), _teeth(-1), _teeth(1)]
    first = np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    mean_m = np.concatenate([piece.vertices for piece in pieces])
    lid, lip = (np.concatenate([getattr(p, name) for p in pieces]) for name in ("lid", "lip"))
    part = np.repeat([piece.part for piece in pieces], np.diff(first))
    triangles = np.concatenate([p.triangles + f for p, f in zip(pieces, first[:-1], strict=True)])
    used, triangles_of_used = np.unique(triangles, return_inverse=True)
    expressions = _expressions(mean_m, part, lid, lip)
    landmarks = landmark_indices("procedural_head")
    landmarks68 = np.searchsorted(used, _landmarks(grid))
    return FaceModel(
        name=BUILT_IN_HEAD,
        mean_m=mean_m[used].astype(np.float32),
        identity=_identity(mean_m, part)[:, used].astype(np.float32),
        expression=np.stack(list(expressions.values()))[:, used].astype(np.float32),
        expression_names=tuple(expressions),
        triangles=triangles_of_used.reshape(-1, 3).astype(np.int32),
        uv=np.concatenate([piece.uv for piece in pieces])[used].astype(np.float32),
        part=np.array([PARTS.index(name) for name in part[used]], dtype=np.uint8),
        landmarks68=landmarks68.astype(np.int32),
        dense=landmarks.dense.astype(np.int32),
        topology=landmarks.topology(mean_m[used], landmarks68),
    )


def _bump(points: Floats, x_m: float, y_m: float, wide_m: float, high_m: float) -> Floats:
    """Return a Gaussian ``(n,)`` over the frontal plane, symmetric about x = 0."""
    across = (np.abs(points[:, 0]) - x_m) / wide_m
    along = (points[:, 1] - y_m) / high_m
    bump: Floats = np.exp(-(across**2) - along**2)
    return bump


def _skin() -> tuple[_Piece, _SkinGrid]:
    """Return the wrapped grid with slits."""
    front = np.arange(FRONT_COLUMNS + 1) * COLUMN_DEG
    half = np.concatenate([front, np.linspace(front[-1], 180.0, BACK_COLUMNS + 1)[1:]])
    azimuth = np.radians(np.concatenate([-half[:0:-1], half]))
    rows = np.arange(-TOP_ROWS, BOTTOM_ROWS + 1) * ROW_M
    y, a = (grid.ravel() for grid in np.meshgrid(rows, azimuth, indexing="ij"))
    upper = np.arange(len(y)).reshape(len(rows), len(azimuth))
    middle = len(half) - 1
    slit = np.zeros(upper.shape, dtype=bool)
    eye_row, mouth_row = TOP_ROWS + round(EYE_M[1] / ROW_M), TOP_ROWS + round(MOUTH_Y_M / ROW_M)
    for side in (1, -1):
        inner = range(EYE_COLUMNS[0] + 1, EYE_COLUMNS[1])
        slit[eye_row, [middle + side * column for column in inner]] = True
    slit[mouth_row, middle - MOUTH_COLUMNS + 1 : middle + MOUTH_COLUMNS] = True
    doubled = upper[slit]
    lower = upper.copy()
    lower[slit] = len(y) + np.arange(len(doubled))
    source = np.concatenate([np.arange(len(y)), doubled])
    is_lower = np.arange(len(source)) >= len(y)
    points = _profile(y[source], a[source])
    lid = np.where((points[:, 1] > EYE_M[1] + 1e-6) | is_lower, 1.0, -1.0)
    lip = np.where((points[:, 1] > MOUTH_Y_M + 1e-6) | is_lower, 1.0, -1.0)
    points = _sculpt(points, lid, lip)
    uv = np.stack([a / (2 * np.pi) + 0.5, (y - rows[0]) / (rows[-1] - rows[0])], 1)[source]
    triangles = _grid_triangles(lower[:-1], upper[1:])
    triangles = triangles[len(azimuth) - 1 :]  # those at the crown have no area
    return _Piece("skin", points, triangles, uv, lid, lip), _SkinGrid(upper, lower, middle)


def _profile(y: Floats, a: Floats) -> Floats:
    """Map height and azimuth to the surface of the head without features."""
    crown_m = TOP_ROWS * ROW_M - 0.03
    dome = np.sqrt(np.clip(1.0 - (np.minimum(y + 0.03, 0.0) / crown_m) ** 2, 0.0, 1.0))
    jaw = np.clip((y + 0.01) / 0.085, 0.0, 1.0)
    neck = 1.0 / (1.0 + np.exp(-(y - 0.088) / 0.005))
    side = dome * (0.074 - 0.034 * jaw**2) * (1 - neck) + 0.052 * neck
    front = dome * (0.098 - 0.002 * jaw) * (1 - neck) + 0.048 * neck
    back = dome * (0.095 - 0.035 * np.clip((y + 0.01) / 0.07, 0.0, 1.0))
    depth = np.where(np.cos(a) > 0, front, back)
    return np.stack([side * np.sin(a), y, -depth * np.cos(a)], 1)


def _sculpt(points: Floats, lid: Floats, lip: Floats) -> Floats:
    """Displace points for nose, brows, cheeks, lips, chin and eye sockets; open lids and lips."""
    bump = lambda *shape: _bump(points, *shape)  # noqa: E731
    front = 1.0 / (1.0 + np.exp((points[:, 2] + 0.03) / 0.008))
    ridge = np.clip((points[:, 1] + 0.04) / 0.043, 0.0, 1.0)
    nose = 0.024 * bump(0.0, 0.0, 0.009, 0.012) + 0.008 * ridge * bump(0.0, -0.012, 0.008, 0.02)
    wings = 0.007 * bump(0.013, 0.007, 0.006, 0.006)
    forward = nose + wings + 0.004 * bump(0.03, -0.055, 0.02, 0.008)
    forward += 0.004 * bump(0.035, -0.008, 0.02, 0.016) + 0.006 * bump(0.0, 0.068, 0.014, 0.012)
    forward += 0.0045 * bump(0.0, MOUTH_Y_M, 0.022, 0.008) - 0.006 * bump(*EYE_M, 0.018, 0.012)
    result = points.copy()
    result[:, 2] -= front * forward
    reach = (1.0 - ((np.abs(points[:, 0]) - EYE_M[0]) / 0.0155) ** 2).clip(0.0, 1.0) * front
    fade = np.exp(-np.abs(points[:, 1] - EYE_M[1]) / 0.006)
    result[:, 1] += lid * LID_GAP_M * reach * fade
    reach = (1.0 - (points[:, 0] / 0.0275) ** 2).clip(0.0, 1.0) * front
    result[:, 1] += lip * LIP_GAP_M * reach * np.exp(-np.abs(points[:, 1] - MOUTH_Y_M) / 0.004)
    return result


def _grid_triangles(top: Ints, bottom: Ints) -> Ints:
    """Return the triangles between rows of vertices, counter-clockwise seen from outside.

    ``top[r]`` and ``bottom[r]`` are the upper and lower border of strip r. The first half of the
    triangles are the upper ones of the cells, the second half the lower ones. Diagonals on the
    right mirror those on the left.
    """
    a, b, c, d = (grid.ravel() for grid in (top[:, :-1], top[:, 1:], bottom[:, :-1], bottom[:, 1:]))
    right = np.tile(np.arange(top.shape[1] - 1) >= (top.shape[1] - 1) // 2, len(top))[:, None]
    first = np.where(right, np.stack([a, d, b], 1), np.stack([a, c, b], 1))
    second = np.where(right, np.stack([a, c, d], 1), np.stack([b, c, d], 1))
    return np.concatenate([first, second])


def _patch(
    part: str, surface: Callable[[Floats, Floats], Floats], rows: int, columns: int
) -> _Piece:
    """Return a rectangular grid of a surface over u (left to right) and v (top to bottom)."""
    index = np.arange(rows * columns).reshape(rows, columns)
    v, u = (index // columns / (rows - 1)).ravel(), (index % columns / (columns - 1)).ravel()
    vertices = surface(u, v)
    inside_mouth = part in ("mouth", "teeth")
    return _Piece(
        part,
        vertices,
        triangles=_grid_triangles(index[:-1], index[1:]),
        uv=np.stack([u, v], 1),
        lid=np.zeros(len(vertices)),
        lip=inside_mouth * np.where(vertices[:, 1] > MOUTH_Y_M, 1.0, -1.0),
    )


def _eyeball(side: int) -> _Piece:
    """Return the front shell of an eyeball; the pupil is in the centre of its texture."""

    def shell(u: Floats, v: Floats) -> Floats:
        right, down = (2.0 * u - 1.0) * np.radians(75), (2.0 * v - 1.0) * np.radians(75)
        centre = np.array([side * EYE_M[0], EYE_M[1], -0.0672])
        ray = np.stack([np.sin(right) * np.cos(down), np.sin(down), -np.cos(right) * np.cos(down)])
        return centre + EYEBALL_RADIUS_M * ray.T

    name = "eyeball_left" if side > 0 else "eyeball_right"
    return _patch(name, shell, 13, 13)


def _cavity() -> _Piece:
    """Return the oral cavity, a bowl that opens towards the lips."""

    def bowl(u: Floats, v: Floats) -> Floats:
        x, y = 2.0 * u - 1.0, 2.0 * v - 1.0
        depth = (1.0 - x**2) * (1.0 - y**2)
        return np.stack([0.031 * x, MOUTH_Y_M + 0.016 * y, -0.085 + 0.02 * x**2 + 0.045 * depth], 1)

    return _patch("mouth", bowl, 13, 17)


def _teeth(side: int) -> _Piece:
    """Return one row of teeth; ``side`` -1: the upper one."""

    def arch(u: Floats, v: Floats) -> Floats:
        x = 2.0 * u - 1.0
        y = MOUTH_Y_M + side * 0.0009 + 0.008 * (v - 1.0 if side < 0 else v)
        return np.stack([0.022 * x, y, -0.091 + 0.022 * x**2], 1)

    return _patch("teeth", arch, 4, 17)


def _identity(rest: Floats, part: NDArray[np.str_]) -> Floats:
    """Return twelve identity shapes ``(12, n, 3)``, metres per standard deviation."""
    x, y, z = rest.T
    bump = lambda *shape: _bump(rest, *shape) * (part == "skin")  # noqa: E731
    zero = np.zeros(len(rest))
    eyes = np.sign(x) * _bump(rest, *EYE_M, 0.02, 0.02)
    front = 1.0 / (1.0 + np.exp((z + 0.03) / 0.01))
    jaw = np.clip((y - 0.005) / 0.07, 0.0, 1.0)
    shapes = [
        (0.035 * x, zero, zero),
        (zero, 0.035 * y, zero),
        (zero, zero, 0.035 * z),
        (0.0014 * eyes, zero, zero),
        (zero, 0.0025 * jaw * front, zero),
        (0.06 * x * jaw, zero, zero),
        (zero, zero, -0.0028 * bump(0.0, 0.0, 0.010, 0.012)),
        (0.16 * x * bump(0.0, 0.005, 0.02, 0.01), zero, zero),
        (zero, zero, -0.0018 * bump(0.03, -0.055, 0.025, 0.01)),
        (zero, zero, -0.0025 * bump(0.0, 0.068, 0.016, 0.012)),
        (zero, zero, -0.0018 * bump(0.035, -0.008, 0.02, 0.02)),
        (0.03 * x * np.clip(-y / 0.1, 0.0, 1.0), zero, zero),
    ]
    return np.stack([np.stack(shape, 1) for shape in shapes])


def _expressions(
    rest: Floats, part: NDArray[np.str_], lid: Floats, lip: Floats
) -> dict[str, Floats]:
    """Return expression shapes ``(n, 3)`` by ARKit name."""
    x, y, _ = rest.T
    skin = part == "skin"
    zero = np.zeros(len(rest))
    bump = lambda *shape: _bump(rest, *shape) * skin  # noqa: E731
    front = 1.0 / (1.0 + np.exp((rest[:, 2] + 0.03) / 0.008))
    below = np.where(lip > 0, np.exp(-((x / 0.045) ** 2)), 0.0) * front * (y < 0.12)
    below *= np.where(skin, np.clip((0.105 - y) / 0.02, 0.0, 1.0), 1.0)
    mouth = bump(0.0, MOUTH_Y_M, 0.03, 0.012)
    shapes = {
        "jawOpen": np.stack([zero, 0.026 * below, 0.006 * below], 1),
        "mouthPucker": np.stack([-0.35 * x * mouth, zero, -0.006 * mouth], 1),
        "mouthFunnel": np.stack([-0.2 * x * mouth, 0.003 * lip * mouth, -0.005 * mouth], 1),
    }
    reach = (1.0 - ((np.abs(x) - EYE_M[0]) / 0.0155) ** 2).clip(0.0, 1.0) * skin
    edge = np.exp(-np.abs(y - EYE_M[1]).clip(LID_GAP_M) / 0.006 + LID_GAP_M / 0.006) * reach
    corner, brow = bump(0.026, MOUTH_Y_M, 0.014, 0.012), bump(0.03, -0.058, 0.022, 0.014)
    inner = bump(0.014, -0.055, 0.014, 0.014)
    for name, side in (("_L", np.clip(x / 0.004, 0, 1)), ("_R", np.clip(-x / 0.004, 0, 1))):
        closing = -lid * LID_GAP_M * edge * side
        shapes[f"eyeBlink{name}"] = np.stack([zero, closing, -0.0012 * np.abs(edge) * side], 1)
        shapes[f"eyeWide{name}"] = -0.35 * shapes[f"eyeBlink{name}"]
        smile = np.stack([0.006 * np.sign(x) * corner, -0.006 * corner, 0.003 * corner], 1)
        shapes[f"mouthSmile{name}"] = smile * side[:, None]
        shapes[f"mouthFrown{name}"] = smile * side[:, None] * (0.3, -0.9, 0.3)
        shapes[f"browDown{name}"] = np.stack([zero, 0.005 * brow * side, zero], 1)
        shapes[f"browInnerUp{name}"] = np.stack([zero, -0.006 * inner * side, zero], 1)
        for direction in ("In", "Out", "Up", "Down"):
            shapes[f"eyeLook{direction}{name}"] = np.zeros_like(rest)
    return shapes


def _landmarks(grid: _SkinGrid) -> Ints:
    """Return the vertices of the 68 standard landmarks."""
    jaw = [(-25, -0.035), (-24, -0.016), (-23, 0.004), (-21, 0.02), (-19, 0.035)]
    jaw += [(-16, 0.051), (-12, 0.062), (-6, 0.07), (0, 0.074)]
    left = [grid.at(*point) for point in jaw]
    points = left + [grid.at(-column, y) for column, y in jaw[-2::-1]]
    brow = [(-17, -0.05), (-14, -0.058), (-11, -0.0585), (-8, -0.0585), (-5, -0.055)]
    points += [grid.at(*point) for point in brow]
    points += [grid.at(-column, y) for column, y in reversed(brow)]
    points += [grid.at(0, y) for y in (-0.0351, -0.0234, -0.0117, 0.0)]
    points += [grid.at(column, 0.0117) for column in (-4, -2, 0, 2, 4)]
    inner, outer = EYE_COLUMNS
    eye_y = EYE_M[1]
    points += [grid.at(c, eye_y) for c in (-outer, 3 - outer, -inner - 3, -inner)]
    points += [grid.at(c, eye_y, below=True) for c in (-inner - 3, 3 - outer)]
    points += [grid.at(c, eye_y) for c in (inner, inner + 3, outer - 3, outer)]
    points += [grid.at(c, eye_y, below=True) for c in (outer - 3, inner + 3)]
    lip_y, w = MOUTH_Y_M, MOUTH_COLUMNS
    upper, lower = lip_y - 2 * ROW_M, lip_y + 2 * ROW_M
    points += [grid.at(-w, lip_y)] + [grid.at(c, upper) for c in (-4, -2, 0, 2, 4)]
    points += [grid.at(w, lip_y)] + [grid.at(c, lower) for c in (4, 2, 0, -2, -4)]
    points += [grid.at(c, lip_y) for c in (1 - w, -3, 0, 3, w - 1)]
    points += [grid.at(c, lip_y, below=True) for c in (3, 0, -3)]
    return np.array(points)
