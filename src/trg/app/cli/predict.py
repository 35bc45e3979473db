"""The verb that users come for: head poses of photos, folders, videos and webcams."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.markup import escape
from rich.progress import Progress, TaskID

from trg.app.cli.shared import Positive, app, messages

if TYPE_CHECKING:
    from trg.app.predict import Summary
    from trg.face import Face
    from trg.geometry.camera import FovAxis
    from trg.geometry.camera_source import CameraLike
    from trg.io.inputs import MediaInput
    from trg.io.records.writers import RecordFormat

SUFFIXES = {"jsonl": ".jsonl", "csv": ".csv", "openface": ".openface.csv", "parquet": ".parquet"}
SEVERAL = "faces"
"""What the results of several arguments are called."""

STOPPED, BROKEN_PIPE = 130, 141
"""What a shell says of programs that Ctrl-C ended, and whose reader has gone."""


@app.command(sort_key=0)
def predict(
    *sources: str,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    record_format: Annotated[
        Literal["jsonl", "csv", "parquet", "openface"], Parameter(name="--format")
    ] = "jsonl",
    draw: bool = False,
    mesh: Literal["obj", "ply", "glb"] | None = None,
    focal: float | None = None,
    fov: float | None = None,
    fov_axis: Literal["horizontal", "vertical", "diagonal"] = "horizontal",
    camera: Path | None = None,
    boxes: Path | None = None,
    max_faces: Positive | None = None,
    smallest_face: Positive | None = None,
    ipd: float | None = None,
    smooth: bool = True,
    landmarks: bool = False,
    resume: bool = False,
    model: str | None = None,
    flip_tta: bool = False,
    threads: Positive = 1,
    batch_size: Positive = 32,
) -> None:
    """Find the heads in photos and videos.

    Results are JSON Lines on the standard output, one object per photo or frame, unless a folder
    for them is given. Messages go to stderr. A file that cannot be read is reported and the rest
    goes on; the exit code is 1 then.

    Parameters
    ----------
    sources
        Photos, videos, folders of them, globs, the number of a webcam, the URL of a stream.
    out
        Folder for results. The records are named after the source, or ``faces`` if there are
        several.
    record_format
        ``jsonl``, ``csv``, ``parquet`` (needs the extra ``data``), or ``openface``: CSV with
        OpenFace's column names and conventions.
    draw
        Write pictures or videos with the faces drawn in; a video keeps its sound.
    mesh
        Write the faces of each photo as ``obj``, ``ply`` or ``glb``; a video as ``glb`` with heads
        that move.
    focal
        The camera's focal length, px.
    fov
        The camera's field of view, degrees.
    fov_axis
        What ``--fov`` spans: ``horizontal``, ``vertical`` or ``diagonal``.
    camera
        The camera's calibration: OpenCV's YAML, ROS's camera_info, COLMAP's cameras.txt, or JSON.
    boxes
        Face boxes of photos, JSON or CSV (docs/cli.md), in place of the detector.
    max_faces
        Find at most so many in a picture.
    smallest_face
        Look for faces down to this size in large pictures, too: the side of a box from brows to
        chin and half as much again, px. The smaller, the longer it takes.
    ipd
        The person's distance between the pupils, mm: settles the size of faces, and with it their
        distance.
    smooth
        Calm the poses of a video over time.
    landmarks
        Record the 1220 landmarks of each face, too.
    resume
        Go on with an earlier run's results; what it finished is skipped.
    model
        The weights: a name that ``trg models`` lists, or a .trg file.
    flip_tta
        Flip test-time augmentation: average the estimates of each crop and of its mirror image.
        More accurate, at twice the cost.
    threads
        CPU threads.
    batch_size
        Photos that are looked at together.
    """
    from trg.app.outputs import Outputs, output_stems
    from trg.app.predict import PredictOptions, Predictor
    from trg.estimator import CANDIDATE_THRESHOLD, HeadPoseEstimator
    from trg.inference.detector import FaceDetector
    from trg.io.boxes import read_boxes
    from trg.io.inputs import find_inputs
    from trg.io.records.writers import open_records

    if not sources:
        raise ValueError("sources: expected photos, videos, folders, a webcam's number or a URL")
    if out is not None and out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out}: expected a folder for the results, got a file")
    found = find_inputs(sources)
    stems = None
    if out is not None:
        stems = output_stems(found, sources, out)
        found = [source for source in found if source.name in stems]
    outputs = Outputs(out, stems, draw, mesh)
    options = PredictOptions(
        camera=_camera(focal, fov, fov_axis, camera),
        boxes=None if boxes is None else read_boxes(boxes),
        max_faces=max_faces,
        interpupillary_m=None if ipd is None else ipd / 1000.0,
        smooth=smooth,
        batch_size=batch_size,
    )
    options.check(found)
    outputs.check(found)
    detector = None
    if smallest_face is not None:
        detector = FaceDetector(
            threads=threads, threshold=CANDIDATE_THRESHOLD, smallest_face_px=smallest_face
        )
    estimator = HeadPoseEstimator(model, detector, threads=threads, flip=flip_tta)
    path = _records_path(out, sources, record_format)
    on_screen = out is None and sys.stdout.isatty()
    with (
        _reader_may_go(),
        # Last, for it replaces earlier results.
        open_records(record_format, path, landmarks=landmarks, resume=resume) as records,
        _Console(found, records.finished, on_screen) as console,
    ):
        predictor = Predictor(estimator, records, console, options, outputs)
        try:
            summary = predictor.run(found)
        except KeyboardInterrupt:
            hint = "" if out is None else "; --resume goes on from here"
            messages.print(f"stopped after {_what_was_seen(predictor.summary)}{hint}")
            sys.exit(STOPPED)
    _say_what_came_out(summary, out, path, draw, mesh)
    if summary.failed:
        sys.exit(1)


class _Console:
    """Shows how it goes on stderr, and listens for Ctrl-C."""

    def __init__(
        self, sources: Sequence[MediaInput], finished: Set[str], results_on_screen: bool
    ) -> None:
        # A bar between lines of results is of no use.
        shown = messages.is_terminal and not results_on_screen
        self._bar = Progress(
            console=messages, redirect_stdout=False, redirect_stderr=False, disable=not shown
        )
        self._all = self._bar.add_task(
            "sources",
            total=len(sources),
            completed=sum(source.name in finished for source in sources),
            visible=len(sources) > 1,
        )
        self._frames: TaskID | None = None
        self._camera_said = False
        self._stop = False
        self._before = signal.getsignal(signal.SIGINT)

    def __enter__(self) -> _Console:
        self._before = signal.signal(signal.SIGINT, self._on_interrupt)
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end_video()
        self._bar.stop()
        signal.signal(signal.SIGINT, self._before)

    def begins(self, source: MediaInput, frame_count: int | None) -> None:
        """Show a bar for a video."""
        self._end_video()
        self._frames = self._bar.add_task(escape(Path(source.name).name), total=frame_count)

    def done(self, source: MediaInput, faces: Sequence[Face]) -> None:
        """Move the bar on; say once what an assumed camera means."""
        if source.kind == "photo":
            self._end_video()
            self._bar.advance(self._all)
        elif self._frames is not None:
            self._bar.advance(self._frames)
        guessed = [face for face in faces if face.camera.source == "assumed"]
        if guessed and not self._camera_said:
            self._camera_said = True
            messages.print(_what_guessing_means(source.name, guessed[0]), highlight=False)

    def failed(self, source: MediaInput, message: str) -> None:
        """Say what could not be read."""
        if self._frames is None:
            self._bar.advance(self._all)
        self._end_video()
        messages.print(f"[bold red]error:[/] {escape(message)}", highlight=False)

    def noted(self, source: MediaInput, message: str) -> None:
        """Say what is not as it should be."""
        messages.print(escape(f"{source.name}: {message}"), highlight=False)

    def should_stop(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._stop

    def _end_video(self) -> None:
        if self._frames is not None:
            self._bar.remove_task(self._frames)
            self._frames = None
            self._bar.advance(self._all)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        """Stop in good order; at once if asked again."""
        if self._stop:
            raise KeyboardInterrupt
        self._stop = True


def _what_guessing_means(name: str, face: Face) -> str:
    fov_deg = face.camera.fov_deg("diagonal")
    near_m, far_m = face.distance_range_m()
    return (
        f"[bold]camera:[/] nothing is known of it, so {fov_deg:.0f} degrees across the diagonal "
        f"are assumed, and distances are as good as that. The first face ({escape(name)}), here at "
        f"{face.distance_m:.2f} m, is at {near_m:.2f} m if the camera sees {fov_deg + 10:.0f} "
        f"degrees, at {far_m:.2f} m if {fov_deg - 10:.0f}. Tell with --focal, --fov or --camera."
    )


def _camera(
    focal: float | None, fov: float | None, fov_axis: FovAxis, calibration: Path | None
) -> CameraLike | None:
    from trg.geometry.camera_source import FieldOfView
    from trg.io.calibration import read_calibration

    if sum(each is not None for each in (focal, fov, calibration)) > 1:
        raise ValueError("camera: expected one of --focal, --fov and --camera")
    if focal is not None and not 0.0 < focal < float("inf"):
        raise ValueError(f"focal length: expected pixels above 0, got {focal:g}")
    if fov is not None:
        return FieldOfView(fov, fov_axis)
    return focal if calibration is None else read_calibration(calibration)


def _records_path(
    folder: Path | None, arguments: Sequence[str], record_format: RecordFormat
) -> Path | None:
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    name = SEVERAL
    if len(arguments) == 1 and os.path.exists(arguments[0]):
        path = Path(os.path.abspath(arguments[0]))
        name = (path.name if path.is_dir() else path.stem) or SEVERAL
    return folder / f"{name}{SUFFIXES[record_format]}"


def _say_what_came_out(
    summary: Summary, folder: Path | None, records: Path | None, draw: bool, mesh: str | None
) -> None:
    parts = [_count(summary.faces, "face"), "in", _what_was_seen(summary)]
    if summary.skipped:
        parts.append(f"({_count(summary.skipped, 'source')} finished earlier)")
    text = " ".join(parts)
    if records is not None:
        text = f"{records}: {text}"
    if draw or mesh:
        what = " and ".join([*(["drawings"] if draw else []), *(["meshes"] if mesh else [])])
        text += f"; {what} in {folder}{os.sep}"
    messages.print(escape(text), highlight=False)
    if summary.failed:
        messages.print(f"[bold red]{_count(summary.failed, 'source')} failed[/]")


def _what_was_seen(summary: Summary) -> str:
    seen = [_count(summary.photos, "photo")] if summary.photos or not summary.frames else []
    seen += [_count(summary.frames, "frame")] if summary.frames else []
    return " and ".join(seen)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@contextmanager
def _reader_may_go() -> Iterator[None]:
    """End quietly where whoever read the results has read enough, as ``head`` does."""
    try:
        yield
    except BrokenPipeError:
        # Python would flush the standard output once more at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
