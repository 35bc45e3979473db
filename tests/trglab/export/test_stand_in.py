"""The stand-in for the paper's data: three parts, nobody in two of them, the far one farther."""

from __future__ import annotations

import numpy as np
import pytest

from trglab.datasets.arkitface import ARKitFace
from trglab.datasets.biwi import BIWI
from trglab.export.stand_in import StandInSize, write_stand_in

SIZE = StandInSize(train=2, test=2, biwi=2)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stand-in")
    return folder, write_stand_in(folder, SIZE)


def test_parts_are_read_by_their_readers(written):
    _, parts = written
    train, test = (ARKitFace(parts.arkitface, split) for split in ("train", "test"))
    biwi = BIWI(parts.biwi)
    assert (len(train), len(test), len(biwi)) == (2, 2, 2)
    assert all(0.3 <= train[i].translation_m[2] <= 0.9 for i in range(2))
    assert all(biwi[i].translation_m[2] > 0.75 for i in range(2))
    # Other people: their neutral faces differ by more than expressions and rounding.
    assert np.abs(train[0].vertices_m - test[0].vertices_m).mean() > 1e-3


def test_what_is_there_is_not_written_again(written):
    folder, parts = written
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    told = []
    again = write_stand_in(folder, SIZE, on_part=lambda part, count: lambda n: told.append(n))
    assert again == parts
    assert told == [2, 2, 2]
    assert before == {path: path.stat().st_mtime_ns for path in before}
    with pytest.raises(ValueError, match="begun with"):
        write_stand_in(folder, StandInSize(train=3, test=2, biwi=2))
