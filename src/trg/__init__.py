"""6DoF head pose and dense 3D face landmarks from one ordinary picture."""

__version__ = "0.1.0"
