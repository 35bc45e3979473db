"""Checkpoints that describe themselves: the configuration and the mesh lie beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from trg._util.atomic import write_atomic
from trg.geometry.face_mesh import FaceTopology
from trg.network.config import TRGConfig
from trg.network.feature_extractor import load_state_strictly
from trg.network.trg import TRGNetwork

FORMAT = "trg-checkpoint"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A network, and whatever was saved with it."""

    network: TRGNetwork
    """On the CPU, in training mode."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Plain values and tensors: optimiser state, step count, scores."""


def save_checkpoint(
    path: str | PathLike[str], network: TRGNetwork, extra: Mapping[str, Any] | None = None
) -> None:
    """Write a network to one file; the file is either whole or not there.

    Parameters
    ----------
    extra
        Plain containers, numbers, strings and tensors, kept beside the weights.

    Raises
    ------
    OSError
        The disk is full or the folder cannot be written; an older file is left as it was.
    """
    contents = {
        "format": FORMAT,
        "version": VERSION,
        "config": network.config.to_dict(),
        "topology": {
            name: torch.tensor(array) for name, array in network.topology.to_arrays().items()
        },
        "weights": network.state_dict(),
        "extra": dict(extra or {}),
    }
    write_atomic(Path(path), lambda file: torch.save(contents, file))


def load_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Build the network that a checkpoint describes and fill it.

    Only tensors and plain values are read; a file cannot run code.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is no checkpoint, is of another version, or its weights do not fit its own
        configuration; the message names the keys and shapes.
    """
    contents = _read(Path(path))
    config = TRGConfig.from_dict(contents["config"])
    topology = FaceTopology.from_arrays(
        {name: tensor.numpy() for name, tensor in contents["topology"].items()}
    )
    network = TRGNetwork(config, topology)
    load_state_strictly(network, contents["weights"], str(path))
    return Checkpoint(network, contents["extra"])


def _read(path: Path) -> dict[str, Any]:
    """Return the parts of a checkpoint file, or say what the file is instead."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a checkpoint file, found none")
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are not its own
        raise ValueError(
            f"{path}: expected a checkpoint of trg, got a file that cannot be read safely as one "
            f"({type(error).__name__}). Exported weights (.trg) load with "
            "trg.inference.bundle.read_bundle"
        ) from error
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise ValueError(f"{path}: expected a checkpoint of trg, got another file of torch's")
    if contents.get("version") != VERSION:
        raise ValueError(
            f"{path}: expected checkpoint version {VERSION}, got {contents.get('version')}"
        )
    missing = {"config", "topology", "weights", "extra"} - set(contents)
    if missing:
        raise ValueError(f"{path}: checkpoint parts {sorted(missing)} are missing")
    return contents
