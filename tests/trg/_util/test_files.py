"""Checks before a file is read, and atomic file writes."""

from __future__ import annotations

import errno
import os

import pytest

from trg._util.files import write_atomic


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "state.bin"
    write_atomic(path, lambda file: file.write(b"old"))
    write_atomic(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["state.bin"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_full_disk_or_an_interrupt_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "state.bin"
    write_atomic(path, lambda file: file.write(b"old"))

    def write(file):
        file.write(b"half of the new conte")
        raise error

    with pytest.raises(type(error)):
        write_atomic(path, write)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state.bin"]
