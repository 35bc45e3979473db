"""Packed data sets: views in WebDataset's tar layout, read in any order.

::

    shard-000000.tar    KEY.json  name, identity, camera of the view
                        KEY.jpg   the view's picture
                        KEY.npy   its labels: one record, see record_dtype()
    index.npy           (n, 4) int64: shard, and in it where the sample begins, where the .jpg's
                        bytes begin, and how many they are
    topology.npz        the mesh of the vertices, where there are any
    manifest.json       written last: sizes and hashes of the shards, what was left out and why

Any reader of WebDataset's layout can stream the shards. :class:`PackedViews` finds each sample by
the index and reads its two files at once, so that an order needs no buffer and a process holds
nothing but the index.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image

from trg.geometry.camera import Camera
from trg.geometry.crop import box_from_bbox_info
from trg.geometry.face_mesh import FaceTopology
from trglab.datasets.files import (
    DAMAGED_ARRAYS,
    DAMAGED_PICTURE,
    UnreadableFileError,
    existing_file,
    file_sha256,
    read_json,
)
from trglab.datasets.sample import Sample
from trglab.datasets.view import Views, ViewSpec

FORMAT = "trg packed views 1"
MANIFEST = "manifest.json"
INDEX = "index.npy"
TOPOLOGY = "topology.npz"
TAR_BLOCK = 512


class PackedViews:
    """A packed data set: a sequence of samples like any reader, or their views as they are.

    A sample's picture is its view, with the ideal camera that sees just that.

    Parameters
    ----------
    folder
        What :func:`trglab.datasets.packing.pack_samples` filled.

    Attributes
    ----------
    spec
        How the views were cut.
    manifest
        What the folder says of itself, in plain values.

    Raises
    ------
    FileNotFoundError
        There is no finished pack, or a shard is missing.
    ValueError
        A file does not fit the manifest.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self.spec = ViewSpec(**self.manifest["spec"])
        self._labels = record_dtype(self.manifest["vertices"])
        self._header = npy_header(self._labels)
        self._shards = [self.folder / shard["name"] for shard in self.manifest["shards"]]
        for path, shard in zip(self._shards, self.manifest["shards"], strict=True):
            if not path.is_file():
                raise FileNotFoundError(f"{path}: this shard is missing")
            if path.stat().st_size != shard["bytes"]:
                raise ValueError(
                    f"{path}: expected {shard['bytes']} bytes, got {path.stat().st_size}; "
                    "fetch the shard again"
                )
        index_path = existing_file(self.folder / INDEX, "the pack")
        try:
            self._index = np.load(index_path, mmap_mode="r")
        except DAMAGED_ARRAYS as error:
            raise UnreadableFileError(f"{index_path}: damaged ({error})") from error
        if self._index.shape != (self.manifest["count"], 4):
            raise ValueError(
                f"{self.folder / INDEX}: expected shape ({self.manifest['count']}, 4), "
                f"got {self._index.shape}"
            )

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, number: int) -> Sample:
        """Return one view as a sample; UnreadableFileError where it is damaged."""
        facts = self._facts(number)
        return sample_from_view(self.view(number, self.spec), facts["identity"], facts["name"])

    def view(self, number: int, spec: ViewSpec) -> Views:
        """Return one view.

        Raises
        ------
        UnreadableFileError
            The view is damaged; the message says which, and in which shard.
        ValueError
            The views were cut otherwise than ``spec`` says.
        """
        self.require(spec)
        picture, labels = self._read(number)
        values = {name: np.asarray(labels[name]) for name in self._labels.names or ()}
        if "vertices_m" not in values:
            values["vertices_m"] = np.zeros((self.spec.vertex_count, 3), np.float32)
        return Views(image=picture, **values)

    def require(self, spec: ViewSpec) -> None:
        """Raise ValueError if the views were cut otherwise than ``spec`` says."""
        if self.spec != spec:
            raise ValueError(
                f"{self.folder}: expected views of {spec}, got {self.spec}; pack the data set "
                "anew or set the recipe's view_scale and view_margin to fit"
            )

    @property
    def topology(self) -> FaceTopology | None:
        """The mesh of the vertices; None where the data set has none."""
        path = self.folder / TOPOLOGY
        if not path.exists():
            return None
        try:
            with np.load(path) as arrays:
                return FaceTopology.from_arrays(dict(arrays))
        except DAMAGED_ARRAYS as error:
            raise UnreadableFileError(f"{path}: damaged ({error})") from error

    def _read(self, number: int) -> tuple[NDArray[np.uint8], Any]:
        shard, _, offset, size = self._index[number].tolist()
        labels_offset = labels_place(offset, size) - offset
        wanted = labels_offset + len(self._header) + self._labels.itemsize
        try:
            with open(self._shards[shard], "rb", buffering=0) as file:
                file.seek(offset)
                content = file.read(wanted)
            with Image.open(io.BytesIO(content[:size]), formats=("JPEG",)) as picture:
                pixels = np.asarray(picture)
        except DAMAGED_PICTURE as error:
            raise UnreadableFileError(f"{self._where(number)} is damaged ({error})") from error
        record_offset = labels_offset + len(self._header)
        is_whole = content[labels_offset:record_offset] == self._header and len(content) == wanted
        if not is_whole or pixels.shape != (self.spec.size, self.spec.size, 3):
            raise UnreadableFileError(
                f"{self._where(number)} is damaged (a picture of {pixels.shape}, "
                f"labels {'whole' if is_whole else 'broken'})"
            )
        return pixels, np.frombuffer(content, self._labels, 1, record_offset)[0]

    def _facts(self, number: int) -> dict[str, str]:
        """Read the .json, which lies before the picture."""
        shard, begin, picture, _ = self._index[number].tolist()
        with open(self._shards[shard], "rb") as file:
            file.seek(begin + TAR_BLOCK)
            content = file.read(picture - TAR_BLOCK - file.tell()).rstrip(b"\0")
        try:
            facts: dict[str, str] = json.loads(content)
        except ValueError as error:
            raise UnreadableFileError(f"{self._where(number)} is damaged ({error})") from error
        return facts

    def _where(self, number: int) -> str:
        shard, begin, *_ = self._index[number].tolist()
        return f"{self._shards[shard]}: view {number}, at byte {begin},"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what a finished pack says of itself.

    Raises
    ------
    FileNotFoundError
        There is no finished pack.
    ValueError
        The folder holds something else.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise FileNotFoundError(
            f"{folder}: expected a finished pack, with a {MANIFEST}; run the command that packs "
            "it (again)"
        )
    manifest = read_json(path)
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT!r}, got {manifest.get('format')!r}")
    return manifest


def is_packed(folder: str | Path) -> bool:
    """Whether a folder holds a finished pack of this format."""
    try:
        read_manifest(Path(folder))
    except (OSError, ValueError):
        return False
    return True


def damaged_files(folder: Path) -> list[str]:
    """Hash a pack's files; return a sentence for each that is not what was written."""
    manifest = read_manifest(folder)
    wrong = []
    for note in [*manifest["shards"], manifest["index"]]:
        path = folder / note["name"]
        if not path.is_file():
            wrong.append(f"{path}: missing")
        elif file_sha256(path) != note["sha256"]:
            wrong.append(f"{path}: expected SHA-256 {note['sha256']}, got {file_sha256(path)}")
    return wrong


def record_dtype(vertices: int) -> np.dtype[Any]:
    """Return what a view's labels are stored as; without vertices where there are none."""
    fields = [
        (name, dtype, shape)
        for name, (shape, dtype) in ViewSpec(vertex_count=max(1, vertices)).fields().items()
        if name != "image" and (vertices or name != "vertices_m")
    ]
    return np.dtype(fields)


def npy_header(dtype: np.dtype[Any]) -> bytes:
    """Return the bytes before the record in a .npy of one; the same for all."""
    file = io.BytesIO()
    description = {"shape": (), "fortran_order": False, "descr": npy.dtype_to_descr(dtype)}
    npy.write_array_header_1_0(file, description)
    return file.getvalue()


def padded(position: int) -> int:
    """Return where a tar goes on after content that ends at ``position``."""
    return -(-position // TAR_BLOCK) * TAR_BLOCK


def labels_place(picture_offset: int, picture_size: int) -> int:
    """Return where the labels' bytes begin: after the picture, its padding and a tar header."""
    return padded(picture_offset + picture_size) + TAR_BLOCK


def view_camera(view: Views) -> Camera:
    """Return the ideal camera that sees exactly a view."""
    size = view.image.shape[0]
    u, v, side = view.view_box.tolist()
    focal_px = size / side
    return Camera(
        focal_px, focal_px, size / 2.0 - u * focal_px, size / 2.0 - v * focal_px, size, size
    )


def sample_from_view(view: Views, identity: str, name: str) -> Sample:
    """Turn a view back into a sample: its own picture, with the ideal camera that sees it.

    Cutting the same view out of that sample gives the same labels and, but for resampling, the
    same picture.
    """
    camera = view_camera(view)
    has_pose, has_vertices = bool(view.has_pose), bool(view.has_vertices)
    return Sample(
        image=view.image,
        camera=camera,
        box_xyxy=box_from_bbox_info(camera, view.face_box.astype(np.float64)),
        rotation=view.rotation.astype(np.float64) if has_pose else None,
        translation_m=view.translation_m.astype(np.float64) if has_pose else None,
        vertices_m=view.vertices_m if has_vertices else None,
        landmarks68_px=camera.pixels_from_rays(view.landmarks68.astype(np.float64)),
        landmarks68_visible=view.landmarks68_visible,
        identity=identity,
        name=name,
    )
