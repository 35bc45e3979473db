"""Verbs about the installation: is it sound, and which models does it have?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from trg.app.cli.shared import app, messages

if TYPE_CHECKING:
    from trg.app.selftest import ModelNote, SelfTest


@app.command
def doctor(*, model: str | None = None) -> None:
    """Say what is installed, and test it on a synthetic face that the package holds.

    The exit code is 1 if something is missing or the test fails.

    Parameters
    ----------
    model
        The weights to test: a name that ``trg models`` lists, or a .trg file.
    """
    from trg.app import selftest

    results = Console(soft_wrap=True, highlight=False)
    rows = list(selftest.versions().items())
    rows.append(("providers", ", ".join(selftest.providers())))
    problem = None
    try:
        for note in selftest.models():
            rows += [(note.kind, f"{note.name}, {note.path}"), ("", f"SHA-256 {note.sha256}")]
    except (OSError, ValueError) as error:  # one is damaged: what else there is helps to find out
        problem = str(error)
    _print_rows(results, rows)
    if problem is None:
        problem = _self_test_problem(results, model)
    if problem is not None:
        messages.print(f"[bold red]error:[/] {escape(problem)}", highlight=False)
        sys.exit(1)


def _self_test_problem(results: Console, model: str | None) -> str | None:
    """Run the self-test and print its verdict; return what is wrong, None if nothing is."""
    from trg.app import selftest
    from trg.inference.detector import bundled_model

    try:
        bundled_model()
        test = selftest.self_test(model)
    except (OSError, ValueError) as error:
        return str(error)
    results.print(_verdict(test))
    if test.passed:
        return None
    return "the self-test failed: the model or ONNX Runtime does not work as it should"


@app.command
def models(*, all_figures: bool = False) -> None:
    """List the models inside the package: size, licence, and what they reach.

    Parameters
    ----------
    all_figures
        Show every figure of the models' cards.
    """
    from trg.app import selftest

    notes = selftest.models()
    if not notes:
        raise FileNotFoundError("models: this copy of the package has none")
    results = Console(soft_wrap=True, highlight=False)
    for note in notes:
        results.print(f"[bold]{escape(note.name)}[/], {note.kind}")
        shown = note.figures if all_figures else _headlines(note)
        figures = [(name, f"{value:.4g}") for name, value in shown.items()]
        _print_rows(results, _facts(note) + figures, indent="  ")


def _print_rows(console: Console, rows: list[tuple[str, str]], indent: str = "") -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(f"{indent}[cyan]{escape(name):<{width}}[/]  {escape(value)}")


def _facts(note: ModelNote) -> list[tuple[str, str]]:
    facts = [("licence", note.licence)]
    facts += [("attribution", each) for each in note.attribution]
    facts.append(("file", f"{note.path}, {note.bytes / 1e6:.1f} MB"))
    facts.append(("SHA-256", note.sha256))
    if note.parameters is not None:
        facts.append(("parameters", f"{note.parameters / 1e6:.2f} M"))
    if note.multiply_adds is not None:
        facts.append(("multiply-adds", f"{note.multiply_adds / 1e9:.2f} G"))
    if note.crop_size is not None:
        facts.append(("crop", f"{note.crop_size} px"))
    return facts


HEADLINES = ("mae_r_deg", "ge_deg", "tz_relative", "landmarks_mm", "add_mm", "stills_nme11")
"""What the figures of head pose models that are shown begin with."""


def _headlines(note: ModelNote) -> dict[str, float]:
    """Return the figures worth a first look: a detector's are few."""
    if note.kind != "head pose":
        return dict(note.figures)
    return {name: value for name, value in note.figures.items() if name.startswith(HEADLINES)}


def _verdict(test: SelfTest) -> str:
    if not test.faces:
        return "self-test: [bold red]failed[/], the detector found no face"
    outcome = "[bold green]passed[/]" if test.passed else "[bold red]failed[/]"
    return (
        f"self-test: {outcome}, {test.faces} found of 1 face, rotation off by "
        f"{test.rotation_error_deg:.1f} degrees, distance by {100 * test.distance_error:.1f} %, "
        f"landmarks by {100 * test.landmark_error:.1f} % of the face box"
    )
