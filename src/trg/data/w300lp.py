"""Reads 300W-LP (Zhu et al. 2016): 2D landmarks on pictures without a camera or metric shape.

Layout: ``{AFW,HELEN,IBUG,LFPW}[_Flip]/NAME.jpg`` with ``NAME.mat`` (``Pose_Para``: pitch, yaw,
roll, translation in px, scale) and ``landmarks/SET/NAME_pts.mat`` (``pts_2d``, ``pts_3d``). The
landmark files count pixel centres from 0. Needs SciPy for the .mat files.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trg._check import finite_array
from trg.camera import Camera
from trg.crop import face_box
from trg.data.files import existing_file, read_picture
from trg.data.sample import Sample
from trg.data.written import require_whole
from trg.topology import LANDMARKS68_MIRROR

_DATASET = "300W-LP"

SETS = ("AFW", "HELEN", "IBUG", "LFPW")

NOMINAL_FOCAL_PX = 5000.0
"""So long a lens that perspective vanishes, as the pictures' fitted model had none."""

FIRST_PIXEL = 0.5
"""Where the centre of the landmark files' pixel 0 lies in this package's pixels."""


class W300LP:
    """All pictures of the sets that are there, with 68 landmarks and, if asked for, rotations.

    Parameters
    ----------
    folder
        The folder that holds the sets and ``landmarks``.
    rotations
        Also give ``rotation``. It comes from a fitted model whose head frame is not exactly
        other data sets', and is None otherwise.

    Raises
    ------
    FileNotFoundError
        The folder, all sets or a file are missing.
    ValueError
        A file is damaged, or the folder is only half written.
    ImportError
        SciPy is not installed.
    """

    def __init__(self, folder: str | Path, rotations: bool = False) -> None:
        self._folder = require_whole(folder)
        self._rotations = rotations
        matlab_files()  # say now that it is missing, not at the first picture
        names = [name for base in SETS for name in (base, f"{base}_Flip")]
        self._pictures = [
            path for name in names for path in sorted((self._folder / name).glob("*.jpg"))
        ]
        if not self._pictures:
            raise FileNotFoundError(
                f"{self._folder}: expected pictures in one of {', '.join(names)}, found none"
            )

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Sample:
        """Read one picture with the landmarks that follow the head's true (3D) outline."""
        path = self._pictures[index]
        image = read_picture(path, _DATASET)
        height, width = image.shape[:2]
        landmarks_px = self._landmarks(path, width)
        rotation = None
        if self._rotations:
            pose = self._load(path.with_suffix(".mat"), "Pose_Para").ravel()
            rotation = rotation_from_pose(finite_array(f"{path}: Pose_Para", pose[:3], (3,)))
        group = path.parent.name
        return Sample(
            image=image,
            camera=nominal_camera(width, height),
            box_xyxy=face_box(landmarks_px),
            rotation=rotation,
            translation_m=None,
            vertices_m=None,
            landmarks68_px=landmarks_px,
            landmarks68_visible=None,
            # NAME_0, NAME_1, ... are one photograph turned; its mirror image is the same person.
            identity=re.sub(r"_\d+$", "", path.stem),
            name=f"300wlp/{group}/{path.stem}",
        )

    def _landmarks(self, picture: Path, width: int) -> NDArray[np.float64]:
        group = picture.parent.name
        path = landmarks_path(self._folder, group, picture.stem)
        is_mirrored = False
        if group.endswith("_Flip") and not path.exists():
            path = landmarks_path(self._folder, group.removesuffix("_Flip"), picture.stem)
            is_mirrored = True
        points = finite_array(f"{path}: pts_3d", self._load(path, "pts_3d"), (68, 2)) + FIRST_PIXEL
        if is_mirrored:
            points = (points * (-1.0, 1.0) + (width, 0.0))[LANDMARKS68_MIRROR]
        return points

    def _load(self, path: Path, key: str) -> NDArray[Any]:
        existing_file(path, _DATASET)
        try:
            content = matlab_files().loadmat(str(path))
        except (ValueError, TypeError, LookupError, NotImplementedError, OSError) as error:
            raise ValueError(f"{path}: expected a MATLAB 5 file, could not read it") from error
        if key not in content:
            raise ValueError(f"{path}: expected the variable {key}, got {sorted(content)}")
        return finite_array(f"{path}: {key}", content[key], (None, None))


def landmarks_path(folder: Path, group: str, name: str) -> Path:
    """Return where a picture's landmarks lie."""
    return folder / "landmarks" / group / f"{name}_pts.mat"


def nominal_camera(width: int, height: int) -> Camera:
    """Return the camera that stands in for the unknown one."""
    f = NOMINAL_FOCAL_PX
    return Camera(f, f, width / 2.0, height / 2.0, width, height, source="assumed")


def rotation_from_pose(pitch_yaw_roll_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn ``Pose_Para``'s angles ``(3,)`` into ``cam_from_head (3, 3)``.

    The transpose of a turn by pitch, -yaw, -roll about the fixed axes x, y, z in that order.
    """
    pitch, yaw, roll = pitch_yaw_roll_rad
    return (_turn(2, -roll) @ _turn(1, -yaw) @ _turn(0, pitch)).T


def pose_from_rotation(rotation: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the angles that :func:`rotation_from_pose` turns into ``rotation``."""
    # Rz(-roll) Ry(-yaw) Rx(pitch) = R^T, read off its last row and first column.
    turned = np.asarray(rotation, dtype=np.float64).T
    pitch = np.arctan2(turned[2, 1], turned[2, 2])
    yaw = np.arctan2(turned[2, 0], np.hypot(turned[0, 0], turned[1, 0]))
    roll = -np.arctan2(turned[1, 0], turned[0, 0])
    return np.array([pitch, yaw, roll])


def matlab_files() -> Any:
    """Return SciPy's reader and writer of MATLAB files, or say how to install it."""
    try:
        return importlib.import_module("scipy.io")
    except ImportError as error:
        raise ImportError(
            "300W-LP keeps its labels in MATLAB files, which need SciPy: pip install scipy"
        ) from error


def _turn(axis: int, angle_rad: float) -> NDArray[np.float64]:
    """Turn about one fixed axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = np.cos(angle_rad)
    matrix[j, i] = np.sin(angle_rad)
    matrix[i, j] = -matrix[j, i]
    return matrix
