"""The data sets by name, as the command line and recipes call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trglab.datasets.aflw2000 import AFLW2000
from trglab.datasets.arkitface import ARKitFace
from trglab.datasets.biwi import BIWI
from trglab.datasets.packed import PackedViews
from trglab.datasets.w300lp import W300LP

READERS: dict[str, Callable[..., Any]] = {
    "arkitface": ARKitFace,
    "300wlp": W300LP,
    "aflw2000": AFLW2000,
    "biwi": BIWI,
    "packed": PackedViews,
}
"""What opens each data set's folder. ``packed``: any of them after ``trg data pack``."""

PUBLISHED_COUNTS = {
    ("arkitface", "train"): 717_840,
    ("arkitface", "test"): 184_884,
    ("300wlp", None): 122_450,
    ("aflw2000", None): 1_969,
    ("biwi", None): 15_678,
}
"""Samples of each data set, and of each split, as its authors or the papers that use it say."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set on disk: what to open, and how. Calling it opens it.

    Plain values, so that a worker process or a manifest can hold them.
    """

    name: str
    folder: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the reader, for example ``split``."""

    def __call__(self) -> Any:
        """Open the folder: a sequence of samples.

        Raises
        ------
        FileNotFoundError, ValueError, ImportError
            As the reader says; or there is no such data set or option.
        """
        if self.name not in READERS:
            raise ValueError(f"data set: expected one of {sorted(READERS)}, got {self.name!r}")
        try:
            return READERS[self.name](Path(self.folder), **self.options)
        except TypeError as error:
            raise ValueError(f"data set {self.name}: {error}") from error

    @property
    def published_count(self) -> int | None:
        """How many samples the whole data set has; None where that is not known."""
        split = self.options.get("split", "train") if self.name == "arkitface" else None
        return PUBLISHED_COUNTS.get((self.name, split))

    @property
    def facts(self) -> dict[str, Any]:
        """Name and options, for a manifest."""
        return {"data_set": self.name, **self.options}
