"""Stores of views: the views of any dataset, unchanged, in any order, past damaged ones."""

from __future__ import annotations

import io
import json
import logging
import shutil
import tarfile
import time
import tracemalloc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from tests.support.dot_faces import DotFaces, MeshedDots
from tests.support.made_samples import TOPOLOGY, files_of, make_samples, write
from trglab.datasets.arkitface import ARKitFace
from trglab.datasets.catalogue import DatasetFolder
from trglab.datasets.codecs import decode_image
from trglab.datasets.files import UnreadableFileError
from trglab.datasets.infinite_sampler import InfiniteSampler, ShuffledDataset
from trglab.datasets.manifest import read_manifest, write_manifest
from trglab.datasets.prefetch import PrefetchRing
from trglab.datasets.view import ViewSpec, view_from_sample
from trglab.datasets.view_store import ViewStore, ViewStoreSettings, write_views
from trglab.datasets.w300lp import W300LP
from trglab.training.config import VIEW_STORE, DatasetConfig
from trglab.training.data import ProcessInfo, open_batches, open_dataset, recipe_topology
from trglab.training.recipes import recipe, stored_dataset, tiny

COUNT = 7
SIZE = 48
SMALL = ViewStoreSettings(SIZE, shard_size=3)


@pytest.fixture(scope="module")
def arkit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arkit")
    write(make_samples(COUNT), folder, "arkitface")
    return folder


@pytest.fixture(scope="module")
def stored(arkit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    report = write_views(folder, partial(ARKitFace, arkit), SMALL, provenance={"a": 1})
    assert (report.count, report.skipped) == (COUNT, ())
    return folder


def assert_same(first, second, skip=()):
    for name in set(first._fields) - set(skip):
        a, b = getattr(first, name), getattr(second, name)
        np.testing.assert_array_equal(a, b, err_msg=name)
        assert np.asarray(a).dtype == np.asarray(b).dtype, name


def test_views_are_the_datasets_except_for_jpeg(arkit, stored):
    reader, store = ARKitFace(arkit), ViewStore(stored)
    assert len(store) == COUNT
    for index in reversed(range(COUNT)):
        expected = view_from_sample(reader[index], store.spec)
        view = store.view(index, store.spec)
        assert_same(view, expected, skip=["image"])
        assert np.abs(view.image.astype(int) - expected.image).mean() < 5


@pytest.mark.parametrize("image_format", ["png", "raw"])
def test_lossless_stores_give_back_the_views_of_a_renderer(tmp_path, image_format):
    faces = MeshedDots(seed=2)
    settings = ViewStoreSettings(SIZE, image_format=image_format, shard_size=4)
    write_views(tmp_path / "s", partial(MeshedDots, 2), settings, indices=range(5, 15))
    store = ViewStore(tmp_path / "s")
    for index in range(10):
        assert_same(
            store.view(index, store.spec), view_from_sample(faces.sample(5 + index), store.spec)
        )
    several = store.views([4, 2])
    assert several.image.shape == (2, SIZE, SIZE, 3)
    assert store[3].name == "dots/8"
    np.testing.assert_array_equal(store.topology.triangles, TOPOLOGY.triangles)
    with pytest.raises(ValueError, match="expected the samples to write of an infinite dataset"):
        write_views(tmp_path / "t", MeshedDots, settings)


def test_errors_of_a_renderer_are_raised(tmp_path):
    """An unreadable file is skipped, but a renderer has none."""
    with pytest.raises(RuntimeError, match="does not want"):
        write_views(tmp_path, partial(DotFaces, fail_at=3), SMALL, indices=range(5))


def test_the_view_of_a_stored_sample_is_the_stored_view(arkit, stored):
    reader, store = ARKitFace(arkit), ViewStore(stored)
    for index in range(COUNT):
        sample = store[index]
        assert (sample.name, sample.identity) == (reader[index].name, reader[index].identity)
        projected = sample.camera.project(
            sample.vertices_m[store.topology.landmarks68] @ sample.rotation.T + sample.translation_m
        )
        np.testing.assert_allclose(projected, sample.landmarks68_px, atol=1e-3)
        again, view = view_from_sample(sample, store.spec), store.view(index, store.spec)
        for name, value in view._asdict().items():
            np.testing.assert_allclose(getattr(again, name), value, atol=1e-6, err_msg=name)


def test_other_programs_can_read_the_shards(stored):
    """By tarfile and NumPy alone, as WebDataset's readers do."""
    with tarfile.open(stored / "shard-000001.tar") as tar:
        labels = np.load(io.BytesIO(tar.extractfile("000000003.labels.npy").read()))
        meta = json.load(tar.extractfile("000000003.meta.json"))
        with Image.open(tar.extractfile("000000003.image.jpg")) as image:
            assert image.size == (SIZE, SIZE)
    view = ViewStore(stored).view(3, ViewSpec(SIZE))
    np.testing.assert_array_equal(labels["vertices_m"], view.vertices_m)
    assert meta["camera"]["width"] == SIZE


def test_datasets_without_vertices_store_none(tmp_path):
    write(make_samples(3), tmp_path / "w", "300wlp")
    write_views(tmp_path / "s", partial(W300LP, tmp_path / "w"), SMALL)
    store = ViewStore(tmp_path / "s")
    view = store.view(1, store.spec)
    assert not view.has_pose
    assert not view.has_vertices
    assert view.vertices_m.shape == (1220, 3)
    assert store.topology is None
    assert (tmp_path / "s" / "shard-000000.tar").stat().st_size < 3 * 10_000


def test_workers_write_the_same_bytes(arkit, stored, tmp_path):
    dataset = DatasetFolder("arkitface", str(arkit), {"split": "train"})
    write_views(tmp_path / "s", dataset.open, SMALL, provenance={"a": 1}, workers=1)
    assert files_of(tmp_path / "s") == files_of(stored)


def test_unreadable_samples_are_skipped_and_listed(tmp_path):
    write(make_samples(COUNT), tmp_path / "a", "arkitface")
    image = next((tmp_path / "a").rglob("*1_ar.jpg"))
    image.write_bytes(image.read_bytes()[:700])
    info = next((tmp_path / "a").rglob("*4_info.npz"))
    info.write_bytes(info.read_bytes()[:3000])
    report = write_views(tmp_path / "s", partial(ARKitFace, tmp_path / "a"), SMALL)
    assert report.count == COUNT - 2
    assert str(image) in report.skipped[0]
    assert str(info) in report.skipped[1]
    store = ViewStore(tmp_path / "s")
    assert [store[index].name[-1] for index in range(5)] == ["0", "2", "3", "5", "6"]


def test_datasets_without_readable_samples_or_landmarks_are_refused(tmp_path):
    write(make_samples(2), tmp_path / "a", "arkitface")
    for image in (tmp_path / "a").rglob("*.jpg"):
        image.unlink()
    with pytest.raises(ValueError, match="can be read"):
        write_views(tmp_path / "s", partial(ARKitFace, tmp_path / "a"), SMALL)
    write(make_samples(1), tmp_path / "b", "biwi")
    with pytest.raises(ValueError, match="expected 68 landmarks"):
        write_views(tmp_path / "s", DatasetFolder("biwi", str(tmp_path / "b")).open)
    with pytest.raises(ValueError, match="shard_size of at least 1"):
        ViewStoreSettings(shard_size=0)


@pytest.mark.parametrize(
    "values",
    [
        {"spec": {"size": 10**9, "margin": 1.6, "vertex_count": 1220}},
        {"spec": {"size": 48, "margin": 1.6, "vertex_count": 10**12}},
        {"spec": {"size": 48.5, "margin": "x", "vertex_count": []}},
        {"spec": {"other": 1}},
        {"spec": None},
        {"fields": ["meta.json"]},
    ],
)
def test_stores_with_hostile_specifications_are_refused(stored, tmp_path, values):
    folder = tmp_path / "s"
    shutil.copytree(stored, folder)
    write_manifest(folder, {**read_manifest(folder), **values})
    with pytest.raises(UnreadableFileError, match=str(folder)):
        ViewStore(folder)


def test_images_of_another_size_are_refused_before_they_are_decoded(stored):
    store = ViewStore(stored)
    image = store.read(0)["image.jpg"]
    with pytest.raises(ValueError, match=r"expected an image of \(9, 9\) px"):
        decode_image(image, "image.jpg", (9, 9))


@pytest.mark.parametrize("field", ["image.jpg", "labels.npy"])
def test_damaged_views_are_named_skipped_and_counted(stored, tmp_path, caplog, field):
    folder = tmp_path / "s"
    folder.mkdir()
    for path in stored.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    shard = folder / "shard-000001.tar"
    with tarfile.open(shard) as tar:
        offset = tar.getmember(f"000000004.{field}").offset_data
    content = bytearray(shard.read_bytes())
    content[offset : offset + 200] = bytes(200)
    shard.write_bytes(content)
    store = ViewStore(folder)
    with pytest.raises(UnreadableFileError, match=r"shard-000001\.tar: record 4, at byte"):
        store.view(4, store.spec)
    shuffled, sampler = ShuffledDataset(store, seed=0), InfiniteSampler(COUNT, 0)
    with caplog.at_level(logging.WARNING):
        for position in range(COUNT):
            index = sampler.index(position)
            expected = sampler.index(position + 1) if index == 4 else index
            got = shuffled.view(position, store.spec)
            assert_same(got, store.view(expected, store.spec))
    (message,) = caplog.records
    assert "1 so far" in message.getMessage()
    assert "record 4" in message.getMessage()


def test_datasets_on_disk_skip_damaged_samples_in_a_training(tmp_path, caplog):
    write(make_samples(4), tmp_path, "arkitface")
    image = next(tmp_path.rglob("*2_ar.jpg"))
    image.write_bytes(image.read_bytes()[:700])
    shuffled = ShuffledDataset(ARKitFace(tmp_path), seed=0)
    with caplog.at_level(logging.WARNING):
        views = [shuffled.view(index, ViewSpec(SIZE)) for index in range(4)]
    assert len({float(view.translation_m[2]) for view in views}) == 3
    assert str(image) in caplog.text


@pytest.mark.parametrize("world_size", [1, 2])
def test_processes_share_each_epoch_without_repeats_or_gaps(stored, world_size):
    store = ViewStore(stored)
    depths = [float(store.view(index, store.spec).translation_m[2]) for index in range(COUNT)]
    batch = 2 * world_size
    rings = [
        PrefetchRing(
            partial(ShuffledDataset, store, 3),
            store.spec,
            batch_size=batch,
            buffer_size=1,
            slots=(2 * rank, 2 * rank + 2),
            workers=1 if rank else 0,
        )
        for rank in range(world_size)
    ]
    seen: list[float] = []
    try:
        for step in range(3 * COUNT // batch + 1):
            for rank, ring in enumerate(rings):
                views = ring.batch(step, 2 * rank, 2 * rank + 2)
                seen += views.translation_m[:, 2].tolist()
    finally:
        for ring in rings:
            ring.close()
    for epoch in range(3):
        assert sorted(seen[epoch * COUNT : (epoch + 1) * COUNT]) == sorted(depths)
    assert seen[:COUNT] != seen[COUNT : 2 * COUNT]


@pytest.mark.parametrize("source", ["arkit", "stored"])
@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (2, 1)])
def test_a_training_reads_every_sample_once_per_epoch(source, world_size, workers, request):
    """From the data set's own folder and from a store of its views, in all processes together."""
    folder = request.getfixturevalue(source)
    chosen = replace(recipe("paper_single", {"arkitface": str(folder)}), batch_size=2 * world_size)
    spec = ViewSpec(SIZE, SMALL.margin)
    depths = [np.float32(sample.translation_m[2]) for sample in make_samples(COUNT)]
    ranks = range(world_size)
    batches = [
        open_batches(chosen, ProcessInfo(rank, world_size, workers), spec, 0) for rank in ranks
    ]
    seen: list[float] = []
    try:
        for step in range(-(-3 * COUNT // chosen.batch_size)):
            for rank in ranks:
                views = batches[rank].share(step, rank, world_size).views
                seen += views.translation_m[:, 2].tolist()
    finally:
        for each in batches:
            each.close()
    epochs = [seen[start : start + COUNT] for start in range(0, 3 * COUNT, COUNT)]
    for epoch in epochs:
        np.testing.assert_allclose(sorted(epoch), sorted(depths), rtol=1e-6)
    assert epochs[0] != epochs[1]


def test_the_papers_recipes_take_stores_in_place_of_folders(arkit, stored, tmp_path):
    write(make_samples(2), tmp_path / "w", "300wlp")
    write_views(tmp_path / "sw", partial(W300LP, tmp_path / "w"), SMALL)
    chosen = recipe("paper", {"arkitface": str(stored), "w300lp": str(tmp_path / "sw")})
    assert [dataset.target for dataset in chosen.datasets] == [VIEW_STORE, VIEW_STORE]
    assert [dataset.weight for dataset in chosen.datasets] == [717_840, 122_450]
    assert recipe_topology(chosen).vertex_count == 1220
    assert isinstance(open_dataset(chosen.datasets[1]), ViewStore)
    raw = recipe("paper", {"arkitface": str(arkit), "w300lp": str(tmp_path / "w")})
    assert not any(dataset.is_view_store for dataset in raw.datasets)


def test_stores_of_another_view_size_are_refused_before_workers_start(stored):
    chosen = replace(tiny(), datasets=(stored_dataset(str(stored)),))
    assert chosen.datasets == (DatasetConfig(VIEW_STORE, {"folder": str(stored)}, buffer_size=1),)
    with pytest.raises(ValueError, match="pack the data again"):
        open_batches(chosen, ProcessInfo(workers=1), ViewSpec(96), 0)


def test_memory_stays_flat_over_epochs(stored):
    store = ViewStore(stored)

    def read_all(epochs):
        for index in range(epochs * COUNT):
            store.view(index % COUNT, store.spec)

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
@pytest.mark.parametrize(("image_format", "decodings"), [("jpeg", 4.0), ("raw", 1.0)])
def test_reading_a_view_costs_little_more_than_its_image(tmp_path, image_format, decodings):
    """In units of Pillow's decoding of a JPEG of that size, in processor time, best of several."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC)).astype(np.int64)
    image = np.clip(smooth + rng.normal(0.0, 3.0, smooth.shape), 0, 255).astype(np.uint8)
    write([replace(sample, image=image) for sample in make_samples(8)], tmp_path / "a", "arkitface")
    settings = ViewStoreSettings(192, image_format=image_format)
    write_views(tmp_path / "s", partial(ARKitFace, tmp_path / "a"), settings)
    store = ViewStore(tmp_path / "s")
    file = io.BytesIO()
    Image.fromarray(store.view(0, store.spec).image).save(file, "JPEG", quality=92)

    def decode(_):
        np.asarray(Image.open(io.BytesIO(file.getvalue())))

    def seconds_each(read):
        start = time.process_time()
        for index in range(200):
            read(index % 8)
        return (time.process_time() - start) / 200

    read_s, decode_s = (
        min(seconds_each(read) for _ in range(8))
        for read in (lambda index: store.view(index, store.spec), decode)
    )
    assert read_s < decodings * decode_s
