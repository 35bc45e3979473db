"""Mosaic augmentation: training scenes composed of labelled images.

    scenes, views, negatives (trglab.detector.scene_store)
      | turned in the plane
      | a single image, a mosaic, or several images pasted onto one
      | horizontal flip, JPEG compression
    training scene

Inputs and results are of one type, :class:`~trglab.detector.scenes.DetectionScene`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trg.inference.detections import POINT_COUNT
from trglab.datasets.codecs import decode_image, encode_image
from trglab.detector.network import MIN_SIDE_PX
from trglab.detector.scene_store import SceneDataset
from trglab.detector.scenes import FLIPPED_POINTS, DetectionScene
from trglab.synth.choice import choose

MIN_INSIDE = 0.4
"""A face is labelled if its centre and at least this share of its box are inside the part."""

MIN_VISIBLE = 0.22
"""A face is labelled if at least this share of it is visible in its own image."""

MIN_IGNORED = 0.08
"""Faces that are not labelled are ignored if more than this share of their box is inside."""

TURN_PROBABILITIES = (0.76, 0.08, 0.08, 0.08)
"""Of turns of an image by 0, 90, 180 and 270 degrees."""

LAYOUT_PROBABILITIES = {"single": 0.5, "mosaic": 0.25, "paste": 0.25}
MAX_RELATIVE_SIDE = 1.35
"""Largest side of a face box relative to the canvas."""

CUT_OFF_PROBABILITY = 0.2
"""Probability that the border may cut off the chosen face."""

Part = tuple[int, int, int, int]
"""A rectangle of the canvas: x0, y0, x1, y1."""

Floats = NDArray[np.float64]


class SceneMixer:
    """Composes training scenes: a pure function of (seed, index).

    Parameters
    ----------
    scenes, views, negatives
        Labelled scenes, single faces, and images without a face; one of the first two may be None.
    canvas_px
        Side of the square scenes, a multiple of 32.

    Raises
    ------
    ValueError
        There are neither scenes nor views.
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
        self._faces = [dataset for dataset in (scenes, views) if dataset is not None]
        if not self._faces:
            raise ValueError("scenes: expected images with faces: scenes, views or both")

    def scene(self, index: int) -> DetectionScene:
        """Compose scene ``index``; half are flipped, some are compressed as JPEG."""
        rng = np.random.default_rng((self.seed, index))
        layout = choose(rng, LAYOUT_PROBABILITIES)
        side = self.canvas_px
        canvas = _Canvas(side)
        if layout == "single":
            canvas.place(rng, self._sample_image(rng, 0.4, 0.25), (0, 0, side, side))
        elif layout == "mosaic":
            for part in _split(rng, (0, 0, side, side)):
                canvas.place(rng, self._sample_image(rng, 0.5, 0.25), part)
        else:
            canvas.place(rng, self._sample_image(rng, 0.5, 1.0), (0, 0, side, side))
            for _ in range(rng.integers(1, 8)):
                canvas.place(rng, self._sample_image(rng, 0.6, 0.3), _random_part(rng, side))
        scene = canvas.scene()
        if rng.random() < 0.5:
            scene = flip_scene(scene)
        if rng.random() < 0.3:
            compressed = encode_image(scene.image, "jpeg", int(rng.integers(12, 75)))
            scene = scene._replace(image=decode_image(compressed, "image.jpg"))
        return scene

    def _sample_image(
        self, rng: np.random.Generator, view: float, negative: float
    ) -> DetectionScene:
        """Draw a negative, view or scene; ``view`` is its probability among positives."""
        dataset = self._negatives
        if rng.random() >= negative:
            dataset = self._faces[-1 if rng.random() < view else 0]
        scene = dataset.scene(int(rng.integers(len(dataset))))
        return turn_scene(scene, int(rng.choice(4, p=TURN_PROBABILITIES)))


class ReusedScenes:
    """The scenes of a mixer, each used several times and half of the times flipped.

    On one core it takes longer to compose a scene than to train on it. A pure function of the
    mixer and the index, like the mixer itself. Scenes are used in random order within blocks of
    ``block`` scenes, which are kept in memory.
    """

    def __init__(self, mixer: SceneMixer, uses: int, block: int = 2000) -> None:
        self.canvas_px = mixer.canvas_px
        self._mixer, self._uses, self._block = mixer, uses, block
        self._number = -1
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)
        self._composed: dict[int, DetectionScene] = {}

    def scene(self, index: int) -> DetectionScene:
        """Return the scene at ``index`` of the training."""
        number, place = divmod(index, self._block * self._uses)
        if number != self._number:
            rng = np.random.default_rng((self._mixer.seed, number, 3))
            first = number * self._block
            self._order = rng.permutation(
                np.repeat(np.arange(first, first + self._block), self._uses)
            )
            self._number, self._composed = number, {}
        chosen = int(self._order[place])
        if chosen not in self._composed:
            self._composed[chosen] = self._mixer.scene(chosen)
        scene = self._composed[chosen]
        is_flipped = np.random.default_rng((self._mixer.seed, index, 4)).random() < 0.5
        return flip_scene(scene) if is_flipped else scene


class _Canvas:
    """An image with labels into which others are placed."""

    def __init__(self, side: int) -> None:
        self.image = np.zeros((side, side, 3), np.uint8)
        self.boxes = np.zeros((0, 4))
        self.points = np.zeros((0, POINT_COUNT, 2))
        self.ignore = np.zeros((0, 4))

    def place(self, rng: np.random.Generator, image: DetectionScene, part: Part) -> None:
        """Place an image at a random scale and offset in a part of the canvas."""
        scale, offset = _fit(rng, image, part)
        x0, y0, x1, y1 = part
        self._cover(np.array(part, float))
        self.image[y0:y1, x0:x1] = _fill_colour(rng)
        height, width = image.image.shape[:2]
        left, top = np.ceil(np.maximum((x0, y0), offset)).astype(int)
        right, bottom = np.floor(
            np.minimum((x1, y1), offset + scale * np.array([width, height]))
        ).astype(int)
        if right <= left or bottom <= top:
            return
        corners = np.array([[left, top], [right, bottom]])
        limit = np.array([width, height], float)
        source = np.clip((corners - offset) / scale, 0.0, limit).ravel()
        resized = Image.fromarray(image.image).resize(
            (right - left, bottom - top),
            Image.Resampling.BILINEAR,
            box=tuple(source.tolist()),
            reducing_gap=1.5,
        )
        self.image[top:bottom, left:right] = np.asarray(resized)
        shown = np.array([left, top, right, bottom], float)
        self._label(image, scale, offset, shown)

    def _label(self, image: DetectionScene, scale: float, offset: Floats, shown: Floats) -> None:
        """Add the labels of an image of which the rectangle ``shown`` is visible."""
        twice = np.concatenate([offset, offset])
        boxes = image.boxes_xyxy * scale + twice
        share = _share_inside(boxes, shown)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2.0
        inside = ((centres >= shown[:2]) & (centres < shown[2:])).all(1)
        face = inside & (share >= MIN_INSIDE) & (image.visible >= MIN_VISIBLE)
        unsure = ~face & (share > MIN_IGNORED)
        ignored = np.concatenate([image.ignore_xyxy * scale + twice, boxes[unsure]])
        ignored = np.concatenate(
            [np.maximum(ignored[:, :2], shown[:2]), np.minimum(ignored[:, 2:], shown[2:])], 1
        )
        self.boxes = np.concatenate([self.boxes, boxes[face]])
        self.points = np.concatenate([self.points, (image.points * scale + offset)[face]])
        self.ignore = np.concatenate(
            [self.ignore, ignored[(ignored[:, 2:] > ignored[:, :2]).all(1)]]
        )

    def _cover(self, part: Floats) -> None:
        """Remove the faces that a rectangle hides; ignore those that it hides in part."""
        share = _share_inside(self.boxes, part)
        partly = (share > 0.3) & (share < 0.9)
        self.ignore = np.concatenate([self.ignore, self.boxes[partly]])
        self.boxes, self.points = self.boxes[share <= 0.3], self.points[share <= 0.3]

    def scene(self) -> DetectionScene:
        return DetectionScene(
            self.image, self.boxes, self.points, np.ones(len(self.boxes)), self.ignore
        )


def _fit(rng: np.random.Generator, image: DetectionScene, part: Part) -> tuple[float, Floats]:
    """Draw the placement of an image in a part: ``canvas = image * scale + offset``.

    The size of one of its faces is log-uniform and its centre uniform in the part. An image without
    faces covers the part.
    """
    corner, size = np.array(part[:2], float), np.array(part[2:], float) - part[:2]
    height, width = image.image.shape[:2]
    extent = np.array([width, height], float)
    covering = float((size / extent).max())
    if not len(image.boxes_xyxy):
        scale = covering * float(np.exp(rng.uniform(0.0, 1.1)))
        return scale, corner - rng.random(2) * (extent * scale - size)
    box = image.boxes_xyxy[rng.integers(len(image.boxes_xyxy))]
    side = box[2] - box[0]
    low, high = MIN_SIDE_PX + 3.0, MAX_RELATIVE_SIDE * size.min()
    wanted = float(np.exp(rng.uniform(np.log(low), np.log(max(high, low * 1.1)))))
    scale = min(wanted / side, 4.0)
    if rng.random() < 0.5:  # prefer a larger face to unfilled borders
        scale = max(scale, min(covering, MAX_RELATIVE_SIDE * size.min() / side))
    centre = (box[:2] + box[2:]) / 2.0
    reach = (
        0.5
        if rng.random() < CUT_OFF_PROBABILITY
        else max(0.0, 0.5 - 0.4 * scale * side / size.max())
    )
    target = corner + size * rng.uniform(0.5 - reach, 0.5 + reach, 2)
    offset = target - centre * scale
    slack = size - extent * scale  # keep the part filled if the image is large enough
    lowest, highest = np.minimum(slack, 0.0), np.maximum(slack, 0.0)
    if rng.random() < 0.8:
        offset = corner + np.clip(offset - corner, lowest, highest)
    return scale, offset


def _split(rng: np.random.Generator, part: Part) -> Iterator[Part]:
    """Split a part recursively into two to about eight."""
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


def _random_part(rng: np.random.Generator, side: int) -> Part:
    """Draw a part of a square canvas."""
    longer = np.exp(rng.uniform(np.log(24), np.log(0.6 * side)))
    width, height = np.rint(longer * np.minimum((1.0, 1.0), np.exp(rng.normal(0, 0.2, 2)))).astype(
        int
    )
    x0, y0 = int(rng.integers(0, side - width + 1)), int(rng.integers(0, side - height + 1))
    return x0, y0, x0 + int(width), y0 + int(height)


def _fill_colour(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw the colour of unfilled pixels: mostly black, as in letterboxed images."""
    if rng.random() < 0.6:
        return np.zeros(3, np.uint8)
    return rng.integers(0, 256, 3).astype(np.uint8)


def _share_inside(boxes: Floats, rectangle: Floats) -> Floats:
    """Return the share of the area of boxes ``(k, 4)`` that lies in a rectangle, ``(k,)``."""
    low = np.maximum(boxes[:, :2], rectangle[:2])
    high = np.minimum(boxes[:, 2:], rectangle[2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=1)
    share: Floats = shared / np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-9)
    return share


def flip_scene(scene: DetectionScene) -> DetectionScene:
    """Flip a scene horizontally."""
    width = scene.image.shape[1]
    swapped = [2, 1, 0, 3]
    sign, shift = np.array([-1.0, 1.0, -1.0, 1.0]), np.array([width, 0.0, width, 0.0])
    return DetectionScene(
        image=np.ascontiguousarray(scene.image[:, ::-1]),
        boxes_xyxy=(scene.boxes_xyxy * sign + shift)[:, swapped],
        points=(scene.points * (-1.0, 1.0) + (width, 0.0))[:, FLIPPED_POINTS],
        visible=scene.visible,
        ignore_xyxy=(scene.ignore_xyxy * sign + shift)[:, swapped],
    )


def turn_scene(scene: DetectionScene, quarters: int) -> DetectionScene:
    """Turn a scene clockwise by multiples of 90 degrees."""
    for _ in range(quarters % 4):
        height = scene.image.shape[0]
        matrix, offset = np.array([[0.0, 1.0], [-1.0, 0.0]]), np.array([height, 0.0])
        scene = scene._replace(
            image=np.rot90(scene.image, -1),
            boxes_xyxy=_turn_boxes(scene.boxes_xyxy, height),
            points=scene.points @ matrix + offset,
            ignore_xyxy=_turn_boxes(scene.ignore_xyxy, height),
        )
    return scene._replace(image=np.ascontiguousarray(scene.image))


def _turn_boxes(boxes: Floats, height: float) -> Floats:
    """Turn boxes ``(k, 4)`` clockwise by 90 degrees with their image of this height."""
    x0, y0, x1, y1 = boxes.T
    return np.stack([height - y1, x0, height - y0, x1], axis=1)
