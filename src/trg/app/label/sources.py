"""Where pictures come from, and how they are divided into shards.

A shard has a name by what it holds, so that every machine divides a source alike, and a source that
has changed gets other names where it did. A tar or a Parquet file is one shard. Photos are divided
where the hash of a name says so: a photo that is added changes its own shard and no other.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

import fsspec
from fsspec.implementations.local import LocalFileSystem

from trg.io.inputs import PHOTO_SUFFIXES, PhotoBytes, UnreadableFolder, folders
from trg.io.records.arrow_tables import import_arrow

Kind = Literal["photos", "tar", "parquet"]

LIST_SUFFIXES = (".txt", ".lst", ".list")
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
PICTURE_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "bytes", "content", "path", "url", "file")
"""Names of columns of pictures, in order of preference, where none is given."""

PARQUET_BATCH = 16
"""Rows in memory at a time."""


class Shard(NamedTuple):
    """Pictures that are labelled together; can be pickled."""

    name: str
    """Of its results, without suffix."""
    kind: Kind
    root: str
    """Absolute folder or URL that the names are relative to."""
    names: tuple[str, ...]
    """Photos, or the one tar or Parquet file."""
    column: str = ""
    """Of a Parquet file."""

    def pictures(self) -> Iterator[PhotoBytes]:
        """Yield the pictures; one that cannot be read raises OSError or ValueError when it is.

        Damage that hides further pictures is a picture with the name of the file.
        """
        if self.kind == "photos":
            for name in self.names:
                yield PhotoBytes(name, partial(_read, _join(self.root, name)))
            return
        (name,) = self.names
        read = _tar_pictures if self.kind == "tar" else _parquet_pictures
        try:
            with fsspec.open(_join(self.root, name), "rb") as file:
                yield from read(file, self)
        except Exception as error:  # tarfile and pyarrow raise many kinds for damaged bytes
            message = f"{name}: damaged or truncated ({error}); the pictures after are missing"
            yield PhotoBytes(name, partial(_raise, message))


def find_shards(source: str, size: int, column: str | None = None) -> list[Shard]:
    """Return the shards of a source.

    Parameters
    ----------
    source
        A folder of photos, tars or Parquet files; a pattern of such files (``*``); one tar or
        Parquet file; or a list, a text file with a path or URL per line, relative to the list. A
        path or any URL of fsspec.
    size
        Mean number of photos in a shard.
    column
        The pictures in Parquet: bytes, paths or URLs, or Hugging Face's structs of both. None: the
        first of ``PICTURE_COLUMNS`` that there is.

    Raises
    ------
    FileNotFoundError
        There is no such source, or no picture in it.
    ValueError
        It holds several kinds of files, is of none of these kinds, or has no such column.
    """
    if source.lower().endswith(LIST_SUFFIXES):
        lines = _read(source).decode("utf-8", "surrogateescape").splitlines()
        system, path = fsspec.core.url_to_fs(source)
        root = _address(system, path.rpartition("/")[0])
        files = dict.fromkeys(filter(None, map(str.strip, lines)))
        listed: list[tuple[str, int]] = [(name, 0) for name in files]
        kind: Kind = "photos"
    else:
        root, listed = _list_files(source)
        kind, listed = _of_one_kind(source, listed)
    if not listed:
        raise FileNotFoundError(f"{source}: expected photos, tars or Parquet files, found none")
    if column is not None and kind != "parquet":
        raise ValueError(f"column: is for Parquet; expected none, {source} holds {kind}")
    if kind == "photos":
        return [
            Shard(f"photos-{_hash(part)}", kind, root, tuple(name for name, _ in part))
            for part in _parts(listed, size)
        ]
    if kind == "parquet":
        column = _column(_join(root, listed[0][0]), column)
    return [
        Shard(f"{_stem(name)}-{_hash([(name, size)])}", kind, root, (name,), column or "")
        for name, size in listed
    ]


def absolute_url(source: str) -> str:
    """Return the whole path or URL of a source."""
    system, path = fsspec.core.url_to_fs(source)
    return str(system.unstrip_protocol(path))


def _list_files(source: str) -> tuple[str, list[tuple[str, int]]]:
    """Return the folder, and the names in it with their sizes in bytes, sorted."""
    system, path = fsspec.core.url_to_fs(source)
    if isinstance(system, LocalFileSystem) and os.path.isdir(path):
        return path, sorted(_in_local_folder(path))
    if "*" in path:
        root = path[: path.index("*")].rpartition("/")[0]
        infos = system.glob(path, detail=True)
    elif system.isdir(path):
        root, infos = path, system.find(path, detail=True)
    elif system.exists(path):
        root, infos = path.rpartition("/")[0], {path: system.info(path)}
    else:
        raise FileNotFoundError(f"{source}: expected a folder, a file or a pattern, found nothing")
    listed = [
        (name[len(root) :].lstrip("/"), int(info.get("size") or 0))
        for name, info in infos.items()
        if info["type"] == "file"
    ]
    return _address(system, root), sorted(each for each in listed if not _is_hidden(each[0]))


def _address(system: Any, path: str) -> str:
    """Return the URL of a path; on the local file system the path itself."""
    return path or "/" if isinstance(system, LocalFileSystem) else system.unstrip_protocol(path)


def _in_local_folder(path: str) -> Iterator[tuple[str, int]]:
    """Yield the files below a folder; one that cannot be read stands for what is in it."""
    for found in folders(path):
        name = os.path.relpath(found.path, path)
        if isinstance(found, UnreadableFolder):
            yield f"{name}{os.sep}", 0
            continue
        for file in found.files:
            if not file.startswith("."):
                full = os.path.join(found.path, file)
                size = os.path.getsize(full) if os.path.exists(full) else 0
                yield os.path.normpath(os.path.join(name, file)), size


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def _of_one_kind(
    source: str, listed: Sequence[tuple[str, int]]
) -> tuple[Kind, list[tuple[str, int]]]:
    kinds = [_kind(name) for name, _ in listed]
    counts = Counter(each for each in kinds if each is not None)
    if len(counts) > 1:
        found = ", ".join(f"{kind}: {number}" for kind, number in counts.items())
        raise ValueError(
            f"{source}: expected photos, tars or Parquet files, got {found}; name those of one "
            "kind by a pattern, such as 'FOLDER/*.tar', or by a list"
        )
    kind: Kind = next(iter(counts), "photos")
    # A folder that cannot be read is an error among the results, whatever it would have held.
    return kind, [
        each for each, own in zip(listed, kinds, strict=True) if own or each[0].endswith(os.sep)
    ]


def _kind(name: str) -> Kind | None:
    lower = name.lower()
    if lower.endswith(TAR_SUFFIXES):
        return "tar"
    if lower.endswith(".parquet"):
        return "parquet"
    return "photos" if os.path.splitext(lower)[1] in PHOTO_SUFFIXES else None


def _parts(listed: Iterable[tuple[str, int]], size: int) -> Iterator[list[tuple[str, int]]]:
    """Divide photos before names whose hash is a multiple of ``size``."""
    part: list[tuple[str, int]] = []
    for each in listed:
        is_boundary = zlib.crc32(_encoded(each[0])) % size == 0
        if (is_boundary and len(part) >= max(size // 4, 1)) or len(part) >= 4 * size:
            yield part
            part = []
        part.append(each)
    if part:
        yield part


def _hash(files: Iterable[tuple[str, int]]) -> str:
    digest = hashlib.sha256()
    for name, size in files:
        digest.update(_encoded(name) + f"\0{size}\0".encode())
    return digest.hexdigest()[:16]


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _stem(name: str) -> str:
    stem = name.rpartition("/")[2].partition(".")[0]
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in stem)[:100]


def _join(root: str, name: str) -> str:
    """Return the path or URL of a name, which may be absolute itself."""
    if "://" in name or os.path.isabs(name) or not root:
        return name
    return f"{root.rstrip('/')}/{name}"


def _read(url: str) -> bytes:
    """Return the bytes of a file; raises OSError if it cannot be read."""
    system, path = fsspec.core.url_to_fs(url)
    try:
        return system.cat_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{url}: expected a file, found none") from None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # clients of object stores and of HTTP have exceptions of their own
        raise OSError(f"{url}: cannot be read ({error})") from error


def _raise(message: str) -> bytes:
    raise ValueError(message)


class _StrictHeader(tarfile.TarInfo):
    """Raises an error where tarfile takes a damaged or missing header for the end."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _StrictHeader:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the mark of the end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"expected a header or the end mark, {error}") from error


def _tar_pictures(file: Any, shard: Shard) -> Iterator[PhotoBytes]:
    # In one pass, as from an object store.
    with tarfile.open(fileobj=file, mode="r|*", tarinfo=_StrictHeader) as tar:
        for member in tar:
            if member.isfile() and _kind(member.name) == "photos":
                content = tar.extractfile(member)
                assert content is not None
                yield PhotoBytes(f"{shard.names[0]}/{member.name}", partial(bytes, content.read()))


def _parquet_pictures(file: Any, shard: Shard) -> Iterator[PhotoBytes]:
    import_arrow()
    from pyarrow import parquet

    row = 0
    batches = parquet.ParquetFile(file).iter_batches(PARQUET_BATCH, columns=[shard.column])
    for batch in batches:
        for value in batch.column(0).to_pylist():
            yield PhotoBytes(f"{shard.names[0]}#{row}", partial(_value, value, shard.root))
            row += 1


def _value(value: Any, root: str) -> bytes:
    """Return the bytes of a picture from a value of Parquet."""
    if isinstance(value, dict):  # Hugging Face's images
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str):
        return _read(_join(root, value))
    if not isinstance(value, bytes):
        raise ValueError(f"expected the bytes or the path of a picture, got {value!r:.80}")
    return value


def _column(url: str, column: str | None) -> str:
    import_arrow()
    from pyarrow import ArrowException, parquet

    try:
        with fsspec.open(url, "rb") as file:
            names = parquet.read_schema(file).names
    except ArrowException as error:
        raise ValueError(f"{url}: expected a Parquet file, {error}") from error
    wanted = PICTURE_COLUMNS if column is None else (column,)
    found = next((name for name in wanted if name in names), None)
    if found is None:
        hint = "name the one of the pictures with --column" if column is None else "choose another"
        raise ValueError(
            f"{url}: expected a column {' or '.join(wanted)}, got {', '.join(names)}; {hint}"
        )
    return found
