"""Pictures of many requests through one network: decoded in a pool, estimated in batches.

A network's thread takes all pictures that wait, up to the batch size. It never waits for more:
while it works, the next batch gathers by itself.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, Queue
from threading import Thread
from typing import NamedTuple

from numpy.typing import ArrayLike

from trg.estimator import HeadPoseEstimator
from trg.face import Face
from trg.geometry.camera import Camera
from trg.geometry.camera_source import CameraLike, resolve_camera
from trg.io.images import UprightImage, read_image


class PictureError(Exception):
    """A picture cannot be read, or the camera is not for it."""


class Picture(NamedTuple):
    """A picture and how it is processed."""

    data: bytes
    """The file, as it came."""
    model: str
    camera: CameraLike | None
    boxes: ArrayLike | None
    max_faces: int


class Found(NamedTuple):
    """The faces of a picture."""

    camera: Camera
    faces: list[Face]


class _Job(NamedTuple):
    picture: Picture
    image: UprightImage
    """With the picture's camera."""
    found: Future[Found]


class Batcher:
    """Runs networks, each with its models in a thread of its own.

    Parameters
    ----------
    networks
        Per thread, the estimators by the name of their model.
    batch_size
        Largest number of pictures that are estimated together; as many wait decoded.
    decoders
        Threads that decode pictures.
    on_batch
        Called after a batch with its number of pictures.
    """

    def __init__(
        self,
        networks: Sequence[Mapping[str, HeadPoseEstimator]],
        batch_size: int,
        decoders: int,
        on_batch: Callable[[int], None],
    ) -> None:
        self._batch_size = batch_size
        self._on_batch = on_batch
        # Full, it holds the decoders up: few pictures are in memory as pixels.
        self._decoded: Queue[_Job | None] = Queue(batch_size)
        self._decoders = ThreadPoolExecutor(decoders, "trg-serve-decoder")
        self._threads = [
            Thread(target=self._run, args=(network,), name="trg-serve-network", daemon=True)
            for network in networks
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, picture: Picture) -> Future[Found]:
        """Start to process a picture; work that is not yet begun can be cancelled.

        The future raises PictureError if the picture cannot be read.
        """
        found: Future[Found] = Future()
        waiting = [picture]
        found.add_done_callback(lambda _: waiting.clear())  # what was given up holds no memory
        self._decoders.submit(self._decode, waiting, found)
        return found

    def close(self) -> None:
        """Finish what has been submitted, and end all threads."""
        self._decoders.shutdown()
        for _ in self._threads:
            self._decoded.put(None)
        for thread in self._threads:
            thread.join()

    def _decode(self, waiting: list[Picture], found: Future[Found]) -> None:
        try:
            picture = waiting.pop()
        except IndexError:  # it was given up
            return
        try:
            image = read_image(io.BytesIO(picture.data))
            height, width = image.pixels.shape[:2]
            camera = resolve_camera(width, height, picture.camera, image.camera)
        except (OSError, ValueError) as error:
            _fail(found, PictureError(str(error)))
        except BaseException as error:
            _fail(found, error)
        else:
            self._decoded.put(_Job(picture, image._replace(camera=camera), found))

    def _run(self, estimators: Mapping[str, HeadPoseEstimator]) -> None:
        for batch in self._batches():
            wanted = [job for job in batch if job.found.set_running_or_notify_cancel()]
            for model in {job.picture.model for job in wanted}:
                jobs = [job for job in wanted if job.picture.model == model]
                _estimate(estimators[model], jobs)
                self._on_batch(len(jobs))

    def _batches(self) -> Iterator[list[_Job]]:
        """Yield what waits, until the end."""
        while (job := self._decoded.get()) is not None:
            batch: list[_Job] = []
            while job is not None:
                batch.append(job)
                try:
                    job = self._decoded.get_nowait() if len(batch) < self._batch_size else None
                except Empty:
                    break
                if job is None and len(batch) < self._batch_size:
                    yield batch
                    return
            yield batch


def _estimate(estimator: HeadPoseEstimator, jobs: Sequence[_Job]) -> None:
    """Estimate pictures together; if that fails one by one, so that none fails for another."""
    try:
        found = estimator.estimate(
            [
                estimator.prepare(
                    job.image, boxes=job.picture.boxes, max_faces=job.picture.max_faces
                )
                for job in jobs
            ]
        )
    except BaseException as error:
        if len(jobs) == 1:
            jobs[0].found.set_exception(error)
            return
        for job in jobs:
            _estimate(estimator, [job])
        return
    for job, faces in zip(jobs, found, strict=True):
        assert job.image.camera is not None
        job.found.set_result(Found(job.image.camera, faces))


def _fail(found: Future[Found], error: BaseException) -> None:
    if found.set_running_or_notify_cancel():
        found.set_exception(error)
