"""Files beside the records: pictures and videos with faces drawn on them, and meshes."""

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

from trg._util.atomic import write_atomic
from trg.face import Face
from trg.io.inputs import MediaInput
from trg.io.meshes import MESH_WRITERS, HeadAnimation
from trg.io.overlay import draw_faces
from trg.io.video import VideoReader
from trg.io.video_writer import VideoWriter

MeshFormat = Literal["obj", "ply", "glb"]

JPEG_QUALITY = 92

VIDEO_SUFFIXES = (".mp4", ".mkv")
"""The second is for sound that the first cannot hold."""

NO_SOUND = "its sound is coded in a way that neither MP4 nor Matroska can hold: drawn without"


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is written for each source, apart from its records.

    Attributes
    ----------
    folder
        Where. None: nothing is written.
    stems
        For each source's name its files' path in the folder, without ending
        (:func:`output_stems`).
    draw
        ``.jpg`` or ``.mp4`` with the faces drawn in.
    mesh
        ``.obj``, ``.ply`` or ``.glb`` with the faces of a photo; a video's is a ``.glb`` whose
        heads move.

    Raises
    ------
    ValueError
        There is something to write and nowhere to.
    """

    folder: Path | None = None
    stems: Mapping[str, str] | None = None
    draw: bool = False
    mesh: MeshFormat | None = None

    def __post_init__(self) -> None:
        if (self.draw or self.mesh) and (self.folder is None or self.stems is None):
            raise ValueError("drawings and meshes: expected a folder to write them to (-o DIR)")

    def check(self, sources: Sequence[MediaInput]) -> None:
        """Raise ValueError where a source cannot be written as asked, or would be overwritten."""
        moving = [source.name for source in sources if source.kind != "photo"]
        if self.mesh not in (None, "glb") and moving:
            raise ValueError(
                f"mesh {self.mesh}: {moving[0]} is a video, whose moving heads only glb can hold; "
                "expected --mesh glb"
            )
        inputs = {os.path.realpath(s.path) for s in sources if isinstance(s.path, str)}
        for source in sources:
            for target in self._targets(source):
                if os.path.realpath(target) in inputs:
                    raise ValueError(
                        f"{target}: is one of the sources and would be overwritten; expected "
                        "another folder for the results"
                    )

    def write_photo(
        self, source: MediaInput, pixels: NDArray[np.uint8], faces: Sequence[Face]
    ) -> None:
        """Write what is asked for of a photo; a mesh only if there is a face.

        Raises
        ------
        OSError
            The folder cannot be written.
        """
        if self.draw:
            drawn = Image.fromarray(draw_faces(pixels, faces))
            path = self._path(source, ".jpg")
            write_atomic(path, lambda file: drawn.save(file, "JPEG", quality=JPEG_QUALITY))
        if self.mesh and faces:
            MESH_WRITERS[self.mesh](self._path(source, f".{self.mesh}"), faces)

    @contextmanager
    def open_video(self, source: MediaInput, reader: VideoReader) -> Iterator[VideoOutputs]:
        """Open what is asked for of a video; the files are whole after the block, or not there.

        Raises
        ------
        OSError
            The folder cannot be written.
        """
        animation = HeadAnimation() if self.mesh else None
        if self.draw:
            overlay, note = _video_writer(self._path(source, ".mp4"), reader)
            with overlay:
                yield VideoOutputs(overlay, animation, note)
        else:
            yield VideoOutputs(None, animation)
        if animation:
            animation.write(self._path(source, ".glb"))

    def _targets(self, source: MediaInput) -> list[Path]:
        is_photo = source.kind == "photo"
        suffixes = [*((".jpg",) if is_photo else VIDEO_SUFFIXES)] if self.draw else []
        if self.mesh:
            suffixes.append(f".{self.mesh}")
        return [self._path(source, suffix, make_folder=False) for suffix in suffixes]

    def _path(self, source: MediaInput, suffix: str, make_folder: bool = True) -> Path:
        assert self.folder is not None
        assert self.stems is not None
        path = self.folder / f"{self.stems[source.name]}{suffix}"
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True, slots=True)
class VideoOutputs:
    """What grows frame by frame."""

    overlay: VideoWriter | None
    animation: HeadAnimation | None
    note: str = ""
    """What the user should know about them"""

    def add(self, pixels: NDArray[np.uint8], faces: Sequence[Face], time_s: float) -> None:
        """Add a frame."""
        if self.overlay is not None:
            self.overlay.write(draw_faces(pixels, faces), time_s)
        if self.animation is not None:
            self.animation.add(faces, time_s)


def output_stems(
    sources: Sequence[MediaInput], arguments: Sequence[str], folder: Path
) -> dict[str, str]:
    """Return for each source's name where its results go, without ending, within ``folder``.

    Files of a folder that was named keep their place in it; other files keep their name only.
    Where two would meet, the later takes its old ending into the name (``a_png``), and if need be
    a number. What lies in the results' folder is no source if that folder is within one of the
    sources' folders: an earlier run wrote it; such names are left out.
    """
    roots = [os.path.realpath(each) for each in arguments if os.path.isdir(each)]
    results = os.path.realpath(folder)
    stems: dict[str, str] = {}
    taken: set[str] = set()
    for source in sources:
        if isinstance(source.path, str) and os.path.exists(source.path):
            path = os.path.realpath(source.path)
            root = next((each for each in roots if _is_within(path, each)), None)
            is_below = root is not None and root != results and _is_within(results, root)
            if is_below and _is_within(path, results):
                continue
            stem, suffix = os.path.splitext(os.path.relpath(path, root or os.path.dirname(path)))
        else:
            stem, suffix = "".join(c if c.isalnum() else "_" for c in source.name), ""
        choices = chain((stem, f"{stem}_{suffix[1:]}"), (f"{stem}_{n}" for n in count(2)))
        stems[source.name] = next(each for each in choices if each not in taken)
        taken.add(stems[source.name])
    return stems


def _is_within(path: str, folder: str) -> bool:
    return os.path.join(path, "").startswith(os.path.join(folder, ""))


def _video_writer(path: Path, reader: VideoReader) -> tuple[VideoWriter, str]:
    """Open the overlay with the original's sound, if there is a way, and say if there is none."""
    size_and_rate = (reader.width, reader.height, reader.fps)
    for suffix in VIDEO_SUFFIXES:
        with suppress(ValueError):  # this container cannot hold it
            return VideoWriter(path.with_suffix(suffix), *size_and_rate, reader.path), ""
    return VideoWriter(path, *size_and_rate), NO_SOUND
