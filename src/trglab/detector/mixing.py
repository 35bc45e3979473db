"""Training scenes for the detector: labelled pictures, cut and mixed.

    scenes, views, empty pictures (trglab.detector.scene_store)
      | whole, as a mosaic, or several stuck on one
      | mirrored, recompressed
    training scene

Everything in a scene is a :class:`~trglab.detector.scenes.DetectionScene`; placing one into a part
of a canvas gives another one.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trg.inference.detections import POINT_COUNT
from trglab.detector.network import MIN_SIDE_PX
from trglab.detector.scene_store import SceneDataset
from trglab.detector.scenes import DetectionScene

MIRRORED_POINTS = [1, 0, 2, 4, 3]
"""The five points' order in a mirrored picture."""

SHOWN = 0.4
"""A face counts where at least this share of its box is in the picture, and its centre too."""

SEEN = 0.3
"""A face counts where at least this share of it is neither hidden nor outside its own picture."""

HINTED = 0.08
"""Of a smaller share than :data:`SHOWN`, but more than this, nobody says what it is."""

KINDS = ("whole", "mosaic", "scatter")
KIND_SHARES = (0.5, 0.25, 0.25)
LARGEST_SHARE = 1.35
"""Largest side of a face's box over the canvas's."""

CUT_SHARE = 0.2
"""Share of the pictures whose chosen face may be cut off by the border."""

Floats = NDArray[np.float64]


class SceneMixer:
    """Makes training scenes: a pure function of (seed, number).

    Parameters
    ----------
    scenes, views, negatives
        Labelled scenes, single faces, and images without a face; one of the first two may be None.
    canvas_px
        Side of the square scenes, a multiple of 32.
    """

    def __init__(
        self,
        seed: int,
        canvas_px: int,
        *,
        negatives: SceneDataset,
        views: SceneDataset | None = None,
        scenes: SceneDataset | None = None,
    ) -> None:
        self.seed, self.canvas_px = seed, canvas_px
        self._negatives = negatives
        self._faces = [source for source in (scenes, views) if source is not None]
        if not self._faces:
            raise ValueError("scenes: expected pictures with faces: scenes, views or both")

    def scene(self, number: int) -> DetectionScene:
        """Make scene ``number``: mixed, perhaps mirrored, perhaps spoilt by JPEG."""
        rng = np.random.default_rng((self.seed, number))
        kind = KINDS[rng.choice(len(KINDS), p=KIND_SHARES)]
        side = self.canvas_px
        canvas = _Canvas(side)
        if kind == "whole":
            canvas.place(rng, self._picture(rng, 0.4, 0.25), (0, 0, side, side))
        elif kind == "mosaic":
            for part in _split(rng, (0, 0, side, side)):
                canvas.place(rng, self._picture(rng, 0.5, 0.25), part)
        else:
            canvas.place(rng, self._picture(rng, 0.5, 1.0), (0, 0, side, side))
            for _ in range(rng.integers(1, 8)):
                canvas.place(rng, self._picture(rng, 0.6, 0.3), _part(rng, side))
        scene = canvas.scene()
        if rng.random() < 0.5:
            scene = mirrored(scene)
        if rng.random() < 0.3:
            scene = scene._replace(image=_recompressed(scene.image, int(rng.integers(12, 75))))
        return scene

    def _picture(self, rng: np.random.Generator, views: float, empty: float) -> DetectionScene:
        """Draw a picture: with nobody, or from the views, or else from the scenes."""
        source = self._negatives
        if rng.random() >= empty:
            source = self._faces[-1 if rng.random() < views else 0]
        return source.scene(int(rng.integers(len(source))))


class _Canvas:
    """A picture that grows by placing others into parts of it."""

    def __init__(self, side: int) -> None:
        self.image = np.zeros((side, side, 3), np.uint8)
        self.boxes = np.zeros((0, 4))
        self.points = np.zeros((0, POINT_COUNT, 2))
        self.ignore = np.zeros((0, 4))

    def place(
        self, rng: np.random.Generator, picture: DetectionScene, part: tuple[int, int, int, int]
    ) -> None:
        """Show a picture, at a random scale and shift, in a rectangle of the canvas."""
        scale, offset = _fit(rng, picture, part)
        x0, y0, x1, y1 = part
        self._cover(np.array(part, float))
        self.image[y0:y1, x0:x1] = _filling(rng)
        height, width = picture.image.shape[:2]
        left, top = np.ceil(np.maximum((x0, y0), offset)).astype(int)
        right, bottom = np.floor(
            np.minimum((x1, y1), offset + scale * np.array([width, height]))
        ).astype(int)
        if right <= left or bottom <= top:
            return
        corners = np.array([[left, top], [right, bottom]])
        limit = np.array([width, height], float)
        source = np.clip((corners - offset) / scale, 0.0, limit).ravel()
        resized = Image.fromarray(picture.image).resize(
            (right - left, bottom - top),
            Image.Resampling.BILINEAR,
            box=tuple(source.tolist()),
            reducing_gap=1.5,
        )
        self.image[top:bottom, left:right] = np.asarray(resized)
        shown = np.array([left, top, right, bottom], float)
        self._label(picture, scale, offset, shown)

    def _label(self, picture: DetectionScene, scale: float, offset: Floats, shown: Floats) -> None:
        """Take over the labels of what is shown of a picture."""
        twice = np.concatenate([offset, offset])
        boxes = picture.boxes_xyxy * scale + twice
        share = _share_inside(boxes, shown)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2.0
        inside = ((centres >= shown[:2]) & (centres < shown[2:])).all(1)
        face = inside & (share >= SHOWN) & (picture.visible >= SEEN)
        hint = ~face & (share > HINTED)
        ignored = np.concatenate([picture.ignore_xyxy * scale + twice, boxes[hint]])
        ignored = np.concatenate(
            [np.maximum(ignored[:, :2], shown[:2]), np.minimum(ignored[:, 2:], shown[2:])], 1
        )
        self.boxes = np.concatenate([self.boxes, boxes[face]])
        self.points = np.concatenate([self.points, (picture.points * scale + offset)[face]])
        self.ignore = np.concatenate(
            [self.ignore, ignored[(ignored[:, 2:] > ignored[:, :2]).all(1)]]
        )

    def _cover(self, part: Floats) -> None:
        """Forget the faces that a rectangle hides; those that it touches are in doubt."""
        share = _share_inside(self.boxes, part)
        doubtful = (share > 0.3) & (share < 0.9)
        self.ignore = np.concatenate([self.ignore, self.boxes[doubtful]])
        self.boxes, self.points = self.boxes[share <= 0.3], self.points[share <= 0.3]

    def scene(self) -> DetectionScene:
        return DetectionScene(
            self.image, self.boxes, self.points, np.ones(len(self.boxes)), self.ignore
        )


def _fit(
    rng: np.random.Generator, picture: DetectionScene, part: tuple[int, int, int, int]
) -> tuple[float, Floats]:
    """Choose how a picture lies in a rectangle: ``canvas = picture * scale + offset``.

    One of its faces gets a size that is drawn evenly on a logarithmic scale, with its centre
    somewhere in the rectangle; a picture without faces covers it.
    """
    corner, size = np.array(part[:2], float), np.array(part[2:], float) - part[:2]
    height, width = picture.image.shape[:2]
    extent = np.array([width, height], float)
    covering = float((size / extent).max())
    if not len(picture.boxes_xyxy):
        scale = covering * float(np.exp(rng.uniform(0.0, 1.1)))
        return scale, corner - rng.random(2) * (extent * scale - size)
    box = picture.boxes_xyxy[rng.integers(len(picture.boxes_xyxy))]
    side = box[2] - box[0]
    low, high = MIN_SIDE_PX + 3.0, LARGEST_SHARE * size.min()
    wanted = float(np.exp(rng.uniform(np.log(low), np.log(max(high, low * 1.1)))))
    scale = min(wanted / side, 4.0)
    if rng.random() < 0.5:  # rather a larger face than a border that nothing fills
        scale = max(scale, min(covering, LARGEST_SHARE * size.min() / side))
    centre = (box[:2] + box[2:]) / 2.0
    reach = 0.5 if rng.random() < CUT_SHARE else max(0.0, 0.5 - 0.4 * scale * side / size.max())
    place = corner + size * rng.uniform(0.5 - reach, 0.5 + reach, 2)
    offset = place - centre * scale
    room = size - extent * scale  # keep the rectangle filled where the picture is large enough
    lowest, highest = np.minimum(room, 0.0), np.maximum(room, 0.0)
    if rng.random() < 0.8:
        offset = corner + np.clip(offset - corner, lowest, highest)
    return scale, offset


def _split(
    rng: np.random.Generator, part: tuple[int, int, int, int]
) -> Iterator[tuple[int, int, int, int]]:
    """Cut a rectangle into two to about eight."""
    x0, y0, x1, y1 = part
    longer = max(x1 - x0, y1 - y0)
    if longer < 96 or (longer < 200 and rng.random() < 0.45):
        yield part
    elif (x1 - x0) * rng.uniform(0.6, 1.6) > y1 - y0:
        cut = int(x0 + (x1 - x0) * rng.uniform(0.3, 0.7))
        yield from _split(rng, (x0, y0, cut, y1))
        yield from _split(rng, (cut, y0, x1, y1))
    else:
        cut = int(y0 + (y1 - y0) * rng.uniform(0.3, 0.7))
        yield from _split(rng, (x0, y0, x1, cut))
        yield from _split(rng, (x0, cut, x1, y1))


def _part(rng: np.random.Generator, side: int) -> tuple[int, int, int, int]:
    """Draw a rectangle inside a square."""
    longer = np.exp(rng.uniform(np.log(24), np.log(0.6 * side)))
    width, height = np.rint(longer * np.minimum((1.0, 1.0), np.exp(rng.normal(0, 0.2, 2)))).astype(
        int
    )
    x0, y0 = int(rng.integers(0, side - width + 1)), int(rng.integers(0, side - height + 1))
    return x0, y0, x0 + int(width), y0 + int(height)


def _filling(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the colour of what no picture fills: mostly black, as letterboxes are."""
    if rng.random() < 0.6:
        return np.zeros(3, np.uint8)
    return rng.integers(0, 256, 3).astype(np.uint8)


def _share_inside(boxes: Floats, rectangle: Floats) -> Floats:
    """Return the share of each box's area that lies in a rectangle."""
    low = np.maximum(boxes[:, :2], rectangle[:2])
    high = np.minimum(boxes[:, 2:], rectangle[2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=1)
    share: Floats = shared / np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-9)
    return share


def mirrored(scene: DetectionScene) -> DetectionScene:
    """Return a scene as a mirror shows it."""
    width = scene.image.shape[1]
    turned = [2, 1, 0, 3]
    sign, shift = np.array([-1.0, 1.0, -1.0, 1.0]), np.array([width, 0.0, width, 0.0])
    return DetectionScene(
        image=np.ascontiguousarray(scene.image[:, ::-1]),
        boxes_xyxy=(scene.boxes_xyxy * sign + shift)[:, turned],
        points=(scene.points * (-1.0, 1.0) + (width, 0.0))[:, MIRRORED_POINTS],
        visible=scene.visible,
        ignore_xyxy=(scene.ignore_xyxy * sign + shift)[:, turned],
    )


def _recompressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as picture:
        return np.asarray(picture)
