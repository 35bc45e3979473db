"""Writers of the data sets' folder formats, inverse to the readers in :mod:`trglab.datasets`.

A writer returns a progress record of every sample. Given the records of an earlier run, it
continues that run.
"""

from __future__ import annotations

import csv
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trg._util.files import write_atomic, write_text_atomic
from trg.geometry.camera import Camera
from trg.geometry.crop import crop_face, crop_from_pixels
from trg.geometry.face_mesh import FaceTopology
from trg.geometry.projection import OPTICAL_AXIS
from trg.geometry.rotations import rotation_between, rotation_from_euler
from trglab.datasets import aflw2000, w300lp
from trglab.datasets.arkitface import (
    FLIP_YZ,
    RESOURCES_FOLDER,
    Split,
    frame_paths,
    projection_from_camera,
)
from trglab.datasets.biwi import PIXEL_CENTRE
from trglab.datasets.matlab import matlab_files
from trglab.datasets.sample import Sample
from trglab.datasets.w300lp import landmarks_path, pose_from_rotation

ProgressRecord = dict[str, Any]
"""Plain JSON values about one written sample."""

ARKIT_ACTION = "synthetic"
W300LP_SET = "AFW"
FITTED_SIDE_PX = 450
FITTED_MARGIN = 1.6
"""Approximate side of 300W-LP's and AFLW2000-3D's images over the side of the face box"""

NeutralVertices = Callable[[int], NDArray[np.floating]]
"""Returns the vertices ``(n, 3)``, m, of sample i's person with a neutral expression."""

# Extrinsics like those of a Kinect, whose cameras are 25 mm apart and slightly rotated.
RGB_FROM_DEPTH_ROTATION = rotation_from_euler(np.array([0.9, -0.6, 0.3]))
RGB_FROM_DEPTH_MM = np.array([24.7, 0.4, 2.9])
DEPTH_MATRIX = np.array([[575.8, 0.0, 320.0], [0.0, 575.8, 240.0], [0.0, 0.0, 1.0]])


class SampleWriter(ABC):
    """Writes samples one by one."""

    @abstractmethod
    def write(self, index: int, sample: Sample) -> ProgressRecord:
        """Write a sample; return what a later run needs to know of it."""

    def finish(self) -> None:  # noqa: B027 -- most formats have no list
        """Write the list of samples, if the format has one."""


class ARKitFaceWriter(SampleWriter):
    """ARKitFace's folders. All samples must share one camera, for the format has one matrix."""

    def __init__(
        self,
        folder: Path,
        records: list[ProgressRecord],
        topology: FaceTopology,
        split: Split,
        jpeg_quality: int,
    ) -> None:
        self._folder, self._split, self._quality = folder, split, jpeg_quality
        self._topology = topology
        self._records = list(records)
        self._projection = np.array(records[0]["projection"]) if records else None

    def write(self, index: int, sample: Sample) -> ProgressRecord:
        """Write one frame; its subject is the sample's identity."""
        rotation, translation_m, vertices_m = _pose_and_vertices(sample, "arkitface")
        projection = projection_from_camera(sample.camera)
        if self._projection is None:
            self._projection = self._shared_projection(projection)
        if sample.camera.is_distorted or not np.allclose(projection, self._projection, 0, 1e-12):
            raise ValueError(
                f"{sample.name}: the arkitface layout has one projection matrix for all frames; "
                f"expected one ideal camera for all samples, got another: {sample.camera}"
            )
        subject, number = _file_name(sample.identity), f"{index:07d}"
        image, info = frame_paths(self._folder, self._split, subject, ARKIT_ACTION, number)
        for path in (image, info):
            path.parent.mkdir(parents=True, exist_ok=True)
        _save_jpeg(image, sample.image, self._quality)
        R_t = np.eye(4)
        R_t[:3, :3] = (FLIP_YZ @ rotation @ FLIP_YZ).T
        R_t[3, :3] = FLIP_YZ @ translation_m
        vertices = (vertices_m @ FLIP_YZ).astype(np.float32)
        write_atomic(info, lambda file: np.savez(file, verts=vertices, R_t=R_t))
        record: ProgressRecord = {
            "subject_id": subject,
            "facial_action": ARKIT_ACTION,
            "img_id": number,
        }
        if not self._records:
            record["projection"] = projection.tolist()
        self._records.append(record)
        return record

    def finish(self) -> None:
        """Write the list of frames."""
        path = self._folder / "ARKitFace_list" / "list" / f"ARKitFace_{self._split}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        columns = ("subject_id", "facial_action", "img_id")
        rows = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        rows.writeheader()
        rows.writerows(self._records)
        write_text_atomic(path, text.getvalue())

    def _shared_projection(self, projection: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the matrix that the other split has written, or write this one."""
        base = self._folder / RESOURCES_FOLDER
        path = base / "npy" / "projection_matrix.txt"
        if path.exists():
            return np.loadtxt(path)
        for name in ("npy", "data"):
            (base / name).mkdir(parents=True, exist_ok=True)
        _save_array(base / "npy" / "kpt_ind.npy", self._topology.landmarks68)
        _save_array(base / "data" / "triangles.npy", self._topology.triangles)
        write_atomic(path, lambda file: np.savetxt(file, projection, fmt="%.17g"))
        return projection


class W300LPWriter(SampleWriter):
    """300W-LP's folders: 450 px crops around the face, all in the set ``AFW``."""

    def __init__(self, folder: Path, jpeg_quality: int) -> None:
        self._folder, self._quality = folder, jpeg_quality
        matlab_files()  # raises where SciPy is missing, before anything is written
        (folder / W300LP_SET).mkdir(exist_ok=True)
        landmarks_path(folder, W300LP_SET, "any").parent.mkdir(parents=True, exist_ok=True)

    def write(self, index: int, sample: Sample) -> ProgressRecord:
        """Write one crop with its landmarks and angles; the format has no metric labels."""
        fitted = _fit(sample, "300wlp")
        name = f"{_file_name(sample.identity)}_{index:07d}"
        base = self._folder / W300LP_SET / name
        points = fitted.points_px - w300lp.FIRST_PIXEL
        _save_jpeg(Path(f"{base}.jpg"), fitted.pixels, self._quality)
        _save_mat(Path(f"{base}.mat"), {"Pose_Para": fitted.pose, "pt2d": points.T})
        landmarks = landmarks_path(self._folder, W300LP_SET, name)
        _save_mat(landmarks, {"pts_2d": points, "pts_3d": points})
        return {"name": name}


class AFLW2000Writer(SampleWriter):
    """AFLW2000-3D's folder: 450 px crops around the face, without identities."""

    def __init__(self, folder: Path, jpeg_quality: int) -> None:
        self._folder, self._quality = folder, jpeg_quality
        matlab_files()  # raises where SciPy is missing, before anything is written

    def write(self, index: int, sample: Sample) -> ProgressRecord:
        """Write one crop with its landmarks, at depth zero, and angles."""
        fitted = _fit(sample, "aflw2000")
        name = f"image{index + 1:05d}"
        points = np.zeros((3, 68))
        points[:2] = (fitted.points_px - aflw2000.FIRST_PIXEL).T
        _save_jpeg(self._folder / f"{name}.jpg", fitted.pixels, self._quality)
        _save_mat(self._folder / f"{name}.mat", {"Pose_Para": fitted.pose, "pt3d_68": points})
        return {"name": name}


class BIWIWriter(SampleWriter):
    """BIWI's folders: one sequence per identity and camera, with poses in a virtual depth camera.

    The format has one mesh per sequence: the person's neutral head, or without ``neutral_m`` the
    vertices of the first frame.
    """

    def __init__(
        self,
        folder: Path,
        records: list[ProgressRecord],
        topology: FaceTopology,
        neutral_m: NeutralVertices | None,
    ) -> None:
        self._folder = folder / "hpdb"
        self._topology = topology
        self._neutral_m = neutral_m
        self._sequences: dict[str, int] = {}
        self._frame_counts: dict[str, int] = {}
        for record in records:
            self._sequences.setdefault(record["key"], len(self._sequences) + 1)
            self._frame_counts[record["key"]] = self._frame_counts.get(record["key"], 0) + 1

    def write(self, index: int, sample: Sample) -> ProgressRecord:
        """Write one frame; the first one of a sequence also writes calibrations and mesh."""
        rotation, translation_m, vertices_m = _pose_and_vertices(sample, "biwi")
        camera = sample.camera
        if camera.distortion[4] != 0.0:
            raise ValueError(
                f"{sample.name}: the biwi layout has four distortion numbers; expected k3 = 0, "
                f"got {camera.distortion}"
            )
        key = f"{sample.identity} {camera}"
        frame = self._frame_counts.get(key, 0)
        number = f"{self._sequences.setdefault(key, len(self._sequences) + 1):02d}"
        sequence = self._folder / number
        if frame == 0:
            sequence.mkdir(parents=True, exist_ok=True)
            head_m = vertices_m if self._neutral_m is None else self._neutral_m(index)
            self._write_sequence(sequence, camera, np.asarray(head_m, dtype=np.float64))
        depth_rotation = RGB_FROM_DEPTH_ROTATION.T @ rotation
        depth_mm = RGB_FROM_DEPTH_ROTATION.T @ (1000.0 * translation_m - RGB_FROM_DEPTH_MM)
        stem = sequence / f"frame_{frame:05d}"
        image = Image.fromarray(sample.image)
        write_atomic(Path(f"{stem}_rgb.png"), lambda file: image.save(file, "PNG"))
        write_text_atomic(Path(f"{stem}_pose.txt"), _rows(depth_rotation, depth_mm))
        self._frame_counts[key] = frame + 1
        return {"key": key, "frame": f"{number}/{stem.name}"}

    def _write_sequence(
        self, sequence: Path, camera: Camera, vertices_m: NDArray[np.float64]
    ) -> None:
        K = camera.matrix
        K[:2, 2] += PIXEL_CENTRE - 0.5
        size = np.array([camera.width, camera.height])
        colour = _rows(K, camera.distortion[:4], RGB_FROM_DEPTH_ROTATION, RGB_FROM_DEPTH_MM, size)
        depth = _rows(DEPTH_MATRIX, np.zeros(4), np.eye(3), np.zeros(3), np.array([640, 480]))
        write_text_atomic(sequence / "rgb.cal", colour)
        write_text_atomic(sequence / "depth.cal", depth)
        lines = ["v {:.6f} {:.6f} {:.6f}".format(*vertex) for vertex in 1000.0 * vertices_m]
        lines += ["f {} {} {}".format(*face) for face in self._topology.triangles + 1]
        mesh = sequence.with_name(f"{sequence.name}.obj")
        write_text_atomic(mesh, "\n".join(lines) + "\n")


def _save_jpeg(path: Path, pixels: NDArray[np.uint8], quality: int) -> None:
    image = Image.fromarray(pixels)
    write_atomic(path, lambda file: image.save(file, "JPEG", quality=quality, subsampling=0))


def _save_mat(path: Path, variables: dict[str, Any]) -> None:
    write_atomic(path, lambda file: matlab_files().savemat(file, variables))


def _save_array(path: Path, array: NDArray[Any]) -> None:
    write_atomic(path, lambda file: np.save(file, array))


class _FittedCrop(NamedTuple):
    """A crop as in 300W-LP, its 68 points ``(68, 2)`` px and ``Pose_Para`` ``(1, 7)``."""

    pixels: NDArray[np.uint8]
    points_px: NDArray[np.float64]
    pose: NDArray[np.float64]


def _fit(sample: Sample, layout: str) -> _FittedCrop:
    """Crop a face and express its labels as 300W-LP and AFLW2000-3D do."""
    if sample.rotation is None:
        raise ValueError(f"{sample.name}: the {layout} layout needs the head's rotation")
    box = np.asarray(sample.box_xyxy, dtype=np.float64)
    centre, half = (box[:2] + box[2:]) / 2.0, FITTED_MARGIN * (box[2:] - box[:2]) / 2.0
    window = np.concatenate([centre - half, centre + half])
    crop = crop_face(sample.image, sample.camera, window, FITTED_SIDE_PX)

    def to_crop_px(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        in_crop = crop_from_pixels(sample.camera, pixels, crop.bbox_info)
        return (in_crop + 1.0) * FITTED_SIDE_PX / 2.0

    origin, scale = np.zeros(2), 0.0
    if sample.translation_m is not None:
        origin = to_crop_px(sample.camera.project(sample.translation_m)[None])[0]
        px_per_m = FITTED_SIDE_PX / crop.bbox_info[2] / sample.translation_m[2]
        scale = px_per_m * 1e-6  # the originals' model is in micrometres
    # The originals measure the origin upwards from the bottom of the image, and have a depth of 0.
    position = (origin[0] - 0.5, FITTED_SIDE_PX - origin[1] + 0.5, 0.0, scale)
    points = to_crop_px(np.asarray(sample.require_landmarks68_px(), dtype=np.float64))
    # The format has no camera: its rotation is relative to the viewing ray, like a fit to the crop.
    viewing_ray = np.append(crop.bbox_info[:2], 1.0)
    rotation = rotation_between(OPTICAL_AXIS, viewing_ray).T @ sample.rotation
    pose = np.array([[*pose_from_rotation(rotation), *position]])
    return _FittedCrop(crop.pixels, points, pose)


def _pose_and_vertices(
    sample: Sample, layout: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    labels = (sample.rotation, sample.translation_m, sample.vertices_m)
    if any(label is None for label in labels):
        raise ValueError(
            f"{sample.name}: the {layout} layout needs rotation, translation and vertices"
        )
    rotation, translation_m, vertices_m = (np.asarray(label, dtype=np.float64) for label in labels)
    return rotation, translation_m, vertices_m


def _file_name(identity: str) -> str:
    """Return a name that is valid on every file system."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", identity) or "none"


def _rows(*blocks: Any) -> str:
    """Format matrices and vectors as rows of numbers, with a blank line between blocks."""
    texts = []
    for block in blocks:
        rows = np.atleast_2d(np.asarray(block, dtype=np.float64))
        texts.append("\n".join(" ".join(f"{number:.12g}" for number in row) for row in rows))
    return "\n\n".join(texts) + "\n"
