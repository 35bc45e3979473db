"""Views: face crops with a margin, cut once from a sample and augmented many times.

A view is the image of an ideal pinhole camera, of a square window larger than the face box, so that
jittered and rolled crops fit inside. Its labels are rays and metres and need no camera. Labels that
the sample lacks are zero, and a flag says so.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trg.geometry.crop import bbox_info_from_box, crop_face
from trglab.datasets.sample import Dataset, InfiniteDataset, Sample


class Views(NamedTuple):
    """One view, or n of them with a leading axis on every array.

    ``image`` ``(size, size, 3)`` uint8; ``view_bbox_info`` and ``face_bbox_info`` ``(3,)`` float32
    of the window and of the face box, as :func:`trg.geometry.crop.bbox_info_from_box` gives them;
    ``rotation`` ``(3, 3)``, ``translation_m`` ``(3,)``, ``vertices_m`` ``(v, 3)`` float32;
    ``landmarks68_rays`` ``(68, 2)`` float32, x / z and y / z; ``landmarks68_visible`` ``(68,)``
    bool, True if unknown; ``has_pose`` and ``has_vertices`` bool; ``identity`` int64, equal for
    all views of a person.
    """

    image: NDArray[np.uint8]
    view_bbox_info: NDArray[np.float32]
    face_bbox_info: NDArray[np.float32]
    rotation: NDArray[np.float32]
    translation_m: NDArray[np.float32]
    vertices_m: NDArray[np.float32]
    landmarks68_rays: NDArray[np.float32]
    landmarks68_visible: NDArray[np.bool_]
    has_pose: NDArray[np.bool_]
    has_vertices: NDArray[np.bool_]
    identity: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """How views are cut, and the number of vertices of their labels."""

    size: int = 192
    """Side of the view, px."""
    margin: float = 1.6
    """Side of the window over the side of the face box."""
    vertex_count: int = 1220

    def __post_init__(self) -> None:
        sizes = {"size": (8, 4096), "vertex_count": (1, 100_000)}
        whole = {name: getattr(self, name) for name in sizes}
        is_in_range = all(
            isinstance(whole[name], int) and low <= whole[name] <= high
            for name, (low, high) in sizes.items()
        )
        if not is_in_range or not 1.0 <= self.margin < float("inf"):
            raise ValueError(
                "view: expected a size of 8 to 4096 px, a margin of at least 1 and 1 to 100,000 "
                f"vertices, got {self}"
            )

    def fields(self) -> dict[str, tuple[tuple[int, ...], type[Any]]]:
        """Return shape and dtype of each array of a view, by name."""
        return {
            "image": ((self.size, self.size, 3), np.uint8),
            "view_bbox_info": ((3,), np.float32),
            "face_bbox_info": ((3,), np.float32),
            "rotation": ((3, 3), np.float32),
            "translation_m": ((3,), np.float32),
            "vertices_m": ((self.vertex_count, 3), np.float32),
            "landmarks68_rays": ((68, 2), np.float32),
            "landmarks68_visible": ((68,), np.bool_),
            "has_pose": ((), np.bool_),
            "has_vertices": ((), np.bool_),
            "identity": ((), np.int64),
        }


@runtime_checkable
class ViewDataset(Protocol):
    """A dataset whose views are cut already."""

    def view(self, index: int, spec: ViewSpec) -> Views:
        """Return view number ``index``, or raise ValueError if it was not cut by ``spec``."""
        ...


def make_view(dataset: Dataset | InfiniteDataset, index: int, spec: ViewSpec) -> Views:
    """Return view number ``index`` of a dataset; cut now, unless the dataset holds views."""
    if isinstance(dataset, ViewDataset):
        return dataset.view(index, spec)
    if isinstance(dataset, InfiniteDataset):
        return view_from_sample(dataset.sample(index), spec)
    return view_from_sample(dataset[index], spec)


def view_from_sample(sample: Sample, spec: ViewSpec) -> Views:
    """Cut the view of a sample.

    Raises
    ------
    ValueError
        The sample has no landmarks, another number of vertices than ``spec``, or an empty box.
    """
    box = np.asarray(sample.box_xyxy, dtype=np.float64)
    centre, half = (box[:2] + box[2:]) / 2.0, (box[2:] - box[:2]) * spec.margin / 2.0
    window = np.concatenate([centre - half, centre + half])
    crop = crop_face(sample.image, sample.camera, window, spec.size)
    vertices = sample.vertices_m
    if vertices is not None and vertices.shape != (spec.vertex_count, 3):
        raise ValueError(
            f"sample {sample.name}: expected vertices of shape ({spec.vertex_count}, 3), "
            f"got {vertices.shape}"
        )
    has_pose = sample.rotation is not None and sample.translation_m is not None
    visible = sample.landmarks68_visible
    values = {
        "image": crop.pixels,
        "view_bbox_info": crop.bbox_info,
        "face_bbox_info": bbox_info_from_box(sample.camera, box),
        "rotation": sample.rotation if has_pose else np.eye(3),
        "translation_m": sample.translation_m if has_pose else (0.0, 0.0, 1.0),
        "vertices_m": np.zeros((spec.vertex_count, 3)) if vertices is None else vertices,
        "landmarks68_rays": sample.camera.unproject(sample.require_landmarks68_px()),
        "landmarks68_visible": np.ones(68, dtype=bool) if visible is None else visible,
        "has_pose": has_pose,
        "has_vertices": vertices is not None,
        "identity": zlib.crc32(sample.identity.encode()),
    }
    fields = spec.fields()
    return Views(**{name: np.asarray(values[name], dtype=fields[name][1]) for name in fields})


def stack_views(views: Sequence[Views]) -> Views:
    """Stack views, or equal batches of views, along a new leading axis."""
    return Views(*(np.stack(arrays) for arrays in zip(*views, strict=True)))


def concatenate_views(batches: Sequence[Views]) -> Views:
    """Concatenate batches of views."""
    return Views(*(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))


def select_views(views: Views, index: Any) -> Views:
    """Index the leading axis of a batch of views."""
    return Views(*(array[index] for array in views))
