"""6DoF head pose and dense 3D face landmarks from one ordinary picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trg.estimator import HeadPoseEstimator
    from trg.face import Face
    from trg.geometry.camera import Camera

__version__ = "0.1.0"

__all__ = ["Camera", "Face", "HeadPoseEstimator", "__version__"]

_HOMES = {"Camera": "trg.geometry.camera", "Face": "trg.face", "HeadPoseEstimator": "trg.estimator"}


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is asked for, so that ``import trg`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trg' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
