"""The loop over inputs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from trg.app.outputs import Outputs
from trg.app.predict.options import PredictOptions
from trg.app.predict.photos import PhotoPredictor
from trg.app.predict.result_log import PredictionObserver, ResultLog, Summary
from trg.app.predict.videos import VideoPredictor
from trg.estimator import HeadPoseEstimator
from trg.io.inputs import MediaInput, PhotoInput, UnreadableFolder, VideoInput
from trg.io.records.writers import RecordWriter


class Predictor:
    """Processes inputs one after another, and writes their records and other outputs."""

    def __init__(
        self,
        estimator: HeadPoseEstimator,
        records: RecordWriter,
        observer: PredictionObserver,
        options: PredictOptions,
        outputs: Outputs,
    ) -> None:
        self._estimator = estimator
        self._records = records
        self._observer = observer
        self._options = options
        self._outputs = outputs
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
            Records are not writable, the disk is full, or the package has no detector.
        KeyboardInterrupt
            The observer wanted to stop. All files are complete; an interrupted video is not
            listed as finished and has no drawing or mesh.
        """
        self._options.check(inputs)
        self._outputs.check(inputs)
        self._outputs.remove_partial_files(inputs)
        remaining = [item for item in inputs if item.name not in self._records.finished]
        log = ResultLog(self._records, self._observer, skipped=len(inputs) - len(remaining))
        self.summary = log.summary
        work = (self._estimator, self._options, self._outputs, log)
        size = None
        if self._options.same_person:
            size = PhotoPredictor(*work).measure_person(
                [item for item in inputs if isinstance(item, PhotoInput)]
            )
        photos, videos = PhotoPredictor(*work, size), VideoPredictor(*work)
        for _, group in groupby(remaining, key=type):
            items = list(group)
            photos.run(item for item in items if isinstance(item, PhotoInput))
            for item in items:
                if isinstance(item, VideoInput):
                    videos.run(item)
                elif isinstance(item, UnreadableFolder):
                    log.fail(item, item.message)
        return log.summary
