"""Writes shard stores (:mod:`trglab.datasets.store`), in parallel and resumably.

Shard k holds samples ``k * shard_size`` to ``(k + 1) * shard_size``. Worker processes encode
samples, this process writes them in order, so the files do not depend on the number of workers.
``progress.jsonl`` lists what the store was begun with and every finished shard; a run that was
killed continues with the shards that are not listed or do not match their hash. The manifest is
written last.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from trg._util.files import remove_partial_files, write_atomic, write_text_atomic
from trg._util.settings import changed_settings
from trg.geometry.face_mesh import FaceTopology
from trglab.datasets.files import file_sha256
from trglab.datasets.manifest import (
    CHECKSUMS,
    FORMAT,
    INDEX,
    MANIFEST,
    PROGRESS,
    TOPOLOGY,
    read_manifest,
    shard_name,
    write_manifest,
)
from trglab.datasets.store import TAR_BLOCK, padded
from trglab.datasets.workers import MadeAhead

SHARD_SIZE = 960
"""Samples in a shard: 30 MB of JPEG views, 120 MB of raw ones. A multiple of the samples that a
synthetic person shows on."""

Record = dict[str, bytes]
"""The files of a sample by field, in the order in which they are stored."""

Encoder = Callable[[int], Record]
"""Encodes a sample by its index. May raise :class:`SkipSampleError`."""


class SkipSampleError(Exception):
    """A sample cannot be read and is left out; the message says why."""


Result = Record | SkipSampleError
"""A sample's record, or why there is none."""


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What was written: the number of records, and the reason for each skipped sample."""

    count: int
    skipped: tuple[str, ...]


def write_store(
    folder: Path,
    open_encoder: Callable[[], Encoder],
    indices: range,
    *,
    description: Mapping[str, Any],
    shard_size: int = SHARD_SIZE,
    workers: int = 0,
    topology: FaceTopology | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> StoreReport:
    """Encode samples and write them to a store.

    An unfinished store is continued, and a finished one left alone, if its plan is the same.

    Parameters
    ----------
    open_encoder
        Returns the encoder; called once per process, picklable if there are workers.
    indices
        The samples to write, in order.
    description
        Plain values for the manifest: ``kind`` and ``fields`` of the records, ``provenance``,
        and what the kind needs.
    workers
        Processes that encode samples; 0: this one.
    topology
        Mesh of the samples' vertices.
    on_progress
        Called with the number of samples done.

    Raises
    ------
    FileExistsError
        The folder holds something else, or a store with another description or other samples.
    ValueError
        No sample can be read.
    OSError
        The disk is full or the folder cannot be written. Call again to continue.
    """
    if shard_size < 1 or workers < 0 or not len(indices) or indices.start < 0:
        raise ValueError(
            "store: expected at least one sample, indices and workers of at least 0 and a shard "
            f"size of at least 1, got {indices}, {workers} and {shard_size}"
        )
    plan = {
        "format": FORMAT,
        "samples": [indices.start, indices.stop],
        "shard_size": shard_size,
        **json.loads(json.dumps(description)),
    }
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        _require_same(folder, {key: manifest.get(key) for key in plan}, plan)
        return StoreReport(manifest["count"], tuple(manifest["skipped"]))
    progress = _Progress.begin(folder, plan)
    parts = [indices[i : i + shard_size] for i in range(0, len(indices), shard_size)]
    missing = [shard for shard in range(len(parts)) if shard not in progress.shards]
    done = len(indices) - sum(len(parts[shard]) for shard in missing)
    wanted = list(chain.from_iterable(parts[shard] for shard in missing))
    with closing(MadeAhead(partial(_open_skipping, open_encoder), wanted, workers)) as results:
        counted = _counted(iter(results), done, on_progress)
        for shard in missing:
            path = folder / shard_name(shard)
            own = islice(counted, len(parts[shard]))
            progress.add(shard, _write_shard(path, own, tuple(plan["fields"])))
    return _finish(folder, progress, topology)


class _Progress:
    """``progress.jsonl``: the plan, then a line per finished shard."""

    def __init__(self, path: Path, plan: dict[str, Any], shards: dict[int, dict[str, Any]]) -> None:
        self.path, self.plan, self.shards = path, plan, shards

    @classmethod
    def begin(cls, folder: Path, plan: dict[str, Any]) -> _Progress:
        """Start a store, or continue it if it was begun with the same plan."""
        folder.mkdir(parents=True, exist_ok=True)
        remove_partial_files([folder])
        path = folder / PROGRESS
        progress = cls(path, plan, {})
        if path.exists():
            complete, _, _ = path.read_text().rpartition("\n")  # a kill may cut the last line off
            begun, *notes = map(json.loads, complete.splitlines())
            _require_same(folder, begun, plan)
            progress.shards = {
                note["shard"]: note for note in notes if _matches(folder / note["name"], note)
            }
        elif any(folder.iterdir()):
            raise FileExistsError(f"{folder}: expected a new or empty folder; choose another")
        lines = [plan, *progress.shards.values()]
        write_text_atomic(path, "".join(json.dumps(line) + "\n" for line in lines))
        return progress

    def add(self, shard: int, note: dict[str, Any]) -> None:
        """Note a finished shard; the line is on the disk when this returns."""
        self.shards[shard] = {"shard": shard, **note}
        with open(self.path, "a") as file:
            file.write(json.dumps(self.shards[shard]) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _require_same(folder: Path, found: dict[str, Any], plan: dict[str, Any]) -> None:
    if found != plan:
        raise FileExistsError(
            f"{folder}: expected no store, or one with the same settings; differing: "
            f"{'; '.join(changed_settings(found, plan))}. Choose another folder"
        )


def _matches(path: Path, note: dict[str, Any]) -> bool:
    is_current = "checksums" in note  # earlier versions noted none
    return is_current and path.exists() and file_sha256(path) == note["sha256"]


def _open_skipping(open_encoder: Callable[[], Encoder]) -> Callable[[int], Result]:
    """Return an encoder that returns the reason for a skipped sample instead of raising it."""
    encoder = open_encoder()

    def encode(index: int) -> Result:
        try:
            return encoder(index)
        except SkipSampleError as error:
            return error

    return encode


def _counted(
    results: Iterator[tuple[int, Result]], done: int, on_progress: Callable[[int], None] | None
) -> Iterator[tuple[int, Result]]:
    for count, result in enumerate(results, done + 1):
        if on_progress is not None:
            on_progress(count)
        yield result


def _write_shard(
    path: Path, results: Iterator[tuple[int, Result]], fields: tuple[str, ...]
) -> dict[str, Any]:
    """Write a tar file; return its note for the progress file."""
    rows: list[list[int]] = []
    checksums: list[int] = []
    skipped: list[str] = []
    digest, checksum = hashlib.sha256(), 0

    def write(file: IO[bytes]) -> None:
        nonlocal checksum

        def append(content: bytes) -> None:
            nonlocal checksum
            digest.update(content)
            checksum = zlib.crc32(content, checksum)
            file.write(content)

        for index, result in results:
            if isinstance(result, SkipSampleError):
                skipped.append(str(result))
                continue
            if tuple(result) != fields:
                raise ValueError(f"record: expected the fields {fields}, got {tuple(result)}")
            rows.append([file.tell(), *map(len, result.values())])
            checksum = 0
            for field, content in result.items():
                # A bare TarInfo has neither time nor owner: equal samples give equal bytes.
                member = tarfile.TarInfo(f"{index:09d}.{field}")
                member.size = len(content)
                append(member.tobuf(tarfile.USTAR_FORMAT))
                append(content + bytes(padded(len(content)) - len(content)))
            checksums.append(checksum)
        append(bytes(2 * TAR_BLOCK))  # end of the archive
        append(bytes(-file.tell() % tarfile.RECORDSIZE))

    write_atomic(path, write)
    return {
        "name": path.name,
        "bytes": path.stat().st_size,
        "sha256": digest.hexdigest(),
        "rows": rows,
        "checksums": checksums,
        "skipped": skipped,
    }


def _finish(folder: Path, progress: _Progress, topology: FaceTopology | None) -> StoreReport:
    """Write the index, the mesh and the manifest, and remove the progress file."""
    notes = [progress.shards[shard] for shard in sorted(progress.shards)]
    rows = [[number, *row] for number, note in enumerate(notes) for row in note["rows"]]
    skipped = [reason for note in notes for reason in note["skipped"]]
    if not rows:
        raise ValueError(f"{folder}: no sample can be read; the first: {skipped[0]}")
    write_atomic(folder / INDEX, lambda file: np.save(file, np.array(rows, np.int64)))
    checksums = [checksum for note in notes for checksum in note["checksums"]]
    write_atomic(folder / CHECKSUMS, lambda file: np.save(file, np.array(checksums, np.uint32)))
    files = [INDEX, CHECKSUMS]
    if topology is not None:
        arrays: dict[str, Any] = topology.to_arrays()
        write_atomic(folder / TOPOLOGY, lambda file: np.savez(file, **arrays))
        files.append(TOPOLOGY)
    manifest = {
        **progress.plan,
        "count": len(rows),
        "skipped": skipped,
        "files": [{"name": name, "sha256": file_sha256(folder / name)} for name in files],
        "shards": [
            {**{key: note[key] for key in ("name", "bytes", "sha256")}, "count": len(note["rows"])}
            for note in notes
        ],
    }
    write_manifest(folder, manifest)
    progress.path.unlink()
    return StoreReport(len(rows), tuple(skipped))
