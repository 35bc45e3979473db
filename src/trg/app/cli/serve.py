"""The verb ``trg serve``: head poses over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter
from rich.markup import escape

from trg.app.cli.predict_options import ProcessingOptions
from trg.app.cli.shared import Positive, messages

if TYPE_CHECKING:
    from trg.estimator import HeadPoseEstimator

LISTENING = Group.create_ordered("Listening")
NETWORKS = Group.create_ordered("Networks")
LIMITS = Group.create_ordered("Limits")


@Parameter(name="*", group=LISTENING)
@dataclass(frozen=True, slots=True)
class ListenOptions:
    """Where the service listens, and to whom.

    Parameters
    ----------
    host
        The address to listen on. Others than this machine's own let everybody in the network in.
    port
        The port; 0: a free one.
    cors
        Origins of web pages that may use the service, as ``https://example.com``; ``*``: all.
    log_requests
        Log each request to stderr.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    cors: Annotated[
        tuple[str, ...], Parameter(consume_multiple=True, negative="", show_default=False)
    ] = ()
    log_requests: bool = False


@Parameter(name="*", group=NETWORKS)
@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """The networks and how they run.

    Parameters
    ----------
    model
        The weights: names listed by ``trg models``, or .trg files. Requests choose by name; the
        first is the default.
    flip_tta
        Average each estimate with that of the mirrored face: more accurate, at twice the cost.
    smallest_face
        Smallest face box to detect, px.
    threads
        CPU threads of a network.
    networks
        Networks that run side by side, each in a thread of its own.
    batch_size
        Largest number of pictures that are estimated together.
    decoders
        Threads that decode pictures.
    """

    model: Annotated[
        tuple[str, ...],
        Parameter(name=["--model", "-m"], consume_multiple=True, negative="", show_default=False),
    ] = ()
    flip_tta: bool = False
    smallest_face: Positive | None = None
    threads: Positive = 1
    networks: Positive = 1
    batch_size: Positive = 8
    decoders: Positive = 2


@Parameter(name="*", group=LIMITS)
@dataclass(frozen=True, slots=True)
class LimitOptions:
    """What is refused.

    Parameters
    ----------
    queue
        Pictures that are accepted and not yet answered; more are refused with status 429.
    max_megabytes
        Largest body of a request.
    max_memory
        Bodies of all requests together, megabytes.
    max_megapixels
        Largest picture; decoding needs about 8 MB of memory per megapixel.
    max_images
        Pictures in one request.
    max_faces
        Faces in one picture.
    timeout
        Seconds for receiving a request, and again for answering it.
    """

    queue: Positive = 64
    max_megabytes: Positive = 32
    max_memory: Positive = 512
    max_megapixels: Positive = 50
    max_images: Positive = 16
    max_faces: Positive = 100
    timeout: float = 30.0


def serve(
    *,
    listening: ListenOptions = ListenOptions(),
    networks: NetworkOptions = NetworkOptions(),
    limits: LimitOptions = LimitOptions(),
) -> None:
    """Serve head poses over HTTP, to programs of this machine unless told otherwise.

    Needs the extra ``serve``. The routes are described in docs/serve.md and at /openapi.json. Stop
    with Ctrl-C: what is in flight is finished.
    """
    with ThreadPoolExecutor(1) as loader:
        loading = loader.submit(_load, networks)
        # The web framework takes as long to import as the weights to load.
        from trg.inference.bundle import model_sha256
        from trg.io.images import allow_pixels
        from trg.serve.app import PREDICT
        from trg.serve.limits import Limits
        from trg.serve.schema import ServedModel
        from trg.serve.server import is_loopback, listen, make_server, run
        from trg.serve.service import Service

        allow_pixels(limits.max_megapixels * 10**6)
        checked_limits = Limits(
            queue=limits.queue,
            body_bytes=limits.max_megabytes * 10**6,
            memory_bytes=limits.max_memory * 10**6,
            images=limits.max_images,
            faces=limits.max_faces,
            timeout_s=limits.timeout,
        )
        listening_socket = listen(listening.host, listening.port)
        estimators = loading.result()
    models = [
        ServedModel(
            name=name,
            sha256=model_sha256(model),
            licence=estimators[0][name].card.licence,
            attribution=list(estimators[0][name].card.attribution),
        )
        for name, model in _names(networks).items()
    ]
    service = Service(estimators, models, checked_limits, networks.batch_size, networks.decoders)
    host, port = listening_socket.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    messages.print(
        escape(f"{', '.join(_names(networks))} at http://{shown}:{port}{PREDICT}; Ctrl-C stops"),
        highlight=False,
    )
    if not is_loopback(listening_socket):
        messages.print(
            "[bold yellow]warning:[/] everybody who can reach this address can use the service: it "
            "knows no passwords and no encryption; put a proxy with both before it (docs/serve.md)",
            highlight=False,
        )
    run(make_server(service, listening.cors, listening.log_requests), listening_socket)


def _names(options: NetworkOptions) -> dict[str, str]:
    """Return the models by the names that requests use: of bundled ones, or of their files."""
    from trg.inference.bundle import DEFAULT_BUNDLE, SUFFIX

    models = options.model or (DEFAULT_BUNDLE,)
    names = {Path(model).name.removesuffix(SUFFIX): model for model in models}
    if len(names) < len(models):
        raise ValueError(f"model: expected each name once, got {', '.join(models)}")
    return names


def _load(options: NetworkOptions) -> list[dict[str, HeadPoseEstimator]]:
    """Return the estimators of each network by name, after a first run, which is slow."""
    import numpy as np

    empty = np.zeros((480, 640, 3), np.uint8)
    processing = ProcessingOptions(flip_tta=options.flip_tta, threads=options.threads)
    networks = []
    for _ in range(options.networks):
        estimators = {
            name: replace(processing, model=model).estimator(options.smallest_face)
            for name, model in _names(options).items()
        }
        for estimator in estimators.values():
            estimator(empty)
            estimator(empty, boxes=[[200.0, 120.0, 440.0, 360.0]])
        networks.append(estimators)
    return networks
