"""Stores of whole samples: full images with cameras and labels.

A record is ``meta.json`` (name, identity, camera, traits), ``image.jpg`` and ``labels.npz``: the
face box and those labels of :class:`~trglab.datasets.sample.Sample` that the sample has.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trg.geometry.camera import Camera
from trglab.datasets.codecs import decode_image, encode_image
from trglab.datasets.files import read_npz
from trglab.datasets.mesh import dataset_topology
from trglab.datasets.sample import (
    InfiniteDataset,
    Sample,
    meta_of_traits,
    traits_from_meta,
)
from trglab.datasets.store import ShardStore
from trglab.datasets.store_writer import SHARD_SIZE, Record, StoreReport, write_store

FIELDS = ("meta.json", "image.jpg", "labels.npz")
OPTIONAL_LABELS = (
    "rotation", "translation_m", "vertices_m", "landmarks68_px", "landmarks68_visible",
)  # fmt: skip
JPEG_QUALITY = 95


class SampleStore(ShardStore):
    """A store of whole samples, as a dataset."""

    kind = "samples"

    def __getitem__(self, index: int) -> Sample:
        """Return a sample; UnreadableFileError if it is damaged."""
        files = self.read(index)
        with self.decoding(index):
            meta = json.loads(bytes(files["meta.json"]))
            distortion = tuple(meta["camera"]["distortion"])
            camera = Camera(**{**meta["camera"], "distortion": distortion})
            labels = read_npz(files["labels.npz"], ("box_xyxy", *OPTIONAL_LABELS))
            return Sample(
                image=decode_image(files["image.jpg"], "image.jpg", (camera.width, camera.height)),
                camera=camera,
                box_xyxy=labels["box_xyxy"],
                **{name: labels.get(name) for name in OPTIONAL_LABELS},
                identity=str(meta["identity"]),
                name=str(meta["name"]),
                traits=traits_from_meta(meta),
            )


def write_samples(
    folder: Path,
    open_dataset: Callable[[], InfiniteDataset],
    indices: range,
    *,
    provenance: Mapping[str, Any] | None = None,
    workers: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> StoreReport:
    """Render whole samples and write them to a store; continue an unfinished one.

    Parameters
    ----------
    open_dataset
        Opens the dataset; called once per process, picklable if there are workers.
    indices
        The samples to write.
    provenance
        Plain values about the origin of the samples, kept in the manifest.
    workers, on_progress
        As in :func:`~trglab.datasets.store_writer.write_store`.

    Raises
    ------
    FileExistsError, OSError
        As in :func:`~trglab.datasets.store_writer.write_store`.
    """
    return write_store(
        folder,
        partial(_open_encoder, open_dataset),
        indices,
        description={
            "kind": SampleStore.kind,
            "fields": FIELDS,
            "provenance": dict(provenance or {}),
        },
        shard_size=SHARD_SIZE,
        workers=workers,
        topology=dataset_topology(open_dataset()),
        on_progress=on_progress,
    )


def _open_encoder(open_dataset: Callable[[], InfiniteDataset]) -> Callable[[int], Record]:
    dataset = open_dataset()
    return lambda index: _encode_sample(dataset.sample(index))


def _encode_sample(sample: Sample) -> Record:
    labels = {name: getattr(sample, name) for name in OPTIONAL_LABELS}
    arrays = io.BytesIO()
    np.savez(
        arrays,
        box_xyxy=sample.box_xyxy,
        **{name: value for name, value in labels.items() if value is not None},
    )
    meta = {
        "name": sample.name,
        "identity": sample.identity,
        "camera": sample.camera.to_dict(),
        **meta_of_traits(sample),
    }
    return {
        "meta.json": json.dumps(meta).encode(),
        "image.jpg": encode_image(sample.image, "jpeg", JPEG_QUALITY, full_chroma=True),
        "labels.npz": arrays.getvalue(),
    }
