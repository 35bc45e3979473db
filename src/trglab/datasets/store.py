"""Reads shard stores: records in tar files in WebDataset's layout, with random access.

::

    shard-000000.tar    KEY.meta.json, KEY.image.jpg, KEY.labels.npy; then the next record
    index.npy           (n, 2 + fields) int64: shard, offset of the record, size of each file
    topology.npz        landmark mesh, if the samples have vertices
    manifest.json       written last: kind and fields of the records, sizes and SHA-256 of the
                        files, provenance, skipped samples

All training data are kept this way; the manifest's ``kind`` says what the records are: ``views``
(:mod:`trglab.datasets.view_store`), ``samples`` (:mod:`trglab.datasets.sample_store`) or
``scenes`` (:mod:`trglab.detector.scene_store`). Any program that reads WebDataset's layout can
stream the shards. :mod:`trglab.datasets.store_writer` writes them.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from trg.geometry.face_mesh import FaceTopology
from trglab.datasets.files import (
    DAMAGED_ARRAYS,
    DAMAGED_IMAGE,
    UnreadableFileError,
    existing_file,
    file_sha256,
    read_json,
)

FORMAT = "trg shards 1"
MANIFEST = "manifest.json"
INDEX = "index.npy"
TOPOLOGY = "topology.npz"
PROGRESS = "progress.jsonl"
TAR_BLOCK = 512

MAPPED_SHARDS = 512
"""Shards that a store keeps open; each takes a file descriptor, often limited to 1024."""


class ShardStore:
    """A finished store, read by record number.

    The index and the shards are mapped into memory, so reading copies nothing and memory use does
    not grow. Instances can be pickled and shared by threads.

    Parameters
    ----------
    folder
        What :func:`trglab.datasets.store_writer.write_store` wrote.

    Raises
    ------
    FileNotFoundError
        There is no finished store, or a shard is missing.
    ValueError
        The store is of another kind, or a file does not match the manifest.
    """

    kind: ClassVar[str | None] = None
    """Kind of the records; subclasses that decode records set it. None: any."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        if self.kind is not None and self.manifest["kind"] != self.kind:
            raise ValueError(
                f"{self.folder}: expected a store of {self.kind}, got one of "
                f"{self.manifest['kind']}"
            )
        self.fields: tuple[str, ...] = tuple(self.manifest["fields"])
        self._shards = [self.folder / shard["name"] for shard in self.manifest["shards"]]
        self._shard = lru_cache(MAPPED_SHARDS)(self._map_shard)
        for path, shard in zip(self._shards, self.manifest["shards"], strict=True):
            size = existing_file(path, "the store").stat().st_size
            if size != shard["bytes"]:
                raise ValueError(
                    f"{path}: expected {shard['bytes']} bytes, got {size}; copy the shard again"
                )
        path = existing_file(self.folder / INDEX, "the store")
        with _named(path):
            self._index = np.load(path, mmap_mode="r")
        expected = (self.manifest["count"], 2 + len(self.fields))
        if self._index.shape != expected:
            raise ValueError(f"{path}: expected shape {expected}, got {self._index.shape}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder,)

    def __len__(self) -> int:
        return len(self._index)

    def read(self, number: int) -> dict[str, memoryview]:
        """Return the files of a record by field, read-only.

        Raises
        ------
        IndexError
            There is no such record.
        UnreadableFileError
            The shard is shorter than when the store was opened.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"record: expected 0 to {len(self) - 1}, got {number}")
        shard, offset, *sizes = self._index[number].tolist()
        content, files = self._shard(shard), {}
        for field, size in zip(self.fields, sizes, strict=True):
            offset += TAR_BLOCK
            files[field] = content[offset : offset + size]
            offset += padded(size)
        if offset > len(content):
            raise UnreadableFileError(f"{self.location(number)} is cut off")
        return files

    def _map_shard(self, shard: int) -> memoryview:
        with open(self._shards[shard], "rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def location(self, number: int) -> str:
        """Return shard and position of a record, for messages."""
        shard, offset, *_ = self._index[number].tolist()
        return f"{self._shards[shard]}: record {number}, at byte {offset},"

    @contextmanager
    def decoding(self, number: int) -> Iterator[None]:
        """Turn errors of decoding record ``number`` into one that names it."""
        try:
            yield
        except (*DAMAGED_IMAGE, *DAMAGED_ARRAYS) as error:
            raise UnreadableFileError(f"{self.location(number)} is damaged ({error})") from error

    @property
    def provenance(self) -> dict[str, Any]:
        """What the writer noted about the origin of the samples."""
        provenance: dict[str, Any] = self.manifest["provenance"]
        return provenance

    @property
    def topology(self) -> FaceTopology | None:
        """The mesh of the vertices; None if the store has none."""
        path = self.folder / TOPOLOGY
        if not path.exists():
            return None
        with _named(path), np.load(path) as arrays:
            return FaceTopology.from_arrays(dict(arrays))

    def damaged_files(self) -> list[str]:
        """Hash all files; return one sentence for each that differs from what was written."""
        wrong = []
        for note in [*self.manifest["shards"], *self.manifest["files"]]:
            path = self.folder / note["name"]
            if not path.is_file():
                wrong.append(f"{path}: missing")
            elif (sha256 := file_sha256(path)) != note["sha256"]:
                wrong.append(f"{path}: expected SHA-256 {note['sha256']}, got {sha256}")
        return wrong


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a finished store.

    Raises
    ------
    FileNotFoundError
        There is no store, or it is unfinished.
    ValueError
        The folder holds something else.
    """
    path = folder / MANIFEST
    if not path.exists():
        found = "an unfinished one" if (folder / PROGRESS).exists() else "none"
        raise FileNotFoundError(
            f"{folder}: expected a finished shard store, found {found}; run `trg data pack` "
            "(again) to write it"
        )
    manifest = read_json(path)
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT!r}, got {manifest.get('format')!r}")
    return manifest


def is_store(folder: str | Path) -> bool:
    """Whether a folder holds a finished shard store."""
    try:
        read_manifest(Path(folder))
    except (OSError, ValueError):
        return False
    return True


def padded(size: int) -> int:
    """Return the space that ``size`` bytes take in a tar file, in bytes."""
    return -(-size // TAR_BLOCK) * TAR_BLOCK


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn errors of reading an array file into one that names it."""
    try:
        yield
    except DAMAGED_ARRAYS as error:
        raise UnreadableFileError(f"{path}: damaged ({error})") from error
