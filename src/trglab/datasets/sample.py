"""What every data source yields, real or synthetic: one face in one picture, with its labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from trg.geometry.camera import Camera


@dataclass(frozen=True, slots=True)
class Sample:
    """One face in one picture. A label that the source does not have is None.

    Attributes
    ----------
    image
        ``(height, width, 3)`` uint8 sRGB.
    camera
        The camera of exactly these pixels.
    box_xyxy
        ``(4,)`` px: the paper's square face box, 1.5 times the larger side of the bounding
        rectangle of the 68 landmarks. It may stick out of the image.
    rotation
        ``(3, 3)``, ``cam_from_head``.
    translation_m
        ``(3,)``, the head's origin in the camera frame.
    vertices_m
        ``(1220, 3)`` in head space.
    landmarks68_px
        ``(68, 2)`` in the image.
    landmarks68_visible
        ``(68,)`` bool: the camera sees the point. None where nobody said.
    identity
        A number or name that is the same for all pictures of one person.
    name
        Where the sample comes from, for messages and reports.
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

    def require_landmarks68_px(self) -> np.ndarray:
        """Return the landmarks, or raise ValueError where the source has none."""
        if self.landmarks68_px is None:
            raise ValueError(f"sample {self.name}: expected 68 landmarks, its source has none")
        return self.landmarks68_px


@runtime_checkable
class Samples(Protocol):
    """A data set: samples by number; what every reader is."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, index: int, /) -> Sample:
        """Read one; ValueError or OSError where it is missing, damaged or wrong."""
