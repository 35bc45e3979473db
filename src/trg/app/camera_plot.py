"""A picture of a camera's calibration from a clip; needs matplotlib (the extra ``plots``)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trg._util.files import write_atomic
from trg.app.calibrate_camera import PRIOR_FOCAL, PRIOR_LOG_STD, ClipCalibration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120


def plot_calibration(found: ClipCalibration) -> Figure:
    """Draw the residuals of all views, and the estimate with its error bar beside the prior."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    x, y = 100.0 * found.residuals.reshape(-1, 2).T
    frame = np.repeat(np.arange(found.views), found.residuals.shape[1])
    dots = left.scatter(x, y, c=frame, s=4, cmap="viridis", linewidths=0)
    figure.colorbar(dots, ax=left, label="view")
    reach = float(np.percentile(np.abs([x, y]), 99.5))
    left.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")
    left.set(xlabel="x, % of the face's size", ylabel="y", title="Landmarks of the fit, residuals")
    camera = found.camera
    prior_px = PRIOR_FOCAL * float(np.hypot(camera.width, camera.height))
    rows = (
        ("cameras in general", prior_px, prior_px * PRIOR_LOG_STD, "#9a9a9a"),
        ("first half", found.halves_px[0], 0.0, "#3b6fb6"),
        ("second half", found.halves_px[1], 0.0, "#3b6fb6"),
        ("this clip", camera.fx, camera.focal_std_px or 0.0, "#1f4e8c"),
    )
    for place, (_, value, deviation, colour) in enumerate(rows):
        for times, width in ((2.0, 1.5), (1.0, 4.0)):
            ends = [value - times * deviation, value + times * deviation]
            right.plot(ends, [place, place], color=colour, linewidth=width)
        right.plot([value], [place], "o", color=colour)
    right.set_yticks(range(len(rows)), [name for name, *_ in rows])
    right.set(xlabel="focal length, px", title="One and two standard deviations")
    right.margins(y=0.3)
    return figure


def write_plot(path: Path, figure: Figure) -> None:
    """Write a figure as an image; its format follows from the suffix."""
    kind = path.suffix.lstrip(".").lower() or "png"
    write_atomic(path, lambda file: figure.savefig(file, format=kind, dpi=DPI))
