"""``trg predict`` on sources that are neither plain photos nor videos."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from PIL import Image

from tests.support.cli_predict_runs import FOCAL, cli, save_photos  # noqa: F401  (a fixture)

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked")


def test_an_image_on_standard_input(cli, tmp_path, monkeypatch):  # noqa: F811
    (photo,) = save_photos(tmp_path, 0)
    stream = io.BytesIO(photo.read_bytes())
    stream.name = "<stdin>"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stream))
    done = cli.predict("-", *FOCAL)
    assert done.code == 0
    assert done.records[0]["source"] == "<stdin>"
    assert len(done.records[0]["faces"]) == 1
    empty = cli.predict("-", *FOCAL)
    assert empty.code == 1
    assert "<stdin>: expected an image" in empty.err


def test_numbered_frames_are_a_clip(cli, tmp_path):  # noqa: F811
    save_photos(tmp_path, 0, 0, 0)
    done = cli.predict(tmp_path / "%d.png", "--fps", 10, *FOCAL, "-o", tmp_path / "out", "--draw")
    assert done.code == 0
    assert "3 frames" in done.err
    assert (tmp_path / "out" / "%d.mp4").exists()
    shown = cli.predict(tmp_path / "%d.png", "--fps", 10, *FOCAL).records
    assert [record["time_s"] for record in shown] == [0.0, 0.1, 0.2]
    assert shown[0]["faces"][0]["id"] == shown[2]["faces"][0]["id"]
    refused = cli.predict(tmp_path / "%d.png")
    assert refused.code == 2
    assert "--fps" in refused.err


def test_animations_say_that_one_frame_is_used_or_are_clips(cli, tmp_path):  # noqa: F811
    photos = [Image.open(path) for path in save_photos(tmp_path / "in", 0, 1, 0)]
    path = tmp_path / "moving.webp"
    photos[0].save(path, save_all=True, append_images=photos[1:], duration=40, lossless=True)
    first = cli.predict(path, *FOCAL)
    assert len(first.records) == 1
    assert "moving.webp: used the first of 3 frames" in first.err
    every = cli.predict(path, "--animated", *FOCAL)
    assert [record["frame"] for record in every.records] == [0, 1, 2]


def test_an_unreadable_folder_fails_and_the_others_are_processed(
    cli,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    from trg.io.inputs import PhotoInput, UnreadableFolder

    (photo,) = save_photos(tmp_path, 0)
    folder = UnreadableFolder("closed", "closed", "closed: the folder cannot be read (no)")
    items = [folder, PhotoInput(str(photo), str(photo))]
    monkeypatch.setattr("trg.io.inputs.find_inputs", lambda *_, **__: items)
    done = cli.predict("anything", *FOCAL, "-o", tmp_path / "out", "--draw")
    assert done.code == 1
    assert "closed: the folder cannot be read" in done.err
    assert (tmp_path / "out" / "0.jpg").exists()
