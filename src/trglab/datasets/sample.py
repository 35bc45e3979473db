"""The sample that every dataset yields: one face in one image, with its labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from trg.geometry.camera import Camera


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
