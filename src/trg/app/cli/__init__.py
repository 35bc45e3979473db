"""The command line. A verb is imported when it is called, what it needs when it runs."""

from __future__ import annotations

import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from cyclopts import Group
from rich.markup import escape

from trg.app.cli.optional_values import complete_draw, complete_view
from trg.app.cli.shared import EVALUATION, TRAINING, ResultConsole, app, messages
from trg.io.inputs import PHOTO_SUFFIXES, STDIN_ARGUMENT, STDIN_NAME, VIDEO_SUFFIXES

__all__ = ["app", "main"]


class LazyVerb(NamedTuple):
    """A verb, which is imported only when it is called."""

    import_path: str
    group: Group | None
    """None: the first group of the help page."""
    help: str
    """First line of the verb's docstring; repeated here because the verb is not imported."""


PRODUCT_VERBS = {
    "predict": LazyVerb(
        "trg.app.cli.predict:predict",
        None,
        "Estimate the head poses in photos and videos.",
    ),
    "live": LazyVerb(
        "trg.app.cli.live:live",
        None,
        "Send head poses to games, avatars, robots and scripts as they happen.",
    ),
    "web": LazyVerb(
        "trg.app.cli.web:web",
        None,
        "Serve a web page that estimates head poses in the browser, to this machine only.",
    ),
    "serve": LazyVerb(
        "trg.app.cli.serve:serve",
        None,
        "Serve head poses over HTTP, to programs of this machine unless told otherwise.",
    ),
    "label": LazyVerb(
        "trg.app.cli.label:label",
        None,
        "Label the faces of a large collection of pictures, on one machine or many.",
    ),
    "movement": LazyVerb(
        "trg.app.cli.movement:movement",
        None,
        "Measure how heads move in the videos of records: nods, shakes, tilts, speeds, distances.",
    ),
    "camera": LazyVerb(
        "trg.app.cli.camera:camera",
        None,
        "Show, list and calibrate cameras, on whose focal length distances depend.",
    ),
    "doctor": LazyVerb(
        "trg.app.cli.doctor:doctor",
        None,
        "Show what is installed, and test it on a bundled synthetic face.",
    ),
    "models": LazyVerb(
        "trg.app.cli.doctor:models",
        None,
        "List the bundled models: size, licence, and the figures on their cards.",
    ),
}
"""In the order of the help page."""

RESEARCH_VERBS = {
    "data": LazyVerb(
        "trglab.cli.data:data",
        TRAINING,
        "Check data sets on disk, and pack training data.",
    ),
    "asset": LazyVerb(
        "trglab.cli.synth:asset",
        TRAINING,
        "Register an asset of the synthetic faces, after checking that it can be read.",
    ),
    "synth": LazyVerb(
        "trglab.cli.synth:synth",
        TRAINING,
        "Render labelled synthetic faces: a folder of them, a contact sheet, or both.",
    ),
    "train": LazyVerb(
        "trglab.cli.train:train",
        TRAINING,
        "Train a network with a named recipe.",
    ),
    "export": LazyVerb(
        "trglab.cli.train:export",
        TRAINING,
        "Export a checkpoint as a weight bundle, or a bundle for web pages.",
    ),
    "calibrate": LazyVerb(
        "trglab.cli.train:calibrate",
        TRAINING,
        "Calibrate the confidence of a weight bundle on synthetic faces, and fit error bars to it.",
    ),
    "bench": LazyVerb(
        "trglab.cli.train:bench",
        TRAINING,
        "Measure the speed of a network with its pose pipeline, or of the synthetic renderer.",
    ),
    "detector": LazyVerb(
        "trglab.cli.detector:detector",
        TRAINING,
        "Train, export and evaluate face detectors.",
    ),
    "eval": LazyVerb(
        "trglab.cli.evaluate:evaluate",
        EVALUATION,
        "Measure a network on a data set and print the paper's rows beside it.",
    ),
    "table": LazyVerb(
        "trglab.cli.table:table",
        EVALUATION,
        "Make a table or figure of the paper: train, measure, print the paper's rows beside ours.",
    ),
}
"""In the order of use, which is also the order of the help page."""

for _index, (_name, _verb) in enumerate({**PRODUCT_VERBS, **RESEARCH_VERBS}.items()):
    app.command(_verb.import_path, name=_name, group=_verb.group, help=_verb.help, sort_key=_index)

EXTRA_OF_PACKAGE = {
    **dict.fromkeys(
        ("torch", "numba", "jaxtyping", "onnx", "onnxscript", "fast_simplification", "scipy"),
        "train",
    ),
    "matplotlib": "plots",
    **dict.fromkeys(("pyarrow", "fsspec"), "data"),
    "ray": "ray",
    "pillow_heif": "heic",
    "skimage": "demo",
    **dict.fromkeys(("pythonosc", "websockets"), "live"),
    "rerun": "rerun",
    **dict.fromkeys(
        ("fastapi", "python_multipart", "prometheus_client", "starlette", "uvicorn"), "serve"
    ),
}
"""Import names of the optional dependencies in pyproject.toml, and the extra of each."""

STDIN_VERBS = ("predict", "live")
"""Verbs that know a lone hyphen: as a photo, and as a receiver."""

EXIT_BROKEN_PIPE = 141
"""Exit code by shell convention: 128 plus SIGPIPE."""


def main() -> None:
    """Run the command line; user errors are one line on stderr and exit code 2."""
    warnings.showwarning = _show_warning
    if sys.stdout is None:  # closed, as by `>&-`
        messages.print("[bold red]error:[/] standard output is closed", highlight=False)
        sys.exit(2)
    try:
        _refuse_media_as_verb(sys.argv[1:])
        # The shell leaves a quoted tilde.
        tokens = _name_stdin([_expand_home(token) for token in sys.argv[1:]])
        try:
            app(complete_view(complete_draw(tokens)), console=ResultConsole())
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader has what it needs, as `head`
        # Python flushes standard output at exit, which would fail again and print an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_BROKEN_PIPE)
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("TRG_DEBUG"):
            raise
        messages.print(f"[bold red]error:[/] {escape(_message(error))}", highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        messages.print("stopped")
        sys.exit(130)


def _name_stdin(tokens: Sequence[str]) -> list[str]:
    """Replace a lone hyphen, which the parser takes for an option, where a verb knows it.

    Raises ValueError elsewhere: as the value of an option, or of a verb that knows none.
    """
    if STDIN_ARGUMENT not in tokens:
        return list(tokens)
    verb = tokens[0]
    with_value: set[str] = set()
    if verb in STDIN_VERBS:
        arguments = app[verb].assemble_argument_collection()
        with_value.update(*(each.names for each in arguments if each.token_count()[0]))
        with_value -= {"--draw", "--send"}  # the layers may be left out; the receiver is known
    named: list[str] = []
    for before, token in pairwise(["", *tokens]):
        if token == STDIN_ARGUMENT and (verb not in STDIN_VERBS or before in with_value):
            raise ValueError(
                f"{before} -: expected a name; only `trg predict -` reads standard input (a "
                "picture), and only `trg live SOURCE --send -` writes to standard output by that "
                "name"
            )
        named.append(STDIN_NAME if token == STDIN_ARGUMENT else token)
    return named


def _expand_home(token: str) -> str:
    """Replace a leading ``~`` of an argument, or of the value in ``--option=~/path``."""
    option, equals, value = token.rpartition("=") if token.startswith("--") else ("", "", token)
    return option + equals + (value if os.path.lexists(value) else os.path.expanduser(value))


def _refuse_media_as_verb(arguments: Sequence[str]) -> None:
    """Raise ValueError if the verb is a photo, a video, or an existing file or folder."""
    verb = arguments[0] if arguments else ""
    if verb in app or (verb.startswith("-") and verb != STDIN_ARGUMENT) or not verb:
        return
    suffixes = PHOTO_SUFFIXES | VIDEO_SUFFIXES
    if verb == STDIN_ARGUMENT or Path(verb).suffix.lower() in suffixes or os.path.exists(verb):
        raise ValueError(
            f"{verb}: expected a verb; did you mean: trg predict {shlex.join(arguments)}"
        )


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning like an error, without the place in the code."""
    messages.print(f"[bold yellow]warning:[/] {escape(str(message))}", highlight=False)


def _message(error: Exception) -> str:
    """Return the error's message; for a missing package, how to install it."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        if extra := EXTRA_OF_PACKAGE.get(package):
            return (
                f"this needs the package {package}, of the extra `{extra}`; install it with: "
                f"pip install 'trg-headpose[{extra}]'"
            )
    return str(error)
