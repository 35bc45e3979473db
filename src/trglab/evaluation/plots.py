"""Plots of an evaluation. They need matplotlib: the extra ``plots``.

Every function returns a figure that :func:`write_plot` saves; nothing global is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg._util.atomic import write_atomic
from trg.geometry.camera import Camera
from trg.geometry.rotations import cross, normalize
from trglab.evaluation.scores import Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

PLOTTED = {
    "ge_deg": "GE, degrees",
    "tz_mm": "t_z, mm",
    "add_mm": "ADD, mm",
    "landmarks_mm": "landmarks, mm",
}
POINT_COLOUR, LINE_COLOUR = "#9db8d6", "#1f4e8c"
SET_COLOURS = ("#3b6fb6", "#3f9b57", "#9c6b3c", "#8a5fa8")
"""Blue, green and brown as in the paper's Fig. 3, then violet."""
MESH_COLOURS = ("#9a9a9a", "#e0a526", "#35b8c9", "#e377a2")
"""Grey truth, golden network, cyan and pink rivals, as in the paper's Fig. 4."""
MOST_POINTS = 5000
LINE_BINS, LEAST_IN_BIN = 12, 20
DPI = 150
AXIS_M = 0.05
VIEW_DEG = (18.0, -70.0)
"""Elevation and azimuth from which the camera's space is looked at."""


class Poses(NamedTuple):
    """One data set's heads for :func:`plot_distributions`."""

    translation_m: Floats
    """``(n, 3)``"""
    correction: Floats
    """``(n, 3)``: scale, and the centre's offset from the box centre over its side"""


class CameraMesh(NamedTuple):
    """A face in the camera frame."""

    vertices_m: NDArray[np.floating]
    """``(v, 3)``"""
    triangles: NDArray[np.integer]
    """``(m, 3)``"""


class FacePicture(NamedTuple):
    """One row of :func:`plot_faces`: a picture and faces by name, the truth first."""

    title: str
    pixels: NDArray[np.uint8]
    camera: Camera
    meshes: Mapping[str, CameraMesh]


def plot_errors(scores: Scores, title: str) -> Figure:
    """Draw errors against distance and yaw: pictures as points, their median and quartiles.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    names = [name for name in PLOTTED if name in scores.plain]
    axes_of = {"distance, m": scores.distance_m, "true yaw, degrees": scores.yaw_deg}
    known = {name: values for name, values in axes_of.items() if np.isfinite(values).any()}
    figure = _figure(4.2 * max(len(known), 1), 2.4 * len(names) + 0.6)
    grid = figure.subplots(len(names), max(len(known), 1), squeeze=False)
    for row, name in enumerate(names):
        for column, (heading, across) in enumerate(known.items()):
            axes = grid[row, column]
            _points_and_median(axes, across, scores.plain[name])
            axes.set_ylabel(PLOTTED[name])
            axes.set_xlabel(heading)
    figure.suptitle(title, fontsize="medium")
    return figure


def plot_distributions(sets: Mapping[str, Poses]) -> Figure:
    """Draw where heads are, and what Eq. 2's correction is there: the paper's Fig. 3.

    The point of the figure: translations differ between data sets, corrections hardly do.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    figure = _figure(13.0, 3.6)
    grid = figure.subplots(1, 4)
    labels = (
        ("T_x, m", "T_z, m"),
        ("T_y, m", "T_z, m"),
        ("correction τ_x, box sides", "correction s"),
        ("correction τ_y, box sides", "correction s"),
    )
    for index, (name, poses) in enumerate(sets.items()):
        colour = SET_COLOURS[index % len(SET_COLOURS)]
        x, y, z = poses.translation_m.T
        s, tau_x, tau_y = poses.correction.T
        for axes, (across, up) in zip(grid, ((x, z), (y, z), (tau_x, s), (tau_y, s)), strict=True):
            chosen = _spread_choice(len(across))
            size = _point_size(len(chosen))
            axes.scatter(across[chosen], up[chosen], size, colour, alpha=0.5, lw=0, label=name)
    for axes, (across_label, up_label) in zip(grid, labels, strict=True):
        axes.set_xlabel(across_label)
        axes.set_ylabel(up_label)
        axes.grid(alpha=0.25)
    for axes in grid[2:]:
        # The same range for all data sets, wide enough that a small spread looks small.
        axes.set_xlim(-0.5, 0.5)
        axes.set_ylim(0.0, max(2.0, axes.get_ylim()[1]))
    handles, names = grid[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=len(names), markerscale=2.0)
    return figure


def plot_faces(rows: list[FacePicture]) -> Figure:
    """Draw faces over their pictures and in the camera's space: the paper's Fig. 4.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    columns = max(len(row.meshes) for row in rows) + 1
    figure = _figure(3.2 * columns + 1.0, 3.3 * len(rows))
    for number, row in enumerate(rows):
        first = number * columns
        window = _window(row)
        for place, (name, mesh) in enumerate(row.meshes.items()):
            axes = figure.add_subplot(len(rows), columns, first + place + 1)
            _draw_over(axes, row, mesh, MESH_COLOURS[place % len(MESH_COLOURS)], window)
            axes.set_title(f"{row.title}\n{name}" if place == 0 else name, fontsize="small")
        space: Any = figure.add_subplot(len(rows), columns, first + columns, projection="3d")
        _draw_in_space(space, row)
    return figure


def write_plot(path: str | Path, figure: Figure) -> None:
    """Write a figure as PNG, whole or not at all."""
    write_atomic(Path(path), lambda file: figure.savefig(file, format="png", dpi=DPI))


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "plots need matplotlib: pip install 'trg-headpose[plots]', or leave plots out"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def _points_and_median(axes: Axes, across: Floats, errors: Floats) -> None:
    known = np.isfinite(across) & np.isfinite(errors)
    across, errors = across[known], errors[known]
    axes.grid(alpha=0.25)
    if not len(across):
        return
    chosen = _spread_choice(len(across))
    size = _point_size(len(chosen))
    axes.scatter(across[chosen], errors[chosen], size, POINT_COLOUR, alpha=0.7, lw=0)
    # Bins with equally many pictures: a median of two says nothing.
    order = np.argsort(across, kind="stable")
    bins = [
        part
        for part in np.array_split(order, min(LINE_BINS, -(-len(order) // LEAST_IN_BIN)))
        if len(part)
    ]
    middle = [np.median(across[part]) for part in bins]
    low, median, high = (
        [np.percentile(errors[part], percent) for part in bins] for percent in (25, 50, 75)
    )
    axes.fill_between(middle, low, high, color=LINE_COLOUR, alpha=0.2, lw=0)
    axes.plot(middle, median, color=LINE_COLOUR, lw=1.8)
    # A few wild faces must not flatten the rest.
    axes.set_ylim(0.0, 1.05 * max(np.percentile(errors, 98.0), 1e-9))


def _point_size(count: int) -> float:
    """Return an area in points squared at which so many dots neither vanish nor fill the plot."""
    return float(np.clip(2000.0 / max(count, 1), 2.0, 16.0))


def _spread_choice(count: int) -> NDArray[np.int64]:
    """Return at most so many row numbers as a plot can show, evenly spread."""
    return np.linspace(0, count - 1, min(count, MOST_POINTS)).astype(np.int64)


def _window(row: FacePicture) -> tuple[float, float, float]:
    """Return centre and half side, px, of a square that holds all faces of a row."""
    points = np.concatenate([row.camera.project(mesh.vertices_m) for mesh in row.meshes.values()])
    low, high = np.percentile(points, (0.0, 100.0), axis=0)
    centre = (low + high) / 2.0
    return float(centre[0]), float(centre[1]), float(0.65 * (high - low).max())


def _draw_over(
    axes: Axes, row: FacePicture, mesh: CameraMesh, colour: str, window: tuple[float, float, float]
) -> None:
    from matplotlib.collections import PolyCollection

    height, width = row.pixels.shape[:2]
    axes.imshow(row.pixels, extent=(0.0, width, height, 0.0))
    points = row.camera.project(mesh.vertices_m)
    corners = mesh.vertices_m[mesh.triangles]
    centres = corners.mean(1)
    # How squarely each triangle faces the camera, which is at the origin.
    facing = -(_outward_normals(corners) * normalize(np.float64(centres))).sum(-1)
    visible = facing > 0
    order = np.flatnonzero(visible)[np.argsort(-centres[visible, 2])]
    faces = PolyCollection(
        list(points[mesh.triangles[order]]),
        facecolors=_shaded(colour, facing[order]),
        edgecolors="none",
        alpha=0.6,
    )
    axes.add_collection(faces)
    x, y, half = window
    axes.set_xlim(x - half, x + half)
    axes.set_ylim(y + half, y - half)
    axes.set_axis_off()


def _draw_in_space(space: Any, row: FacePicture) -> None:
    """Draw faces with the camera's z running to the right and its y down."""
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    turned = {
        name: CameraMesh(mesh.vertices_m[:, [2, 0, 1]] * (1.0, 1.0, -1.0), mesh.triangles)
        for name, mesh in row.meshes.items()
    }
    elevation, azimuth = np.radians(VIEW_DEG)
    level = np.array([np.cos(azimuth), np.sin(azimuth), 0.0]) * np.cos(elevation)
    towards_viewer = level + (0.0, 0.0, np.sin(elevation))
    for number, mesh in enumerate(turned.values()):
        corners = mesh.vertices_m[mesh.triangles]
        colour = MESH_COLOURS[number % len(MESH_COLOURS)]
        shades = _shaded(colour, _outward_normals(corners) @ towards_viewer)
        space.add_collection3d(
            Poly3DCollection(corners, facecolors=shades, edgecolors="none", alpha=0.55)
        )
    points = np.concatenate([mesh.vertices_m for mesh in turned.values()])
    low, high = points.min(0), points.max(0)
    centre, half = (low + high) / 2.0, float((high - low).max()) / 2.0
    corner = centre - half
    for axis, colour in zip(
        ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0)), ("red", "green", "blue"), strict=True
    ):
        end = corner + AXIS_M * np.array(axis)
        space.plot(*np.stack([corner, end], axis=1), color=colour, lw=2.0)
    space.set_xlim(centre[0] - half, centre[0] + half)
    space.set_ylim(centre[1] - half, centre[1] + half)
    space.set_zlim(centre[2] - half, centre[2] + half)
    space.set_box_aspect((1.0, 1.0, 1.0))
    space.view_init(*VIEW_DEG)
    space.set_xlabel("z, m", fontsize="x-small")
    space.set_ylabel("x, m", fontsize="x-small")
    space.set_zlabel("-y, m", fontsize="x-small")
    space.tick_params(labelsize="xx-small")
    space.locator_params(nbins=4)


def _outward_normals(corners: NDArray[np.floating]) -> Floats:
    """Return unit normals of triangles ``(m, 3, 3)``, whichever way the mesh winds them."""
    a, b, c = np.float64(corners).transpose(1, 0, 2)
    normals = cross(b - a, c - a)
    centres = (a + b + c) / 3.0
    outwards = (normals * (centres - centres.mean(0))).sum()
    return normalize(normals) * (1.0 if outwards >= 0 else -1.0)


def _shaded(colour: str, facing: Floats) -> Floats:
    """Return RGB colours ``(m, 3)``, brighter where ``facing`` ``(m,)``, a cosine, is large."""
    from matplotlib.colors import to_rgb

    light = 0.4 + 0.6 * np.clip(facing, 0.0, 1.0)
    return np.array(to_rgb(colour)) * light[:, None]
