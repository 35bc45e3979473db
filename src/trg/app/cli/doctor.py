"""The verbs ``trg doctor`` and ``trg models``, about the installation."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.markup import escape

from trg.app.cli.shared import ResultConsole, messages

if TYPE_CHECKING:
    from trg.app.installation import ModelSummary
    from trg.app.selftest import SelfTestResult

HEADLINES = ("mae_r_deg", "ge_deg", "tz_relative", "landmarks_mm", "add_mm", "stills_nme11")
"""Prefixes of the head pose figures that are shown by default."""


def doctor(*, model: Annotated[str | None, Parameter(name=["--model", "-m"])] = None) -> None:
    """Show what is installed, and test it on a bundled synthetic face.

    The exit code is 1 if something is missing or the test fails.

    Parameters
    ----------
    model
        The weights to test: a name listed by ``trg models``, or a .trg file.
    """
    from trg.app import installation
    from trg.inference.onnx_session import available_providers

    results = ResultConsole()
    rows = list(installation.package_versions().items())
    rows.append(("providers", ", ".join(available_providers())))
    rows.append(("webcams", installation.webcams()))
    problem = None
    try:
        for each in installation.bundled_models():
            rows += [(each.kind, f"{each.name}, {each.path}"), ("", f"SHA-256 {each.sha256}")]
    except (OSError, ValueError) as error:  # a damaged model; the versions are still of use
        problem = str(error)
    _print_rows(results, rows)
    if problem is None:
        problem = _run_selftest(results, model)
    if problem is not None:
        messages.print(f"[bold red]error:[/] {escape(problem)}", highlight=False)
        sys.exit(1)


def models(*, all_figures: bool = False) -> None:
    """List the bundled models: size, licence, and the figures on their cards.

    Parameters
    ----------
    all_figures
        Show every figure of the models' cards.
    """
    from trg.app.installation import bundled_models

    found = bundled_models()
    if not found:
        raise FileNotFoundError("models: this copy of the package has none")
    results = ResultConsole()
    for model in found:
        results.print(f"[bold]{escape(model.name)}[/], {model.kind}")
        shown = model.figures if all_figures else _headlines(model)
        figures = [(name, f"{value:.4g}") for name, value in shown.items()]
        _print_rows(results, _card_rows(model) + figures, indent="  ")


def _run_selftest(results: ResultConsole, model: str | None) -> str | None:
    """Run the self-test and print its verdict; return the problem, None if it passed."""
    from trg.app import selftest
    from trg.inference.detector import bundled_model

    try:
        bundled_model()
        result = selftest.run_selftest(model)
    except (OSError, ValueError) as error:
        return str(error)
    results.print(_verdict(result))
    if result.passed:
        return None
    return "the self-test failed: the model or ONNX Runtime does not work correctly"


def _print_rows(console: ResultConsole, rows: list[tuple[str, str]], indent: str = "") -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(f"{indent}[cyan]{escape(name):<{width}}[/]  {escape(value)}")


def _card_rows(model: ModelSummary) -> list[tuple[str, str]]:
    rows = [("licence", model.licence)]
    rows += [("attribution", each) for each in model.attribution]
    rows.append(("file", f"{model.path}, {model.size_bytes / 1e6:.1f} MB"))
    rows.append(("SHA-256", model.sha256))
    if model.parameters is not None:
        rows.append(("parameters", f"{model.parameters / 1e6:.2f} M"))
    if model.multiply_adds is not None:
        rows.append(("multiply-adds", f"{model.multiply_adds / 1e9:.2f} G"))
    if model.crop_size is not None:
        rows.append(("crop", f"{model.crop_size} px"))
    return rows


def _headlines(model: ModelSummary) -> dict[str, float]:
    """Return the main figures; a detector has only a few, which are all shown."""
    if model.kind != "head pose":
        return dict(model.figures)
    return {name: value for name, value in model.figures.items() if name.startswith(HEADLINES)}


def _verdict(result: SelfTestResult) -> str:
    if not result.faces:
        return "self-test: [bold red]failed[/], the detector found no face"
    outcome = "[bold green]passed[/]" if result.passed else "[bold red]failed[/]"
    return (
        f"self-test: {outcome}, {result.faces} found of 1 face, rotation off by "
        f"{result.rotation_error_deg:.1f} degrees, distance by {100 * result.distance_error:.1f} "
        f"%, landmarks by {100 * result.landmark_error:.1f} % of the face box"
    )
