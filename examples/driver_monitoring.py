"""Driver monitoring: an event whenever the driver looks away from the road for more than 2 s.

    python driver_monitoring.py cabin.mp4 --camera camera.yaml --mount x=0.8,z=1.1,yaw=180,pitch=-5
    python driver_monitoring.py 0 --camera camera.yaml --mount ... > events.jsonl

Writes a JSON object per event to standard output when it has ended, and a line to standard error
as soon as it has lasted 2 s; at the end, where the head pointed: a driver who mostly watches the
road has medians near 0, or else `--mount` is wrong. The camera's file is any that docs/cameras.md
names. `--mount` is the camera's place and direction in the car's frame (x forward, y left, z up;
metres, degrees): `yaw=180` looks back along the car, `yaw=150` does so from the right; `pitch=-5`
looks 5 degrees up.

Heads are judged in the car's frame, so that the limits do not depend on the camera's place. A head
counts as turned away only if its angle exceeds a limit by its own standard deviation. Without a
face, or with a low confidence, nothing is known for half a second; after that the driver counts as
away, since one who turns far aside or slumps is not found; `no_face_s` tells how long that was.
Head direction is not gaze. This is a starting point, not a safety system.
"""

import argparse
import json
import sys
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

import trg
from trg.geometry.rotations import rotation_from_rotvec

LIMITS_DEG = {"yaw": 30.0, "pitch": 20.0}  # from straight ahead; mirrors are at about 30
LONGEST_S = 2.0
BRIDGED_S = 0.5
MIN_CONFIDENCE = 0.6


def car_from_camera(mount):
    """Return the camera's pose (4, 4) from `x=0.8,z=1.1,yaw=180`: ROS's axes, forward-left-up."""
    given = dict.fromkeys(("x", "y", "z", "yaw", "pitch", "roll"), 0.0)
    for part in mount.split(","):
        name, _, value = part.partition("=")
        try:
            if name not in given:
                raise ValueError
            given[name] = float(value)
        except ValueError:
            raise ValueError(
                f"--mount: expected NAME=NUMBER,... with names of {', '.join(given)} "
                f"(metres, degrees), got {part!r}"
            ) from None
    turns_rad = np.radians([given["yaw"], given["pitch"], given["roll"]])
    yaw, pitch, roll = (
        rotation_from_rotvec(angle * axis)
        for angle, axis in zip(turns_rad, np.eye(3)[[2, 1, 0]], strict=True)
    )
    pose = np.eye(4)
    pose[:3, :3] = yaw @ pitch @ roll
    pose[:3, 3] = given["x"], given["y"], given["z"]
    return pose


def road_angles_deg(face, car_from_camera):
    """Return yaw (to the left) and pitch (down) of the head from straight ahead, and their std."""
    car_from_head = car_from_camera @ face.to_frame("ros")
    forward, left, up = car_from_head[:3, 0]  # the head's x axis points out of the face
    angles = {"yaw": np.arctan2(left, forward), "pitch": -np.arcsin(np.clip(up, -1.0, 1.0))}
    pitch_std, yaw_std, _ = (0.0,) * 3 if face.rotation_std_deg is None else face.rotation_std_deg
    return {name: float(np.degrees(each)) for name, each in angles.items()}, {
        "yaw": float(yaw_std), "pitch": float(pitch_std),
    }  # fmt: skip


@dataclass
class Monitor:
    """Joins the states of frames (`road`, `away`, None where nothing is known) to events."""

    start_s: float | None = None  # when the head left the road
    seen_s: float = 0.0  # when a face was last seen
    last_s: float = 0.0
    no_face_s: float = 0.0
    largest_deg: float = 0.0

    def update(self, time_s, state, angle_deg):
        """Return the event that ends with this frame, or None."""
        passed_s, self.last_s = time_s - self.last_s, time_s
        if state == "road":
            ended = self.event()
            self.start_s, self.no_face_s, self.largest_deg = None, 0.0, 0.0
            self.seen_s = time_s
            return ended
        if state is None:
            self.no_face_s += passed_s
            if self.start_s is None and time_s - self.seen_s > BRIDGED_S:
                self.start_s = self.seen_s
        else:
            self.seen_s = time_s
            self.start_s = time_s if self.start_s is None else self.start_s
            self.largest_deg = max(self.largest_deg, angle_deg)
        return None

    def event(self):
        """Return what goes on until now, if it has lasted long enough to be an event."""
        if self.start_s is None or self.last_s - self.start_s <= LONGEST_S:
            return None
        return {
            "start_s": round(self.start_s, 3),
            "end_s": round(self.last_s, 3),
            "no_face_s": round(self.no_face_s, 3),
            "largest_angle_deg": round(self.largest_deg, 1),
        }


def state_of(faces, car_from_camera):
    """Return the state of a frame, and the driver's two angles, if there is one."""
    faces = [face for face in faces if face.confidence >= MIN_CONFIDENCE]
    if not faces:
        return None, None
    driver = min(faces, key=lambda face: face.distance_m)
    angle_deg, std_deg = road_angles_deg(driver, car_from_camera)
    is_away = any(abs(angle_deg[each]) - std_deg[each] > LIMITS_DEG[each] for each in LIMITS_DEG)
    return "away" if is_away else "road", angle_deg


def summary(states, angles_deg):
    """Return how often the head was where, and where it pointed at the median, in words."""
    count = sum(states.values())
    shares = ", ".join(
        f"{name} {states[state] / max(count, 1):.0%}"
        for name, state in (("road", "road"), ("away", "away"), ("no face", None))
    )
    medians = ", ".join(
        f"{name} {np.median([each[name] for each in angles_deg]):+.0f}" for name in LIMITS_DEG
    ) if angles_deg else "unknown"  # fmt: skip
    return f"{count} frames: {shares}; median angles in degrees: {medians}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", help="a video, a stream's URL or the number of a webcam")
    parser.add_argument("--camera", required=True, help="its calibration file")
    parser.add_argument("--mount", required=True, help="x=0.8,z=1.1,yaw=180,pitch=-5")
    parser.add_argument("--model", default="trg_s")
    given = parser.parse_args()
    mounted, camera = car_from_camera(given.mount), trg.read_calibration(given.camera)
    estimator = trg.HeadPoseEstimator(given.model)
    source = int(given.source) if given.source.isdigit() else given.source
    monitor, is_told = Monitor(), False
    states, angles_deg = Counter(), deque(maxlen=100_000)  # nearly an hour
    with suppress(KeyboardInterrupt):  # the regular end of a webcam
        for frame in estimator.stream(source, camera):
            state, angle_deg = state_of(frame.faces, mounted)
            states[state] += 1
            if angle_deg is not None:
                angles_deg.append(angle_deg)
            largest_deg = 0.0 if angle_deg is None else max(map(abs, angle_deg.values()))
            if event := monitor.update(frame.time_s, state, largest_deg):
                print(json.dumps(event), flush=True)
            is_away = monitor.event() is not None
            if is_away and not is_told:
                print(f"{frame.time_s:.1f} s: away for {LONGEST_S:g} s", file=sys.stderr)
            is_told = is_away
    if event := monitor.event():  # it lasted to the end of the video
        print(json.dumps(event), flush=True)
    print(summary(states, angles_deg), file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
