"""Iterating in a thread: order, bounds, errors, and an end that leaves nothing running."""

from __future__ import annotations

import threading
import time
from itertools import count

import pytest

from trg._util.read_ahead import read_ahead


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("read_ahead")]


def test_items_come_in_order_and_from_another_thread():
    made_by = []

    def items():
        for number in range(50):
            made_by.append(threading.get_ident())
            yield number

    with read_ahead(items(), 3) as numbers:
        assert list(numbers) == list(range(50))
    assert set(made_by).isdisjoint({threading.get_ident()})
    assert not threads()


@pytest.mark.parametrize("ahead", [1, 3])
def test_a_slow_consumer_holds_up_the_thread(ahead):
    made = []

    def items():
        for number in range(12):
            made.append(number)
            yield number

    with read_ahead(items(), ahead) as numbers:
        for number in numbers:
            time.sleep(0.01)
            assert len(made) <= number + 1 + ahead


def test_stages_work_at_the_same_time():
    """Each stage waits for the others, at an item of its own."""
    meeting = threading.Barrier(3)

    def stage(items, at):
        for item in items:
            if item == at:
                meeting.wait(30.0)
            yield item

    with (
        read_ahead(stage(range(9), 2)) as first,
        read_ahead(stage(first, 1)) as second,
        read_ahead(stage(second, 0)) as third,
    ):
        assert list(third) == list(range(9))


def test_an_error_comes_where_its_item_would_have():
    begun = []

    class Items:
        """Would go on after the error."""

        def __init__(self):
            self.numbers = count()

        def __iter__(self):
            return self

        def __next__(self):
            begun.append(next(self.numbers))
            if begun[-1] == 3:
                raise ValueError("item 3 is bad")
            return begun[-1]

    seen = []
    with (
        pytest.raises(ValueError, match="item 3 is bad"),
        read_ahead(Items()) as first,
        read_ahead(2 * number for number in first) as second,
    ):
        seen.extend(iter(second.__next__, None))
    assert seen == [0, 2, 4]
    assert begun == [0, 1, 2, 3]
    assert not threads()


def test_the_end_of_the_block_ends_all_stages():
    begun = []

    def items():
        for number in count():
            begun.append(number)
            yield number

    with read_ahead(items()) as first, read_ahead(first) as second:
        assert [next(second) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert not threads()
    after = len(begun)
    time.sleep(0.02)
    assert len(begun) == after <= 10
