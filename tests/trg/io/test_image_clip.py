"""Numbered image files and animated images as clips."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from trg.io.image_clip import ImageClip, open_clip
from trg.io.inputs import (
    AnimatedImage,
    NumberedFrames,
    PhotoInput,
    VideoInput,
    find_inputs,
    frame_files,
)
from trg.io.records.journal_lines import InputFile

COLOURS = ("red", "lime", "blue", "white")


def write_frames(folder, numbers, name="frame_{:04d}.png"):
    for number in numbers:
        Image.new("RGB", (8, 6), COLOURS[number % 4]).save(folder / name.format(number))
    return str(folder / "frame_%04d.png")


def test_numbered_files_are_one_clip_with_times(tmp_path):
    pattern = write_frames(tmp_path, [3, 4, 7])
    write_frames(tmp_path, [5], "frame_{:d}.png")  # not of this pattern
    (item,) = find_inputs([pattern], fps=20.0)
    assert item == VideoInput(pattern, NumberedFrames(pattern, 20.0))
    with open_clip(item.address) as clip:
        assert (clip.width, clip.height, clip.fps, clip.frame_count) == (8, 6, 20.0, 3)
        frames = list(clip)
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.time_s for frame in frames] == pytest.approx([0.0, 0.05, 0.2])  # a gap is kept
    assert frames[1].pixels[0, 0].tolist() == [255, 0, 0]
    with pytest.raises(ValueError, match="--fps"):
        find_inputs([pattern])
    with pytest.raises(ValueError, match="above 0"):
        find_inputs([pattern], fps=0.0)
    with pytest.raises(FileNotFoundError):
        find_inputs([str(tmp_path / "other_%d.png")], fps=20.0)
    with pytest.raises(ValueError, match=r"fps: expected numbered files .* 20 frames a second"):
        find_inputs([str(tmp_path / "frame_0003.png")], fps=20.0)


def test_a_changed_frame_changes_the_state_of_its_clip(tmp_path):
    (item,) = find_inputs([write_frames(tmp_path, [3, 4])], fps=20.0)
    before = InputFile.of(item.path, frame_files(item))
    assert before == InputFile.of(item.path, frame_files(item))
    with open(tmp_path / "frame_0004.png", "ab") as file:
        file.write(b"more")
    changed = InputFile.of(item.path, frame_files(item))
    assert None not in (before, changed)
    assert before != changed


def test_damaged_frames_are_skipped_and_reported_at_the_end(tmp_path):
    pattern = write_frames(tmp_path, range(4))
    (tmp_path / "frame_0001.png").write_bytes(b"damaged")
    clip = ImageClip(NumberedFrames(pattern, 10.0))
    frames = [next(clip) for _ in range(3)]
    assert [frame.time_s for frame in frames] == pytest.approx([0.0, 0.2, 0.3])
    with pytest.raises(ValueError, match=r"1 of 4 frames could not be read.*frame_0001\.png"):
        next(clip)


def test_frames_that_change_size_are_refused(tmp_path):
    pattern = write_frames(tmp_path, range(2))
    Image.new("RGB", (9, 6)).save(tmp_path / "frame_0002.png")
    with pytest.raises(ValueError, match="8x6, got 9x6 as frame 2"):
        list(ImageClip(NumberedFrames(pattern, 10.0)))


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_animated_images_are_clips_if_wanted(kind, tmp_path):
    path = str(tmp_path / f"moving.{kind}")
    frames = [Image.new("RGB", (8, 6), colour) for colour in COLOURS]
    options = {"lossless": True} if kind == "webp" else {}
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=[40, 80, 40, 0], **options
    )
    frames[0].save(tmp_path / f"still.{kind}")
    items = find_inputs([path, str(tmp_path / f"still.{kind}")], animated=True)
    assert items[0] == VideoInput(path, AnimatedImage(path))
    assert isinstance(items[1], PhotoInput)
    assert find_inputs([path]) == [PhotoInput(path, path)]
    with open_clip(items[0].address) as clip:
        read = list(clip)
    assert [frame.time_s for frame in read] == pytest.approx([0.0, 0.04, 0.12, 0.16])
    for frame, expected in zip(read, frames, strict=True):
        np.testing.assert_array_equal(frame.pixels, np.asarray(expected))
