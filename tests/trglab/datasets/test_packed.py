"""Packed data sets: the same views, in any order, resumable, verified, past what is damaged."""

from __future__ import annotations

import errno
import io
import json
import logging
import re
import tarfile
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from tests.support.made_samples import TOPOLOGY, files_of, make_samples, write
from trg._util.atomic import write_atomic
from trglab.datasets import packing
from trglab.datasets.arkitface import ARKitFace
from trglab.datasets.catalogue import DataSet
from trglab.datasets.files import UnreadableFileError
from trglab.datasets.infinite_sampler import InfiniteSampler
from trglab.datasets.packed import PackedViews, damaged_files, is_packed
from trglab.datasets.packing import PackSettings, pack_samples
from trglab.datasets.prefetch import ViewPool
from trglab.datasets.view import ViewSpec, view_from_sample
from trglab.datasets.w300lp import W300LP
from trglab.training.data import ShuffledSource, open_source, topology_of
from trglab.training.recipes import PACKED, SourceConfig, recipe

COUNT = 7
SIZE = 48
SMALL = PackSettings(SIZE, shard_size=3)


@pytest.fixture(scope="module")
def arkit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arkit")
    write(make_samples(COUNT), folder, "arkitface")
    return folder


@pytest.fixture(scope="module")
def packed(arkit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    report = pack_samples(folder, partial(ARKitFace, arkit), SMALL, facts={"a": 1})
    assert (report.count, report.skipped) == (COUNT, ())
    return folder


def as_dict(views):
    return {name: np.asarray(value) for name, value in views._asdict().items()}


def test_views_are_the_readers_but_for_jpeg(arkit, packed):
    reader, pack = ARKitFace(arkit), PackedViews(packed)
    assert len(pack) == COUNT
    assert pack.manifest["facts"] == {"a": 1}
    assert [len(list(packed.glob("shard-*")))] == [3]
    for number in reversed(range(COUNT)):
        expected = as_dict(view_from_sample(reader[number], pack.spec))
        for name, value in as_dict(pack.view(number, pack.spec)).items():
            if name == "image":
                assert np.abs(value.astype(int) - expected[name]).mean() < 5
            else:
                np.testing.assert_array_equal(value, expected[name], err_msg=name)
                assert value.dtype == expected[name].dtype


def test_a_view_as_a_sample_gives_the_same_view_again(arkit, packed):
    reader, pack = ARKitFace(arkit), PackedViews(packed)
    for number in range(COUNT):
        sample = pack[number]
        assert (sample.name, sample.identity) == (reader[number].name, reader[number].identity)
        projected = sample.camera.project(
            sample.vertices_m[pack.topology.landmarks68] @ sample.rotation.T + sample.translation_m
        )
        np.testing.assert_allclose(projected, sample.landmarks68_px, atol=1e-3)
        again, stored = view_from_sample(sample, pack.spec), pack.view(number, pack.spec)
        for name, value in as_dict(stored).items():
            np.testing.assert_allclose(as_dict(again)[name], value, atol=1e-6, err_msg=name)


def test_the_mesh_comes_along(packed):
    topology = PackedViews(packed).topology
    np.testing.assert_array_equal(topology.triangles, TOPOLOGY.triangles)
    np.testing.assert_array_equal(topology.landmarks68, TOPOLOGY.landmarks68)


def test_other_programs_can_read_the_shards(packed):
    """By tarfile and NumPy alone, as WebDataset's readers do."""
    with tarfile.open(packed / "shard-000001.tar") as tar:
        assert [member.name for member in tar][:4] == [
            "000000003.json", "000000003.jpg", "000000003.npy", "000000004.json",
        ]  # fmt: skip
        record = np.lib.format.read_array(io.BytesIO(tar.extractfile("000000003.npy").read()))
        facts = json.load(tar.extractfile("000000003.json"))
    view = PackedViews(packed).view(3, ViewSpec(SIZE))
    np.testing.assert_array_equal(record["vertices_m"], view.vertices_m)
    assert facts["camera"]["width"] == SIZE


def test_2d_labels_take_no_room_for_vertices(tmp_path):
    write(make_samples(3), tmp_path / "w", "300wlp")
    pack_samples(tmp_path / "p", partial(W300LP, tmp_path / "w"), SMALL)
    pack = PackedViews(tmp_path / "p")
    view = pack.view(1, pack.spec)
    assert not view.has_pose
    assert not view.has_vertices
    assert view.vertices_m.shape == (1220, 3)
    assert pack.topology is None
    assert (tmp_path / "p" / "shard-000000.tar").stat().st_size < 3 * 10_000


class Stops:
    """A data set whose reading is broken off after some samples."""

    def __init__(self, folder, after):
        self._reader, self._after = ARKitFace(folder), after
        self.triangles, self.landmarks68 = self._reader.triangles, self._reader.landmarks68

    def __len__(self):
        return len(self._reader)

    def __getitem__(self, index):
        if index >= self._after:
            raise KeyboardInterrupt
        return self._reader[index]


def test_an_interrupted_pack_goes_on_and_ends_the_same(arkit, packed, tmp_path):
    folder, made = tmp_path / "p", []
    with pytest.raises(KeyboardInterrupt):
        pack_samples(folder, partial(Stops, arkit, after=6), SMALL, facts={"a": 1})
    assert not is_packed(folder)
    with pytest.raises(FileNotFoundError, match="expected a finished pack"):
        PackedViews(folder)
    with pytest.raises(FileExistsError, match="same settings"):
        pack_samples(folder, partial(ARKitFace, arkit), SMALL, facts={"a": 2})
    # A shard that is not what its note tells of is made anew.
    damaged = folder / "shard-000001.tar"
    damaged.write_bytes(damaged.read_bytes()[:-1000])
    before = (folder / "shard-000000.tar").stat().st_mtime_ns
    pack_samples(folder, partial(ARKitFace, arkit), SMALL, facts={"a": 1}, on_progress=made.append)
    assert made == [6, 7]
    assert (folder / "shard-000000.tar").stat().st_mtime_ns == before
    assert files_of(folder) == files_of(packed)
    with pytest.raises(FileExistsError, match="no finished pack"):
        pack_samples(folder, partial(ARKitFace, arkit), SMALL, facts={"a": 1})


def test_a_full_disk_is_no_damaged_sample(arkit, packed, tmp_path, monkeypatch):
    def full(path, write):
        if path.suffix == ".tar":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_atomic(path, write)

    folder = tmp_path / "p"
    with monkeypatch.context() as patch:
        patch.setattr(packing, "write_atomic", full)
        with pytest.raises(OSError, match="No space left"):
            pack_samples(folder, partial(ARKitFace, arkit), SMALL, facts={"a": 1})
    assert not is_packed(folder)
    pack_samples(folder, partial(ARKitFace, arkit), SMALL, facts={"a": 1})
    assert files_of(folder) == files_of(packed)


def test_workers_pack_the_same_bytes(arkit, packed, tmp_path):
    source = DataSet("arkitface", str(arkit), {"split": "train"})
    pack_samples(tmp_path / "p", source, SMALL, facts={"a": 1}, workers=2)
    assert files_of(tmp_path / "p") == files_of(packed)


def test_what_cannot_be_read_is_left_out_and_listed(arkit, tmp_path):
    write(make_samples(COUNT), tmp_path / "a", "arkitface")
    image = next((tmp_path / "a").rglob("*1_ar.jpg"))
    image.write_bytes(image.read_bytes()[:700])
    info = next((tmp_path / "a").rglob("*4_info.npz"))
    info.write_bytes(info.read_bytes()[:3000])
    report = pack_samples(tmp_path / "p", partial(ARKitFace, tmp_path / "a"), SMALL)
    assert report.count == COUNT - 2
    assert "sample 1: " in report.skipped[0]
    assert str(image) in report.skipped[0]
    assert str(info) in report.skipped[1]
    pack = PackedViews(tmp_path / "p")
    assert tuple(pack.manifest["skipped"]) == report.skipped
    assert [sample.name[-1] for sample in pack] == ["0", "2", "3", "5", "6"]


def test_a_pack_of_nothing_is_an_error(tmp_path):
    write(make_samples(2), tmp_path / "a", "arkitface")
    for image in (tmp_path / "a").rglob("*.jpg"):
        image.unlink()
    with pytest.raises(ValueError, match="can be read"):
        pack_samples(tmp_path / "p", partial(ARKitFace, tmp_path / "a"), SMALL)
    with pytest.raises(ValueError, match="shard_size of at least 1"):
        pack_samples(tmp_path / "p", partial(ARKitFace, tmp_path / "a"), PackSettings(shard_size=0))


def copy_of(folder, target):
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("kind", ["jpg", "npy"])
def test_damaged_views_are_named_passed_over_and_counted(packed, tmp_path, caplog, kind):
    folder = copy_of(packed, tmp_path / "p")
    shard = folder / "shard-000001.tar"
    with tarfile.open(shard) as tar:
        place = tar.getmember(f"000000004.{kind}").offset_data
    content = bytearray(shard.read_bytes())
    content[place : place + 200] = bytes(200)
    shard.write_bytes(content)
    assert damaged_files(packed) == []
    assert "shard-000001.tar: expected SHA-256" in damaged_files(folder)[0]

    pack = PackedViews(folder)
    with pytest.raises(UnreadableFileError, match=r"shard-000001\.tar: view 4, at byte"):
        pack.view(4, pack.spec)
    source = ShuffledSource(pack, seed=0)
    order = InfiniteSampler(COUNT, 0)
    with caplog.at_level(logging.WARNING):
        for index in range(COUNT):
            number = order.number(index)
            expected = order.number(index + 1) if number == 4 else number
            got = source.view(index, pack.spec)
            np.testing.assert_array_equal(got.rotation, pack.view(expected, pack.spec).rotation)
    (record,) = caplog.records
    assert "1 so far" in record.getMessage()
    assert "view 4" in record.getMessage()


@pytest.mark.parametrize("name", ["manifest.json", "index.npy", "topology.npz"])
def test_damaged_lists_are_named(packed, tmp_path, name):
    path = copy_of(packed, tmp_path / "p") / name
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"\xff\xd8" + whole):
        path.write_bytes(content)
        with pytest.raises(UnreadableFileError, match=re.escape(str(path))):
            _ = PackedViews(path.parent).topology


def test_wrong_files_are_refused(packed, tmp_path):
    folder = copy_of(packed, tmp_path / "p")
    with pytest.raises(ValueError, match=r"expected views of ViewSpec\(size=64"):
        PackedViews(folder).view(0, ViewSpec(64))
    shard = folder / "shard-000002.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(ValueError, match=r"shard-000002\.tar: expected .* bytes"):
        PackedViews(folder)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=r"shard-000002\.tar"):
        PackedViews(folder)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="expected format"):
        PackedViews(folder)
    assert not is_packed(folder)


def test_too_many_damaged_views_end_the_reading():
    def fails(number):
        raise UnreadableFileError(f"number {number} is damaged")

    with pytest.raises(ValueError, match="100 samples in a row"):
        InfiniteSampler(5, 0).read(0, fails)
    with pytest.raises(ValueError, match="at least one item"):
        InfiniteSampler(0, 0)


@pytest.mark.parametrize("world", [1, 2])
def test_machines_share_each_run_through_without_repeats_or_gaps(packed, world):
    """One row in the pool: every view comes once in a run through, whoever asks for it."""
    pack = PackedViews(packed)
    depths = [float(pack.view(number, pack.spec).translation_m[2]) for number in range(COUNT)]
    batch = 2 * world
    pools = [
        ViewPool(
            partial(ShuffledSource, pack, 3),
            pack.spec,
            batch_size=batch,
            capacity=1,
            slots=(2 * rank, 2 * rank + 2),
            workers=1 if rank else 0,
        )
        for rank in range(world)
    ]
    seen: list[float] = []
    try:
        for step in range(3 * COUNT // batch + 1):
            for rank, pool in enumerate(pools):
                views = pool.batch(step, 2 * rank, 2 * rank + 2)
                seen += views.translation_m[:, 2].tolist()
    finally:
        for pool in pools:
            pool.close()
    for run in range(3):
        assert sorted(seen[run * COUNT : (run + 1) * COUNT]) == sorted(depths)
    assert seen[:COUNT] != seen[COUNT : 2 * COUNT]


def test_the_papers_recipes_take_shards_in_place_of_folders(arkit, packed, tmp_path):
    write(make_samples(2), tmp_path / "w", "300wlp")
    pack_samples(tmp_path / "pw", partial(W300LP, tmp_path / "w"), SMALL)
    chosen = recipe("paper", {"arkitface": str(packed), "w300lp": str(tmp_path / "pw")})
    assert [source.source for source in chosen.sources] == [PACKED, PACKED]
    assert [source.weight for source in chosen.sources] == [717_840, 122_450]
    assert topology_of(chosen).vertex_count == 1220
    assert isinstance(open_source(chosen.sources[1]), PackedViews)
    raw = recipe("paper", {"arkitface": str(arkit), "w300lp": str(tmp_path / "w")})
    assert all(source.source != PACKED for source in raw.sources)


def test_shards_of_another_size_are_refused_before_workers_start(packed):
    from trglab.training.data import Place, open_feed
    from trglab.training.recipes import tiny

    chosen = tiny(source=PACKED, options={"folder": str(packed)})
    assert chosen.sources == (SourceConfig(PACKED, {"folder": str(packed)}, capacity=32, reuse=4),)
    with pytest.raises(ValueError, match="pack the data set anew"):
        open_feed(chosen, Place(workers=1), ViewSpec(96), 0)


def test_memory_stays_flat_over_runs_through(packed):
    """Reading keeps nothing: what Python holds does not grow from the 2nd to the 20th run."""
    import tracemalloc

    pack = PackedViews(packed)

    def read_all(runs):
        for index in range(runs * COUNT):
            pack.view(index % COUNT, pack.spec)

    read_all(2)
    tracemalloc.start()
    try:
        read_all(1)
        before, _ = tracemalloc.get_traced_memory()
        read_all(18)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000


@pytest.mark.slow
def test_a_core_reads_1500_views_a_second(tmp_path):
    """By the processor's time; the best of several, as other programs slow memory down."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC)).astype(np.int64)
    image = np.clip(smooth + rng.normal(0.0, 3.0, smooth.shape), 0, 255).astype(np.uint8)
    write([replace(sample, image=image) for sample in make_samples(8)], tmp_path / "a", "arkitface")
    pack_samples(tmp_path / "p", partial(ARKitFace, tmp_path / "a"), PackSettings(192))
    pack = PackedViews(tmp_path / "p")

    def seconds_each():
        start = time.process_time()
        for index in range(200):
            pack.view(index % 8, pack.spec)
        return (time.process_time() - start) / 200

    assert 1.0 / min(seconds_each() for _ in range(8)) > 1500


def test_trainings_on_raw_folders_pass_over_what_is_damaged(tmp_path, caplog):
    write(make_samples(4), tmp_path, "arkitface")
    image = next(tmp_path.rglob("*2_ar.jpg"))
    image.write_bytes(image.read_bytes()[:700])
    source = ShuffledSource(ARKitFace(tmp_path), seed=0)
    with caplog.at_level(logging.WARNING):
        views = [source.view(index, ViewSpec(SIZE)) for index in range(4)]
    assert len({float(view.translation_m[2]) for view in views}) == 3
    assert str(image) in caplog.text
    assert "1 so far" in caplog.text


def test_packing_needs_landmarks(tmp_path):
    write(make_samples(1), tmp_path / "b", "biwi")
    with pytest.raises(ValueError, match="expected 68 landmarks"):
        pack_samples(tmp_path / "p", DataSet("biwi", str(tmp_path / "b")))
