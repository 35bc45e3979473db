"""The loop over inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from trg.app.outputs import Outputs
from trg.app.predict.options import PredictOptions
from trg.app.predict.photos import PhotoPredictor, batches
from trg.app.predict.result_log import PredictionObserver, ResultLog, Summary
from trg.app.predict.videos import VideoPredictor
from trg.estimator import HeadPoseEstimator
from trg.face import Face
from trg.inference.onnx_session import usable_cores
from trg.inference.size_memory import SizeEstimate, SizeMemory
from trg.io.eye_distances import EyeDistances
from trg.io.inputs import MediaInput, PhotoInput, UnreadableFolder, VideoInput
from trg.io.records.writers import RecordWriter

PHOTOS_PER_WORKER = 32
"""Fewer are not worth the start of a process; a video is."""


class Predictor:
    """Processes inputs, and writes their records and other outputs, in the order of the inputs.

    ``workers``: processes that share the inputs; None: one per core that this process may use,
    if the inputs are worth their start.
    """

    def __init__(
        self,
        estimator: HeadPoseEstimator,
        records: RecordWriter,
        observer: PredictionObserver,
        options: PredictOptions,
        outputs: Outputs,
        workers: int | None = 1,
    ) -> None:
        self._estimator = estimator
        self._records = records
        self._observer = observer
        self._options = options
        self._outputs = outputs
        self._workers = workers
        self.summary = Summary()

    def run(self, inputs: Sequence[MediaInput]) -> Summary:
        """Process all inputs that are not yet finished, in their order.

        Raises
        ------
        ValueError
            An output would overwrite an input, or does not support videos.
        FileExistsError
            A file exists that no run has written.
        OSError
            Records are not writable, the disk is full, the package has no detector, or worker
            processes cannot start.
        KeyboardInterrupt
            The observer wanted to stop. All files are complete; an interrupted video is not
            listed as finished and has no drawing or mesh.
        """
        self._options.check(inputs)
        self._outputs.check(inputs)
        self._outputs.remove_partial_files(inputs)
        remaining = [item for item in inputs if item.name not in self._records.finished]
        count = self._workers or worth_workers(remaining, usable_cores())
        log = ResultLog(
            self._records,
            self._observer,
            skipped=len(inputs) - len(remaining),
            shows_frames=count == 1,
        )
        self.summary = log.summary
        photos = [item for item in inputs if isinstance(item, PhotoInput)]
        work = (self._estimator, self._options, self._outputs)
        if count == 1:
            size = self._person_size(PhotoPredictor(*work, log).largest_faces(photos))
            self._run_here(remaining, log, size)
            return log.summary
        from trg.app.predict.workers import ParallelPredictor  # only where processes are started

        parallel = ParallelPredictor(*work, self._records.encode, log, count)
        size = self._person_size(parallel.largest_faces(photos))
        parallel.run(remaining, size, lambda items: self._run_here(items, log, size))
        return log.summary

    def _person_size(self, faces: Iterable[Face]) -> SizeEstimate | None:
        """Return the size of the person on all photos, if there is one."""
        if not self._options.same_person:
            return None
        known_m = self._options.interpupillary_m
        memory = SizeMemory(interpupillary_m=None if isinstance(known_m, EyeDistances) else known_m)
        for face in faces:
            memory.remember(face)
        return memory.estimate

    def _run_here(
        self, inputs: Sequence[MediaInput], log: ResultLog, size: SizeEstimate | None
    ) -> None:
        work = (self._estimator, self._options, self._outputs, log)
        photos, videos = PhotoPredictor(*work, size), VideoPredictor(*work)
        for _, group in groupby(inputs, key=type):
            items = list(group)
            for batch in batches(items, self._options.batch_size):
                photos.run([item for item in batch if isinstance(item, PhotoInput)])
            for item in items:
                if isinstance(item, VideoInput):
                    videos.run(item)
                elif isinstance(item, UnreadableFolder):
                    log.fail(item, item.message)


def worth_workers(inputs: Sequence[MediaInput], cores: int) -> int:
    """Return how many worker processes are worth their start for these inputs."""
    photos = sum(isinstance(item, PhotoInput) for item in inputs)
    videos = sum(isinstance(item, VideoInput) and not item.is_live for item in inputs)
    return max(1, min(cores, photos // PHOTOS_PER_WORKER + videos))
