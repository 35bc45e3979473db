"""The verbs ``trg camera ...``, about the focal length."""

from __future__ import annotations

from cyclopts import App
from rich.markup import escape

from trg.app.cli.shared import ResultConsole, app

camera = App(
    name="camera",
    help="Show, list and calibrate cameras, on whose focal length distances depend.",
    sort_key=3,
)
app.command(camera)


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
