"""Packs a data set: cuts its views once, and writes them as tar shards for fast training.

Shard k holds samples ``k * shard_size`` to ``(k + 1) * shard_size`` of the data set, so shards can
be made by any number of processes and in any order, and the result is the same to the byte. A
finished shard has a note beside it; a run that was stopped goes on with the shards that have none,
or whose bytes are not those that the note tells of.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trg._util.atomic import write_atomic
from trglab.datasets.files import file_sha256, read_json, read_or_error
from trglab.datasets.mesh import MeshedSamples, topology_of_samples
from trglab.datasets.packed import (
    FORMAT,
    INDEX,
    MANIFEST,
    TAR_BLOCK,
    TOPOLOGY,
    npy_header,
    record_dtype,
    view_camera,
)
from trglab.datasets.sample import Sample, Samples
from trglab.datasets.view import Views, ViewSpec, view_from_sample

BEGUN = "begun.json"
"""What an unfinished pack was begun with."""

PROBES = 100
"""Samples that are tried to learn what labels a data set has."""


SamplesMaker = Callable[[], Samples]
"""Opens the data set, once in each process; picklable when there are workers."""


@dataclass(frozen=True, slots=True)
class PackReport:
    """What became of a data set: views packed, and what was left out, with the reason."""

    count: int
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PackSettings:
    """How a data set is packed."""

    size: int = 288
    """Side of the stored views, px; 1.5 times the network's crop for the paper's recipes."""
    margin: float = 1.6
    """Side of the window over the side of the face box."""
    shard_size: int = 1000
    """Samples of the data set in one shard."""
    jpeg_quality: int = 92

    def __post_init__(self) -> None:
        if self.shard_size < 1 or not 1 <= self.jpeg_quality <= 100:
            raise ValueError(
                "pack: expected shard_size of at least 1 and jpeg_quality from 1 to 100, got "
                f"{self.shard_size} and {self.jpeg_quality}"
            )


@dataclass(frozen=True, slots=True)
class _Plan:
    """All that a process needs to make a shard."""

    open_samples: SamplesMaker
    folder: Path
    settings: PackSettings
    spec: ViewSpec
    vertices: int
    """How many a sample has; 0: none."""


def pack_samples(
    folder: str | Path,
    open_samples: SamplesMaker,
    settings: PackSettings | None = None,
    *,
    workers: int = 0,
    facts: Mapping[str, Any] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> PackReport:
    """Cut the views of a data set and keep them in ``folder``. Goes on where it was stopped.

    Samples that cannot be read are left out; the report and the manifest say which and why.

    Parameters
    ----------
    open_samples
        Opens the data set.
    settings
        None: the defaults.
    workers
        Processes that cut views; 0: this one.
    facts
        Plain values about the data set, kept in the manifest. A pack is only continued with the
        same facts and settings.
    on_progress
        Told how many samples of the data set are done.

    Raises
    ------
    FileExistsError
        The folder holds something else, a finished pack, or one begun with other settings.
    ValueError
        The samples have no landmarks, or none can be read.
    OSError
        The disk is full or the folder cannot be written. What is there can be continued.
    """
    samples = open_samples()
    plan = _plan(Path(folder), open_samples, samples, settings or PackSettings())
    _begin(plan, len(samples), facts or {})
    shards = -(-len(samples) // plan.settings.shard_size)
    missing = [shard for shard in range(shards) if not _is_finished(plan.folder, shard)]
    done = len(samples) - sum(len(_range(plan, shard, len(samples))) for shard in missing)
    for shard in _make_shards(plan, samples, missing, workers):
        done += len(_range(plan, shard, len(samples)))
        if on_progress is not None:
            on_progress(done)
    if isinstance(samples, MeshedSamples):
        topology: dict[str, Any] = topology_of_samples(samples).to_arrays()
        write_atomic(plan.folder / TOPOLOGY, lambda file: np.savez(file, **topology))
    return _finish(plan.folder, shards)


def _plan(
    folder: Path, open_samples: SamplesMaker, samples: Samples, settings: PackSettings
) -> _Plan:
    """Look at a sample to learn what labels the data set has."""
    probe = _probe(samples)
    probe.require_landmarks68_px()
    vertices = 0 if probe.vertices_m is None else len(probe.vertices_m)
    spec = ViewSpec(settings.size, settings.margin, vertices or ViewSpec().vertex_count)
    return _Plan(open_samples, folder, settings, spec, vertices)


def _probe(samples: Samples) -> Sample:
    """Return a sample that can be read."""
    found: Sample | Exception = ValueError("it is empty")
    for index in range(min(PROBES, len(samples))):
        found = read_or_error(samples.__getitem__, index)
        if isinstance(found, Sample):
            return found
    raise ValueError(f"pack: none of the data set's first {PROBES} samples can be read: {found}")


def _begin(plan: _Plan, samples: int, facts: Mapping[str, Any]) -> None:
    """Note what the pack is begun with, or see that it was begun with the same."""
    folder = plan.folder
    description = {
        "format": FORMAT,
        "spec": asdict(plan.spec),
        "vertices": plan.vertices,
        "samples": samples,
        "shard_size": plan.settings.shard_size,
        "jpeg_quality": plan.settings.jpeg_quality,
        "facts": dict(facts),
    }
    if (folder / MANIFEST).exists():
        raise FileExistsError(f"{folder}: expected no finished pack there; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / BEGUN
    if path.exists():
        begun = read_json(path)
        if begun != json.loads(json.dumps(description)):
            raise FileExistsError(
                f"{folder}: expected an unfinished pack with the same settings, found {begun}; "
                "choose another folder or remove this one"
            )
    elif any(folder.iterdir()):
        raise FileExistsError(f"{folder}: expected a new or empty folder; choose another")
    else:
        _write_json(path, description)


def _make_shards(plan: _Plan, samples: Samples, shards: list[int], workers: int) -> Iterator[int]:
    """Make shards; yield the number of each when it is finished."""
    if not workers:
        for shard in shards:
            _make_shard(plan, samples, shard)
            yield shard
        return
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_start_worker, initargs=(plan,)
    )
    try:
        jobs = {pool.submit(_work, shard): shard for shard in shards}
        for job in as_completed(jobs):
            job.result()
            yield jobs[job]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_worker: tuple[_Plan, Samples] | None = None
"""In a worker process: what it packs."""


def _start_worker(plan: _Plan) -> None:
    global _worker  # a pool's processes have no other place to keep it
    _worker = (plan, plan.open_samples())


def _work(shard: int) -> None:
    assert _worker is not None
    _make_shard(*_worker, shard)


def _make_shard(plan: _Plan, samples: Samples, shard: int) -> None:
    """Cut a shard's views, write the tar, and then its note."""
    file = io.BytesIO()
    places: list[tuple[int, int, int]] = []
    skipped: list[str] = []

    def cut(index: int) -> tuple[Sample, Views]:
        sample = samples[index]
        return sample, view_from_sample(sample, plan.spec)

    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for index in _range(plan, shard, len(samples)):
            result = read_or_error(cut, index)
            if isinstance(result, Exception):
                skipped.append(f"sample {index}: {result}")
            else:
                places.append(_add(tar, f"{index:09d}", _encode(*result, plan)))
    note: dict[str, Any] = {"samples": len(places), "skipped": skipped, "places": places}
    if places:
        path, content = _shard_path(plan.folder, shard), file.getbuffer()
        write_atomic(path, lambda out: out.write(content))
        digest = hashlib.sha256(content).hexdigest()
        note.update(name=path.name, bytes=len(content), sha256=digest)
    _write_json(_note_path(plan.folder, shard), note)


def _add(tar: tarfile.TarFile, key: str, contents: dict[str, bytes]) -> tuple[int, int, int]:
    """Append a sample's files; return its row of the index, but for the shard."""
    begin = tar.offset
    for suffix, content in contents.items():
        # A bare TarInfo has neither time nor owner: same samples, same bytes.
        member = tarfile.TarInfo(f"{key}.{suffix}")
        member.size = len(content)
        if suffix == "jpg":
            picture = tar.offset + TAR_BLOCK
        tar.addfile(member, io.BytesIO(content))
    return begin, picture, len(contents["jpg"])


def _encode(sample: Sample, view: Views, plan: _Plan) -> dict[str, bytes]:
    """Return the contents of a sample's files by suffix, in the order in which they are stored."""
    picture = io.BytesIO()
    Image.fromarray(view.image).save(picture, "JPEG", quality=plan.settings.jpeg_quality)
    record = np.zeros((), record_dtype(plan.vertices))
    for name in record.dtype.names or ():
        record[name] = getattr(view, name)
    facts = {
        "name": sample.name,
        "identity": sample.identity,
        "camera": view_camera(view).to_dict(),
    }
    return {
        "json": json.dumps(facts).encode(),
        "jpg": picture.getvalue(),
        "npy": npy_header(record.dtype) + record.tobytes(),
    }


def _finish(folder: Path, shards: int) -> PackReport:
    """Write the index and the manifest, and remove the notes."""
    description = read_json(folder / BEGUN)
    notes = [read_json(_note_path(folder, shard)) for shard in range(shards)]
    filled = [note for note in notes if note["samples"]]
    if not filled:
        raise ValueError(f"{folder}: none of {description['samples']} samples can be read")
    index = np.concatenate(
        [np.insert(note["places"], 0, number, axis=1) for number, note in enumerate(filled)]
    ).astype(np.int64)
    write_atomic(folder / INDEX, lambda file: np.save(file, index))
    skipped = [reason for note in notes for reason in note["skipped"]]
    manifest = {
        **description,
        "count": len(index),
        "skipped": skipped,
        "index": {"name": INDEX, "sha256": file_sha256(folder / INDEX)},
        "shards": [
            {key: note[key] for key in ("name", "samples", "bytes", "sha256")} for note in filled
        ],
    }
    _write_json(folder / MANIFEST, manifest)
    for path in [folder / BEGUN, *(_note_path(folder, shard) for shard in range(shards))]:
        path.unlink()
    return PackReport(len(index), tuple(skipped))


def _is_finished(folder: Path, shard: int) -> bool:
    """Whether a shard has a note, and is what the note says."""
    path = _note_path(folder, shard)
    if not path.exists():
        return False
    note = read_json(path)
    tar = _shard_path(folder, shard)
    return not note["samples"] or (tar.exists() and file_sha256(tar) == note["sha256"])


def _shard_path(folder: Path, shard: int) -> Path:
    """Return where a shard lies."""
    return folder / f"shard-{shard:06d}.tar"


def _note_path(folder: Path, shard: int) -> Path:
    return folder / f"shard-{shard:06d}.json"


def _range(plan: _Plan, shard: int, count: int) -> range:
    """Return the numbers of a shard's samples."""
    return range(
        shard * plan.settings.shard_size, min((shard + 1) * plan.settings.shard_size, count)
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomic(path, lambda file: file.write(json.dumps(content, indent=1).encode()))
