"""The column tables of docs/outputs.md name every column, and no other."""

from __future__ import annotations

import re

import pytest

from tests.support.child_process import ROOT
from tests.support.faces import VGA, shaped_face
from trg.geometry.shape_basis import EXPRESSION_NAMES
from trg.io.records.arrow_tables import (
    BLENDSHAPE_COLUMN,
    DENSE_COLUMN,
    FACE_COLUMNS,
    FRAME_COLUMNS,
)
from trg.io.records.csv_tables import BLENDSHAPE_COLUMNS, CSV_COLUMNS, OPENFACE_COLUMNS
from trg.io.records.frame_record import FrameFaces, frame_record

pytestmark = pytest.mark.skipif(
    not (ROOT / "docs").is_dir(), reason="the documentation is not beside the tests"
)

NUMBERED = re.compile(r"r\d\d|[xyXYZ]_?\d+(_px)?|p\d+_std_px")
"""Columns of which the tables name only the first and the last; and those of expressions."""


def is_named_in_part(name):
    return bool(NUMBERED.fullmatch(name)) or name in EXPRESSION_NAMES


def json_keys():
    record = frame_record(FrameFaces("a", VGA, [shaped_face({})]), landmarks=True, blendshapes=True)
    return [*record, *(f"faces[].{key}" for key in record["faces"][0]), "error"]


@pytest.mark.parametrize(
    ("section", "columns"),
    [
        ("JSON Lines", json_keys()),
        ("CSV", [*CSV_COLUMNS, *BLENDSHAPE_COLUMNS]),
        ("CSV in OpenFace's format", OPENFACE_COLUMNS),
        ("Parquet", [*FRAME_COLUMNS, *FACE_COLUMNS, *DENSE_COLUMN, *BLENDSHAPE_COLUMN, "error"]),
    ],
)
def test_the_table_of_a_format_names_its_columns(section, columns):
    page = (ROOT / "docs" / "outputs.md").read_text()
    text = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[1]
    first_cells = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    named = set(re.findall(r"`([^`]+)`", " ".join(first_cells)))
    in_part = {name for name in {*named, *columns} if is_named_in_part(name)}
    assert named - in_part == set(columns) - in_part
