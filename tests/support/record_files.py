"""Files of records, for the tests of their formats and of resumption."""

from __future__ import annotations

import csv
import io

from tests.support.faces import VGA
from trg.io.records.frame_record import FrameFaces
from trg.io.records.writers import open_records

LINE_FORMATS = ("jsonl", "csv", "openface")


def written(path, record_format, faces, **more):
    with open_records(record_format, path, **more) as records:
        records.write(FrameFaces("a.mp4", VGA, faces, 7, 0.25))
        records.finish("a.mp4")
    return path


def rows_of(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))
