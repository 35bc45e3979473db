"""Checks before a file is read, atomic file writes, and locks."""

from __future__ import annotations

import errno
import io
import os
import platform
import re
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import IO, Any

MAX_NAME_BYTES = 255
"""Longest file name of common file systems, in bytes of UTF-8."""

_PARTIAL_NAME = re.compile(r"\.trg-([0-9a-f]{8})-(\d+)-[0-9a-f]{16}\.partial")
_LOCKED_BYTE = 2**40
"""On Windows a locked byte cannot be read by others: one that no file has."""

_HOST = f"{zlib.crc32(platform.node().encode('utf-8', 'replace')):08x}"


def existing_file(path: str | PathLike[str], expected: str) -> Path:
    """Return ``path`` if it is a file; ``expected`` says in errors what it should be.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, OSError
        It does not exist, is a folder, or is another thing than a file.
    """
    path = Path(path)
    if path.is_file():
        return path
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected {expected}, got a folder")
    if path.exists():
        raise OSError(f"{path}: expected {expected}, got a pipe or a device")
    raise FileNotFoundError(f"{path}: expected {expected}, found no such file")


class AtomicFile(io.BufferedIOBase):
    """A file that gets its name only when it is complete; binary, write-only, seekable.

    The content is written to a temporary file beside ``path``, whose name is short whatever the
    length of ``path``. :meth:`commit` flushes it to the disk and renames it; :meth:`discard`
    deletes it. An interruption at any moment leaves the old file, or none, but never a part.

    It has no descriptor (``fileno``): Pillow and NumPy write to descriptors directly and miss
    writes that a full disk cut short.

    Raises OSError if the disk is full or the folder is not writable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)  # Pillow takes the format from its suffix
        self.error: OSError | None = None
        """The first failed write, for callers that only see another library's error for it."""
        name_hash = sha256(os.fsencode(path.name)).hexdigest()[:16]
        self._partial = path.with_name(f".trg-{_HOST}-{os.getpid()}-{name_hash}.partial")
        self._file = open(self._partial, "wb")  # noqa: SIM115 (closed by commit and discard)

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Write all of ``data``; short writes are continued, and raise OSError on a full disk."""
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        """Pass buffered content to the system."""
        if not self._file.closed:
            try:
                self._file.flush()
            except OSError as error:
                self.error = self.error or error
                raise

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset; :meth:`commit` raises what fails, because PyAV only prints it."""
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            self.error = self.error or error
            return offset

    def tell(self) -> int:
        """Return the offset."""
        return self._file.tell()

    def truncate(self, size: int | None = None) -> int:
        """Change the size."""
        return self._file.truncate(size)

    def commit(self) -> None:
        """Flush everything to the disk and rename the file to ``path``."""
        try:
            if self.error is not None:  # the library that wrote has swallowed it
                raise self.error
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._partial, self.path)
        except BaseException:
            self.discard()
            raise
        self.close()
        _flush_folder(self.path.parent)

    def discard(self) -> None:
        """Close and delete the temporary file; does nothing after :meth:`commit`."""
        if not self.closed:
            with suppress(OSError):  # the buffer of a full disk cannot be flushed
                self._file.close()
            self._partial.unlink(missing_ok=True)
            self.close()


def write_atomic(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Call ``write`` with an :class:`AtomicFile` and commit it; discard it after any exception.

    Raises OSError if the disk is full or the folder is not writable, also where the library that
    ``write`` calls raises another exception for that.
    """
    file = AtomicFile(path)
    try:
        write(file)  # type: ignore[arg-type]  # has all that writers use
    except BaseException as error:
        file.discard()
        if file.error is not None and isinstance(error, Exception):
            raise file.error from error
        raise
    file.commit()


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 text as :func:`write_atomic` does."""
    write_atomic(path, lambda file: file.write(text.encode()))


def remove_partial_files(folders: Iterable[Path]) -> None:
    """Delete the temporary files that killed processes of this computer left in the folders."""
    for folder in folders:
        with suppress(OSError):  # no such folder, or a folder of other people
            for entry in os.scandir(folder):
                match = _PARTIAL_NAME.fullmatch(entry.name)
                if match and match[1] == _HOST and not is_running(int(match[2])):
                    with suppress(OSError):
                        os.unlink(entry.path)


def real_path(path: str | PathLike[str]) -> str:
    """Return an absolute path without links among its folders; the file itself may be a link."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def is_running(pid: int) -> bool:
    """Return whether a process runs on this computer; True where that cannot be asked."""
    if os.name != "posix":  # os.kill would end the process there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def try_lock(file: IO[bytes]) -> bool:
    """Lock an open file against other processes; return False if another one holds the lock.

    The system releases the lock when the file is closed or the process ends, however it ends. On
    file systems without locks there is no protection, and the result is True.
    """
    try:
        if os.name == "nt":
            import msvcrt

            position = file.tell()
            file.seek(_LOCKED_BYTE)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            finally:
                file.seek(position)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True


def _flush_folder(folder: Path) -> None:
    """Flush a rename to the disk; systems other than POSIX cannot open a folder."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
