"""People to be rendered: identity, appearance, accessories and their surfaces.

::

    Studio (once per process): face model, texture maps, accessories, photo skins, panoramas
      └─ sample_subject()     (once per person, about 0.1 s): Subject
           └─ build_surfaces()  (once per image, a few milliseconds): input of the renderer
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg.geometry.rotations import rotation_from_euler, rotation_to_euler
from trglab.datasets.sample import Traits
from trglab.synth.accessories.builder import (
    Accessories,
    AccessoryBuilder,
    resample_occluder,
    sample_accessories,
)
from trglab.synth.accessories.facial_strands import sample_facial_hair
from trglab.synth.accessories.head_map import HeadFit
from trglab.synth.accessories.hiding import hiding_surfaces
from trglab.synth.assets import find_asset, find_assets, find_hair_alpha, photo_kind
from trglab.synth.colour import srgb_from_linear
from trglab.synth.environment.panorama import Panorama, load_panoramas
from trglab.synth.head.expressions import sample_expression
from trglab.synth.head.face_model import FaceModel, load_face_model
from trglab.synth.head.people import Person, Population
from trglab.synth.ingredients import Ingredients, hair_alpha_path, ingredient_path
from trglab.synth.portraits.skin import PortraitSkinBank, load_portrait_skins
from trglab.synth.render.raster import ambient_occlusion
from trglab.synth.render.sampling import mipmaps
from trglab.synth.render.surface import Surface
from trglab.synth.skin.appearance import SkinAppearance, sample_skin_appearance
from trglab.synth.skin.maps import SKIN_SIZE, skin_maps
from trglab.synth.skin.paint import SkinLayer
from trglab.synth.skin.person_textures import (
    AppearanceMaps,
    PersonTextures,
    appearance_maps,
    appearance_surfaces,
    paint_person,
)
from trglab.synth.skin.photo_skin import PhotoSkinBank, has_stubble, load_photo_skins
from trglab.synth.skin.photo_texture import reduce_layer
from trglab.synth.skin.tone import SkinTone, sample_skin_tone

OCCLUSION_DIRECTIONS = 14
"""Shadow maps per subject for ambient occlusion."""

HIDDEN_SHARE = 0.09
"""Share of images with an object that hides a large part of the face."""

PHOTO_SKIN_SHARE = 0.82
PHOTO_AGE_LIMIT = 52.0
"""Upper age with the skin of a landmarked photograph: nearly all of these people are younger."""

PORTRAIT_SHARES = (0.5, 0.85)
"""Share of photographed skins that come from portraits, for people below and above the age limit.
Most portraits show people above it."""

GAZE_REACH_DEG = (25.0, 18.0)
"""Comfortable range of the eyes, horizontal and vertical."""

OPEN_COLLARS = ("bare", "v-neck")
"""Collars that show the skin below the neck."""

COLLAR_BELOW_CHIN_M = 0.07
"""Lower end of the head model's neck above closed collars."""

NECK_AXIS_Z_M, NECK_RADIUS_M = 0.015, 0.072
"""Axis and radius of an average neck; vertices farther out belong to the shoulders."""

NECK_REACH_DEG = (55.0, 30.0, 25.0)
"""Range of yaw, pitch and roll of the head relative to the body."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A person with textures and accessories; V are the face model's vertices."""

    person: Person
    neutral_m: NDArray[np.float32]
    """``(V, 3)``."""
    textures: PersonTextures
    accessories: Accessories
    fit: HeadFit
    worn: tuple[Surface, ...]
    """Hair, glasses, headwear and others that move with the head."""
    body: tuple[Surface, ...]
    """Shoulders and clothes."""
    occlusion: NDArray[np.float32]
    """``(V,)``: ambient occlusion."""
    skin_rgb: tuple[float, float, float]
    traits: Traits


class Studio:
    """Draws people and builds their surfaces; create one per process.

    Parameters
    ----------
    ingredients
        What to use.
    face_model
        Path of a face model; None: the installed one, else the built-in head.
    for_training
        Warn if only the built-in head is available.
    skin_size
        Side of the skin textures in texels: 512, or a divisor for small images. Only the textures
        depend on it, not the people.

    Raises
    ------
    FileNotFoundError
        A required asset is not installed; the message says where to get it.
    """

    def __init__(
        self,
        ingredients: Ingredients,
        face_model: str | Path | None = None,
        *,
        for_training: bool = False,
        skin_size: int = SKIN_SIZE,
    ) -> None:
        hair_meshes = ingredient_path("hair_meshes", ingredients.hair and ingredients.hair_meshes)
        hair_alpha = hair_alpha_path(ingredients) if hair_meshes is not None else None
        photos = ingredient_path("photo_skin", ingredients.photo_skin)
        panoramas = ingredient_path("panoramas", ingredients.panoramas)
        path = find_asset("face-model", face_model)
        self.model: FaceModel = load_face_model(path, for_training=for_training)
        self._population = Population(self.model)
        self._maps = appearance_maps(self.model, skin_size)
        self._skin_above_collar = _skin_above_collar(self.model, self._maps)
        self.ingredients = ingredients
        self._probabilities = ingredients.accessory_probabilities()
        self._accessory_builder = AccessoryBuilder(self.model, hair_meshes, hair_alpha)
        portraits = ingredient_path("portraits", ingredients.portraits)
        self._photo_maps = self._maps.skin
        if skin_size != SKIN_SIZE and (photos or portraits):
            self._photo_maps = skin_maps(self.model)
        self._skins: PhotoSkinBank | None = None
        if photos is not None:
            self._skins = load_photo_skins(self.model, self._photo_maps, photos)
        self._portraits: PortraitSkinBank | None = None
        if portraits is not None:
            self._portraits = load_portrait_skins(
                self.model, self._photo_maps, find_assets("portraits")
            )
        self.panoramas: list[Panorama] = [] if panoramas is None else load_panoramas(panoramas)

    @property
    def provenance(self) -> dict[str, Any]:
        """Assets in use, as plain values."""
        portraits = self._portraits
        return {
            **({} if portraits is None else {"portraits_without_landmarks": len(portraits)}),
            "face_model": self.model.name,
            "portraits": 0 if self._skins is None else len(self._skins),
            "panoramas": [panorama.name for panorama in self.panoramas],
            "hair_meshes": self._accessory_builder.mesh_count,
            "hair_alpha": len(self._accessory_builder.card_names),
        }

    def sample_subject(self, rng: np.random.Generator) -> Subject:
        """Draw a person, their textures and their accessories."""
        strand_rng = rng.spawn(1)[0]  # a stream of its own: the other draws do not depend on it
        person = self._population.sample(rng)
        is_child = person.group == "child"
        tone, photo, shown_age_years = self._sample_skin(rng, person)
        red, green, blue = srgb_from_linear(np.exp(-tone.density)[None])[0].tolist()
        skin_rgb = (float(red), float(green), float(blue))
        darkness = float(np.clip((60.0 - tone.typology_deg) / 120.0, 0.0, 1.0))
        masculine, age_years = person.group == "man", person.age_years
        if photo is not None:  # hair, beard and age must match the photograph
            stubble = has_stubble(photo, self._photo_maps)
            masculine = not is_child and (stubble or rng.random() < 0.3)
            age_years = min(age_years, PHOTO_AGE_LIMIT)
            if shown_age_years is not None and not is_child:
                age_years = shown_age_years
        accessories = sample_accessories(
            rng,
            self._probabilities,
            skin_darkness=darkness,
            skin_rgb=skin_rgb,
            child=is_child,
            masculine=masculine,
            age_years=age_years,
            mesh_count=self._accessory_builder.mesh_count,
            card_names=self._accessory_builder.card_names,
        )
        skin = sample_skin_appearance(
            rng,
            age_years=age_years,
            masculine=masculine,
            tone=tone,
            hair_rgb=accessories.hair_colour.root_rgb,
            scalp=None if accessories.hair is None else 1.0,
            beard=None if accessories.beard is None else accessories.beard.kind,
        )
        if self.ingredients.hair and self.ingredients.beard_volume:
            accessories = self._with_facial_hair(
                strand_rng, accessories, skin, age_years, masculine
            )
        detail = None if photo is None else reduce_layer(photo, self._maps.skin.texels.size)
        textures = paint_person(self._maps, skin, rng, detail)
        neutral_m = self.model.neutral(person.identity, person.scale)
        fit = self._accessory_builder.fit(neutral_m)
        worn = self._accessory_builder.person_surfaces(accessories, neutral_m, fit)
        body = [
            replace(surface, mipmaps=mipmaps(surface.texture))
            for surface in self._accessory_builder.body_surfaces(accessories, fit)
        ]
        occlusion, shaded = self._add_occlusion(textures, neutral_m, worn)
        for texture in (*textures.by_part.values(), *(s.texture for s in (*shaded, *body))):
            texture.setflags(write=False)  # so that the renderer examines it only once
        return Subject(
            person, neutral_m, textures, accessories, fit, tuple(shaded), tuple(body), occlusion,
            skin_rgb, Traits(age_years, person.sex, tone.typology_deg),
        )  # fmt: skip

    def sample_face_vertices(
        self, rng: np.random.Generator, subject: Subject, virtual_from_head: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Draw an expression (:meth:`sample_expression`); return the vertices ``(V, 3)``."""
        expression = self.sample_expression(rng, virtual_from_head)
        return self.model.express(subject.neutral_m, expression, subject.person.scale)

    def sample_expression(
        self, rng: np.random.Generator, virtual_from_head: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Draw the weights of an expression ``(E,)``.

        Half of the people look into the camera, if their eyes can turn that far.

        Parameters
        ----------
        virtual_from_head
            ``(3, 3)``: head rotation relative to the virtual camera that looks at the head.
        """
        right_deg, down_deg = _gaze_at_camera_deg(virtual_from_head)
        can_look = abs(right_deg) < GAZE_REACH_DEG[0] and abs(down_deg) < GAZE_REACH_DEG[1]
        gaze_deg = (right_deg, down_deg) if can_look and rng.random() < 0.5 else None
        return sample_expression(rng, self.model, gaze_deg)

    def build_surfaces(
        self,
        rng: np.random.Generator,
        subject: Subject,
        vertices_m: NDArray[np.float32],
        virtual_from_head: NDArray[np.float64],
    ) -> list[Surface]:
        """Return all surfaces of a subject, in the head frame.

        Parameters
        ----------
        vertices_m
            ``(V, 3)`` from :meth:`sample_face_vertices`.
        virtual_from_head
            ``(3, 3)``: head rotation relative to the virtual camera; the body follows it in part.
        """
        hiding_rng = rng.spawn(1)[0]  # a stream of its own: the other draws do not depend on it
        accessories = resample_occluder(
            subject.accessories, rng, self._probabilities, subject.skin_rgb
        )
        face = appearance_surfaces(self._maps, subject.textures, vertices_m, subject.occlusion)
        if accessories.body is not None and accessories.body.collar not in OPEN_COLLARS:
            face = [
                replace(part, triangles=self._skin_above_collar) if part.name == "skin" else part
                for part in face
            ]
        turn = _body_from_head(rng, virtual_from_head)
        body = self._accessory_builder.turn_body(list(subject.body), subject.fit, turn)
        surfaces = [
            *face,
            *subject.worn,
            *body,
            *self._accessory_builder.image_surfaces(accessories, vertices_m),
        ]
        if self.ingredients.hides_faces and hiding_rng.random() < HIDDEN_SHARE:
            landmarks_m = vertices_m[self.model.landmarks68]
            surfaces += hiding_surfaces(hiding_rng, landmarks_m, subject.skin_rgb)
        return surfaces

    def _sample_skin(
        self, rng: np.random.Generator, person: Person
    ) -> tuple[SkinTone, SkinLayer | None, float | None]:
        """Draw a skin tone; for a share of the people a photographed skin, and the age it shows."""
        has_photos = self._skins is not None or self._portraits is not None
        if not has_photos or rng.random() >= PHOTO_SKIN_SHARE:
            return sample_skin_tone(rng), None, None
        if self._portraits is not None:
            own_rng = rng.spawn(1)[0]  # the other draws do not depend on this stream
            share = PORTRAIT_SHARES[person.age_years > PHOTO_AGE_LIMIT]
            from_portraits = person.group != "child" and own_rng.random() < share
            if from_portraits or self._skins is None:
                return self._portraits.sample(self._photo_maps, own_rng, person.age_years)
        assert self._skins is not None
        return *self._skins.sample(self._photo_maps, rng), None

    def _with_facial_hair(
        self,
        rng: np.random.Generator,
        accessories: Accessories,
        skin: SkinAppearance,
        age_years: float,
        masculine: bool,
    ) -> Accessories:
        """Add strands to the modelled beard and to the brows."""
        kind = None if accessories.beard is None else accessories.beard.kind
        hair = sample_facial_hair(rng, kind, accessories.hair_colour, age_years, masculine)
        beard = accessories.beard
        if beard is not None:  # the shells fill the gaps between the strands
            beard = replace(beard, length_m=min(0.45 * hair.length_m, 0.012) + 0.001)
        hair = replace(hair, brow_rgb=skin.brows.rgb)
        return replace(accessories, beard=beard, facial_hair=hair)

    def _add_occlusion(
        self, textures: PersonTextures, neutral_m: NDArray[np.float32], worn: list[Surface]
    ) -> tuple[NDArray[np.float32], list[Surface]]:
        """Compute ambient occlusion; return it for the head and attached to the worn surfaces."""
        face = appearance_surfaces(self._maps, textures, neutral_m)
        shares = ambient_occlusion([*face, *worn], directions=OCCLUSION_DIRECTIONS)
        occlusion = np.ones(len(neutral_m), np.float32)
        for surface, share in zip(face, shares[: len(face)], strict=True):
            occlusion[self._maps.part_vertices[surface.name]] = share
        shaded = [
            replace(surface, occlusion=share, mipmaps=mipmaps(surface.texture))
            for surface, share in zip(worn, shares[len(face) :], strict=True)
        ]
        return occlusion, shaded


def import_asset(
    kind: str, path: Path, on_progress: Callable[[str, int, int], None] | None = None
) -> str | None:
    """Read an asset once: this fills the cache and reports damage; return what was found.

    ``on_progress`` is called with what is done, and the numbers of photographs done and of all.

    Raises
    ------
    FileNotFoundError, ValueError
        The asset is missing or damaged; the message says where to get it.
    """
    if kind == "face-model":
        load_face_model(path)
    elif kind == "panoramas":
        load_panoramas(path)
    else:
        model = load_face_model(find_asset("face-model"))
        if kind == "hair_meshes":
            AccessoryBuilder(model, path, find_hair_alpha())
        elif photo_kind(path) == "portraits":
            bank = load_portrait_skins(model, appearance_maps(model).skin, [path], on_progress)
            dropped = [f"{count} {reason}" for reason, count in bank.dropped.items()]
            left_out = f"; left out: {', '.join(dropped)}" if dropped else ""
            return f"{len(bank)} portraits kept{left_out}"
        else:
            count = len(load_photo_skins(model, appearance_maps(model).skin, path))
            return f"{count} portraits with landmarks"
    return None


def _skin_above_collar(model: FaceModel, charts: AppearanceMaps) -> NDArray[np.int32]:
    """Return the skin's triangles without shoulders, which would intersect turned clothes."""
    triangles = charts.part_triangles["skin"]
    x, y, z = model.mean_m[charts.part_vertices["skin"]].T
    below_chin_m = y - model.mean_m[model.landmarks68[8], 1]
    neck = np.hypot(x, z - NECK_AXIS_Z_M) < NECK_RADIUS_M
    above = (below_chin_m < 0.02) | ((below_chin_m < COLLAR_BELOW_CHIN_M) & neck)
    kept: NDArray[np.int32] = triangles[above[triangles].any(axis=1)]
    return kept


def _gaze_at_camera_deg(virtual_from_head: NDArray[np.float64]) -> tuple[float, float]:
    """Return the eye rotation to the image's right and down that meets the camera."""
    x, y, z = virtual_from_head.T @ (0.0, 0.0, -1.0)
    return float(np.degrees(np.arctan2(x, -z))), float(np.degrees(np.arctan2(y, np.hypot(x, z))))


def _body_from_head(
    rng: np.random.Generator, virtual_from_head: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Draw the rotation of the head relative to the body, which follows the head in part."""
    view_deg = rotation_to_euler(virtual_from_head)
    follow = rng.uniform((0.1, 0.0, 0.0), (0.9, 0.5, 0.6))
    own_deg = view_deg * (1.0 - follow) + rng.normal(0.0, (9.0, 5.0, 4.0))
    return rotation_from_euler(np.clip(own_deg, -np.array(NECK_REACH_DEG), NECK_REACH_DEG))
