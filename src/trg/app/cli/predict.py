"""The verb ``trg predict``: head poses in photos, folders, videos, webcams and streams."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from trg import __version__
from trg.app.cli.predict_options import (
    CameraOptions,
    FaceOptions,
    ProcessingOptions,
    ResultOptions,
)
from trg.app.cli.shared import messages

if TYPE_CHECKING:
    from trg.io.records.writers import RecordWriter


def predict(
    *sources: str,
    results: ResultOptions = ResultOptions(),
    camera: CameraOptions = CameraOptions(),
    faces: FaceOptions = FaceOptions(),
    processing: ProcessingOptions = ProcessingOptions(),
) -> None:
    """Estimate the head poses in photos and videos.

    Results are JSON Lines on standard output, one object per photo or frame, unless a folder is
    given. Messages go to stderr. A file that cannot be read is reported and the others are
    processed; the exit code is then 1.

    Parameters
    ----------
    sources
        Photos, videos, folders of them, globs, the number of a webcam, the URL of a stream.
    """
    from trg.app.cli.console import (
        EXIT_SIGNAL,
        ConsoleObserver,
        print_ignored,
        print_summary,
        processed,
    )
    from trg.app.outputs import FAILURES_SUFFIX
    from trg.app.predict.options import PredictOptions
    from trg.app.predict.predictor import Predictor
    from trg.geometry.shape_basis import bundled_shape_basis
    from trg.inference.bundle import model_sha256
    from trg.io.boxes import read_boxes
    from trg.io.images import allow_pixels
    from trg.io.inputs import find_inputs
    from trg.io.records.journal_lines import InputFile, without_results
    from trg.io.records.writers import open_records

    allow_pixels(processing.max_megapixels * 10**6)
    if not sources:
        raise ValueError("sources: expected photos, videos, folders, a webcam's number or a URL")
    record_format = results.format
    if record_format == "openface" and results.frame != "opencv":
        raise ValueError(f"--format openface: has axes of its own; got --frame {results.frame}")
    ignored: list[str] = []
    inputs, outputs = results.match(
        find_inputs(sources, ignored, fps=processing.fps, animated=processing.animated), sources
    )
    options = PredictOptions(
        camera=camera.resolve(),
        boxes=None if faces.boxes is None else read_boxes(faces.boxes),
        max_faces=faces.max_faces,
        interpupillary_m=faces.interpupillary_m(),
        smooth=faces.smooth,
        size=faces.size,
        two_pass=faces.two_pass,
        same_person=faces.same_person,
        axes=results.frame,
        batch_size=processing.batch_size,
    )
    options.check(inputs)
    outputs.check(inputs)
    workers = processing.worker_count()
    estimator = processing.estimator(faces.smallest_face)
    if results.blendshapes:
        bundled_shape_basis().require_mesh(estimator.topology)
    settings = {
        "version": __version__,
        "model": model_sha256(processing.model),
        "flip_tta": processing.flip_tta,
        "smallest_face_px": faces.smallest_face,
        "fps": processing.fps,
        "animated": processing.animated,
        "draw": None if results.draw is None else sorted(results.draw.split(",")),
        "mesh": results.mesh,
        "mesh_photo": results.mesh_photo,
        **options.settings(),
    }
    path = results.records_path(sources)
    failures = None if path is None else path.with_name(f"{path.name}{FAILURES_SUFFIX}")
    outputs.refuse_foreign([] if failures is None else [failures])
    # Progress bars would break up results on the same terminal.
    show_progress = results.out is not None or not sys.stdout.isatty()
    with (
        # Opened after all checks, because it replaces earlier results.
        open_records(
            record_format,
            path,
            landmarks=results.landmarks,
            blendshapes=results.blendshapes,
            resume=results.resume,
            overwrite=results.overwrite,
            settings=settings,
            inputs={
                item.name: InputFile.of(item.path, getattr(item, "frame_files", ()))
                for item in inputs
            },
        ) as records,
        ConsoleObserver(inputs, records.finished, show_progress) as observer,
    ):
        outputs = replace(outputs, claim=records.claim)
        predictor = Predictor(estimator, records, observer, options, outputs, workers)
        hint = "" if results.out is None else "; continue with --resume"
        try:
            predictor.run(inputs)
        except KeyboardInterrupt:
            messages.print(f"stopped after {processed(predictor.summary)}{hint}")
            sys.exit(EXIT_SIGNAL + observer.signals.number)
        except BrokenPipeError:
            raise
        except OSError as error:  # the disk is full or gone
            messages.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
            messages.print(f"stopped after {processed(predictor.summary)}{hint}")
            sys.exit(1)
        finally:
            _list_failures(failures, predictor.summary.failures, records)
    summary = predictor.summary
    kinds = {"drawings": results.draw, "meshes": results.mesh}
    print_summary(
        summary, " and ".join(kind for kind, wanted in kinds.items() if wanted), path, failures
    )
    print_ignored(without_results(ignored))
    if summary.failed:
        sys.exit(1)


def _list_failures(
    path: Path | None, failures: Sequence[tuple[str, str]], records: RecordWriter
) -> None:
    """Write the list of failed inputs; without any, remove the list of an earlier run."""
    from trg.app.outputs import write_failures
    from trg.io.records.names import escape_name

    if path is None:
        return
    try:
        if failures:
            records.claim(escape_name(path.name))
            write_failures(path, failures)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:  # they are in the records, too
        messages.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
