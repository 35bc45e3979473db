"""Head movement of a lecture: how lively it is, and where the lecturer looks, minute by minute.

    trg predict lecture.mp4 -o out --format csv
    python lecture_movement.py out/lecture.csv -o lecture

Writes `lecture/movement.csv` and `lecture/gestures.csv` as `trg movement` does (docs/movement.md),
`lecture/minutes.csv` with a row per minute, and `lecture/minutes.png` (needs matplotlib). In a long
recording one person becomes several identities, because trackers lose people who turn to the
board; those that are seen for at least 5 seconds are taken together.
"""

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from trg.app.movement_files import write_movement
from trg.geometry.rotations import rotation_to_euler
from trg.io.records.readers import read_poses
from trg.movement.poses import PoseTable
from trg.movement.summary import measure_movement

MIN_SEEN_S = 5.0
YAW_EDGES_DEG = np.arange(-90.0, 91.0, 5.0)


def rows_of(poses, rows):
    """Return a part of a table of poses."""
    return PoseTable(
        tuple(np.array(poses.source)[rows]), poses.time_s[rows], poses.face_id[rows],
        poses.rotation[rows], poses.translation_m[rows],
    )  # fmt: skip


def measure_minutes(poses, people):
    """Return a row of numbers per minute, and the shares of the yaw in it, (bins, minutes)."""
    known = [person.face_id for person in people if person.end_s - person.start_s >= MIN_SEEN_S]
    minute = (poses.time_s // 60).astype(int)
    gestures = [each for person in people if person.face_id in known for each in person.gestures]
    rows, yaw_shares = [], []
    for number in range(minute.max() + 1):
        in_minute = minute == number
        seen = in_minute & np.isin(poses.face_id, known)
        frames = len(np.unique(poses.time_s[in_minute]))
        yaw_deg = np.array([rotation_to_euler(each)[0] for each in poses.rotation[seen]])
        counts, _ = np.histogram(yaw_deg, YAW_EDGES_DEG)
        yaw_shares.append(counts / max(frames, 1))
        parts = measure_movement(rows_of(poses, seen)) if seen.any() else []
        measured = [part for part in parts if np.isfinite(part.yaw_deg.mean_speed)]
        weights = [part.frames for part in measured]
        speeds = [part.yaw_deg.mean_speed for part in measured]
        low, high = np.percentile(yaw_deg, (5, 95)) if len(yaw_deg) else (np.nan, np.nan)
        begun = [each.kind for each in gestures if each.start_s // 60 == number]
        rows.append({
            "minute": number,
            "seen_share": len(np.unique(poses.time_s[seen])) / max(frames, 1),
            "yaw_speed_deg_per_s": np.average(speeds, weights=weights) if speeds else np.nan,
            "yaw_low_deg": low, "yaw_high_deg": high,
            **{f"{kind}s": begun.count(kind) for kind in ("nod", "shake", "tilt")},
        })  # fmt: skip
    return rows, np.transpose(yaw_shares)


def plot(rows, yaw_shares, path, title):
    figure = Figure(figsize=(10, 6), layout="constrained")
    where, speed, signs = figure.subplots(3, 1, sharex=True, height_ratios=[2, 1, 1])
    minute = np.arange(len(rows)) + 0.5
    edges = np.arange(len(rows) + 1)
    shown = where.pcolormesh(edges, YAW_EDGES_DEG, 100.0 * yaw_shares, cmap="Blues")
    figure.colorbar(shown, ax=where, label="% of the minute", pad=0.01)
    where.set(ylabel="yaw, degrees\n(left of the picture: up)", title=title)
    where.set_yticks(np.arange(-90, 91, 45))
    speed.bar(minute, [each["yaw_speed_deg_per_s"] for each in rows], color="#3b6fb6")
    speed.set_ylabel("speed of\nyaw, deg/s")
    base = np.zeros(len(rows))
    for kind, color in {"nods": "#c05a2e", "shakes": "#3b6fb6", "tilts": "#3f9b57"}.items():
        counts = np.array([each[kind] for each in rows])
        signs.bar(minute, counts, bottom=base, color=color, label=kind)
        base = base + counts
    signs.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False)
    signs.set_ylim(0, max(base.max() * 1.1, 1))
    signs.set(ylabel="gestures\nper minute", xlabel="minute")
    signs.yaxis.get_major_locator().set_params(integer=True)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("records", type=Path, help="results of trg predict for one video")
    parser.add_argument("-o", "--out", type=Path, default=Path("lecture"))
    given = parser.parse_args()
    poses = read_poses(given.records)
    poses = replace(poses, time_s=poses.time_s - poses.time_s.min())
    people = measure_movement(poses)
    write_movement(given.out, [poses], people, plots=False, overwrite=True)
    rows, yaw_shares = measure_minutes(poses, people)
    with (given.out / "minutes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: "" if np.isnan(v) else f"{v:.4g}" for k, v in row.items()})
    plot(rows, yaw_shares, given.out / "minutes.png", poses.source[0])


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
