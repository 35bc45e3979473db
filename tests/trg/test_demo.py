"""`make demo`: the command line on the photograph that scikit-image ships."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from trg.inference.bundle import DEFAULT_BUNDLE, bundled_names
from trg.inference.detector import BUNDLED

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
MOUTH, MOUTH_CORNERS = (223.9, 147.0), ((203.6, 140.1), (244.0, 141.4))
NOSE_TIP = (225.4, 128.0)


def seen_turn_deg(face: dict) -> np.ndarray:
    """Return yaw and pitch from the line of sight: (0, 0) for a face that looks into the lens.

    A head above the image's middle must look down for that, which its rotation counts.
    """
    out_of_face = -np.array(face["rotation"])[:, 2]
    to_camera = -np.array(face["translation_m"])
    directions = np.stack([out_of_face, to_camera / np.linalg.norm(to_camera)])
    yaw_deg = np.degrees(np.arctan2(-directions[:, 0], -directions[:, 2]))
    pitch_deg = np.degrees(np.arcsin(directions[:, 1]))
    return np.array([yaw_deg[0] - yaw_deg[1], pitch_deg[0] - pitch_deg[1]])


def test_the_astronaut(tmp_path):
    pytest.importorskip("skimage")
    photo = str(files("skimage") / "data" / "astronaut.png")
    code = "from trg.app.cli import main; main()"
    arguments = ("predict", photo, "-o", str(tmp_path), "--draw")
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert "astronaut.jsonl: 1 face in 1 photo" in done.stderr
    assert Image.open(tmp_path / "astronaut.jpg").size == (512, 512)
    (face,) = json.loads((tmp_path / "astronaut.jsonl").read_text())["faces"]
    yaw_deg, pitch_deg = seen_turn_deg(face)
    assert abs(yaw_deg) < 25, "she looks into the camera"
    assert abs(pitch_deg) < 20
    assert abs(face["euler_deg"]["roll"]) < 20
    assert 0.5 < face["distance_m"] < 1.5
    points_px = np.array(face["landmarks68_px"])
    eyes_px = points_px[36:42].mean(0), points_px[42:48].mean(0)
    found = {
        "right eye": (eyes_px[0], RIGHT_EYE, 4),
        "left eye": (eyes_px[1], LEFT_EYE, 4),
        "nose": (points_px[30], NOSE_TIP, 6),
        "mouth": (points_px[48:60].mean(0), MOUTH, 6),
        "right corner": (points_px[48], MOUTH_CORNERS[0], 9),
        "left corner": (points_px[54], MOUTH_CORNERS[1], 9),
    }
    for name, (point_px, seen_px, tolerance_px) in found.items():
        assert np.linalg.norm(point_px - seen_px) < tolerance_px, name
    x0, y0, x1, y1 = face["box_xyxy"]
    assert x0 < 175 < 280 < x1
    assert y0 < 90 < 170 < y1
