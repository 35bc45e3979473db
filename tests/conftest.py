"""Switches on shape checks: the annotations of the inner rooms run under jaxtyping and beartype.

The rooms at the boundary (camera, crop, metrics, readers of files) check their own input, and
their tests hand in what the annotations forbid.
"""

from __future__ import annotations

from jaxtyping import install_import_hook

install_import_hook(
    ["trg.geometry", "trg.model", "trg.data.augment", "trg.data.batch", "trg.training"],
    "beartype.beartype",
)
