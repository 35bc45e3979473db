"""Reads AFLW2000-3D (Zhu et al. 2016), a test set for rotation and 68 landmarks.

Layout: ``imageNNNNN.jpg`` (450x450) with ``imageNNNNN.mat``: ``Pose_Para`` (pitch, yaw, roll in
radians, translation in px, scale) and ``pt3d_68`` (3, 68), whose first two rows are pixels as
MATLAB counts them, from 1. Cameras and metric shape are unknown. Needs SciPy for the .mat files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trg.geometry.crop import face_box
from trglab.datasets.completion import require_complete
from trglab.datasets.files import read_image
from trglab.datasets.matlab import matlab_files, read_matlab
from trglab.datasets.sample import Sample
from trglab.datasets.w300lp import image_paths, nominal_camera, read_pose, rotation_from_pose

_DATASET = "AFLW2000-3D"

MAX_ANGLE_DEG = 99.0
"""Images with a larger angle are left out, as is usual; 1,969 of 2,000 remain."""

FIRST_PIXEL = -0.5
"""Offset from the label files' pixels to this package's: MATLAB's first pixel centre is 1."""


class AFLW2000:
    """The images with head rotation and 68 landmarks.

    Damaged or missing label files do not prevent opening the folder; reading their images raises.

    Parameters
    ----------
    folder
        The folder with the images.
    max_angle_deg
        Leave out images with a larger pitch, yaw or roll; None: keep all.

    Raises
    ------
    FileNotFoundError
        The folder or all images are missing.
    ValueError
        The folder is only half written.
    ImportError
        SciPy is not installed.
    """

    def __init__(self, folder: str | Path, max_angle_deg: float | None = MAX_ANGLE_DEG) -> None:
        self._folder = require_complete(folder)
        matlab_files()  # fail now rather than at the first image
        paths = image_paths(self._folder)
        if not paths:
            raise FileNotFoundError(
                f"{self._folder}: expected AFLW2000-3D's imageNNNNN.jpg and .mat, found none"
            )
        limit = np.inf if max_angle_deg is None else max_angle_deg
        self._image_paths = [path for path in paths if _largest_angle_deg(path) <= limit]
        self.left_out = len(paths) - len(self._image_paths)
        """Number of images beyond ``max_angle_deg``."""

    def __len__(self) -> int:
        return len(self._image_paths)

    def __getitem__(self, index: int) -> Sample:
        """Read an image."""
        path = self._image_paths[index]
        image = read_image(path, _DATASET)
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


def _largest_angle_deg(image: Path) -> float:
    """Return the largest absolute angle; 0 if the labels cannot be read."""
    try:
        pose = read_pose(image.with_suffix(".mat"), _DATASET)
    except (OSError, ValueError):
        return 0.0  # keep the image: reading it reports the error
    return float(np.degrees(np.abs(pose)).max())
