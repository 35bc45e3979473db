"""Damaged files are read or refused with a built-in exception, without crashes or hangs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.support.clips import CAN_TURN, CODECS, write_clip
from tests.support.media_damage import LONGEST_READ_S, read_all, write_damaged


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


def survive(tmp_path, seeds, count: int, video: bool, timeout_s: float) -> dict[str, int]:
    """Read ``count`` damaged files and return how many were read and refused."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    write_damaged(folder, seeds, count, seed=count)
    records = read_all(folder, video, timeout_s)
    escaped = [record for record in records if str(record["outcome"]).startswith("escaped")]
    slow = [record for record in records if record["seconds"] > LONGEST_READ_S]
    assert not escaped
    assert not slow
    read = sum(record["outcome"] == "read" for record in records)
    return {"read": read, "refused": len(records) - read}


@pytest.mark.parametrize("seeds", [picture_seeds, video_seeds])
def test_the_undamaged_files_are_all_read(seeds, tmp_path):
    seeds(tmp_path / "whole")
    records = read_all(tmp_path / "whole", seeds is video_seeds, timeout_s=60.0)
    assert {record["outcome"] for record in records} == {"read"}


@pytest.mark.parametrize(("seeds", "video"), [(picture_seeds, False), (video_seeds, True)])
def test_a_hundred_damaged_files_of_each(seeds, video, tmp_path):
    fates = survive(tmp_path, seeds(tmp_path / "whole"), 100, video, timeout_s=120.0)
    assert fates["refused"] > 20


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "video"), [(picture_seeds, False), (video_seeds, True)])
def test_a_thousand_damaged_files_of_each(seeds, video, tmp_path):
    fates = survive(tmp_path, seeds(tmp_path / "whole"), 1000, video, timeout_s=1200.0)
    assert fates["refused"] > 200
