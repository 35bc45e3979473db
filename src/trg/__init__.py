"""6DoF head pose and dense 3D face landmarks from a single image."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trg.estimator import HeadPoseEstimator
    from trg.face import Face
    from trg.geometry.camera import Camera
    from trg.geometry.camera_source import FieldOfView, SizelessCalibration, resolve_camera
    from trg.io.calibration import read_calibration

__version__ = "0.1.0"

__all__ = [
    "Camera",
    "Face",
    "FieldOfView",
    "HeadPoseEstimator",
    "SizelessCalibration",
    "__version__",
    "read_calibration",
    "resolve_camera",
]

_MODULES = {
    "Camera": "trg.geometry.camera",
    "Face": "trg.face",
    "FieldOfView": "trg.geometry.camera_source",
    "HeadPoseEstimator": "trg.estimator",
    "SizelessCalibration": "trg.geometry.camera_source",
    "read_calibration": "trg.io.calibration",
    "resolve_camera": "trg.geometry.camera_source",
}


def __getattr__(name: str) -> Any:
    """Import public names on first use (PEP 562), so that ``import trg`` stays fast."""
    if name not in _MODULES:
        raise AttributeError(f"module 'trg' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """List the public names, also those not imported yet."""
    return sorted({*globals(), *__all__})
