"""The verb ``trg label``: the faces of large collections of pictures, as Parquet."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.markup import escape
from rich.progress import Progress

from trg import __version__
from trg.app.cli.console import EXIT_SIGNAL, StopSignals, counted
from trg.app.cli.predict_options import CameraOptions, FrameName, ProcessingOptions
from trg.app.cli.shared import Positive, messages

if TYPE_CHECKING:
    from trg.app.label.shards import Labelling
    from trg.app.label.sources import Shard


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class LabelOptions:
    """How pictures are labelled; all of it changes the results.

    Parameters
    ----------
    model
        The weights: a name listed by ``trg models``, or a .trg file.
    flip_tta
        Average each estimate with that of the mirrored face: more accurate, at twice the cost.
    max_faces
        Maximum number of faces in a picture.
    smallest_face
        Smallest face box to detect, px; smaller values need more time.
    frame
        The program in whose axes rotations, translations and 3D landmarks are recorded.
    landmarks
        Also record the 1220 landmarks of each face.
    blendshapes
        Also record ARKit's 52 expression coefficients.
    max_megapixels
        Largest picture.
    shard_size
        Mean number of photos in a shard; a tar or Parquet file is always one.
    column
        The column of the pictures in Parquet: bytes, paths or URLs.
    """

    model: Annotated[str | None, Parameter(name=["--model", "-m"])] = None
    flip_tta: bool = False
    max_faces: Positive | None = None
    smallest_face: Positive | None = None
    frame: FrameName = "opencv"
    landmarks: bool = False
    blendshapes: bool = False
    max_megapixels: Positive = 179
    shard_size: Positive = 1000
    column: str | None = None


def label(
    source: str,
    out: str,
    /,
    *,
    options: LabelOptions = LabelOptions(),
    camera: CameraOptions = CameraOptions(),
    engine: Literal["local", "ray"] = "local",
    workers: Positive | None = None,
    shard: str | None = None,
) -> None:
    """Label the faces of a large collection of pictures, on one machine or many.

    Each shard of pictures becomes a Parquet file in OUT. The same command continues after an end
    of any kind, and adds pictures that are new. A picture that cannot be read is a row with an
    error; the exit code is then 1.

    Parameters
    ----------
    source
        A folder of photos, of WebDataset tars or of Parquet files; a pattern (``'*.tar'``); or a
        text file that lists paths. A path, or a URL such as ``s3://bucket/photos``.
    out
        A folder or URL for the results.
    engine
        ``local``: processes of this machine. ``ray``: a Ray cluster (needs the extra ``ray``).
    workers
        Processes of the engine ``local``; by default one per core.
    shard
        ``2/10``: label only the second tenth of the shards, as in an array of batch jobs.
    """
    from trg.app.label.folder import LabelFolder
    from trg.app.label.shards import BATCH_SIZE, Labelling
    from trg.app.label.sources import absolute_url, find_shards
    from trg.app.predict.options import PredictOptions
    from trg.geometry.shape_basis import bundled_shape_basis
    from trg.inference.bundle import model_sha256
    from trg.io.records.arrow_tables import ArrowTable, import_arrow

    import_arrow()
    number, count = _share(shard)
    if engine == "ray" and workers is not None:
        raise ValueError("workers: are of the engine local; Ray starts one per core of its cluster")
    processing = ProcessingOptions(options.model, options.flip_tta)
    if f"{absolute_url(out)}/".startswith(f"{absolute_url(source).rstrip('/')}/"):
        raise ValueError(
            f"{out}: expected a folder outside of the source, whose files the next run would take "
            f"for sources; got one in {source}"
        )
    predict_options = PredictOptions(
        camera=camera.resolve(),
        max_faces=options.max_faces,
        axes=options.frame,
        batch_size=BATCH_SIZE,
    )
    settings = {
        "version": __version__,
        "source": absolute_url(source),
        "model": model_sha256(options.model),
        **{key: value for key, value in asdict(options).items() if key != "model"},
        "camera": predict_options.settings()["camera"],
    }
    shards = find_shards(source, options.shard_size, options.column)
    folder = LabelFolder(out)
    folder.open(settings)
    estimator = processing.estimator(options.smallest_face)
    if options.blendshapes:
        bundled_shape_basis().require_mesh(estimator.topology)
    labelling = Labelling(
        absolute_url(out),
        estimator,
        predict_options,
        ArrowTable(options.landmarks, options.blendshapes),
        options.max_megapixels * 10**6,
    )
    own = shards[number - 1 :: count]
    done = folder.shard_names()
    remaining = [each for each in own if each.name not in done]
    with LabelConsole(len(own), len(own) - len(remaining)) as console:
        _label(labelling, remaining, engine, workers, console)
    counts = folder.finish([each.name for each in shards], settings)
    if counts is None:
        messages.print(f"{escape(out)}: {console.done} of this share done; others are missing")
        return
    _print_counts(out, counts)
    if counts["errors"]:
        sys.exit(1)


def _label(
    labelling: Labelling,
    shards: Sequence[Shard],
    engine: Literal["local", "ray"],
    workers: int | None,
    console: LabelConsole,
) -> None:
    """Label shards; exit the program if that is stopped."""
    from trg.app.label.engines import label_local, label_ray
    from trg.inference.onnx_session import usable_cores

    try:
        if engine == "ray":
            label_ray(labelling, shards, console)
        else:
            label_local(labelling, shards, workers or usable_cores(), console)
    except (KeyboardInterrupt, OSError) as error:
        if not isinstance(error, KeyboardInterrupt):
            messages.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        messages.print(f"stopped after {console.done}; the same command continues")
        signal_number = console.signals.number
        sys.exit(EXIT_SIGNAL + signal_number if signal_number else 1)


def _print_counts(out: str, counts: Mapping[str, int]) -> None:
    messages.print(
        f"{escape(out)}: {counted(counts['faces'], 'face')} in "
        f"{counted(counts['pictures'], 'picture')}, {counts['without_faces']} without a face, in "
        f"{counted(counts['shards'], 'file')}",
        highlight=False,
    )
    if counts["errors"]:
        messages.print(
            f"[bold red]{counted(counts['errors'], 'picture')} failed[/], with the reasons in the "
            "column error"
        )


def _share(text: str | None) -> tuple[int, int]:
    """Return i and n of ``i/n``."""
    if text is None:
        return 1, 1
    parts = text.split("/")
    if len(parts) == 2 and all(part.isascii() and part.isdigit() for part in parts):
        number, count = map(int, parts)
        if 1 <= number <= count:
            return number, count
    raise ValueError(f"shard: expected I/N from 1/N to N/N, such as 2/10, got {text!r}")


class LabelConsole:
    """Shows the progress of ``trg label``, and notes signals to stop; a context manager."""

    def __init__(self, total: int, finished: int) -> None:
        self._total, self._finished, self._pictures = total, finished, 0
        self.signals = StopSignals()
        self._progress = Progress(console=messages, disable=not messages.is_terminal)
        self._task = self._progress.add_task("shards", total=total, completed=finished)

    def __enter__(self) -> LabelConsole:
        self.signals.__enter__()
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()
        self.signals.__exit__(*error)

    @property
    def done(self) -> str:
        """The number of shards that are done, in words."""
        return f"{self._finished} of {counted(self._total, 'shard')}"

    def on_pictures(self, count: int) -> None:
        """Show the number of pictures of this run."""
        self._pictures += count
        self._progress.update(self._task, description=f"shards ({self._pictures:,} pictures)")

    def on_shard(self, shard: Shard) -> None:
        """Advance the progress."""
        self._finished += 1
        self._progress.advance(self._task)

    def on_death(self, shard: Shard, reason: str) -> None:
        """Print that a shard is tried again."""
        messages.print(escape(f"{shard.name}: {reason}; trying again"), highlight=False)

    def raise_if_stopped(self) -> None:
        """Raise KeyboardInterrupt if one of the signals has come."""
        if self.signals.number:
            raise KeyboardInterrupt
