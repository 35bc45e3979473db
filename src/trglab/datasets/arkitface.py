"""Reads ARKitFace (Kao et al. 2022), available from its authors on request, for research.

Layout and conventions::

    ARKitFace_list/list/ARKitFace_{split}.csv        subject_id, facial_action, img_id
    ARKitFace_image_{split}/image/SUBJECT/ACTION/ID_ar.jpg
    ARKitFace_info_{split}/info/SUBJECT/ACTION/ID_info.npz    verts (1220, 3) m; R_t (4, 4)
    resources: npy/kpt_ind.npy, npy/projection_matrix.txt, data/triangles.npy

``R_t`` is for row vectors, ``[verts, 1] @ R_t``, between frames with x right, y up, z towards the
viewer (OpenGL's, both head and camera).
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trg._util.checks import finite_array
from trg.geometry.camera import Camera
from trg.geometry.crop import face_box
from trg.geometry.projection import transform
from trglab.datasets.completion import is_complete, require_complete
from trglab.datasets.files import (
    DAMAGED_ARRAYS,
    UnreadableFileError,
    existing_file,
    read_image,
    read_text,
)
from trglab.datasets.sample import Sample

Split = Literal["train", "test"]

FLIP_YZ = np.diag([1.0, -1.0, -1.0])
"""Rotation by 180 degrees about x: from OpenGL's axes to OpenCV's and back."""

RESOURCES_FOLDER = "ARKitFace_resources"

VERTEX_COUNT = 1220

_DATASET = "ARKitFace"


class ARKitFace:
    """The frames of one split, in the order of its list.

    Parameters
    ----------
    folder
        The folder that holds ``ARKitFace_list`` and its neighbours.
    split
        ``train`` or ``test``.
    resources
        The folder with the landmark numbers, the projection matrix and the triangles; the data
        set's own by default.

    Raises
    ------
    FileNotFoundError
        A file is missing; the message says which.
    ValueError
        A file is damaged, or the folder is only half written.
    """

    def __init__(
        self, folder: str | Path, split: Split = "train", resources: str | Path | None = None
    ) -> None:
        self._folder = require_complete(folder)
        if split not in ("train", "test"):
            raise ValueError(f"split: expected 'train' or 'test', got {split!r}")
        self._split = split
        self._frames = _read_list(_list_of(self._folder, split))
        base = Path(resources) if resources is not None else self._folder / RESOURCES_FOLDER
        self.landmarks68 = _vertex_numbers(_resource(base, "npy/kpt_ind.npy"), (68,))
        self.triangles = _vertex_numbers(_resource(base, "data/triangles.npy"), (None, 3))
        path = _resource(base, "npy/projection_matrix.txt")
        words = read_text(path, _DATASET).split()
        self._projection = finite_array(str(path), words, (16,)).reshape(4, 4)

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        """Read one frame, in OpenCV's axes."""
        subject, action, number = self._frames[index]
        image_path, info_path = frame_paths(self._folder, self._split, subject, action, number)
        image = read_image(image_path, _DATASET)
        verts, R_t = _read_info(existing_file(info_path, _DATASET))
        camera = camera_from_projection(self._projection, image.shape[1], image.shape[0])
        rotation = FLIP_YZ @ R_t[:3, :3].T @ FLIP_YZ
        translation_m = R_t[3, :3] @ FLIP_YZ
        vertices_m = verts @ FLIP_YZ
        landmarks = transform(vertices_m[self.landmarks68], rotation, translation_m)
        landmarks_px = camera.project(landmarks)
        return Sample(
            image=image,
            camera=camera,
            box_xyxy=face_box(landmarks_px),
            rotation=rotation,
            translation_m=translation_m,
            vertices_m=vertices_m,
            landmarks68_px=landmarks_px,
            landmarks68_visible=None,
            identity=subject,
            name=f"arkitface/{self._split}/{subject}/{action}/{number}",
        )


def frame_paths(
    folder: Path, split: Split, subject: str, action: str, number: str
) -> tuple[Path, Path]:
    """Return the paths of a frame's image and labels."""
    image = folder / f"ARKitFace_image_{split}" / "image" / subject / action
    info = folder / f"ARKitFace_info_{split}" / "info" / subject / action
    return image / f"{number}_ar.jpg", info / f"{number}_info.npz"


def folders_of_split(split: Split) -> tuple[str, ...]:
    """Return the names of a split's folders; the first two are shared by both splits."""
    own = (f"ARKitFace_image_{split}", f"ARKitFace_info_{split}")
    return ("ARKitFace_list", RESOURCES_FOLDER, *own)


def camera_from_projection(projection: NDArray[np.float64], width: int, height: int) -> Camera:
    """Turn the row-vector OpenGL projection matrix ``(4, 4)`` into a camera of an image."""
    half_w, half_h = width / 2.0, height / 2.0
    viewport = np.array(
        [[half_w, 0, 0, 0], [0, half_h, 0, 0], [0, 0, 1, 0], [half_w, half_h, 0, 1]]
    )
    M = projection @ viewport
    return Camera(
        fx=float(M[0, 0]),
        fy=float(M[1, 1]),
        cx=float(-M[2, 0]),
        cy=float(-M[2, 1]),
        width=width,
        height=height,
    )


def projection_from_camera(camera: Camera) -> NDArray[np.float64]:
    """Return the projection matrix that :func:`camera_from_projection` turns into ``camera``.

    Clipping planes at 1 mm and infinity, as ARKit's.
    """
    near_m = 0.001
    projection = np.zeros((4, 4))
    projection[0, 0] = 2.0 * camera.fx / camera.width
    projection[1, 1] = 2.0 * camera.fy / camera.height
    projection[2, 0] = 1.0 - 2.0 * camera.cx / camera.width
    projection[2, 1] = 1.0 - 2.0 * camera.cy / camera.height
    projection[2, 2:] = -1.0, -1.0
    projection[3, 2] = -near_m
    return projection


def _list_of(folder: Path, split: Split) -> Path:
    """Return the path of a split's list; FileNotFoundError says what a rendered folder lacks."""
    path = folder / "ARKitFace_list" / "list" / f"ARKitFace_{split}.csv"
    if not path.is_file() and is_complete(folder):
        raise FileNotFoundError(
            f"{path}: this rendered folder has no {split} split; add one with: "
            f"trg synth {folder} --layout arkitface --split {split}"
        )
    return path


def _read_list(path: Path) -> list[tuple[str, str, str]]:
    columns = ("subject_id", "facial_action", "img_id")
    rows = csv.DictReader(read_text(path, _DATASET).splitlines())
    if not set(columns) <= set(rows.fieldnames or ()):
        raise ValueError(f"{path}: expected columns {columns}, got {rows.fieldnames}")
    frames = []
    for row in rows:
        subject, action, number = (row[name] for name in columns)
        if not (subject and action and number):
            raise UnreadableFileError(
                f"{path}, line {rows.line_num}: expected {columns}, got {row}; is it cut off?"
            )
        # 718,000 rows name 400 subjects: share the strings.
        frames.append((sys.intern(subject), sys.intern(action), number))
    return frames


def _read_info(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a frame's vertices ``(1220, 3)`` in metres and its matrix ``R_t (4, 4)``."""
    try:
        with np.load(path) as info:
            verts, R_t = info["verts"], info["R_t"]
    except DAMAGED_ARRAYS as error:
        raise UnreadableFileError(
            f"{path}: expected the arrays verts and R_t, but it cannot be read ({error})"
        ) from error
    return (
        finite_array(f"{path}: verts", verts, (VERTEX_COUNT, 3)),
        finite_array(f"{path}: R_t", R_t, (4, 4)),
    )


def _vertex_numbers(path: Path, shape: tuple[int | None, ...]) -> NDArray[np.int64]:
    """Read vertex indices; a list may be stored as a row or as a column."""
    try:
        stored: Any = np.load(path)
    except DAMAGED_ARRAYS as error:
        raise UnreadableFileError(f"{path}: damaged ({error}); fetch it again") from error
    flat = stored.ravel() if len(shape) == 1 else stored
    numbers = finite_array(str(path), flat, shape, np.int64)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < VERTEX_COUNT:
        raise ValueError(
            f"{path}: expected vertex numbers from 0 to {VERTEX_COUNT - 1}, "
            f"got {numbers.min()} to {numbers.max()}"
        )
    return numbers


def _resource(base: Path, name: str) -> Path:
    """Find a resource in the published folders, or directly in ``base``."""
    candidates = (base / name, base / Path(name).name)
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{candidates[0]}: this resource is missing; expected npy/kpt_ind.npy, "
        "npy/projection_matrix.txt and data/triangles.npy from ARKitFace or PerspNet's repository"
    )
