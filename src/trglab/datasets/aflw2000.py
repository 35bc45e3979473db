"""Reads AFLW2000-3D (Zhu et al. 2016), a test set for rotation and 68 landmarks.

Layout: ``imageNNNNN.jpg`` (450x450) with ``imageNNNNN.mat``: ``Pose_Para`` (pitch, yaw, roll in
radians, translation in px, scale) and ``pt3d_68`` (3, 68), whose first two rows are pixels as
MATLAB counts them, from 1. Cameras and metric shape are unknown. Needs SciPy for the .mat files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trg.geometry.crop import face_box
from trglab.datasets.completion import require_whole
from trglab.datasets.files import read_picture
from trglab.datasets.matlab import matlab_files, read_matlab
from trglab.datasets.sample import Sample
from trglab.datasets.w300lp import nominal_camera, picture_paths, read_pose, rotation_from_pose

_DATASET = "AFLW2000-3D"

MAX_ANGLE_DEG = 99.0
"""Pictures beyond this in any angle are left out, as everywhere; 1,969 of 2,000 remain."""

FIRST_PIXEL = -0.5
"""Where the centre of the label files' pixel 0 lies in this package's pixels: MATLAB's first
pixel is number 1."""


class AFLW2000:
    """The pictures with the head's rotation and 68 landmarks.

    Damaged or missing label files do not keep the folder from being opened: their pictures are
    on the list, and reading one says what is wrong.

    Parameters
    ----------
    folder
        The folder with the pictures.
    max_angle_deg
        Leave out pictures whose pitch, yaw or roll is larger; None: keep all.

    Raises
    ------
    FileNotFoundError
        The folder or all pictures are missing.
    ValueError
        The folder is only half written.
    ImportError
        SciPy is not installed.
    """

    def __init__(self, folder: str | Path, max_angle_deg: float | None = MAX_ANGLE_DEG) -> None:
        self._folder = require_whole(folder)
        matlab_files()  # say now that it is missing, not at the first picture
        pictures = picture_paths(self._folder)
        if not pictures:
            raise FileNotFoundError(
                f"{self._folder}: expected AFLW2000-3D's imageNNNNN.jpg and .mat, found none"
            )
        limit = np.inf if max_angle_deg is None else max_angle_deg
        self._pictures = [path for path in pictures if _largest_angle_deg(path) <= limit]
        self.left_out = len(pictures) - len(self._pictures)
        """How many pictures are turned too far."""

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Sample:
        """Read one picture."""
        path = self._pictures[index]
        image = read_picture(path, _DATASET)
        height, width = image.shape[:2]
        labels = path.with_suffix(".mat")
        landmarks_px = read_matlab(labels, "pt3d_68", (3, 68), _DATASET)[:2].T + FIRST_PIXEL
        return Sample(
            image=image,
            camera=nominal_camera(width, height),
            box_xyxy=face_box(landmarks_px),
            rotation=rotation_from_pose(read_pose(labels, _DATASET)),
            translation_m=None,
            vertices_m=None,
            landmarks68_px=landmarks_px,
            landmarks68_visible=None,
            identity=path.stem,
            name=f"aflw2000/{path.stem}",
        )


def _largest_angle_deg(picture: Path) -> float:
    """Return the largest angle by its size; 0 where the labels cannot be read."""
    try:
        pose = read_pose(picture.with_suffix(".mat"), _DATASET)
    except (OSError, ValueError):
        return 0.0  # stays on the list: reading it will say what is wrong
    return float(np.degrees(np.abs(pose)).max())
