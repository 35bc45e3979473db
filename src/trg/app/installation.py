"""What is installed: package versions, ONNX Runtime's providers, and the bundled models."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from trg import __version__
from trg.inference.bundle import bundled, bundled_names, read_bundle
from trg.inference.detector import FaceDetector, bundled_model
from trg.io.webcams import list_webcams

PACKAGES = (
    *("numpy", "pillow", "onnxruntime", "onnxruntime-gpu", "av", "pyyaml", "cyclopts", "rich"),
    *(
        "pyarrow",
        "matplotlib",
        "torch",
        "numba",
        "onnx",
        "python-osc",
        "websockets",
        "rerun-sdk",
    ),  # of the extras
)


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A bundled model, as described by its card."""

    name: str
    kind: Literal["head pose", "face detector"]
    path: Path
    sha256: str
    """Of the whole file."""
    size_bytes: int
    licence: str
    attribution: tuple[str, ...]
    parameters: int | None
    multiply_adds: int | None
    """For one crop, or for an image of 320x256 px."""
    crop_size: int | None
    """Side of the input crops, px; None if the input is the whole image."""
    figures: Mapping[str, float]
    """Results on held-out data, with units in the names."""


def package_versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of the installed dependencies."""
    versions = {"trg": __version__, "Python": f"{platform.python_version()}, {platform.platform()}"}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def webcams() -> str:
    """Return the webcams that were found, or why they cannot be listed."""
    try:
        found = list_webcams()
    except OSError as error:
        return str(error)
    return ", ".join(f"{each.number} {each.name}" for each in found) or "none found"


def bundled_models() -> list[ModelSummary]:
    """Read and verify the models inside the package.

    Raises ValueError if a model is damaged.
    """
    models = []
    for name in bundled_names():
        card = asdict(read_bundle(bundled(name)).card)
        figures = card["training"].get("figures")
        models.append(_summary("head pose", bundled(name), {**card, "name": name}, figures))
    with suppress(FileNotFoundError):  # the detector is optional if boxes are given
        card = {**FaceDetector().card}
        card["multiply_adds"] = card.get("multiply_adds_320x256")
        models.append(_summary("face detector", bundled_model(), card, card.get("figures")))
    return models


def _summary(
    kind: Literal["head pose", "face detector"], path: Path, card: Mapping[str, Any], figures: Any
) -> ModelSummary:
    return ModelSummary(
        name=str(card.get("name", path.stem)),
        kind=kind,
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        size_bytes=path.stat().st_size,
        licence=str(card.get("licence", "unknown")),
        attribution=tuple(card.get("attribution", ())),
        parameters=card.get("parameters"),
        multiply_adds=card.get("multiply_adds"),
        crop_size=card.get("crop_size"),
        figures=_flatten(figures),
    )


def _flatten(figures: Any) -> dict[str, float]:
    """Return the numbers of a card's figures; nested names are joined by a space.

    A card of another program may hold anything; what is not a mapping has no figures.
    """
    numbers: dict[str, float] = {}
    for name, value in figures.items() if isinstance(figures, Mapping) else ():
        if isinstance(value, Mapping):
            numbers.update({f"{name} {key}": each for key, each in _flatten(value).items()})
        elif isinstance(value, int | float):
            numbers[str(name)] = float(value)
    return numbers
