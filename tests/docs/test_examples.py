"""The Python examples in the documentation run as written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trg.app.selftest import IMAGE_NAME, SELFTEST_FOLDER
from trg.inference.bundle import DEFAULT_BUNDLE, bundled_names
from trg.inference.detector import BUNDLED
from trg.io.video_writer import VideoWriter

pytestmark = pytest.mark.skipif(
    DEFAULT_BUNDLE not in bundled_names() or not BUNDLED.is_file(),
    reason="this copy of the package has no weights or no face detector",
)
ROOT = Path(__file__).parents[2]
NEEDS_MORE = ("stream(0", "cv2", "small.trg", "HeadPoseEstimator(model=None")
"""Blocks that need a webcam, OpenCV or a trained bundle, or that show a signature only."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the photo and the clip that the examples read."""
    monkeypatch.chdir(tmp_path)
    wide = Image.new("RGB", (640, 360), (90, 90, 90))
    wide.paste(Image.open(SELFTEST_FOLDER / IMAGE_NAME), (80, 0))
    wide.resize((1280, 720)).save("photo.jpg", quality=95)
    with VideoWriter("clip.mp4", 640, 360, 25.0) as clip:
        for index in range(3):
            clip.write(np.asarray(wide), index / 25)
    return tmp_path


COMING_FROM = ("mediapipe", "openface", "openseeface", "6drepnet", "insightface")
PAGES = (
    *(
        "README.md",
        "docs/python.md",
        "docs/cameras.md",
        "docs/photos.md",
        "docs/videos.md",
        "docs/exporting.md",
    ),
    *(f"docs/coming_from_{tool}.md" for tool in COMING_FROM),
)


@pytest.mark.parametrize("page", PAGES)
def test_examples_run(folder, page):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    chosen = [block for block in blocks if not any(each in block for each in NEEDS_MORE)]
    assert chosen
    names = {"paths": ["photo.jpg", "missing.jpg"]}
    for block in chosen:
        exec(block, names)
    if page == "docs/exporting.md":
        assert Path("trg_s.onnx").read_bytes() == names["bundle"].model
        return
    faces = names.get("faces") or names["frame"].faces
    assert len(faces) == 1
