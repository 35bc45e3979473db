"""Weight bundles: an ONNX graph, the face mesh and a card with their metadata in one file.

A bundle is a zip archive with the suffix ``.trg``::

    model.onnx      the network, with uint8 crops as input (see trg.inference.runtime)
    topology.npz    the landmark mesh
    card.json       format version, crop size, provenance, SHA-256 of the other members
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from trg._util.archives import read_members, read_npz
from trg._util.field_types import typed_fields
from trg._util.files import existing_file, write_atomic
from trg.geometry.face_mesh import STORED_ARRAYS, FaceTopology

DEFAULT_BUNDLE = "trg_s"
FORMAT_VERSION = 1
MODEL, TOPOLOGY, CARD = "model.onnx", "topology.npz", "card.json"
SUFFIX = ".trg"

MAX_BYTES = 2**30
"""Largest file that is read; the paper's network in float32 has 0.15 GB."""

MAX_EXPANSION = 20
"""Largest ratio of the graph's size to the archive's; weights hardly compress."""

MAX_ARRAY_BYTES, MAX_CARD_BYTES = 2**24, 2**20
MAX_CROP_SIZE = 2048

BUNDLES = Path(__file__).parents[1] / "bundles"


@dataclass(frozen=True, slots=True)
class WeightCard:
    """Metadata of a set of weights."""

    name: str
    """Shown in messages and listings."""
    crop_size: int
    """Side of the square input crops, px."""
    config: dict[str, Any]
    """The network's configuration."""
    licence: str = "unknown"
    """Of the weights."""
    attribution: tuple[str, ...] = ()
    """Sources of the training data, with the credits that their licences require."""
    training: dict[str, Any] = field(default_factory=dict)
    """The training: data, steps, scores."""
    storage: str = "float32"
    """Type of the stored weights; computation is always in float32."""
    parity: dict[str, float] = field(default_factory=dict)
    """Largest absolute difference from the trained network at export, per output."""
    parameters: int | None = None
    """Their number."""
    multiply_adds: int | None = None
    """Per face."""

    def __post_init__(self) -> None:
        if not 1 <= self.crop_size <= MAX_CROP_SIZE:
            raise ValueError(
                f"card crop_size: expected 1 to {MAX_CROP_SIZE}, got {self.crop_size!r}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class WeightBundle:
    """The verified contents of a weight bundle."""

    model: bytes
    """The serialised ONNX graph."""
    topology: FaceTopology
    """The mesh of the landmarks."""
    card: WeightCard
    """What the weights are, and where they come from."""


def write_bundle(path: str | PathLike[str], bundle: WeightBundle) -> str:
    """Write a bundle atomically and return the hex SHA-256 of the file.

    Equal bundles give equal files.
    """
    path = Path(path)
    members = {MODEL: bundle.model, TOPOLOGY: _npz(bundle.topology.to_arrays())}
    card = {
        "format_version": FORMAT_VERSION,
        **asdict(bundle.card),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    members[CARD] = json.dumps(card, indent=2, sort_keys=True).encode()
    archive = _zip(members)
    write_atomic(path, lambda file: file.write(archive))
    return hashlib.sha256(archive).hexdigest()


def read_bundle(path: str | PathLike[str], sha256: str | None = None) -> WeightBundle:
    """Read and verify a bundle.

    Parameters
    ----------
    sha256
        Expected hex digest of the file. None: only the digests on the card are checked, which
        detect damage but not tampering.

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    ValueError
        The file is not a bundle, is damaged, or has another format version.
    """
    path = existing_file(path, "a weight bundle (.trg)")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: expected a weight bundle (.trg) of at most {MAX_BYTES} bytes")
    archive = path.read_bytes()
    try:
        if sha256 is not None:
            _check_digest("the file", archive, sha256)
        return _parse(archive)
    except (ValueError, RecursionError) as error:  # deeply nested JSON
        raise ValueError(
            f"{path}: not a weight bundle (.trg) of this version: {error}. Training checkpoints "
            "must be exported first; fetch damaged files again"
        ) from error


def bundled(name: str = DEFAULT_BUNDLE) -> Path:
    """Return the path of a bundle inside the package.

    Raises ValueError if the package has no bundle of that name.
    """
    path = BUNDLES / f"{name}{SUFFIX}"
    if not bundled_names():
        raise ValueError(
            f"model: expected weights in {BUNDLES}, found none; install the package again, or let "
            "PyInstaller collect its data (`--collect-data trg`)"
        )
    if not path.is_file():
        raise ValueError(f"model: expected one of {bundled_names()} or a .trg file, got {name!r}")
    return path


def model_path(model: str | PathLike[str] | None = None) -> Path:
    """Return the file of a model: a bundled one by its name (by default ``trg_s``), or a file.

    A bundled name means the bundled model, also where a file or folder has that name.

    Raises
    ------
    FileNotFoundError, OSError
        The ``.trg`` file does not exist, or is no file.
    ValueError
        Neither a bundled model nor a file has that name.
    """
    name = DEFAULT_BUNDLE if model is None else str(model)
    if name not in bundled_names() and (name.endswith(SUFFIX) or Path(name).exists()):
        return existing_file(name, "a weight bundle")
    return bundled(name)


def model_sha256(model: str | PathLike[str] | None = None) -> str:
    """Return the SHA-256 of a model's file, which :func:`model_path` finds."""
    return hashlib.sha256(model_path(model).read_bytes()).hexdigest()


def bundled_names() -> tuple[str, ...]:
    """Return the names of the bundles inside the package."""
    return tuple(sorted(path.stem for path in BUNDLES.glob(f"*{SUFFIX}")))


def _parse(archive: bytes) -> WeightBundle:
    graph_limit = MAX_EXPANSION * len(archive) + 2**20  # a tiny graph may be all zeros
    limits = {MODEL: graph_limit, TOPOLOGY: MAX_ARRAY_BYTES, CARD: MAX_CARD_BYTES}
    members = read_members(archive, limits)
    try:
        card = json.loads(members[CARD])
    except ValueError as error:
        raise ValueError(f"{CARD} is damaged, {error}") from error
    version = card.get("format_version") if isinstance(card, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"expected format {FORMAT_VERSION}, got {version!r}; another version of trg wrote it"
        )
    digests = card.get("sha256")
    for name in (MODEL, TOPOLOGY):
        expected = digests.get(name) if isinstance(digests, dict) else None
        _check_digest(name, members[name], expected)
    arrays = read_npz(members[TOPOLOGY], STORED_ARRAYS, MAX_ARRAY_BYTES)
    return WeightBundle(members[MODEL], FaceTopology.from_arrays(arrays), _card(card))


def _card(values: Mapping[str, Any]) -> WeightCard:
    """Build the card from the JSON, without the keys that describe the file."""
    values = {k: v for k, v in values.items() if k not in ("format_version", "sha256")}
    expected = {f.name for f in fields(WeightCard)}
    if set(values) != expected:
        raise ValueError(
            f"{CARD} has unknown keys {sorted(set(values) - expected)} "
            f"and lacks {sorted(expected - set(values))}"
        )
    attribution = values["attribution"]
    if isinstance(attribution, list):  # JSON has no tuples
        values["attribution"] = tuple(attribution)
    return WeightCard(**typed_fields(WeightCard, values, f"{CARD}, "))


def _check_digest(what: str, data: bytes, expected: object) -> None:
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected:
        raise ValueError(
            f"{what}: expected SHA-256 {expected}, got {digest}; it is damaged or another one"
        )


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # NumPy's stub
    return stream.getvalue()


def _zip(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            # A ZipInfo's date is fixed, and not the present: equal contents give equal files.
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return stream.getvalue()
