"""What the detector is trained on: packs of labelled pictures, cut and mixed into new scenes.

    scene packs   many heads, few, none       (trg.synth.crowd)      --+
    view packs    one head each, close        (trg pack)             --+--> whole | mosaic | scatter
    empty packs   nobody, but much to mistake (trg.synth.crowd)      --+          |
                                                                     flipped, spoilt --> targets

Everything in a scene is a :class:`~trg.synth.crowd.FaceScene`; placing one into a part of a canvas
gives another one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trg._atomic import write_atomic
from trg.crop import face_box
from trg.data.pack import Pack
from trg.detections import POINT_COUNT
from trg.geometry import crop_from_rays
from trg.model.detection import MIN_SIDE_PX
from trg.synth.crowd import FaceScene
from trg.synth.cutouts import five_points

MANIFEST, IMAGES, LABELS = "scenes.json", "images.u8", "labels.jsonl"
MIRRORED_POINTS = [1, 0, 2, 4, 3]
"""The five points' order in a mirrored picture."""

KNOWN_MARGIN = 1.15
"""Around a view's face box this much is known to show nobody else; beyond it there may be somebody
without a label."""

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


@runtime_checkable
class Pictures(Protocol):
    """Labelled pictures by number."""

    def __len__(self) -> int: ...

    def scene(self, index: int) -> FaceScene:
        """Return picture ``index``."""
        ...


def write_scenes(
    folder: Path,
    make: Callable[[int], FaceScene],
    count: int,
    *,
    facts: dict[str, Any] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Keep pictures 0 to ``count`` of ``make``, all of one size, in a folder.

    A killed run goes on where it stopped, and a finished one can be made longer.

    Parameters
    ----------
    facts
        What is known of the source, kept in the manifest.
    on_progress
        Told how many are done.

    Raises
    ------
    FileExistsError
        The folder holds scenes of another source.
    OSError
        The disk is full or the folder cannot be written. What is there can be continued.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST
    facts = json.loads(json.dumps(facts or {}))
    if manifest.exists() and json.loads(manifest.read_text())["facts"] != facts:
        raise FileExistsError(f"{folder}: expected a new folder or the same source's, found other")
    text = json.dumps({"facts": facts}, indent=2)
    write_atomic(manifest, lambda file: file.write(text.encode()))
    done = len(_labels(folder))
    with open(folder / IMAGES, "ab") as images, open(folder / LABELS, "ab") as labels:
        for index in range(done, count):
            scene = make(index)
            if index == done:  # cut off what a killed run left
                images.truncate(done * scene.image.size)
                labels.truncate(sum(len(line) for line in _lines(folder)))
            images.write(np.ascontiguousarray(scene.image).tobytes())
            images.flush()
            line = {
                name: array.tolist() for name, array in scene._asdict().items() if name != "image"
            }
            line["size"] = scene.image.shape[1::-1]
            labels.write(json.dumps(line).encode() + b"\n")
            labels.flush()
            if on_progress is not None:
                on_progress(index + 1)


def _lines(folder: Path) -> list[bytes]:
    """Return the whole lines of a pack's labels."""
    path = folder / LABELS
    if not path.exists():
        return []
    return [line for line in path.read_bytes().splitlines(True) if line.endswith(b"\n")]


def _labels(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _lines(folder)]


class ScenePictures:
    """What :func:`write_scenes` kept.

    Raises
    ------
    FileNotFoundError
        The folder holds no scenes.
    """

    def __init__(self, folder: Path) -> None:
        self._labels = _labels(folder)
        if not self._labels:
            raise FileNotFoundError(f"{folder}: expected scenes; run `trg detector pack` first")
        width, height = self._labels[0]["size"]
        shape = (len(self._labels), height, width, 3)
        self._images = np.memmap(folder / IMAGES, np.uint8, "r", shape=shape)

    def __len__(self) -> int:
        return len(self._labels)

    def scene(self, index: int) -> FaceScene:
        """Return picture ``index``."""
        labels = self._labels[index]
        return FaceScene(
            image=np.array(self._images[index]),
            boxes_xyxy=np.array(labels["boxes_xyxy"], float).reshape(-1, 4),
            points=np.array(labels["points"], float).reshape(-1, POINT_COUNT, 2),
            visible=np.array(labels["visible"], float),
            ignore_xyxy=np.array(labels["ignore_xyxy"], float).reshape(-1, 4),
        )


class ViewPictures:
    """A pack of views (``trg pack``) as labelled pictures of one face each.

    Somebody else may stand in a view's margin without a label, so that what lies beyond the face's
    box teaches nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._pack = Pack(folder)

    def __len__(self) -> int:
        return len(self._pack)

    def scene(self, index: int) -> FaceScene:
        """Return view ``index`` without its black borders."""
        views = self._pack.views(slice(index, index + 1))
        image = views.image[0]
        size = image.shape[0]
        landmarks = views.landmarks68.astype(np.float64)
        crop = np.asarray(crop_from_rays(landmarks, views.view_box))[0]
        landmarks_px = (crop + 1.0) / 2.0 * size
        rows, columns = (np.flatnonzero(image.any(axis)) for axis in ((1, 2), (0, 2)))
        top, bottom = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, size)
        left, right = (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, size)
        landmarks_px = landmarks_px - (left, top)
        image = image[top:bottom, left:right]
        box = face_box(landmarks_px)
        middle, half = (box[:2] + box[2:]) / 2.0, KNOWN_MARGIN * (box[2] - box[0]) / 2.0
        height, width = image.shape[:2]
        return FaceScene(
            image=image,
            boxes_xyxy=box[None],
            points=five_points(landmarks_px)[None],
            visible=np.ones(1),
            ignore_xyxy=_around((*(middle - half), *(middle + half)), width, height),
        )


def _around(hole_xyxy: tuple[float, ...], width: int, height: int) -> Floats:
    """Return the four rectangles of a picture around a hole."""
    x0, y0, x1, y1 = hole_xyxy
    return np.array(
        [(0, 0, width, y0), (0, y1, width, height), (0, y0, x0, y1), (x1, y0, width, y1)], float
    )


class SceneMixer:
    """Makes training scenes: a pure function of (seed, number).

    Parameters
    ----------
    scenes, views, empty
        Where pictures come from; ``scenes`` and ``views`` may be None, ``empty`` shows nobody.
    canvas_px
        Side of the square scenes, a multiple of 32.
    """

    def __init__(
        self,
        seed: int,
        canvas_px: int,
        *,
        empty: Pictures,
        views: Pictures | None = None,
        scenes: Pictures | None = None,
    ) -> None:
        self.seed, self.canvas_px = seed, canvas_px
        self._empty = empty
        self._faces = [source for source in (scenes, views) if source is not None]
        if not self._faces:
            raise ValueError("scenes: expected pictures with faces: scenes, views or both")

    def scene(self, number: int) -> FaceScene:
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

    def _picture(self, rng: np.random.Generator, views: float, empty: float) -> FaceScene:
        """Draw a picture: with nobody, or from the views, or else from the scenes."""
        source = self._empty
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
        self, rng: np.random.Generator, picture: FaceScene, part: tuple[int, int, int, int]
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

    def _label(self, picture: FaceScene, scale: float, offset: Floats, shown: Floats) -> None:
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

    def scene(self) -> FaceScene:
        return FaceScene(self.image, self.boxes, self.points, np.ones(len(self.boxes)), self.ignore)


def _fit(
    rng: np.random.Generator, picture: FaceScene, part: tuple[int, int, int, int]
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


def mirrored(scene: FaceScene) -> FaceScene:
    """Return a scene as a mirror shows it."""
    width = scene.image.shape[1]
    turned = [2, 1, 0, 3]
    sign, shift = np.array([-1.0, 1.0, -1.0, 1.0]), np.array([width, 0.0, width, 0.0])
    return FaceScene(
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
