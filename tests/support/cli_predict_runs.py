"""Runs of ``trg predict`` with a network and a detector that know the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.cli import Cli, Done
from tests.support.oracle_network import (
    Head,
    OracleDetector,
    OracleNetwork,
    grey_image,
    number_crops,
)
from trg.estimator import HeadPoseEstimator
from trg.geometry.camera import Camera

CAMERA = Camera.from_fov(60.0, 640, 480)
ALONE = Head((0.05, -0.03, 0.7), (20.0, -10.0, 5.0))
PAIR = [Head((-0.15, 0.0, 0.7)), Head((0.15, 0.02, 0.8), (-30.0, 0.0, 0.0))]
SCENES = [[ALONE], PAIR, []]
"""What images of the grey values 0, 1, 2 show."""

FOCAL = ("--focal", str(CAMERA.fx))


class PredictCli(Cli):
    """Calls the command line with a network and a detector that know the truth."""

    def __init__(self, capsys, monkeypatch, scenes=SCENES, camera=CAMERA):
        super().__init__(capsys, monkeypatch)
        number_crops(monkeypatch)
        self.network = OracleNetwork(scenes)
        self.detector = OracleDetector(scenes, camera)
        self.flip: list[bool] = []
        monkeypatch.setattr("trg.estimator.HeadPoseEstimator", self._estimator)
        # Worker processes would not see these substitutes.
        monkeypatch.setattr("trg.app.predict.predictor.usable_cores", lambda: 1)

    def _estimator(self, model=None, detector=None, threads=1, flip=False):
        self.flip.append(flip)
        return HeadPoseEstimator(self.network, detector or self.detector)

    def predict(self, *arguments) -> Done:
        return self("predict", *arguments)


@pytest.fixture
def cli(capsys, monkeypatch) -> PredictCli:
    return PredictCli(capsys, monkeypatch)


def save_photos(folder: Path, *scenes: int) -> list[Path]:
    """Write images that show these scenes, as 0.png, 1.png..."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.png" for number in range(len(scenes))]
    for path, scene in zip(paths, scenes, strict=True):
        Image.fromarray(grey_image(scene)).save(path)
    return paths


def assert_is(record_face: dict, head: Head) -> None:
    np.testing.assert_allclose(record_face["rotation"], head.rotation, atol=1e-6)
    np.testing.assert_allclose(record_face["translation_m"], head.translation_m, atol=1e-5)


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]
