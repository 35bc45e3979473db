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
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from trg._util.files import existing_file, write_atomic
from trg.geometry.face_mesh import FaceTopology

DEFAULT_BUNDLE = "trg_s"
FORMAT_VERSION = 1
MODEL, TOPOLOGY, CARD = "model.onnx", "topology.npz", "card.json"
SUFFIX = ".trg"

BUNDLES = Path(__file__).parents[1] / "bundles"


@dataclass(frozen=True, slots=True)
class WeightCard:
    """Metadata of a set of weights."""

    name: str
    crop_size: int
    """Side of the square input crops, px."""
    config: dict[str, Any]
    """The network's configuration."""
    licence: str = "unknown"
    attribution: tuple[str, ...] = ()
    """Sources of the training data, with the credits that their licences require."""
    training: dict[str, Any] = field(default_factory=dict)
    """The training: data, steps, scores."""
    storage: str = "float32"
    """Type of the stored weights; computation is always in float32."""
    parity: dict[str, float] = field(default_factory=dict)
    """Largest absolute difference from the trained network at export, per output."""
    parameters: int | None = None
    multiply_adds: int | None = None
    """Per face."""

    def __post_init__(self) -> None:
        if not isinstance(self.crop_size, int) or self.crop_size < 1:
            raise ValueError(f"card crop_size: expected a positive integer, got {self.crop_size!r}")


@dataclass(frozen=True, slots=True, eq=False)
class WeightBundle:
    """The verified contents of a weight bundle."""

    model: bytes
    """The serialised ONNX graph."""
    topology: FaceTopology
    card: WeightCard


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
    archive = path.read_bytes()
    if sha256 is not None:
        _check_digest(str(path), archive, sha256)
    members = _unzip(path, archive)
    try:
        card = json.loads(members[CARD])
    except ValueError as error:
        raise ValueError(f"{path}: {CARD} is damaged, {error}") from error
    version = card.get("format_version") if isinstance(card, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path}: expected a weight bundle of format {FORMAT_VERSION}, got {version!r}; "
            "another version of trg wrote it"
        )
    for name in (MODEL, TOPOLOGY):
        _check_digest(f"{path}, {name}", members[name], card.get("sha256", {}).get(name))
    with np.load(io.BytesIO(members[TOPOLOGY])) as arrays:
        topology = FaceTopology.from_arrays(dict(arrays))
    return WeightBundle(members[MODEL], topology, _card(path, card))


def bundled(name: str = DEFAULT_BUNDLE) -> Path:
    """Return the path of a bundle inside the package.

    Raises ValueError if the package has no bundle of that name.
    """
    path = BUNDLES / f"{name}{SUFFIX}"
    if not path.is_file():
        raise ValueError(f"model: expected one of {bundled_names()} or a .trg file, got {name!r}")
    return path


def model_sha256(model: str | PathLike[str] | None = None) -> str:
    """Return the SHA-256 of a model's file: of a bundled one by its name, or of a ``.trg`` file."""
    name = str(model or DEFAULT_BUNDLE)
    path = existing_file(name, "a weight bundle") if name.endswith(SUFFIX) else bundled(name)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bundled_names() -> tuple[str, ...]:
    """Return the names of the bundles inside the package."""
    return tuple(sorted(path.stem for path in BUNDLES.glob(f"*{SUFFIX}")))


def _card(path: Path, card: Mapping[str, Any]) -> WeightCard:
    """Build the card from the JSON, without the keys that describe the file."""
    values = {k: v for k, v in card.items() if k not in ("format_version", "sha256")}
    expected = {f.name for f in fields(WeightCard)}
    if set(values) != expected:
        raise ValueError(
            f"{path}: {CARD} has unknown keys {sorted(set(values) - expected)} "
            f"and lacks {sorted(expected - set(values))}"
        )
    values["attribution"] = tuple(values["attribution"])
    return WeightCard(**values)


def _check_digest(what: str, data: bytes, expected: str | None) -> None:
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected:
        raise ValueError(
            f"{what}: expected SHA-256 {expected}, got {digest}; the file is damaged or "
            "another one: fetch it again"
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


def _unzip(path: Path, archive: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            missing = {MODEL, TOPOLOGY, CARD} - set(opened.namelist())
            if missing:
                raise ValueError(f"{path}: not a weight bundle, it lacks {sorted(missing)}")
            return {name: opened.read(name) for name in (MODEL, TOPOLOGY, CARD)}
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}: expected a weight bundle (.trg), got a file that is damaged or of another "
            f"kind ({error}). Training checkpoints must be exported first"
        ) from error
