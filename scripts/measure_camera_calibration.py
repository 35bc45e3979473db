"""Measure ``trg camera calibrate`` on rendered clips with known focal lengths.

    python scripts/measure_camera_calibration.py OUT.csv --clips 20 --views 30

Renders clips of other people at 0.4, 0.6 and 1.0 m with unknown focal lengths
(``trglab.synth.clips``), calibrates each, and prints the errors and how often the truth lies inside
the reported error bar. OUT.csv has a line for each clip; those that it has are not rendered again.
Needs the extra ``train`` and the assets of synthetic faces.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from trg.app.calibrate_camera import CALIBRATION_MODEL, View, calibrate_from_views
from trg.geometry.camera import Camera
from trg.inference.bundle import bundled
from trg.inference.pose_pipeline import FaceRequest, PosePipeline
from trg.inference.runtime import PoseRuntime
from trglab.datasets.sample import Sample
from trglab.synth.clips import CLIP_FRAMES, STOP_FRAME, SyntheticClips

SEED, DISTANCES_M = 4_000_003, (0.4, 0.6, 1.0)


def views_of(pipeline: PosePipeline, samples: list[Sample], told: Camera) -> list[View]:
    """Estimate the faces with the camera that the network is told."""
    requests = [FaceRequest(sample.image, told, sample.box_xyxy) for sample in samples]
    found = enumerate(pipeline.estimate_with_features(requests))
    return [
        View(index, each.face, each.heatmap68_px()) for index, each in found if each is not None
    ]


def main() -> None:
    """Render, calibrate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--views", type=int, default=30)
    options = parser.parse_args()
    pipeline = PosePipeline(PoseRuntime(bundled(CALIBRATION_MODEL), threads=1))
    rows = np.loadtxt(options.out, ndmin=2).tolist() if options.out.exists() else []
    done = {(row[0], int(row[1])) for row in rows}
    clips = {each: SyntheticClips(SEED, distance_m=(each, each)) for each in DISTANCES_M}
    frames = np.linspace(0, STOP_FRAME, options.views).astype(int)
    for number, distance_m in np.ndindex(options.clips, len(DISTANCES_M)):
        distance_m = DISTANCES_M[distance_m]
        if (distance_m, number) in done:
            continue
        samples = [clips[distance_m].sample(CLIP_FRAMES * number + frame) for frame in frames]
        truth = samples[0].camera
        assumed = Camera.assumed(truth.width, truth.height)
        found = calibrate_from_views(views_of(pipeline, samples, assumed))
        rows.append([distance_m, number, np.log(found.camera.fx / truth.fx), found.log_std])
        np.savetxt(options.out, rows, "%.5g")
    table = np.array(rows)
    for distance_m in (*DISTANCES_M, "all"):
        kept = table if distance_m == "all" else table[table[:, 0] == distance_m]
        error, std = kept[:, 2:].T
        inside = [f"{np.mean(np.abs(error) < times * std):.0%}" for times in (1, 2)]
        print(
            f"{distance_m} m, {len(kept)} clips: median error "
            f"{np.median(np.abs(np.expm1(error))):.1%}, inside one and two standard deviations "
            f"{inside[0]} and {inside[1]}, median standard deviation {np.median(std):.1%}"
        )


if __name__ == "__main__":
    main()
