"""Mean head pose per participant, with pandas: a row for each video.

    trg predict recordings/ -o out --format csv
    python mean_pose.py out/*.csv -o participants.csv
    Rscript mean_pose.R participants.csv out/*.csv      # the same table without Python

A participant is a video, named by its file, or by its path where two files have the same name;
photos and lists of failed inputs (`*.failures.csv`) are left out. Of several faces in a frame the
nearest is taken. Angles cannot be averaged one by one: 179 and -179 degrees have the mean 180, and
yaw, pitch and roll depend on each other. The mean is the rotation with the least squared distance
to all (Moakher 2002, SIAM J. Matrix Anal. 24(1), the projected arithmetic mean), and its angles are
written. By default they are from the line of sight, so that it does not matter where in the picture
a person sits.

| column | |
|---|---|
| frames, missing_share | with a face; share of the video's frames without one |
| yaw_deg, pitch_deg, roll_deg | of the mean rotation |
| spread_deg | root mean square angle between a frame and the mean |
| blocks | stretches of 10 s with a face in half of their frames or more |
| yaw_ci_deg, pitch_ci_deg, roll_ci_deg | half width of the mean's 95 % confidence interval |
| distance_m | median |

Frames follow each other too closely to be independent, so that an interval from their number would
be far too narrow; it is computed from the means of the blocks (Student's t). It tells how much the
mean would change with another stretch of the same recording. The network's own error, which is
much the same in all frames (docs/conventions.md, error bars), is not in it.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation
from scipy.stats import t

MIN_CONFIDENCE = 0.5
BLOCK_S = 10.0


def nearest_faces(table):
    """Return a row per frame: the nearest face with enough confidence, else one without values."""
    table = table[table["time_s"].notna()].copy()  # photos and failed inputs have no time
    if table.empty:
        raise SystemExit("expected records of videos; there are none, or only of photos")
    stems = {each: Path(each).stem for each in table["source"].unique()}
    is_unique = len(set(stems.values())) == len(stems)
    table["participant"] = table["source"].map(stems) if is_unique else table["source"]
    table["seen"] = table["confidence"] >= MIN_CONFIDENCE
    order = table.sort_values(["seen", "distance_m"], ascending=[False, True])
    return order.drop_duplicates(["participant", "time_s"]).sort_values("time_s")


def mean_pose(frames, angle_columns):
    """Return the numbers of one participant."""
    seen = frames[frames["seen"]]
    result = {"frames": len(seen), "missing_share": 1.0 - len(seen) / len(frames)}
    if seen.empty:
        return pd.Series(result)
    rotations = Rotation.from_euler("yxz", seen[angle_columns].to_numpy(), degrees=True)
    mean = rotations.mean()
    angles_deg = mean.as_euler("yxz", degrees=True)
    result |= dict(zip(["yaw_deg", "pitch_deg", "roll_deg"], angles_deg, strict=True))
    away_rad = (mean.inv() * rotations).magnitude()
    result["spread_deg"] = np.degrees(np.sqrt(np.mean(away_rad**2)))
    block = (frames["time_s"] // BLOCK_S).astype(int)
    full = frames["seen"].groupby(block).mean()
    full = full.index[full >= 0.5]
    of_seen = block[frames["seen"]].to_numpy()
    moved_deg = np.array(
        [(mean.inv() * rotations[of_seen == each].mean()).as_rotvec(degrees=True) for each in full]
    )
    result["blocks"] = count = len(full)
    if count > 1:
        half_deg = t.ppf(0.975, count - 1) * moved_deg.std(axis=0, ddof=1) / np.sqrt(count)
        result |= dict(zip(["pitch_ci_deg", "yaw_ci_deg", "roll_ci_deg"], half_deg, strict=True))
    result["distance_m"] = seen["distance_m"].median()
    return pd.Series(result)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("records", nargs="+", help="CSV of trg predict")
    parser.add_argument("-o", "--out", default="participants.csv")
    parser.add_argument("--relative-to", choices=["sight", "camera"], default="sight")
    given = parser.parse_args()
    suffix = "_sight_deg" if given.relative_to == "sight" else "_deg"
    angle_columns = [f"{name}{suffix}" for name in ("yaw", "pitch", "roll")]
    wanted = ["source", "time_s", "confidence", "distance_m", *angle_columns]
    paths = [each for each in given.records if not each.endswith(".failures.csv")]
    tables = [pd.read_csv(path, usecols=wanted) for path in paths]
    frames = nearest_faces(pd.concat(tables) if tables else pd.DataFrame(columns=wanted))
    rows = {name: mean_pose(part, angle_columns) for name, part in frames.groupby("participant")}
    columns = ["frames", "missing_share", "yaw_deg", "pitch_deg", "roll_deg", "spread_deg"]
    columns += ["blocks", "yaw_ci_deg", "pitch_ci_deg", "roll_ci_deg", "distance_m"]
    result = pd.DataFrame(rows).T.reindex(columns=columns).rename_axis("participant")
    result.astype({"frames": "Int64", "blocks": "Int64"}).round(4).to_csv(given.out)
    print(result.round(2).to_string())


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
