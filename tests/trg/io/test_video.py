"""Reading videos: times, orientation, pixel aspect, damaged files."""

from __future__ import annotations

import io
import socket
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.support.clips import CAN_TURN, CODECS, frame_pixels, shade, write_clip
from trg.io.orientation import EXIF_ORIENTATIONS
from trg.io.video import VideoReader


@pytest.mark.parametrize(
    ("suffix", "sound"),
    [(suffix, False) for suffix in CODECS]
    + [(suffix, True) for suffix, (_, sound_codec) in CODECS.items() if sound_codec is not None],
)
def test_frames_times_and_colours(suffix, sound, tmp_path):
    path = write_clip(tmp_path / f"clip{suffix}", sound=sound)
    with VideoReader(path) as reader:
        assert (reader.width, reader.height) == (64, 48)
        assert reader.fps == pytest.approx(25, rel=0.02)
        assert reader.path == path
        # MPEG program streams hold no count, and what FFmpeg guesses is far off.
        assert suffix == ".mpg" or reader.frame_count is None or abs(reader.frame_count - 12) <= 1
        frames = list(reader)
    assert [frame.index for frame in frames] == list(range(12))
    times = np.array([frame.time_s for frame in frames])
    np.testing.assert_allclose(np.diff(times), 1 / 25, atol=2e-3)
    assert 0 <= times[0] < 0.1
    for frame in frames:
        assert frame.pixels.dtype == np.uint8
        np.testing.assert_allclose(frame.pixels[12, 16], shade(frame.index), atol=12)
        np.testing.assert_allclose(frame.pixels[36, 48], 16, atol=12)


def test_a_variable_frame_rate_is_kept(tmp_path):
    times = [0.0, 0.1, 0.15, 0.6, 0.61, 2.0]
    with VideoReader(write_clip(tmp_path / "phone.mp4", times_s=times)) as reader:
        assert [frame.time_s for frame in reader] == pytest.approx(times)


def test_times_count_from_the_start_of_the_file(tmp_path):
    path = write_clip(tmp_path / "late.mkv", times_s=[0.5, 0.54, 0.58], sound=True)
    with VideoReader(path) as reader:
        assert [frame.time_s for frame in reader] == pytest.approx([0.5, 0.54, 0.58], abs=0.02)


@pytest.mark.skipif(not CAN_TURN, reason="this PyAV cannot write display rotations")
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("rotation_deg", "exif"), [(0, 1), (-90, 6), (90, 8), (180, 3)])
def test_display_rotation_is_applied(rotation_deg, exif, flip, tmp_path):
    path = write_clip(tmp_path / "turned.mp4", frames=2, rotation_deg=rotation_deg, flip=flip)
    expected = EXIF_ORIENTATIONS[exif].apply(frame_pixels(0, 64, 48))
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).side_data.get("DISPLAYMATRIX")
    if flip:  # comes after the rotation
        expected = expected[:, ::-1]
    assert (stored is None) == (exif == 1 and not flip)
    with VideoReader(path) as reader:
        assert (reader.height, reader.width) == expected.shape[:2]
        np.testing.assert_allclose(next(reader).pixels, expected, atol=60)  # the block's border
        inner = next(reader).pixels.astype(int)[::12, ::12]
    assert inner.shape == expected[::12, ::12].shape


@pytest.mark.parametrize("suffix", [".mjpeg", ".avi", ".mkv"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_side_data_of_unknown_type_is_ignored(suffix, orientation, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "A camera"
    jpeg = io.BytesIO()
    Image.fromarray(frame_pixels(0, 64, 48)).save(jpeg, "JPEG", exif=exif)
    path = tmp_path / "photos.mjpeg"
    path.write_bytes(jpeg.getvalue() * 2)
    if suffix != ".mjpeg":
        with av.open(str(path)) as source, av.open(str(path.with_suffix(suffix)), "w") as copy:
            stream = copy.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    copy.mux(packet)
    with VideoReader(path.with_suffix(suffix)) as reader:
        frames = list(reader)
    expected = EXIF_ORIENTATIONS[orientation].apply(frame_pixels(0, 64, 48))
    assert len(frames) == 2
    np.testing.assert_allclose(frames[0].pixels, expected, atol=60)


@pytest.mark.parametrize("error", [TypeError("31 is not a type"), ValueError("31"), KeyError(31)])
def test_every_error_while_decoding_names_the_video(error, tmp_path, monkeypatch):
    def fail(*_):
        raise error

    path = write_clip(tmp_path / "clip.mp4", frames=3)
    with VideoReader(path) as reader:
        next(reader)
        monkeypatch.setattr(VideoReader, "_upright_rgb", fail)
        with pytest.raises(ValueError, match=r"clip\.mp4: the video is damaged \(.*31"):
            next(reader)


def test_pixel_aspect_is_applied(tmp_path):
    path = write_clip(tmp_path / "wide.mp4", frames=2, pixel_aspect=Fraction(4, 3))
    with VideoReader(path) as reader:
        assert (reader.width, reader.height) == (85, 48)
        assert next(reader).pixels.shape == (48, 85, 3)


def damage_packet(path: Path, number: int, target: Path) -> Path:
    """Copy a video with one packet's bytes replaced by noise."""
    noise = np.random.default_rng(5)
    with av.open(str(path)) as source, av.open(str(target), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for index, packet in enumerate(source.demux(source.streams.video[0])):
            if packet.dts is None:
                continue
            data = noise.bytes(packet.size) if index == number else bytes(packet)
            changed = av.Packet(data)
            changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
            changed.stream = stream
            copy.mux(changed)
    return target


def test_damage_is_reported_after_the_last_intact_frame(tmp_path):
    whole = write_clip(tmp_path / "clip.mjpeg", frames=8)
    path = damage_packet(whole, 3, tmp_path / "damaged.mkv")
    with VideoReader(path) as reader:
        frames = [next(reader) for _ in range(7)]
        with pytest.raises(ValueError, match=r"damaged: 1 of its packets .* among the 7 that"):
            next(reader)
    assert [frame.index for frame in frames] == list(range(7))
    assert [round(frame.time_s * 25) for frame in frames] == [0, 1, 2, 4, 5, 6, 7]


def test_frames_that_change_size_are_refused(tmp_path):
    first = write_clip(tmp_path / "a.mjpeg", frames=2).read_bytes()
    second = write_clip(tmp_path / "b.mjpeg", frames=2, size=(32, 32)).read_bytes()
    (tmp_path / "both.mjpeg").write_bytes(first + second)
    with VideoReader(tmp_path / "both.mjpeg") as reader:
        next(reader), next(reader)
        with pytest.raises(ValueError, match="64x48, got 32x32 as frame 2"):
            next(reader)


def test_files_that_are_not_videos_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        VideoReader(tmp_path / "none.mp4")
    with pytest.raises(OSError, match="got a folder"):
        VideoReader(tmp_path)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("not a video " * 1000)
    for name in ("empty.mp4", "text.mp4"):
        with pytest.raises(ValueError, match=rf"{name}.*expected a video") as caught:
            VideoReader(tmp_path / name)
        assert type(caught.value) is ValueError
    whole = write_clip(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.mp4"):
        VideoReader(tmp_path / "cut.mp4")
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    with pytest.raises(ValueError, match=r"sound\.wav.*without a video stream"):
        VideoReader(tmp_path / "sound.wav")


def test_a_playlist_does_not_reach_the_network(tmp_path):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.1)
        (tmp_path / "clip.mp4").write_text(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n"
            f"http://127.0.0.1:{server.getsockname()[1]}/a.ts\n#EXT-X-ENDLIST\n"
        )
        with pytest.raises((ValueError, OSError)):
            VideoReader(tmp_path / "clip.mp4")
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_closed_reader_refuses_to_iterate(tmp_path):
    reader = VideoReader(write_clip(tmp_path / "clip.mp4", frames=3))
    next(reader)
    reader.close()
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        next(reader)
