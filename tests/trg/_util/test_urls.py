"""URLs in records and messages show no password and no token."""

from __future__ import annotations

import pytest

from trg._util.urls import without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://me:secret@camera/1", "rtsp://camera/1"),
        ("rtsp://me:p@ss@camera/1", "rtsp://camera/1"),
        ("rtsp://me:pa/ss@camera:554/1", "rtsp://camera:554/1"),
        ("rtsp://me:p@ss/w@camera/1", "rtsp://camera/1"),
        ("rtsp://me:1234/5@camera/1", "rtsp://camera/1"),
        ("rtsp://me:p?ss#x@camera/1", "rtsp://camera/1"),
        ("rtsp://me:12?s@camera/1", "rtsp://me:***"),
        ("rtsp://token@camera/1", "rtsp://camera/1"),
        ("http://me@mail.org:pw@[::1]:80/x", "http://[::1]:80/x"),
        ("http://camera/s?channel=1&token=a@b&key", "http://camera/s?channel=***&token=***&***"),
        ("http://camera:8080/video#token", "http://camera:8080/video"),
        ("https://camera/a@b", "https://camera/a@b"),
        ("photos/me@home.jpg", "photos/me@home.jpg"),
    ],
)
def test_passwords_and_tokens_are_hidden(url, shown):
    assert without_secrets(url) == shown
