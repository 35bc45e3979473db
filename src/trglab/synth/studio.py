"""People before the camera: who they are, how they look, what they wear, and their surfaces.

Studio (once per process): face model, charts, wardrobe, real skin, panoramas
  └─ sample_subject()    (once per person, about a tenth of a second): Subject
       └─ surfaces()   (once per picture, a few milliseconds): what the renderer draws
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import rotation_from_euler, rotation_to_euler
from trglab.synth.accessories.builder import (
    Accessories,
    AccessoryBuilder,
    AccessoryProbabilities,
    resample_occluder,
    sample_accessories,
)
from trglab.synth.accessories.head_map import HeadFit
from trglab.synth.assets import find_asset, require_asset
from trglab.synth.colour import srgb_from_linear
from trglab.synth.environment.panorama import Panorama, load_panoramas
from trglab.synth.head.expressions import sample_expression
from trglab.synth.head.face_model import FaceModel, load_face_model
from trglab.synth.head.people import Person, Population
from trglab.synth.render.raster import ambient_occlusion
from trglab.synth.render.sampling import mipmaps
from trglab.synth.render.surface import Surface
from trglab.synth.skin.appearance import sample_skin_appearance
from trglab.synth.skin.paint import SkinLayer
from trglab.synth.skin.person_textures import (
    AppearanceMaps,
    PersonTextures,
    appearance_maps,
    appearance_surfaces,
    paint_person,
)
from trglab.synth.skin.photo_skin import PhotoSkinBank, has_stubble, load_photo_skins
from trglab.synth.skin.tone import SkinTone, sample_skin_tone

OCCLUSION_DIRECTIONS = 14
PHOTO_SKIN_SHARE = 0.82
PHOTO_AGE_LIMIT = 52.0
"""Nearly all photographed people are younger: grey hair would not go with their skin."""

GAZE_REACH_DEG = (25.0, 18.0)
"""How far eyes turn in the head to the side and up or down, in comfort."""

OPEN_COLLARS = ("bare", "v-neck")
"""Clothes that show the skin below the neck."""

COLLAR_BELOW_CHIN_M = 0.07
"""Down to here the head's own neck is drawn above closed collars."""

NECK_AXIS_Z_M, NECK_RADIUS_M = 0.015, 0.072
"""The neck of an average head; what lies farther out below the chin is shoulder."""

NECK_REACH_DEG = (55.0, 30.0, 25.0)
"""How far a head turns, nods and tilts against its body."""


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What the engine may use. None: where the user has it; True: it must be there.

    ``photo_skin`` and ``panoramas`` need sources of the user's own; ``hair`` covers grown and
    modelled hair, ``occluders`` all that hides parts of a face (objects, hands, masks, glasses,
    headwear).
    """

    photo_skin: bool | None = None
    panoramas: bool | None = None
    hair: bool | None = None
    occluders: bool = True

    def accessory_probabilities(self) -> AccessoryProbabilities:
        """Return how often each kind of thing appears."""
        odds = AccessoryProbabilities()
        if self.hair is False:
            odds = replace(odds, hair=0.0, mesh_hair=0.0, beard=0.0)
        if not self.occluders:
            odds = replace(odds, occluder=0.0, mask=0.0, glasses=0.0, headwear=0.0, headphones=0.0)
        return odds


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One person, painted and dressed."""

    person: Person
    neutral_m: NDArray[np.float32]
    """``(V, 3)``"""
    appearance: PersonTextures
    style: Accessories
    fit: HeadFit
    worn: tuple[Surface, ...]
    body: tuple[Surface, ...]
    occlusion: NDArray[np.float32]
    """``(V,)`` of the face model's vertices"""
    skin_rgb: tuple[float, float, float]


class Studio:
    """All that a process needs to make people.

    Parameters
    ----------
    ingredients
        What to use.
    face_model
        Path of a face model; None: the one that :func:`~trglab.synth.assets.find_asset` finds, else
        the built-in head.

    Raises
    ------
    FileNotFoundError
        An ingredient that must be there is not installed; the message says where to get it.
    """

    def __init__(
        self,
        ingredients: Ingredients = Ingredients(),
        face_model: str | Path | None = None,
        *,
        for_training: bool = False,
    ) -> None:
        path = find_asset("face-model", face_model)
        self.model: FaceModel = load_face_model(path, for_training=for_training)
        self._population = Population(self.model)
        self._charts = appearance_maps(self.model)
        self._skin_above_collar = _skin_above_collar(self.model, self._charts)
        self._odds = ingredients.accessory_probabilities()
        hair = _wanted("hair", ingredients.hair)
        self._wardrobe = AccessoryBuilder(self.model, hair)
        photos = _wanted("photos", ingredients.photo_skin)
        self._skins: PhotoSkinBank | None = None
        if photos is not None:
            self._skins = load_photo_skins(self.model, self._charts.skin, photos)
        panoramas = _wanted("panoramas", ingredients.panoramas)
        self.panoramas: list[Panorama] = [] if panoramas is None else load_panoramas(panoramas)

    @property
    def provenance(self) -> dict[str, Any]:
        """Which sources are in use, in plain values."""
        return {
            "face_model": self.model.name,
            "portraits": 0 if self._skins is None else len(self._skins),
            "panoramas": [panorama.name for panorama in self.panoramas],
            "hair_meshes": self._wardrobe.mesh_count,
        }

    def sample_subject(self, rng: np.random.Generator) -> Subject:
        """Draw a person, paint their skin and dress them."""
        person = self._population.sample(rng)
        is_child = person.group == "child"
        tone, photo = self._skin(rng)
        red, green, blue = srgb_from_linear(np.exp(-tone.density)[None])[0].tolist()
        skin_rgb = (float(red), float(green), float(blue))
        darkness = float(np.clip((60.0 - tone.typology_deg) / 120.0, 0.0, 1.0))
        masculine, age_years = person.group == "man", person.age_years
        if photo is not None:  # the photographed person decides, as far as one can tell
            stubbled = has_stubble(photo, self._charts.skin)
            masculine = not is_child and (stubbled or rng.random() < 0.3)
            age_years = min(age_years, PHOTO_AGE_LIMIT)
        style = sample_accessories(
            rng,
            self._odds,
            skin_darkness=darkness,
            skin_rgb=skin_rgb,
            child=is_child,
            masculine=masculine,
            age_years=age_years,
            mesh_count=self._wardrobe.mesh_count,
        )
        look = sample_skin_appearance(
            rng,
            age_years=age_years,
            masculine=masculine,
            tone=tone,
            hair_rgb=style.hair_colour.root_rgb,
            scalp=None if style.hair is None else 1.0,
            beard=None if style.beard is None else style.beard.kind,
        )
        appearance = paint_person(self._charts, look, rng, photo)
        neutral_m = self.model.neutral(person.identity, person.scale)
        fit = self._wardrobe.fit(neutral_m)
        worn = self._wardrobe.person_surfaces(style, neutral_m, fit)
        body = [
            replace(surface, mipmaps=mipmaps(surface.texture))
            for surface in self._wardrobe.body_surfaces(style, fit)
        ]
        occlusion, shaded = self._occlude(appearance, neutral_m, worn)
        return Subject(
            person, neutral_m, appearance, style, fit, tuple(shaded), tuple(body), occlusion,
            skin_rgb,
        )  # fmt: skip

    def express(
        self, rng: np.random.Generator, subject: Subject, virtual_from_head: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return an subject's vertices ``(V, 3)`` with some expression on the face.

        ``virtual_from_head`` ``(3, 3)`` is the head as the camera sees it: half of the people look
        into the camera if their eyes can turn that far.
        """
        right_deg, down_deg = _gaze_at_camera_deg(virtual_from_head)
        can_look = abs(right_deg) < GAZE_REACH_DEG[0] and abs(down_deg) < GAZE_REACH_DEG[1]
        gaze_deg = (right_deg, down_deg) if can_look and rng.random() < 0.5 else None
        expression = sample_expression(rng, self.model, gaze_deg)
        return self.model.express(subject.neutral_m, expression, subject.person.scale)

    def surfaces(
        self,
        rng: np.random.Generator,
        subject: Subject,
        vertices_m: NDArray[np.float32],
        virtual_from_head: NDArray[np.float64],
    ) -> list[Surface]:
        """Return all that is drawn of an subject, in the head frame.

        Parameters
        ----------
        vertices_m
            ``(V, 3)`` from :meth:`express`.
        virtual_from_head
            ``(3, 3)``: the head as the camera sees it; the body turns with it part of the way.
        """
        style = resample_occluder(subject.style, rng, self._odds, subject.skin_rgb)
        face = appearance_surfaces(self._charts, subject.appearance, vertices_m, subject.occlusion)
        if style.body is not None and style.body.collar not in OPEN_COLLARS:
            face = [
                replace(part, triangles=self._skin_above_collar) if part.name == "skin" else part
                for part in face
            ]
        turn = _body_from_head(rng, virtual_from_head)
        body = self._wardrobe.turn_body(list(subject.body), subject.fit, turn)
        return [*face, *subject.worn, *body, *self._wardrobe.image_surfaces(style, vertices_m)]

    def _skin(self, rng: np.random.Generator) -> tuple[SkinTone, SkinLayer | None]:
        """Draw a skin: real skin for a share of the people, where photographs are installed."""
        if self._skins is not None and rng.random() < PHOTO_SKIN_SHARE:
            return self._skins.sample(self._charts.skin, rng)
        return sample_skin_tone(rng), None

    def _occlude(
        self, appearance: PersonTextures, neutral_m: NDArray[np.float32], worn: list[Surface]
    ) -> tuple[NDArray[np.float32], list[Surface]]:
        """Work out which part of the surroundings each vertex of head and hair sees."""
        face = appearance_surfaces(self._charts, appearance, neutral_m)
        shares = ambient_occlusion([*face, *worn], directions=OCCLUSION_DIRECTIONS)
        occlusion = np.ones(len(neutral_m), np.float32)
        for surface, share in zip(face, shares[: len(face)], strict=True):
            occlusion[self._charts.part_vertices[surface.name]] = share
        shaded = [
            replace(surface, occlusion=share, mipmaps=mipmaps(surface.texture))
            for surface, share in zip(worn, shares[len(face) :], strict=True)
        ]
        return occlusion, shaded


def import_asset(kind: str, path: Path) -> None:
    """Read a source once, so that what takes long is cached and damage shows now.

    Raises
    ------
    FileNotFoundError, ValueError
        The source is missing or damaged; the message says where to get it.
    """
    if kind == "face-model":
        load_face_model(path)
    elif kind == "panoramas":
        load_panoramas(path)
    else:
        model = load_face_model(find_asset("face-model"))
        if kind == "hair":
            AccessoryBuilder(model, path)
        else:
            load_photo_skins(model, appearance_maps(model).skin, path)


def _skin_above_collar(model: FaceModel, charts: AppearanceMaps) -> NDArray[np.int32]:
    """Return the skin's triangles without shoulders, which would stick out of turned clothes."""
    triangles = charts.part_triangles["skin"]
    x, y, z = model.mean_m[charts.part_vertices["skin"]].T
    below_chin_m = y - model.mean_m[model.landmarks68[8], 1]
    neck = np.hypot(x, z - NECK_AXIS_Z_M) < NECK_RADIUS_M
    above = (below_chin_m < 0.02) | ((below_chin_m < COLLAR_BELOW_CHIN_M) & neck)
    kept: NDArray[np.int32] = triangles[above[triangles].any(axis=1)]
    return kept


def _wanted(kind: str, asked: bool | None) -> Path | None:
    if asked is False:
        return None
    return require_asset(kind) if asked else find_asset(kind)


def _gaze_at_camera_deg(virtual_from_head: NDArray[np.float64]) -> tuple[float, float]:
    """Return how far right (in the image) and down eyes turn in a head to meet the camera."""
    x, y, z = virtual_from_head.T @ (0.0, 0.0, -1.0)
    return float(np.degrees(np.arctan2(x, -z))), float(np.degrees(np.arctan2(y, np.hypot(x, z))))


def _body_from_head(
    rng: np.random.Generator, virtual_from_head: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Draw the head's rotation against the body: shoulders follow a head part of the way."""
    seen_deg = rotation_to_euler(virtual_from_head)
    follow = rng.uniform((0.1, 0.0, 0.0), (0.9, 0.5, 0.6))
    own_deg = seen_deg * (1.0 - follow) + rng.normal(0.0, (9.0, 5.0, 4.0))
    return rotation_from_euler(np.clip(own_deg, -np.array(NECK_REACH_DEG), NECK_REACH_DEG))
