"""Photos: read, estimated in batches, and recorded in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from trg.app.outputs import OutputError, Outputs
from trg.app.predict.options import READ_ERRORS, PredictOptions
from trg.app.predict.result_log import ResultSink
from trg.estimator import HeadPoseEstimator
from trg.face import Face
from trg.inference.size_memory import SizeEstimate, in_one_size, largest_face
from trg.io.boxes import boxes_for
from trg.io.images import UprightImage, read_image
from trg.io.inputs import Photo
from trg.io.records.frame_record import FrameFaces

_Item = TypeVar("_Item")


class PhotoPredictor:
    """Processes photos; results are written in the order of the photos."""

    def __init__(
        self,
        estimator: HeadPoseEstimator,
        options: PredictOptions,
        outputs: Outputs,
        log: ResultSink,
        size: SizeEstimate | None = None,
    ) -> None:
        """``size``: that of the one person whom all photos show; None: from each photo."""
        self._estimator = estimator
        self._options = options
        self._outputs = outputs
        self._log = log
        self._size = size

    def run(self, photos: Iterable[Photo]) -> None:
        """Process photos; raises KeyboardInterrupt if the user wants to stop."""
        # The estimator reads ahead by a batch; the queue holds what is read but not yet written.
        queue: deque[_ReadPhoto] = deque()
        for found in self._estimates(self._read(photos, queue), queue):
            self._report_failed(queue)
            photo, image, _, _ = queue.popleft()
            assert image is not None
            assert image.camera is not None
            faces = self._options.scaled(photo.name, in_one_size(found, self._size))
            self._log.add(
                photo, FrameFaces(photo.name, image.camera, faces, axes=self._options.axes)
            )
            try:
                self._outputs.write_photo(photo, image.pixels, faces)
            except OutputError as error:
                self._log.fail(photo, str(error))
            else:
                self._log.finish(photo)
        self._report_failed(queue)
        self._log.raise_if_stopped()

    def largest_faces(self, photos: Sequence[Photo]) -> Iterator[Face]:
        """Yield the largest face of each photo that has one."""
        last: deque[_ReadPhoto] = deque(maxlen=1)
        self._log.start_measuring("person", len(photos))
        for faces in self._estimates(self._read(photos, last, warns=False), last):
            self._log.advance_measuring()
            if faces:
                yield faces[largest_face(faces)]
        self._log.raise_if_stopped()

    def _estimates(
        self, images: Iterator[UprightImage], queue: deque[_ReadPhoto]
    ) -> Iterable[list[Face]]:
        """Estimate the faces of images whose boxes, if they are given, are the queue's last."""
        max_faces = self._options.max_faces
        if self._options.boxes is None:
            return self._estimator.batch(
                images, batch_size=self._options.batch_size, max_faces=max_faces
            )
        return (
            self._estimator(image, boxes=queue[-1].boxes, max_faces=max_faces) for image in images
        )

    def _read(
        self, photos: Iterable[Photo], queue: deque[_ReadPhoto], *, warns: bool = True
    ) -> Iterator[UprightImage]:
        """Yield images with their cameras; append each photo, or its error, to the queue."""
        boxes = None
        for photo in photos:
            if self._log.should_stop():
                return
            try:
                image = read_image(photo.content)
                if image.frame_count > 1 and warns:
                    self._log.warn(
                        photo, f"used the first of {image.frame_count} frames; --animated uses all"
                    )
                height, width = image.pixels.shape[:2]
                camera = self._options.camera_of(photo.name, width, height, image.camera)
                image = image._replace(camera=camera)
                if self._options.boxes is not None:
                    boxes = boxes_for(self._options.boxes, photo.name)
            except READ_ERRORS as error:
                queue.append(_ReadPhoto(photo, error=str(error)))
            else:
                queue.append(_ReadPhoto(photo, image, boxes))
                yield image

    def _report_failed(self, queue: deque[_ReadPhoto]) -> None:
        """Report the failed photos at the head of the queue."""
        while queue and queue[0].image is None:
            failed = queue.popleft()
            self._log.fail(failed.photo, failed.error)


def batches(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """Split inputs into batches.

    The last digits of results depend on which photos share a batch; every way of processing uses
    these.
    """
    for start in range(0, len(items), size):
        yield items[start : start + size]


class _ReadPhoto(NamedTuple):
    """A photo whose result is not yet written; ``image`` is None if reading failed."""

    photo: Photo
    image: UprightImage | None = None
    boxes: NDArray[np.float64] | None = None
    error: str = ""
