"""The web page of ``trg web``: its files, and a server for them on this machine.

The page is made from ``web/`` by ``make web`` and is part of the package where it was made before.
Its models are not stored twice: they come from the bundles (:mod:`trg.app.web_models`).
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from os import PathLike
from pathlib import Path
from urllib.parse import urlsplit

from trg._util.files import write_atomic
from trg.app.web_models import web_models

PAGE_FOLDER = Path(__file__).parents[1] / "web_page"
INDEX = "index.html"
MODELS = "models"
"""Folder of the models in the page's."""

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".gz": "application/gzip",
}

HEADERS = {
    # Pages share memory between threads only if no other site has a part in them.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

LOOPBACK = "127.0.0.1"


def web_page(model: str | PathLike[str], folder: Path = PAGE_FOLDER) -> dict[str, bytes]:
    """Return the files of the page by name, with those of a model.

    Raises
    ------
    FileNotFoundError
        This copy of the package has no page, or the model does not exist.
    ValueError
        The model is damaged or unknown.
    """
    if not (folder / INDEX).is_file():
        raise FileNotFoundError(
            f"{folder}: this copy of the package was built without the web page; in a checkout of "
            "the repository `make web` builds it (it needs Node.js)"
        )
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return files | {f"{MODELS}/{name}": data for name, data in web_models(model).items()}


def write_web_page(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files of :func:`web_page` to a folder, for any static server.

    The page itself comes last: where it is, everything that it loads is.

    Raises OSError if the folder is not writable.
    """
    for name, content in sorted(files.items(), key=lambda item: item[0] == INDEX):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda file, content=content: file.write(content))  # type: ignore[misc]


class WebPageServer(ThreadingHTTPServer):
    """Serves files from memory on the loopback interface, to this machine only.

    Call ``serve_forever`` to run it. ``port`` 0: a free one, see :attr:`url`.

    Raises OSError if the port is taken.
    """

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes], port: int = 0) -> None:
        self.files = files
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    server: WebPageServer

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        """Log nothing; a visitor is the user."""

    def _answer(self, *, with_body: bool) -> None:
        name = urlsplit(self.path).path.lstrip("/") or INDEX
        content = self.server.files.get(name)
        if content is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        content_type = CONTENT_TYPES.get(Path(name).suffix, "application/octet-stream")
        headers = {"Content-Type": content_type, "Content-Length": str(len(content)), **HEADERS}
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)
