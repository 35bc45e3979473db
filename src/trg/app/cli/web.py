"""The verb ``trg web``: head poses in a web page on this machine."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from trg.app.cli.shared import messages, refuse_existing
from trg.inference.bundle import DEFAULT_BUNDLE

PORT = 8765


def web(
    *,
    model: Annotated[str, Parameter(name=["--model", "-m"])] = DEFAULT_BUNDLE,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = PORT,
    open_browser: Annotated[bool, Parameter(name="--open", negative="")] = False,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    overwrite: bool = False,
) -> None:
    """Serve a web page that estimates head poses in the browser, to this machine only.

    The networks run in the browser; pictures and videos stay there. Ends with Ctrl-C.

    Parameters
    ----------
    model
        The weights: a name listed by ``trg models``, or a .trg file.
    port
        Port on 127.0.0.1; 0: a free one.
    open_browser
        Open the page in the default browser.
    out
        Write the page to this folder, for any static web server, and serve nothing.
    overwrite
        Replace files of the same names in ``--out``.
    """
    from trg.app.web_page import WebPageServer, web_page, write_web_page

    files = web_page(model)
    if out is not None:
        refuse_existing((out / name for name in files), overwrite=overwrite)
        write_web_page(files, out)
        total = sum(len(content) for content in files.values())
        messages.print(f"{out}: {len(files)} files, {total / 1e6:.1f} MB")
        return
    try:
        server = WebPageServer(files, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise ValueError(
            f"--port {port}: another program uses it; choose another one, or 0 for a free one"
        ) from error
    with server:
        messages.print(f"{server.url} (Ctrl-C ends it)")
        if open_browser:
            import webbrowser

            webbrowser.open(server.url)
        server.serve_forever()
