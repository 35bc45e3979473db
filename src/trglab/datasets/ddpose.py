"""Reads DD-Pose (Roth and Gavrila 2019), drivers' heads; available to researchers on request.

Layout, as the data set's development kit documents it::

    subject-NN/scenario-NN/HASH/stamps.txt                 one number per frame
                                t-camdriver-head.json      4x4 pose by number; not of the test set
                                occlusion-labels.json      none, partial, full, or these with -auto
                                small-resolution/driver-left-img/NUMBER.png    16 bits, grey
                                                                 NUMBER.json   K, D, width, height
                                full-resolution/...        likewise

The camera is OpenCV's. The head has x out of the face, y to the person's left, z up. The kit
projects with the matrix P of rectified images; whether the images are rectified is not documented,
so that K and D are used, which agree with P where D is zero and P is K. There are no face boxes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array
from trg.geometry.axes import HEAD_AXES
from trg.geometry.camera import Camera
from trg.geometry.rotations import checked_rotation
from trg.io.images import open_image
from trglab.datasets.files import (
    DAMAGED_IMAGE,
    UnreadableFileError,
    existing_file,
    read_json,
    read_text,
)
from trglab.datasets.sample import Sample

_DATASET = "DD-Pose"

Resolution = Literal["small", "full"]

BOX_SIDE_M = 0.24
"""Side of the square around the head's origin that serves as face box: about 1.5 times the extent
of a face's landmarks."""


class DDPose:
    """The frames with a pose, in the order of subject, scenario, recording and time.

    Parameters
    ----------
    folder
        The folder that holds ``subject-NN``.
    resolution
        ``small`` or ``full`` images.

    Raises
    ------
    FileNotFoundError
        The folder or a file is missing, or no recording has poses.
    ValueError
        A file is damaged.
    """

    def __init__(self, folder: str | Path, resolution: Resolution = "small") -> None:
        self._folder = Path(folder)
        if resolution not in ("small", "full"):
            raise ValueError(f"resolution: expected 'small' or 'full', got {resolution!r}")
        self._images = Path(f"{resolution}-resolution", "driver-left-img")
        self._frames: list[tuple[str, str]] = []
        self._poses: dict[str, dict[str, Any]] = {}
        self._occlusion: dict[str, dict[str, Any]] = {}
        for path in sorted(self._folder.glob("subject-*/scenario-*/*/t-camdriver-head.json")):
            recording = path.parent.relative_to(self._folder).as_posix()
            poses = read_json(path)
            stamps = _read_stamps(path.parent / "stamps.txt")
            self._poses[recording] = poses
            self._occlusion[recording] = read_json(
                existing_file(path.parent / "occlusion-labels.json", _DATASET)
            )
            self._frames += [(recording, stamp) for stamp in stamps if poses.get(stamp)]
        if not self._frames:
            raise FileNotFoundError(
                f"{self._folder}: expected DD-Pose's subject-NN/scenario-NN/HASH with poses, found "
                "none; those of the test set are not published"
            )

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        """Read one frame."""
        recording, stamp = self._frames[index]
        stem = self._folder / recording / self._images / stamp
        image = _read_grey(stem.with_suffix(".png"))
        camera = _read_camera(stem.with_suffix(".json"))
        pose = finite_array(f"{recording} {stamp}: pose", self._poses[recording][stamp], (4, 4))
        rotation = checked_rotation(f"{recording} {stamp}: rotation", pose[:3, :3], (3, 3))
        translation_m = pose[:3, 3]
        return Sample(
            image=image,
            camera=camera,
            box_xyxy=_box(camera, translation_m),
            rotation=rotation @ HEAD_AXES["ros"],
            translation_m=translation_m,
            vertices_m=None,
            landmarks68_px=None,
            landmarks68_visible=None,
            identity=recording.partition("/")[0].removeprefix("subject-"),
            name=f"ddpose/{recording}/{stamp}",
        )

    def occlusion(self, index: int) -> str:
        """Return ``none``, ``partial`` or ``full`` of a frame; empty if it is not labelled."""
        recording, stamp = self._frames[index]
        state = self._occlusion[recording].get(stamp)
        return str(state or "").removesuffix("-auto")


def _read_stamps(path: Path) -> list[str]:
    """Return the numbers of the frames, sorted."""
    text = read_text(path, _DATASET)
    try:
        return sorted(text.split(), key=int)
    except ValueError as error:
        raise UnreadableFileError(f"{path}: expected whole numbers, {error}") from error


def _read_grey(path: Path) -> NDArray[np.uint8]:
    """Read a 16-bit image as ``(h, w, 3)`` uint8: its upper eight bits."""
    try:
        with open_image(existing_file(path, _DATASET)) as image:
            pixels = np.asarray(image)
    except FileNotFoundError:
        raise
    except DAMAGED_IMAGE as error:
        raise UnreadableFileError(
            f"{path}: this image of {_DATASET} is damaged ({error})"
        ) from error
    if pixels.ndim != 2:
        raise UnreadableFileError(f"{path}: expected a grey image, got shape {pixels.shape}")
    if pixels.dtype != np.uint8:
        pixels = (pixels.astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=-1)


def _read_camera(path: Path) -> Camera:
    values = read_json(existing_file(path, _DATASET))
    if missing := {"K", "D", "width", "height"} - set(values):
        raise UnreadableFileError(f"{path}: expected a camera, {sorted(missing)} missing")
    K = finite_array(f"{path}: K", np.ravel(values["K"]), (9,)).reshape(3, 3)
    distortion = finite_array(f"{path}: D", np.ravel(values["D"]), (None,))
    return Camera.from_matrix(
        K,
        width=int(values["width"]),
        height=int(values["height"]),
        distortion=distortion,
        pixel_centre=0.0,  # OpenCV's, as in ROS
    )


def _box(camera: Camera, translation_m: NDArray[np.float64]) -> NDArray[np.float64]:
    centre = camera.project(translation_m)
    half = 0.5 * BOX_SIDE_M * max(camera.fx, camera.fy) / max(float(translation_m[2]), 0.05)
    return np.concatenate([centre - half, centre + half])
