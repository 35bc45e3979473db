"""Damaged files of every kind that is read, and a child process that reads them.

Run as ``python damage.py KIND WHOLE DAMAGED``: reads every file of DAMAGED and prints one
JSON line before and one after each. A codec that crashes takes that process down, not the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

LONGEST_READ_S = 20.0

HOSTILE_VALUES = (
    b"1e400", b"-1", b"0", b"NaN", b"null", b"true", b"{}", b"[]", b'""', b'"\\ud800"', b"\xff",
    b"9" * 5000, b"[" * 3000, b"{" * 3000, b"../../x", b"1" + b"0" * 30, b"-" * 2000, b"*a",
)  # fmt: skip
"""What replaces values of text files, beside damaged bytes."""


def damaged(data: bytes, other: bytes, generator: np.random.Generator) -> bytes:
    """Return a file's bytes with one to three damages; parts of ``other`` may be spliced in."""
    for _ in range(generator.integers(1, 4)):
        array = np.frombuffer(data, np.uint8).copy()
        # Headers decide most; half of the damages are there.
        reach = len(array) if generator.random() < 0.5 else min(len(array), 400)
        at = int(generator.integers(0, max(reach, 1)))
        length = int(generator.integers(1, 1 + max(1, min(64, len(array) - at))))
        damage = generator.integers(0, 6)
        if damage == 0:
            data = data[:at]
        elif damage == 1:
            spots = generator.integers(0, max(reach, 1), 1 + length // 4)
            array[spots % max(len(array), 1)] ^= generator.integers(1, 256, len(spots), np.uint8)
            data = array.tobytes()
        elif damage == 2:
            array[at : at + length] = 0
            data = array.tobytes()
        elif damage == 3:
            array[at : at + length] = 255
            data = array.tobytes()
        elif damage == 4:
            value = HOSTILE_VALUES[int(generator.integers(len(HOSTILE_VALUES)))]
            data = data[:at] + value + data[at + length :]
        else:
            start = int(generator.integers(0, max(len(other), 1)))
            data = data[:at] + other[start : start + length * 16] + data[at:]
        if not data:
            return data
    return data


def write_damaged(folder: Path, seeds: list[Path], count: int, seed: int) -> None:
    """Write ``count`` damaged files, each from one of the seeds in turn and with its name."""
    generator = np.random.default_rng(seed)
    whole = [path.read_bytes() for path in seeds]
    for index in range(count):
        path = seeds[index % len(seeds)]
        other = whole[int(generator.integers(len(whole)))]
        data = damaged(whole[index % len(seeds)], other, generator)
        (folder / f"{index:05d}-{path.name}").write_bytes(data)


def read_all(kind: str, whole: Path, folder: Path, timeout_s: float) -> list[dict[str, Any]]:
    """Read the folder in a process of its own and return the outcome of each file.

    Raises
    ------
    AssertionError
        The process died or did not end; the file that it was reading is named.
    """
    command = [sys.executable, os.fspath(Path(__file__)), kind, os.fspath(whole), os.fspath(folder)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
        lines, fate = run.stdout.splitlines(), f"died with {run.returncode}\n{run.stderr[-2000:]}"
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        text = output.decode() if isinstance(output, bytes) else output
        lines, fate = text.splitlines(), f"did not end within {timeout_s} s"
    records = [json.loads(line) for line in lines]
    begun = [record["begin"] for record in records if "begin" in record]
    ended = [record for record in records if "file" in record]
    if len(ended) != len(list(folder.iterdir())):
        raise AssertionError(f"reading {begun[-1] if begun else 'nothing yet'}: {fate}")
    return ended


def survive(
    kind: str, seeds: list[Path], folder: Path, count: int, timeout_s: float
) -> dict[str, int]:
    """Damage files ``count`` times in a new folder; return how many were read and refused."""
    folder.mkdir()
    write_damaged(folder, seeds, count, seed=count)
    records = read_all(kind, seeds[0].parent, folder, timeout_s)
    assert not [each for each in records if str(each["outcome"]).startswith("escaped")]
    assert not [each for each in records if each["seconds"] > LONGEST_READ_S]
    read = sum(each["outcome"] == "read" for each in records)
    fates = {"read": read, "refused": len(records) - read}
    print(kind, fates)
    return fates


def read_picture(path: Path, whole: Path) -> None:
    """Read a photo."""
    from trg.io.images import read_image

    pixels = read_image(path).pixels
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3


def read_animation(path: Path, whole: Path) -> None:
    """Read all frames of an image file."""
    from trg.io.image_clip import ImageClip
    from trg.io.inputs import AnimatedImage

    with ImageClip(AnimatedImage(str(path))) as clip:
        assert len(list(clip)) == clip.frame_count


def read_numbered_frames(path: Path, whole: Path) -> None:
    """Read a damaged frame between two whole ones: three frames, or an error at the end."""
    from trg.io.image_clip import ImageClip
    from trg.io.inputs import NumberedFrames

    _, _, name = path.name.partition("-")
    with tempfile.TemporaryDirectory(suffix=path.name) as folder:
        for number, file in ((1, whole / name), (2, path), (3, whole / name)):
            shutil.copy(file, Path(folder) / f"f{number}{path.suffix}")
        pattern = str(Path(folder) / f"f%d{path.suffix}")
        with ImageClip(NumberedFrames(pattern, 30.0)) as clip:
            assert len(list(clip)) == 3


def copy_video(path: Path, whole: Path) -> None:
    """Read a video and write it again with its sound, as for a drawn video."""
    from trg.io.video import VideoReader
    from trg.io.video_writer import VideoWriter

    with tempfile.TemporaryDirectory() as folder, VideoReader(path) as reader:
        target = Path(folder) / f"{path.name}.mkv"
        size = (reader.width, reader.height, reader.fps)
        last_s = -1.0
        with VideoWriter(target, *size, sound_from=path) as writer:
            for frame in reader:
                assert frame.pixels.shape == (reader.height, reader.width, 3)
                assert frame.pixels.dtype == np.uint8
                assert frame.time_s > last_s
                last_s = frame.time_s
                writer.write(frame.pixels, frame.time_s)


def read_boxes(path: Path, whole: Path) -> None:
    """Read a file of boxes."""
    from trg.io import boxes

    for each in boxes.read_boxes(path).values():
        assert each.shape[1:] == (4,)
        assert np.isfinite(each).all()


def read_camera(path: Path, whole: Path) -> None:
    """Read a calibration."""
    from trg.io.calibration import read_calibration

    camera = read_calibration(path)
    assert np.isfinite([camera.fx, camera.fy, camera.cx, camera.cy]).all()


def read_finished(path: Path, whole: Path) -> None:
    """Read a list of finished inputs, and the names in it, and write them again."""
    from trg.io.records.journal_lines import read_journal
    from trg.io.records.names import escape_name

    for name in read_journal(path.with_suffix("")).finished:
        json.dumps(escape_name(name)).encode()


def read_bundle(path: Path, whole: Path) -> None:
    """Read a weight bundle: what is accepted is what was written."""
    from trg.inference import bundle

    _, _, name = path.name.partition("-")
    assert bundle.read_bundle(path).model == _whole_model(whole / name)


@lru_cache
def _whole_model(path: Path) -> bytes:
    from trg.inference import bundle

    return bundle.read_bundle(path).model


def read_checkpoint(path: Path, whole: Path) -> None:
    """Load a checkpoint."""
    from trg.network.checkpoint import load_checkpoint

    load_checkpoint(path)


def read_store(path: Path, whole: Path) -> None:
    """Read a store with one damaged file: every record as it was written, or an error."""
    from trglab.datasets.files import read_or_error
    from trglab.datasets.store import ShardStore

    _, _, name = path.name.partition("-")
    with tempfile.TemporaryDirectory(suffix=path.name) as folder:
        for file in whole.iterdir():
            shutil.copy(path if file.name == name else file, Path(folder) / file.name)
        store, records = ShardStore(folder), _whole_records(whole)
        _ = store.topology
        assert len(store) == len(records)
        errors = []
        for number, record in enumerate(records):
            found = read_or_error(store.read, number)
            if isinstance(found, Exception):
                errors.append(found)
            else:
                assert found == record
        if errors:
            raise errors[0]
        assert store.provenance == ShardStore(whole).provenance


@lru_cache
def _whole_records(folder: Path) -> list[dict[str, bytes]]:
    from trglab.datasets.store import ShardStore

    store = ShardStore(folder)
    records = [store.read(number) for number in range(len(store))]
    return [{field: bytes(content) for field, content in each.items()} for each in records]


KINDS: dict[str, Callable[[Path, Path], None]] = {
    "picture": read_picture,
    "animation": read_animation,
    "numbered frames": read_numbered_frames,
    "video": copy_video,
    "boxes": read_boxes,
    "camera": read_camera,
    "finished": read_finished,
    "bundle": read_bundle,
    "checkpoint": read_checkpoint,
    "store": read_store,
}
"""What reads a file of each kind, given the folder of the whole files."""


def _outcome(kind: str, path: Path, whole: Path) -> str:
    """Return "read", "refused: ..." for a documented error, "escaped: ..." for any other."""
    try:
        KINDS[kind](path, whole)
    except Exception as error:  # any exception is an outcome
        is_documented = isinstance(error, (ValueError, OSError)) and (
            type(error).__module__ == "builtins" or type(error).__name__ == "UnreadableFileError"
        )
        named = path.name.removesuffix(".finished") in str(error)
        fate = "refused" if is_documented and named else "escaped"
        return f"{fate}: {type(error)} {error!s:.500}"
    return "read"


def main() -> None:
    """Read every file of a folder."""
    warnings.simplefilter("ignore")  # Pillow warns of unusual headers
    kind, whole, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    for path in sorted(folder.iterdir()):
        print(json.dumps({"begin": path.name}), flush=True)
        began_s = time.monotonic()
        outcome = _outcome(kind, path, whole)
        record = {"file": path.name, "outcome": outcome, "seconds": time.monotonic() - began_s}
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
