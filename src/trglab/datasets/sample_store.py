"""Stores of whole samples: full images with cameras and labels.

A record is ``meta.json`` (name, identity, camera), ``image.jpg`` and ``labels.npz``: the face box
and those labels of :class:`~trglab.datasets.sample.Sample` that the sample has.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from trg.geometry.camera import Camera
from trglab.datasets.codecs import decode_image, encode_image
from trglab.datasets.sample import Sample
from trglab.datasets.store import ShardStore
from trglab.datasets.store_writer import Record

KIND = "samples"
FIELDS = ("meta.json", "image.jpg", "labels.npz")
OPTIONAL_LABELS = (
    "rotation", "translation_m", "vertices_m", "landmarks68_px", "landmarks68_visible",
)  # fmt: skip
JPEG_QUALITY = 95


class SampleStore:
    """A store of whole samples, as a dataset.

    Parameters
    ----------
    folder
        A store whose records are :func:`encode_sample`'s, such as ``trg synth`` writes.

    Raises
    ------
    FileNotFoundError, ValueError
        As :class:`~trglab.datasets.store.ShardStore`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.store = ShardStore(folder, KIND)

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample; UnreadableFileError if it is damaged."""
        files = self.store.read(index)
        with self.store.decoding(index):
            meta = json.loads(bytes(files["meta.json"]))
            camera = {**meta["camera"], "distortion": tuple(meta["camera"]["distortion"])}
            with np.load(io.BytesIO(files["labels.npz"])) as labels:
                return Sample(
                    image=decode_image(files["image.jpg"], "image.jpg"),
                    camera=Camera(**camera),
                    box_xyxy=labels["box_xyxy"],
                    **{name: labels.get(name) for name in OPTIONAL_LABELS},
                    identity=meta["identity"],
                    name=meta["name"],
                )


def encode_sample(sample: Sample) -> Record:
    """Return the files of a sample by field."""
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
    }
    return {
        "meta.json": json.dumps(meta).encode(),
        "image.jpg": encode_image(sample.image, "jpeg", JPEG_QUALITY, full_chroma=True),
        "labels.npz": arrays.getvalue(),
    }
