"""MediaPipe's face landmarks and head poses in terms of this package's.

Which of the 1220 landmarks lies nearest to each of MediaPipe's 468 points is measured on rendered
faces by ``scripts/compute_mediapipe_points.py``, from the points that its FaceMesh finds.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array
from trg.geometry.axes import CAMERA_AXES, pose_to_frame
from trg.geometry.face_mesh import FaceTopology
from trg.geometry.rotations import checked_rotation
from trg.geometry.shape_basis import bundled_shape_basis

MEDIAPIPE_COUNT = 468
"""Points of FaceMesh, and the first of the 478 of Face Landmarker, whose last ten are irises."""

BUNDLED_MAP = Path(__file__).parents[1] / "bundles" / "mediapipe_points.csv"
COLUMNS = ("mediapipe", "vertex", "median_mm")

DOUBTFUL_MM = 5.0
"""Points whose landmark is farther away have no good counterpart."""

MEDIAPIPE_OF_68 = np.array(
    [127, 234, 93, 215, 172, 150, 149, 148, 152, 377, 378, 379, 397, 435, 323, 454, 356]
    + [70, 63, 105, 66, 107, 336, 296, 334, 293, 300]
    + [168, 197, 195, 4, 240, 97, 2, 326, 460]
    + [33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380]
    + [61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91]
    + [78, 81, 13, 311, 308, 402, 14, 178]
)
"""``(68,)``: MediaPipe's points that stand for the standard landmarks: those nearest to the labels
of rendered faces with all angles below 30 degrees, and its own corners of eyes and mouth."""

MEDIAPIPE_ORIGIN_M = (0.0, -0.008, -0.056)
"""The origin of MediaPipe's canonical face in the head frame, metres.

From the similarity that brings 22 points of its canonical face, those off the middle plane with
their mirror images, onto the landmarks of the mean face that correspond to them. Other choices of
points differ by 3 mm, and by 2 degrees in pitch, in which the axes agree.
"""

MEDIAPIPE_VERTICAL_FOV_DEG = 63.0
"""The vertical field of view that MediaPipe assumes of every camera."""

_METRES_PER_UNIT = 0.01
_TO_OPENGL = CAMERA_AXES["opengl"]


class MediaPipePoints(NamedTuple):
    """For each of MediaPipe's 468 points, the nearest of the 1220; arrays are read-only."""

    vertices: NDArray[np.int32]
    """``(468,)``: indices into ``Face.landmarks_m`` and ``Face.landmarks_px``."""
    median_mm: NDArray[np.float64]
    """``(468,)``: median distance in the image between the point that FaceMesh finds and the true
    place of ours, in millimetres at the depth of the face. Includes FaceMesh's own error."""

    @property
    def is_doubtful(self) -> NDArray[np.bool_]:
        """``(468,)``: whether the point has no good counterpart here."""
        return self.median_mm > DOUBTFUL_MM


@lru_cache(maxsize=1)
def _bundled_map() -> MediaPipePoints:
    with BUNDLED_MAP.open(encoding="ascii", newline="") as lines:
        rows = [[float(row[name]) for name in COLUMNS] for row in csv.DictReader(lines)]
    _, vertices, median_mm = np.array(rows).T
    points = MediaPipePoints(vertices.astype(np.int32), median_mm.copy())
    for array in points:
        array.setflags(write=False)
    return points


def mediapipe_points(topology: FaceTopology) -> MediaPipePoints:
    """Return which of a face's landmarks is nearest to each of MediaPipe's 468 points.

    ``face.landmarks_px[mediapipe_points(face.topology).vertices]`` are ``(468, 2)`` pixels in
    MediaPipe's order.

    Parameters
    ----------
    topology
        ``Face.topology``: the landmark mesh must be that of the bundled models.

    Raises
    ------
    ValueError
        It is another mesh.
    """
    bundled_shape_basis().require_mesh(topology)
    return _bundled_map()


def pose_to_mediapipe(cam_from_head: ArrayLike) -> NDArray[np.float64]:
    """Return a pose as an entry of MediaPipe's ``facial_transformation_matrixes``, ``(4, 4)``.

    Centimetres, OpenGL's axes (camera and face: x to the image's right, y up, z out of the face of
    a person who looks into the camera), acting on columns, with the origin of its canonical face.

    Parameters
    ----------
    cam_from_head
        ``(4, 4)``, metres, as ``Face.matrix``.

    Raises
    ------
    ValueError
        The matrix is not a pose.
    """
    pose = finite_array("cam_from_head", cam_from_head, (4, 4)).copy()
    pose[:3, 3] += pose[:3, :3] @ MEDIAPIPE_ORIGIN_M
    matrix = pose_to_frame(pose, "opengl")
    matrix[:3, 3] /= _METRES_PER_UNIT
    return matrix


def pose_from_mediapipe(matrix: ArrayLike) -> NDArray[np.float64]:
    """Return one of MediaPipe's ``facial_transformation_matrixes`` as ``cam_from_head (4, 4)``.

    Inverts :func:`pose_to_mediapipe`; a uniform scale is removed. The distance is the one that
    follows from MediaPipe's field of view, :data:`MEDIAPIPE_VERTICAL_FOV_DEG`.

    Raises ValueError if the matrix is not a pose with a uniform scale.
    """
    values = finite_array("facial transformation matrix", matrix, (4, 4))
    scale = float(np.cbrt(np.linalg.det(values[:3, :3])))
    if not scale > 0.0 or not np.allclose(values[3], (0.0, 0.0, 0.0, 1.0), atol=1e-6):
        raise ValueError(
            "facial transformation matrix: expected a rotation with a scale and a last row of "
            f"(0, 0, 0, 1), got the determinant {scale**3:.3g} and the row {values[3].tolist()}"
        )
    rotation = checked_rotation("facial transformation matrix", values[:3, :3] / scale)
    pose = np.eye(4)
    pose[:3, :3] = _TO_OPENGL @ rotation @ _TO_OPENGL
    pose[:3, 3] = _TO_OPENGL @ values[:3, 3] * _METRES_PER_UNIT - pose[:3, :3] @ MEDIAPIPE_ORIGIN_M
    return pose
