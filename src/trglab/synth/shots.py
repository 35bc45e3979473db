"""Sampling of cameras and head poses."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from trg.geometry.camera import Camera
from trg.geometry.projection import OPTICAL_AXIS
from trg.geometry.rotations import rotation_between, rotation_from_euler

IMAGE_SIZES = (
    (640, 480),
    (1280, 720),
    (1920, 1080),
    (480, 640),
    (720, 1280),
    (1080, 1440),
    (800, 800),
)
"""Widths and heights of webcam, phone and camera images."""

FOV_RANGE_DEG = (22.0, 100.0)
"""Field of view along the longer side: from a portrait lens to a wide phone camera."""

FACE_CENTRE_M = np.array([0.0, 0.01, -0.08])
"""Approximate centre of the 68 landmarks in the head frame."""

MIN_DEPTH_M = 0.18
"""Smallest depth of the head's origin: the noses of large heads lie 0.16 m in front of it."""

PROFILE_YAW_DEG = (60.0, 100.0)
LOOKING_DOWN_PITCH_DEG = (30.0, 65.0)
"""Ranges of the hard poses, in degrees."""

NOMINAL_FACE_BOX_M = 0.21
"""Approximate side of the face box; used to keep faces inside the image."""


@dataclass(frozen=True, slots=True)
class ShotDistribution:
    """Distribution of head poses and cameras.

    Angles, in degrees, describe the head as the virtual camera that looks at it sees it. Each is
    normal around zero and, for ``uniform_share`` of the images, uniform over +-``max``.
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
    """Share of heads placed uniformly over the image rather than around its centre."""
    cut_off_share: float = 0.08
    """Share of heads whose face may extend beyond the image."""
    distortion_share: float = 0.0
    """Share of cameras with lens distortion; windows are rendered without it."""
    any_roll_share: float = 0.10
    """Share of heads with a roll uniform over +-180 degrees. Crops are turned upright beyond about
    25 degrees, so that a pose network rarely sees the others."""
    profile_share: float = 0.05
    """Share of heads with a yaw of 60 to 100 degrees to either side."""
    looking_down_share: float = 0.05
    """Share of heads with a pitch of 30 to 65 degrees downwards."""
    at_border_share: float = 0.04
    """Share of faces of which a border of the image cuts off a quarter to a half."""

    def __post_init__(self) -> None:
        near, far = self.distance_m
        if not MIN_DEPTH_M <= near <= far:
            raise ValueError(
                f"distance_m: expected {MIN_DEPTH_M} <= nearest <= farthest (noses of closer "
                f"heads would be behind the camera), got {self.distance_m}"
            )
        for name in (each.name for each in fields(self) if each.name.endswith("_share")):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 to 1, got {getattr(self, name)}")


HARD_POSES = ("any_roll_share", "profile_share", "looking_down_share")
"""Fields of :class:`ShotDistribution` that make poses hard."""


class Shot(NamedTuple):
    """A camera and the pose of a head: ``cam_from_head`` rotation and translation."""

    camera: Camera
    rotation: np.ndarray
    translation_m: np.ndarray


def sample_shot(
    rng: np.random.Generator,
    distribution: ShotDistribution,
    image_size: tuple[int, int] | None = None,
    camera: Camera | None = None,
) -> Shot:
    """Draw a camera, unless one is given, and a head pose whose face centre is in the image."""
    near, far = distribution.distance_m
    depth_m = float(np.exp(rng.uniform(np.log(near), np.log(far))))
    if camera is None:
        camera = _sample_camera(rng, distribution, depth_m, image_size)
    size_px = np.array([camera.width, camera.height])
    if rng.random() < distribution.off_centre_share:
        centre = rng.uniform(0.04, 0.96, 2)  # in shares of the image
    else:
        centre = rng.normal(0.5, 0.13, 2)
    margin = np.full(2, 0.04)
    if rng.random() >= distribution.cut_off_share:  # the face, if not all of its box, fits
        margin = np.minimum(0.5, 0.4 * NOMINAL_FACE_BOX_M / depth_m * camera.fx / size_px)
    centre = np.clip(centre, margin, 1.0 - margin)
    hard_rng = rng.spawn(1)[0]  # a stream of its own: the other draws do not depend on it
    if hard_rng.random() < distribution.at_border_share:
        box_share = NOMINAL_FACE_BOX_M / depth_m * camera.fx / size_px
        centre = _centre_at_border(hard_rng, centre, box_share)
    ray = np.append(camera.unproject(centre * size_px), 1.0)
    angles_deg = [
        _sample_angle(rng, sd, limit, distribution.uniform_share)
        for sd, limit in (
            (distribution.yaw_sd, distribution.yaw_max),
            (distribution.pitch_sd, distribution.pitch_max),
            (distribution.roll_sd, distribution.roll_max),
        )
    ]
    angles_deg = _hard_angles_deg(hard_rng, distribution, angles_deg)
    rotation = rotation_between(OPTICAL_AXIS, ray) @ rotation_from_euler(np.array(angles_deg))
    face_m = rotation @ FACE_CENTRE_M
    return Shot(camera, rotation, ray * (depth_m + face_m[2]) - face_m)


def _sample_angle(rng: np.random.Generator, sd: float, limit: float, uniform_share: float) -> float:
    if rng.random() < uniform_share:
        return float(rng.uniform(-limit, limit))
    return float(np.clip(rng.normal(0.0, sd), -limit, limit))


def _hard_angles_deg(
    rng: np.random.Generator, distribution: ShotDistribution, angles_deg: list[float]
) -> list[float]:
    """Replace angles by those of hard poses, which may coincide."""
    yaw, pitch, roll = angles_deg
    if rng.random() < distribution.any_roll_share:
        roll = float(rng.uniform(-180.0, 180.0))
    if rng.random() < distribution.profile_share:
        yaw = float(rng.choice([-1.0, 1.0]) * rng.uniform(*PROFILE_YAW_DEG))
    if rng.random() < distribution.looking_down_share:
        pitch = float(rng.uniform(*LOOKING_DOWN_PITCH_DEG))
    return [yaw, pitch, roll]


def _centre_at_border(
    rng: np.random.Generator, centre: np.ndarray, box_share: np.ndarray
) -> np.ndarray:
    """Move a face's centre, in shares of the image, next to one border, rarely the upper one."""
    axis, far = ((0, 0), (0, 1), (1, 1), (1, 0))[rng.choice(4, p=(0.33, 0.33, 0.24, 0.1))]
    inside = min(0.5, float(rng.uniform(0.0, 0.25) * box_share[axis]))
    moved = centre.copy()
    moved[axis] = 1.0 - inside if far else inside
    return moved


def _sample_camera(
    rng: np.random.Generator,
    distribution: ShotDistribution,
    depth_m: float,
    image_size: tuple[int, int] | None,
) -> Camera:
    if image_size is None:
        image_size = IMAGE_SIZES[rng.integers(len(IMAGE_SIZES))]
    width, height = image_size
    long_side, short_side = max(width, height), min(width, height)
    # A face at this depth must fit into the short side of the image, with a random margin.
    margin = rng.uniform(1.0, 2.0)
    min_tan = margin * 0.5 * NOMINAL_FACE_BOX_M / depth_m * long_side / short_side
    low = max(FOV_RANGE_DEG[0], 2.0 * float(np.degrees(np.arctan(min_tan))))
    fov_deg = float(np.exp(rng.uniform(np.log(low), np.log(max(low, FOV_RANGE_DEG[1])))))
    focal_px = 0.5 * long_side / np.tan(np.radians(fov_deg) / 2.0)
    is_distorted = rng.random() < distribution.distortion_share
    k1 = rng.uniform(-0.15, 0.08)
    return Camera(
        fx=float(focal_px),
        fy=float(focal_px * np.clip(rng.normal(1.0, 0.01), 0.95, 1.05)),
        cx=float(width * np.clip(rng.normal(0.5, 0.02), 0.4, 0.6)),
        cy=float(height * np.clip(rng.normal(0.5, 0.02), 0.4, 0.6)),
        width=width,
        height=height,
        distortion=(k1, -0.3 * k1, *rng.normal(0.0, 0.0015, 2), 0.0)
        if is_distorted
        else (0.0,) * 5,
    )
