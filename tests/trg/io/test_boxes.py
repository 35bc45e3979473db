"""Files of face boxes: hostile and mistaken content is refused with the file's name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trg._util.checks import box_array
from trg.io.boxes import boxes_for, read_boxes


def nested(depth: int) -> str:
    return '{"a.jpg": ' + "[" * depth + "]" * depth + "}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (nested(100_000), "damaged file"),
        (nested(500), "shape"),
        ('{"a.jpg": [[0, 0, 1' + "0" * 400 + ", 9]]}", "expected numbers"),
        ('{"a.jpg": [[0, 0, 1' + "0" * 5000 + ", 9]]}", "damaged file"),
        ('{"a.jpg": [[0, 0, 1e999, 9]]}', "finite"),
        ('{"a.jpg": [[0, 0, NaN, 9]]}', "finite"),
        ('{"a.jpg": [[0, 0, 9, 9], [1]]}', "expected numbers"),
        ('{"a.jpg": {"x": 1}}', "expected numbers"),
        ('{"a.jpg": "many"}', "expected numbers"),
        ('{"a.jpg": null}', "shape"),
        ('{"a.jpg": [["' + "x" * 10**6 + '", 0, 9, 9]]}', "expected numbers"),
        ("source,x0,y0,x1,y1\n" + "a" * 200_000 + ",0,0,9,9\n", "field larger"),
        ("source,x0,y0,x1,y1\na.jpg,0,0\n", "x0 < x1|expected numbers"),
    ],
)
def test_hostile_boxes_are_refused(content, message, tmp_path):
    path = tmp_path / "boxes.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_boxes(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_fractions_of_the_image_are_refused(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"a.jpg": [[0.2, 0.3, 0.5, 0.6], [0, 0, 1, 1]]}))
    with pytest.raises(
        ValueError, match=r"'a\.jpg': expected pixels, got .* 0\.\.1; multiply x by"
    ):
        read_boxes(path)
    with pytest.raises(ValueError, match="expected pixels"):
        box_array("boxes", [[0.2, 0.3, 0.5, 0.6]])
    np.testing.assert_array_equal(box_array("boxes", [[0, 0, 1, 1.5]]), [[0, 0, 1, 1.5]])
    assert box_array("boxes", []).shape == box_array("boxes", [[]]).shape == (0, 4)


def test_a_name_that_is_not_utf8_is_listed_as_in_the_records():
    boxes = {r"caf\xe9.jpg": np.array([[0.0, 0.0, 9.0, 9.0]]), "é.jpg": np.zeros((0, 4))}
    assert len(boxes_for(boxes, "in/caf\udce9.jpg")) == 1
    assert len(boxes_for(boxes, "in/é.jpg")) == 0


def test_boxes_are_only_read_from_files_of_bounded_size(tmp_path, monkeypatch):
    path = tmp_path / "boxes.json"
    path.write_text("{}")
    assert read_boxes(path) == {}
    monkeypatch.setattr("trg.io.boxes.MAX_BYTES", 1)
    with pytest.raises(ValueError, match="at most 1 bytes"):
        read_boxes(path)
