"""Reads shard stores: records in tar files in WebDataset's layout, with random access.

::

    shard-000000.tar    KEY.meta.json, KEY.image.jpg, KEY.labels.npy; then the next record
    index.npy           (n, 2 + fields) int64: shard, offset of the record, size of each file
    checksums.npy       (n,) uint32: CRC-32 of each record with its tar headers
    topology.npz        landmark mesh, if the samples have vertices
    manifest.json       written last: kind and fields of the records, sizes and SHA-256 of the
                        files, provenance, skipped samples, SHA-256 of the manifest itself

The small files are verified when a store is opened, and each record when it is first read. Stores
without ``checksums.npy``, of earlier versions, are verified by ``trg data check`` only.

All training data are kept this way; the manifest's ``kind`` says what the records are: ``views``
(:mod:`trglab.datasets.view_store`), ``samples`` (:mod:`trglab.datasets.sample_store`) or
``scenes`` (:mod:`trglab.detector.scene_store`). Any program that reads WebDataset's layout can
stream the shards. :mod:`trglab.datasets.store_writer` writes them.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trg.geometry.face_mesh import STORED_ARRAYS, FaceTopology
from trglab.datasets.files import (
    UnreadableFileError,
    existing_file,
    file_sha256,
    named_damage,
    read_npz,
)
from trglab.datasets.manifest import CHECKSUMS, INDEX, TOPOLOGY, read_manifest

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
        self._digests = {note["name"]: note["sha256"] for note in self.manifest["files"]}
        count = self.manifest["count"]
        self._index = self._map_array(INDEX, (count, 2 + len(self.fields)), np.int64)
        self._require_records_in_shards()
        self._checksums = (
            self._map_array(CHECKSUMS, (count,), np.uint32) if CHECKSUMS in self._digests else None
        )
        self._is_verified = np.zeros(count, np.bool_)

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
            The record differs from its checksum, or the shard is shorter than when the store was
            opened.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"record: expected 0 to {len(self) - 1}, got {number}")
        shard, offset, *sizes = self._index[number].tolist()
        content, files, start = self._shard(shard), {}, offset
        for field, size in zip(self.fields, sizes, strict=True):
            offset += TAR_BLOCK
            files[field] = content[offset : offset + size]
            offset += padded(size)
        if offset > len(content):
            raise UnreadableFileError(f"{self.location(number)} is cut off")
        if self._checksums is not None and not self._is_verified[number]:
            checksum = zlib.crc32(content[start:offset])
            if checksum != self._checksums[number]:
                raise UnreadableFileError(
                    f"{self.location(number)} is damaged (expected CRC-32 "
                    f"{self._checksums[number]:08x}, got {checksum:08x})"
                )
            self._is_verified[number] = True
        return files

    def _verified(self, name: str) -> Path:
        """Return the path of a small file; UnreadableFileError if it differs from its digest."""
        path = existing_file(self.folder / name, "the store")
        if (sha256 := file_sha256(path)) != self._digests.get(name):
            raise UnreadableFileError(
                f"{path}: damaged (expected SHA-256 {self._digests.get(name)}, got {sha256})"
            )
        return path

    def _map_array(self, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        path = self._verified(name)
        with named_damage(path):
            array: NDArray[Any] = np.load(path, mmap_mode="r")
        if array.shape != shape or array.dtype != dtype:
            raise UnreadableFileError(
                f"{path}: expected shape {shape} of {np.dtype(dtype)}, got {array.shape} of "
                f"{array.dtype}"
            )
        return array

    def _require_records_in_shards(self) -> None:
        shards, offsets, *sizes = self._index.T
        shard_bytes = np.array([shard["bytes"] for shard in self.manifest["shards"]])
        is_inside = (shards >= 0) & (shards < len(shard_bytes)) & (offsets >= 0)
        is_inside &= offsets <= shard_bytes.max(initial=0)
        for size in sizes:
            is_inside &= (size >= 0) & (size <= shard_bytes.max(initial=0))
        if not is_inside.all():
            raise UnreadableFileError(
                f"{self.folder / INDEX}: damaged (record {is_inside.argmin()} is outside its shard)"
            )

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
        except Exception as error:  # decoders raise any exception for damaged bytes
            raise UnreadableFileError(f"{self.location(number)} is damaged ({error})") from error

    @property
    def provenance(self) -> dict[str, Any]:
        """What the writer noted about the origin of the samples."""
        provenance: dict[str, Any] = self.manifest["provenance"]
        return provenance

    @property
    def topology(self) -> FaceTopology | None:
        """The mesh of the vertices; None if the store has none."""
        if TOPOLOGY not in self._digests:
            return None
        path = self._verified(TOPOLOGY)
        with named_damage(path):
            return FaceTopology.from_arrays(read_npz(path.read_bytes(), STORED_ARRAYS))

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
