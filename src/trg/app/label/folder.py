"""The folder of results: which shards are done, their files, and the manifest."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from trg._util.files import remove_partial_files, write_atomic
from trg._util.settings import changed_settings

SUFFIX = ".parquet"
SETTINGS, MANIFEST = "_settings.json", "_manifest.json"
"""Readers of folders of Parquet skip names that begin with an underscore."""

COUNTS_KEY = b"trg.counts"
"""In the metadata of each file."""

COUNT_THREADS = 16


class LabelFolder:
    """A folder or URL of results. Each file in it appears whole or not at all.

    On a local file system a file is renamed when it is whole; an object store gets it in one put.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._system, self._path = fsspec.core.url_to_fs(url)

    def open(self, settings: dict[str, Any]) -> None:
        """Create the folder for results of these settings.

        Raises
        ------
        ValueError
            It holds results of other settings.
        FileExistsError
            It is a file, or holds Parquet files but no settings.
        """
        if self._system.isfile(self._path):
            raise FileExistsError(f"{self._url}: expected a folder for the results, got a file")
        self._system.makedirs(self._path, exist_ok=True)
        if isinstance(self._system, LocalFileSystem):
            remove_partial_files([Path(self._path)])
        earlier = self._read_json(SETTINGS)
        if earlier is None:
            if foreign := sorted(self.shard_names()):
                raise FileExistsError(
                    f"{self._url}: expected an empty folder or results of trg label, got "
                    f"{foreign[0]}{SUFFIX}; choose another folder"
                )
            self.write(SETTINGS, _to_json(settings))
            return
        if changes := changed_settings(earlier, json.loads(json.dumps(settings))):
            raise ValueError(
                f"{self._url}: holds results of other options; {'; '.join(changes)}. Use the same "
                "options, or another folder"
            )

    def shard_names(self) -> set[str]:
        """Return the names of the shards that are done."""
        self._system.invalidate_cache()
        try:
            paths = self._system.ls(self._path, detail=False)
        except FileNotFoundError:  # a folder of an object store exists with its first file
            paths = []
        files = (path.rpartition("/")[2] for path in paths)
        return {file.removesuffix(SUFFIX) for file in files if file.endswith(SUFFIX)}

    def write_table(self, name: str, table: Any) -> None:
        """Write the results of a shard; raises OSError if the disk is full."""
        from pyarrow import parquet

        content = io.BytesIO()
        parquet.write_table(table, content, compression="zstd")
        self.write(f"{name}{SUFFIX}", content.getvalue())

    def write(self, file_name: str, content: bytes) -> None:
        """Write a file; raises OSError if the disk is full."""
        path = f"{self._path}/{file_name}"
        if isinstance(self._system, LocalFileSystem):
            write_atomic(Path(path), lambda file: file.write(content))
        else:
            self._system.pipe_file(path, content)

    def finish(self, names: Iterable[str], settings: dict[str, Any]) -> dict[str, int] | None:
        """Write the manifest if the shards of all these names are done; return their counts.

        Results of shards that the source no longer has are removed first: their pictures have
        moved to other shards, or are gone.
        """
        wanted, done = set(names), self.shard_names()
        if wanted - done:
            return None
        for name in done - wanted:
            with suppress(FileNotFoundError):  # another share that ends now has removed it
                self._system.rm_file(f"{self._path}/{name}{SUFFIX}")
        counts: Counter[str] = Counter(shards=len(wanted))
        with ThreadPoolExecutor(COUNT_THREADS) as threads:  # an object store answers slowly
            for each in threads.map(self._counts, sorted(wanted)):
                counts.update(each)
        self.write(MANIFEST, _to_json({**counts, "settings": settings}))
        return dict(counts)

    def _counts(self, name: str) -> dict[str, int]:
        from pyarrow import ArrowException, parquet

        path = f"{self._path}/{name}{SUFFIX}"
        try:
            with self._system.open(path, "rb") as file:
                metadata = parquet.read_metadata(file).metadata
            return json.loads(metadata[COUNTS_KEY])
        except (ArrowException, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: is damaged, or not written by trg label ({error}); remove it, and run "
                "again"
            ) from error

    def _read_json(self, file_name: str) -> dict[str, Any] | None:
        path = f"{self._path}/{file_name}"
        try:
            return json.loads(self._system.cat_file(path))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{path}: is damaged ({error}); choose another folder") from error


def _to_json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode() + b"\n"
