"""The process of the service: its socket, and its graceful end."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import sys
import warnings
from collections.abc import Collection
from types import FrameType

import uvicorn

from trg._util.checks import checked_port
from trg.geometry.lens import LensModelWarning
from trg.serve.app import create_app
from trg.serve.limits import MAX_CONNECTIONS, WatchedConnection
from trg.serve.service import Service

OTHER_FILES = 256
"""Open files besides the connections."""

GRACE_S = 5
"""Beyond the time limits of requests, until those in flight are cancelled at the end."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0: a free one.

    Raises ValueError if there is no such port, and OSError if it cannot be listened on.
    """
    checked_port(host, port)
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family, backlog=MAX_CONNECTIONS)
    except OSError as error:
        raise OSError(
            f"{host}:{port}: cannot listen there ({error.strerror or error}); choose another "
            "address, or end the program that has it"
        ) from None


def is_loopback(listening: socket.socket) -> bool:
    """Return whether only programs of this machine can connect."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def run(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is in flight."""
    _allow_open_files(MAX_CONNECTIONS + OTHER_FILES)
    # Clients' cameras and damaged requests are not the user's to see, and would fill a log.
    warnings.simplefilter("ignore", LensModelWarning)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    if server.config.access_log:
        logging.basicConfig(format="%(asctime)s %(message)s")
        logging.getLogger("uvicorn.access").setLevel(logging.INFO)
    server.run([listening])


def make_server(
    service: Service, origins: Collection[str] = (), log_requests: bool = False
) -> uvicorn.Server:
    """Return a server, which closes the service at its end.

    ``origins`` are those of web pages that may use it; with ``log_requests`` each request is logged
    to stderr.
    """
    config = uvicorn.Config(
        create_app(service, origins),
        http=WatchedConnection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=log_requests,
        proxy_headers=False,
        server_header=False,
        backlog=MAX_CONNECTIONS,
        timeout_graceful_shutdown=int(2 * service.limits.timeout_s) + GRACE_S,
    )
    return _Server(config, service)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start to end; health tells so from now on."""
        self._service.is_ready = False
        super().handle_exit(sig, frame)


def _allow_open_files(count: int) -> None:
    """Raise this process' limit of open files, where the system lets it."""
    if sys.platform == "win32":  # it has none
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
