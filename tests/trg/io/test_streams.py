"""Streams and webcams: frames, timeouts, and errors that do not show passwords."""

from __future__ import annotations

import http.server
import io
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from threading import Thread

import pytest
from PIL import ExifTags, Image

from tests.support.clips import write_clip
from trg.io.video import VideoReader
from trg.io.webcams import webcam_input


@contextmanager
def server(answer: bytes, *, stays_open: bool) -> Iterator[int]:
    """Answer one HTTP request with these bytes, then close or stay silent; yields the port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        kept = []

        def serve() -> None:
            connection, _ = listening.accept()
            kept.append(connection)
            if answer:
                connection.recv(4096)
                length = len(answer) + (10_000 if stays_open else 0)
                head = f"HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n"
                connection.sendall(head.encode() + answer)
            if not stays_open:
                connection.shutdown(socket.SHUT_WR)

        Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        for connection in kept:
            connection.close()


def test_a_stream_is_read_to_its_end(tmp_path):
    clip = write_clip(tmp_path / "clip.ts", frames=12).read_bytes()
    with (
        server(clip, stays_open=False) as port,
        VideoReader(f"http://127.0.0.1:{port}/live.ts", timeout_s=5.0) as reader,
    ):
        assert (reader.width, reader.height) == (64, 48)
        assert (reader.path, reader.frame_count) == (None, None)
        frames = list(reader)
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.time_s for frame in frames] == pytest.approx([n / 25 for n in range(12)])


def test_a_stream_that_stops_sending_times_out(tmp_path):
    clip = write_clip(tmp_path / "clip.ts", frames=60, size=(320, 240)).read_bytes()
    with (
        server(clip, stays_open=True) as port,
        VideoReader(f"http://127.0.0.1:{port}/live.ts", timeout_s=1.0) as reader,
        pytest.raises(TimeoutError, match="nothing came within 1 s"),
    ):
        list(reader)


def test_a_stream_that_never_sends_times_out():
    with server(b"", stays_open=True) as port:
        with pytest.raises(TimeoutError, match=r"nothing came within 0\.3 s") as caught:
            VideoReader(f"rtsp://me:secret@127.0.0.1:{port}/live", timeout_s=0.3)
        shown = "".join(traceback.format_exception_only(caught.value))
        assert "secret" not in shown
        assert caught.value.__suppress_context__  # FFmpeg's own error shows it


def test_a_missing_stream_is_an_error():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(OSError, match="cannot be read"):
        VideoReader(f"rtsp://127.0.0.1:{port}/live", timeout_s=1.0)


def test_webcams_by_platform(monkeypatch):
    monkeypatch.setattr("os.path.exists", lambda path: path == "/dev/video2")
    assert webcam_input(2, "linux") == ("/dev/video2", "v4l2", [{}])
    assert webcam_input(1, "darwin")[:2] == ("1:none", "avfoundation")
    with pytest.raises(FileNotFoundError, match="/dev/video5"):
        webcam_input(5, "linux")
    with pytest.raises(FileNotFoundError, match="-1"):
        webcam_input(-1, "darwin")


@contextmanager
def mjpeg_server(count: int, interval_s: float) -> Iterator[tuple[str, list[float]]]:
    """Push JPEG images as multipart over HTTP, as network cameras do; yields URL and send times."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    jpeg = io.BytesIO()
    # Noise, because FFmpeg reads ahead some kilobytes, which is many images of one colour.
    Image.effect_noise((160, 120), 80).convert("RGB").save(jpeg, "JPEG", exif=exif)
    sent_s: list[float] = []

    class Camera(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for _ in range(count):
                size = len(jpeg.getvalue())
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {size}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg.getvalue() + b"\r\n")
                sent_s.append(time.monotonic())
                time.sleep(interval_s)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}/video", sent_s
        listening.shutdown()


def test_frames_without_times_get_those_of_their_arrival():
    with mjpeg_server(count=9, interval_s=0.12) as (url, sent_s), VideoReader(url) as reader:
        frames = list(islice(reader, 8))
    span_s = frames[-1].time_s - frames[0].time_s
    sent_span_s = sent_s[7] - sent_s[0]
    # FFmpeg's nominal 25 frames a second would give a third of it.
    assert span_s == pytest.approx(sent_span_s, rel=0.25)
    assert reader.fps == 30.0
    assert frames[0].pixels.shape == (160, 120, 3)  # turned upright by the images' EXIF


@pytest.mark.parametrize("kind", [OSError, KeyError, RuntimeError])
def test_errors_of_streams_name_them_without_their_address(kind, monkeypatch):
    url = "rtsp://me:secret@127.0.0.1:9/live?token=secret2"

    def fail(*_, **__):
        raise kind(f"no route to {url}")

    monkeypatch.setattr("av.open", fail)
    with pytest.raises(OSError, match=r"^rtsp://127\.0\.0\.1:9/live.*no route") as caught:
        VideoReader(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__
