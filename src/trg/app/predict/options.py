"""How inputs are processed, and what that means for one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trg.face import Face
from trg.geometry.axes import FrameConvention
from trg.geometry.camera import Camera
from trg.geometry.camera_source import CameraLike, FieldOfView, SizelessCalibration, resolve_camera
from trg.inference.tracker import SizeSource
from trg.io.boxes import PhotoBoxes
from trg.io.eye_distances import EyeDistances, checked_interpupillary_m
from trg.io.inputs import MediaInput, PhotoInput, VideoInput
from trg.io.records.names import escape_name

READ_ERRORS = (OSError, ValueError)
"""What the readers of photos and videos raise for bad files."""


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How inputs are processed.

    Raises ValueError if ``interpupillary_m`` is out of range.
    """

    camera: CameraLike | None = None
    """The camera of all inputs. None: from each photo's EXIF, or else assumed."""
    boxes: PhotoBoxes | None = None
    """Face boxes of the photos, in place of a detector. None: faces are detected."""
    max_faces: int | None = None
    """Maximum per image."""
    interpupillary_m: float | EyeDistances | None = None
    """A known distance between the pupils, which sets the size of faces, or those of people."""
    smooth: bool = True
    """Whether poses are smoothed over the frames of a video."""
    size: SizeSource = "person"
    """Whether faces of a video have the size of their person or of their frame alone."""
    two_pass: bool = False
    """Read each video twice, so that its people have the size of the whole video from the start."""
    same_person: bool = False
    """The largest faces of all photos are of one person, and get one size."""
    axes: FrameConvention = "opencv"
    """The program in whose axes the records' poses and 3D landmarks are written."""
    batch_size: int = 32
    """Photos that are processed together."""

    def __post_init__(self) -> None:
        if isinstance(self.interpupillary_m, float | int):
            checked_interpupillary_m("eye distance", 1000.0 * self.interpupillary_m)

    def settings(self) -> dict[str, Any]:
        """Return all that changes results, as plain values for the list of finished inputs."""
        return {
            "camera": _plain_camera(self.camera),
            "boxes_sha256": None if self.boxes is None else _boxes_sha256(self.boxes),
            "max_faces": self.max_faces,
            "interpupillary_m": (
                self.interpupillary_m.sha256()
                if isinstance(self.interpupillary_m, EyeDistances)
                else self.interpupillary_m
            ),
            "smooth": self.smooth,
            "size": self.size,
            "two_pass": self.two_pass,
            "same_person": self.same_person,
            "axes": self.axes,
        }

    def check(self, inputs: Sequence[MediaInput]) -> None:
        """Raise ValueError if the options do not apply to the inputs."""
        if self.boxes is not None and any(isinstance(item, VideoInput) for item in inputs):
            raise ValueError("boxes: are for photos; expected no video among the inputs")
        if isinstance(self.interpupillary_m, EyeDistances):
            self.interpupillary_m.check([item.name for item in inputs])
        if self.two_pass and self.size == "frame":
            raise ValueError("two passes: find the size of each person; expected size person")
        if self.same_person and isinstance(self.interpupillary_m, EyeDistances):
            raise ValueError(
                "same person: has one distance between the pupils; expected millimetres, got those "
                "of several people"
            )
        if self.two_pass:
            _check_twice("two passes", "a video", [i for i in inputs if isinstance(i, VideoInput)])
        if self.same_person:
            _check_twice("same person", "a photo", [i for i in inputs if isinstance(i, PhotoInput)])

    def camera_of(self, name: str, width: int, height: int, exif: Camera | None = None) -> Camera:
        """Return the camera of an input; errors name the input."""
        try:
            return resolve_camera(width, height, self.camera, exif)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    def interpupillary_of(self, name: str, number: int) -> float | None:
        """Return the known distance between the pupils of a face of an input."""
        known = self.interpupillary_m
        return known.of_face(name, number) if isinstance(known, EyeDistances) else known

    def scaled(self, name: str, faces: Sequence[Face]) -> list[Face]:
        """Return the faces of a photo by the known distance between the pupils.

        Those in the size of their person stay as they are.
        """
        scaled = []
        for place, face in enumerate(faces):
            known_m = self.interpupillary_of(name, place)
            if known_m is not None and face.person_size is None:
                face = face.with_interpupillary(known_m)
            scaled.append(face)
        return scaled


def _check_twice(option: str, kind: str, inputs: Sequence[MediaInput]) -> None:
    """Raise ValueError unless there are inputs, and all can be read twice."""
    if not inputs:
        raise ValueError(f"{option}: expected {kind} among the inputs, got none")
    for item in inputs:
        if item.path is None:
            raise ValueError(
                f"{option}: expected files, which can be read twice, got {item.name!r}; webcams, "
                "streams and pipes can be read only once"
            )


def _plain_camera(camera: CameraLike | None) -> Any:
    if isinstance(camera, Camera):
        return camera.to_dict()
    if isinstance(camera, FieldOfView | SizelessCalibration):
        return asdict(camera)
    return None if camera is None else np.asarray(camera, np.float64).tolist()


def _boxes_sha256(boxes: PhotoBoxes) -> str:
    digest = hashlib.sha256()
    for name in sorted(boxes):
        digest.update(f"{escape_name(name)}\0{boxes[name].tolist()}\0".encode())
    return digest.hexdigest()
