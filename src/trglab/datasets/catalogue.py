"""The data sets by name, as the command line calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trglab.datasets.aflw2000 import AFLW2000
from trglab.datasets.arkitface import ARKitFace
from trglab.datasets.biwi import BIWI
from trglab.datasets.ddpose import DDPose
from trglab.datasets.manifest import read_manifest
from trglab.datasets.microsoft_faces import FaceSynthetics, SynthFace
from trglab.datasets.sample import Dataset
from trglab.datasets.sample_store import SampleStore
from trglab.datasets.view_store import ViewStore
from trglab.datasets.w300lp import W300LP


def open_store(folder: Path) -> ViewStore | SampleStore:
    """Open a shard store of views or of whole samples as a dataset.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no finished store, or it is of another kind.
    """
    kind = read_manifest(folder)["kind"]
    return SampleStore(folder) if kind == "samples" else ViewStore(folder)


READERS: dict[str, Callable[..., Dataset]] = {
    "arkitface": ARKitFace,
    "300wlp": W300LP,
    "aflw2000": AFLW2000,
    "biwi": BIWI,
    "ddpose": DDPose,
    "facesynthetics": FaceSynthetics,
    "synthface": SynthFace,
    "packed": open_store,
}
"""What opens the folder of each data set; ``packed``: a shard store of faces."""

PUBLISHED_COUNTS = {
    ("arkitface", "train"): 717_840,
    ("arkitface", "test"): 184_884,
    ("300wlp", None): 122_450,
    ("aflw2000", None): 1_969,
    ("biwi", None): 15_678,
    ("facesynthetics", None): 100_000,
}
"""Samples of each data set and split, as its authors or the papers that use it state."""


@dataclass(frozen=True, slots=True)
class DatasetFolder:
    """A data set on disk: its name, folder and reader options, as plain values."""

    name: str
    folder: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the reader, for example ``split``."""

    def open(self) -> Dataset:
        """Open the folder.

        Raises
        ------
        FileNotFoundError, ValueError, ImportError
            As the reader; or there is no such data set or option.
        """
        if self.name not in READERS:
            raise ValueError(f"data set: expected one of {sorted(READERS)}, got {self.name!r}")
        try:
            return READERS[self.name](Path(self.folder), **self.options)
        except TypeError as error:
            raise ValueError(f"data set {self.name}: {error}") from error

    @property
    def published_count(self) -> int | None:
        """Samples of the complete data set; None if unknown."""
        split = self.options.get("split", "train") if self.name == "arkitface" else None
        return PUBLISHED_COUNTS.get((self.name, split))

    @property
    def provenance(self) -> dict[str, Any]:
        """Name and options, for a manifest."""
        return {"data_set": self.name, **self.options}
