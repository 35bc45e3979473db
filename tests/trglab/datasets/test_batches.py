from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from tests.support.dot_faces import DotFaces
from trglab.datasets.batches import Mixture, slots_by_weight
from trglab.datasets.files import UnreadableFileError
from trglab.datasets.infinite_sampler import InfiniteSampler
from trglab.datasets.prefetch import PrefetchRing
from trglab.datasets.sample import Sample
from trglab.datasets.view import Views, ViewSpec, concatenate_views, view_from_sample
from trglab.datasets.workers import MadeAhead

SPEC = ViewSpec(size=24)
DATASET = partial(DotFaces, dots=(30,))


def assert_same(first: Views, second: Views) -> None:
    for name in first._fields:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


def make_ring(**options: object) -> PrefetchRing:
    return PrefetchRing(
        DATASET, SPEC, **{"batch_size": 6, "buffer_size": 18, "reuse": 2, **options}
    )


def test_a_step_reads_the_rows_it_should() -> None:
    """Naive twin: slot j of step s shows sample (s // reuse + random row) * batch + j."""
    batch = make_ring().batch(5, 0, 6)
    rows = 5 // 2 + np.random.default_rng((0, 5)).integers(3, size=6)
    for slot, row in enumerate(rows):
        expected = view_from_sample(DATASET().sample(int(row) * 6 + slot), SPEC)
        np.testing.assert_array_equal(batch.image[slot], expected.image)
        np.testing.assert_array_equal(batch.rotation[slot], expected.rotation)


def test_each_view_is_used_as_often_as_asked() -> None:
    local = PrefetchRing(DATASET, ViewSpec(size=8), batch_size=4, buffer_size=8, reuse=3)
    seen: dict[float, int] = {}
    for step in range(60):
        for depth in local.batch(step, 0, 4).translation_m[:, 2].tolist():
            seen[depth] = seen.get(depth, 0) + 1
    assert np.mean(list(seen.values())) == pytest.approx(3.0, abs=0.3)


def test_without_reuse_every_view_comes_once_whatever_the_buffer() -> None:
    once = PrefetchRing(DATASET, ViewSpec(size=8), batch_size=4, buffer_size=512)
    seen = [once.batch(step, 0, 4).translation_m[:, 2] for step in range(6)]
    expected = [DATASET().sample(index).translation_m[2] for index in range(24)]
    np.testing.assert_allclose(np.concatenate(seen), expected, rtol=1e-6)


def test_workers_change_nothing_but_the_speed() -> None:
    alone, helped = make_ring(), make_ring(workers=2)
    try:
        for step in (0, 1, 2, 9, 40):
            assert_same(helped.batch(step, 0, 6), alone.batch(step, 0, 6))
        with pytest.raises(ValueError, match="steps in order"):
            helped.batch(3, 0, 6)
    finally:
        helped.close()


def test_a_ring_can_start_anywhere_and_serve_a_part() -> None:
    alone, part = make_ring(), make_ring(workers=1, slots=(2, 4), start_step=31)
    try:
        whole = alone.batch(31, 0, 6)
        assert_same(part.batch(31, 2, 4), Views(*(array[2:4] for array in whole)))
        with pytest.raises(ValueError, match=r"expected a range within \(2, 4\)"):
            part.batch(32, 0, 3)
    finally:
        part.close()


def test_a_failing_worker_is_heard() -> None:
    failing = PrefetchRing(
        partial(DotFaces, fail_at=3), SPEC, batch_size=4, buffer_size=4, workers=1
    )
    try:
        with pytest.raises(RuntimeError, match="sample 3 does not want to be rendered"):
            failing.batch(0, 0, 4)
    finally:
        failing.close()


def test_every_sample_comes_once_per_epoch_in_a_new_order() -> None:
    sampler = InfiniteSampler(7, 3)
    order = np.array([sampler.index(position) for position in range(35)])
    epochs = order.reshape(5, 7)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(7), (5, 1)))
    assert len(np.unique(epochs, axis=0)) == 5
    again = InfiniteSampler(7, 3)
    assert [again.index(position) for position in range(10, 20)] == order[10:20].tolist()


def test_too_many_unreadable_samples_end_the_reading() -> None:
    def fails(index: int) -> None:
        raise UnreadableFileError(f"number {index} is damaged")

    with pytest.raises(ValueError, match="100 samples in a row"):
        InfiniteSampler(5, 0).read(0, fails)
    with pytest.raises(ValueError, match="at least one item"):
        InfiniteSampler(0, 0)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_share_one_batch(world_size: int) -> None:
    whole = Mixture([make_ring(), make_ring(seed=9)], [6, 6]).share(4)
    parts = [
        Mixture([make_ring(), make_ring(seed=9)], [6, 6]).share(4, rank, world_size)
        for rank in range(world_size)
    ]
    slots = np.concatenate([part.slots for part in parts])
    assert sorted(slots.tolist()) == list(range(12))
    joined = concatenate_views([part.views for part in parts])
    order = np.argsort(slots)
    assert_same(Views(*(array[order] for array in joined)), whole.views)


def test_slots_follow_the_weights() -> None:
    assert slots_by_weight([3, 1], 16) == [12, 4]
    assert slots_by_weight([1, 1, 1], 8, multiple=2) == [4, 2, 2]
    assert sum(slots_by_weight([0.7, 0.2, 0.1], 128, multiple=4)) == 128
    with pytest.raises(ValueError, match="each dataset to get a slot"):
        slots_by_weight([1000, 1], 16)
    with pytest.raises(ValueError, match="multiple of 3"):
        slots_by_weight([1], 16, multiple=3)
    with pytest.raises(ValueError, match="above 0"):
        slots_by_weight([1, 0], 16)


class Dying:
    def sample(self, index: int) -> Sample:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


def test_a_killed_worker_is_reported() -> None:
    ring = PrefetchRing(Dying, SPEC, batch_size=2, buffer_size=2, workers=1)
    try:
        with pytest.raises(RuntimeError, match="short of memory"):
            ring.batch(0, 0, 2)
    finally:
        ring.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_items_are_made_in_order_from_an_infinite_sequence(workers: int) -> None:
    made = MadeAhead(_open_squares, itertools.count(20, 3), workers)
    try:
        expected = [(index, index**2) for index in range(20, 110, 3)]
        assert list(itertools.islice(made, len(expected))) == expected
    finally:
        made.close()


def _open_squares() -> Callable[[int], int]:
    return lambda index: index**2
