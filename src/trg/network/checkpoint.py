"""Weights in files of torch: self-describing checkpoints, and torchvision's ImageNet weights."""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trg._util.files import existing_file, write_atomic
from trg.geometry.face_mesh import FaceTopology
from trg.network.config import TRGConfig
from trg.network.trg import TRGNetwork

FORMAT = "trg-checkpoint"
VERSION = 1

TORCHVISION = "torchvision"
"""Stands for the ImageNet weights of an installed torchvision, in place of a file's path."""

IMAGENET_URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A network, and what was saved with it."""

    network: TRGNetwork
    """On the CPU, in training mode."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Plain values and tensors, such as optimiser state, step count and scores."""


def save_checkpoint(
    path: str | PathLike[str], network: TRGNetwork, extra: Mapping[str, Any] | None = None
) -> None:
    """Write a network, its configuration and its mesh to one file, atomically.

    ``extra`` may hold containers, numbers, strings and tensors.

    Raises OSError if the file cannot be written; an existing file is left unchanged.
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
    """Build the network described by a checkpoint and load its weights.

    Reads tensors and plain values only (``weights_only=True``): a file cannot execute code.

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    ValueError
        The file is not a checkpoint, has another version, or its weights do not match its
        configuration; the message names the keys and shapes.
    """
    contents = _read(path)
    try:
        config = TRGConfig.from_dict(contents["config"])
        topology = FaceTopology.from_arrays(
            {name: tensor.numpy() for name, tensor in contents["topology"].items()}
        )
        with torch.device("meta"):  # takes no memory
            check_state(TRGNetwork(config, topology), contents["weights"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    network = TRGNetwork(config, topology)
    network.load_state_dict(contents["weights"])
    return Checkpoint(network, contents["extra"])


def load_imagenet_weights(backbone: nn.Module, source: str | PathLike[str]) -> None:
    """Load torchvision's resnet18 weights into the trunk, without the classifier.

    Parameters
    ----------
    source
        File with a state dict as torchvision publishes it, ``resnet18-f37072fd.pth``, or
        :data:`TORCHVISION`. Batch normalisations may lack their counter of batches, as they do in
        the published file.

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    ImportError
        torchvision is not installed, or does not fit the installed torch.
    ValueError
        The file is not a state dict, or a name or shape differs from the trunk's.
    """
    state = _torchvision_state() if source == TORCHVISION else _read_state(Path(source))
    # torchvision's published files are older than the counters, which inference does not use.
    counters = {
        name: tensor
        for name, tensor in backbone.state_dict().items()
        if name.endswith(".num_batches_tracked")
    }
    trunk = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    load_state_strictly(backbone, {**counters, **trunk}, str(source))


def _read_state(path: Path) -> Mapping[str, Tensor]:
    """Return the state dict in a file of torchvision."""
    # The address is part of what was expected, so that the error says where to get the file.
    state = _load_safely(
        path, f"torchvision's resnet18 weights ({IMAGENET_URL}, or {TORCHVISION!r} fetches them)"
    )
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path}: expected a state dict of tensors, as torchvision publishes it")
    return state


def _torchvision_state() -> Mapping[str, Tensor]:
    """Return the state dict that an installed torchvision downloads or has in its cache."""
    try:
        models = importlib.import_module("torchvision.models")
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
        raise ImportError(
            f"backbone_weights={TORCHVISION}: torchvision cannot be imported ({error}). Install "
            f"the version that fits the installed torch, or give the path of {IMAGENET_URL}"
        ) from error
    state: Mapping[str, Tensor] = models.ResNet18_Weights.IMAGENET1K_V1.get_state_dict(
        progress=False, check_hash=True
    )
    return state


def load_state_strictly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load ``state`` into ``module`` if all names and shapes agree.

    Raises ValueError otherwise, with the missing and unexpected names and the differing shapes.
    """
    try:
        check_state(module, state)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    module.load_state_dict(dict(state))


def check_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless ``state`` has the names and shapes of a module's parameters."""
    own = module.state_dict()
    missing, unexpected = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    shapes = [
        f"{name}: expected {tuple(own[name].shape)}, got {tuple(state[name].shape)}"
        for name in sorted(set(own) & set(state))
        if own[name].shape != state[name].shape
    ]
    if missing or unexpected or shapes:
        raise ValueError(
            f"weights do not match the network. Missing: {missing}. "
            f"Unexpected: {unexpected}. Shapes: {shapes}"
        )


def _load_safely(path: str | PathLike[str], expected: str) -> Any:
    """Load tensors and plain values; refuse pickles that could execute code."""
    path = existing_file(path, expected)
    try:
        _refuse_compression(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for foreign files
        raise ValueError(
            f"{path}: expected {expected}, got a file that cannot be read safely as one "
            f"({type(error).__name__}). Exported weights (.trg) load with "
            "trg.inference.bundle.read_bundle"
        ) from error


def _refuse_compression(path: Path) -> None:
    """Raise ValueError if a zip archive has more contents than bytes; torch compresses nothing."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
                raise ValueError("compressed members")


def _read(path: str | PathLike[str]) -> dict[str, Any]:
    """Return the verified contents of a checkpoint file."""
    contents = _load_safely(path, "a checkpoint of trg")
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise ValueError(f"{path}: expected a checkpoint of trg, got another torch file")
    if contents.get("version") != VERSION:
        raise ValueError(
            f"{path}: expected checkpoint version {VERSION}, got {contents.get('version')}"
        )
    for part in ("config", "topology", "weights", "extra"):
        if not isinstance(contents.get(part), dict):
            raise ValueError(f"{path}: expected a checkpoint with a mapping {part!r}")
    size = 0
    for part in ("topology", "weights"):
        for name, tensor in contents[part].items():
            if not isinstance(name, str) or not isinstance(tensor, Tensor):
                raise ValueError(f"{path}: expected named tensors in {part!r}, got {name!r:.100}")
            size += tensor.nbytes
    # Tensors that share or repeat their numbers (a stride of 0) are larger than the file.
    if size > Path(path).stat().st_size:
        raise ValueError(f"{path}: expected at most the file's size of tensors, got {size} bytes")
    return contents
