"""Samples in tar shards, WebDataset's layout, read in order and resumable anywhere.

A shard is a plain tar of groups of neighbouring files: ``KEY.jpg`` (the picture), ``KEY.json``
(camera, pose, identity) and ``KEY.npz`` (arrays). Other programs that read WebDataset's layout can
read them too.
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from trg.geometry.camera import Camera
from trglab.datasets.completion import require_whole
from trglab.datasets.files import DAMAGED_ARRAYS, DAMAGED_PICTURE
from trglab.datasets.sample import Sample

SUFFIXES = ("jpg", "json", "npz")
OPTIONAL_LABELS = (
    "rotation", "translation_m", "vertices_m", "landmarks68_px", "landmarks68_visible",
)  # fmt: skip


class ShardPosition(NamedTuple):
    """Where to go on reading: the shard's place in the sorted list, the sample's in its shard."""

    shard: int = 0
    sample: int = 0


BEGINNING = ShardPosition()


def read_shards(
    folder: str | Path, start: ShardPosition = BEGINNING
) -> Iterator[tuple[ShardPosition, Sample]]:
    """Yield every sample of a folder's ``*.tar``, each with the position to resume at after it.

    Raises
    ------
    FileNotFoundError
        The folder is missing or has no shard.
    ValueError
        A shard is damaged or holds something else, or the folder is only half written.
    """
    paths = sorted(require_whole(folder).glob("*.tar"))
    if not paths:
        raise FileNotFoundError(f"{folder}: expected *.tar shards, found none")
    for shard in range(start.shard, len(paths)):
        first = start.sample if shard == start.shard else 0
        for place, (key, files) in enumerate(_groups(paths[shard], first), first):
            yield ShardPosition(shard, place + 1), _decode(paths[shard], key, files)


def encode_sample(sample: Sample, jpeg_quality: int = 95) -> dict[str, bytes]:
    """Turn a sample into the contents of its files by suffix."""
    picture, arrays = io.BytesIO(), io.BytesIO()
    Image.fromarray(sample.image).save(picture, "JPEG", quality=jpeg_quality, subsampling=0)
    given = {
        name: value for name in OPTIONAL_LABELS if (value := getattr(sample, name)) is not None
    }
    np.savez(arrays, box_xyxy=sample.box_xyxy, **given)
    facts = {
        "camera": sample.camera.to_dict(),
        "identity": sample.identity,
        "name": sample.name,
    }
    return {
        "jpg": picture.getvalue(),
        "json": json.dumps(facts).encode(),
        "npz": arrays.getvalue(),
    }


def _decode(shard: Path, key: str, files: dict[str, bytes]) -> Sample:
    missing = [suffix for suffix in SUFFIXES if suffix not in files]
    if missing:
        raise ValueError(f"{shard}: sample {key} lacks {', '.join(missing)}, has {sorted(files)}")
    try:
        with Image.open(io.BytesIO(files["jpg"])) as picture:
            image = np.array(picture.convert("RGB"))
        facts = json.loads(files["json"])
        camera = facts["camera"]
        with np.load(io.BytesIO(files["npz"])) as arrays:
            return Sample(
                image=image,
                camera=Camera(**{**camera, "distortion": tuple(camera["distortion"])}),
                box_xyxy=arrays["box_xyxy"],
                **{name: arrays.get(name) for name in OPTIONAL_LABELS},
                identity=facts["identity"],
                name=facts["name"],
            )
    except (*DAMAGED_PICTURE, *DAMAGED_ARRAYS) as error:
        raise ValueError(f"{shard}: sample {key} is damaged or of another kind: {error}") from error


def _groups(shard: Path, first: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the groups of one shard from number ``first`` on; those before are not read."""
    try:
        with tarfile.open(shard, "r:") as tar:
            by_key = itertools.groupby(tar, key=lambda member: member.name.partition(".")[0])
            for place, (key, members) in enumerate(by_key):
                if place < first:
                    continue
                files = {}
                for member in members:
                    content = tar.extractfile(member)
                    if content is not None:
                        files[member.name.partition(".")[2]] = content.read()
                yield key, files
    except tarfile.TarError as error:
        raise ValueError(f"{shard}: expected a whole tar file: {error}") from error
