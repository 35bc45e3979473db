"""Files beside the records: photos and videos with the faces drawn in, meshes, failed inputs."""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trg._util.files import MAX_NAME_BYTES, remove_partial_files, write_atomic, write_text_atomic
from trg.estimator import FrameResult
from trg.face import Face
from trg.io.inputs import MediaInput, Photo, PhotoInput, UnreadableFolder, VideoInput
from trg.io.meshes import MESH_WRITERS, HeadAnimation, write_glb
from trg.io.overlay import OverlayStyle, draw_faces
from trg.io.records.journal_lines import written_files
from trg.io.records.names import escape_name

if TYPE_CHECKING:  # PyAV takes 60 ms to import, and photos do not need it
    from trg.io.image_clip import FrameReader
    from trg.io.video_writer import VideoWriter

MeshFormat = Literal["obj", "ply", "glb"]

JPEG_QUALITY = 92
JPEG_MAX_SIDE = 65_500
"""Larger drawings are written as PNG."""

VIDEO_SUFFIXES = (".mp4", ".mkv")
"""Formats of drawn videos; the second is for sound that the first cannot hold."""

FAILURES_SUFFIX = ".failures.csv"
"""Of the list of failed inputs, after the name of the records."""

LONGEST_SUFFIX = 32
"""Bytes of the longest ending of a result's name, ``.openface.csv.failures.csv``, and a reserve."""

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Reasons for which no other file can be written either."""

SOUND_WARNING = "drawn without sound: neither MP4 nor Matroska can hold the codec of its sound"


class OutputError(Exception):
    """A file of one input cannot be written; the other inputs are not affected."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Which files are written for each input, apart from its records.

    A file that no run has written is not replaced, unless ``overwrite``.

    Raises ValueError if files are requested without a folder.
    """

    folder: Path | None = None
    """The output folder. None: no files are written."""
    stems: Mapping[str, str] | None = None
    """Path of each input's files in the folder, without suffix, by the input's name
    (:func:`output_stems`)."""
    draw: OverlayStyle | None = None
    """Write ``.jpg`` or ``.mp4`` files with the faces drawn in."""
    mesh: MeshFormat | None = None
    """Write ``.obj``, ``.ply`` or ``.glb`` files with the faces of a photo; for a video, a ``.glb``
    file with animated heads."""
    mesh_photo: bool = False
    """Give the ``.glb`` file of a photo the photo as texture, and on a plane behind the faces."""
    overwrite: bool = False
    """Replace files of other programs, too."""
    claim: Callable[[str], None] = lambda path: None
    """Notes a file, by its path in the folder, before it is written; see
    :meth:`trg.io.records.writers.RecordWriter.claim`."""
    known: set[str] = field(default_factory=set)
    """Files in the folder that a run has written."""

    def __post_init__(self) -> None:
        if (self.draw or self.mesh) and (self.folder is None or self.stems is None):
            raise ValueError("drawings and meshes: expected a folder to write them to (-o DIR)")

    def check(self, inputs: Sequence[MediaInput]) -> None:
        """Check that all files can be written, before any is.

        Raises
        ------
        ValueError
            An output is not supported or would overwrite an input.
        FileExistsError
            A file exists that no run has written.
        """
        if self.mesh_photo and self.mesh != "glb":
            raise ValueError("mesh photo: expected --mesh glb, which can hold it")
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
        self.refuse_foreign(each for item in inputs for each in self._targets(item))

    def refuse_foreign(self, paths: Iterable[Path]) -> None:
        """Raise FileExistsError if one of these files exists and no run has written it.

        A folder at such a path is no reason to refuse a run; writing there fails later.
        """
        if self.folder is None or self.overwrite:
            return
        existing = [path for path in paths if os.path.lexists(path) and not path.is_dir()]
        if not {self._relative(path) for path in existing} <= self.known:
            self.known.update(written_files(self.folder))
        foreign = [path for path in existing if self._relative(path) not in self.known]
        if foreign:
            others = f" and {len(foreign) - 1} others" if len(foreign) > 1 else ""
            raise FileExistsError(
                f"{foreign[0]}{others}: exists already and was not written by trg; choose another "
                "folder, or replace it with --overwrite"
            )

    def remove_partial_files(self, inputs: Sequence[MediaInput]) -> None:
        """Remove what killed runs left in the folders of the results."""
        if self.folder is not None:
            targets = (each.parent for item in inputs for each in self._targets(item))
            remove_partial_files({self.folder, *targets})

    def write_photo(self, photo: Photo, pixels: NDArray[np.uint8], faces: Sequence[Face]) -> None:
        """Write the requested files of a photo; a mesh only if there is a face.

        Raises
        ------
        OutputError
            A file cannot be written.
        OSError
            The disk is full.
        """
        with _failures_of_one_input():
            if self.draw:
                drawn = Image.fromarray(draw_faces(pixels, faces, self.draw))
                suffix = ".jpg" if max(drawn.size) <= JPEG_MAX_SIDE else ".png"
                path = self._prepare_path(photo, suffix)
                write_atomic(path, lambda file: drawn.save(file, quality=JPEG_QUALITY))
            if self.mesh and faces:
                path = self._prepare_path(photo, f".{self.mesh}")
                if self.mesh_photo:
                    try:
                        write_glb(path, faces, pixels)
                    except ValueError as error:  # a lens model without rays for some pixels
                        raise OutputError(f"{path}: {error}") from error
                else:
                    MESH_WRITERS[self.mesh](path, faces)

    @contextmanager
    def open_video(self, video: VideoInput, reader: FrameReader) -> Iterator[VideoOutputs]:
        """Open the requested files of a video; they are complete after the block, or absent.

        Raises the errors of :meth:`write_photo`.
        """
        animation = HeadAnimation() if self.mesh else None
        drawing, warning = None, ""
        with _failures_of_one_input():
            if self.draw:
                drawing, warning = self._open_drawing(video, reader)
        with drawing or nullcontext():
            yield VideoOutputs(drawing, self.draw, animation, warning)
            with _failures_of_one_input():
                if drawing is not None:
                    drawing.close()
        with _failures_of_one_input():
            if animation:
                animation.write(self._prepare_path(video, ".glb"))

    def _open_drawing(self, video: VideoInput, reader: FrameReader) -> tuple[VideoWriter, str]:
        """Open the drawn video with the original's sound; return it, and a warning without."""
        from trg.io.video_writer import VideoWriter

        size_and_rate = (reader.width, reader.height, reader.fps)
        for suffix in VIDEO_SUFFIXES:
            path = self._prepare_path(video, suffix, claim=False)
            with suppress(ValueError):  # this container cannot hold the sound
                drawing = VideoWriter(path, *size_and_rate, reader.path)
                self._claim(path)
                return drawing, ""
        path = self._prepare_path(video, VIDEO_SUFFIXES[0])
        return VideoWriter(path, *size_and_rate), SOUND_WARNING

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

    def _prepare_path(self, item: MediaInput, suffix: str, claim: bool = True) -> Path:
        path = self._path(item, suffix)
        self.refuse_foreign([path])  # it may have come since the check
        path.parent.mkdir(parents=True, exist_ok=True)
        if claim:
            self._claim(path)
        return path

    def _claim(self, path: Path) -> None:
        name = self._relative(path)
        self.known.add(name)
        self.claim(name)

    def _relative(self, path: Path) -> str:
        assert self.folder is not None
        return escape_name(os.path.relpath(path, self.folder))


@dataclass(frozen=True, slots=True)
class VideoOutputs:
    """The open files of a video, which receive one frame after another."""

    drawing: VideoWriter | None
    style: OverlayStyle | None
    animation: HeadAnimation | None
    warning: str = ""
    """What is missing in the files."""

    def draw(self, frame: FrameResult) -> FrameResult:
        """Return a frame as :meth:`add` expects it: with the faces drawn in for a video."""
        if self.drawing is None:
            return frame
        return replace(frame, pixels=draw_faces(frame.pixels, frame.faces, self.style))

    def add(self, frame: FrameResult) -> None:
        """Add a drawn frame; raises the errors of :meth:`Outputs.write_photo`."""
        with _failures_of_one_input():
            if self.drawing is not None:
                self.drawing.write(frame.pixels, frame.time_s)
            if self.animation is not None:
                self.animation.add(frame.faces, frame.time_s)


def output_stems(
    inputs: Sequence[MediaInput], arguments: Sequence[str], folder: Path
) -> dict[str, str]:
    """Return the path of each input's files within ``folder``, without suffix, by input name.

    Files of a folder argument keep their relative path; other files keep only their name. On a
    collision the later input appends its suffix (``a_png``), and if needed a number. A name that is
    too long for a result's suffix is shortened. If ``folder`` lies inside a folder argument, its
    content is the result of an earlier run: such inputs are left out.
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
        stem = fitting_stem(stem)
        choices = chain((stem, f"{stem}_{suffix[1:6]}"), (f"{stem}_{n}" for n in count(2)))
        stems[item.name] = next(each for each in choices if each not in taken)
        taken.add(stems[item.name])
    return stems


def _is_within(path: str, folder: str) -> bool:
    return os.path.join(path, "").startswith(os.path.join(folder, ""))


def fitting_stem(stem: str) -> str:
    """Return a file's name or path without suffix, short enough to get any suffix of a result."""
    folder, name = os.path.split(stem)
    encoded = os.fsencode(name)
    limit = MAX_NAME_BYTES - LONGEST_SUFFIX
    if len(encoded) > limit:
        name = encoded[:limit].decode("utf-8", "ignore")  # not half a character
    return os.path.join(folder, name)


def write_failures(path: Path, failures: Sequence[tuple[str, str]]) -> None:
    """Write the failed inputs and their errors as CSV.

    Raises OSError if the folder is not writable.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("source", "error"))
    rows.writerows(map(escape_name, row) for row in failures)
    write_text_atomic(path, text.getvalue())


@contextmanager
def _failures_of_one_input() -> Iterator[None]:
    """Raise OSErrors as :class:`OutputError`, unless no other file could be written either."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL_DISK:
            raise
        raise OutputError(str(error)) from error
