"""Checks before a file is read, atomic file writes, and locks."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from PIL import Image

from tests.support.child_process import run_python, start_python
from tests.support.full_disk import full_after
from trg._util.files import AtomicFile, remove_partial_files, try_lock, write_atomic

NOISE = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)


def save_torch(file):
    torch = pytest.importorskip("torch", reason="needs torch, of the extra `train`")
    torch.save({"noise": torch.from_numpy(NOISE)}, file)


def save_parquet(file):
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra `data`")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"noise": NOISE.ravel()}), file)


WRITERS = {
    "bytes": lambda file: file.write(NOISE.tobytes()),
    "pieces": lambda file: [file.write(bytes(100)) for _ in range(1000)],
    "jpeg": lambda file: Image.fromarray(NOISE).save(file, "JPEG", quality=98),
    "png": lambda file: Image.fromarray(NOISE).save(file, "PNG"),
    "npy": lambda file: np.save(file, NOISE),
    "npz": lambda file: np.savez(file, noise=NOISE),
    "checkpoint": save_torch,
    "parquet": save_parquet,
}
"""Writers of more than 90 kB."""


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


@pytest.mark.parametrize("free_bytes", [0, 1, 20_000, 80_001])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_write_that_a_full_disk_cuts_short_is_an_error(tmp_path, kind, free_bytes):
    """Pillow and NumPy miss it where they write to the descriptor themselves."""
    path = tmp_path / "file.bin"
    write_atomic(path, lambda file: file.write(b"old"))
    with full_after(free_bytes), pytest.raises(OSError, match="File too large"):
        write_atomic(path, WRITERS[kind])
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("kind", WRITERS)
def test_writers_give_the_same_file_as_with_a_plain_one(tmp_path, kind):
    with open(tmp_path / "plain.bin", "wb") as file:
        WRITERS[kind](file)
    write_atomic(tmp_path / "atomic.bin", WRITERS[kind])
    plain, atomic = (tmp_path / name for name in ("plain.bin", "atomic.bin"))
    assert atomic.stat().st_size > 90_000 or kind == "parquet"
    if kind != "checkpoint":  # torch writes its own name for the archive
        assert atomic.read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("name", ["n" * 255, "名" * 85, "n" * 251 + ".jpg"])
def test_the_longest_names_can_be_written(tmp_path, name):
    write_atomic(tmp_path / name, lambda file: file.write(b"x"))
    assert os.listdir(tmp_path) == [name]


def test_only_the_partial_files_of_killed_processes_are_removed(tmp_path):
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from trg._util.files import AtomicFile\n"
        "AtomicFile(Path(sys.argv[1])).write(b'half')\n"
        "os._exit(9)\n"
    )
    run_python(code, tmp_path / "killed.jpg")
    (tmp_path / ".notes.partial").write_text("another program's")
    open_file = AtomicFile(tmp_path / "open.jpg")
    assert len(os.listdir(tmp_path)) == 3
    remove_partial_files([tmp_path, tmp_path / "none"])
    assert len(os.listdir(tmp_path)) == 2
    open_file.commit()
    assert sorted(os.listdir(tmp_path)) == [".notes.partial", "open.jpg"]


def test_a_lock_ends_with_its_process(tmp_path):
    code = (
        "import sys, time\n"
        "from trg._util.files import try_lock\n"
        "file = open(sys.argv[1], 'ab')\n"
        "print(try_lock(file), flush=True)\n"
        "time.sleep(60)\n"
    )
    other = start_python(code, tmp_path / "locked", text=True)
    assert other.stdout.readline() == "True\n"
    with open(tmp_path / "locked", "ab") as file:
        assert not try_lock(file)
        other.kill()
        other.communicate()
        assert try_lock(file)
