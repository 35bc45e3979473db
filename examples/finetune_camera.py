"""Fine-tune a network for one camera, on synthetic faces as that camera sees them.

    trg camera calibrate clip.mp4 -o camera.json      # or any other calibration: docs/cameras.md
    python finetune_camera.py camera.json tuned/ --faces 20000 --steps 3000
    trg predict clip.mp4 --camera camera.json --model tuned/tuned.trg

Each step is a command of `trg`, printed before it runs and skipped where its result is there:
render three sets of people (to train on, to choose the best checkpoint by, and to compare on),
train on from the bundle, export, and compare both networks on people that neither has seen. It
needs the extra `train`, and the assets of docs/synthetic.md for realistic faces.

Expect little: a face is cut out as an ideal camera would see it, so that the network has met most
cameras already. What one camera narrows are size in pixels, distance and place in the picture, and
therefore the last per cents of the distance. Look at the interval before you use the new bundle,
and calibrate its confidence and error bars then (`trg calibrate`).
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

import trg
from trg.geometry.rotations import geodesic_angle_deg
from trg.inference.bundle import bundled, bundled_names
from trglab.datasets.sample_store import SampleStore

SEEDS = {"train": 101, "choose": 102, "compare": 103}  # 0 has trained the bundles


def run(result, *command):
    """Run a command of trg, unless its result is there."""
    if result.exists():
        print(f"{result} is there: trg {command[0]} is skipped")
        return
    print("$ trg", *command, flush=True)
    subprocess.run([sys.executable, "-m", "trg", *map(str, command)], check=True)


def errors(model, faces):
    """Return rotation (degrees), distance (%) and landmark (% of the box) errors, (n, 3)."""
    estimator = trg.HeadPoseEstimator(model)
    rows = []
    for index in range(len(faces)):
        true = faces[index]
        found = estimator(true.image, true.camera, boxes=[true.box_xyxy])
        if not found:  # the box is outside of the picture
            rows.append((180.0, 100.0, 100.0))
            continue
        side_px = true.box_xyxy[2] - true.box_xyxy[0]
        off_px = np.linalg.norm(found[0].landmarks68_px - true.landmarks68_px, axis=1)
        rows.append((
            geodesic_angle_deg(found[0].rotation, true.rotation),
            100.0 * abs(found[0].distance_m / np.linalg.norm(true.translation_m) - 1.0),
            100.0 * off_px.mean() / side_px,
        ))  # fmt: skip
    return np.array(rows)


def compare(before, after):
    """Print medians, and the 95 % interval of their difference over resampled faces."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(before), size=(2000, len(before)))
    for column, name in enumerate(("rotation, degrees", "distance, %", "landmarks, % of the box")):
        old, new = before[:, column], after[:, column]
        change = np.median(new[drawn], axis=1) - np.median(old[drawn], axis=1)
        low, high = np.percentile(change, (2.5, 97.5))
        print(f"{name:<24} {np.median(old):6.2f} -> {np.median(new):6.2f}  "
              f"(change {low:+.2f} to {high:+.2f})")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("camera", type=Path, help="calibration file, with the size of its images")
    parser.add_argument("out", type=Path)
    parser.add_argument("--start", default="trg_s", help="bundled model, or a .trg file")
    parser.add_argument("--recipe", default="small", help="the one that the bundle was trained by")
    parser.add_argument("--faces", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("overrides", nargs="*", help="fields of the recipe: NAME=VALUE")
    given = parser.parse_intermixed_args()
    start = bundled(given.start) if given.start in bundled_names() else Path(given.start)
    folders = {name: given.out / name for name in SEEDS}
    for name, seed in SEEDS.items():
        count = given.faces if name == "train" else max(given.faces // 20, 24)
        options = ("--count", count, "--seed", seed, "--workers", given.workers, "--resume")
        done = folders[name] / "manifest.json"
        run(done, "synth", folders[name], "--camera", given.camera, *options)
    packs = ("--option.pack", folders["train"], "--option.holdout_pack", folders["choose"])
    fields = (
        f"start_from={start}", f"steps={given.steps}", "optim.learning_rate=1e-4",
        f"optim.warmup_steps={given.steps // 10}", f"validate_every={max(given.steps // 10, 1)}",
    )  # fmt: skip
    best = given.out / "run" / "best.pt"
    run(best, "train", given.recipe, given.out / "run", *fields, *given.overrides, *packs)
    tuned = given.out / "tuned.trg"
    run(tuned, "export", best, tuned, "--name", "tuned", "--licence", "MIT")
    faces = SampleStore(folders["compare"])
    compare(errors(start, faces), errors(tuned, faces))


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    except subprocess.CalledProcessError as error:  # it has said why
        raise SystemExit(error.returncode) from None
