"""Inputs from the command line: photos, folders, globs, videos, webcams, streams."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from trg.io.boxes import read_boxes
from trg.io.images import read_image
from trg.io.inputs import PhotoInput, UnreadableFolder, VideoInput, find_inputs
from trg.io.video import VideoReader


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
    with pytest.raises(FileNotFoundError, match=r"album/empty'; .*that end in .*\.heic.*\.mp4"):
        find_inputs(["album/empty"])


def test_links_to_folders_are_followed_once(album):
    (album.parent / "elsewhere").mkdir()
    (album.parent / "elsewhere" / "e.jpg").write_bytes(b"")
    (album / "linked").symlink_to(album.parent / "elsewhere")
    (album / "in" / "again").symlink_to(album)
    (album / "in" / "loop").symlink_to(".")
    (album / "a_link").symlink_to("in")
    everything = ["a.PNG", "b.jpg", "clip.MP4", "in/c.jpeg", "in/z/d.tif", "linked/e.jpg"]
    assert sorted(names(["album"])) == [f"album/{name}" for name in everything]
    assert names(["album/**"]) == [f"album/{name}" for name in everything]
    assert names(["**/*.j*"]) == ["album/b.jpg", "album/in/c.jpeg", "elsewhere/e.jpg"]
    assert names(["album/**/z/**/*"]) == ["album/in/z/d.tif"]


def test_unreadable_folders_are_among_the_inputs(album, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "z":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    for argument in ("album", "album/**"):
        found = find_inputs([argument])
        assert [item.name for item in found[:3]] == ["album/a.PNG", "album/b.jpg", "album/clip.MP4"]
        assert (
            UnreadableFolder(
                "album/in/z",
                "album/in/z",
                "album/in/z: the folder cannot be read (Permission denied)",
            )
            in found
        )


def test_quoted_homes_and_file_urls_are_paths(album, monkeypatch):
    monkeypatch.setenv("HOME", str(album))
    (album / "a b.jpg").write_bytes(b"")
    assert names(["~/b.jpg", "~/in/*.jpeg"]) == [f"{album}/b.jpg", f"{album}/in/c.jpeg"]
    assert names([(album / "a b.jpg").as_uri()]) == [f"{album}/a b.jpg"]
    (album.parent / "~").mkdir()
    (album.parent / "~" / "b.jpg").write_bytes(b"")
    assert names(["~/b.jpg"]) == ["~/b.jpg"]


def test_standard_input_is_a_photo():
    assert find_inputs(["-"]) == [PhotoInput("<stdin>", None)]


def test_pipes_and_devices_do_not_block(album):
    os.mkfifo("fifo")
    os.mkfifo("fifo.jpg")
    items = find_inputs(["fifo", "fifo.jpg", "/dev/zero"])
    assert [item.name for item in items] == ["fifo", "fifo.jpg", "/dev/zero"]
    for item in items:
        with pytest.raises(OSError, match=f"{item.name}: expected .* got a pipe or a device"):
            read_image(item.path) if isinstance(item, PhotoInput) else VideoReader(item.path)
    for path in ("fifo", "/dev/zero"):
        with pytest.raises(OSError, match="got a pipe or a device"):
            read_boxes(path)


def test_unknown_urls_are_named_without_their_password(album):
    with pytest.raises(FileNotFoundError, match=r"'srt://camera/1\?\*\*\*'") as caught:
        find_inputs(["srt://me:secret@camera/1?token"])
    assert "secret" not in str(caught.value)


def test_streams_that_differ_in_hidden_parts_have_their_own_names():
    urls = [f"http://camera/?channel={number}" for number in (1, 2)]
    assert [item.name for item in find_inputs(urls)] == [
        "http://camera/?channel=***",
        "http://camera/?channel=*** #2",
    ]


def test_one_file_by_two_paths_is_one_input(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").touch()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    found = find_inputs(["in", str(tmp_path / "in"), "./in/../in/a.jpg", "link", "in/*.jpg"])
    assert [item.name for item in found] == [os.path.join("in", "a.jpg")]
