"""Where the camera is and how the head is turned: the sampling of shots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trg.geometry.camera import Camera
from trg.geometry.projection import OPTICAL_AXIS
from trg.geometry.rotations import rotation_between, rotation_from_euler

PICTURE_SIZES = (
    (640, 480),
    (1280, 720),
    (1920, 1080),
    (480, 640),
    (720, 1280),
    (1080, 1440),
    (800, 800),
)
"""Widths and heights of what webcams, phones and cameras give."""

FOV_RANGE_DEG = (22.0, 100.0)
"""Larger field of view of a picture: from a portrait lens to a wide phone camera."""

FACE_MIDDLE_M = np.array([0.0, 0.01, -0.08])
"""About the middle of the 68 landmarks in head space."""

NEAREST_M = 0.18
"""The least depth of a head's origin: large heads' noses reach 0.16 m in front of it."""

NOMINAL_FACE_BOX_M = 0.21
"""About the side of the face box in space; only keeps faces from overflowing the picture."""


@dataclass(frozen=True, slots=True)
class ShotDistribution:
    """How heads are turned and where they are. Angles are seen from the camera, in degrees.

    Each angle is normal around zero and, for a share of the pictures, uniform over its range.
    """

    distance_m: tuple[float, float] = (0.2, 3.0)
    """Depth of the head's origin, log-uniform."""
    yaw_sd: float = 28.0
    yaw_max: float = 90.0
    pitch_sd: float = 14.0
    pitch_max: float = 60.0
    roll_sd: float = 13.0
    roll_max: float = 60.0
    uniform_share: float = 0.12
    off_centre_share: float = 0.3
    """Share of heads placed anywhere in the picture rather than around its middle."""
    cut_off_share: float = 0.08
    """Share of heads whose face may stick out of the picture."""
    distortion_share: float = 0.0
    """Share of cameras with a bent lens; matters for whole pictures, not for ideal views."""

    def __post_init__(self) -> None:
        near, far = self.distance_m
        if not NEAREST_M <= near <= far:
            raise ValueError(
                f"distance_m: expected {NEAREST_M} <= nearest <= farthest (nearer, a nose would be "
                f"behind the camera), got {self.distance_m}"
            )
        for name in ("uniform_share", "off_centre_share", "cut_off_share", "distortion_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 to 1, got {getattr(self, name)}")


class Shot(NamedTuple):
    """One camera and one head before it: ``cam_from_head`` rotation and translation."""

    camera: Camera
    rotation: np.ndarray
    translation_m: np.ndarray


def sample_shot(
    rng: np.random.Generator,
    odds: ShotDistribution,
    picture_size: tuple[int, int] | None = None,
    camera: Camera | None = None,
) -> Shot:
    """Draw a camera, unless it is given, and a head pose; the face's middle is in the picture."""
    near, far = odds.distance_m
    depth_m = float(np.exp(rng.uniform(np.log(near), np.log(far))))
    if camera is None:
        camera = _sample_camera(rng, odds, depth_m, picture_size)
    size_px = np.array([camera.width, camera.height])
    if rng.random() < odds.off_centre_share:
        place = rng.uniform(0.04, 0.96, 2)
    else:
        place = rng.normal(0.5, 0.13, 2)
    room = np.full(2, 0.04)
    if rng.random() >= odds.cut_off_share:  # keep the face, though not all of its box, inside
        room = np.minimum(0.5, 0.4 * NOMINAL_FACE_BOX_M / depth_m * camera.fx / size_px)
    place = np.clip(place, room, 1.0 - room)
    sight = np.append(camera.unproject(place * size_px), 1.0)
    angles_deg = np.array(
        [
            _sample_angle(rng, odds.yaw_sd, odds.yaw_max, odds.uniform_share),
            _sample_angle(rng, odds.pitch_sd, odds.pitch_max, odds.uniform_share),
            _sample_angle(rng, odds.roll_sd, odds.roll_max, odds.uniform_share),
        ]
    )
    rotation = rotation_between(OPTICAL_AXIS, sight) @ rotation_from_euler(angles_deg)
    face_m = rotation @ FACE_MIDDLE_M
    return Shot(camera, rotation, sight * (depth_m + face_m[2]) - face_m)


def _sample_angle(rng: np.random.Generator, sd: float, limit: float, uniform_share: float) -> float:
    if rng.random() < uniform_share:
        return float(rng.uniform(-limit, limit))
    return float(np.clip(rng.normal(0.0, sd), -limit, limit))


def _sample_camera(
    rng: np.random.Generator,
    odds: ShotDistribution,
    depth_m: float,
    picture_size: tuple[int, int] | None,
) -> Camera:
    if picture_size is None:
        picture_size = PICTURE_SIZES[rng.integers(len(PICTURE_SIZES))]
    width, height = picture_size
    long_side, short_side = max(width, height), min(width, height)
    # A face this near must still fit into the short side of the picture, mostly with room to spare.
    room = rng.uniform(1.0, 2.0)
    least_tan = room * 0.5 * NOMINAL_FACE_BOX_M / depth_m * long_side / short_side
    low = max(FOV_RANGE_DEG[0], 2.0 * float(np.degrees(np.arctan(least_tan))))
    fov_deg = float(np.exp(rng.uniform(np.log(low), np.log(max(low, FOV_RANGE_DEG[1])))))
    focal_px = 0.5 * long_side / np.tan(np.radians(fov_deg) / 2.0)
    bent = rng.random() < odds.distortion_share
    k1 = rng.uniform(-0.15, 0.08)
    return Camera(
        fx=float(focal_px),
        fy=float(focal_px * np.clip(rng.normal(1.0, 0.01), 0.95, 1.05)),
        cx=float(width * np.clip(rng.normal(0.5, 0.02), 0.4, 0.6)),
        cy=float(height * np.clip(rng.normal(0.5, 0.02), 0.4, 0.6)),
        width=width,
        height=height,
        distortion=(k1, -0.3 * k1, *rng.normal(0.0, 0.0015, 2), 0.0) if bent else (0.0,) * 5,
    )
