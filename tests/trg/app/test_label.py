"""``trg label``: sources, shards that appear whole, resuming, and errors that become rows."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections import Counter

import fsspec
import numpy as np
import pytest
from PIL import Image

from tests.support.cli_predict_runs import ALONE, FOCAL, cli, save_photos  # noqa: F401
from tests.support.full_disk import full_after
from tests.support.pixel_estimator import KILL, PixelEstimator, save_grey
from trg.app.label.engines import label_local
from trg.app.label.folder import LabelFolder
from trg.app.label.shards import Labelling, label_shard
from trg.app.label.sources import find_shards
from trg.app.predict.options import PredictOptions
from trg.io.records.arrow_tables import ArrowTable

arrow = pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra `data`")
parquet = pytest.importorskip("pyarrow.parquet")

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked")


class Observer:
    def __init__(self):
        self.shards, self.deaths, self.pictures = [], [], 0

    def on_pictures(self, count):
        self.pictures += count

    def on_shard(self, shard):
        self.shards.append(shard.name)

    def on_death(self, shard, reason):
        self.deaths.append(reason)

    def raise_if_stopped(self): ...


def labelling(tmp_path, out=None) -> Labelling:
    estimator = PixelEstimator(tmp_path / "marker")
    options = PredictOptions(batch_size=8)
    return Labelling(str(out or tmp_path / "out"), estimator, options, ArrowTable(), 10**6)


def rows(out) -> Counter:
    table = parquet.read_table(out, columns=["source", "error"])
    return Counter(zip(table["source"].to_pylist(), table["error"].to_pylist(), strict=True))


def label(tmp_path, source, size=1000) -> Counter:
    """Label a source whose pictures have no faces; return the rows."""
    shards = find_shards(str(source), size)
    folder = LabelFolder(str(tmp_path / "out"))
    folder.open({})
    label_local(labelling(tmp_path), shards, 1, Observer())
    assert folder.finish([each.name for each in shards], {})
    return rows(tmp_path / "out")


def jpeg(value=0) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), value, np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def write_tar(path, count=3) -> None:
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            for name, data in ((f"{number}.jpg", jpeg()), (f"{number}.json", b"{}")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def test_a_folder_becomes_rows_files_and_a_manifest(cli, tmp_path):  # noqa: F811
    save_photos(tmp_path / "photos/a", 0, 1)
    (bad,) = save_photos(tmp_path / "photos/b", 2)
    bad.write_bytes(bad.read_bytes()[:60])
    (tmp_path / "photos/notes.doc").touch()
    arguments = ("label", tmp_path / "photos", tmp_path / "out", *FOCAL, "--workers", 1)
    done = cli(*arguments)
    assert done.code == 1
    assert "3 faces in 3 pictures, 0 without a face, in 1 file" in done.err
    table = parquet.read_table(tmp_path / "out")
    assert table["source"].to_pylist() == ["a/0.png", "a/1.png", "a/1.png", "b/0.png"]
    assert "damaged" in table["error"].to_pylist()[3]
    assert table["rotation"].to_pylist()[0] == pytest.approx(ALONE.rotation.ravel(), abs=1e-6)
    manifest = json.loads((tmp_path / "out/_manifest.json").read_text())
    assert (manifest["pictures"], manifest["faces"], manifest["errors"]) == (3, 3, 1)
    assert len(manifest["settings"]["model"]) == 64
    # The same command has nothing left to do; other options do not mix.
    (file,) = (tmp_path / "out").glob("*.parquet")
    before = file.stat().st_mtime_ns
    assert cli(*arguments).code == 1
    assert file.stat().st_mtime_ns == before
    refused = cli(*arguments, "--max-faces", 1)
    assert refused.code == 2
    assert "max_faces was None, is 1" in refused.err


def test_a_new_photo_changes_one_shard_and_no_row_is_lost_or_doubled(tmp_path):
    names = [f"{number // 20}/{number}.png" for number in range(80)]
    for name in names:
        save_grey(tmp_path / "photos" / name)
    assert set(label(tmp_path, tmp_path / "photos", 8)) == {(name, None) for name in names}
    before = {path.name for path in (tmp_path / "out").glob("*.parquet")}
    assert len(before) > 4
    assert all(parquet.read_metadata(tmp_path / "out" / name).num_rows for name in before)
    save_grey(tmp_path / "photos/1/new.png")
    found = label(tmp_path, tmp_path / "photos", 8)
    assert found == Counter((name, None) for name in [*names, "1/new.png"])
    after = {path.name for path in (tmp_path / "out").glob("*.parquet")}
    assert len(before - after) <= 2
    assert len(after - before) <= 3


@pytest.mark.parametrize("cut", [100, 512 + 100, 2 * 1024 + 50, 3 * 1024, None])
def test_a_tar_that_is_cut_off_keeps_its_pictures_and_says_so(tmp_path, cut):
    write_tar(tmp_path / "set-0.tar")
    whole = label(tmp_path, tmp_path / "set-0.tar")
    assert whole == Counter((f"set-0.tar/{number}.jpg", None) for number in range(3))
    content = (tmp_path / "set-0.tar").read_bytes()
    end = len(content.rstrip(b"\0")) // 512 * 512 + 512 if cut is None else cut  # no end mark
    (tmp_path / "set-0.tar").write_bytes(content[:end])
    found = label(tmp_path, tmp_path / "set-0.tar")
    errors = [source for source, error in found if error]
    assert errors == ["set-0.tar"]
    assert len(found) - 1 == {100: 0, 612: 0, 2098: 1, 3072: 1, None: 3}[cut]


def test_parquet_holds_bytes_structs_or_paths(tmp_path):
    save_grey(tmp_path / "in/photo.png")
    columns = {
        "bytes": [jpeg(), None, b"no image"],
        "image": [{"bytes": jpeg(), "path": None}, None, {"bytes": None, "path": "photo.png"}],
        "path": ["photo.png", "missing.png", "photo.png"],
    }
    for name, values in columns.items():
        parquet.write_table(arrow.table({"id": [1, 2, 3], name: values}), tmp_path / "in/t.parquet")
        (tmp_path / "in/photo.png").rename(tmp_path / "photo.png")
        shards = find_shards(str(tmp_path / "in"), 10)
        (tmp_path / "photo.png").rename(tmp_path / "in/photo.png")
        label_shard(labelling(tmp_path, tmp_path), shards[0])
        found = parquet.read_table(tmp_path / f"{shards[0].name}.parquet")
        assert found["source"].to_pylist() == ["t.parquet#0", "t.parquet#1", "t.parquet#2"]
        bad = [error is not None for error in found["error"].to_pylist()]
        assert bad == ([False, True, True] if name == "bytes" else [False, True, False])
    with pytest.raises(ValueError, match="column: is for Parquet"):
        find_shards(str(tmp_path / "in/photo.png"), 10, "jpg")
    with pytest.raises(ValueError, match=r"expected a column jpg, got id, path; choose another"):
        find_shards(str(tmp_path / "in/t.parquet"), 10, "jpg")


def test_lists_patterns_and_mixed_folders(tmp_path):
    save_grey(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text(f"a.png\n{tmp_path}/a.png\na.png\n\nmissing.png\n")
    found = label(tmp_path, tmp_path / "list.txt")
    assert {source: error is None for source, error in found} == {
        "a.png": True,
        f"{tmp_path}/a.png": True,
        "missing.png": False,
    }
    for number in range(3):
        write_tar(tmp_path / f"set-{number}.tar")
    shards = find_shards(str(tmp_path / "set-*.tar"), 10)
    assert [each.names for each in shards] == [(f"set-{number}.tar",) for number in range(3)]
    save_grey(tmp_path / "mixed/a.png")
    write_tar(tmp_path / "mixed/set.tar")
    with pytest.raises(ValueError, match="got photos: 1, tar: 1; name those of one kind"):
        find_shards(str(tmp_path / "mixed"), 10)
    with pytest.raises(FileNotFoundError, match="found nothing"):
        find_shards(str(tmp_path / "absent"), 10)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="found none"):
        find_shards(str(tmp_path / "empty"), 10)


def test_relative_places_hold_for_processes_in_other_folders(cli, tmp_path, monkeypatch):  # noqa: F811
    (photo,) = save_photos(tmp_path / "photos", 2)
    (tmp_path / "list.txt").write_text(f"photos/{photo.name}\n")
    (tmp_path / "elsewhere").mkdir()

    def label_elsewhere(*arguments):
        monkeypatch.chdir(tmp_path / "elsewhere")  # as a machine of a Ray cluster
        label_local(*arguments)
        monkeypatch.chdir(tmp_path)

    monkeypatch.setattr("trg.app.label.engines.label_local", label_elsewhere)
    monkeypatch.chdir(tmp_path)
    for source in ("photos", "list.txt"):
        done = cli("label", source, f"out-{source}", "--workers", 1)
        assert done.code == 0, done.err
        assert "1 picture" in done.err


class RefusingFileSystem(fsspec.AbstractFileSystem):
    """Has exceptions of its own, as HTTP's and some object stores' clients do."""

    protocol = "refusing"

    def cat_file(self, path, start=None, end=None, **options):
        raise LookupError("status 403")


def test_a_picture_that_a_server_refuses_is_a_row_with_an_error(tmp_path):
    fsspec.register_implementation("refusing", RefusingFileSystem, clobber=True)
    save_grey(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("refusing://host/b.png\na.png\n")
    found = label(tmp_path, tmp_path / "list.txt")
    assert found == Counter(
        [
            ("refusing://host/b.png", "refusing://host/b.png: cannot be read (status 403)"),
            ("a.png", None),
        ]
    )


def test_every_picture_counts_in_the_progress(tmp_path):
    for number in range(19):
        save_grey(tmp_path / f"photos/{number}.png")
    (tmp_path / "out").mkdir()
    observer = Observer()
    label_local(labelling(tmp_path), find_shards(str(tmp_path / "photos"), 100), 1, observer)
    assert observer.pictures == 19


def test_sources_and_results_in_an_object_store(tmp_path):
    store = fsspec.filesystem("memory")
    store.pipe({"/photos/a/1.jpg": jpeg(), "/photos/a/2.jpg": b"bad", "/photos/.x/3.jpg": jpeg()})
    (shard,) = find_shards("memory://photos", 10)
    assert shard.names == ("a/1.jpg", "a/2.jpg")
    folder = LabelFolder("memory://out")
    folder.open({"a": 1})
    label_local(labelling(tmp_path, "memory://out"), [shard], 1, Observer())
    counts = folder.finish([shard.name], {"a": 1})
    assert counts == {"shards": 1, "pictures": 2, "faces": 0, "without_faces": 1, "errors": 1}
    with pytest.raises(ValueError, match="a was 1, is 2"):
        LabelFolder("memory://out").open({"a": 2})
    store.rm("/photos", recursive=True)
    store.rm("/out", recursive=True)


@pytest.mark.parametrize("out", ["photos", "photos/labels"])
def test_results_below_the_source_are_refused_because_they_would_be_sources(cli, tmp_path, out):  # noqa: F811
    save_photos(tmp_path / "photos", 2)
    done = cli("label", tmp_path / "photos", tmp_path / out)
    assert done.code == 2
    assert "expected a folder outside of the source" in done.err
    assert len(list((tmp_path / "photos").iterdir())) == 1


def test_shares_of_an_array_of_jobs_complete_each_other(cli, tmp_path):  # noqa: F811
    photos = save_photos(tmp_path / "photos", *[2] * 12)
    arguments = ("label", tmp_path / "photos", tmp_path / "out", "--workers", 1, "--shard-size", 2)
    first = cli(*arguments, "--shard", "1/2")
    assert first.code == 0
    assert "others are missing" in first.err
    assert not (tmp_path / "out/_manifest.json").exists()
    assert cli(*arguments, "--shard", "2/2").code == 0
    assert rows(tmp_path / "out") == Counter((path.name, None) for path in photos)
    assert (tmp_path / "out/_manifest.json").exists()
    for text in ("0/2", "3/2", "1", "a/b"):
        assert "expected I/N" in cli(*arguments, "--shard", text).err


def test_shares_that_end_together_both_write_the_manifest(tmp_path, monkeypatch):
    save_grey(tmp_path / "photos/a.png")
    (shard,) = find_shards(str(tmp_path / "photos"), 10)
    (tmp_path / "out").mkdir()
    label_shard(labelling(tmp_path), shard)
    folder = LabelFolder(str(tmp_path / "out"))
    # The other share has removed what this one has just found.
    monkeypatch.setattr(folder, "shard_names", lambda: {shard.name, "photos-of-earlier"})
    assert folder.finish([shard.name], {})["pictures"] == 1


def test_a_full_disk_leaves_no_half_written_file(tmp_path):
    save_grey(tmp_path / "photos/a.png")
    (shard,) = find_shards(str(tmp_path / "photos"), 10)
    (tmp_path / "out").mkdir()
    with full_after(1000), pytest.raises(OSError, match=r"large|space"):
        label_shard(labelling(tmp_path), shard)
    assert not list((tmp_path / "out").iterdir())


def test_foreign_and_damaged_results_are_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.parquet").write_bytes(b"")
    with pytest.raises(FileExistsError, match=r"got mine\.parquet"):
        LabelFolder(str(tmp_path / "out")).open({})
    with pytest.raises(FileExistsError, match="got a file"):
        LabelFolder(str(tmp_path / "out/mine.parquet")).open({})
    with pytest.raises(ValueError, match="remove it, and run again"):
        LabelFolder(str(tmp_path / "out")).finish(["mine"], {})


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="ends processes by signals")
def test_a_picture_that_ends_its_process_is_a_row_with_an_error(tmp_path):
    for number in range(30):
        save_grey(tmp_path / f"photos/{number:02d}.png", KILL if number == 7 else 0)
    shards = find_shards(str(tmp_path / "photos"), 8)
    observer = Observer()
    (tmp_path / "out").mkdir()
    label_local(labelling(tmp_path), shards, 2, observer)
    found = rows(tmp_path / "out")
    assert len(observer.deaths) == 1
    assert len(found) == 30
    ((source, error),) = (each for each in found if each[1])
    assert source == "07.png"
    assert "SIGKILL" in error
