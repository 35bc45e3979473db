"""Known distances between the pupils, by source and by face."""

from __future__ import annotations

import json

import pytest

from trg.io.eye_distances import read_eye_distances

CSV = "source,face_id,ipd_mm\nanna.jpg,,63\nclips/talk.mp4,0,61.5\nclips/talk.mp4,1,66\n"
JSON = json.dumps({"anna.jpg": 63, "clips/talk.mp4": {"0": 61.5, "1": 66}})


@pytest.mark.parametrize(("name", "text"), [("people.csv", CSV), ("people.json", JSON)])
def test_each_source_and_each_face_has_its_distance(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    distances = read_eye_distances(tmp_path / name)
    assert distances.of_face("photos/anna.jpg", 4) == pytest.approx(0.063)
    assert distances.of_face("clips/talk.mp4", 0) == pytest.approx(0.0615)
    assert distances.of_face("clips/talk.mp4", 1) == pytest.approx(0.066)
    assert distances.of_face("clips/talk.mp4", 2) is None
    assert distances.of_face("talk.mp4", 0) is None


def test_a_column_of_faces_is_not_needed(tmp_path):
    (tmp_path / "people.csv").write_text("source,ipd_mm\nanna.jpg,63\n")
    assert read_eye_distances(tmp_path / "people.csv").of_face("anna.jpg", 0) == 0.063


def test_sources_that_are_not_listed_are_told(tmp_path):
    (tmp_path / "people.csv").write_text(CSV)
    distances = read_eye_distances(tmp_path / "people.csv")
    distances.check(["anna.jpg"])
    with pytest.warns(UserWarning, match="'bert.jpg' and 1 more"):
        distances.check(["anna.jpg", "bert.jpg", "carl.jpg"])
    with pytest.raises(ValueError, match=r"expected those of 'bert\.jpg'"):
        distances.check(["bert.jpg"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,mm\na,63\n", "columns source,ipd_mm"),
        ("source,ipd_mm\na,0.063\n", "30 to 90 mm"),
        ("source,ipd_mm\na,wide\n", "expected numbers"),
        ("source,ipd_mm\na\n", "finite|numbers"),
        ("source,ipd_mm\na,63\na,64\n", "each face once"),
        ("source,face_id,ipd_mm\na,first,64\n", "number of a face"),
        ("[1]", "got a list"),
        ('{"a": ', ""),
        ('{"a": [63]}', "shape"),
        ('{"a": null}', "numbers"),
        ('{"a": {"0": {"0": 63}}}', "numbers"),
        ("[" * 100_000, ""),
        ("{" * 100_000, ""),
    ],
)
def test_other_files_are_refused_with_the_reason(text, message, tmp_path):
    path = tmp_path / "people.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"people\.txt.*({message})"):
        read_eye_distances(path)
