"""Files beside the records: photos and videos with the faces drawn in, and meshes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trg._util.files import write_atomic
from trg.face import Face
from trg.io.inputs import MediaInput, PhotoInput, UnreadableFolder, VideoInput
from trg.io.meshes import MESH_WRITERS, HeadAnimation
from trg.io.overlay import draw_faces
from trg.io.video import VideoReader
from trg.io.video_writer import VideoWriter

MeshFormat = Literal["obj", "ply", "glb"]

JPEG_QUALITY = 92

VIDEO_SUFFIXES = (".mp4", ".mkv")
"""Formats of drawn videos; the second is for sound that the first cannot hold."""

SOUND_WARNING = "drawn without sound: neither MP4 nor Matroska can hold the codec of its sound"


@dataclass(frozen=True, slots=True)
class Outputs:
    """Which files are written for each input, apart from its records.

    Raises ValueError if files are requested without a folder.
    """

    folder: Path | None = None
    """The output folder. None: no files are written."""
    stems: Mapping[str, str] | None = None
    """Path of each input's files in the folder, without suffix, by the input's name
    (:func:`output_stems`)."""
    draw: bool = False
    """Write ``.jpg`` or ``.mp4`` files with the faces drawn in."""
    mesh: MeshFormat | None = None
    """Write ``.obj``, ``.ply`` or ``.glb`` files with the faces of a photo; for a video, a ``.glb``
    file with animated heads."""

    def __post_init__(self) -> None:
        if (self.draw or self.mesh) and (self.folder is None or self.stems is None):
            raise ValueError("drawings and meshes: expected a folder to write them to (-o DIR)")

    def check(self, inputs: Sequence[MediaInput]) -> None:
        """Raise ValueError if an output is not supported or would overwrite an input."""
        videos = [item.name for item in inputs if isinstance(item, VideoInput)]
        if self.mesh not in (None, "glb") and videos:
            raise ValueError(
                f"mesh {self.mesh}: {videos[0]} is a video, whose animated heads only glb can "
                "hold; expected --mesh glb"
            )
        input_paths = {os.path.realpath(item.path) for item in inputs if item.path is not None}
        for item in inputs:
            for target in self._targets(item):
                if os.path.realpath(target) in input_paths:
                    raise ValueError(
                        f"{target}: is one of the inputs and would be overwritten; expected "
                        "another folder for the results"
                    )

    def write_photo(
        self, photo: PhotoInput, pixels: NDArray[np.uint8], faces: Sequence[Face]
    ) -> None:
        """Write the requested files of a photo; a mesh only if there is a face.

        Raises OSError if the folder is not writable.
        """
        if self.draw:
            drawn = Image.fromarray(draw_faces(pixels, faces))
            path = self._prepare_path(photo, ".jpg")
            write_atomic(path, lambda file: drawn.save(file, "JPEG", quality=JPEG_QUALITY))
        if self.mesh and faces:
            MESH_WRITERS[self.mesh](self._prepare_path(photo, f".{self.mesh}"), faces)

    @contextmanager
    def open_video(self, video: VideoInput, reader: VideoReader) -> Iterator[VideoOutputs]:
        """Open the requested files of a video; they are complete after the block, or absent.

        Raises OSError if the folder is not writable.
        """
        animation = HeadAnimation() if self.mesh else None
        if self.draw:
            drawing, warning = _open_drawing(self._prepare_path(video, ".mp4"), reader)
            with drawing:
                yield VideoOutputs(drawing, animation, warning)
        else:
            yield VideoOutputs(None, animation)
        if animation:
            animation.write(self._prepare_path(video, ".glb"))

    def _targets(self, item: MediaInput) -> list[Path]:
        suffixes: list[str] = []
        if isinstance(item, UnreadableFolder):
            return []
        if self.draw:
            suffixes += (".jpg",) if isinstance(item, PhotoInput) else VIDEO_SUFFIXES
        if self.mesh:
            suffixes.append(f".{self.mesh}")
        return [self._path(item, suffix) for suffix in suffixes]

    def _path(self, item: MediaInput, suffix: str) -> Path:
        assert self.folder is not None
        assert self.stems is not None
        return self.folder / f"{self.stems[item.name]}{suffix}"

    def _prepare_path(self, item: MediaInput, suffix: str) -> Path:
        path = self._path(item, suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True, slots=True)
class VideoOutputs:
    """The open files of a video, which receive one frame after another."""

    drawing: VideoWriter | None
    animation: HeadAnimation | None
    warning: str = ""
    """What is missing in the files."""

    def add(self, pixels: NDArray[np.uint8], faces: Sequence[Face], time_s: float) -> None:
        """Add a frame."""
        if self.drawing is not None:
            self.drawing.write(draw_faces(pixels, faces), time_s)
        if self.animation is not None:
            self.animation.add(faces, time_s)


def output_stems(
    inputs: Sequence[MediaInput], arguments: Sequence[str], folder: Path
) -> dict[str, str]:
    """Return the path of each input's files within ``folder``, without suffix, by input name.

    Files of a folder argument keep their relative path; other files keep only their name. On a
    collision the later input appends its suffix (``a_png``), and if needed a number. If ``folder``
    lies inside a folder argument, its content is the result of an earlier run: such inputs are
    left out.
    """
    roots = [os.path.realpath(each) for each in arguments if os.path.isdir(each)]
    results = os.path.realpath(folder)
    stems: dict[str, str] = {}
    taken: set[str] = set()
    for item in inputs:
        if item.path is not None:
            path = os.path.realpath(item.path)
            root = next((each for each in roots if _is_within(path, each)), None)
            is_nested = root is not None and root != results and _is_within(results, root)
            if is_nested and _is_within(path, results):
                continue
            stem, suffix = os.path.splitext(os.path.relpath(path, root or os.path.dirname(path)))
        else:
            stem, suffix = "".join(c if c.isalnum() else "_" for c in item.name), ""
        choices = chain((stem, f"{stem}_{suffix[1:]}"), (f"{stem}_{n}" for n in count(2)))
        stems[item.name] = next(each for each in choices if each not in taken)
        taken.add(stems[item.name])
    return stems


def _is_within(path: str, folder: str) -> bool:
    return os.path.join(path, "").startswith(os.path.join(folder, ""))


def _open_drawing(path: Path, reader: VideoReader) -> tuple[VideoWriter, str]:
    """Open the drawn video with the original's sound; return it and a warning if that fails."""
    size_and_rate = (reader.width, reader.height, reader.fps)
    for suffix in VIDEO_SUFFIXES:
        with suppress(ValueError):  # this container cannot hold the sound
            return VideoWriter(path.with_suffix(suffix), *size_and_rate, reader.path), ""
    return VideoWriter(path, *size_and_rate), SOUND_WARNING
