"""The verbs ``trg camera ...``, about the focal length."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.markup import escape

from trg.app.cli.shared import Positive, ResultConsole, messages, refuse_existing

if TYPE_CHECKING:
    from trg.geometry.camera import Camera

camera = App(
    name="camera",
    help="Show, list and calibrate cameras, on whose focal length distances depend.",
)


@camera.command
def show(*sources: str) -> None:
    """Show what is known of a camera, and why.

    Parameters
    ----------
    sources
        Photos, videos, calibration files, or names of webcams and phones.
    """
    from trg.app.camera_report import camera_rows

    if not sources:
        raise ValueError("sources: expected photos, videos, calibration files or names of cameras")
    results = ResultConsole()
    for source in sources:
        if len(sources) > 1:
            results.print(f"[bold]{escape(source)}[/]")
        rows = camera_rows(source)
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            results.print(f"[cyan]{escape(name):<{width}}[/]  {escape(value)}")


@camera.command(name="list")
def list_devices() -> None:
    """List the webcams and phones that ``--camera`` knows by name, and where that is stated."""
    from trg.io.devices import devices

    results = ResultConsole()
    known = devices()
    width = max(len(device.name) for device in known)
    for device in known:
        assert device.view.aspect is not None
        aspect = "{:g}:{:g}".format(*device.view.aspect)
        angle = f"{device.view.degrees:g} degrees {device.view.axis}, {aspect}"
        results.print(
            f"[cyan]{escape(device.name):<{width}}[/]  {angle}  [dim]{escape(device.reference)}[/]"
        )


@camera.command
def calibrate(
    clip: str,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("camera.json"),
    face: int | None = None,
    plot: Path | None = None,
    model: Annotated[str, Parameter(name=["--model", "-m"])] = "trg_m",
    overwrite: bool = False,
) -> None:
    """Estimate the focal length from a clip of one person who turns the head and leans in and out.

    Sit 0.3 to 0.6 m from the camera, turn your head slowly left and right, up and down, and lean in
    and out for 10 seconds. Nothing has to be measured. The exit code is 1, and nothing is written,
    if the clip does not tell the focal length.

    Parameters
    ----------
    clip
        A video file.
    out
        The camera file to write, for ``--camera`` of other verbs.
    face
        The id of the person, if the clip shows several.
    plot
        A picture of the residuals and of the estimate with its error bar (needs the extra
        ``plots``).
    model
        The weights; the error bar is measured with the default ones.
    overwrite
        Replace an existing camera file.
    """
    from trg.app.calibrate_camera import WHAT_TO_DO, calibrate_from_clip

    refuse_existing([out], overwrite=overwrite)
    found = calibrate_from_clip(clip, face, model)
    if plot is not None:
        from trg.app.camera_plot import plot_calibration, write_plot

        write_plot(plot, plot_calibration(found))
    fx, (first_px, second_px) = found.camera.fx, found.halves_px
    messages.print(
        f"focal length {fx:.0f} px, standard deviation {found.camera.focal_std_px:.0f} px "
        f"({found.log_std:.0%}), from {found.views} views at {found.distance_m:.2f} m; first half "
        f"of the views {first_px:.0f} px, second half {second_px:.0f} px",
        highlight=False,
    )
    if not found.is_good:
        reasons = ", ".join(found.weaknesses) or "the views tell little"
        kind = "a rough estimate" if found.is_usable else "this clip does not tell the focal length"
        messages.print(
            f"[bold]{kind}:[/] {escape(reasons)}. For a better one, {WHAT_TO_DO}", highlight=False
        )
    if not found.is_usable:
        sys.exit(1)
    _write_camera(out, found.camera)


@camera.command(name="from-chessboard")
def from_chessboard(
    folder: Path,
    /,
    *,
    columns: Positive = 9,
    rows: Positive = 6,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("camera.json"),
    overwrite: bool = False,
) -> None:
    """Calibrate from photos of a printed chessboard; needs OpenCV.

    Parameters
    ----------
    folder
        Photos of the board from different sides, all of one size.
    columns
        Inner corners in a row of the board, where four squares meet.
    rows
        Inner corners in a column of the board.
    out
        The camera file to write, for ``--camera`` of other verbs.
    overwrite
        Replace an existing camera file.
    """
    from trg.app.chessboard import calibrate_from_chessboard

    refuse_existing([out], overwrite=overwrite)
    found = calibrate_from_chessboard(folder, columns, rows)
    messages.print(
        f"focal length {found.camera.fx:.1f} px, standard deviation "
        f"{found.camera.focal_std_px:.1f} px, from {found.used} of {found.photos} photos; the "
        f"corners are off by {found.error_px:.2f} px",
        highlight=False,
    )
    _write_camera(out, found.camera)


def _write_camera(out: Path, camera: Camera) -> None:
    from trg._util.files import write_text_atomic

    write_text_atomic(out, json.dumps(camera.to_dict(), indent=1) + "\n")
    messages.print(escape(f"{out}: use it with --camera {out}"), highlight=False)
