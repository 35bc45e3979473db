"""Made-up head movements whose nods, shakes and tilts are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

FPS = 30.0


def times_s(duration_s: float, fps: float = FPS) -> np.ndarray:
    return np.arange(0.0, duration_s, 1.0 / fps)


def swings(time_s: np.ndarray, start_s: float, hz: float, cycles: int, size_deg: float):
    """Return an angle that goes to ``size_deg`` and back ``cycles`` times, and rests else."""
    phase = 2.0 * np.pi * hz * (time_s - start_s)
    moving = (phase >= 0.0) & (phase <= 2.0 * np.pi * cycles)
    return np.where(moving, 0.5 * size_deg * (1.0 - np.cos(phase)), 0.0)


def wiggles(time_s: np.ndarray, start_s: float, hz: float, cycles: int, size_deg: float):
    """Return an angle that goes to both sides of where it was, ``size_deg`` from end to end."""
    phase = 2.0 * np.pi * hz * (time_s - start_s)
    moving = (phase >= 0.0) & (phase <= 2.0 * np.pi * cycles)
    return np.where(moving, 0.5 * size_deg * np.sin(phase), 0.0)


def rotations(
    pitch_deg: Any = 0.0,
    yaw_deg: Any = 0.0,
    roll_deg: Any = 0.0,
    looking_deg: Sequence[float] = (0.0, 0.0, 0.0),
    noise_deg: float = 0.0,
    count: int | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Return ``(n, 3, 3)``: turns about the head's own axes of a head that looks somewhere."""
    count = count or max(np.size(each) for each in (pitch_deg, yaw_deg, roll_deg))
    turns = np.stack([np.broadcast_to(each, count) for each in (pitch_deg, yaw_deg, roll_deg)], 1)
    turns = turns + np.random.default_rng(seed).normal(0.0, noise_deg, (count, 3))
    looking = Rotation.from_euler("yxz", looking_deg, degrees=True)
    return (looking * Rotation.from_rotvec(turns, degrees=True)).as_matrix()


def pose_columns(tracks: Mapping[Any, tuple[np.ndarray, np.ndarray]], frames_s: np.ndarray):
    """Return the columns of CSV records.

    ``tracks`` gives times and rotations by identity; ``frames_s`` are the times of all frames. The
    head of identity k is 0.5 + 0.1 k metres away.
    """
    rows = []
    for frame_s in frames_s:
        found = [
            (face_id, rotation[row], (0.0, 0.0, 0.5 + 0.1 * face_id))
            for face_id, (time_s, rotation) in tracks.items()
            for row in np.flatnonzero(np.abs(time_s - frame_s) < 1e-9)
        ]
        for face_id, rotation, place in found or [(None, np.full((3, 3), None), (None,) * 3)]:
            row = {"source": "a.mp4", "time_s": frame_s, "face_id": face_id, "axes": "opencv"}
            row |= {f"r{i}{j}": rotation[i][j] for i in range(3) for j in range(3)}
            row |= dict(zip(("tx_m", "ty_m", "tz_m"), place, strict=True))
            rows.append(row)
    return {name: [row[name] for row in rows] for name in rows[0]}
