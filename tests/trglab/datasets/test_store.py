"""Shard stores: layout, random access, atomic and resumable writing, damage."""

from __future__ import annotations

import errno
import io
import json
import pickle
import re
import tarfile
from functools import partial

import numpy as np
import pytest

from tests.support.dot_faces import TOPOLOGY
from tests.support.made_samples import files_of
from trg._util.files import write_atomic
from trglab.datasets import files, store_writer
from trglab.datasets.files import UnreadableFileError, file_sha256
from trglab.datasets.manifest import read_manifest, write_manifest
from trglab.datasets.store import ShardStore, is_store
from trglab.datasets.store_writer import SkipSampleError, write_store
from trglab.datasets.view_store import ViewStore

COUNT = 60
DESCRIPTION = {"kind": "numbers", "fields": ["meta.json", "array.npy"], "provenance": {"a": 1}}


def record(index: int) -> dict[str, bytes]:
    return {"meta.json": json.dumps({"n": index}).encode(), "array.npy": bytes([index]) * index}


def encoder(stop_at: int | None = None, skip: tuple[int, ...] = ()):
    def encode(index: int) -> dict[str, bytes]:
        if index == stop_at:
            raise KeyboardInterrupt
        if index in skip:
            raise SkipSampleError(f"sample {index}: too small")
        return record(index)

    return encode


def write(folder, open_encoder=encoder, indices=range(COUNT), **options):
    options = {"description": DESCRIPTION, "shard_size": 25, "topology": TOPOLOGY, **options}
    return write_store(folder, open_encoder, indices, **options)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    assert write(folder).count == COUNT
    return folder


def copy_of(folder, target):
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_records_are_read_in_any_order(written):
    store = ShardStore(written)
    assert len(store) == COUNT
    assert store.provenance == {"a": 1}
    for number in reversed(range(COUNT)):
        assert store.read(number) == record(number)
    assert pickle.loads(pickle.dumps(store)).read(3) == record(3)
    np.testing.assert_array_equal(store.topology.triangles, TOPOLOGY.triangles)
    with pytest.raises(IndexError, match="0 to 59"):
        store.read(COUNT)
    with pytest.raises(ValueError, match="expected a store of views, got one of numbers"):
        ViewStore(written)


def test_shards_follow_the_layout_of_webdataset(written):
    assert len(list(written.glob("*.tar"))) == 3
    with tarfile.open(written / "shard-000001.tar") as tar:
        members = list(tar)
        assert [member.name for member in members[:3]] == [
            "000000025.meta.json", "000000025.array.npy", "000000026.meta.json",
        ]  # fmt: skip
        assert len(members) == 50
        assert tar.extractfile(members[-1]).read() == record(49)["array.npy"]


def test_workers_write_the_same_bytes(written, tmp_path):
    write(tmp_path / "store", workers=2)
    assert files_of(tmp_path / "store") == files_of(written)


def test_any_range_of_samples_can_be_written(tmp_path):
    write(tmp_path / "store", indices=range(20, 30))
    store = ShardStore(tmp_path / "store")
    assert [store.read(number) for number in range(10)] == [record(n) for n in range(20, 30)]
    with pytest.raises(ValueError, match="at least one sample"):
        write(tmp_path / "none", indices=range(5, 5))


def test_an_interrupted_store_is_continued_and_ends_the_same(written, tmp_path):
    folder, progress = tmp_path / "store", []
    with pytest.raises(KeyboardInterrupt):
        write(folder, partial(encoder, 55))
    assert not is_store(folder)
    assert not list(folder.glob(".*"))
    with pytest.raises(FileNotFoundError, match="found an unfinished one"):
        ShardStore(folder)
    with pytest.raises(FileExistsError, match=r"differing: provenance\.\S+ was .*Choose another"):
        write(folder, description={**DESCRIPTION, "provenance": {"a": 2}})
    with open(folder / "progress.jsonl", "a") as file:
        file.write('{"shard": 2, "na')  # a kill cut the line off
    damaged = folder / "shard-000001.tar"
    damaged.write_bytes(damaged.read_bytes()[:-1000])  # is written again
    before = (folder / "shard-000000.tar").stat().st_mtime_ns
    write(folder, on_progress=progress.append)
    assert progress == list(range(26, COUNT + 1))
    assert (folder / "shard-000000.tar").stat().st_mtime_ns == before
    assert files_of(folder) == files_of(written)
    assert write(folder).count == COUNT  # a finished store is left alone
    with pytest.raises(FileExistsError, match="same settings"):
        write(folder, indices=range(COUNT - 1))


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="new or empty folder"):
        write(tmp_path)


def test_a_full_disk_leaves_a_store_that_can_be_continued(written, tmp_path, monkeypatch):
    def full(path, write):
        if path.name == "shard-000001.tar":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_atomic(path, write)

    folder = tmp_path / "store"
    with monkeypatch.context() as patch:
        patch.setattr(store_writer, "write_atomic", full)
        with pytest.raises(OSError, match="No space left"):
            write(folder)
    assert not is_store(folder)
    write(folder)
    assert files_of(folder) == files_of(written)


def test_skipped_samples_are_listed(tmp_path):
    report = write(tmp_path / "store", partial(encoder, skip=(0, 26)))
    assert report.count == COUNT - 2
    assert report.skipped == ("sample 0: too small", "sample 26: too small")
    store = ShardStore(tmp_path / "store")
    assert store.manifest["skipped"] == list(report.skipped)
    assert store.read(0) == record(1)
    with pytest.raises(ValueError, match="no sample can be read; the first: sample 0"):
        write(tmp_path / "none", partial(encoder, skip=(0, 1)), range(2))


def test_records_of_other_fields_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected the fields"):
        write(tmp_path, lambda: lambda index: {"other": b""})


def flip_a_bit(path, at=-1):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_damaged_shards_are_found_by_their_hash(written, tmp_path):
    folder = copy_of(written, tmp_path / "store")
    assert ShardStore(folder).damaged_files() == []
    flip_a_bit(folder / "shard-000002.tar")
    store = ShardStore(folder)
    (folder / "topology.npz").unlink()
    shard, topology = store.damaged_files()
    assert "shard-000002.tar: expected SHA-256" in shard
    assert "topology.npz: missing" in topology


def test_a_damaged_record_is_refused_and_the_others_are_read(written, tmp_path):
    folder = copy_of(written, tmp_path / "store")
    flip_a_bit(folder / "shard-000001.tar", at=100)  # in a tar header
    store = ShardStore(folder)
    with pytest.raises(UnreadableFileError, match=r"shard-000001\.tar: record 25.*CRC-32"):
        store.read(25)
    assert store.read(26) == record(26)


def test_stores_without_checksums_are_read_as_before(written, tmp_path):
    folder = copy_of(written, tmp_path / "store")
    (folder / "checksums.npy").unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["manifest_sha256"]
    manifest["files"] = [each for each in manifest["files"] if each["name"] != "checksums.npy"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    store = ShardStore(folder)
    assert [store.read(number) for number in range(COUNT)] == [record(n) for n in range(COUNT)]


def write_hostile(folder, index=None, **values):
    """Change a store and give it the digests of what it then holds."""
    manifest = {**read_manifest(folder), **values}
    if index is not None:
        np.save(folder / "index.npy", index)
        for note in manifest["files"]:
            if note["name"] == "index.npy":
                note["sha256"] = file_sha256(folder / "index.npy")
    write_manifest(folder, manifest)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"count": 10**12}, "as many records"),
        ({"count": True}, "as many records"),
        ({"fields": "meta.json"}, "a list of fields"),
        ({"fields": ["a", "a"]}, "a list of fields"),
        ({"provenance": None}, "provenance"),
        ({"skipped": [1]}, "skipped"),
        ({"shards": [{"name": "../../secret", "bytes": 1, "sha256": "", "count": 60}]}, "in order"),
        ({"shards": [{"name": "shard-000000.tar", "bytes": "1", "sha256": ""}]}, "sizes"),
        ({"files": [{"name": "/etc/passwd", "sha256": ""}]}, "files with digests"),
    ],
)
def test_manifests_with_wrong_values_are_refused(written, tmp_path, values, expected):
    folder = copy_of(written, tmp_path / "store")
    write_hostile(folder, **values)
    with pytest.raises(UnreadableFileError, match=rf"manifest\.json: damaged .*{expected}"):
        ShardStore(folder)


def test_nested_and_huge_manifests_are_refused(written, tmp_path, monkeypatch):
    path = copy_of(written, tmp_path / "store") / "manifest.json"
    path.write_text('{"format":' + "[" * 100_000)
    with pytest.raises(UnreadableFileError, match=r"manifest\.json"):
        ShardStore(path.parent)
    monkeypatch.setattr(files, "MAX_JSON_BYTES", 1000)
    with pytest.raises(UnreadableFileError, match="at most 1,000 bytes"):
        ShardStore(path.parent)


@pytest.mark.parametrize(("column", "value"), [(0, 9), (0, -1), (1, -512), (2, -1), (3, 2**62)])
def test_records_outside_their_shards_are_refused(written, tmp_path, column, value):
    folder = copy_of(written, tmp_path / "store")
    index = np.load(folder / "index.npy")
    index[7, column] = value
    write_hostile(folder, index)
    with pytest.raises(UnreadableFileError, match=r"index\.npy: damaged \(record 7"):
        ShardStore(folder)


def test_an_index_of_another_type_is_refused(written, tmp_path):
    folder = copy_of(written, tmp_path / "store")
    write_hostile(folder, np.load(folder / "index.npy").astype(np.float64))
    with pytest.raises(UnreadableFileError, match=r"index\.npy: expected shape .* of int64"):
        ShardStore(folder)


def test_arrays_that_unpack_to_too_much_are_refused(monkeypatch):
    file = io.BytesIO()
    np.savez_compressed(file, zeros=np.zeros(100_000))
    monkeypatch.setattr(files, "MAX_ARRAY_BYTES", 10_000)
    with pytest.raises(ValueError, match="at most 10000 bytes"):
        files.read_npz(file.getvalue(), ["zeros"])


@pytest.mark.parametrize("name", ["manifest.json", "index.npy", "checksums.npy", "topology.npz"])
def test_damaged_lists_are_named(written, tmp_path, name):
    path = copy_of(written, tmp_path / "store") / name
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"\xff\xd8" + whole):
        path.write_bytes(content)
        with pytest.raises(UnreadableFileError, match=re.escape(str(path))):
            _ = ShardStore(path.parent).topology


def test_incomplete_stores_are_refused(written, tmp_path):
    folder = copy_of(written, tmp_path / "store")
    shard = folder / "shard-000002.tar"
    store = ShardStore(folder)
    shard.write_bytes(shard.read_bytes()[:20_000])
    with pytest.raises(UnreadableFileError, match=r"shard-000002\.tar: record 59.* is cut off"):
        store.read(59)
    with pytest.raises(ValueError, match=r"shard-000002\.tar: expected .* bytes"):
        ShardStore(folder)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=r"shard-000002\.tar"):
        ShardStore(folder)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="expected format"):
        read_manifest(folder)
    assert not is_store(folder)
    with pytest.raises(FileNotFoundError, match="found none"):
        ShardStore(tmp_path)
