"""The detector and a pose network as files for web pages: docs/web.md.

::

    detector.onnx.gz    the detector's graph, byte for byte that of this package, compressed
    NAME.onnx.gz        the pose network's graph, likewise that of its bundle
    model.json          the rest of bundle and detector: cards, mesh, digests of the graphs
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from trg._util.files import write_atomic
from trg.inference import size_memory
from trg.inference.bundle import WeightBundle, model_path, read_bundle
from trg.inference.confidence import ConfidenceModel
from trg.inference.detector import FaceDetector, bundled_model
from trg.inference.error_bar_calibration import ErrorBarCalibration
from trg.inference.runtime import PoseRuntime

FORMAT_VERSION = 1
CARD = "model.json"

SIZE_CONSTANTS = (
    *("CORRELATION_S", "FORGET_S", "COMMON_STD", "VIEW_STD", "DOUBT", "DOUBT_POWER"),
    *("LEAST_STD", "EYES_STD", "DEGREES_OF_FREEDOM"),
)
"""Of :mod:`trg.inference.size_memory`: they were fitted to the networks' errors."""


def web_models(model: str | PathLike[str]) -> dict[str, bytes]:
    """Return the files by name that a web page needs to run a model.

    Equal models give equal files. ``model`` is the name of a bundled one, or a ``.trg`` file.

    Raises
    ------
    FileNotFoundError
        The file does not exist, or the package has no detector.
    ValueError
        The model is damaged or unknown.
    """
    bundle = read_bundle(model_path(model))
    detector = bundled_model().read_bytes()
    pose_file, detector_file = f"{_file_stem(bundle.card.name)}.onnx.gz", "detector.onnx.gz"
    card = {
        "format_version": FORMAT_VERSION,
        "detector": {**_graph(detector_file, detector), **_detector_card()},
        "pose": {**_graph(pose_file, bundle.model), **_pose_card(bundle)},
    }
    return {
        CARD: json.dumps(card, separators=(",", ":"), sort_keys=True).encode(),
        detector_file: _compressed(detector),
        pose_file: _compressed(bundle.model),
    }


def write_web_models(files: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write the files of :func:`web_models` to a folder, which is made; return them, card last.

    Raises OSError if the folder is not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in sorted(files, key=lambda name: name == CARD)]
    for path in paths:
        write_atomic(path, lambda file, content=files[path.name]: file.write(content))  # type: ignore[misc]
    return paths


def _detector_card() -> dict[str, Any]:
    """Return what a page needs of the detector besides its graph."""
    card = FaceDetector().card
    return {key: card[key] for key in ("name", "licence", "attribution", "threshold")}


def _pose_card(bundle: WeightBundle) -> dict[str, Any]:
    """Return what a page needs of a bundle besides its graph."""
    runtime = PoseRuntime(bundle)  # verifies the graph
    card, topology = bundle.card, bundle.topology
    return {
        "name": card.name,
        "licence": card.licence,
        "attribution": list(card.attribution),
        "crop_size": card.crop_size,
        "inputs": list(runtime.input_names),
        "confidence": ConfidenceModel.from_training(card.training).to_dict(),
        "error_bars": ErrorBarCalibration.from_training(card.training).to_dict(),
        "size_memory": {name.lower(): getattr(size_memory, name) for name in SIZE_CONSTANTS},
        "vertex_count": topology.vertex_count,
        "triangles": topology.triangles.ravel().tolist(),
        "landmarks68": topology.landmarks68.tolist(),
    }


def _graph(file: str, content: bytes) -> dict[str, Any]:
    return {"file": file, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _file_stem(name: str) -> str:
    """Return a model's name as part of a file name and an address."""
    return "".join(each if each.isascii() and each.isalnum() else "_" for each in name) or "pose"
