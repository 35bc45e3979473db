"""The sample that every dataset yields: one face in one image, with its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np

from trg._util.field_types import typed_fields
from trg.geometry.camera import Camera


@dataclass(frozen=True, slots=True)
class Traits:
    """Who a renderer drew, for figures by group."""

    age_years: float
    """That the skin shows"""
    sex: str
    """``woman`` or ``man``: of the survey that the head's measures were drawn from. A photographed
    skin, hair and beard may be of the other"""
    skin_typology_deg: float
    """Individual typology angle of the skin: above 55 very light, below -30 dark"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One face in one image. A label that the dataset lacks is None.

    Attributes
    ----------
    image
        ``(height, width, 3)`` uint8 sRGB.
    camera
        The camera of these pixels.
    box_xyxy
        ``(4,)`` px: the paper's square face box, 1.5 times the larger side of the bounding
        rectangle of the 68 landmarks (section 4.1). It may extend beyond the image.
    rotation
        ``(3, 3)``, ``cam_from_head``.
    translation_m
        ``(3,)``, the origin of the head frame in the camera frame.
    vertices_m
        ``(1220, 3)`` in the head frame.
    landmarks68_px
        ``(68, 2)`` in the image.
    landmarks68_visible
        ``(68,)`` bool: the camera sees the point.
    identity
        Number or name of the person, equal for all of their images.
    name
        Name of the sample, for messages and reports.
    expressions
        ``(52,)``, weights of :data:`~trg.geometry.shape_basis.EXPRESSION_NAMES`.
    traits
        Age, sex and skin of the person.
    """

    image: np.ndarray
    camera: Camera
    box_xyxy: np.ndarray
    rotation: np.ndarray | None
    translation_m: np.ndarray | None
    vertices_m: np.ndarray | None
    landmarks68_px: np.ndarray | None
    landmarks68_visible: np.ndarray | None
    identity: str
    name: str
    expressions: np.ndarray | None = None
    traits: Traits | None = None

    def require_landmarks68_px(self) -> np.ndarray:
        """Return the landmarks, or raise ValueError if the dataset has none."""
        if self.landmarks68_px is None:
            raise ValueError(f"sample {self.name}: expected 68 landmarks, its data set has none")
        return self.landmarks68_px


@runtime_checkable
class Dataset(Protocol):
    """A finite dataset, as every reader is: samples by index."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: int, /) -> Sample:
        """Read a sample; ValueError or OSError if it is missing, damaged or wrong."""


@runtime_checkable
class InfiniteDataset(Protocol):
    """A dataset without end: a renderer, or a finite dataset read again and again."""

    def sample(self, index: int) -> Sample:
        """Return sample number ``index``, any from 0; equal indices give equal samples."""
        ...


def meta_of_traits(sample: Sample) -> dict[str, Any]:
    """Return what a store's record holds of a sample's traits; nothing if it has none."""
    return {} if sample.traits is None else {"traits": asdict(sample.traits)}


def traits_from_meta(meta: Mapping[str, Any]) -> Traits | None:
    """Return the traits in a store's record; older stores have none.

    Raises ValueError if they are damaged.
    """
    stored = meta.get("traits")
    if stored is None:
        return None
    names = {field.name for field in fields(Traits)}
    if not isinstance(stored, dict) or set(stored) != names:
        raise ValueError(f"traits: expected {sorted(names)}, got {stored!r:.80}")
    return Traits(**typed_fields(Traits, stored, "traits, "))
