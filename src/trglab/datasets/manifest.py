"""The manifest of a shard store: what the records are, and the files with their digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trg._util.files import write_text_atomic
from trglab.datasets.files import UnreadableFileError, read_json

FORMAT = "trg shards 1"
MANIFEST = "manifest.json"
INDEX = "index.npy"
CHECKSUMS = "checksums.npy"
TOPOLOGY = "topology.npz"
PROGRESS = "progress.jsonl"

DIGEST = "manifest_sha256"
"""Key of the digest of the manifest's other values; stores without checksums lack it."""


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{number:06d}.tar"


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest with its own digest; the store is finished then."""
    text = json.dumps({**manifest, DIGEST: _digest(manifest)}, indent=1)
    write_text_atomic(folder / MANIFEST, text)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a finished store.

    Raises
    ------
    FileNotFoundError
        There is no store, or it is unfinished.
    UnreadableFileError
        The manifest is damaged, or the folder holds something else.
    """
    path = folder / MANIFEST
    if not path.exists():
        found = "an unfinished one" if (folder / PROGRESS).exists() else "none"
        raise FileNotFoundError(
            f"{folder}: expected a finished shard store, found {found}; run `trg data pack` "
            "(again) to write it"
        )
    manifest = read_json(path)
    if manifest.get("format") != FORMAT:
        raise UnreadableFileError(
            f"{path}: expected format {FORMAT!r}, got {manifest.get('format')!r}"
        )
    wrong = [expected for expected, holds in _rules(manifest) if not holds]
    if wrong:
        raise UnreadableFileError(f"{path}: damaged (expected {wrong[0]})")
    digest = manifest.pop(DIGEST, None)
    is_checked = digest is not None or (folder / CHECKSUMS).exists()
    if is_checked and digest != _digest(manifest):
        raise UnreadableFileError(
            f"{path}: damaged (expected values of SHA-256 {digest}, got {_digest(manifest)})"
        )
    return manifest


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _rules(manifest: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield what is expected, with whether it holds; later rules presume the earlier ones."""
    get = manifest.get
    fields: Any = get("fields")
    shards: Any = get("shards")
    files: Any = get("files")
    yield "a kind", isinstance(get("kind"), str)
    yield "a list of fields", _is_list(fields, str) and 0 < len(set(fields)) == len(fields)
    yield "provenance", isinstance(get("provenance"), dict)
    yield "a list of skipped samples", _is_list(get("skipped"), str)
    types: dict[str, type] = {"name": str, "bytes": int, "sha256": str, "count": int}
    is_typed = _is_list(shards, dict) and all(_has_types(each, types) for each in shards)
    yield "shards with names, sizes, digests and counts", is_typed
    if is_typed:
        names = [shard_name(number) for number in range(len(shards))]
        yield "shards in order", [each["name"] for each in shards] == names
        total = sum(each["count"] for each in shards)
        yield (
            "as many records as the shards have",
            type(get("count")) is int and get("count") == total,
        )
    types = {"name": str, "sha256": str}
    is_typed = _is_list(files, dict) and all(_has_types(each, types) for each in files)
    known = {INDEX, CHECKSUMS, TOPOLOGY}
    yield "files with digests", is_typed and {each["name"] for each in files} <= known


def _is_list(value: Any, item_type: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, item_type) for item in value)


def _has_types(values: Mapping[str, Any], types: Mapping[str, type]) -> bool:
    return all(type(values.get(name)) is each for name, each in types.items())
