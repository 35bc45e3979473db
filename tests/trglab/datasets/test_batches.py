from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.support.dot_faces import DotFaces
from trg._util.atomic import write_atomic
from trglab.datasets import pack as pack_module
from trglab.datasets.batches import Mixture, shuffled, slots_by_weight
from trglab.datasets.pack import Pack, write_pack
from trglab.datasets.prefetch import ViewPool
from trglab.datasets.view import Views, ViewSpec, concatenate_views, view_from_sample

SPEC = ViewSpec(size=24)
SOURCE = partial(DotFaces, dots=(30,))


def assert_same(first: Views, second: Views) -> None:
    for name in first._fields:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


def pool(**options: object) -> ViewPool:
    return ViewPool(SOURCE, SPEC, **{"batch_size": 6, "capacity": 18, "reuse": 2, **options})


def test_a_step_reads_the_rows_it_should() -> None:
    """Naive twin: slot j of step s shows sample (s // reuse + random row) * batch + j."""
    batch = pool().batch(5, 0, 6)
    rows = 5 // 2 + np.random.default_rng((0, 5)).integers(3, size=6)
    for slot, row in enumerate(rows):
        expected = view_from_sample(SOURCE().sample(int(row) * 6 + slot), SPEC)
        np.testing.assert_array_equal(batch.image[slot], expected.image)
        np.testing.assert_array_equal(batch.rotation[slot], expected.rotation)


def test_each_view_is_used_as_often_as_asked() -> None:
    local = ViewPool(SOURCE, ViewSpec(size=8), batch_size=4, capacity=8, reuse=3)
    seen: dict[float, int] = {}
    for step in range(60):
        for depth in local.batch(step, 0, 4).translation_m[:, 2].tolist():
            seen[depth] = seen.get(depth, 0) + 1
    assert np.mean(list(seen.values())) == pytest.approx(3.0, abs=0.3)


def test_workers_change_nothing_but_the_speed() -> None:
    alone, helped = pool(), pool(workers=2)
    try:
        for step in (0, 1, 2, 9, 40):
            assert_same(helped.batch(step, 0, 6), alone.batch(step, 0, 6))
        with pytest.raises(ValueError, match="steps in order"):
            helped.batch(3, 0, 6)
    finally:
        helped.close()


def test_a_pool_can_start_anywhere_and_serve_a_part() -> None:
    alone, part = pool(), pool(workers=1, slots=(2, 4), start_step=31)
    try:
        whole = alone.batch(31, 0, 6)
        assert_same(part.batch(31, 2, 4), Views(*(array[2:4] for array in whole)))
        with pytest.raises(ValueError, match=r"expected a range within \(2, 4\)"):
            part.batch(32, 0, 3)
    finally:
        part.close()


def test_a_failing_worker_is_heard() -> None:
    failing = ViewPool(partial(DotFaces, fail_at=3), SPEC, batch_size=4, capacity=4, workers=1)
    try:
        with pytest.raises(RuntimeError, match="sample 3 does not want to be rendered"):
            failing.batch(0, 0, 4)
    finally:
        failing.close()


def test_packs_give_back_what_was_written(tmp_path: Path) -> None:
    write_pack(tmp_path / "pack", SOURCE, SPEC, 10, first=5, facts={"name": "dots"})
    pack = Pack(tmp_path / "pack", batch_size=4, seed=1)
    assert len(pack) == 10
    assert pack.manifest["facts"] == {"name": "dots"}
    views = pack.views(slice(0, 10))
    for index in range(10):
        expected = view_from_sample(SOURCE().sample(5 + index), SPEC)
        assert_same(Views(*(array[index] for array in views)), expected)
    read = concatenate_views([pack.batch(step, 0, 4) for step in range(5)])
    depths, counts = np.unique(read.translation_m[:, 2], return_counts=True)
    assert len(depths) == 10
    assert (counts == 2).all()
    with pytest.raises(FileExistsError, match="expected no finished pack"):
        write_pack(tmp_path / "pack", SOURCE, SPEC, 10, first=5)


def test_an_interrupted_pack_is_not_read_and_can_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_module, "ROW", 4)
    with pytest.raises(RuntimeError, match="does not want"):
        write_pack(tmp_path / "a", partial(DotFaces, dots=(30,), fail_at=9), SPEC, 11)
    with pytest.raises(FileNotFoundError, match="found an unfinished pack"):
        Pack(tmp_path / "a")
    with open(tmp_path / "a" / "image.npy", "ab") as file:
        file.write(b"half a row that a kill left behind")
    with pytest.raises(FileExistsError, match="same settings"):
        write_pack(tmp_path / "a", SOURCE, SPEC, 12)
    write_pack(tmp_path / "a", SOURCE, SPEC, 11)
    write_pack(tmp_path / "b", SOURCE, SPEC, 11)
    assert_same(Pack(tmp_path / "a").views(slice(0, 11)), Pack(tmp_path / "b").views(slice(0, 11)))


def test_a_damaged_pack_is_refused(tmp_path: Path) -> None:
    write_pack(tmp_path / "p", SOURCE, SPEC, 3)
    np.save(tmp_path / "p" / "rotation.npy", np.zeros((2, 3, 3), np.float32))
    with pytest.raises(ValueError, match=r"rotation.npy: expected \(3, 3, 3\) of float32"):
        Pack(tmp_path / "p")
    with pytest.raises(FileNotFoundError, match="found no pack"):
        Pack(tmp_path / "nothing")


def test_shuffling_reads_everything_once_per_run_through() -> None:
    order = shuffled(3, np.arange(35), 7).reshape(5, 7)
    np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(7), (5, 1)))
    assert len(np.unique(order, axis=0)) == 5
    np.testing.assert_array_equal(shuffled(3, np.arange(10, 20), 7), order.ravel()[10:20])


@pytest.mark.parametrize("world", [1, 2, 3])
def test_machines_share_one_batch(world: int) -> None:
    whole = Mixture([pool(), pool(seed=9)], [6, 6]).share(4)
    parts = [Mixture([pool(), pool(seed=9)], [6, 6]).share(4, rank, world) for rank in range(world)]
    slots = np.concatenate([part.slots for part in parts])
    assert sorted(slots.tolist()) == list(range(12))
    joined = concatenate_views([part.views for part in parts])
    order = np.argsort(slots)
    assert_same(Views(*(array[order] for array in joined)), whole.views)


def test_slots_follow_the_weights() -> None:
    assert slots_by_weight([3, 1], 16) == [12, 4]
    assert slots_by_weight([1, 1, 1], 8, multiple=2) == [4, 2, 2]
    assert sum(slots_by_weight([0.7, 0.2, 0.1], 128, multiple=4)) == 128
    with pytest.raises(ValueError, match="each source to get a slot"):
        slots_by_weight([1000, 1], 16)
    with pytest.raises(ValueError, match="multiple of 3"):
        slots_by_weight([1], 16, multiple=3)
    with pytest.raises(ValueError, match="above 0"):
        slots_by_weight([1, 0], 16)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.bin"
    write_atomic(path, lambda file: file.write(b"old"))

    def full(file: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, full)
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["state.bin"]
