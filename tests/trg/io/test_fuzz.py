"""Damaged files are read or refused with a built-in exception, without crashes or hangs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.support.clips import CAN_TURN, CODECS, write_clip
from tests.support.damage import read_all, survive
from trg.geometry.camera import Camera
from trg.io.records.frame_record import FrameFaces
from trg.io.records.writers import open_records

CAMERA = Camera(800.0, 800.0, 320.0, 240.0, 640, 480)


def picture_seeds(folder):
    """One small image per format and mode that Pillow writes."""
    folder.mkdir()
    y, x = np.mgrid[:40, :56]
    colours = np.stack([4 * x, 6 * y, (x * y) % 256], -1).astype(np.uint8)
    image = Image.fromarray(colours)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 26
    plain = ["jpg", "png", "webp", "gif", "bmp", "tiff", "ppm", "tga", "jp2", "avif", "ico", "pcx"]
    for kind in plain:
        if f".{kind}" in Image.registered_extensions():
            takes_exif = kind in ("jpg", "png", "webp", "tiff", "avif")
            image.save(folder / f"rgb.{kind}", **({"exif": exif} if takes_exif else {}))
    image.save(folder / "progressive.jpeg", progressive=True, exif=exif)
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("P").save(folder / "palette.png", transparency=3)
    image.convert("RGBA").save(folder / "alpha.webp", lossless=True)
    image.save(folder / "packed.tif", compression="tiff_lzw", exif=exif)
    image.save(folder / "jpeg.tif", compression="jpeg")
    Image.fromarray(colours[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    frames = [image.rotate(angle) for angle in (90, 180)]
    image.save(folder / "moving.gif", save_all=True, append_images=frames)
    return sorted(folder.iterdir())


def test_damaged_headers_of_heic_photos_are_refused(tmp_path):
    """Whether or not the decoder is installed."""
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    fates = survive("picture", [whole / "photo.heic"], tmp_path / "damaged", 40, 60.0)
    assert fates["read"] == 0


def video_seeds(folder):
    """One short clip per container, some turned, some with sound."""
    folder.mkdir()
    for number, suffix in enumerate(CODECS):
        write_clip(
            folder / f"clip{suffix}",
            frames=6,
            sound=CODECS[suffix][1] is not None and number % 2 == 1,
            rotation_deg=90.0 if CAN_TURN and suffix in (".mp4", ".mov") else 0.0,
        )
    return sorted(folder.iterdir())


def animation_seeds(folder):
    """Animations of every format that holds one."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    frames = [
        Image.fromarray(generator.integers(0, 255, (24, 32, 3), dtype=np.uint8)) for _ in range(4)
    ]
    for suffix in ("gif", "webp", "png", "tif"):
        frames[0].save(
            folder / f"clip.{suffix}", save_all=True, append_images=frames[1:], duration=40
        )
    return sorted(folder.iterdir())


def frame_seeds(folder):
    """Still images that stand between two others."""
    folder.mkdir()
    image = Image.fromarray(np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3))
    for suffix in ("jpg", "png", "bmp"):
        image.save(folder / f"frame.{suffix}")
    return sorted(folder.iterdir())


def box_seeds(folder):
    """Boxes in both formats."""
    folder.mkdir()
    (folder / "boxes.json").write_text('{"a.jpg": [[1, 2, 30.5, 40]], "b.jpg": []}')
    (folder / "boxes.csv").write_text("source,x0,y0,x1,y1\na.jpg,1,2,30.5,40\nb.jpg,,,,\n")
    return sorted(folder.iterdir())


def camera_seeds(folder):
    """Calibrations in several formats."""
    folder.mkdir()
    (folder / "opencv.yml").write_text(
        "%YAML:1.0\n---\nimage_width: 640\nimage_height: 480\ncamera_matrix: !!opencv-matrix\n"
        "   rows: 3\n   cols: 3\n   dt: d\n"
        "   data: [ 800., 0., 320., 0., 800., 240., 0., 0., 1. ]\n"
        "distortion_coefficients: !!opencv-matrix\n   rows: 5\n   cols: 1\n   dt: d\n"
        "   data: [ -0.1, 0.01, 0., 0., 0. ]\n"
    )
    (folder / "ros.yaml").write_text(
        "image_width: 640\nimage_height: 480\ncamera_name: left\ndistortion_model: plumb_bob\n"
        "camera_matrix: {rows: 3, cols: 3, data: [800, 0, 320, 0, 800, 240, 0, 0, 1]}\n"
        "distortion_coefficients: {rows: 1, cols: 5, data: [-0.1, 0.01, 0, 0, 0]}\n"
    )
    (folder / "own.json").write_text(json.dumps(CAMERA.to_dict()))
    (folder / "cameras.txt").write_text("# cameras\n1 OPENCV 640 480 800 800 320 240 0.1 0 0 0\n")
    return sorted(folder.iterdir())


def finished_seeds(folder):
    """A list of finished inputs, with a name that is not UTF-8."""
    folder.mkdir()
    with open_records("jsonl", folder / "faces.jsonl") as writer:
        for name in ("a.jpg", "b\udcff.jpg", "\u9854.jpg"):
            writer.write(FrameFaces(name, CAMERA, []))
            writer.finish(name)
        writer.claim("a.obj")
    return [folder / "faces.jsonl.finished"]


SEEDS = {
    "picture": picture_seeds,
    "video": video_seeds,
    "animation": animation_seeds,
    "numbered frames": frame_seeds,
    "boxes": box_seeds,
    "camera": camera_seeds,
    "finished": finished_seeds,
}
MANY = {
    "picture": 2000, "video": 500, "animation": 600, "numbered frames": 600, "boxes": 1800,
    "camera": 1500, "finished": 1000,
}  # fmt: skip
"""With those of bundles, checkpoints and stores, 10,000 files."""


@pytest.mark.parametrize("kind", SEEDS)
def test_the_undamaged_files_are_all_read(kind, tmp_path):
    seeds = SEEDS[kind](tmp_path / "whole")
    folder = tmp_path / "copies"
    folder.mkdir()
    for path in seeds:
        shutil.copy(path, folder / f"0-{path.name}")
    records = read_all(kind, tmp_path / "whole", folder, timeout_s=60.0)
    assert {record["outcome"] for record in records} == {"read"}


@pytest.mark.parametrize("kind", SEEDS)
def test_sixty_damaged_files_of_each_kind(kind, tmp_path):
    fates = survive(kind, SEEDS[kind](tmp_path / "whole"), tmp_path / "damaged", 60, 120.0)
    assert fates["refused"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEEDS)
def test_thousands_of_damaged_files(kind, tmp_path):
    seeds = SEEDS[kind](tmp_path / "whole")
    fates = survive(kind, seeds, tmp_path / "damaged", MANY[kind], 1200.0)
    assert fates["refused"] > MANY[kind] // 10
