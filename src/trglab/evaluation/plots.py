"""Plots of an evaluation with matplotlib (the extra ``plots``), without its global state.

Every function returns a figure that :func:`write_plot` saves.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg._util.files import write_atomic
from trg.geometry.camera import Camera
from trg.geometry.rotations import cross, normalize
from trglab.evaluation.scores import Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

AXIS_LABELS = {
    "ge_deg": "GE, degrees",
    "tz_mm": "t_z, mm",
    "add_mm": "ADD, mm",
    "landmarks_mm": "landmarks, mm",
}
POINT_COLOR, LINE_COLOR = "#9db8d6", "#1f4e8c"
SET_COLORS = ("#3b6fb6", "#3f9b57", "#9c6b3c", "#8a5fa8")
"""Blue, green and brown as in the paper's Fig. 3, then violet"""
MESH_COLORS = ("#9a9a9a", "#e0a526", "#35b8c9", "#e377a2")
"""Ground truth, TRG and two baselines, as in the paper's Fig. 4"""
MAX_POINTS = 5000
LINE_BINS, MIN_PER_BIN = 12, 20
DPI = 150
AXIS_M = 0.05
MAX_OFFSET = 0.5
"""Faces whose centre is further from the true one than this share of the true distance have
diverged: they do not set the limits of plots"""
VIEWPOINT_DEG = (18.0, -70.0)
"""Elevation and azimuth of the viewpoint in plots of the camera frame"""


class PoseDistribution(NamedTuple):
    """Poses of one data set for :func:`plot_distributions`."""

    translation_m: Floats
    """``(n, 3)``"""
    correction: Floats
    """``(n, 3)``: ``(s, tau_x, tau_y)`` of Eq. 2"""


class PosedMesh(NamedTuple):
    """A face in the camera frame."""

    vertices_m: NDArray[np.floating]
    """``(v, 3)``"""
    triangles: NDArray[np.integer]
    """``(m, 3)``"""


class FacePlotRow(NamedTuple):
    """One row of :func:`plot_faces`: an image and posed faces by name, the ground truth first."""

    title: str
    image: NDArray[np.uint8]
    camera: Camera
    meshes: Mapping[str, PosedMesh]


def plot_errors(scores: Scores, title: str) -> Figure:
    """Plot errors against distance and yaw: one point per image, median and quartiles.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    names = [name for name in AXIS_LABELS if name in scores.errors]
    axes_of = {"distance, m": scores.distance_m, "true yaw, degrees": scores.yaw_deg}
    known = {name: values for name, values in axes_of.items() if np.isfinite(values).any()}
    figure = _figure(4.2 * max(len(known), 1), 2.4 * len(names) + 0.6)
    grid = figure.subplots(len(names), max(len(known), 1), squeeze=False)
    for row, name in enumerate(names):
        for column, (heading, x) in enumerate(known.items()):
            axes = grid[row, column]
            _points_and_median(axes, x, scores.errors[name])
            axes.set_ylabel(AXIS_LABELS[name])
            axes.set_xlabel(heading)
    figure.suptitle(title, fontsize="medium")
    return figure


def plot_distributions(sets: Mapping[str, PoseDistribution]) -> Figure:
    """Plot translations and corrections (Eq. 2) of data sets: the paper's Fig. 3.

    Translations differ between data sets; the corrections hardly do.

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
        color = SET_COLORS[index % len(SET_COLORS)]
        x, y, z = poses.translation_m.T
        s, tau_x, tau_y = poses.correction.T
        for axes, (horizontal, vertical) in zip(
            grid, ((x, z), (y, z), (tau_x, s), (tau_y, s)), strict=True
        ):
            chosen = _subsample(len(horizontal))
            size = _point_size(len(chosen))
            axes.scatter(
                horizontal[chosen], vertical[chosen], size, color, alpha=0.5, lw=0, label=name
            )
    for axes, (xlabel, ylabel) in zip(grid, labels, strict=True):
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.grid(alpha=0.25)
    for axes in grid[2:]:
        # A fixed range, so that small spreads look small.
        axes.set_xlim(-0.5, 0.5)
        axes.set_ylim(0.0, max(2.0, axes.get_ylim()[1]))
    handles, names = grid[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=len(names), markerscale=2.0)
    return figure


def plot_faces(rows: list[FacePlotRow]) -> Figure:
    """Draw faces on their images and in the camera frame: the paper's Fig. 4.

    Limits are those of the ground truth and of the faces near it. A diverged face is cut off by the
    image panel and left out of the camera frame, and both titles say so.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    columns = max(len(row.meshes) for row in rows) + 1
    figure = _figure(3.2 * columns + 1.0, 3.3 * len(rows))
    for number, row in enumerate(rows):
        first = number * columns
        diverged = _diverged_m(row)
        near = {name: mesh for name, mesh in row.meshes.items() if name not in diverged}
        window = _window(row.camera, near)
        for place, (name, mesh) in enumerate(row.meshes.items()):
            axes = figure.add_subplot(len(rows), columns, first + place + 1)
            _draw_on_image(axes, row, mesh, MESH_COLORS[place % len(MESH_COLORS)], window)
            title = f"{name}\n{diverged[name]:.2g} m off, cut off" if name in diverged else name
            axes.set_title(f"{row.title}\n{name}" if place == 0 else title, fontsize="small")
        axes_3d = figure.add_subplot(len(rows), columns, first + columns, projection="3d")
        colors = {name: MESH_COLORS[i % len(MESH_COLORS)] for i, name in enumerate(row.meshes)}
        _draw_in_camera_frame(axes_3d, near, colors)
        if diverged:
            axes_3d.set_title("\n".join(f"outside: {name}" for name in diverged), fontsize="small")
    return figure


def write_plot(path: str | Path, figure: Figure) -> None:
    """Write a figure as PNG, atomically."""
    write_atomic(Path(path), lambda file: figure.savefig(file, format="png", dpi=DPI))


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "plots need matplotlib: pip install 'trg-headpose[plots]', or leave plots out"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def _points_and_median(axes: Axes, x: Floats, errors: Floats) -> None:
    known = np.isfinite(x) & np.isfinite(errors)
    x, errors = x[known], errors[known]
    axes.grid(alpha=0.25)
    if not len(x):
        return
    chosen = _subsample(len(x))
    size = _point_size(len(chosen))
    axes.scatter(x[chosen], errors[chosen], size, POINT_COLOR, alpha=0.7, lw=0)
    # Equally filled bins, because a median of few images is noise.
    order = np.argsort(x, kind="stable")
    bins = [
        part
        for part in np.array_split(order, min(LINE_BINS, -(-len(order) // MIN_PER_BIN)))
        if len(part)
    ]
    middle = [np.median(x[part]) for part in bins]
    low, median, high = (
        [np.percentile(errors[part], percent) for part in bins] for percent in (25, 50, 75)
    )
    axes.fill_between(middle, low, high, color=LINE_COLOR, alpha=0.2, lw=0)
    axes.plot(middle, median, color=LINE_COLOR, lw=1.8)
    # A few outliers must not compress the rest of the plot.
    axes.set_ylim(0.0, 1.05 * max(np.percentile(errors, 98.0), 1e-9))


def _point_size(count: int) -> float:
    """Return the marker area, in points squared, that suits so many points."""
    return float(np.clip(2000.0 / max(count, 1), 2.0, 16.0))


def _subsample(count: int) -> NDArray[np.int64]:
    """Return at most ``MAX_POINTS`` row indices, evenly spread."""
    return np.linspace(0, count - 1, min(count, MAX_POINTS)).astype(np.int64)


def _diverged_m(row: FacePlotRow) -> dict[str, float]:
    """Return the offsets from the ground truth, m, of the faces that have diverged, by name."""
    centres = {name: mesh.vertices_m.mean(0) for name, mesh in row.meshes.items()}
    true = next(iter(centres.values()))
    limit_m = MAX_OFFSET * float(np.linalg.norm(true))
    offsets = {name: float(np.linalg.norm(centre - true)) for name, centre in centres.items()}
    return {name: offset for name, offset in offsets.items() if not offset <= limit_m}


def _window(camera: Camera, meshes: Mapping[str, PosedMesh]) -> tuple[float, float, float]:
    """Return centre and half side, px, of a square around faces."""
    points = np.concatenate([camera.project(mesh.vertices_m) for mesh in meshes.values()])
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    centre = (low + high) / 2.0
    return float(centre[0]), float(centre[1]), float(0.65 * (high - low).max())


def _draw_on_image(
    axes: Axes, row: FacePlotRow, mesh: PosedMesh, color: str, window: tuple[float, float, float]
) -> None:
    from matplotlib.collections import PolyCollection

    height, width = row.image.shape[:2]
    axes.imshow(row.image, extent=(0.0, width, height, 0.0))
    points = row.camera.project(mesh.vertices_m)
    corners = mesh.vertices_m[mesh.triangles]
    centres = corners.mean(1)
    # Cosine between each triangle's normal and the direction to the camera, at the origin.
    cosine = -(_outward_normals(corners) * normalize(np.float64(centres))).sum(-1)
    visible = (cosine > 0) & np.isfinite(points[mesh.triangles]).all((1, 2))
    order = np.flatnonzero(visible)[np.argsort(-centres[visible, 2])]
    faces = PolyCollection(
        list(points[mesh.triangles[order]]),
        facecolors=_shaded(color, cosine[order]),
        edgecolors="none",
        alpha=0.6,
    )
    axes.add_collection(faces)
    x, y, half = window
    axes.set_xlim(x - half, x + half)
    axes.set_ylim(y + half, y - half)
    axes.set_axis_off()


def _draw_in_camera_frame(
    axes: Any, faces: Mapping[str, PosedMesh], colors: Mapping[str, str]
) -> None:
    """Draw faces in the camera frame, with z to the right and y down."""
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    meshes = {
        name: PosedMesh(mesh.vertices_m[:, [2, 0, 1]] * (1.0, 1.0, -1.0), mesh.triangles)
        for name, mesh in faces.items()
    }
    elevation, azimuth = np.radians(VIEWPOINT_DEG)
    level = np.array([np.cos(azimuth), np.sin(azimuth), 0.0]) * np.cos(elevation)
    view_direction = level + (0.0, 0.0, np.sin(elevation))
    for name, mesh in meshes.items():
        corners = mesh.vertices_m[mesh.triangles]
        shades = _shaded(colors[name], _outward_normals(corners) @ view_direction)
        axes.add_collection3d(
            Poly3DCollection(corners, facecolors=shades, edgecolors="none", alpha=0.55)
        )
    points = np.concatenate([mesh.vertices_m for mesh in meshes.values()])
    low, high = points.min(0), points.max(0)
    centre, half = (low + high) / 2.0, float((high - low).max()) / 2.0
    corner = centre - half
    for axis, color in zip(
        ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0)), ("red", "green", "blue"), strict=True
    ):
        end = corner + AXIS_M * np.array(axis)
        axes.plot(*np.stack([corner, end], axis=1), color=color, lw=2.0)
    axes.set_xlim(centre[0] - half, centre[0] + half)
    axes.set_ylim(centre[1] - half, centre[1] + half)
    axes.set_zlim(centre[2] - half, centre[2] + half)
    axes.set_box_aspect((1.0, 1.0, 1.0))
    axes.view_init(*VIEWPOINT_DEG)
    axes.set_xlabel("z, m", fontsize="x-small")
    axes.set_ylabel("x, m", fontsize="x-small")
    axes.set_zlabel("-y, m", fontsize="x-small")
    axes.tick_params(labelsize="xx-small")
    axes.locator_params(nbins=4)


def _outward_normals(corners: NDArray[np.floating]) -> Floats:
    """Return unit outward normals of triangles ``(m, 3, 3)`` of either winding order."""
    a, b, c = np.float64(corners).transpose(1, 0, 2)
    normals = cross(b - a, c - a)
    centres = (a + b + c) / 3.0
    outwards = (normals * (centres - centres.mean(0))).sum()
    return normalize(normals) * (1.0 if outwards >= 0 else -1.0)


def _shaded(color: str, cosine: Floats) -> Floats:
    """Return RGB colors ``(m, 3)``, brighter for larger ``cosine`` ``(m,)``."""
    from matplotlib.colors import to_rgb

    light = 0.4 + 0.6 * np.clip(cosine, 0.0, 1.0)
    return np.array(to_rgb(color)) * light[:, None]
