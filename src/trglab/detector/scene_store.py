"""Labelled scenes to train the detector on, from shard stores.

stores of scenes    many faces, few, or none         (:mod:`trglab.detector.scenes`)
stores of views     one face each, close             (``trg data pack synthetic``)
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trg.geometry.crop import face_box
from trg.geometry.projection import crop_from_rays
from trg.inference.detections import POINT_COUNT
from trglab.datasets.codecs import decode_image, encode_image
from trglab.datasets.store import ShardStore
from trglab.datasets.store_writer import Record, StoreReport, write_store
from trglab.datasets.view_store import ViewStore
from trglab.detector.cutouts import five_points
from trglab.detector.scenes import DetectionScene

FIELDS = ("labels.json", "image.npy")

LABELLED_MARGIN = 1.15
"""Side of the labelled square around a face, in face boxes. The rest of the image is ignored:
unlabelled people may be visible there."""

ROLLED_SHARE = 0.4
"""Share of the views that are rolled by any angle."""

MIN_ROLLED_SIDES = 1.05
"""Least side of a rolled view, in face boxes."""

SHARD_SIZE = 240
"""Scenes in a shard, about 110 MB."""

Floats = NDArray[np.float64]


@runtime_checkable
class SceneDataset(Protocol):
    """Labelled scenes by index."""

    def __len__(self) -> int: ...

    def scene(self, index: int) -> DetectionScene:
        """Return scene ``index``."""
        ...


def write_scenes(
    folder: Path,
    render: Callable[[int], DetectionScene],
    count: int,
    *,
    provenance: Mapping[str, Any] | None = None,
    workers: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> StoreReport:
    """Render scenes 0 to ``count`` once and write them to a store; continue an unfinished one.

    Parameters
    ----------
    render
        Renders a scene by its index; picklable if there are workers.
    provenance
        Plain values about the origin of the scenes, kept in the manifest.
    workers, on_progress
        As in :func:`~trglab.datasets.store_writer.write_store`.

    Raises
    ------
    FileExistsError, OSError
        As in :func:`~trglab.datasets.store_writer.write_store`.
    """
    return write_store(
        folder,
        partial(_open_encoder, render),
        range(count),
        description={
            "kind": SceneStore.kind,
            "fields": FIELDS,
            "provenance": dict(provenance or {}),
        },
        shard_size=SHARD_SIZE,
        workers=workers,
        on_progress=on_progress,
    )


def _open_encoder(render: Callable[[int], DetectionScene]) -> Callable[[int], Record]:
    def encode(index: int) -> Record:
        labels = render(index)._asdict()
        image = labels.pop("image")
        text = json.dumps({name: array.tolist() for name, array in labels.items()})
        return {"labels.json": text.encode(), "image.npy": encode_image(image, "raw")}

    return encode


class SceneStore(ShardStore):
    """A store of scenes, as a dataset."""

    kind = "scenes"

    def scene(self, index: int) -> DetectionScene:
        """Return scene ``index``; UnreadableFileError if it is damaged."""
        files = self.read(index)
        with self.decoding(index):
            labels = json.loads(bytes(files["labels.json"]))
            return DetectionScene(
                image=decode_image(files["image.npy"], "image.npy"),
                boxes_xyxy=np.array(labels["boxes_xyxy"], float).reshape(-1, 4),
                points=np.array(labels["points"], float).reshape(-1, POINT_COUNT, 2),
                visible=np.array(labels["visible"], float),
                ignore_xyxy=np.array(labels["ignore_xyxy"], float).reshape(-1, 4),
            )


class ViewScenes:
    """A store of views as scenes of one face each, some of them rolled in the plane.

    Other people may be visible in the margin of a view without a label, so everything beyond the
    face box is ignored.

    Parameters
    ----------
    folder
        A store of views, such as ``trg data pack synthetic`` writes.

    Raises
    ------
    FileNotFoundError, ValueError
        As :class:`~trglab.datasets.view_store.ViewStore`.
    """

    def __init__(self, folder: Path) -> None:
        self._views = ViewStore(folder)

    def __len__(self) -> int:
        return len(self._views)

    def scene(self, index: int) -> DetectionScene:
        """Return view ``index`` without its black borders; its roll depends on the index alone."""
        view = self._views.view(index, self._views.spec)
        image, size = view.image, view.image.shape[0]
        rays = view.landmarks68_rays[None].astype(np.float64)
        crop = np.asarray(crop_from_rays(rays, view.view_bbox_info[None]))[0]
        left, top, right, bottom = Image.fromarray(image).getbbox() or (0, 0, size, size)
        image = image[top:bottom, left:right]
        landmarks_px = (crop + 1.0) / 2.0 * size - (left, top)
        rng = np.random.default_rng(index)
        if rng.random() < ROLLED_SHARE:
            image, landmarks_px = _roll(image, landmarks_px, rng.uniform(-np.pi, np.pi))
        box = face_box(landmarks_px)
        centre, half = (box[:2] + box[2:]) / 2.0, LABELLED_MARGIN * (box[2] - box[0]) / 2.0
        height, width = image.shape[:2]
        return DetectionScene(
            image=image,
            boxes_xyxy=box[None],
            points=five_points(landmarks_px)[None],
            visible=np.ones(1),
            ignore_xyxy=_outside((*(centre - half), *(centre + half)), width, height),
        )


class JoinedScenes:
    """Several sets of scenes as one, after each other."""

    def __init__(self, parts: Sequence[SceneDataset]) -> None:
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def scene(self, index: int) -> DetectionScene:
        """Return scene ``index``."""
        part = bisect_right(self._ends, index)
        return self._parts[part].scene(index - self._ends[part] + len(self._parts[part]))


def _roll(
    image: NDArray[np.uint8], landmarks_px: Floats, roll_rad: float
) -> tuple[NDArray[np.uint8], Floats]:
    """Roll a view clockwise about its face, and crop it to the square that it fills.

    A view that is too narrow for that remains as it is.
    """
    box = face_box(landmarks_px)
    centre = (box[:2] + box[2:]) / 2.0
    cos, sin = float(np.cos(roll_rad)), float(np.sin(roll_rad))
    height, width = image.shape[:2]
    reach = min(*centre, *(np.array([width, height]) - centre))
    side = int(2.0 * reach / (abs(cos) + abs(sin)))
    if side < MIN_ROLLED_SIDES * (box[2] - box[0]):
        return image, landmarks_px
    view_from_rolled = np.array([[cos, sin], [-sin, cos]])
    offset = centre - view_from_rolled @ np.full(2, side / 2.0)
    rolled = Image.fromarray(image).transform(
        (side, side),
        Image.Transform.AFFINE,
        tuple(np.column_stack([view_from_rolled, offset]).ravel()),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(rolled), (landmarks_px - offset) @ view_from_rolled


def _outside(window_xyxy: tuple[float, ...], width: int, height: int) -> Floats:
    """Return the four rectangles of an image around a window, ``(4, 4)``."""
    x0, y0, x1, y1 = window_xyxy
    return np.array(
        [(0, 0, width, y0), (0, y1, width, height), (0, y0, x0, y1), (x1, y0, width, y1)], float
    )
