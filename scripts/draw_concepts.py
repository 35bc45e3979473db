"""Draw the diagrams of the concept pages: ``python scripts/draw_concepts.py [FOLDER]``.

Heads and axes are projected with the package's own conventions, so that a picture cannot differ
from the code. The folder is docs/images if none is given.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trg.geometry.axes import CAMERA_AXES, HEAD_AXES, FrameConvention
from trg.geometry.rotations import rotation_from_euler, rotation_from_rotvec
from trg.inference.bundle import DEFAULT_BUNDLE, bundled, read_bundle

INK, DIM, PALE, CARD = "#26323f", "#66727f", "#eef2f6", "#ffffff"
XYZ = ("#c62828", "#2e7d32", "#1d4fd8")
"""Of x, y and z axes."""

OPEN_LINES = ((0, 17), (17, 22), (22, 27), (27, 31), (31, 36))
CLOSED_LINES = ((36, 42), (42, 48), (48, 60), (60, 68))
"""Lines through the 68 landmarks, as ranges of their numbers."""


class Drawing:
    """An SVG on a white card, which is readable on light and dark pages."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._size, self._title = (width, height), title
        self._parts: list[str] = []

    def write(self, path: Path) -> None:
        """Write the file."""
        width, height = self._size
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="15">\n'
            f"<title>{escape(self._title)}</title>\n"
            f'<rect width="{width}" height="{height}" rx="8" fill="{CARD}"/>\n'
        )
        path.write_text(head + "\n".join(self._parts) + "\n</svg>\n")

    def text(
        self,
        place: ArrayLike,
        lines: str,
        colour: str = INK,
        anchor: str = "middle",
        size: int = 15,
        weight: str = "normal",
    ) -> None:
        """Write lines of text, centred vertically on a place."""
        x, y = np.asarray(place, dtype=float)
        rows = lines.split("\n")
        y += 0.35 * size - 0.5 * (len(rows) - 1) * 1.3 * size
        for number, row in enumerate(rows):
            self._parts.append(
                f'<text x="{x:.1f}" y="{y + number * 1.3 * size:.1f}" fill="{colour}" '
                f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}">'
                f"{escape(row)}</text>"
            )

    def box(self, corner: ArrayLike, size: ArrayLike, lines: str, fill: str = PALE) -> None:
        """Draw a box with text in its middle."""
        (x, y), (width, height) = np.asarray(corner, float), np.asarray(size, float)
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" '
            f'fill="{fill}" stroke="{INK}"/>'
        )
        self.text((x + width / 2, y + height / 2), lines, size=14)

    def line(
        self,
        points: ArrayLike,
        colour: str = INK,
        width: float = 1.5,
        dashed: bool = False,
        closed: bool = False,
        fill: str = "none",
    ) -> None:
        """Draw a line through points ``(n, 2)``."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in np.asarray(points, float))
        dash = ' stroke-dasharray="6 5"' if dashed else ""
        self._parts.append(
            f'<{"polygon" if closed else "polyline"} points="{path}" fill="{fill}" '
            f'stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"{dash}/>'
        )

    def arrow(
        self, points: ArrayLike, colour: str = INK, width: float = 1.8, dashed: bool = False
    ) -> None:
        """Draw a line with an arrowhead at its last point."""
        points = np.asarray(points, float)
        along = points[-1] - points[-2]
        along /= max(np.linalg.norm(along), 1e-9)
        across = np.array([-along[1], along[0]])
        base = points[-1] - 10.0 * along
        self.line([*points[:-1], base], colour, width, dashed)
        self.line(
            [points[-1], base + 4.5 * across, base - 4.5 * across], colour, 1, False, True, colour
        )

    def axes(
        self, origin: ArrayLike, tips: ArrayLike, names: Sequence[str] = "xyz", gap: float = 13.0
    ) -> None:
        """Draw the axes from an origin to the tips ``(3, 2)``, with their names."""
        origin, tips = np.asarray(origin, float), np.asarray(tips, float)
        for tip, name, colour in zip(tips, names, XYZ, strict=True):
            length = np.linalg.norm(tip - origin)
            self.arrow([origin, tip], colour, 2.4)
            self.text(tip + gap * (tip - origin) / length, name, colour, weight="bold")


def head_landmarks() -> NDArray[np.float64]:
    """Return the 68 landmarks of the mean face in the head frame, ``(68, 3)``, metres."""
    topology = read_bundle(bundled(DEFAULT_BUNDLE)).topology
    return topology.template_m[topology.landmarks68].astype(np.float64)


def draw_face(drawing: Drawing, points: NDArray[np.float64], colour: str = DIM) -> None:
    """Draw the 68 landmarks ``(68, 2)`` as the lines of a face."""
    for lines, closed in ((OPEN_LINES, False), (CLOSED_LINES, True)):
        for first, end in lines:
            drawing.line(points[first:end], colour, 1.4, closed=closed)


def draw_network(path: Path) -> None:
    """Draw the three steps of the network, after section 3 of the paper."""
    d = Drawing(1000, 640, "The network: feature extractor and three refinement steps")
    d.box((20, 56), (120, 60), "crop\n192 x 192 px")
    d.box((190, 46), (130, 80), "feature extractor\nResNet-18 trunk", "#dbe9ff")
    d.arrow([(140, 86), (190, 86)])
    d.line([(320, 86), (345, 86)])
    columns = (430, 650, 870)
    sides = ("12 x 12", "24 x 24", "48 x 48")
    for number, (x, side) in enumerate(zip(columns, sides, strict=True), 1):
        left = 345 if number == 1 else columns[number - 2] + 70
        d.arrow([(left, 86), (x - 70, 86)])
        d.box((x - 70, 50), (140, 72), f"deconvolution {number}\nmap φ{number}, {side}", "#dbe9ff")
        d.arrow([(x, 122), (x, 205)])
    d.arrow([(925, 122), (925, 148)], DIM)
    d.text((938, 167), "heatmaps:\n68 landmarks L", DIM, size=13)

    for number, x in enumerate(columns, 1):
        d.box(
            (x - 85, 205),
            (170, 62),
            f"sample φ{number} at P{number - 1}\n5 features per point",
            "#e4f5e6",
        )
        d.arrow([(x, 267), (x, 315)])
        d.box(
            (x - 85, 315),
            (170, 62),
            f"regressor {number} (MLP)\nΘ{number} = Θ{number - 1} + change",
            "#ffe9d6",
        )
        d.arrow([(x, 377), (x, 425)])
        d.box(
            (x - 85, 425),
            (170, 86),
            f"Eq. 2: translation T{number}\nEq. 3: project the\nvertices: P{number}",
            "#f3e8ff",
        )
    for first, second in pairwise(columns):
        middle = (first + second) / 2
        d.arrow([(first + 85, 346), (second - 85, 346)])
        d.text((middle - 3, 332), f"Θ{columns.index(first) + 1}", anchor="end", size=13)
        d.arrow([(first + 85, 468), (middle, 468), (middle, 236), (second - 85, 236)], "#7b3fb5")
        d.text((middle + 4, 292), f"P{columns.index(first) + 1}", "#7b3fb5", "start", 13)

    d.box((20, 205), (150, 62), "P0: grid of\n18 x 18 points")
    d.arrow([(170, 236), (345, 236)])
    d.box((20, 315), (150, 62), "Θ0: mean face that\nlooks at the camera")
    d.arrow([(170, 346), (345, 346)])
    d.box(
        (20, 425), (190, 86), "bbox_info: centre and\nside of the box, divided\nby the focal length"
    )
    d.line([(210, 468), (260, 468), (260, 400), (810, 400)], DIM, 1.2)
    for x in columns:
        d.arrow([(x - 60, 400), (x - 60, 377)], DIM, 1.2)
        d.arrow([(x - 60, 400), (x - 60, 425)], DIM, 1.2)
    d.arrow([(870, 511), (870, 560)])
    d.box(
        (560, 560),
        (420, 56),
        "result: rotation R3, translation T3 in metres,\n1220 landmarks V3 of this face",
    )
    d.text(
        (20, 588),
        "Θ = (R: rotation as two columns, c: correction of the\n"
        "box, V: vertices of the face in metres). P1, P2: the\n"
        "image places of 305 of the vertices.",
        DIM,
        "start",
        14,
    )
    d.text(
        (20, 24),
        "Feature extractor (section 3.2), sampler (3.3), regressor (3.4). Every step "
        "sees finer features at better places.",
        DIM,
        "start",
        14,
    )
    d.write(path)


def draw_virtual_camera(path: Path) -> None:
    """Draw the way from an image to a crop and back, from above."""
    d = Drawing(1000, 360, "A virtual camera is rotated toward each face")
    camera, angle = np.array([110.0, 240.0]), np.radians(-24.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shape = np.array(
        [(-46, -20), (-6, -20), (-6, -9), (12, -18), (12, 18), (-6, 9), (-6, 20), (-46, 20)]
    )
    d.line(camera + shape, INK, closed=True, fill="#dde3ea")
    d.line(camera + shape @ turn.T, XYZ[2], dashed=True, closed=True)
    d.arrow([camera + (16, 0), (500, 240)], DIM, dashed=True)
    d.text((506, 240), "optical axis", DIM, "start")
    face = camera + turn @ (370.0, 0.0)
    d.arrow([camera + turn @ (16.0, 0.0), camera + turn @ (322.0, 0.0)], XYZ[2])
    across = turn @ (0.0, 1.0)
    around = np.linspace(0, 2 * np.pi, 60)
    skull = np.stack([40 * np.cos(around), 32 * np.sin(around)], 1)
    nose = np.array([(-38, -8), (-52, 0), (-38, 8)])
    for points in (skull, nose):
        d.line(
            face + points @ turn.T,
            INK,
            closed=points is skull,
            fill="#f2e4d8" if points is skull else "none",
        )
    for side in (-1.0, 1.0):
        d.line([camera, camera + turn @ (370.0, 0.0) + side * 46 * across], XYZ[2], 1, dashed=True)
    d.text(camera + (-46, 46), "the camera", INK, "start", 14)
    d.text((110, 150), "virtual camera:\nsame place, turned\ntoward the face", XYZ[2], "middle", 14)
    d.text((466, 160), "crop: its view,\nwithout lens\ndistortion", XYZ[2], "start", 14)
    for number, (title, text) in enumerate(
        (
            ("1  in", "each face gets a camera of its own, turned\ntoward it and upright"),
            (
                "2  network",
                "sees every face in the middle of a picture\nand gives its pose in that camera",
            ),
            (
                "3  out",
                "the pose is turned back into the axes of the\n"
                "camera: exact, without knowing the distance",
            ),
        )
    ):
        y = 76 + 104 * number
        d.text((645, y - 26), title, XYZ[2], "start", 16, "bold")
        d.text((645, y + 10), text, INK, "start", 14)
    d.text((64, 335), "seen from above", DIM, "start", 13)
    d.write(path)


def scene_view() -> NDArray[np.float64]:
    """Return the rotation of a viewpoint behind, to the right of and above the camera."""
    return rotation_from_rotvec(np.radians([24.0, 0, 0])) @ rotation_from_rotvec(
        np.radians([0, 52.0, 0])
    )


def draw_frames(path: Path) -> None:
    """Draw the camera frame and the head frame in space."""
    d = Drawing(1000, 470, "Camera frame and head frame")
    view, scale, origin = scene_view(), 900.0, np.array([230.0, 300.0])

    def place(points_m: ArrayLike) -> NDArray[np.float64]:
        return origin + scale * (np.asarray(points_m, float) @ view.T)[..., :2]

    head_m = np.array([0.02, -0.03, 0.62])
    landmarks = head_landmarks()
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (0.06, 0.045)
    image = np.column_stack([corners, np.full(4, 0.12)])
    d.line(place(image), DIM, closed=True, fill="#f4f6f8")
    for corner in image:
        d.line(place([(0, 0, 0), corner]), "#b6c0ca", 1)
    d.arrow(place([(0, 0, 0), head_m]), "#b26a00", 1.6, dashed=True)
    draw_face(d, place(landmarks + head_m))
    d.axes(place((0, 0, 0)), place(0.17 * np.eye(3)), [f"{name}" for name in "xyz"])
    d.axes(place(head_m), place(head_m + 0.17 * np.eye(3)))
    d.text(
        place((0, 0, 0)) + (-20, 26), "camera frame: origin at\nthe optical centre", INK, "end", 14
    )
    d.text(place((0, 0, 0.3)) + (30, 60), "translation_m", "#b26a00", "start", 14)
    d.text(
        (560, 400),
        "head frame: origin inside the head. The axes of a face that\n"
        "looks straight into the camera are parallel to the camera's:\n"
        "its rotation is the identity.",
        INK,
        "start",
        14,
    )
    d.text((24, 40), "x: to the image's right, the person's left", XYZ[0], "start", 14)
    d.text((24, 66), "y: down", XYZ[1], "start", 14)
    d.text(
        (24, 92),
        "z: the way the camera looks; from the face to the back of the head",
        XYZ[2],
        "start",
        14,
    )
    d.write(path)


def draw_euler(path: Path) -> None:
    """Draw heads turned by positive yaw, pitch and roll, as the camera sees them."""
    d = Drawing(1000, 350, "Positive yaw, pitch and roll in the image")
    landmarks = head_landmarks()
    turns = ((0.0, 0.0, 0.0), (30.0, 0.0, 0.0), (0.0, 30.0, 0.0), (0.0, 0.0, 30.0))
    texts = (
        "yaw, pitch, roll = 0",
        "yaw +30°: the nose to\nthe image's left",
        "pitch +30°: the nose down",
        "roll +30°: clockwise",
    )
    for number, (turn, text) in enumerate(zip(turns, texts, strict=True)):
        origin = np.array([125.0 + 250.0 * number, 150.0])
        rotation = rotation_from_euler(np.array(turn))
        points = origin + 1150.0 * ((landmarks - landmarks.mean(0) * (0, 1, 0)) @ rotation.T)[:, :2]
        draw_face(d, points)
        forward = 1150.0 * (rotation @ (0.0, 0.0, -0.17))[:2]
        nose = points[30]
        tip = nose + 0.55 * forward
        if np.linalg.norm(forward) > 5.0:
            d.arrow([nose, tip], XYZ[2], 2.6)
        else:
            d.line(
                nose + 4.0 * np.array([(1, 0), (0, 1), (-1, 0), (0, -1)]), XYZ[2], 3, closed=True
            )
        d.text((origin[0], 308), text, INK, "middle", 15, "bold" if number else "normal")
    d.write(path)


def draw_program_axes(path: Path) -> None:
    """Draw the axes of a camera and of the head before it in each program."""
    d = Drawing(1000, 400, "Axes of camera and head in other programs")
    view, scale = scene_view(), 420.0
    for number, frame in enumerate(get_args(FrameConvention)):
        left = 200.0 * number
        camera, head = np.array([left + 62.0, 266.0]), np.array([left + 130.0, 150.0])
        for origin, axes in ((camera, CAMERA_AXES[frame]), (head, HEAD_AXES[frame])):
            tips = origin + scale * 0.1 * (axes @ view.T)[:, :2] * 1.15
            d.axes(origin, tips, gap=11.0)
        d.text((left + 100.0, 34.0), frame, INK, "middle", 18, "bold")
        d.text(camera + (0.0, 84.0), "camera", DIM, "middle", 13)
        d.text(head + (0.0, -84.0), "head", DIM, "middle", 13)
        if number:
            d.line([(left, 20), (left, 380)], "#d5dbe1", 1)
    d.text(
        (500, 384),
        "The camera looks toward the upper right; the head looks back at it. Same pose, "
        "other names of the axes.",
        DIM,
        "middle",
        14,
    )
    d.write(path)


def draw_distance(path: Path) -> None:
    """Draw why an image alone tells no distance: the focal length, and the size of the head."""
    d = Drawing(1000, 380, "What a distance depends on")
    for left, title in (
        (0, "twice the focal length, twice the distance"),
        (500, "a small head near, or a large one farther away"),
    ):
        d.text((left + 250, 30), title, INK, "middle", 17, "bold")
    around = np.linspace(0, 2 * np.pi, 60)
    circle = np.stack([np.cos(around), np.sin(around)], 1)
    for y, focal, distance in ((120.0, 60.0, 190.0), (270.0, 120.0, 380.0)):
        camera = np.array([60.0, y])
        half = 34.0
        d.line([camera + (distance, -half), camera, camera + (distance, half)], DIM, 1, dashed=True)
        d.line(camera + (distance, 0) + half * circle, INK, closed=True, fill="#f2e4d8")
        image = half * focal / distance
        d.line([camera + (focal, -image), camera + (focal, image)], XYZ[2], 5)
        d.line(camera + 5 * circle, INK, closed=True, fill=INK)
        d.text(camera + (focal, image + 20), f"f = {focal * 10:.0f} px", XYZ[2], "middle", 13)
        d.text(camera + (distance, half + 18), f"{distance / 380:.1f} m", INK, "middle", 14)
    d.text((250, 352), "The image (blue) is the same.", DIM, "middle", 14)
    tangent = 0.155
    for y, distance, text in (
        (120.0, 240.0, "eyes 52 mm\napart: 0.52 m"),
        (270.0, 295.4, "eyes 64 mm\napart: 0.64 m"),
    ):
        camera, radius = np.array([525.0, y]), distance * tangent
        for side in (-1.0, 1.0):
            d.line([camera, camera + 345.0 * np.array([1.0, side * tangent])], DIM, 1, dashed=True)
        d.line(camera + (distance, 0) + radius * circle, INK, closed=True, fill="#f2e4d8")
        d.line([camera + (90, -90 * tangent), camera + (90, 90 * tangent)], XYZ[2], 5)
        d.line(camera + 5 * circle, INK, closed=True, fill=INK)
        d.text(camera + (350, 0), text, INK, "start", 14)
    d.text((750, 352), "The network estimates the size; --ipd states it.", DIM, "middle", 14)
    d.write(path)


FIGURES = {
    "network": draw_network,
    "virtual_camera": draw_virtual_camera,
    "frames": draw_frames,
    "euler_angles": draw_euler,
    "program_axes": draw_program_axes,
    "distance": draw_distance,
}

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        draw(folder / f"{name}.svg")
