"""Synthetic faces with exact labels. Every sample is a pure function of seed and index.

::

    index ──> person index // images per person ──> Subject (the last two are cached)
      └─────> expression, camera, pose, light, background, sensor ──> image and labels
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
from trg.geometry.lens import NO_DISTORTION
from trg.geometry.projection import OPTICAL_AXIS, transform
from trg.geometry.rotations import rotation_between, rotation_from_euler
from trglab.datasets.sample import Sample
from trglab.synth.environment.backgrounds import paint_background, render_panorama
from trglab.synth.environment.filters import scale_channels
from trglab.synth.environment.hard_lights import hard_light
from trglab.synth.environment.light import Light, random_tint, scale_light, white_point
from trglab.synth.environment.panorama import choose_orientation, random_orientation
from trglab.synth.environment.procedural_lights import infrared_light, procedural_light
from trglab.synth.environment.sensor import SensorParams, simulate_sensor
from trglab.synth.head.expressions import arkit_weights
from trglab.synth.ingredients import Ingredients
from trglab.synth.render.raster import render, visible_vertices
from trglab.synth.render.surface import Surface
from trglab.synth.shots import Shot, ShotDistribution, sample_shot
from trglab.synth.skin.maps import SKIN_SIZE
from trglab.synth.studio import Studio, Subject

IMAGES_PER_PERSON = 24
"""Consecutive indices share a person: creating one costs as much as rendering several images.
Workers render this many at once."""

PANORAMA_SHARE = 0.7
PANORAMA_BACKGROUND_SHARE = 0.75
FRONT_LIT_SHARE = 0.7
"""Photographers turn people towards the light: of two orientations, the better lit one."""
HARD_LIGHT_SHARE = 0.10
INFRARED_SHARE = 0.015
NEIGHBOUR_SHARE = 0.12
"""Share of images with a second person."""
SOCIAL_PERSON_SHARE = 0.36
"""Share of people who ever appear with a second person."""

BLUR_REACH = 0.03
"""Reach of the sensor's blur across an edge, in image widths."""

COARSE_FACE_PX = 140
"""Up to this width of the face box, textures of half the size show the same."""

_PERSON, _IMAGE = 1, 2
"""Separate random streams."""


class Window(NamedTuple):
    """The rendered part of an image: the face box times ``margin``, at a fixed size."""

    size_px: int = 192
    margin: float = 1.6


class Conditions(NamedTuple):
    """Everything in a photograph but the people."""

    light: Light
    background_rgb: NDArray[np.float32]
    """``(h, w, 3)``, linear"""
    sensor: SensorParams


_AS_IN_DATA_SETS = {"hard_poses": False, "hidden_faces": False}
"""Published data sets have no faces upside down or half hidden by objects."""

_PHOTOGRAPHS: dict[str, Any] = {
    "window": None,
    "ingredients": _AS_IN_DATA_SETS,
    "image_size": (640, 640),
    "shots": {"distance_m": (0.4, 1.5)},
}
"""The photographs of 300W-LP and AFLW2000-3D."""

LAYOUT_OPTIONS: dict[str, dict[str, Any]] = {
    "webdataset": {"window": None, "image_size": (640, 480)},
    "arkitface": {
        "window": None,
        "ingredients": _AS_IN_DATA_SETS,
        "camera": {"fx": 610.0, "fy": 610.0, "cx": 238.0, "cy": 324.0, "width": 480, "height": 640},
        "shots": {"distance_m": (0.3, 0.9), "pitch_sd": 12.0, "roll_sd": 10.0},
    },
    "300wlp": _PHOTOGRAPHS,
    "aflw2000": _PHOTOGRAPHS,
    "biwi": {
        "window": None,
        "ingredients": _AS_IN_DATA_SETS,
        "camera": {"fx": 517.7, "fy": 517.7, "cx": 320.0, "cy": 240.5, "width": 640, "height": 480},
        "shots": {"distance_m": (0.8, 1.2), "off_centre_share": 0.0, "cut_off_share": 0.0},
    },
}
"""Cameras, distances and ingredients of the data sets whose folder formats ``trg synth`` writes."""


class SyntheticFaces:
    """An unbounded set of labelled faces.

    All parameters are plain values, so recipes and checkpoints can store them.

    Parameters
    ----------
    seed
        Selects the people; 0 or more.
    window
        ``(size_px, margin)`` of the square rendered around each face box. None: the whole image.
    image_size
        ``(width, height)`` of every image. None: drawn from common sizes.
    camera
        One camera for all images, as :meth:`Camera.to_dict` gives it. None: drawn for each image.
    ingredients
        Fields of :class:`~trglab.synth.ingredients.Ingredients` by name.
    shots
        Fields of :class:`~trglab.synth.shots.ShotDistribution` by name.
    images_per_person
        Consecutive samples of one person; a divisor of 24.
    face_model
        Path of a face model; None: the installed one, else the built-in head.
    for_training
        Warn if only the built-in head is available.

    Raises
    ------
    ValueError
        An option is out of range.
    FileNotFoundError
        A required asset is missing.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        window: tuple[int, float] | None = Window(),
        image_size: tuple[int, int] | None = None,
        camera: Mapping[str, Any] | None = None,
        ingredients: Mapping[str, Any] | None = None,
        shots: Mapping[str, Any] | None = None,
        images_per_person: int = IMAGES_PER_PERSON,
        face_model: str | Path | None = None,
        for_training: bool = False,
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {seed}")
        if images_per_person < 1 or IMAGES_PER_PERSON % images_per_person:
            raise ValueError(
                f"images_per_person: expected a divisor of {IMAGES_PER_PERSON}, so that workers "
                f"render whole people, got {images_per_person}"
            )
        self.seed = seed
        self._images_per_person = images_per_person
        self._window = None if window is None else Window(*window)
        if self._window is not None and (self._window.size_px < 1 or self._window.margin <= 0):
            raise ValueError(f"window: expected a size and a margin above 0, got {window}")
        self._camera = None if camera is None else _camera_from_numbers(camera)
        if self._camera is not None:
            image_size = (self._camera.width, self._camera.height)
        self._image_size = image_size
        numbers: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in (shots or {}).items()
        }
        used = Ingredients(**(ingredients or {}))
        self._shot_distribution = used.shot_distribution(ShotDistribution(**numbers))
        self._studio = Studio(
            used, face_model, for_training=for_training, skin_size=_skin_size(self._window)
        )
        self._subjects: OrderedDict[int, Subject] = OrderedDict()
        self.timed_stage: Callable[[str], AbstractContextManager[object]] = nullcontext
        """Entered with each rendering stage's name; a benchmark may put a timer here."""

    @property
    def topology(self) -> FaceTopology:
        """Landmark mesh of the samples."""
        return self._studio.model.topology

    @property
    def provenance(self) -> dict[str, Any]:
        """Seed, version and assets as plain values; equal values give equal people."""
        return {"seed": self.seed, "version": __version__, **self._studio.provenance}

    def sample(self, index: int) -> Sample:
        """Render sample ``index``, 0 or more."""
        if index < 0:
            raise ValueError(f"index: expected 0 or more, got {index}")
        rng = np.random.default_rng((self.seed, _IMAGE, index))
        person = index // self._images_per_person
        subject, model = self._subject(person), self._studio.model
        shot = sample_shot(rng, self._shot_distribution, self._image_size, self._camera)
        virtual_from_head = rotation_between(OPTICAL_AXIS, shot.translation_m).T @ shot.rotation
        with self.timed_stage("expression"):
            expression = self._studio.sample_expression(rng, virtual_from_head)
            vertices_m = model.express(subject.neutral_m, expression, subject.person.scale)
        landmarks_cam = transform(
            vertices_m[model.landmarks68].astype(np.float64), shot.rotation, shot.translation_m
        )
        box = face_box(shot.camera.project(landmarks_cam))
        view = (
            shot.camera if self._window is None else window_camera(shot.camera, box, self._window)
        )
        with self.timed_stage("surfaces"):
            surfaces = self._studio.build_surfaces(rng, subject, vertices_m, virtual_from_head)
        if self._has_neighbour(rng, person):
            surfaces += self._neighbour(rng, person - 1, shot)
        conditions = self._conditions(rng, view)
        image, visible = self._photograph(rng, surfaces, shot, view, landmarks_cam, conditions)
        return Sample(
            image=image,
            camera=view,
            box_xyxy=face_box(view.project(landmarks_cam)),
            rotation=shot.rotation,
            translation_m=shot.translation_m,
            vertices_m=vertices_m[model.dense],
            landmarks68_px=view.project(landmarks_cam),
            landmarks68_visible=visible,
            identity=f"{self.seed}-{person}",
            name=f"synthetic {self.seed} {index}",
            expressions=arkit_weights(model, expression),
            traits=subject.traits,
        )

    def neutral_m(self, index: int) -> NDArray[np.float32]:
        """Return the neutral vertices ``(1220, 3)`` of the person in sample ``index``."""
        return self._subject(index // self._images_per_person).neutral_m[self._studio.model.dense]

    def _subject(self, person: int) -> Subject:
        """Return a person; two are cached, because the neighbour is the previous person."""
        if person not in self._subjects:
            rng = np.random.default_rng((self.seed, _PERSON, person))
            with self.timed_stage("person"):
                self._subjects[person] = self._studio.sample_subject(rng)
            while len(self._subjects) > 2:
                self._subjects.popitem(last=False)
        self._subjects.move_to_end(person)
        return self._subjects[person]

    def _has_neighbour(self, rng: np.random.Generator, person: int) -> bool:
        """Return whether a second person is in the image.

        Only some people ever have a neighbour, because a change of neighbour costs a new person.
        """
        person_rng = np.random.default_rng((self.seed, _PERSON, person, 1))
        is_social = person_rng.random() < SOCIAL_PERSON_SHARE
        return bool(rng.random() < NEIGHBOUR_SHARE / SOCIAL_PERSON_SHARE and is_social and person)

    def _neighbour(self, rng: np.random.Generator, person: int, shot: Shot) -> list[Surface]:
        """Return the surfaces of a second person near the first, in the camera frame."""
        subject = self._subject(person)
        beside_m = rng.choice([-1.0, 1.0]) * rng.uniform(0.22, 0.5)
        neighbour_m = shot.translation_m + (beside_m, rng.normal(0, 0.07), rng.uniform(-0.05, 0.8))
        neighbour_m[2] = max(neighbour_m[2], 0.3)
        turn = rotation_from_euler(rng.normal(0.0, (40.0, 12.0, 10.0)))
        rotation = rotation_between(OPTICAL_AXIS, neighbour_m) @ turn
        with self.timed_stage("expression"):
            vertices_m = self._studio.sample_face_vertices(rng, subject, turn)
        with self.timed_stage("surfaces"):
            surfaces = self._studio.build_surfaces(rng, subject, vertices_m, turn)
        return [
            replace(
                surface,
                vertices_m=transform(surface.vertices_m, rotation, neighbour_m).astype(np.float32),
                frame="camera",
            )
            for surface in surfaces
        ]

    def _conditions(self, rng: np.random.Generator, view: Camera) -> Conditions:
        """Draw light, background and sensor."""
        infrared = rng.random() < INFRARED_SHARE
        with self.timed_stage("light and background"):
            light, background_rgb = self._environment(rng, view, infrared)
        return Conditions(
            light, background_rgb, SensorParams.sample(rng, "infrared" if infrared else None)
        )

    def _photograph(
        self,
        rng: np.random.Generator,
        surfaces: list[Surface],
        shot: Shot,
        view: Camera,
        landmarks_cam: NDArray[np.float64],
        conditions: Conditions,
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Render and develop the image; return it with the visibility of the 68 landmarks."""
        light, image_rgb, sensor = conditions
        image_rgb = image_rgb.copy()
        outside = _outside_image(shot.camera, view)
        # Pixels outside the camera's image become black: only the rest is rendered.
        rows, columns = (_span(np.asarray(~outside.all(axis=axis))) for axis in (1, 0))
        background = image_rgb[rows, columns]
        crop = view.crop(columns.start, rows.start, background.shape[1], background.shape[0])
        with self.timed_stage("render"):
            rendering = render(surfaces, shot.rotation, shot.translation_m, crop, light, background)
        image_rgb[rows, columns] = rendering.rgb
        with self.timed_stage("sensor"):
            image = simulate_sensor(image_rgb, rng, sensor, white_point(light))
        image[outside] = 0
        with self.timed_stage("visibility of landmarks"):
            visible = visible_vertices(rendering, landmarks_cam, crop)
        column, row = np.nan_to_num(view.project(landmarks_cam)).astype(int).T
        visible &= ~outside[row.clip(0, view.height - 1), column.clip(0, view.width - 1)]
        return image, visible

    def _environment(
        self, rng: np.random.Generator, view: Camera, infrared: bool
    ) -> tuple[Light, NDArray[np.float32]]:
        """Draw the light and the linear background ``(h, w, 3)``."""
        panoramas = self._studio.panoramas
        width, height = view.width, view.height
        hard_rng = rng.spawn(1)[0]  # a stream of its own: the other draws do not depend on it
        if self._studio.ingredients.hard_light and hard_rng.random() < HARD_LIGHT_SHARE:
            light, background_gain = hard_light(hard_rng)
            return light, paint_background(width, height, hard_rng) * background_gain
        if infrared:
            return infrared_light(rng), paint_background(width, height, rng) * 0.3
        if not panoramas or rng.random() >= PANORAMA_SHARE:
            return procedural_light(rng), paint_background(width, height, rng)
        panorama = panoramas[rng.integers(len(panoramas))]
        tint = random_tint(rng)
        orientations = [random_orientation(rng), random_orientation(rng)]
        cam_from_world, light = choose_orientation(panorama, orientations, rng, FRONT_LIT_SHARE)
        light = scale_light(light, tint)
        if rng.random() >= PANORAMA_BACKGROUND_SHARE:
            return light, paint_background(width, height, rng)
        background = render_panorama(panorama, view, cam_from_world, rng)
        return light, scale_channels(background, tint)


def _skin_size(window: Window | None) -> int:
    """Return the side of skin textures in texels: about one per pixel or more, at most 512."""
    is_small = window is not None and window.size_px / window.margin <= COARSE_FACE_PX
    return SKIN_SIZE // 2 if is_small else SKIN_SIZE


def window_camera(camera: Camera, box_xyxy: NDArray[np.float64], window: Window) -> Camera:
    """Return the pinhole camera whose image is the enlarged face box, a square in rays."""
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
    """Return the slice of ``(n,)`` that contains all true entries and what blurs into them."""
    indices = np.flatnonzero(wanted)
    if not len(indices):
        return slice(0, 1)
    reach = round(BLUR_REACH * len(wanted))
    return slice(max(int(indices[0]) - reach, 0), min(int(indices[-1]) + 1 + reach, len(wanted)))


def _outside_image(whole: Camera, view: Camera) -> NDArray[np.bool_]:
    """Return which pixels ``(h, w)`` of a view lie outside the image of camera ``whole``."""
    if view == whole:
        return np.zeros((view.height, view.width), bool)
    if not whole.is_distorted and not view.is_distorted:  # rows stay rows, columns stay columns
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
    camera = Camera(**{**numbers, "distortion": tuple(numbers.get("distortion", NO_DISTORTION))})
    if camera.lens_model != "brown_conrady" or any(camera.distortion[len(NO_DISTORTION) :]):
        raise ValueError(
            f"camera: the renderer draws the distortion k1, k2, p1, p2, k3 only, got "
            f"{camera.lens_model} with {camera.distortion}; undistort the images, and give the "
            "camera of the result"
        )
    return replace(camera, distortion=camera.distortion[: len(NO_DISTORTION)])
