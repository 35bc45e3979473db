"""Synthetic faces: every sample a pure function of (seed, index), with exact labels.

index ──> person index // IMAGES_PER_PERSON ──> Subject (kept while the indices run on)
  └─────> expression, camera, pose, light, place, sensor ──> picture and labels
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg import __version__
from trg.geometry.camera import Camera
from trg.geometry.crop import bbox_info_from_box, face_box
from trg.geometry.face_mesh import FaceTopology
from trg.geometry.projection import OPTICAL_AXIS, transform
from trg.geometry.rotations import rotation_between, rotation_from_euler
from trglab.datasets.sample import Sample
from trglab.synth.environment.backgrounds import paint_background, render_panorama
from trglab.synth.environment.light import (
    LUMINANCE,
    Light,
    random_tint,
    scale_light,
    white_point,
)
from trglab.synth.environment.panorama import light_from_panorama, random_orientation
from trglab.synth.environment.procedural_lights import infrared_light, procedural_light
from trglab.synth.environment.sensor import SensorParams, simulate_sensor
from trglab.synth.render.raster import render, visible_vertices
from trglab.synth.render.surface import Surface
from trglab.synth.shots import Shot, ShotDistribution, sample_shot
from trglab.synth.studio import Ingredients, Studio, Subject

IMAGES_PER_PERSON = 24
"""Neighbouring indices share a person, because making one costs as much as several pictures."""

PANORAMA_SHARE = 0.7
PANORAMA_BACKGROUND_SHARE = 0.75
FRONT_LIT_SHARE = 0.7
"""Who takes a picture turns people towards the light: the better of two places wins."""
INFRARED_SHARE = 0.015
NEIGHBOUR_SHARE = 0.12
SOCIAL_PERSON_SHARE = 0.36

BLUR_REACH = 0.03
"""As far as this, in widths of a picture, the sensor mixes in what lies beyond an edge."""

_PERSON, _PICTURE = 1, 2
"""Keep the random streams of people and pictures apart."""


class Window(NamedTuple):
    """The part of a picture that is rendered: the face box, enlarged, at a fixed size."""

    size_px: int = 192
    margin: float = 1.6


LAYOUT_OPTIONS: dict[str, dict[str, Any]] = {
    "webdataset": {"window": None, "picture_size": (640, 480)},
    "arkitface": {
        "window": None,
        "camera": {"fx": 610.0, "fy": 610.0, "cx": 238.0, "cy": 324.0, "width": 480, "height": 640},
        "shots": {"distance_m": (0.3, 0.9), "pitch_sd": 12.0, "roll_sd": 10.0},
    },
    "300wlp": {"window": None, "picture_size": (640, 640), "shots": {"distance_m": (0.4, 1.5)}},
    "aflw2000": {"window": None, "picture_size": (640, 640), "shots": {"distance_m": (0.4, 1.5)}},
    "biwi": {
        "window": None,
        "camera": {"fx": 517.7, "fy": 517.7, "cx": 320.0, "cy": 240.5, "width": 640, "height": 480},
        "shots": {"distance_m": (0.8, 1.2), "off_centre_share": 0.0, "cut_off_share": 0.0},
    },
}
"""What pictures in the folder formats of data sets look like: their cameras and distances."""


class SyntheticFaces:
    """An endless set of labelled faces.

    Parameters
    ----------
    seed
        Another seed, other people.
    window
        What is rendered around each face: ``(size_px, margin)``; None: the whole picture, of
        ``picture_size``.
    picture_size
        ``(width, height)`` of every picture; None: a mix of what cameras give.
    camera
        One camera for all pictures (its numbers by name, as :meth:`Camera.to_dict` gives them),
        as in data sets that were made with one device. None: another one each time.
    ingredients
        Fields of :class:`~trglab.synth.studio.Ingredients` by name.
    shots
        Fields of :class:`~trglab.synth.shots.ShotDistribution` by name.
    face_model
        Path of a face model.
    for_training
        Warn when only the built-in head is there.

    All are plain values, so that a recipe or a checkpoint can hold them.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        window: tuple[int, float] | None = Window(),
        picture_size: tuple[int, int] | None = None,
        camera: Mapping[str, Any] | None = None,
        ingredients: Mapping[str, Any] | None = None,
        shots: Mapping[str, Any] | None = None,
        face_model: str | Path | None = None,
        for_training: bool = False,
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {seed}")
        self.seed = seed
        self._window = None if window is None else Window(*window)
        if self._window is not None and (self._window.size_px < 1 or self._window.margin <= 0):
            raise ValueError(f"window: expected a size and a margin above 0, got {window}")
        self._camera = None if camera is None else _camera_from_numbers(camera)
        if self._camera is not None:
            picture_size = (self._camera.width, self._camera.height)
        self._picture_size = picture_size
        numbers: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in (shots or {}).items()
        }
        self._odds = ShotDistribution(**numbers)
        self._studio = Studio(
            Ingredients(**(ingredients or {})), face_model, for_training=for_training
        )
        self._subjects: OrderedDict[int, Subject] = OrderedDict()
        self.timed_stage: Callable[[str], AbstractContextManager[object]] = nullcontext
        """Entered with each rendering stage's name; a benchmark may put a timer here."""

    @property
    def topology(self) -> FaceTopology:
        """The mesh of the samples' vertices."""
        return self._studio.model.topology

    @property
    def provenance(self) -> dict[str, Any]:
        """The seed and the sources, in plain values: equal ones make equal people."""
        return {"seed": self.seed, "version": __version__, **self._studio.provenance}

    def sample(self, index: int) -> Sample:
        """Make sample number ``index``; any index from 0 on."""
        if index < 0:
            raise ValueError(f"index: expected 0 or more, got {index}")
        rng = np.random.default_rng((self.seed, _PICTURE, index))
        person = index // IMAGES_PER_PERSON
        subject = self._subject(person)
        shot = sample_shot(rng, self._odds, self._picture_size, self._camera)
        virtual_from_head = rotation_between(OPTICAL_AXIS, shot.translation_m).T @ shot.rotation
        with self.timed_stage("expression"):
            vertices_m = self._studio.express(rng, subject, virtual_from_head)
        model = self._studio.model
        landmarks_cam = transform(
            vertices_m[model.landmarks68].astype(np.float64), shot.rotation, shot.translation_m
        )
        box = face_box(shot.camera.project(landmarks_cam))
        view = (
            shot.camera if self._window is None else _window_camera(shot.camera, box, self._window)
        )
        with self.timed_stage("surfaces"):
            surfaces = self._studio.surfaces(rng, subject, vertices_m, virtual_from_head)
        if self._has_neighbour(rng, person):
            surfaces += self._neighbour(rng, person - 1, shot)
        image, seen = self._photograph(rng, surfaces, shot, view, landmarks_cam)
        return Sample(
            image=image,
            camera=view,
            box_xyxy=face_box(view.project(landmarks_cam)),
            rotation=shot.rotation,
            translation_m=shot.translation_m,
            vertices_m=vertices_m[model.dense],
            landmarks68_px=view.project(landmarks_cam),
            landmarks68_visible=seen,
            identity=f"{self.seed}-{person}",
            name=f"synthetic {self.seed} {index}",
        )

    def neutral_m(self, index: int) -> NDArray[np.float32]:
        """Return the vertices ``(1220, 3)`` of sample ``index``'s person, without expression."""
        return self._subject(index // IMAGES_PER_PERSON).neutral_m[self._studio.model.dense]

    def _subject(self, person: int) -> Subject:
        """Return a person. The last two are kept: a neighbour is the person before."""
        if person not in self._subjects:
            rng = np.random.default_rng((self.seed, _PERSON, person))
            with self.timed_stage("person"):
                self._subjects[person] = self._studio.sample_subject(rng)
            while len(self._subjects) > 2:
                self._subjects.popitem(last=False)
        self._subjects.move_to_end(person)
        return self._subjects[person]

    def _has_neighbour(self, rng: np.random.Generator, person: int) -> bool:
        """Say whether somebody else is there; only some people are ever seen in company."""
        sociable = (
            np.random.default_rng((self.seed, _PERSON, person, 1)).random() < SOCIAL_PERSON_SHARE
        )
        return (
            bool(rng.random() < NEIGHBOUR_SHARE / SOCIAL_PERSON_SHARE) and sociable and person > 0
        )

    def _neighbour(self, rng: np.random.Generator, person: int, shot: Shot) -> list[Surface]:
        """Return somebody else beside or behind the head, in the camera frame."""
        subject = self._subject(person)
        beside_m = rng.choice([-1.0, 1.0]) * rng.uniform(0.22, 0.5)
        place_m = shot.translation_m + (beside_m, rng.normal(0, 0.07), rng.uniform(-0.05, 0.8))
        place_m[2] = max(place_m[2], 0.3)
        turn = rotation_from_euler(rng.normal(0.0, (40.0, 12.0, 10.0)))
        rotation = rotation_between(OPTICAL_AXIS, place_m) @ turn
        with self.timed_stage("expression"):
            vertices_m = self._studio.express(rng, subject, turn)
        with self.timed_stage("surfaces"):
            surfaces = self._studio.surfaces(rng, subject, vertices_m, turn)
        return [
            replace(
                surface,
                vertices_m=transform(surface.vertices_m, rotation, place_m).astype(np.float32),
                frame="camera",
            )
            for surface in surfaces
        ]

    def _photograph(
        self,
        rng: np.random.Generator,
        surfaces: list[Surface],
        shot: Shot,
        view: Camera,
        landmarks_cam: NDArray[np.float64],
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        infrared = rng.random() < INFRARED_SHARE
        with self.timed_stage("light and background"):
            light, scenery = self._place(rng, view, infrared)
        outside = _outside_picture(shot.camera, view)
        rows, columns = (_span(np.asarray(~outside.all(axis=axis))) for axis in (1, 0))
        behind = scenery[rows, columns]  # what lies outside stays black, so it is not drawn
        taken = view.crop(columns.start, rows.start, behind.shape[1], behind.shape[0])
        with self.timed_stage("render"):
            rendering = render(surfaces, shot.rotation, shot.translation_m, taken, light, behind)
        scenery[rows, columns] = rendering.rgb
        sensor = SensorParams.sample(rng, "infrared" if infrared else None)
        with self.timed_stage("sensor"):
            image = simulate_sensor(scenery, rng, sensor, white_point(light))
        image[outside] = 0
        with self.timed_stage("visibility of landmarks"):
            seen = visible_vertices(rendering, landmarks_cam, taken)
        column, row = np.nan_to_num(view.project(landmarks_cam)).astype(int).T
        seen &= ~outside[row.clip(0, view.height - 1), column.clip(0, view.width - 1)]
        return image, seen

    def _place(
        self, rng: np.random.Generator, view: Camera, infrared: bool
    ) -> tuple[Light, NDArray[np.float32]]:
        """Draw the light and what is behind the head."""
        panoramas = self._studio.panoramas
        width, height = view.width, view.height
        if infrared:
            return infrared_light(rng), paint_background(width, height, rng) * 0.3
        if not panoramas or rng.random() >= PANORAMA_SHARE:
            return procedural_light(rng), paint_background(width, height, rng)
        panorama = panoramas[rng.integers(len(panoramas))]
        tint = random_tint(rng)
        turns = [random_orientation(rng), random_orientation(rng)]
        lights = [light_from_panorama(panorama, turn) for turn in turns]
        chosen = 0
        if rng.random() < FRONT_LIT_SHARE:
            chosen = int(np.argmax([white_point(light) @ LUMINANCE for light in lights]))
        cam_from_world, light = turns[chosen], scale_light(lights[chosen], tint)
        if rng.random() >= PANORAMA_BACKGROUND_SHARE:
            return light, paint_background(width, height, rng)
        place = render_panorama(panorama, view, cam_from_world, rng)
        return light, place * tint.astype(np.float32)


def _window_camera(camera: Camera, box_xyxy: NDArray[np.float64], window: Window) -> Camera:
    """Return the ideal camera that sees the enlarged face box, square in rays, and only that."""
    u, v, side = bbox_info_from_box(camera, box_xyxy)
    focal_px = window.size_px / (side * window.margin)
    half_px = window.size_px / 2.0
    return Camera(
        fx=focal_px,
        fy=focal_px,
        cx=half_px - u * focal_px,
        cy=half_px - v * focal_px,
        width=window.size_px,
        height=window.size_px,
    )


def _span(wanted: NDArray[np.bool_]) -> slice:
    """Return the slice of ``(n,)`` with all that is wanted and what blurs into that."""
    places = np.flatnonzero(wanted)
    if not len(places):
        return slice(0, 1)
    reach = round(BLUR_REACH * len(wanted))
    return slice(max(int(places[0]) - reach, 0), min(int(places[-1]) + 1 + reach, len(wanted)))


def _outside_picture(whole: Camera, view: Camera) -> NDArray[np.bool_]:
    """Say which pixels ``(h, w)`` of a view lie outside the whole camera's picture."""
    if view == whole:
        return np.zeros((view.height, view.width), bool)
    if not whole.is_distorted and not view.is_distorted:  # rows and columns stay such
        column = ((np.arange(view.width) + 0.5 - view.cx) * (whole.fx / view.fx)) + whole.cx
        row = ((np.arange(view.height) + 0.5 - view.cy) * (whole.fy / view.fy)) + whole.cy
        above_or_below = (row < 0) | (row > whole.height)
        beside: NDArray[np.bool_] = (column < 0) | (column > whole.width)
        return above_or_below[:, None] | beside
    x, y = np.meshgrid(np.arange(view.width) + 0.5, np.arange(view.height) + 0.5)
    pixels = whole.pixels_from_rays(view.unproject(np.stack([x, y], -1)))
    outside: NDArray[np.bool_] = (pixels < 0) | (pixels > (whole.width, whole.height))
    return outside[..., 0] | outside[..., 1]


def _camera_from_numbers(numbers: Mapping[str, Any]) -> Camera:
    return Camera(**{**numbers, "distortion": tuple(numbers.get("distortion", (0.0,) * 5))})
