"""Attention towards a screen: share of time in which the head points at each part of it.

    trg predict clip.mp4 --camera camera.json | python attention.py - --mount up=18,tilt=10
    python attention.py out/clip.jsonl --screen-cm 60x34 --grid 3x2 -o attention.csv

A line from between the eyes along the face's forward axis meets the plane of the screen.
Written are a row per part of the screen ("left" as the person sees it), and rows for `elsewhere`
and `no face`. **The direction of the head is not gaze**: eyes turn up to 15 degrees or so without
the head, so that a share says where the face points, not what is read.

The error bars of the poses become the columns `low` and `high`: two thirds of the true shares lie
between them. An error of the network is much the same in all frames of a person, and does not
average out; therefore each of 300 made-up errors turns the head in all frames alike.
"""

import argparse
import csv
import json
import sys

import numpy as np

from trg.geometry.rotations import rotation_from_rotvec
from trg.live.reference import Mount

EYES_M = np.array([0.0, -0.034, -0.086])  # between the eyes of a mean head, in the head's frame
FORWARD = np.array([0.0, 0.0, -1.0])
MAX_GAP_S = 0.5  # frames farther apart are not one stretch of time
DRAWS = np.random.default_rng(0).normal(size=(300, 2))  # errors of pitch and yaw, in their std
DRAWS[0] = 0.0  # the pose as estimated


def parts_met(face, screen_from_camera, size_m, grid):
    """Return the number of the screen's part that each draw meets, row by row; else one more."""
    rotation = screen_from_camera[:3, :3] @ face["rotation"]
    place_m = screen_from_camera[:3, :3] @ face["translation_m"] + screen_from_camera[:3, 3]
    std_deg = face["rotation_std_deg"] or (0.0, 0.0, 0.0)  # weights without error bars
    turns = np.column_stack([DRAWS * np.radians(std_deg[:2]), np.zeros(len(DRAWS))])
    directions = rotation_from_rotvec(turns) @ FORWARD @ rotation.T
    eyes_m = rotation @ EYES_M + place_m
    with np.errstate(divide="ignore", invalid="ignore"):
        hits_m = eyes_m - directions * (eyes_m[2] / directions[:, 2])[:, None]
        # The screen's x axis points to the person's left; parts are counted from there.
        cells = np.floor((0.5 + hits_m[:, :2] / size_m * (-1.0, 1.0)) * grid)
    on_screen = (directions[:, 2] < 0.0) & (cells >= 0).all(1) & (cells < grid).all(1)
    return np.where(on_screen, cells[:, 1] * grid[0] + cells[:, 0], grid[0] * grid[1]).astype(int)


def shares(records, mount, size_m, grid, face_id=None, min_confidence=0.5):
    """Return the share of time of each part, of elsewhere and of no face, (parts + 2, draws)."""
    count = grid[0] * grid[1]
    seconds = np.zeros((count + 2, len(DRAWS)))
    draws, last_s, is_assumed = np.arange(len(DRAWS)), None, False
    for record in records:
        passed_s = min(record["time_s"] - last_s, MAX_GAP_S) if last_s is not None else 0.0
        last_s = record["time_s"]
        is_assumed |= record["camera"]["source"] == "assumed"
        faces = [each for each in record["faces"] if each["confidence"] >= min_confidence]
        faces = [each for each in faces if face_id is None or each["id"] == face_id]
        if not faces:
            seconds[count + 1] += passed_s
            continue
        nearest = min(faces, key=lambda each: each["distance_m"])
        seconds[parts_met(nearest, mount.screen_from_camera, size_m, grid), draws] += passed_s
    if is_assumed:
        print("the camera is assumed: distance and places on the screen may be far off; "
              "see docs/cameras.md", file=sys.stderr)  # fmt: skip
    if not seconds.sum():
        raise SystemExit("expected records of a video, with times; got less than two frames")
    return seconds / seconds.sum(0)


def numbers(text, kind):
    first, _, second = text.partition("x")
    try:
        return kind(first), kind(second)
    except ValueError:
        raise ValueError(f"expected two numbers such as 60x34, got {text!r}") from None


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("records", help="JSON Lines of trg predict or trg live; - standard input")
    parser.add_argument("--screen-cm", default="60x34", help="width x height")
    parser.add_argument("--mount", default="up=18", help="the camera's place, as in trg live")
    parser.add_argument("--grid", default="3x3", help="columns x rows")
    parser.add_argument("--face", type=int, help="id of the person; else the nearest face")
    parser.add_argument("-o", "--out", default="attention.csv")
    given = parser.parse_args()
    size_m = np.array(numbers(given.screen_cm, float)) / 100.0
    columns, rows = grid = numbers(given.grid, int)
    with sys.stdin if given.records == "-" else open(given.records) as lines:
        found = shares(map(json.loads, lines), Mount.parse(given.mount), size_m, grid, given.face)
    names = [f"row {y + 1}, column {x + 1}" for y in range(rows) for x in range(columns)]
    with open(given.out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["part", "share", "low", "high"])
        for name, values in zip([*names, "elsewhere", "no face"], found, strict=True):
            low, high = np.percentile(values, (16, 84))
            writer.writerow([name, *(f"{each:.4f}" for each in (values[0], low, high))])
            print(f"{name:<17} {values[0]:6.1%}  ({low:.1%} to {high:.1%})")
    print(f"written: {given.out}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
