"""A file that holds complete pieces only."""

from __future__ import annotations

import os
from pathlib import Path

from trg._util.files import try_lock


class AppendOnlyFile:
    """An unbuffered file to which complete pieces are appended.

    A killed process leaves complete pieces. A piece that fails to fit on the disk, or whose
    writing is interrupted, is removed again.
    """

    def __init__(self, path: Path) -> None:
        """Open or create a file; its present content is kept."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self.size = self._file.seek(0, os.SEEK_END)

    def try_lock(self) -> bool:
        """Lock the file; return False if another process holds its lock."""
        return try_lock(self._file)

    def truncate(self, size: int) -> None:
        """Keep only the first ``size`` bytes."""
        self._file.truncate(size)
        self.size = self._file.seek(size)

    def append(self, piece: bytes) -> None:
        """Append a piece.

        Raises OSError if the disk is full or not available.
        """
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except BaseException:  # including KeyboardInterrupt
            self.truncate(self.size)
            raise
        self.size += len(piece)

    def close(self) -> None:
        """Flush to the disk and close; does nothing if already closed."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()
