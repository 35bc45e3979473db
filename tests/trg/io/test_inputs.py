"""Inputs from the command line: photos, folders, globs, videos, webcams, streams."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from trg.io.inputs import PhotoInput, VideoInput, find_inputs, without_password


@pytest.fixture
def album(tmp_path, monkeypatch):
    for name in (
        "b.jpg",
        "a.PNG",
        "clip.MP4",
        "notes.txt",
        ".hidden.jpg",
        "in/c.jpeg",
        "in/z/d.tif",
    ):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "album" / ".cache").mkdir()
    (tmp_path / "album" / ".cache" / "thumb.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "album"


def names(arguments: list[str]) -> list[str]:
    return [item.name.replace(os.sep, "/") for item in find_inputs(arguments)]


def test_folders_are_searched_recursively_in_order(album):
    everything = ["a.PNG", "b.jpg", "clip.MP4", "in/c.jpeg", "in/z/d.tif"]
    assert names(["album"]) == [f"album/{name}" for name in everything]
    kinds = [type(item) for item in find_inputs(["album"])]
    assert kinds == [PhotoInput, PhotoInput, VideoInput, PhotoInput, PhotoInput]


def test_globs_and_files_give_no_duplicates(album):
    assert names(["album/*.jpg"]) == ["album/b.jpg"]
    assert names(["album/*.*"]) == ["album/a.PNG", "album/b.jpg", "album/clip.MP4"]
    assert names(["album/**"]) == names(["album"])
    assert names(["album/in*"]) == ["album/in/c.jpeg", "album/in/z/d.tif"]
    assert names(["album/b.jpg", "album/*.jpg", "album/in"])[:2] == [
        "album/b.jpg",
        "album/in/c.jpeg",
    ]


def test_webcams_and_streams(album):
    url = "rtsp://me:secret@camera/1"
    assert find_inputs(["0", url]) == [
        VideoInput("webcam 0", 0, is_live=True),
        VideoInput("rtsp://camera/1", url, is_live=True),
    ]
    (album.parent / "0").write_bytes(b"a file of that name wins")
    assert find_inputs(["0"]) == [VideoInput("0", "0")]
    assert without_password("https://camera/a@b") == "https://camera/a@b"


def test_unknown_suffixes_are_identified_by_content(album):
    Image.new("RGB", (2, 2)).save("photo", "png")
    assert [type(item) for item in find_inputs(["photo", "album/notes.txt"])] == [
        PhotoInput,
        VideoInput,
    ]


def test_existing_files_with_brackets_are_not_globs(album):
    (album.parent / "me[1].jpg").write_bytes(b"")
    assert names(["me[1].jpg"]) == ["me[1].jpg"]


def test_missing_inputs_are_listed(album):
    (album / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"'none\.jpg', '\*\.jpg', 'album/empty'"):
        find_inputs(["none.jpg", "album", "*.jpg", "album/empty"])
