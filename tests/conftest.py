"""What all tests share: shape checks are on, and what the user has installed is out of sight.

The annotations of the inner rooms run under jaxtyping and beartype. The rooms at the boundary
(camera, crop, metrics, readers of files) check their own input, and their tests hand in what the
annotations forbid.
"""

from __future__ import annotations

import os

import pytest
from jaxtyping import install_import_hook

install_import_hook(
    [
        "trg.network",
        "trglab.datasets.view",
        "trglab.training",
    ],
    "beartype.beartype",
)


@pytest.fixture(scope="session", autouse=True)
def no_installed_sources(tmp_path_factory):
    """Tests run on the built-in head, whatever sources this user has named."""
    from trglab.synth.assets import ASSET_KINDS

    notes = tmp_path_factory.mktemp("notes") / "sources.json"
    with pytest.MonkeyPatch.context() as patch:
        for kind in ASSET_KINDS.values():
            patch.delenv(kind.environment, raising=False)
        patch.setenv("TRG_SOURCES", os.fspath(notes))
        yield notes
