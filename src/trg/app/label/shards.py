"""The unit of work, which all engines share: a shard of pictures becomes one Parquet file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice

from trg._util.worker_pool import Ask, Work, WorkerDied, WorkerPool
from trg.app.label.folder import COUNTS_KEY, LabelFolder
from trg.app.label.sources import Shard
from trg.app.outputs import Outputs
from trg.app.predict.options import PredictOptions
from trg.app.predict.photos import PhotoPredictor
from trg.app.predict.result_log import ResultSink
from trg.estimator import HeadPoseEstimator
from trg.io.images import allow_pixels
from trg.io.inputs import MediaInput, PhotoBytes
from trg.io.records.arrow_tables import ArrowTable, Row
from trg.io.records.frame_record import FrameFaces
from trg.io.records.names import escape_name

BATCH_SIZE = 8
"""Pictures that share the calls of the network. The last digits of results depend on the batch, so
that a shard has the same batches wherever and however often it is tried."""

PICTURES_PER_MESSAGE = 16

_Batch = tuple[PhotoBytes, ...]

Tell = Callable[[int], object]
"""Gets the number of pictures that were done since it was last called."""


@dataclass(frozen=True, slots=True)
class Labelling:
    """What is done with every shard; can be pickled, for other processes and machines."""

    out: str
    """Folder or URL of the results; absolute, as other processes work in other folders."""
    estimator: HeadPoseEstimator
    options: PredictOptions
    table: ArrowTable
    max_pixels: int

    def start(self) -> Labelling:
        """Prepare this process for the work."""
        allow_pixels(self.max_pixels)
        return self


class _RowSink(ResultSink):
    """Keeps results as rows of a table."""

    def __init__(self, table: ArrowTable, tell: Tell) -> None:
        self._table, self._tell = table, tell
        self.rows: list[Row] = []
        self.counts = Counter(dict.fromkeys(("pictures", "faces", "without_faces", "errors"), 0))
        self._told = 0

    def add(self, item: MediaInput, found: FrameFaces) -> None:
        rows = self._table.frame_rows(found._replace(source=escape_name(found.source)))
        faces = len(found.faces)
        self.add_rows(rows, {"pictures": 1, "faces": faces, "without_faces": int(not faces)})

    def fail(self, item: MediaInput, message: str) -> None:
        row = self._table.error_row(escape_name(item.name), escape_name(message))
        self.add_rows([row], {"pictures": 1, "errors": 1})

    def add_rows(self, rows: list[Row], counts: Mapping[str, int]) -> None:
        """Add the rows of some pictures, and what they count."""
        self.rows += rows
        self.counts.update(counts)
        self.tell(PICTURES_PER_MESSAGE)

    def tell(self, least: int = 1) -> None:
        """Tell how many pictures were done since the last time, if there are that many."""
        count = self.counts["pictures"] - self._told
        if count >= least:
            self._told += count
            self._tell(count)


def label_shard(
    labelling: Labelling, shard: Shard, isolated: bool = False, tell: Tell = lambda count: None
) -> None:
    """Write the faces of a shard as one Parquet file, and their counts into its metadata.

    A picture that cannot be read is a row with an error. ``isolated``: the pictures are
    processed in another process, so that one that ends its process is a row with an error too.

    Raises OSError if the results cannot be written.
    """
    sink = _RowSink(labelling.table, tell)
    pictures = shard.pictures()
    batches = iter(lambda: tuple(islice(pictures, BATCH_SIZE)), ())
    if isolated:
        _label_isolated(labelling, batches, sink)
    else:
        for batch in batches:
            _label_batch(labelling, batch, sink)
    sink.tell()
    counts = json.dumps(sink.counts).encode()
    table = labelling.table.table(sink.rows).replace_schema_metadata({COUNTS_KEY: counts})
    LabelFolder(labelling.out).write_table(shard.name, table)


def _label_batch(labelling: Labelling, batch: Iterable[PhotoBytes], sink: _RowSink) -> None:
    PhotoPredictor(labelling.estimator, labelling.options, Outputs(), sink).run(batch)


def _label_isolated(labelling: Labelling, batches: Iterable[_Batch], sink: _RowSink) -> None:
    """Label batches in a process of their own; those that end it twice, picture by picture."""
    with WorkerPool(partial(_start_isolated, labelling), 1) as pool:
        for batch in batches:
            result = pool.run_one(batch)
            if isinstance(result, WorkerDied):
                result = pool.run_one(batch)
            if not isinstance(result, WorkerDied):
                sink.add_rows(*result)
                continue
            for picture in batch:
                result = pool.run_one((picture,))
                if isinstance(result, WorkerDied):
                    sink.fail(picture, f"{picture.name}: {result}, again and again")
                else:
                    sink.add_rows(*result)


def _start_isolated(labelling: Labelling) -> Work[_Batch]:
    return partial(_label_apart, labelling.start())


def _label_apart(labelling: Labelling, batch: _Batch, ask: Ask) -> tuple[list[Row], dict[str, int]]:
    sink = _RowSink(labelling.table, lambda count: None)
    _label_batch(labelling, batch, sink)
    return sink.rows, dict(sink.counts)
