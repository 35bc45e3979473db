"""Shared set-up: executed shape annotations, the marker `numeric`, no user configuration."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Tests run in as many processes as there are cores. More threads than cores make torch spin: small
# trainings took up to twenty times as long. Must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
from jaxtyping import install_import_hook

# On a busy machine any example can take long.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

# A shell starts what runs in the background with Ctrl-C ignored, which tests and their processes
# would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# jaxtyping and beartype check the shapes in these annotations at each call. Modules at the boundary
# validate their own input, and their tests pass what annotations forbid.
install_import_hook(
    [
        "trg.network",
        "trglab.datasets.view",
        "trglab.detector.network",
        "trglab.training",
    ],
    "beartype.beartype",
)

TESTS = Path(__file__).parent
NUMERIC = [
    TESTS / name
    for name in (
        "scripts",
        "trg/geometry",
        "trg/inference",
        "trg/network",
        "trg/test_estimator.py",
        "trg/test_face.py",
        "trg/test_off_centre.py",
        "trglab/datasets/test_batches.py",
        "trglab/datasets/test_mesh.py",
        "trglab/detector/test_evaluation.py",
        "trglab/detector/test_training.py",
        "trglab/evaluation",
        "trglab/paper",
        "trglab/synth/test_face_model.py",
        "trglab/synth/test_light.py",
        "trglab/synth/test_people.py",
        "trglab/synth/test_photo_skin.py",
        "trglab/synth/test_shade.py",
        "trglab/synth/test_skin.py",
        "trglab/training",
    )
]
"""Tests whose floating-point results may differ between processors."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the numeric tests."""
    missing = [os.fspath(path) for path in NUMERIC if not path.exists()]
    if missing:
        raise pytest.UsageError(f"tests/conftest.py, NUMERIC: no such files: {missing}")
    for item in items:
        if any(path == item.path or path in item.path.parents for path in NUMERIC):
            item.add_marker(pytest.mark.numeric)


@pytest.fixture(scope="session", autouse=True)
def no_installed_assets(tmp_path_factory):
    """Tests use the built-in head, whatever assets the user has registered."""
    from trglab.synth.assets import ASSET_KINDS

    registry = tmp_path_factory.mktemp("assets") / "sources.json"
    with pytest.MonkeyPatch.context() as patch:
        for kind in ASSET_KINDS.values():
            patch.delenv(kind.environment, raising=False)
        patch.setenv("TRG_SOURCES", os.fspath(registry))
        yield registry
