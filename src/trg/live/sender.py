"""Senders by the scheme of their URL. A new target is one file in :mod:`trg.live.targets`.

The module ``trg.live.targets.x_y`` serves the scheme ``x+y``. It has a function::

    def open_sender(url: TargetUrl, options: SenderOptions) -> Sender

and the docstring's first line says for which receivers it is.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from urllib.parse import SplitResult, parse_qs, urlsplit

from trg.geometry.axes import FrameConvention
from trg.live.frame import LiveFrame

STDOUT = "-"


class Sender(Protocol):
    """Sends frames to one receiver.

    ``send`` never waits for the receiver: what cannot be sent at once is dropped, and a newer frame
    replaces one that waits. A receiver that is missing is no error; the sender reports it once
    (:attr:`SenderOptions.notify`), goes on, and reports its return.
    """

    def send(self, frame: LiveFrame) -> None:
        """Send one frame."""

    def close(self) -> None:
        """Release sockets and threads; does nothing if already closed."""


def _ignore(message: str) -> None:
    """Drop a message."""


@dataclass(frozen=True, slots=True)
class SenderOptions:
    """What all senders are given."""

    axes: FrameConvention = "opencv"
    """The program in whose axes JSON and OSC state poses; other formats have their own."""
    notify: Callable[[str], None] = _ignore
    """Takes a message about the receiver for the user; called from any thread."""


class TargetUrl(NamedTuple):
    """A parsed target such as ``osc://192.168.0.5:9000/head?name=value``."""

    text: str
    """As the user wrote it, for messages."""
    host: str
    """Name or address."""
    port: int
    """Of the receiver, or the scheme's default."""
    path: str
    """With its leading slash; empty if there is none."""
    query: dict[str, str]
    """The options after the question mark."""

    @property
    def name(self) -> str:
        """The target without its options, for messages."""
        return self.text.partition("?")[0]

    @classmethod
    def of(cls, text: str, default_port: int | None = None) -> TargetUrl:
        """Parse a URL. Raises ValueError if the host or the port is missing or invalid."""
        try:
            parts: SplitResult = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{text}: expected SCHEME://HOST:PORT ({error})") from None
        port = default_port if port is None else port
        if not parts.hostname or port is None or parts.username is not None:
            example = f"{parts.scheme}://127.0.0.1:{default_port or 5005}"
            raise ValueError(f"{text}: expected a host and a port, such as {example}")
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        return cls(text, parts.hostname, port, parts.path, query)

    def refuse_unknown(self, *known: str) -> None:
        """Raise ValueError if the query has other names than these."""
        if unknown := sorted(set(self.query) - set(known)):
            raise ValueError(
                f"{self.text}: expected {' or '.join(known) or 'nothing'} after the question "
                f"mark, got {', '.join(unknown)}"
            )


def schemes() -> list[str]:
    """Return the schemes of all targets, sorted."""
    import trg.live.targets

    names = (module.name for module in pkgutil.iter_modules(trg.live.targets.__path__))
    return sorted(name.replace("_", "+") for name in names)


def open_sender(target: str, options: SenderOptions = SenderOptions()) -> Sender:
    """Open a sender.

    Parameters
    ----------
    target
        ``SCHEME://HOST:PORT``, with one of :func:`schemes`, or ``-`` for JSON Lines on standard
        output.
    options
        The axes of JSON and OSC, and where messages go.

    Raises
    ------
    ValueError
        The target is not a URL of a known scheme, or an option in it is unknown.
    OSError
        The host's name is unknown, or the port of a server is taken.
    ImportError
        The target needs a package of the extra ``live``.
    """
    if target == STDOUT:
        from trg.live.json_lines import StdoutSender

        return StdoutSender(options)
    scheme, separator, _ = target.partition("://")
    known = schemes()
    if not separator or scheme.lower() not in known:
        raise ValueError(
            f"{target}: expected - for standard output, or SCHEME://HOST:PORT with one of the "
            f"schemes {', '.join(known)}"
        )
    module = importlib.import_module(f"trg.live.targets.{scheme.lower().replace('+', '_')}")
    default_port: int | None = getattr(module, "DEFAULT_PORT", None)
    sender: Sender = module.open_sender(TargetUrl.of(target, default_port), options)
    return sender
