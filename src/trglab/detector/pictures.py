"""Labelled pictures to train the detector on, from folders.

scene packs   many heads, few, none        (trglab.detector.scenes)
view packs    one head each, close         (trg pack)
empty packs   nobody, but much to mistake  (trglab.detector.scenes)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trg._util.atomic import write_atomic
from trg.geometry.crop import face_box
from trg.geometry.projection import crop_from_rays
from trg.inference.detections import POINT_COUNT
from trglab.datasets.pack import Pack
from trglab.detector.cutouts import five_points
from trglab.detector.scenes import DetectionScene

MANIFEST, IMAGES, LABELS = "scenes.json", "images.u8", "labels.jsonl"

KNOWN_MARGIN = 1.15
"""Around a view's face box this much is known to show nobody else; beyond it there may be somebody
without a label."""

Floats = NDArray[np.float64]


@runtime_checkable
class Pictures(Protocol):
    """Labelled pictures by number."""

    def __len__(self) -> int: ...

    def scene(self, index: int) -> DetectionScene:
        """Return picture ``index``."""
        ...


def write_scenes(
    folder: Path,
    make: Callable[[int], DetectionScene],
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

    def scene(self, index: int) -> DetectionScene:
        """Return picture ``index``."""
        labels = self._labels[index]
        return DetectionScene(
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

    def scene(self, index: int) -> DetectionScene:
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
        return DetectionScene(
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
