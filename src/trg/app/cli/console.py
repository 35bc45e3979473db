"""Progress and messages of ``trg predict`` on stderr, and its reaction to Ctrl-C and SIGTERM."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Sequence, Set
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import Progress, TaskID

from trg.app.cli.shared import messages
from trg.io.inputs import MediaInput, VideoInput

if TYPE_CHECKING:
    from trg.app.predict.result_log import Summary
    from trg.face import Face


STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Ctrl-C; the end that ``kill``, batch systems and containers ask for; a closed terminal."""


EXIT_SIGNAL = 128
"""Exit code by shell convention: 128 plus the signal's number."""


class StopSignals:
    """Notes the first of ``STOP_SIGNALS``, and raises KeyboardInterrupt on the second."""

    def __init__(self) -> None:
        self.number = 0
        """The signal that requested the stop; 0: none has come."""
        self._previous_handlers: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets for SIGHUP
                self._previous_handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number


class ConsoleObserver:
    """Shows progress bars and messages, and requests a stop on ``STOP_SIGNALS``; a context manager.

    ``finished`` are the names of the inputs that an earlier run finished. Progress bars are shown
    only on a terminal.
    """

    def __init__(
        self, inputs: Sequence[MediaInput], finished: Set[str], show_progress: bool
    ) -> None:
        self._progress = Progress(
            console=messages,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not (show_progress and messages.is_terminal),
        )
        self._inputs_task = self._progress.add_task(
            "inputs",
            total=len(inputs),
            completed=sum(item.name in finished for item in inputs),
            visible=len(inputs) > 1,
        )
        self._video_task: TaskID | None = None
        self._first_pass_task: TaskID | None = None
        self._shares: dict[str, float] = {}
        """Of the inputs that worker processes have begun and whose results are not yet written."""
        self.signals = StopSignals()

    def __enter__(self) -> ConsoleObserver:
        self.signals.__enter__()
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end_video()
        self._progress.stop()
        self.signals.__exit__(*error)

    def on_measuring(self, name: str, total: int | None) -> None:
        """Show a progress bar for a first pass."""
        self._end_video()
        self._end_first_pass()
        label = f"{escape(Path(name).name)}: size"
        self._first_pass_task = self._progress.add_task(label, total=total)

    def on_measured(self) -> None:
        """Advance the first pass."""
        if self._first_pass_task is not None:
            self._progress.advance(self._first_pass_task)

    def on_video_start(self, video: VideoInput, frame_count: int | None) -> None:
        """Show a progress bar for a video."""
        self._end_video()
        self._end_first_pass()
        self._video_task = self._progress.add_task(escape(Path(video.name).name), total=frame_count)

    def on_result(self, item: MediaInput) -> None:
        """Advance the progress."""
        if isinstance(item, VideoInput) and self._video_task is not None:
            self._progress.advance(self._video_task)
        else:
            self._end_video()
            self._end_first_pass()
            self._advance_inputs(item)

    def on_share(self, item: MediaInput, share: float) -> None:
        """Advance the progress by what worker processes have done."""
        self._progress.advance(self._inputs_task, share - self._shares.get(item.name, 0.0))
        self._shares[item.name] = share

    def on_assumed_camera(self, item: MediaInput, face: Face) -> None:
        """Explain that distances depend on it."""
        messages.print(_assumed_camera_note(item.name, face), highlight=False)

    def on_error(self, item: MediaInput, message: str) -> None:
        """Print the error."""
        if self._video_task is None:
            self._advance_inputs(item)
        self._end_video()
        self._end_first_pass()
        messages.print(f"[bold red]error:[/] {escape(message)}", highlight=False)

    def on_warning(self, item: MediaInput, message: str) -> None:
        """Print the warning."""
        messages.print(escape(f"{item.name}: {message}"), highlight=False)

    def should_stop(self) -> bool:
        """Return whether one of the signals has come."""
        return self.signals.number != 0

    def _advance_inputs(self, item: MediaInput) -> None:
        self._progress.advance(self._inputs_task, 1.0 - self._shares.pop(item.name, 0.0))

    def _end_first_pass(self) -> None:
        if self._first_pass_task is not None:
            self._progress.remove_task(self._first_pass_task)
            self._first_pass_task = None

    def _end_video(self) -> None:
        if self._video_task is not None:
            self._progress.remove_task(self._video_task)
            self._video_task = None
            self._progress.advance(self._inputs_task)


def print_summary(
    summary: Summary, outputs: str, records: Path | None, failures: Path | None
) -> None:
    """Print what a run processed and where its results are.

    ``outputs`` describes the files beside the records; empty if there are none.
    """
    text = f"{counted(summary.faces, 'face')} in {processed(summary)}"
    if summary.without_faces:
        text += f", {summary.without_faces} without a face"
    if summary.skipped:
        text += f" ({counted(summary.skipped, 'input')} finished earlier)"
    if records is not None:
        text = f"{records}: {text}"
    if outputs:
        text += f"; {outputs} in {'' if records is None else records.parent}{os.sep}"
    messages.print(escape(text), highlight=False)
    if summary.failed:
        listed = "" if failures is None else f", listed in {escape(str(failures))}"
        messages.print(
            f"[bold red]{counted(summary.failed, 'input')} failed[/]{listed}", highlight=False
        )


def print_ignored(paths: Sequence[str]) -> None:
    """Print how many files in folders were skipped, by their ending."""
    if paths:
        endings = Counter(Path(path).suffix.lower() or "no ending" for path in paths)
        kinds = [f"{number} {escape(suffix)}" for suffix, number in endings.most_common(6)]
        more = ", ..." if len(endings) > len(kinds) else ""
        count = counted(len(paths), "file")
        messages.print(
            f"skipped {count} in folders, neither photos nor videos by name: "
            f"{', '.join(kinds)}{more}",
            highlight=False,
        )


def processed(summary: Summary) -> str:
    """Return the numbers of photos and frames in words."""
    counts = [counted(summary.photos, "photo")] if summary.photos or not summary.frames else []
    counts += [counted(summary.frames, "frame")] if summary.frames else []
    return " and ".join(counts)


def counted(number: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _assumed_camera_note(name: str, face: Face) -> str:
    fov_deg = face.camera.fov_deg("diagonal")
    near_m, far_m = face.distance_range_m()
    return (
        f"[bold]camera:[/] unknown, assuming a diagonal field of view of {fov_deg:.0f} degrees; "
        f"distances depend on it. The first face ({escape(name)}) is at {face.distance_m:.2f} m; "
        f"it would be at {near_m:.2f} m if the field of view were {fov_deg + 10:.0f} degrees, and "
        f"at {far_m:.2f} m if it were {fov_deg - 10:.0f}. Specify --focal, --fov or --camera."
    )
