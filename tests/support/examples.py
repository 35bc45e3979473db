"""Runs of the programs in ``examples/``, and the records and clips that they read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.child_process import ROOT
from tests.support.faces import VGA, make_face
from trg.app.selftest import IMAGE_NAME, SELFTEST_FOLDER
from trg.error_bars import STD_COUNT, ErrorBars
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.projection import OPTICAL_AXIS
from trg.geometry.rotations import rotation_between
from trg.inference.bundle import DEFAULT_BUNDLE, bundled_names
from trg.inference.detector import BUNDLED
from trg.io.records.frame_record import FrameFaces
from trg.io.records.writers import RecordFormat, open_records
from trg.io.video_writer import VideoWriter

EXAMPLES = ROOT / "examples"

needs_weights = pytest.mark.skipif(
    DEFAULT_BUNDLE not in bundled_names() or not BUNDLED.is_file(),
    reason="this copy of the package has no weights or no face detector",
)

EYES_M = np.array([0.0, -0.034, -0.086])
"""Between the eyes of a mean head, in the head frame (docs/conventions.md)."""


def run_example(name: str, *arguments: object, folder: Path, stdin: str | None = None):
    """Run an example in a folder as a user would; return its outputs. It has to succeed."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={  # `trg` is the command of the tested package
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(map(str, sys.path)),
        },
    )
    assert done.returncode == 0, done.stderr
    return done


def face_toward(
    point_m: Sequence[float],
    eyes_m: Sequence[float] = (0.0, 0.0, 0.6),
    rotation_std_deg: float = 0.0,
    camera: Camera = VGA,
    **changes: object,
) -> Face:
    """Return a face whose forward axis, from between the eyes, meets a point; both in the camera
    frame."""
    direction = np.subtract(point_m, eyes_m)
    rotation = rotation_between(-OPTICAL_AXIS, direction)
    std = np.zeros(STD_COUNT)
    std[:3] = rotation_std_deg
    place_m = np.array(eyes_m) - rotation @ EYES_M
    bars = ErrorBars(std)
    return make_face(
        translation_m=place_m, camera=camera, rotation=rotation, error_bars=bars, **changes
    )


def write_frames(
    path: Path,
    frames: Iterable[Sequence[Face]],
    fps: float = 10.0,
    format: RecordFormat = "jsonl",  # noqa: A002 -- the name it has in open_records
    source: str = "clip.mp4",
    camera: Camera = VGA,
) -> Path:
    """Write records of a video with the faces of each frame."""
    with open_records(format, path) as records:
        for index, faces in enumerate(frames):
            records.write(FrameFaces(source, camera, faces, index, index / fps))
        records.finish(source)
    return path


def selftest_photo() -> np.ndarray:
    """Return the picture of a rendered face that the package has for its self-test."""
    with Image.open(SELFTEST_FOLDER / IMAGE_NAME) as file:
        return np.asarray(file.convert("RGB"))


def write_clip(path: Path, pictures: Iterable[np.ndarray], fps: float = 10.0) -> Path:
    """Write pictures ``(h, w, 3)`` of one even size as a video."""
    pictures = list(pictures)
    height, width = pictures[0].shape[:2]
    with VideoWriter(str(path), width, height, fps) as clip:
        for index, pixels in enumerate(pictures):
            clip.write(pixels, index / fps)
    return path
