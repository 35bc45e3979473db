"""Stored views: a sample's face region with room around it, cut once and augmented many times.

A view is what an ideal pinhole sees through a square window that is larger than the face box, so
that jittered and rolled crops can be taken from it; its labels are in rays and metres and need no
camera. A label that the sample lacks is zero, and a flag says so.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trg.geometry.crop import bbox_info_from_box, crop_face
from trglab.datasets.sample import Sample


class Views(NamedTuple):
    """One view, or n of them with a leading axis on every array.

    ``image`` ``(size, size, 3)`` uint8; ``view_box`` and ``face_box`` ``(3,)`` float32 box
    numbers of the window and of the face; ``rotation`` ``(3, 3)``, ``translation_m`` ``(3,)``,
    ``vertices_m`` ``(v, 3)`` float32; ``landmarks68`` ``(68, 2)`` float32 rays;
    ``landmarks68_visible`` ``(68,)`` bool, True where nobody said; ``has_pose`` and
    ``has_vertices`` bool; ``identity`` int64, the same for all views of one person.
    """

    image: NDArray[np.uint8]
    view_box: NDArray[np.float32]
    face_box: NDArray[np.float32]
    rotation: NDArray[np.float32]
    translation_m: NDArray[np.float32]
    vertices_m: NDArray[np.float32]
    landmarks68: NDArray[np.float32]
    landmarks68_visible: NDArray[np.bool_]
    has_pose: NDArray[np.bool_]
    has_vertices: NDArray[np.bool_]
    identity: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """How views are cut, and how many vertices their labels have."""

    size: int = 192
    """Side of the stored picture, px."""
    margin: float = 1.6
    """Side of the window over the side of the face box."""
    vertex_count: int = 1220

    def __post_init__(self) -> None:
        if self.size < 8 or self.margin < 1.0 or self.vertex_count < 1:
            raise ValueError(
                "view: expected a size of at least 8 px, a margin of at least 1 and at least one "
                f"vertex, got {self}"
            )

    def fields(self) -> dict[str, tuple[tuple[int, ...], type[Any]]]:
        """Return shape and dtype of each array of one view, by name."""
        return {
            "image": ((self.size, self.size, 3), np.uint8),
            "view_box": ((3,), np.float32),
            "face_box": ((3,), np.float32),
            "rotation": ((3, 3), np.float32),
            "translation_m": ((3,), np.float32),
            "vertices_m": ((self.vertex_count, 3), np.float32),
            "landmarks68": ((68, 2), np.float32),
            "landmarks68_visible": ((68,), np.bool_),
            "has_pose": ((), np.bool_),
            "has_vertices": ((), np.bool_),
            "identity": ((), np.int64),
        }


@runtime_checkable
class SampleSource(Protocol):
    """Anything that makes samples: a renderer or a data set's reader."""

    def sample(self, index: int) -> Sample:
        """Return sample number ``index``; the same index always gives the same sample."""
        ...


@runtime_checkable
class ViewSource(Protocol):
    """A source whose views are cut already."""

    def view(self, index: int, spec: ViewSpec) -> Views:
        """Return view number ``index``, or raise ValueError where it was cut otherwise."""
        ...


def make_view(source: SampleSource, index: int, spec: ViewSpec) -> Views:
    """Return a source's view number ``index``; cut now, unless the source has it already."""
    if isinstance(source, ViewSource):
        return source.view(index, spec)
    return view_from_sample(source.sample(index), spec)


def view_from_sample(sample: Sample, spec: ViewSpec) -> Views:
    """Cut one view out of a sample.

    Raises
    ------
    ValueError
        The sample has no landmarks, its vertices are not ``spec.vertex_count`` many, or its box
        is empty.
    """
    box = np.asarray(sample.box_xyxy, dtype=np.float64)
    centre, half = (box[:2] + box[2:]) / 2.0, (box[2:] - box[:2]) * spec.margin / 2.0
    window = np.concatenate([centre - half, centre + half])
    pixels, view_box = crop_face(sample.image, sample.camera, window, spec.size)
    vertices = sample.vertices_m
    if vertices is not None and vertices.shape != (spec.vertex_count, 3):
        raise ValueError(
            f"sample {sample.name}: expected vertices of shape ({spec.vertex_count}, 3), "
            f"got {vertices.shape}"
        )
    has_pose = sample.rotation is not None and sample.translation_m is not None
    visible = sample.landmarks68_visible
    values = {
        "image": pixels,
        "view_box": view_box,
        "face_box": bbox_info_from_box(sample.camera, box),
        "rotation": sample.rotation if has_pose else np.eye(3),
        "translation_m": sample.translation_m if has_pose else (0.0, 0.0, 1.0),
        "vertices_m": np.zeros((spec.vertex_count, 3)) if vertices is None else vertices,
        "landmarks68": sample.camera.unproject(sample.require_landmarks68_px()),
        "landmarks68_visible": np.ones(68, dtype=bool) if visible is None else visible,
        "has_pose": has_pose,
        "has_vertices": vertices is not None,
        "identity": zlib.crc32(sample.identity.encode()),
    }
    fields = spec.fields()
    return Views(**{name: np.asarray(values[name], dtype=fields[name][1]) for name in fields})


def stack_views(views: Sequence[Views]) -> Views:
    """Put views, or batches of them when they have a leading axis, under one new leading axis."""
    return Views(*(np.stack(arrays) for arrays in zip(*views, strict=True)))


def concatenate_views(batches: Sequence[Views]) -> Views:
    """Join batches of views one after the other."""
    return Views(*(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))


def select_views(views: Views, index: Any) -> Views:
    """Take views out of a batch by any NumPy index on the leading axis."""
    return Views(*(array[index] for array in views))
