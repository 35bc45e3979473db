"""Distance from the eyes to the screen over a day, minute by minute, from a webcam or a clip.

    trg live 0 --camera camera.json --send - | python screen_distance.py - day.csv --mount up=18
    trg predict clip.mp4 | python screen_distance.py - day.csv --start 2026-11-29T09:00
    python screen_distance.py out/clip.jsonl day.csv --plot

Appends a row per minute to `day.csv`: time, frames with a face, median distance to the middle of
the screen, and the share of frames nearer than 50 cm. With `--plot` it also writes `day.png`
(needs matplotlib). Only one minute is kept in memory. Started again, it goes on after the last row
of the file; a row that a power cut tore is removed. Ctrl-C writes the minute that has begun.
"""

import argparse
import csv
import json
import os
import statistics
import sys
from datetime import datetime
from pathlib import Path

import numpy as np

from trg.live.reference import Mount

EYES_M = np.array([0.0, -0.034, -0.086])  # between the eyes of a mean head, in the head's frame
NEAR_CM = 50.0
COLUMNS = ["minute", "frames", "median_cm", "near_share"]


def eye_distance_cm(face, screen_from_camera):
    eyes_m = np.array(face["rotation"]) @ EYES_M + face["translation_m"]
    return 100.0 * float(np.linalg.norm((screen_from_camera @ [*eyes_m, 1.0])[:3]))


def distances(records, start_s, screen_from_camera, min_confidence=0.5):
    """Yield the minute (since 1970) of each frame, and the distance of its nearest face or None."""
    for record in records:
        time_s = record.get("captured_unix_s", start_s + record["time_s"])
        seen = [
            eye_distance_cm(face, screen_from_camera)
            for face in record["faces"]
            # trg live holds the pose of a person who is out of sight
            if face["confidence"] >= min_confidence and face.get("live", {}).get("is_seen", True)
        ]
        yield int(time_s // 60), min(seen, default=None)


def minutes(frames):
    """Yield a row per minute that has a face; the last one when the frames end."""
    current, found_cm = None, []
    try:
        for minute, distance_cm in frames:
            if minute != current:
                yield from row(current, found_cm)
                current, found_cm = minute, []
            if distance_cm is not None:
                found_cm.append(distance_cm)
    except KeyboardInterrupt:
        pass
    yield from row(current, found_cm)


def row(minute, found_cm):
    if found_cm:
        near = sum(each < NEAR_CM for each in found_cm) / len(found_cm)
        when = datetime.fromtimestamp(60 * minute).astimezone().isoformat(timespec="minutes")
        yield [when, len(found_cm), f"{statistics.median(found_cm):.1f}", f"{near:.3f}"]


def read_rows(path):
    """Return the rows of earlier runs, after removing a row without its end."""
    if not path.exists():
        path.write_text(",".join(COLUMNS) + "\n")
    text = path.read_bytes()
    if not text.endswith(b"\n"):
        os.truncate(path, text.rfind(b"\n") + 1)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def plot(rows, path):
    from matplotlib.dates import ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots()
    times = [datetime.fromisoformat(each["minute"]) for each in rows]
    median_cm = [float(each["median_cm"]) for each in rows]
    axes.plot(times, median_cm, ".", color="#3b6fb6", markersize=4)
    axes.axhspan(0, NEAR_CM, color="#c05a2e", alpha=0.12, lw=0)
    axes.set(ylabel="eyes to screen, cm", ylim=(0, max(100.0, 1.1 * max(median_cm))))
    near = sum(float(each["near_share"]) * int(each["frames"]) for each in rows)
    near /= sum(int(each["frames"]) for each in rows)
    axes.set_title(f"median of each minute; nearer than {NEAR_CM:.0f} cm: {near:.0%} of the time")
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("records", help="JSON Lines of trg live or trg predict; - standard input")
    parser.add_argument("table", type=Path, help="CSV to write or to continue")
    parser.add_argument("--mount", default="up=18", help="the camera's place, as in trg live")
    parser.add_argument("--start", default="2000-01-01T00:00", help="when a clip began")
    parser.add_argument("--plot", action="store_true")
    given = parser.parse_args()
    done = read_rows(given.table)
    done_until = datetime.fromisoformat(done[-1]["minute"]).timestamp() // 60 if done else -1
    start_s = datetime.fromisoformat(given.start).timestamp()
    mount = Mount.parse(given.mount)
    with sys.stdin if given.records == "-" else open(given.records) as lines:
        frames = distances(map(json.loads, lines), start_s, mount.screen_from_camera)
        with given.table.open("a", newline="") as file:
            for each in minutes(frame for frame in frames if frame[0] > done_until):
                csv.writer(file, lineterminator="\n").writerow(each)
                file.flush()
    if given.plot and (rows := read_rows(given.table)):
        plot(rows, given.table.with_suffix(".png"))


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
