"""Draw the figures of the documentation: ``python scripts/draw_figures.py [FOLDER]``.

Needs matplotlib. The folder is docs/images if none is given.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

DEGREES_ABOVE = 20.0
DISTANCE = 5.0

LINE, DIM, ACCENT = "#333333", "#8a8a8a", "#c0392b"


def draw_line_of_sight(path: Path) -> None:
    """Draw two heads that look into a camera, on the optical axis and above it, from the side."""
    import matplotlib
    from matplotlib import pyplot as plt
    from matplotlib.patches import Arc

    matplotlib.rcParams["svg.hashsalt"] = "trg"  # the same file from every run
    figure, axes = plt.subplots(figsize=(8.0, 3.4))
    axes.fill([-0.9, -0.1, -0.1, -0.9], [-0.3, -0.3, 0.3, 0.3], color="#dddddd", ec=LINE)
    axes.fill([-0.1, 0.15, 0.15, -0.1], [-0.12, -0.28, 0.28, 0.12], color="#dddddd", ec=LINE)
    axes.text(-0.5, -0.65, "camera", ha="center", color=LINE)
    axes.annotate("", (7.4, 0), (0, 0), arrowprops={"arrowstyle": "->", "color": DIM, "ls": "--"})
    axes.text(7.45, 0.0, "optical axis", va="center", color=DIM)
    for angle_deg, text in (
        (0.0, "pitch 0 from the camera's axes,\n0 from the line of sight"),
        (DEGREES_ABOVE, "pitch {:.0f} from the camera's axes,\n0 from the line of sight"),
    ):
        angle = np.radians(angle_deg)
        centre = DISTANCE / np.cos(angle) * np.array([np.cos(angle), np.sin(angle)])
        _draw_head(axes, centre, angle)
        x, y = centre + (0.75, 0.0 if angle_deg else -0.75)
        axes.text(x, y, text.format(angle_deg), va="center", color=LINE)
    end = centre * (1.0 - 0.75 / np.linalg.norm(centre))
    axes.plot(*np.stack([(0.0, 0.0), end], 1), color=ACCENT)
    axes.text(2.1, 1.15, "line of sight", color=ACCENT, rotation=DEGREES_ABOVE, ha="center")
    axes.add_patch(Arc((0, 0), 3.4, 3.4, theta2=DEGREES_ABOVE, color=ACCENT))
    axes.text(1.8, 0.22, f"{DEGREES_ABOVE:.0f}°", color=ACCENT)
    axes.set_xlim(-1.2, 9.4)
    axes.set_ylim(-1.2, 2.7)
    axes.set_aspect("equal")
    axes.axis("off")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def _draw_head(axes, centre, angle):
    """Draw a profile that looks from ``centre`` to the origin, and the head's forward axis."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    around = np.linspace(0.0, 2.0 * np.pi, 90)
    skull = np.stack([0.5 * np.cos(around), 0.6 * np.sin(around)])
    nose = np.array([(-0.47, -0.63, -0.45), (0.2, -0.1, -0.14)])
    for shape in (skull, nose):
        axes.plot(*(turn @ shape + np.reshape(centre, (2, 1))), color=LINE)
    tip, tail = centre - turn @ (1.25, 0.0), centre - turn @ (0.1, 0.0)
    arrow = {"arrowstyle": "-|>", "color": "#2456c7", "lw": 1.8}
    axes.annotate("", tip, tail, arrowprops=arrow)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    folder.mkdir(parents=True, exist_ok=True)
    draw_line_of_sight(folder / "line_of_sight.svg")
