"""Writing videos: frames, times and sound round-trip; files are complete or absent."""

from __future__ import annotations

import os
from itertools import pairwise

import av
import numpy as np
import pytest

from tests.support.clips import frame_pixels, sound_packets, write_clip
from tests.support.full_disk import full_after
from trg.io.video import VideoReader
from trg.io.video_writer import VideoWriter

TIMES_S = [0.0, 0.04, 0.1, 0.5, 0.51, 1.25]


def smooth(width: int, height: int, index: int = 0) -> np.ndarray:
    """An image of soft colours, which yuv420p keeps."""
    y, x = np.mgrid[:height, :width]
    channels = [
        40 + 150 * x / max(width, 64),
        60 + 120 * y / max(height, 64),
        90 + 10 * (index % 8) + 0 * x,
    ]
    return np.stack(channels, -1).round().astype(np.uint8)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_frames_and_times_round_trip(suffix, tmp_path):
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, 96, 64, 25.0) as writer:
        for index, time_s in enumerate(TIMES_S):
            writer.write(smooth(96, 64, index), time_s)
        assert not path.exists()
    assert os.listdir(tmp_path) == [path.name]
    with VideoReader(path) as reader:
        frames = list(reader)
    assert [frame.time_s for frame in frames] == pytest.approx(TIMES_S, abs=1e-3)
    for index, frame in enumerate(frames):
        off = np.abs(frame.pixels - smooth(96, 64, index).astype(float))
        assert (off.mean() < 3, off.max() < 12) == (True, True)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, 16 to 235


def test_times_closer_than_a_tick_are_moved_apart(tmp_path):
    with VideoWriter(tmp_path / "out.mp4", 96, 64, 25.0) as writer:
        for index, time_s in enumerate((0.0, 1e-7, 2e-7, 0.04)):
            writer.write(smooth(96, 64, index), time_s)
    with VideoReader(tmp_path / "out.mp4") as reader:
        times_s = [frame.time_s for frame in reader]
    assert times_s == pytest.approx([0.0, 1 / 90000, 2 / 90000, 0.04], abs=1e-6)


@pytest.mark.parametrize(("width", "height"), [(97, 63), (96, 63), (97, 64), (1, 1), (3, 700)])
def test_odd_sizes_are_padded(width, height, tmp_path):
    with VideoWriter(tmp_path / "odd.mp4", width, height, 30.0) as writer:
        for index in range(3):
            writer.write(smooth(width, height, index), index / 30)
    with VideoReader(tmp_path / "odd.mp4") as reader:
        pixels = next(reader).pixels
    assert pixels.shape == (height + height % 2, width + width % 2, 3)
    np.testing.assert_allclose(pixels[:height, :width], smooth(width, height), atol=16)


def overlay_of(source, target) -> None:
    with VideoReader(source) as reader:
        size = (reader.width, reader.height, reader.fps)
        with VideoWriter(target, *size, sound_from=reader.path) as writer:
            for frame in reader:
                writer.write(frame.pixels, frame.time_s)


@pytest.mark.parametrize(
    ("original", "copy"),
    [(".mp4", ".mp4"), (".mp4", ".mkv"), (".mkv", ".mkv"), (".mkv", ".mp4"), (".ts", ".mp4")]
    + [(".avi", ".mkv"), (".mov", ".mkv"), (".webm", ".mp4")],
)
def test_sound_is_copied_without_re_encoding(original, copy, tmp_path):
    source = write_clip(tmp_path / f"in{original}", frames=40, sound=True)
    overlay_of(source, tmp_path / f"out{copy}")
    before, after = sound_packets(source), sound_packets(tmp_path / f"out{copy}")
    if original == ".ts":  # its sound has headers that MP4 keeps elsewhere
        assert len(after) == len(before)
    else:
        assert [data for _, data in after] == [data for _, data in before]
    np.testing.assert_allclose([t for t, _ in after], [t for t, _ in before], atol=0.03)


def test_sound_is_interleaved_with_the_frames(tmp_path):
    source = write_clip(tmp_path / "in.mkv", frames=100, sound=True)
    overlay_of(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        kinds = [packet.stream.type for packet in container.demux() if packet.size]
    changes = sum(first != second for first, second in pairwise(kinds))
    assert changes > 20


def test_videos_without_sound_stay_without_sound(tmp_path):
    source = write_clip(tmp_path / "in.mp4")
    overlay_of(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


def test_an_exception_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    writer = VideoWriter(path, 64, 48, 25.0)
    writer.write(frame_pixels(0, 64, 48), 0.0)
    with pytest.raises(KeyboardInterrupt), writer:
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.mp4"]
    with pytest.raises(ValueError, match="closed"):
        writer.write(frame_pixels(0, 64, 48), 1.0)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("free_share", [0.0, 0.3, 0.98])
def test_a_full_disk_leaves_no_video(suffix, free_share, tmp_path):
    def write(path):
        noise = np.random.default_rng(0)
        with VideoWriter(path, 320, 240, 25.0) as writer:
            for index in range(8):
                pixels = noise.integers(0, 256, (240, 320, 3), np.uint8)
                writer.write(pixels, index / 25)

    write(tmp_path / f"whole{suffix}")
    size = (tmp_path / f"whole{suffix}").stat().st_size
    with full_after(int(free_share * size)), pytest.raises(OSError):  # noqa: PT011 (FFmpeg's words)
        write(tmp_path / f"cut{suffix}")
    assert os.listdir(tmp_path) == [f"whole{suffix}"]


def test_without_a_frame_there_is_no_file(tmp_path):
    with pytest.raises(ValueError, match="at least one frame"):
        VideoWriter(tmp_path / "out.mp4", 64, 48, 25.0).close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("pixels", "time_s", "message"),
    [
        (frame_pixels(0, 64, 50), 1.0, "64x48 px, got 64x50"),
        (frame_pixels(0, 64, 48).astype(float), 1.0, "uint8"),
        (frame_pixels(0, 64, 48), 0.5, "times that rise"),
        (frame_pixels(0, 64, 48), 1e15, "times that rise"),
        (frame_pixels(0, 64, 48), float("nan"), "times that rise"),
    ],
)
def test_unsuitable_frames_are_refused(pixels, time_s, message, tmp_path):
    with VideoWriter(tmp_path / "out.mp4", 64, 48, 25.0) as writer:
        writer.write(frame_pixels(0, 64, 48), 0.5)
        with pytest.raises(ValueError, match=message):
            writer.write(pixels, time_s)
        writer.write(frame_pixels(1, 64, 48), 2.0)
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert len(list(reader)) == 2


@pytest.mark.parametrize(
    ("name", "size", "fps", "sound", "error", "message"),
    [
        ("out.webm", (64, 48), 25.0, None, ValueError, r"ending in .*'\.webm'"),
        ("none/out.mp4", (64, 48), 25.0, None, FileNotFoundError, "existing folder"),
        ("out.mp4", (0, 48), 25.0, None, ValueError, "0x48"),
        ("out.mp4", (64, 48), 0.0, None, ValueError, "frames per second"),
        ("out.mp4", (64, 48), 25.0, "none.mp4", FileNotFoundError, "no such file"),
        ("out.mp4", (64, 48), 25.0, "text.mp4", ValueError, "text.mp4"),
        ("out.mp4", (64, 48), 25.0, "radio.wav", ValueError, "cannot hold the sound .* adpcm"),
        ("in.webm.mkv", (64, 48), 25.0, "in.webm.mkv", ValueError, "another file"),
    ],
)
def test_unsuitable_targets_are_refused(name, size, fps, sound, error, message, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "in.webm.mkv").write_bytes(b"old")
    with av.open(str(tmp_path / "radio.wav"), "w") as container:
        container.add_stream("adpcm_ms", rate=8000, layout="mono")
        container.start_encoding()
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(error, match=message):
        VideoWriter(tmp_path / name, *size, fps, sound_from=sound and tmp_path / sound)
    assert sorted(os.listdir(tmp_path)) == before
