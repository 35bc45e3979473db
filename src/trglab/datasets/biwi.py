"""Reads the BIWI Kinect Head Pose Database (Fanelli et al. 2013), a test set.

Layout (``hpdb`` may be left out)::

    hpdb/NN/frame_XXXXX_rgb.png
    hpdb/NN/frame_XXXXX_pose.txt   3x3 rotation, translation in mm: head in the DEPTH camera
    hpdb/NN/rgb.cal, depth.cal     3x3 intrinsics, 4 distortion numbers, 3x3 R, T in mm, size
    hpdb/NN.obj                    the subject's neutral mesh in the head frame, mm

The extrinsics in ``rgb.cal`` lead from the depth camera to the colour camera. The calibration is
OpenCV's, which counts pixel centres from 0. Both cameras and the head have x right, y down, z
forward, so no axis is turned.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg._util.checks import finite_array
from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.geometry.projection import transform
from trglab.datasets.completion import require_complete
from trglab.datasets.files import read_image, read_text
from trglab.datasets.sample import Sample

_DATASET = "BIWI"

PIXEL_CENTRE = 0.0
"""Coordinate of the centre of the first pixel in the calibration files."""

MESH_BOX_MARGIN = 1.0
"""The meshes extend from the top of the head to the chin, about 1.5 times the rectangle of the 68
landmarks, so that the box needs no margin."""


MESH_VERTEX_COUNT = 6918
LANDMARK_VERTICES = {45: 429, 42: 265, 36: 4574, 39: 4713, 30: 2812, 54: 2532, 48: 6672}
"""Vertex of the subjects' meshes, from 0, by number of the 68 landmarks (the paper of TRGv2)."""


class Calibration(NamedTuple):
    """One .cal file: the camera, and R ``(3, 3)`` and T ``(3,)`` in m from the depth camera."""

    camera: Camera
    rotation: NDArray[np.float64]
    translation_m: NDArray[np.float64]


class NeutralMesh(NamedTuple):
    """A subject's neutral head: vertices ``(n, 3)`` in m, head frame; triangles ``(m, 3)``."""

    vertices_m: NDArray[np.float64]
    triangles: NDArray[np.int64]


class BIWI:
    """The colour images with the head's pose in the colour camera.

    The data set has neither landmarks nor the 1220 vertices: ``landmarks68_px`` and
    ``vertices_m`` are None. :meth:`mesh` gives a subject's own mesh, which ADD is measured with.

    Parameters
    ----------
    folder
        The folder that holds ``hpdb``, or that folder itself.
    boxes
        Face boxes ``(4,)`` in px by frame, ``"NN/frame_XXXXX"``. Frames without a box are left
        out, as the paper's protocol does where no face was detected. Without it every frame is
        used, with a box from the projected mesh. As in the protocol, boxes that extend beyond the
        image are shifted back inside.

    Raises
    ------
    FileNotFoundError
        The folder, all sequences or a file are missing.
    ValueError
        A file is damaged, or the folder is only half written.
    """

    def __init__(self, folder: str | Path, boxes: Mapping[str, ArrayLike] | None = None) -> None:
        root = require_complete(folder)
        self._folder = root / "hpdb" if (root / "hpdb").is_dir() else root
        frames = sorted(
            f"{path.parent.name}/{path.name.removesuffix(suffix)}"
            for suffix in ("_pose.txt", "_rgb.png")
            for path in self._folder.glob(f"[0-9]*/frame_*{suffix}")
        )
        frames = list(dict.fromkeys(frames))  # list a frame if one of its files exists
        if not frames:
            raise FileNotFoundError(
                f"{self._folder}: expected BIWI's NN/frame_XXXXX_pose.txt, found none"
            )
        self._boxes = boxes
        self._frames = frames if boxes is None else [name for name in frames if name in boxes]
        self._calibrations: dict[str, Calibration] = {}
        self._meshes: dict[str, NeutralMesh] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        """Read one frame; the pose is transformed from the depth to the colour camera."""
        frame = self._frames[index]
        sequence = frame.partition("/")[0]
        image = self.image(frame)
        numbers = _numbers(self._folder / f"{frame}_pose.txt", 12)
        colour = self._calibration(sequence)
        rotation = colour.rotation @ numbers[:9].reshape(3, 3)
        translation_m = colour.rotation @ (numbers[9:] / 1000.0) + colour.translation_m
        box = self._box(frame, sequence, colour.camera, rotation, translation_m)
        return Sample(
            image=image,
            camera=colour.camera,
            box_xyxy=shift_inside(box, *image.shape[1::-1]),
            rotation=rotation,
            translation_m=translation_m,
            vertices_m=None,
            landmarks68_px=None,
            landmarks68_visible=None,
            identity=sequence,
            name=f"biwi/{frame}",
        )

    @property
    def frames(self) -> tuple[str, ...]:
        """The frames in order, ``"NN/frame_XXXXX"``."""
        return tuple(self._frames)

    def image(self, frame: str) -> NDArray[np.uint8]:
        """Read a frame's image ``(480, 640, 3)``."""
        return read_image(self._folder / f"{frame}_rgb.png", _DATASET)

    def mesh(self, sequence: str) -> NeutralMesh:
        """Return the neutral mesh of a sequence, such as ``"01"``; its identity in samples."""
        if sequence not in self._meshes:
            path = self._folder / f"{sequence}.obj"
            self._meshes[sequence] = _read_mesh(path)
        return self._meshes[sequence]

    def _calibration(self, sequence: str) -> Calibration:
        if sequence not in self._calibrations:
            path = self._folder / sequence / "rgb.cal"
            self._calibrations[sequence] = read_calibration(path)
        return self._calibrations[sequence]

    def _box(
        self,
        frame: str,
        sequence: str,
        camera: Camera,
        rotation: NDArray[np.float64],
        translation_m: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        if self._boxes is not None:
            return finite_array(f"box of {frame}", self._boxes[frame], (4,))
        head = transform(self.mesh(sequence).vertices_m, rotation, translation_m)
        return face_box(camera.project(head), MESH_BOX_MARGIN)


def read_calibration(path: Path) -> Calibration:
    """Read a .cal file.

    Raises
    ------
    FileNotFoundError, ValueError
        The file is missing, or does not hold 27 numbers.
    """
    numbers = _numbers(path, 27)
    camera = Camera.from_matrix(
        numbers[:9].reshape(3, 3),
        width=int(numbers[25]),
        height=int(numbers[26]),
        distortion=numbers[9:13],
        pixel_centre=PIXEL_CENTRE,
    )
    return Calibration(camera, numbers[13:22].reshape(3, 3), numbers[22:25] / 1000.0)


def shift_inside(box_xyxy: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """Move a box ``(4,)`` back inside the image; one that is too large is centred on it."""
    low, high, limit = box_xyxy[:2], box_xyxy[2:], np.array([width, height], dtype=np.float64)
    shift = np.maximum(-low, 0.0) - np.maximum(high - limit, 0.0)
    shift = np.where(high - low > limit, (limit - low - high) / 2.0, shift)
    return np.concatenate([low + shift, high + shift])


def _read_mesh(path: Path) -> NeutralMesh:
    """Read a subject's .obj, which is in mm."""
    vertices: list[list[str]] = []
    triangles: list[list[str]] = []
    for line in read_text(path, _DATASET).splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            vertices.append(fields[:3])
        elif kind == "f":
            triangles.append([field.partition("/")[0] for field in fields[:3]])
    vertices_mm = finite_array(f"{path}: vertices", vertices, (None, 3))
    if len(vertices_mm) == 0:
        raise ValueError(f"{path}: expected a mesh with vertices, got none")
    faces = finite_array(f"{path}: faces", triangles or np.empty((0, 3)), (None, 3), np.int64)
    if faces.size and not 1 <= faces.min() <= faces.max() <= len(vertices_mm):
        raise ValueError(
            f"{path}: expected vertex numbers from 1 to {len(vertices_mm)}, "
            f"got {faces.min()} to {faces.max()}"
        )
    return NeutralMesh(vertices_mm / 1000.0, faces - 1)


def _numbers(path: Path, count: int) -> NDArray[np.float64]:
    words = read_text(path, _DATASET).split()
    if len(words) != count:
        raise ValueError(f"{path}: expected {count} numbers, got {len(words)}")
    return finite_array(str(path), words, (count,))
