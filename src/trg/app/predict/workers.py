"""Inputs processed by several processes, with results in the order of the inputs.

::

    inputs ──> parts ──> workers: PhotoPredictor, VideoPredictor ──> events ──> ResultLog
               a batch or a video        in any order                  in the inputs' order

A worker sends what it would tell the :class:`~trg.app.predict.result_log.ResultLog` as events. A
part whose worker the system ended is tried once more, photo by photo.
"""

from __future__ import annotations

import pickle
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple

from PIL import Image

from trg._util.worker_pool import Ask, WorkerDied, WorkerPool
from trg.app.outputs import Outputs
from trg.app.predict.options import PredictOptions
from trg.app.predict.photos import PhotoPredictor, batches
from trg.app.predict.result_log import CountedRecord, ResultLog, ResultSink
from trg.app.predict.videos import VideoPredictor
from trg.estimator import HeadPoseEstimator
from trg.face import Face
from trg.inference.size_memory import SizeEstimate
from trg.io.images import allow_pixels
from trg.io.inputs import MediaInput, PhotoInput, UnreadableFolder, VideoInput
from trg.io.records.frame_record import FrameFaces
from trg.io.records.writers import RecordEncoder

PARTS_AHEAD = 256
"""Largest number of parts whose results wait for those of an earlier one."""

FRAMES_PER_MESSAGE = 64
SPOOL_BYTES = 2**20
"""Larger events of a part wait on the disk."""

Event = tuple[str, tuple[Any, ...]]
"""A method of :class:`~trg.app.predict.result_log.ResultLog` with its arguments; in a first pass, a
face."""


class _Claim(NamedTuple):
    """A worker is about to write a file."""

    path: str


class _Part(NamedTuple):
    """What a worker does at a time: some photos or one video."""

    slot: int
    """Index of the place for its results."""
    items: tuple[MediaInput, ...]
    is_second_try: bool = False
    measures: bool = False
    """Whether the size of the person on the photos is measured, instead of their poses."""


@dataclass(frozen=True, slots=True)
class _StartWorker:
    """Starts the work in a worker process."""

    estimator: HeadPoseEstimator
    options: PredictOptions
    outputs: Outputs
    encode: RecordEncoder
    size: SizeEstimate | None
    max_pixels: int | None

    def __call__(self) -> Callable[[_Part, Ask], list[Event]]:
        from trg.io.ffmpeg import limit_decoder_threads

        if self.max_pixels is not None:
            allow_pixels(2 * self.max_pixels)
        limit_decoder_threads(1)
        return self._work

    def _work(self, part: _Part, ask: Ask) -> list[Event]:
        sink = _EventSink(self.encode, ask)
        outputs = replace(self.outputs, claim=lambda path: ask(_Claim(path)))
        work = (self.estimator, self.options, outputs, sink)
        photos = [item for item in part.items if isinstance(item, PhotoInput)]
        if part.measures:
            return [("", (face,)) for face in PhotoPredictor(*work).largest_faces(photos)]
        with warnings.catch_warnings(record=True) as caught:
            PhotoPredictor(*work, self.size).run(photos)
            for item in part.items:
                if isinstance(item, VideoInput):
                    VideoPredictor(*work).run(item)
        sink.events += [("repeat_warning", (each.message,)) for each in caught]
        return sink.events


class _EventSink(ResultSink):
    """Keeps results as events; sends those of videos while they are processed."""

    def __init__(self, encode: RecordEncoder, ask: Ask) -> None:
        self._encode, self._ask = encode, ask
        self._has_assumed_camera = False
        self.events: list[Event] = []

    def start_video(self, video: VideoInput, frame_count: int | None) -> None:
        self.events.append(("start_video", (video, frame_count)))

    def add(self, item: MediaInput, found: FrameFaces) -> None:
        counted = CountedRecord.of(self._encode, found)
        if self._has_assumed_camera:
            counted = counted._replace(assumed=None)  # is explained once
        self._has_assumed_camera |= counted.assumed is not None
        self.events.append(("add_record", (item, counted)))
        if len(self.events) >= FRAMES_PER_MESSAGE:
            self._ask(self.events)
            self.events = []

    def finish(self, item: MediaInput) -> None:
        self.events.append(("finish", (item,)))

    def fail(self, item: MediaInput, message: str) -> None:
        self.events.append(("fail", (item, message)))

    def warn(self, item: MediaInput, message: str) -> None:
        self.events.append(("warn", (item, message)))


@dataclass(slots=True)
class _Slot:
    """The place of a part's results among those of all inputs."""

    items: Sequence[MediaInput]
    is_local: bool = False
    """Whether this process does the work: live inputs, standard input, unreadable folders."""
    again: deque[_Part] = field(default_factory=deque)
    """Parts that are to be tried once more, one after another."""
    is_done: bool = False
    frame_count: int = 0
    frames_done: int = 0
    _spool: IO[bytes] | None = None
    _complete_bytes: int = 0
    """Events of complete parts."""

    def add(self, events: Sequence[Event]) -> None:
        """Keep events of the part at work."""
        if self._spool is None:
            self._spool = SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115 (closed by events)
        pickle.dump(events, self._spool)

    def complete(self) -> None:
        """Keep the events of the part for good."""
        self._complete_bytes = 0 if self._spool is None else self._spool.tell()

    def forget(self) -> None:
        """Remove the events of a part that ended too early."""
        if self._spool is not None:
            self._spool.seek(self._complete_bytes)
            self._spool.truncate()

    def events(self) -> Iterator[Event]:
        """Yield all events, and close."""
        if self._spool is None:
            return
        end = self._spool.tell()
        self._spool.seek(0)
        while self._spool.tell() < end:
            yield from pickle.load(self._spool)
        self._spool.close()


class ParallelPredictor:
    """Processes inputs in ``count`` processes; their results are logged in the inputs' order."""

    def __init__(
        self,
        estimator: HeadPoseEstimator,
        options: PredictOptions,
        outputs: Outputs,
        encode: RecordEncoder,
        log: ResultLog,
        count: int,
    ) -> None:
        sent = replace(outputs, claim=_no_claim)
        limit = Image.MAX_IMAGE_PIXELS
        self._start = _StartWorker(estimator, options, sent, encode, None, limit)
        self._outputs, self._log, self._count = outputs, log, count

    def largest_faces(self, photos: Sequence[PhotoInput]) -> Iterator[Face]:
        """Yield what :meth:`PhotoPredictor.largest_faces` does."""
        self._log.start_measuring("person", len(photos))
        slots = list(_slots(photos, self._start.options.batch_size))
        run = _Run(self._start, slots, self._outputs, self._log, measures=True)
        for slot in run.run(self._count):
            for _, (face,) in slot.events():
                yield face

    def run(
        self,
        inputs: Sequence[MediaInput],
        size: SizeEstimate | None,
        run_here: Callable[[Sequence[MediaInput]], None],
    ) -> None:
        """Process inputs, with ``run_here`` those that only this process can read.

        Raises KeyboardInterrupt if the user wants to stop.
        """
        start = replace(self._start, size=size)
        slots = list(_slots(inputs, start.options.batch_size))
        try:
            run = _Run(start, slots, self._outputs, self._log)
            for slot in run.run(self._count):
                if slot.is_local:
                    run_here(slot.items)
                for name, arguments in slot.events():
                    getattr(self._log, name)(*arguments)
        except BaseException:  # workers were ended while they wrote
            self._outputs.remove_partial_files(inputs)
            raise


class _Run:
    """One pass of the workers over the slots."""

    def __init__(
        self,
        start: _StartWorker,
        slots: Sequence[_Slot],
        outputs: Outputs,
        log: ResultLog,
        measures: bool = False,
    ) -> None:
        self._start, self._slots, self._outputs, self._log = start, slots, outputs, log
        self._measures = measures
        self._next = 0
        """The slot whose part is given to a worker next."""
        self._first = 0
        """The slot whose results are due next."""
        self._again: deque[_Slot] = deque()
        """Slots with a part that is to be tried once more."""

    def run(self, count: int) -> Iterator[_Slot]:
        """Yield the slots in their order, when they are done."""
        with WorkerPool(self._start, count) as pool:
            yield from self._due()
            for part, result in pool.run(self._next_part, self._answer, self._log.raise_if_stopped):
                self._receive(part, result)
                yield from self._due()

    def _due(self) -> Iterator[_Slot]:
        while self._first < len(self._slots):
            slot = self._slots[self._first]
            if not (slot.is_done or slot.is_local):
                return
            yield slot
            self._first += 1

    def _next_part(self) -> _Part | None:
        if self._again:
            return self._again.popleft().again.popleft()
        while self._next < min(len(self._slots), self._first + PARTS_AHEAD):
            index, slot = self._next, self._slots[self._next]
            self._next += 1
            if not slot.is_local:
                return _Part(index, tuple(slot.items), measures=self._measures)
        return None

    def _answer(self, part: _Part, message: Any) -> None:
        if isinstance(message, _Claim):
            self._outputs.claim(message.path)
            return
        slot = self._slots[part.slot]
        slot.add(message)
        for name, arguments in message:
            if name == "start_video":
                slot.frame_count, slot.frames_done = arguments[1] or 0, 0
        slot.frames_done += len(message)
        if slot.frame_count:
            share = min(1.0, slot.frames_done / slot.frame_count)
            self._log.report_share(part.items[0], share)

    def _receive(self, part: _Part, result: Any) -> None:
        slot = self._slots[part.slot]
        if not isinstance(result, WorkerDied):
            slot.add(result)
        else:
            slot.forget()
            if not part.is_second_try:
                parts = [part._replace(items=(item,), is_second_try=True) for item in part.items]
                slot.again.extend(parts)
                self._again.append(slot)
                return
            if not self._measures:
                slot.add([("fail", (part.items[0], f"{part.items[0].name}: {result}, twice"))])
        slot.complete()
        slot.is_done = not slot.again
        if slot.again:
            self._again.append(slot)
        for item in part.items:
            if self._measures:
                self._log.advance_measuring()
            else:
                self._log.report_share(item, 1.0)


def _slots(inputs: Sequence[MediaInput], batch_size: int) -> Iterator[_Slot]:
    """Split inputs into parts, in their order."""
    for kind, group in groupby(inputs, key=_kind):
        for part in batches(list(group), batch_size if kind is PhotoInput else 1):
            yield _Slot(part, is_local=kind is None)


def _kind(item: MediaInput) -> type[MediaInput] | None:
    """Return the type of an input for workers; None for one that only this process can read."""
    is_local = isinstance(item, UnreadableFolder) or item.path is None
    return None if is_local else type(item)


def _no_claim(path: str) -> None:
    """Stand for the claim of files, which each worker sets for each part."""
