"""Smoke test of an installed `trg`: a photo, a video with sound, the formats, `trg doctor`.

Run with the interpreter of the environment under test. The only input is the package's own
self-test photo; the clip with sound is made here. Needs no test runner and no file of the
repository, and exits with an error at the first thing that is wrong.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

import trg

FRAMES, FRAME_RATE, SAMPLE_RATE = 10, 25, 48_000
PYTHON_FOLDER = Path(sys.executable).parent


def main() -> None:
    """Run every check in a temporary folder."""
    [photo] = Path(trg.__file__).parent.glob("app/*/face.jpg")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_trg("doctor")
        run_trg("models")

        run_trg("predict", photo, "-o", folder / "photo", "--draw", "--mesh", "glb")
        [record] = read_records(folder / "photo" / "face.jsonl")
        check(len(record["faces"]) == 1, f"expected one face in the photo, got {record}")
        check_image_differs(folder / "photo" / "face.jpg", photo)
        check((folder / "photo" / "face.glb").stat().st_size > 0, "the mesh is empty")

        clip = folder / "clip.mp4"
        write_clip(clip, photo)
        run_trg("predict", clip, "-o", folder / "video", "--draw")
        records = read_records(folder / "video" / "clip.jsonl")
        check(len(records) == FRAMES, f"expected {FRAMES} records, got {len(records)}")
        check(all(len(each["faces"]) == 1 for each in records), "expected a face in each frame")
        drawn = folder / "video" / "clip.mp4"
        check(count_frames(drawn, "video") == FRAMES, "the drawn video lost frames")
        check(
            count_frames(drawn, "audio") == count_frames(clip, "audio") > 0,
            "the drawn video lost its sound",
        )

        for table, suffix in (("csv", ".csv"), ("openface", ".openface.csv")):
            run_trg("predict", clip, "-o", folder / table, "--format", table)
            rows = (folder / table / f"clip{suffix}").read_text().splitlines()[1:]
            check(len(rows) == FRAMES, f"expected {FRAMES} rows of {table}, got {len(rows)}")
    print("smoke test passed")


def run_trg(*arguments: object) -> None:
    """Run the command as a user does."""
    command = [str(PYTHON_FOLDER / "trg"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    check(
        done.returncode == 0,
        f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}",
    )
    print("ok: trg", *arguments, flush=True)


def write_clip(path: Path, photo: Path) -> None:
    """Write a clip of the photo moving sideways, with a 440 Hz tone."""
    pixels = np.array(Image.open(photo).convert("RGB"))
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FRAME_RATE)
        video.height, video.width = pixels.shape[:2]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE)
        for index in range(FRAMES):
            shifted = np.roll(pixels, 2 * index, axis=1)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(shifted), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = np.arange(FRAMES * SAMPLE_RATE // FRAME_RATE)
        tone = (8000 * np.sin(samples * 2 * np.pi * 440 / SAMPLE_RATE)).astype(np.int16)
        size = audio.codec_context.frame_size or 1024
        for start in range(0, len(tone) - size + 1, size):
            frame = av.AudioFrame.from_ndarray(tone[None, start : start + size], "s16", "mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, start
            frame.time_base = Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))


def read_records(path: Path) -> list[dict]:
    """Read JSON Lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def count_frames(path: Path, kind: str) -> int:
    """Count the decoded frames of the first stream of a kind; 0 without one."""
    with av.open(str(path)) as container:
        if not getattr(container.streams, kind):
            return 0
        return sum(1 for _ in container.decode(**{kind: 0}))


def check_image_differs(path: Path, original: Path) -> None:
    """Check that something was drawn."""
    drawn, before = (np.array(Image.open(each).convert("RGB"), int) for each in (path, original))
    check(drawn.shape == before.shape, f"{path}: expected shape {before.shape}, got {drawn.shape}")
    check(np.abs(drawn - before).max() > 100, f"{path}: nothing is drawn")


def check(condition: bool, message: str) -> None:
    """Exit with the message unless the condition holds."""
    if not condition:
        sys.exit(f"smoke test failed: {message}")


if __name__ == "__main__":
    main()
