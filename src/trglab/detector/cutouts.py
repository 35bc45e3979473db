"""Heads rendered once, with opacity and labels, to be laid into many scenes.

person number ──> Subject ──> HEADS_PER_PERSON cut-outs: another pose, expression, light, size each
                     └────> one decoy: a body, a hat or hair without a head, or a hand

Colours are those under white light of brightness 1, so that a scene can light all its heads alike;
the direction of each cut-out's own light stays in it.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trg import __version__
from trg._util.atomic import write_atomic
from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.geometry.projection import transform
from trg.geometry.rotations import rotation_from_euler
from trglab.detector.compositing import encode, halve
from trglab.synth.accessories.occluders import Occluder, occluder_surfaces
from trglab.synth.environment.light import LUMINANCE, Light, white_point
from trglab.synth.environment.panorama import light_from_panorama, random_orientation
from trglab.synth.environment.procedural_lights import procedural_light
from trglab.synth.render.raster import Rendering, render
from trglab.synth.render.surface import Surface
from trglab.synth.studio import Ingredients, Studio, Subject

CutoutKind = Literal["face", "back", "decoy"]

HEADS_PER_PERSON = 12

SIZES: tuple[tuple[float, float, int], ...] = ((56.0, 2.7, 8), (120.0, 2.5, 3), (260.0, 1.9, 1))
"""Side of the face box in pixels, side of what is rendered over that, and how many of each."""

BELOW = 0.4
"""So much more, in face boxes, is rendered below small heads: their shoulders and chest."""

BACK_BEYOND_DEG = 100.0
"""A nose that points farther than this away from the camera belongs to no face."""

POINTS = ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47), (30,), (48,), (54,))
"""The five points as means of the 68 landmarks: the person's right eye, left eye, tip of the nose,
right and left corner of the mouth."""

FACE_SAMPLES = 96
"""Places of a face at which scenes look whether it is hidden."""

PANORAMA_LIGHT_SHARE = 0.65
WHITE_FLOOR = 0.4
"""A head against the light is shown no brighter than this share of its light from all sides."""

MADE_OF = "provenance.json"
"""In a folder of people: what they are made of."""

_FACE_PARTS = ("skin", "mouth", "teeth", "eye", "lashes", "beard", "glasses", "lenses")
"""What shows a face rather than hides it; names begin like this."""

_CAST, _SHOT, _DECOY = 1, 2, 3
"""Keep the random streams apart."""


class Cutout(NamedTuple):
    """One head (or decoy), cut to what it covers. Pixels count in the first level."""

    kind: CutoutKind
    levels: tuple[NDArray[np.uint8], ...]
    """``(h, w, 4)`` pictures in the encoding of :mod:`trglab.detector.compositing`, each half the
    size of the last."""
    landmarks68_px: NDArray[np.float32]
    """``(68, 2)``; of a decoy, of the head that it was made for."""
    face_px: NDArray[np.float32]
    """``(FACE_SAMPLES, 2)`` places within the face's outline."""
    face_seen: NDArray[np.bool_]
    """``(FACE_SAMPLES,)``: the face itself is seen there, not what the person wears or holds."""
    light_x: float
    """From -1 to 1: the side from which the light comes, positive for the right."""

    @property
    def points_px(self) -> NDArray[np.float64]:
        """The five points ``(5, 2)``."""
        return five_points(self.landmarks68_px)

    @property
    def box_xyxy(self) -> NDArray[np.float64]:
        """The paper's box ``(4,)``."""
        return face_box(self.landmarks68_px)


def five_points(landmarks68_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return eye centres, tip of the nose and corners of the mouth ``(5, 2)`` of ``(68, 2)``."""
    return np.stack([landmarks68_px[list(some)].mean(0) for some in POINTS]).astype(np.float64)


class CutoutRenderer:
    """Makes each person's cut-outs, a pure function of (seed, number).

    Parameters
    ----------
    ingredients
        Fields of :class:`~trglab.synth.studio.Ingredients` by name.
    face_model
        Path of a face model; None: the one that is installed, else the built-in head.
    for_training
        Warn when only the built-in head is there.
    """

    def __init__(
        self,
        seed: int = 0,
        ingredients: Mapping[str, Any] | None = None,
        face_model: str | Path | None = None,
        *,
        for_training: bool = False,
    ) -> None:
        self.seed = seed
        self.studio = Studio(
            Ingredients(**(ingredients or {})), face_model, for_training=for_training
        )

    @property
    def provenance(self) -> dict[str, Any]:
        """Seed and sources in plain values: equal ones make equal cut-outs."""
        return {"seed": self.seed, "version": __version__, **self.studio.provenance}

    def person(self, number: int) -> list[Cutout]:
        """Make all cut-outs of a person."""
        subject = self.studio.sample_subject(np.random.default_rng((self.seed, _CAST, number)))
        sizes = [size for *size, count in SIZES for _ in range(count)]
        heads = [
            self._head(np.random.default_rng((self.seed, _SHOT, number, i)), subject, *size)
            for i, size in enumerate(sizes)
        ]
        return [*heads, self._decoy(np.random.default_rng((self.seed, _DECOY, number)), subject)]

    def _head(
        self, rng: np.random.Generator, subject: Subject, box_px: float, margin: float
    ) -> Cutout:
        virtual_from_head = rotation_from_euler(_sample_angles_deg(rng))
        vertices_m = self.studio.express(rng, subject, virtual_from_head)
        surfaces = self.studio.surfaces(rng, subject, vertices_m, virtual_from_head)
        away = np.arccos(np.clip(virtual_from_head[2, 2], -1.0, 1.0))
        kind: CutoutKind = "back" if away > np.radians(BACK_BEYOND_DEG) else "face"
        return self._shoot(rng, kind, surfaces, vertices_m, virtual_from_head, box_px, margin)

    def _decoy(self, rng: np.random.Generator, subject: Subject) -> Cutout:
        """Make what goes with people and is no head."""
        rotation = rotation_from_euler(rng.normal(0.0, (40.0, 12.0, 8.0)))
        vertices_m = self.studio.express(rng, subject, rotation)
        surfaces = self.studio.surfaces(rng, subject, vertices_m, rotation)
        worn = {surface.name for surface in subject.worn} - {"beard"}
        body = {surface.name for surface in subject.body}
        chosen = [(), sorted(body), sorted(worn)][int(rng.choice(3, p=(0.35, 0.4, 0.25)))]
        left = [surface for surface in surfaces if surface.name in chosen]
        if not left:
            landmarks_m = vertices_m[self.studio.model.landmarks68]
            hand = Occluder(skin_rgb=subject.skin_rgb, seed=int(rng.integers(2**31)))
            left = occluder_surfaces(hand, landmarks_m)
        box_px, margin, _ = SIZES[int(rng.integers(2))]
        return self._shoot(rng, "decoy", left, vertices_m, rotation, box_px, margin)

    def _shoot(
        self,
        rng: np.random.Generator,
        kind: CutoutKind,
        surfaces: list[Surface],
        vertices_m: NDArray[np.float32],
        rotation: NDArray[np.float64],
        box_px: float,
        margin: float,
    ) -> Cutout:
        translation_m = np.array([0.0, 0.0, np.exp(rng.uniform(np.log(0.4), np.log(4.0)))])
        landmarks_m = vertices_m[self.studio.model.landmarks68].astype(np.float64)
        landmarks_cam = transform(landmarks_m, rotation, translation_m)
        camera = _camera_around(landmarks_cam, box_px, margin)
        landmarks_px = camera.project(landmarks_cam)
        light = self._light(rng)
        nothing = np.zeros((camera.height, camera.width, 3), np.float32)
        rendering = render(surfaces, rotation, translation_m, camera, light, nothing)
        face_px, seen = _face_samples(rng, rendering, surfaces, landmarks_px)
        pixels = encode(rendering.rgb / _white(light), rendering.coverage)
        pixels, corner_px = _trim(pixels)
        levels = [pixels]
        while kind != "decoy" and len(levels) < 3 and box_px < 100.0:
            levels.append(halve(levels[-1]))
        key = float(light.key_rgb @ LUMINANCE) / float(_white(light) @ LUMINANCE)
        return Cutout(
            kind=kind,
            levels=tuple(levels),
            landmarks68_px=(landmarks_px - corner_px).astype(np.float32),
            face_px=(face_px - corner_px).astype(np.float32),
            face_seen=seen,
            light_x=float(light.key_direction[0]) * min(key, 1.0),
        )

    def _light(self, rng: np.random.Generator) -> Light:
        """Draw a light; of two from a panorama, the one that falls on the face wins."""
        panoramas = self.studio.panoramas
        if not panoramas or rng.random() >= PANORAMA_LIGHT_SHARE:
            return procedural_light(rng)
        panorama = panoramas[rng.integers(len(panoramas))]
        lights = [light_from_panorama(panorama, random_orientation(rng)) for _ in range(2)]
        return max(lights, key=lambda light: float(white_point(light) @ LUMINANCE))


class CutoutBank:
    """Cut-outs by person, kept while they are in use.

    Parameters
    ----------
    maker
        Makes who is not there yet.
    people
        How many to keep.
    folder
        Where to keep them for other processes too: those then share the memory. None: in this
        process only. One folder serves one seed and one set of sources.

    Raises
    ------
    ValueError
        The folder holds people of another seed, other sources or another version.
    OSError
        The folder cannot be written.
    """

    def __init__(self, maker: CutoutRenderer, people: int, folder: Path | None = None) -> None:
        self._maker = maker
        self._most = people
        self._folder = folder
        self._people: OrderedDict[int, list[Cutout]] = OrderedDict()
        if folder is not None:
            _claim(folder, maker.provenance)

    def person(self, number: int) -> list[Cutout]:
        """Return a person's cut-outs; the last is the decoy."""
        if number not in self._people:
            self._people[number] = self._fetch(number)
            while len(self._people) > self._most:
                self._people.popitem(last=False)
        return self._people[number]

    def _fetch(self, number: int) -> list[Cutout]:
        if self._folder is None:
            return self._maker.person(number)
        labels = self._folder / f"{number:07d}.npz"
        if not labels.exists():
            _save(labels, self._maker.person(number))
        return _load(labels)


def _claim(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Note whose people a folder keeps, or check that it is these."""
    note = folder / MADE_OF
    wanted = json.loads(json.dumps(provenance))
    if note.exists():
        found = json.loads(note.read_text())
        if found != wanted:
            raise ValueError(
                f"folder {folder}: expected people made of {wanted}, found those of {found}; "
                "give another folder, or empty this one"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(note, lambda file: file.write(json.dumps(wanted, indent=2).encode()))


def _save(path: Path, cutouts: list[Cutout]) -> None:
    """Write pixels as one plain array, which can be mapped, and then the labels beside them."""
    levels = [level for cutout in cutouts for level in cutout.levels]
    pixels = np.concatenate([level.ravel() for level in levels])
    write_atomic(path.with_suffix(".npy"), lambda file: np.save(file, pixels))
    labels = {
        "kind": np.array([cutout.kind for cutout in cutouts]),
        "level_count": np.array([len(cutout.levels) for cutout in cutouts]),
        "level_shape": np.array([level.shape for level in levels]),
        "landmarks68_px": np.stack([cutout.landmarks68_px for cutout in cutouts]),
        "face_px": np.stack([cutout.face_px for cutout in cutouts]),
        "face_seen": np.stack([cutout.face_seen for cutout in cutouts]),
        "light_x": np.array([cutout.light_x for cutout in cutouts]),
    }
    write_atomic(path, lambda file: np.savez(file, **labels))  # type: ignore[arg-type]


def _load(path: Path) -> list[Cutout]:
    with np.load(path, allow_pickle=False) as stored:
        labels = dict(stored)
    mapped = np.load(path.with_suffix(".npy"), mmap_mode="r")
    shapes = labels["level_shape"]
    ends = np.cumsum(shapes.prod(1))
    levels = [
        np.asarray(mapped[end - shape.prod() : end]).reshape(shape)
        for end, shape in zip(ends, shapes, strict=True)
    ]
    parts = ("landmarks68_px", "face_px", "face_seen", "light_x")
    cutouts, first = [], 0
    for i, count in enumerate(labels["level_count"]):
        own = tuple(levels[first : first + count])
        first += count
        cutouts.append(Cutout(str(labels["kind"][i]), own, *(labels[part][i] for part in parts)))  # type: ignore[arg-type]
    return cutouts


def _sample_angles_deg(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw yaw, pitch and roll: mostly towards the camera, often to a profile, a few from behind.

    Rolls are small: scenes turn whole cut-outs.
    """
    yaw, pitch = rng.normal(0.0, 28.0), rng.normal(0.0, 13.0)
    about = rng.random()
    if about < 0.25:
        yaw = rng.uniform(-95.0, 95.0)
    elif about < 0.31:
        yaw = rng.choice([-1.0, 1.0]) * rng.uniform(105.0, 180.0)
    if rng.random() < 0.15:
        pitch = rng.uniform(-60.0, 60.0)
    return np.array([yaw, np.clip(pitch, -60.0, 60.0), rng.normal(0.0, 8.0)])


def _camera_around(landmarks_cam: NDArray[np.float64], box_px: float, margin: float) -> Camera:
    """Return the camera whose picture is the face box, enlarged; the box's side is ``box_px``."""
    unit = Camera(1.0, 1.0, 0.5, 0.5, 1, 1)
    x0, y0, x1, y1 = face_box(unit.project(landmarks_cam)) - 0.5
    focal_px = box_px / (x1 - x0)
    side = round(box_px * margin)
    cx, cy = side / 2.0 - focal_px * np.array([x0 + x1, y0 + y1]) / 2.0
    height = side + round(BELOW * box_px) if margin > 2.0 else side
    return Camera(focal_px, focal_px, float(cx), float(cy), side, height)


def _white(light: Light) -> NDArray[np.float32]:
    """Return the colour ``(3,)`` of white at the face, not too dark where the light is behind."""
    everywhere = light.irradiance_sh[0] + 0.25 * light.key_rgb
    white: NDArray[np.float32] = np.maximum(
        white_point(light), np.float32(WHITE_FLOOR) * np.maximum(everywhere, 1e-4)
    )
    return white


def _face_samples(
    rng: np.random.Generator,
    rendering: Rendering,
    surfaces: list[Surface],
    landmarks_px: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Draw places ``(FACE_SAMPLES, 2)`` on the face's outline, and say where the face shows."""
    own = [surface.name.startswith(_FACE_PARTS) for surface in surfaces] + [False]
    height, width = rendering.surface_id.shape
    corners = rng.integers(0, len(landmarks_px), (4 * FACE_SAMPLES, 3))
    shares = rng.dirichlet(np.full(3, 0.8), 4 * FACE_SAMPLES)
    places = (landmarks_px[corners] * shares[..., None]).sum(1)
    column, row = np.clip(places.T.astype(int), 0, [[width - 1], [height - 1]])
    surface = rendering.surface_id[row, column]
    chosen = np.flatnonzero(surface >= 0)  # a profile's outline is not convex
    if len(chosen) == 0:
        chosen = np.arange(len(places))
    chosen = chosen[np.arange(FACE_SAMPLES) % len(chosen)]
    return places[chosen], np.array(own)[surface[chosen]]


def _trim(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Cut to what is covered, below to the shoulders' widest; return that and its corner."""
    covered = pixels[..., 3] > 0
    if not covered.any():
        return pixels, np.zeros(2)
    widths = pixels[..., 3].sum(1, dtype=np.float64)
    wide = np.flatnonzero(widths >= 0.9 * widths.max())
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    left, top = int(columns[0]), int(rows[0])
    bottom = max(int(wide[-1]), int(0.7 * rows[-1])) + 1
    bottom -= (bottom - top) % 4 if bottom - top > 8 else 0  # halves end on whole rows
    cut = pixels[top:bottom, left : int(columns[-1]) + 1]
    return np.ascontiguousarray(cut), np.array([left, top], np.float64)
