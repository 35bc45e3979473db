"""The service without HTTP's routes: models, queue, and from a request to its records."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from http import HTTPStatus
from itertools import repeat
from typing import Any, NamedTuple

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from trg.estimator import HeadPoseEstimator
from trg.io.boxes import boxes_for
from trg.io.records.frame_record import FrameFaces, frame_record
from trg.serve.batching import Batcher, Found, Picture, PictureError
from trg.serve.form import Submission, parse_body
from trg.serve.limits import CLIENT_GONE, Limits, Load, read_body
from trg.serve.metrics import Metrics
from trg.serve.schema import RequestOptions, ServedModel, validation_message


class Answer(NamedTuple):
    """A status and its JSON."""

    status: int
    content: bytes


class _Record(NamedTuple):
    """The JSON of a picture's record."""

    content: bytes
    is_failure: bool


class Service:
    """Estimates the pictures of requests.

    Parameters
    ----------
    networks
        Per thread, the estimators by the name of their model; the same names in each.
    models
        Their descriptions; the first is that of requests without one.
    limits
        What requests may cost.
    batch_size, decoders
        As :class:`~trg.serve.batching.Batcher` has them.
    """

    def __init__(
        self,
        networks: Sequence[Mapping[str, HeadPoseEstimator]],
        models: Sequence[ServedModel],
        limits: Limits,
        batch_size: int,
        decoders: int,
    ) -> None:
        self.models = list(models)
        self.limits = limits
        self.load = Load(limits)
        self.metrics = Metrics(lambda: self.load.pictures)
        self.is_ready = True
        self._batcher = Batcher(networks, batch_size, decoders, self.metrics.batches.observe)

    def close(self) -> None:
        """Finish what is in flight, and end all threads."""
        self.is_ready = False
        self._batcher.close()

    async def predict(self, request: Request, query: RequestOptions) -> Answer:
        """Answer a request.

        Raises HTTPException if it is refused, takes too long, or its client leaves.
        """
        self.load.refuse_if_full()  # the body need not come
        with self.load.memory() as receive:
            body = await read_body(request, self.limits, receive)
            kind = request.headers.get("content-type", "")
            submission = await asyncio.to_thread(parse_body, kind, body, self.limits.images)
            del body
            options = _merged(query, submission.fields)
            try:
                pictures = self._pictures(submission, options)
            except ValueError as error:
                raise HTTPException(422, str(error)[:1000]) from None
            sources = [each.source for each in submission.pictures]
            with self.load.admit(len(pictures)):
                work = self._records(sources, pictures, options)
                records = await self._unless_gone(request, work)
        content = b",".join(record.content for record in records)
        if all(record.is_failure for record in records):
            reason = json.dumps("no picture could be processed; records tell why").encode()
            return Answer(422, b'{"error":%b,"records":[%b]}' % (reason, content))
        model = json.dumps(pictures[0].model).encode()
        return Answer(HTTPStatus.OK, b'{"model":%b,"records":[%b]}' % (model, content))

    def _pictures(self, submission: Submission, options: RequestOptions) -> list[Picture]:
        """Return what is to be done; raises ValueError if an option is wrong."""
        names = [model.name for model in self.models]
        model = options.model or names[0]
        if model not in names:
            raise ValueError(f"model: expected one of {names}, got {model[:40]!r}")
        max_faces = options.max_faces or self.limits.faces
        if max_faces > self.limits.faces:
            raise ValueError(f"max_faces: expected at most {self.limits.faces}, got {max_faces}")
        camera = options.resolve_camera()
        sources = [each.source for each in submission.pictures]
        boxes = options.resolve_boxes(sources, self.limits.faces)
        return [
            Picture(
                data, model, camera, None if boxes is None else boxes_for(boxes, source), max_faces
            )
            for source, data in submission.pictures
        ]

    async def _records(
        self, sources: Sequence[str], pictures: Sequence[Picture], options: RequestOptions
    ) -> list[_Record]:
        records = map(self._record, sources, pictures, repeat(options))
        return await asyncio.gather(*records)

    async def _record(self, source: str, picture: Picture, options: RequestOptions) -> _Record:
        try:
            found = await asyncio.wrap_future(self._batcher.submit(picture))
            record = await asyncio.to_thread(_record_of, source, found, options)
        except PictureError as error:
            self.metrics.failures.inc()
            return _Record(_to_json({"source": source, "error": str(error)}), True)
        self.metrics.faces.inc(len(found.faces))
        return _Record(record, False)

    async def _unless_gone(
        self, request: Request, work: Coroutine[Any, Any, list[_Record]]
    ) -> list[_Record]:
        """Return the work's result; cancel it when the client leaves or the time is over."""
        done = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(_disconnect(request))
        timeout_s = self.limits.timeout_s
        either: set[asyncio.Future[Any]] = {done, gone}
        try:
            await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                return done.result()
            if gone.done():
                raise HTTPException(CLIENT_GONE)
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"the pictures were not processed within {timeout_s:g} s",
                {"Retry-After": str(self.load.retry_after_s)},
            )
        finally:
            done.cancel()
            gone.cancel()


async def _disconnect(request: Request) -> None:
    """Wait until the client leaves."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _merged(query: RequestOptions, fields: Mapping[str, str]) -> RequestOptions:
    """Return the options of the query and of the form's fields, which are checked as those were."""
    given = query.model_dump(exclude_unset=True)
    if twice := sorted(given.keys() & fields):
        raise HTTPException(422, f"{twice[0]}: expected in the query or in the form, got both")
    try:
        return RequestOptions.model_validate({**given, **fields})
    except ValidationError as error:
        raise HTTPException(422, validation_message(error.errors())) from None


def _record_of(source: str, found: Found, options: RequestOptions) -> bytes:
    faces = found.faces
    try:
        if options.ipd is not None:
            faces = [face.with_interpupillary(options.ipd / 1000.0) for face in faces]
        frame = FrameFaces(source, found.camera, faces, axes=options.frame)
        record = frame_record(frame, options.landmarks, options.blendshapes)
    except ValueError as error:  # such as blendshapes of a model that has none
        raise PictureError(str(error)) from None
    return _to_json(record)


def _to_json(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
