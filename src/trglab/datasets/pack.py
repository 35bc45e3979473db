"""Packs: views made once and kept in a folder, to be trained on many times.

A pack is one ``.npy`` file per array of :class:`~trglab.datasets.view.Views`, memory-mapped
when read, and ``manifest.json``, which is written last: a folder without it is unfinished, and
:func:`write_pack` goes on where it stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from trg._util.atomic import write_atomic
from trg.geometry.face_mesh import FaceTopology
from trglab.datasets.batches import shuffled
from trglab.datasets.prefetch import SourceMaker, ViewPool
from trglab.datasets.sample import Sample
from trglab.datasets.view import SampleSource, Views, ViewSpec, select_views

MANIFEST = "manifest.json"
PROGRESS = "progress.json"
TOPOLOGY = "topology.npz"
FORMAT = "trg views 1"
ROW = 64
"""Views written at a time; after each row the progress is on the disk."""


def write_pack(
    folder: Path,
    make_source: SourceMaker,
    spec: ViewSpec,
    count: int,
    *,
    first: int = 0,
    workers: int = 0,
    topology: FaceTopology | None = None,
    facts: Mapping[str, Any] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Make views of samples ``first`` to ``first + count`` and keep them in ``folder``.

    Parameters
    ----------
    make_source
        Makes the source; picklable when there are workers.
    workers
        Processes that make views; 0: this one.
    topology
        The mesh of the vertices, kept with them.
    facts
        Plain numbers and names about the source, kept in the manifest. A pack is only continued
        with the same facts, spec, first and count.
    on_progress
        Told how many views are done.

    Raises
    ------
    FileExistsError
        The folder holds a finished pack, or one that was begun with other settings.
    OSError
        The disk is full or the folder cannot be written. What is there can be continued.
    """
    if count < 1 or first < 0:
        raise ValueError(f"pack: expected count >= 1 and first >= 0, got {count} and {first}")
    if (folder / MANIFEST).exists():
        raise FileExistsError(f"{folder}: expected no finished pack there; choose another folder")
    description = {
        "format": FORMAT,
        "count": count,
        "first": first,
        "spec": asdict(spec),
        "facts": dict(facts or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    done = _done_so_far(folder, description)
    if not done:
        _start_files(folder, spec, count)
    with closing(_rows(_Shifted(make_source, first), spec, done, count, workers)) as rows:
        for views in rows:
            _append(folder, spec, done, views)
            done += len(views.image)
            _note(folder / PROGRESS, {**description, "done": done})
            if on_progress is not None:
                on_progress(done)
    if topology is not None:
        arrays: dict[str, Any] = topology.to_arrays()
        write_atomic(folder / TOPOLOGY, lambda file: np.savez(file, **arrays))
    _note(folder / MANIFEST, description)
    (folder / PROGRESS).unlink()


class Pack:
    """A finished pack, read as a feed: every view comes once in each run through.

    Parameters
    ----------
    folder
        What :func:`write_pack` filled.
    batch_size
        Slots of the global batch that this pack serves.
    seed
        Of the order.

    Raises
    ------
    FileNotFoundError
        There is no finished pack.
    ValueError
        A file does not fit the manifest.
    """

    def __init__(self, folder: Path, batch_size: int = 1, seed: int = 0) -> None:
        path = folder / MANIFEST
        if not path.exists():
            state = "an unfinished pack" if (folder / PROGRESS).exists() else "no pack"
            raise FileNotFoundError(
                f"{folder}: expected a finished pack of views, found {state}; "
                "run the command that writes it (again)"
            )
        self.manifest: dict[str, Any] = json.loads(path.read_text())
        if self.manifest.get("format") != FORMAT:
            raise ValueError(
                f"{path}: expected format {FORMAT!r}, got {self.manifest.get('format')!r}"
            )
        self.spec = ViewSpec(**self.manifest["spec"])
        self.folder = folder
        self.batch_size = batch_size
        self.seed = seed
        arrays = {}
        for name, (shape, dtype) in self.spec.fields().items():
            array = np.load(folder / f"{name}.npy", mmap_mode="r")
            expected = (self.manifest["count"], *shape)
            if array.shape != expected or array.dtype != dtype:
                raise ValueError(
                    f"{folder / name}.npy: expected {expected} of {np.dtype(dtype)}, "
                    f"got {array.shape} of {array.dtype}"
                )
            arrays[name] = array
        self._views = Views(**arrays)

    def __len__(self) -> int:
        return int(self.manifest["count"])

    @property
    def topology(self) -> FaceTopology | None:
        """The mesh of the vertices, where the pack was written with one."""
        path = self.folder / TOPOLOGY
        if not path.exists():
            return None
        with np.load(path) as arrays:
            return FaceTopology.from_arrays(dict(arrays))

    def views(self, index: slice | NDArray[np.int64]) -> Views:
        """Return views by their numbers, read into memory."""
        chosen = select_views(self._views, index)
        return Views(**{name: np.array(getattr(chosen, name)) for name in chosen._fields})

    def batch(self, step: int, start: int, stop: int) -> Views:
        """Return slots ``start`` to ``stop`` of a step's global batch."""
        position = step * self.batch_size + np.arange(start, stop)
        return self.views(shuffled(self.seed, position, len(self)))

    def close(self) -> None:
        """Nothing to let go of: the files are mapped read-only."""


class _Shifted:
    """Makes a source whose numbers start at ``first``; a class, so that it can be pickled."""

    def __init__(self, make_source: SourceMaker, first: int) -> None:
        self.make_source = make_source
        self.first = first

    def __call__(self) -> _ShiftedSource:
        return _ShiftedSource(self.make_source(), self.first)


class _ShiftedSource:
    def __init__(self, source: SampleSource, first: int) -> None:
        self._source = source
        self._first = first

    def sample(self, index: int) -> Sample:
        return self._source.sample(self._first + index)


def _rows(
    make_source: SourceMaker, spec: ViewSpec, done: int, count: int, workers: int
) -> Generator[Views, None, None]:
    """Make views ``done`` to ``count``, row by row; ``done`` is a multiple of ROW."""
    pool = ViewPool(
        make_source,
        spec,
        batch_size=ROW,
        capacity=ROW,
        workers=workers,
        start_step=done // ROW,
    )
    try:
        for start in range(done, count, ROW):
            yield pool.batch(start // ROW, 0, min(ROW, count - start))
    finally:
        pool.close()


def _done_so_far(folder: Path, description: dict[str, Any]) -> int:
    """Return how many views an unfinished pack holds for sure; 0 for a fresh folder."""
    path = folder / PROGRESS
    if not path.exists():
        return 0
    progress = json.loads(path.read_text())
    done = int(progress.pop("done"))
    if progress != json.loads(json.dumps(description)):
        raise FileExistsError(
            f"{folder}: expected an unfinished pack with the same settings, found {progress}; "
            "choose another folder or remove this one"
        )
    return done


def _start_files(folder: Path, spec: ViewSpec, count: int) -> None:
    """Write the heads of the array files, with room for nothing yet."""
    for name, (shape, dtype) in spec.fields().items():
        with open(folder / f"{name}.npy", "wb") as file:
            npy.write_array_header_1_0(file, _header(shape, dtype, count))


def _append(folder: Path, spec: ViewSpec, done: int, views: Views) -> None:
    """Write views after the first ``done``, over whatever a killed run left there.

    Ordinary writes, not through a memory map: a full disk must raise, not kill the process.
    """
    for (name, (shape, dtype)), array in zip(spec.fields().items(), views, strict=True):
        with open(folder / f"{name}.npy", "r+b") as file:
            npy.read_magic(file)
            npy.read_array_header_1_0(file)
            each = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            file.seek(done * each, 1)
            file.truncate()
            file.write(np.ascontiguousarray(array, dtype=dtype).tobytes())
            file.flush()
            os.fsync(file.fileno())


def _header(shape: tuple[int, ...], dtype: type[Any], count: int) -> dict[str, Any]:
    return {
        "shape": (count, *shape),
        "fortran_order": False,
        "descr": npy.dtype_to_descr(np.dtype(dtype)),
    }


def _note(path: Path, content: dict[str, Any]) -> None:
    write_atomic(path, lambda file: file.write(json.dumps(content, indent=2).encode()))
