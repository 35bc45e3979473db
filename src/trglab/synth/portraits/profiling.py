"""Profiled photographs: real faces with their own hair and background, turned in depth.

After "face profiling" (Zhu et al. 2016, "Face alignment across large poses: a 3D solution"). The
photograph becomes one sheet: a grid whose depth is that of the fitted head where the head is, and
continues smoothly into the background elsewhere. The renderer draws the sheet in another pose. The
pose relative to the photograph's is exact, so labels move with the pixels; absolute labels are as
good as the fit. What the photograph hides is filled by stretching its neighbourhood, and landmarks
there are marked as not visible.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.geometry.face_mesh import FaceTopology
from trg.geometry.projection import OPTICAL_AXIS, transform
from trg.geometry.rotations import rotation_between, rotation_from_euler, rotation_to_euler
from trg.io.images import read_image
from trglab.datasets.sample import Sample
from trglab.synth.assets import find_asset, find_assets, require_asset
from trglab.synth.colour import linear_from_srgb
from trglab.synth.dataset import Window, window_camera
from trglab.synth.environment.backgrounds import paint_background
from trglab.synth.environment.light import Light
from trglab.synth.environment.sensor import SensorParams, simulate_sensor
from trglab.synth.head.face_model import FaceModel, load_face_model
from trglab.synth.portraits.estimates import MODEL, FaceEstimates, estimate_photos
from trglab.synth.portraits.fit import PortraitFit, fit_portrait
from trglab.synth.render.raster import Rendering, render, visible_vertices
from trglab.synth.render.surface import Material, Surface
from trglab.synth.shots import ShotDistribution, sample_shot

Floats = NDArray[np.float64]

IMAGES_PER_PORTRAIT = 8
"""Consecutive indices share a photograph: the sheet costs as much as several images."""

YAW_REACH_DEG, PITCH_REACH_DEG, ROLL_SD_DEG = 40.0, 18.0, 12.0
"""Largest turn away from the photograph's pose; roll is normal."""

MAX_YAW_DEG = 75.0
"""Largest yaw of a sample."""

PADDING = 0.5
"""Continuation of the photograph beyond its borders, in image sizes, so that a turned sheet fills
the image."""

CELL_PX = 2
"""Side of a cell of the sheet in pixels of the photograph."""

BACKGROUND_BEHIND_M = 0.13
"""Depth of the background behind the head's origin."""

RELAXATIONS = 160
"""Jacobi steps per level that continue the depth of the head into the background."""

OWN_BACKDROP_SHARE = 0.7
"""Share of samples with the photograph's border colours beyond its borders."""

TEXTURE_SCALE = 2
UNLIT = Material(roughness=1.0, specular=0.0, two_sided=True)


class Sheet(NamedTuple):
    """A photograph as a surface in the head frame, and the labels that move with it."""

    surface: Surface
    vertices_m: NDArray[np.float32]
    """``(V, 3)`` of the fitted head, in the head frame"""
    rotation: Floats
    """``(3, 3)`` of the photograph, relative to its virtual camera"""
    seen68: NDArray[np.bool_]
    """``(68,)``: landmarks that the photograph shows"""
    backdrop: NDArray[np.float32]
    """``(2, 3)``: linear colours of the left and the right border"""
    name: str


class ProfiledPortraits:
    """An unbounded set of turned photographs. Every sample is a function of seed and index.

    Parameters
    ----------
    seed
        Selects order, poses and cameras.
    folder
        A folder of portraits; None: those of the installed asset.
    window
        ``(size_px, margin)`` of the square rendered around each face box.
    face_model
        Path of a face model; None: the installed one, else the built-in head.
    model
        Name of a bundled network, or a weight bundle, that finds the landmarks.
    pose_labels
        Whether samples have pose and vertices, or 2D landmarks only.
    first_unturned
        Whether the first of each photograph's samples keeps its pose, to which the others' are
        relative.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such folder, or no portrait can be used.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        folder: str | Path | None = None,
        window: tuple[int, float] = (192, 1.6),
        face_model: str | Path | None = None,
        model: str | Path = MODEL,
        pose_labels: bool = True,
        first_unturned: bool = False,
    ) -> None:
        require_asset("portraits", folder)
        self.seed, self._window, self._pose_labels = seed, Window(*window), pose_labels
        self._first_unturned = first_unturned
        self._model: FaceModel = load_face_model(find_asset("face-model", face_model))
        self._portraits: list[tuple[Path, FaceEstimates, int]] = []
        for place in find_assets("portraits", folder):
            estimates = estimate_photos(place, model)
            self._portraits += [
                (place / name, estimates, index)
                for index, name in enumerate(estimates.names)
                if estimates.problem(index) is None
            ]
        if not self._portraits:
            raise ValueError("portraits: expected at least one with a consistent estimate")
        self._sheets: OrderedDict[int, Sheet] = OrderedDict()

    @property
    def topology(self) -> FaceTopology:
        """Landmark mesh of the samples."""
        return self._model.topology

    def sample(self, index: int) -> Sample:
        """Render sample ``index``, 0 or more."""
        if index < 0:
            raise ValueError(f"index: expected 0 or more, got {index}")
        rng = np.random.default_rng((self.seed, index))
        sheet = self._sheet(index // IMAGES_PER_PORTRAIT)
        shot = sample_shot(rng, ShotDistribution(distance_m=(0.5, 2.5), cut_off_share=0.0))
        turned = turned_rotation(rng, sheet.rotation)
        if self._first_unturned and index % IMAGES_PER_PORTRAIT == 0:
            turned = sheet.rotation
        rotation = rotation_between(OPTICAL_AXIS, shot.translation_m) @ turned
        landmarks_m = sheet.vertices_m[self._model.landmarks68].astype(np.float64)
        landmarks_cam = transform(landmarks_m, rotation, shot.translation_m)
        view = window_camera(
            shot.camera, face_box(shot.camera.project(landmarks_cam)), self._window
        )
        background = paint_background(view.width, view.height, rng)
        if rng.random() < OWN_BACKDROP_SHARE:
            across = np.linspace(0.0, 1.0, view.width, dtype=np.float32)[None, :, None]
            left, right = sheet.backdrop
            background = np.ones_like(background) * (left + across * (right - left))
        rendering = render(
            [sheet.surface], rotation, shot.translation_m, view, ambient_light(), background
        )
        sensor = SensorParams.sample(rng)
        visible = visible_vertices(rendering, landmarks_cam, view) & sheet.seen68
        labels = self._pose_labels
        return Sample(
            image=simulate_sensor(rendering.rgb, rng, sensor, np.ones(3)),
            camera=view,
            box_xyxy=face_box(view.project(landmarks_cam)),
            rotation=rotation if labels else None,
            translation_m=shot.translation_m if labels else None,
            vertices_m=sheet.vertices_m[self._model.dense] if labels else None,
            landmarks68_px=view.project(landmarks_cam),
            landmarks68_visible=visible,
            identity=f"portrait {sheet.name}",
            name=f"profiled {self.seed} {index}",
        )

    def _sheet(self, number: int) -> Sheet:
        """Return the sheet of a portrait; portraits come in a new order each round."""
        turn, place = divmod(number, len(self._portraits))
        order = np.random.default_rng((self.seed, 1, turn)).permutation(len(self._portraits))
        chosen = int(order[place])
        if chosen not in self._sheets:
            path, estimates, index = self._portraits[chosen]
            fit = fit_portrait(self._model, estimates, index)
            self._sheets[chosen] = make_sheet(self._model, fit, read_image(path).pixels, path.name)
            while len(self._sheets) > 2:
                self._sheets.popitem(last=False)
        return self._sheets[chosen]


def turned_rotation(rng: np.random.Generator, rotation: Floats) -> Floats:
    """Draw a pose within reach of a photograph's, both relative to the virtual camera."""
    yaw, pitch, roll = rotation_to_euler(rotation)
    low = max(-YAW_REACH_DEG, -MAX_YAW_DEG - yaw)
    high = min(YAW_REACH_DEG, MAX_YAW_DEG - yaw)
    angles_deg = [
        yaw + rng.uniform(low, high),
        pitch + np.clip(rng.normal(0.0, 0.5 * PITCH_REACH_DEG), -PITCH_REACH_DEG, PITCH_REACH_DEG),
        roll + np.clip(rng.normal(0.0, ROLL_SD_DEG), -40.0, 40.0),
    ]
    return rotation_from_euler(np.array(angles_deg))


def make_sheet(model: FaceModel, fit: PortraitFit, rgb: NDArray[np.uint8], name: str) -> Sheet:
    """Turn a fitted photograph into a surface in the head frame."""
    height, width = rgb.shape[:2]
    pad = np.ceil(PADDING * np.array([width, height]) / CELL_PX).astype(int) * CELL_PX
    padded = _pad_blurred(rgb, int(pad[0]), int(pad[1]))
    rows, columns = padded.shape[0] // CELL_PX, padded.shape[1] // CELL_PX
    camera = Camera(
        fit.focal_px / CELL_PX, fit.focal_px / CELL_PX, columns / 2.0, rows / 2.0, columns, rows
    )
    drawn = _draw_head(model, fit, camera)
    depth_m = _sheet_depth(drawn.depth_m, fit)
    landmarks_cam = fit.vertices_cam_m[model.landmarks68]
    borders = [rgb[: height // 2, :6], rgb[: height // 2, -6:]]
    x, y = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    rays = camera.unproject(np.stack([x, y], -1).reshape(-1, 2))
    points_cam = np.concatenate([rays, np.ones((len(rays), 1))], -1) * depth_m.reshape(-1, 1)
    points_m = (points_cam - fit.translation_m) @ fit.rotation
    uv = np.stack([x / columns, y / rows], -1).reshape(-1, 2)
    picture = Image.fromarray(padded)
    large = picture.resize(
        (TEXTURE_SCALE * picture.width, TEXTURE_SCALE * picture.height), Image.Resampling.BICUBIC
    )
    surface = Surface(
        name="photograph",
        vertices_m=points_m.astype(np.float32),
        triangles=_grid_triangles(rows, columns),
        uv=uv.astype(np.float32),
        texture=np.asarray(large.convert("RGBA")),
        material=UNLIT,
    )
    virtual = rotation_between(OPTICAL_AXIS, fit.translation_m).T @ fit.rotation
    return Sheet(
        surface,
        fit.vertices_m,
        virtual,
        visible_vertices(drawn, landmarks_cam, camera),
        np.stack([linear_from_srgb(border).mean(axis=(0, 1)) for border in borders]),
        name,
    )


def ambient_light() -> Light:
    """Return light that shows a texture's own colours: the same from all sides, without a key."""
    sh = np.zeros((9, 3), np.float32)
    sh[0] = 1.0
    return Light(
        sh, np.array([0.0, 0.0, -1.0]), np.zeros(3), 1.0, np.zeros((32, 64, 3), np.float32)
    )


def _draw_head(model: FaceModel, fit: PortraitFit, camera: Camera) -> Rendering:
    """Draw the fitted head with the photograph's camera."""
    head = Surface(
        name="head",
        vertices_m=fit.vertices_m,
        triangles=np.concatenate(
            [model.part_triangles[part] for part in ("skin", "eyeball_left", "eyeball_right")]
        ),
        uv=model.uv,
        texture=np.full((2, 2, 4), 255, np.uint8),
        material=Material(two_sided=True),
    )
    background = np.zeros((camera.height, camera.width, 3), np.float32)
    return render(
        [head], fit.rotation, fit.translation_m, camera, ambient_light(), background, supersample=1
    )


def _sheet_depth(drawn_m: NDArray[np.float32], fit: PortraitFit) -> Floats:
    """Return the depth of the sheet in metres, of the head's depth ``(h, w)`` or infinity."""
    known = np.isfinite(drawn_m)
    behind_m = fit.translation_m[2] + BACKGROUND_BEHIND_M
    return continue_depth(np.where(known, drawn_m, behind_m).astype(np.float64), known, behind_m)


def continue_depth(depth_m: Floats, known: NDArray[np.bool_], border_m: float) -> Floats:
    """Continue known depths ``(h, w)`` smoothly to ``border_m`` at the borders.

    The harmonic continuation, by Jacobi steps from coarse to fine grids.
    """
    rows, columns = depth_m.shape
    if min(rows, columns) > 24:
        half = (slice(None, rows // 2 * 2, 2), slice(None, columns // 2 * 2, 2))
        coarse = continue_depth(depth_m[half], known[half], border_m)
        resized = Image.fromarray(coarse.astype(np.float32)).resize(
            (columns, rows), Image.Resampling.BILINEAR
        )
        result = np.where(known, depth_m, np.asarray(resized, np.float64))
    else:
        result = np.where(known, depth_m, border_m)
    free = ~known
    free[[0, -1]] = free[:, [0, -1]] = False
    edge = ~known & ~free
    result[edge] = border_m
    for _ in range(RELAXATIONS):
        mean = np.zeros_like(result)
        mean[1:-1, 1:-1] = 0.25 * (
            result[:-2, 1:-1] + result[2:, 1:-1] + result[1:-1, :-2] + result[1:-1, 2:]
        )
        result = np.where(free, mean, result)
    return result


def _grid_triangles(rows: int, columns: int) -> NDArray[np.int32]:
    """Return the triangles ``(m, 3)`` of a grid's cells."""
    number = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    corners = (number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1])
    a, b, c, d = (corner.ravel() for corner in corners)
    return np.concatenate([np.stack([a, d, b], 1), np.stack([b, d, c], 1)])


def _pad_blurred(rgb: NDArray[np.uint8], across: int, down: int) -> NDArray[np.uint8]:
    """Continue an image beyond its borders by their colours, blurred."""
    padded = np.pad(rgb, ((down, down), (across, across), (0, 0)), mode="edge")
    blurred = np.asarray(Image.fromarray(padded).filter(ImageFilter.GaussianBlur(6.0))).copy()
    blurred[down:-down, across:-across] = rgb
    return blurred
