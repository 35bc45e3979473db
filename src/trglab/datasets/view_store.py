"""Stores of views: crops with a margin and their labels, ready to be augmented.

A record is ``meta.json`` (name, identity, camera of the view, and traits
of a rendered person), the image, and ``labels.npy``: one
structured scalar with the other fields of :class:`~trglab.datasets.view.Views`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trg.geometry.camera import Camera
from trg.geometry.crop import box_from_bbox_info
from trglab.datasets.codecs import (
    IMAGE_FIELDS,
    JPEG_QUALITY,
    ImageFormat,
    decode_image,
    decode_npy,
    encode_image,
    encode_npy,
)
from trglab.datasets.files import UnreadableFileError, named_damage, read_or_error
from trglab.datasets.manifest import MANIFEST
from trglab.datasets.mesh import dataset_topology
from trglab.datasets.sample import (
    Dataset,
    InfiniteDataset,
    Sample,
    meta_of_traits,
    traits_from_meta,
)
from trglab.datasets.store import ShardStore
from trglab.datasets.store_writer import (
    SHARD_SIZE,
    Record,
    SkipSampleError,
    StoreReport,
    write_store,
)
from trglab.datasets.view import Views, ViewSpec, stack_views, view_from_sample

PROBES = 100
"""Number of samples that are tried to determine which labels a dataset has."""


class ViewStore(ShardStore):
    """A store of views: a dataset like any reader, and its views as they are stored.

    The image of a sample is the view, and its camera the ideal pinhole camera of the view.
    """

    kind = "views"

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        with named_damage(self.folder / MANIFEST):
            self.spec = ViewSpec(**self.manifest["spec"])
            self._has_vertices: bool = self.manifest["has_vertices"]
            _, self._image_field, _ = self.fields
        self._label_dtype = _label_dtype(self.spec, self._has_vertices)

    def __getitem__(self, index: int) -> Sample:
        """Return a view as a sample; UnreadableFileError if it is damaged."""
        files = self.read(index)
        with self.decoding(index):
            meta = json.loads(bytes(files["meta.json"]))
            name, identity = str(meta["name"]), str(meta["identity"])
            traits = traits_from_meta(meta)
        sample = sample_from_view(self._decode(index, files), identity, name)
        return replace(sample, traits=traits)

    def view(self, index: int, spec: ViewSpec) -> Views:
        """Return one view; its arrays are read-only.

        Raises
        ------
        UnreadableFileError
            The view is damaged.
        ValueError
            The views were not cut by ``spec``.
        """
        self.require(spec)
        return self._decode(index, self.read(index))

    def views(self, indices: Iterable[int]) -> Views:
        """Return several views under one leading axis."""
        return stack_views([self.view(index, self.spec) for index in indices])

    def require(self, spec: ViewSpec) -> None:
        """Raise ValueError if the views were not cut by ``spec``."""
        if self.spec != spec:
            raise ValueError(
                f"{self.folder}: expected views of {spec}, got {self.spec}; pack the data "
                "again or set the recipe's view_scale and view_margin accordingly"
            )

    def _decode(self, index: int, files: dict[str, memoryview]) -> Views:
        with self.decoding(index):
            image = decode_image(
                files[self._image_field], self._image_field, (self.spec.size, self.spec.size)
            )
            labels = decode_npy(files["labels.npy"])
            if labels.dtype != self._label_dtype or labels.shape:
                raise ValueError(f"labels of another type, {labels.dtype}")
            values = {name: labels[name] for name in self._label_dtype.names or ()}
        if image.shape != (self.spec.size, self.spec.size, 3):
            raise UnreadableFileError(
                f"{self.location(index)} is damaged (an image of {image.shape})"
            )
        if not self._has_vertices:
            values["vertices_m"] = np.zeros((self.spec.vertex_count, 3), np.float32)
        return Views(image=image, **values)


@dataclass(frozen=True, slots=True)
class ViewStoreSettings:
    """How views are cut and stored."""

    size_px: int = 288
    """Side of the stored views; 1.5 times the network's crop."""
    margin: float = 1.6
    """Side of the view over the side of the face box."""
    image_format: ImageFormat = "jpeg"
    jpeg_quality: int = JPEG_QUALITY
    shard_size: int = SHARD_SIZE

    def __post_init__(self) -> None:
        if self.shard_size < 1 or not 1 <= self.jpeg_quality <= 100:
            raise ValueError(
                "view store: expected a shard_size of at least 1 and a jpeg_quality from 1 to "
                f"100, got {self.shard_size} and {self.jpeg_quality}"
            )


def write_views(
    folder: str | Path,
    open_dataset: Callable[[], Dataset | InfiniteDataset],
    settings: ViewStoreSettings | None = None,
    *,
    indices: range | None = None,
    provenance: Mapping[str, Any] | None = None,
    workers: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> StoreReport:
    """Cut the views of a dataset once and write them to a store; continue an unfinished one.

    Samples of a finite dataset that cannot be read are left out; the report and the manifest say
    which and why. Errors of an infinite one are raised: it is a renderer, not files.

    Parameters
    ----------
    open_dataset
        Opens the dataset; called once per process, picklable if there are workers.
    settings
        None: the defaults.
    indices
        The samples to write; None: all of a finite dataset.
    provenance
        Plain values about the origin of the samples, kept in the manifest.
    workers, on_progress
        As in :func:`~trglab.datasets.store_writer.write_store`.

    Raises
    ------
    FileExistsError, OSError
        As in :func:`~trglab.datasets.store_writer.write_store`.
    ValueError
        The samples have no landmarks, or none can be read.
    """
    settings, dataset = settings or ViewStoreSettings(), open_dataset()
    if indices is None:
        if isinstance(dataset, InfiniteDataset):
            raise ValueError("indices: expected the samples to write of an infinite dataset")
        indices = range(len(dataset))
    probe = _probe(dataset, indices)
    probe.require_landmarks68_px()
    vertices_m = probe.vertices_m
    vertex_count = ViewSpec().vertex_count if vertices_m is None else len(vertices_m)
    spec = ViewSpec(settings.size_px, settings.margin, vertex_count)
    has_vertices = vertices_m is not None
    image_field = IMAGE_FIELDS[settings.image_format]
    description = {
        "kind": ViewStore.kind,
        "fields": ["meta.json", image_field, "labels.npy"],
        "spec": asdict(spec),
        "has_vertices": has_vertices,
        "jpeg_quality": settings.jpeg_quality if settings.image_format == "jpeg" else None,
        "provenance": dict(provenance or {}),
    }
    return write_store(
        Path(folder),
        partial(_open_encoder, open_dataset, spec, settings, has_vertices),
        indices,
        description=description,
        shard_size=settings.shard_size,
        workers=workers,
        topology=dataset_topology(dataset) if has_vertices else None,
        on_progress=on_progress,
    )


def _probe(dataset: Dataset | InfiniteDataset, indices: range) -> Sample:
    """Return a sample that can be read."""
    if isinstance(dataset, InfiniteDataset):
        return dataset.sample(indices[0])
    found: Sample | Exception = ValueError("the dataset is empty")
    for index in indices[:PROBES]:
        found = read_or_error(dataset.__getitem__, index)
        if isinstance(found, Sample):
            return found
    raise ValueError(f"view store: none of the first {PROBES} samples can be read: {found}")


def _open_encoder(
    open_dataset: Callable[[], Dataset | InfiniteDataset],
    spec: ViewSpec,
    settings: ViewStoreSettings,
    has_vertices: bool,
) -> Callable[[int], Record]:
    dataset, label_dtype = open_dataset(), _label_dtype(spec, has_vertices)

    def encode(index: int) -> Record:
        if isinstance(dataset, InfiniteDataset):
            sample = dataset.sample(index)
            return _encode_view(view_from_sample(sample, spec), sample, settings, label_dtype)
        try:
            sample = dataset[index]
            view = view_from_sample(sample, spec)
        except (OSError, ValueError) as error:
            raise SkipSampleError(f"sample {index}: {error}") from error
        return _encode_view(view, sample, settings, label_dtype)

    return encode


def _encode_view(
    view: Views, sample: Sample, settings: ViewStoreSettings, label_dtype: np.dtype[Any]
) -> Record:
    labels = np.zeros((), label_dtype)
    for name in label_dtype.names or ():
        labels[name] = getattr(view, name)
    meta = {
        "name": sample.name,
        "identity": sample.identity,
        "camera": view_camera(view).to_dict(),
        **meta_of_traits(sample),
    }
    image = encode_image(view.image, settings.image_format, settings.jpeg_quality)
    return {
        "meta.json": json.dumps(meta).encode(),
        IMAGE_FIELDS[settings.image_format]: image,
        "labels.npy": encode_npy(labels),
    }


def _label_dtype(spec: ViewSpec, has_vertices: bool) -> np.dtype[Any]:
    """Return the type of a view's labels; without vertices if the dataset has none."""
    return np.dtype(
        [
            (name, dtype, shape)
            for name, (shape, dtype) in spec.fields().items()
            if name != "image" and (has_vertices or name != "vertices_m")
        ]
    )


def view_camera(view: Views) -> Camera:
    """Return the ideal camera that sees exactly a view."""
    size = view.image.shape[0]
    u, v, side = view.view_bbox_info.tolist()
    focal_px = size / side
    return Camera(
        focal_px, focal_px, size / 2.0 - u * focal_px, size / 2.0 - v * focal_px, size, size
    )


def sample_from_view(view: Views, identity: str, name: str) -> Sample:
    """Return a view as a sample: its own image with the ideal camera that sees it.

    The view of that sample has the same labels and, except for resampling, the same image.
    """
    camera = view_camera(view)
    has_pose, has_vertices = bool(view.has_pose), bool(view.has_vertices)
    return Sample(
        image=view.image,
        camera=camera,
        box_xyxy=box_from_bbox_info(camera, view.face_bbox_info.astype(np.float64)),
        rotation=view.rotation.astype(np.float64) if has_pose else None,
        translation_m=view.translation_m.astype(np.float64) if has_pose else None,
        vertices_m=view.vertices_m if has_vertices else None,
        landmarks68_px=camera.pixels_from_rays(view.landmarks68_rays.astype(np.float64)),
        landmarks68_visible=view.landmarks68_visible,
        identity=identity,
        name=name,
    )
