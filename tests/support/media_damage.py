"""Damaged image and video files, and a child process that reads them.

Run as ``python media_damage.py FOLDER``: reads every file of the folder and prints one JSON line
before and one after each. A codec that crashes takes that process down, not the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

LONGEST_READ_S = 20.0


def damaged(data: bytes, other: bytes, generator: np.random.Generator) -> bytes:
    """Return a file's bytes with one to three damages; parts of ``other`` may be spliced in."""
    for _ in range(generator.integers(1, 4)):
        array = np.frombuffer(data, np.uint8).copy()
        # Headers decide most; half of the damages are there.
        reach = len(array) if generator.random() < 0.5 else min(len(array), 400)
        at = int(generator.integers(0, max(reach, 1)))
        length = int(generator.integers(1, 1 + max(1, min(64, len(array) - at))))
        damage = generator.integers(0, 5)
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
        else:
            start = int(generator.integers(0, max(len(other), 1)))
            data = data[:at] + other[start : start + length * 16] + data[at:]
        if not data:
            return data
    return data


def write_damaged(folder: Path, seeds: list[Path], count: int, seed: int) -> None:
    """Write ``count`` damaged files, each from one of the seeds in turn."""
    generator = np.random.default_rng(seed)
    whole = [path.read_bytes() for path in seeds]
    for index in range(count):
        path = seeds[index % len(seeds)]
        other = whole[int(generator.integers(len(whole)))]
        data = damaged(whole[index % len(seeds)], other, generator)
        (folder / f"{index:04d}{path.suffix}").write_bytes(data)


def read_all(folder: Path, video: bool, timeout_s: float) -> list[dict[str, object]]:
    """Read the folder in a process of its own and return the outcome of each file.

    Raises
    ------
    AssertionError
        The process died or did not end; the file that it was reading is named.
    """
    command = [sys.executable, os.fspath(Path(__file__)), os.fspath(folder), str(int(video))]
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


def _outcome(path: Path, video: bool) -> str:
    """Return "read", "refused: ..." for a documented error, "escaped: ..." for any other."""
    from trg.io.images import read_image

    try:
        if video:
            return _copy_outcome(path)
        pixels = read_image(path).pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            return f"escaped: wrong pixels {pixels.shape} of {pixels.dtype}"
    except Exception as error:  # any exception is an outcome
        plain = isinstance(error, (ValueError, OSError)) and type(error).__module__ == "builtins"
        named = path.name in str(error)
        return f"{'refused' if plain and named else 'escaped'}: {type(error)} {error}"
    return "read"


def _copy_outcome(path: Path) -> str:
    """Read a video and write it again with its sound, as for a drawn video."""
    from trg.io.video import VideoReader
    from trg.io.video_writer import VideoWriter

    with tempfile.TemporaryDirectory() as folder, VideoReader(path) as reader:
        target = Path(folder) / f"{path.name}.mkv"
        size = (reader.width, reader.height, reader.fps)
        last_s = -1.0
        with VideoWriter(target, *size, sound_from=path) as writer:
            for frame in reader:
                whole = frame.pixels.shape == (reader.height, reader.width, 3)
                if not whole or frame.pixels.dtype != np.uint8 or frame.time_s <= last_s:
                    return f"escaped: wrong frame {frame.pixels.shape} at {frame.time_s}"
                last_s = frame.time_s
                writer.write(frame.pixels, frame.time_s)
    return "read"


def main() -> None:
    """Read every file of a folder."""
    warnings.simplefilter("ignore")  # Pillow warns of unusual headers
    folder, video = Path(sys.argv[1]), bool(int(sys.argv[2]))
    for path in sorted(folder.iterdir()):
        print(json.dumps({"begin": path.name}), flush=True)
        began_s = time.monotonic()
        outcome = _outcome(path, video)
        record = {"file": path.name, "outcome": outcome, "seconds": time.monotonic() - began_s}
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
