"""The routes, their documentation (OpenAPI), and what every request passes first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trg import __version__
from trg.serve.form import IMAGE_FIELD
from trg.serve.metrics import CONTENT_TYPE, Metrics
from trg.serve.schema import (
    PREDICTION_EXAMPLE,
    Health,
    Prediction,
    Problem,
    RequestOptions,
    ServedModels,
    validation_message,
)
from trg.serve.service import Service

PREDICT = "/v1/predict"
FOREIGN_PAGE = (
    "origin: pages of other sites may not use this service; "
    "`trg serve --cors https://example.com` names those that may"
)

_REFUSALS = {
    400: "The form is damaged.",
    403: "A web page of another origin asks.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is neither a picture nor a form, or is compressed.",
    422: "An option is wrong, or no picture could be processed.",
    429: "There is no room; the header Retry-After tells when to try again.",
    500: "An error of the service, which it has logged.",
    503: "The pictures were not processed in time.",
}
_PREDICT_RESPONSES: dict[int | str, dict[str, Any]] = {
    **{status: {"description": each, "model": Problem} for status, each in _REFUSALS.items()},
    200: {
        "description": "The records of the pictures, in their order. Those that could not be "
        "processed have an error, as long as another could.",
        "model": Prediction,
        "content": {"application/json": {"example": PREDICTION_EXAMPLE}},
    },
}
_BINARY = {"type": "string", "format": "binary"}
_PREDICT_BODY = {
    "required": True,
    "description": "One picture as it is, or a form of pictures. The query's options may also be "
    "fields of the form.",
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [IMAGE_FIELD],
                "properties": {
                    IMAGE_FIELD: {"type": "array", "items": _BINARY, "minItems": 1},
                    **RequestOptions.model_json_schema()["properties"],
                },
                "additionalProperties": False,
            }
        },
        "image/*": {"schema": _BINARY},
        "application/octet-stream": {"schema": _BINARY},
    },
}


def create_app(service: Service, origins: Collection[str] = ()) -> FastAPI:
    """Return the service as an ASGI application, which closes it at its end.

    ``origins`` are those of web pages that may use it, ``*`` for all, besides its own.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    # The pages of the documentation load scripts from other origins.
    app = FastAPI(
        title="trg serve",
        version=__version__,
        description="6DoF head poses and dense 3D face landmarks of pictures.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(_Gate, metrics=service.metrics, origins=frozenset(origins))
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"],
            allow_headers=["content-type"], expose_headers=["retry-after"],
        )  # fmt: skip

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_options(request: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"error": validation_message(error.errors())}, 422)

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "internal error, which the service has logged"}, 500)

    @app.post(
        PREDICT,
        response_class=JSONResponse,
        responses=_PREDICT_RESPONSES,
        openapi_extra={"requestBody": _PREDICT_BODY},
    )
    async def predict(request: Request, options: Annotated[RequestOptions, Query()]) -> Response:
        """Estimate the heads in one or several pictures.

        Answers are the records that `trg predict` writes. EXIF's orientation and focal length are
        respected. Pictures are not stored.
        """
        answer = await service.predict(request, options)
        return Response(answer.content, answer.status, media_type="application/json")

    @app.get("/v1/health", responses={503: {"model": Health}})
    async def health(response: Response) -> Health:
        """Tell whether requests are taken: 503 once the service stops."""
        response.status_code = 200 if service.is_ready else 503
        return Health(status="ready" if service.is_ready else "stopping", version=__version__)

    @app.get("/v1/health/live", status_code=204)
    async def live() -> None:
        """Answer as long as the process does."""

    @app.get("/v1/models")
    async def models() -> ServedModels:
        """List the weights that requests can name."""
        return ServedModels(models=service.models)

    @app.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Return counters in Prometheus' format."""
        return Response(service.metrics.text(), headers={"content-type": CONTENT_TYPE})

    return app


class _Gate:
    """Counts requests of poses, and refuses those of other sites' pages.

    A browser lets any page send a form to this machine, though not read the answer.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, origins: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PREDICT:
            await self._app(scope, receive, send)
            return
        start_s = time.monotonic()

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(str(int(message["status"]))).inc()
                if message["status"] == 200:
                    self._metrics.seconds.observe(time.monotonic() - start_s)
            await send(message)

        if self._is_foreign(Headers(scope=scope)):
            await JSONResponse({"error": FOREIGN_PAGE}, 403)(scope, receive, counted_send)
            return
        try:
            await self._app(scope, receive, counted_send)
        except Exception:  # any fault of a route: counted here, answered further out
            self._metrics.requests.labels("500").inc()
            raise

    def _is_foreign(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None or "*" in self._origins or origin in self._origins:
            return False
        try:
            return urlsplit(origin).netloc != headers.get("host")
        except ValueError:
            return True
