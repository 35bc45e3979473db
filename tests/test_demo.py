"""The first thing that a user tries, on the photograph that scikit-image ships."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from trg.detector import BUNDLED
from trg.weights import DEFAULT_BUNDLE, bundled_names

pytestmark = [
    pytest.mark.skipif(
        DEFAULT_BUNDLE not in bundled_names(), reason="this copy of the package has no weights"
    ),
    pytest.mark.skipif(
        not BUNDLED.is_file(), reason="this copy of the package has no face detector"
    ),
]

# Where a person sees them in the photograph, px.
RIGHT_EYE, LEFT_EYE = (202.7, 100.8), (247.6, 103.0)
MOUTH_CORNERS = ((203.6, 140.1), (244.0, 141.4))
NOSE_TIP = (225.4, 128.0)


def test_the_astronaut(tmp_path):
    pytest.importorskip("skimage")
    photo = str(files("skimage") / "data" / "astronaut.png")
    code = "from trg.cli import main; main()"
    arguments = ("predict", photo, "-o", str(tmp_path), "--draw")
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert "astronaut.jsonl: 1 face in 1 photo" in done.stderr
    assert Image.open(tmp_path / "astronaut.jpg").size == (512, 512)
    (face,) = json.loads((tmp_path / "astronaut.jsonl").read_text())["faces"]
    assert abs(face["euler_deg"]["yaw"]) < 25
    assert abs(face["euler_deg"]["pitch"]) < 20
    assert abs(face["euler_deg"]["roll"]) < 20
    assert 0.5 < face["distance_m"] < 1.5
    points_px = np.array(face["landmarks68_px"])
    found = (points_px[36:42].mean(0), points_px[42:48].mean(0), points_px[48], points_px[54])
    for point_px, seen_px in zip(found, (RIGHT_EYE, LEFT_EYE, *MOUTH_CORNERS), strict=True):
        assert np.linalg.norm(point_px - seen_px) < 6
    assert np.linalg.norm(points_px[30] - NOSE_TIP) < 8
    x0, y0, x1, y1 = face["box_xyxy"]
    assert x0 < 175 < 280 < x1
    assert y0 < 90 < 170 < y1
