"""Reads 300W-LP (Zhu et al. 2016): 2D landmarks on images without a camera or metric shape.

Layout: ``{AFW,HELEN,IBUG,LFPW}[_Flip]/NAME.jpg`` with ``NAME.mat`` (``Pose_Para``: pitch, yaw,
roll, translation in px, scale) and ``landmarks/SET/NAME_pts.mat`` (``pts_2d``, ``pts_3d``). The
landmark files count pixel centres from 0. Where a mirrored set has no labels of its own, those of
the original image are mirrored. Needs SciPy for the .mat files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trg.geometry.angles import ANGLE_CONVENTIONS
from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.geometry.face_mesh import LANDMARKS68_MIRROR
from trglab.datasets.completion import require_complete
from trglab.datasets.files import read_image
from trglab.datasets.matlab import matlab_files, read_matlab
from trglab.datasets.sample import Sample

Outline = Literal["3d", "2d"]
"""Landmarks of the jaw on the true outline of the head, or on the visible outline."""

_DATASET = "300W-LP"
_ANGLES = ANGLE_CONVENTIONS["300wlp"]
_FLIP = "_Flip"

SETS = ("AFW", "HELEN", "IBUG", "LFPW")

NOMINAL_FOCAL_PX = 5000.0
"""Nearly orthographic, as the model that was fitted to the images."""

FIRST_PIXEL = 0.5
"""Offset from the landmark files' pixels to this package's."""


class W300LP:
    """The images of all sets in a folder, with 68 landmarks and, on request, rotations.

    An image is listed if it or its ``.mat`` exists; reading it names a missing file.

    Parameters
    ----------
    folder
        The folder that holds the sets and ``landmarks``.
    rotations
        Also return ``rotation``, of a fitted model whose head frame differs slightly from other
        data sets'.
    outline
        ``3d``: ``pts_3d``, the projected points of the fitted head, as in the paper's training.
        ``2d``: ``pts_2d``, whose jaw line follows the visible outline.

    Raises
    ------
    FileNotFoundError
        The folder, all sets or a file are missing.
    ValueError
        A file is damaged, or the folder is only half written.
    ImportError
        SciPy is not installed.
    """

    def __init__(
        self, folder: str | Path, rotations: bool = False, outline: Outline = "3d"
    ) -> None:
        self._folder = require_complete(folder)
        if outline not in ("3d", "2d"):
            raise ValueError(f"outline: expected '3d' or '2d', got {outline!r}")
        self._variable = f"pts_{outline}"
        self._rotations = rotations
        matlab_files()  # fail now rather than at the first image
        groups = [group for base in SETS for group in (base, base + _FLIP)]
        self._image_paths = [path for group in groups for path in image_paths(self._folder / group)]
        if not self._image_paths:
            raise FileNotFoundError(
                f"{self._folder}: expected images in one of {', '.join(groups)}, found none"
            )

    def __len__(self) -> int:
        return len(self._image_paths)

    def __getitem__(self, index: int) -> Sample:
        """Read an image."""
        path = self._image_paths[index]
        image = read_image(path, _DATASET)
        height, width = image.shape[:2]
        landmarks_px = self._landmarks(path, width)
        return Sample(
            image=image,
            camera=nominal_camera(width, height),
            box_xyxy=face_box(landmarks_px),
            rotation=rotation_from_pose(self._pose(path)) if self._rotations else None,
            translation_m=None,
            vertices_m=None,
            landmarks68_px=landmarks_px,
            landmarks68_visible=None,
            # NAME_0, NAME_1, ... are rotated versions of one photograph.
            identity=re.sub(r"_\d+$", "", path.stem),
            name=f"300wlp/{path.parent.name}/{path.stem}",
        )

    def _landmarks(self, image_path: Path, width: int) -> NDArray[np.float64]:
        group = image_path.parent.name
        path = landmarks_path(self._folder, group, image_path.stem)
        is_borrowed = group.endswith(_FLIP) and not path.exists()
        if is_borrowed:
            path = landmarks_path(self._folder, group.removesuffix(_FLIP), image_path.stem)
        points = read_matlab(path, self._variable, (68, 2), _DATASET) + FIRST_PIXEL
        if is_borrowed:
            points = (points * (-1.0, 1.0) + (width, 0.0))[LANDMARKS68_MIRROR]
        return points

    def _pose(self, image_path: Path) -> NDArray[np.float64]:
        """Return pitch, yaw, roll ``(3,)`` in radians, in the file's signs."""
        path, group = image_path.with_suffix(".mat"), image_path.parent.name
        is_borrowed = group.endswith(_FLIP) and not path.exists()
        if is_borrowed:
            path = self._folder / group.removesuffix(_FLIP) / path.name
        pose = read_pose(path, _DATASET)
        return pose * (1.0, -1.0, -1.0) if is_borrowed else pose


def image_paths(folder: Path) -> list[Path]:
    """Return ``NAME.jpg`` for every ``NAME.jpg`` or ``NAME.mat`` of a folder, in order."""
    files = {
        path.with_suffix(".jpg") for kind in ("jpg", "mat") for path in folder.glob(f"*.{kind}")
    }
    return sorted(files)


def read_pose(path: Path, dataset: str) -> NDArray[np.float64]:
    """Read ``Pose_Para``'s angles pitch, yaw, roll ``(3,)``; radians, in the file's signs.

    Raises
    ------
    FileNotFoundError, ValueError
        The file is missing or damaged, or has no such variable.
    """
    return read_matlab(path, "Pose_Para", (1, 7), dataset)[0, :3]


def landmarks_path(folder: Path, group: str, name: str) -> Path:
    """Return the path of an image's landmarks."""
    return folder / "landmarks" / group / f"{name}_pts.mat"


def nominal_camera(width: int, height: int) -> Camera:
    """Return the camera that replaces the unknown one."""
    f = NOMINAL_FOCAL_PX
    return Camera(f, f, width / 2.0, height / 2.0, width, height, source="assumed")


def rotation_from_pose(pitch_yaw_roll_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert ``Pose_Para``'s angles ``(3,)`` to ``cam_from_head (3, 3)``."""
    return _ANGLES.to_rotation(np.degrees(pitch_yaw_roll_rad))


def pose_from_rotation(rotation: NDArray[np.floating]) -> NDArray[np.float64]:
    """Invert :func:`rotation_from_pose`: return pitch, yaw, roll ``(3,)`` in radians."""
    return np.radians(_ANGLES.from_rotation(np.asarray(rotation, dtype=np.float64)))
