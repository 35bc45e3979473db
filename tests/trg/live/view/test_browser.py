"""The preview page: its messages by an independent decoder, who may watch, and that it is local."""

from __future__ import annotations

import http.client
import io
import json
import re
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from threading import Event
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.faces import face_topology
from tests.support.live_frames import TIMEOUT_S, live_face, live_frame, moved_frame
from trg.live.statistics import Status
from trg.live.view import browser, is_view, open_view
from trg.live.view.browser import BrowserView, view_message

STATUS = Status(29.97, (17.04, 28.26), 100, 3, 0.4, 1)


def decode(message: bytes):
    """Return the JSON, the head's mesh, the meshes in the image, and the picture."""
    (size,) = struct.unpack_from("<I", message)
    header = json.loads(message[4 : 4 + size])
    count, place = header["vertices"], 4 + size
    meshes = []
    for width in [3] * bool(header["main"]) + [2] * len(header["shown"]):
        meshes.append(np.frombuffer(message, "<f4", count * width, place).reshape(count, width))
        place += 4 * count * width
    return header, meshes, Image.open(io.BytesIO(message[place:]))


@contextmanager
def opened_view(on_neutral=lambda: None) -> Iterator[BrowserView]:
    view = open_view("browser", face_topology(), lambda message: None, on_neutral)
    assert isinstance(view, BrowserView)
    yield view
    view.close()


def watcher_of(view: BrowserView, path: str = "", **options):
    parts = urlsplit(view.url)
    timeouts = {"open_timeout": TIMEOUT_S, "close_timeout": 0.1}
    address = f"ws://{parts.netloc}/{path or f'?{parts.query}'}"
    return connect(address, proxy=None, **timeouts, **options)


def test_a_message_has_the_numbers_the_meshes_and_the_picture():
    frame = moved_frame("turns to their left")
    header, (mesh_m, mesh_px), picture = decode(view_message(frame, STATUS))
    main, live = header["main"], frame.main
    assert main["euler_deg"] == pytest.approx([-20.0, 0.0, 0.0], abs=0.01)
    assert main["translation_m"] == [0.0, 0.0, 0.6]
    assert main["distance_m"] == pytest.approx(0.6)
    assert (main["is_seen"], main["confidence"]) == (True, live.face.confidence)
    np.testing.assert_allclose(mesh_m, live.face.landmarks_m @ live.rotation.T, atol=1e-6)
    np.testing.assert_allclose(mesh_px, live.face.landmarks_px, atol=1e-3)
    np.testing.assert_allclose(header["shown"][0]["box_px"], live.face.box_xyxy, atol=0.01)
    origin, _, _, nose = np.array(header["shown"][0]["axes_px"])
    assert nose[0] > origin[0] + 20.0  # to their left is right in the image
    assert (header["size_px"], picture.size, picture.format) == ([640, 480], (640, 480), "JPEG")
    assert header["status"]["latency_ms"] == [17.0, 28.3]
    assert header["status"]["dropped"] == 3


def test_a_person_out_of_sight_is_held_but_not_drawn_on_the_picture():
    header, meshes, _ = decode(view_message(live_frame(live_face(is_seen=False)), None))
    assert (header["main"]["is_seen"], header["shown"], len(meshes)) == (False, [], 1)
    header, meshes, _ = decode(view_message(live_frame(), None))
    assert (header["main"], header["vertices"], meshes) == (None, 0, [])


def test_a_large_picture_is_sent_smaller():
    frame = live_frame()
    object.__setattr__(frame, "pixels", np.zeros((1080, 1920, 3), np.uint8))
    header, _, picture = decode(view_message(frame, None))
    assert (header["size_px"], picture.size) == ([1920, 1080], (960, 540))


def test_those_who_know_the_address_watch_and_set_the_neutral_pose():
    pressed = Event()
    with opened_view(pressed.set) as view, watcher_of(view, max_size=None) as watcher:
        watcher.send('{"command": "neutral"}')
        assert pressed.wait(TIMEOUT_S)
        view.show_status(STATUS)
        view.send(live_frame(live_face(), index=41))  # the server has taken the watcher in
        header, _, _ = decode(watcher.recv(timeout=TIMEOUT_S))
        assert (header["frame"], header["status"]["frames"]) == (41, 100)


def test_nothing_is_encoded_while_nobody_watches(monkeypatch):
    encoded = Event()
    monkeypatch.setattr(browser, "view_message", lambda frame, status: encoded.set() or b"")
    with opened_view() as view:
        view.send(live_frame(live_face()))
        assert not encoded.wait(0.05)
        with watcher_of(view):
            end_s = time.monotonic() + TIMEOUT_S  # the server may learn of the watcher later
            while not encoded.wait(0.05):
                assert time.monotonic() < end_s
                view.send(live_frame(live_face()))


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("?key=guess", {}),
        ("?", {}),
        ("", {"Origin": "https://example.org"}),
        ("", {"Origin": "http://localhost:5173"}),
        ("", {"Origin": "null"}),
    ],
)
def test_foreign_pages_and_those_without_the_key_see_nothing(path, headers):
    with opened_view() as view:
        refused = pytest.raises(InvalidStatus, match="403")
        with refused, watcher_of(view, path, additional_headers=headers):
            pass


def request(view: BrowserView, path: str, **headers) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(view.url).netloc, timeout=TIMEOUT_S)
    connection.request("GET", path, headers=headers)
    with connection.getresponse() as answer:
        found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_the_page_and_its_files_are_delivered_and_load_nothing_from_elsewhere():
    with opened_view() as view:
        assert urlsplit(view.url).hostname == "127.0.0.1"
        status, headers, page = request(view, urlsplit(view.url).path)
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        linked = re.findall(rb'(?:src|href)="([^"]+)"', page)
        assert sorted(linked) == [b"data:,", b"page.css", b"page.js"]
        for name in ("page.css", "page.js"):
            status, _, content = request(view, f"/{name}")
            assert status == 200
            assert not re.search(rb"https?://|url\(|@import|import ", content)
        _, _, triangles = request(view, "/triangles")
        np.testing.assert_array_equal(
            np.frombuffer(triangles, "<u2").reshape(-1, 3), face_topology().triangles
        )
        assert request(view, "/", Origin="https://example.org")[0] == 403


def test_another_sites_name_that_resolves_to_this_machine_is_refused():
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version": "13",
    }
    with opened_view() as view:
        key = urlsplit(view.url).query
        assert request(view, "/", Host="example.org")[0] == 403
        assert request(view, f"/?{key}", Host="example.org", **upgrade)[0] == 403


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node, which runs the page's code")
def test_the_page_reads_what_is_sent(tmp_path):
    """The page's own decoder, the turned mesh, and the sides that are seen."""
    (tmp_path / "page.mjs").write_bytes((resources.files("trg.live.view") / "page.js").read_bytes())
    frame = moved_frame("looks up")
    (tmp_path / "message").write_bytes(view_message(frame, STATUS))
    (tmp_path / "triangles").write_bytes(face_topology().triangles.astype("<u2").tobytes())
    (tmp_path / "read.mjs").write_text(
        'import * as page from "./page.mjs";\n'
        'import { readFileSync } from "node:fs";\n'
        'const message = readFileSync("message");\n'
        "const found = page.decode(message.buffer.slice(message.byteOffset, "
        "message.byteOffset + message.length));\n"
        'const triangles = new Uint16Array(new Uint8Array(readFileSync("triangles")).buffer);\n'
        "const back = page.turned(found.meshM, Math.PI, 0);\n"
        "console.log(JSON.stringify({ px: [...found.meshesPx[0]], jpeg: found.jpeg.length,\n"
        "  rows: page.numberRows(found.header), back: [...back],\n"
        "  front: page.visibleTriangles(found.meshM, triangles).length,\n"
        "  hidden: page.visibleTriangles(back, triangles).length, all: triangles.length / 3 }));\n"
    )
    done = subprocess.run(
        ["node", "read.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    found = json.loads(done.stdout)
    face = frame.main.face
    np.testing.assert_allclose(found["px"], face.landmarks_px.ravel(), atol=1e-3)
    head_m = face.landmarks_m @ frame.main.rotation.T
    np.testing.assert_allclose(found["back"], (head_m * (-1, 1, -1)).ravel(), atol=1e-6)
    assert found["front"] + found["hidden"] == found["all"]
    rows = dict(found["rows"])
    assert (rows["Yaw"], rows["Pitch"]) == ("+0.0°", "−15.0°")
    assert (rows["x, y, z (cm)"], rows["Distance"]) == ("+0.0  +0.0  +60.0", "0.60 m")
    assert rows["Latency (95 %)"] == "17 ms (28 ms)"
    assert rows["Dropped"] == "3 of 103"


@pytest.mark.parametrize("text", ["browser", "rerun", "out.rrd", "127.0.0.1:8766", "[::1]:8766"])
def test_views_are_told_from_inputs(text):
    assert is_view(text)


@pytest.mark.parametrize("text", ["0", "clip.mp4", "/dev/video0", "Logitech C920", "a:b"])
def test_inputs_are_no_views(text):
    assert not is_view(text)
    with pytest.raises(ValueError, match="view: expected browser, rerun"):
        open_view(text, face_topology(), print, print)


def test_a_number_that_is_no_port_is_refused():
    with pytest.raises(ValueError, match="a port from 0 to 65535, got 70000"):
        open_view("127.0.0.1:70000", face_topology(), print, print)
