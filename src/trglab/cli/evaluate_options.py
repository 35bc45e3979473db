"""Options of the verb ``eval``, and which of them each measurement looks at."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter

from trg.app.cli.shared import NotNegative, Positive

if TYPE_CHECKING:
    from trg.inference.runtime import PoseNetwork
    from trglab.evaluation.reference_alignment import ReferenceFace

HoldoutNumber = Literal[1, 2]
DatasetName = Literal[
    "arkitface",
    "biwi",
    "ddpose",
    "aflw2000",
    "300wlp",
    "synthetic",
    "stills",
    "blendshapes",
    "clips",
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class MeasurementOptions:
    """The method and how it is measured.

    Parameters
    ----------
    bundle
        The weights to measure: a name listed by `trg models` (by default `trg_s`), or a `.trg`
        file.
    predictions
        Score this file of predictions instead (format: docs/evaluation.md).
    method
        Measure another method beside the bundle, which the Python of ``--python`` has installed:
        ``mediapipe`` (its FaceMesh) or ``6drepnet`` (rotation only).
    python
        Python of an environment with ``--method``; by default this one.
    boxes
        Source of the face boxes: those of the ``paper``'s protocol for the data set, its
        ``truth``, a ``detector``, or ``landmarks`` that the network predicts inside the detection.
    view
        How the network sees a face: a ``crop`` of the image, as in the paper; a perspective crop
        from a ``virtual`` camera; or ``refined`` crops of that kind, as in `trg predict`, which
        follow the landmarks and the roll.
    flip_tta
        Flip test-time augmentation, as `trg predict --flip-tta` does.
    align
        ``reference``: move each person's true head origin to that of a reference face, by seven
        landmarks, so that data sets that place it differently compare (docs/comparing.md).
    reference
        The face for ``--align reference``: a weight bundle (by default the measured one), the
        folder of ARKitFace or BIWI, or a pack of views.
    by
        Print medians by group: comma-separated ``age``, ``sex``, ``skin`` (of rendered people),
        ``distance``, ``yaw``, ``occlusion``.
    limit
        Use only this many images, evenly spread.
    """

    bundle: Path | None = None
    predictions: Path | None = None
    method: Literal["mediapipe", "6drepnet"] | None = None
    python: Path | None = None
    boxes: Literal["paper", "truth", "detector", "landmarks"] = "paper"
    view: Literal["crop", "virtual", "refined"] = "crop"
    flip_tta: bool = False
    align: Literal["as-is", "reference"] = "as-is"
    reference: Path | None = None
    by: str = ""
    limit: Positive | None = None

    def reference_face(self) -> ReferenceFace | None:
        """Read the face that head origins are aligned to; None: they are not."""
        from trglab.evaluation.reference_alignment import read_reference

        if self.align == "as-is":
            return None
        return read_reference(self.reference or self.bundle_path())

    def bundle_path(self) -> Path:
        """Return the bundle's file."""
        from trg.inference.bundle import model_path

        return model_path(self.bundle)

    def network(self) -> PoseNetwork:
        """Load the bundle."""
        from trg.inference.flip import FlipTTANetwork
        from trg.inference.runtime import PoseRuntime

        runtime = PoseRuntime(self.bundle_path())
        return FlipTTANetwork(runtime) if self.flip_tta else runtime


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class HoldoutOptions:
    """Options of the synthetic hold-out.

    Parameters
    ----------
    far
        ``synthetic``: the hold-out at 2 to 3 m, beyond all training distances.
    pack
        ``synthetic``: a folder of rendered views of the hold-out, or of other faces
        (``trg synth``), which the title names.
    count
        ``synthetic`` without a pack: number of images to render.
    without
        ``synthetic`` without a pack: comma-separated ingredients to leave out, such as
        ``photo_skin,panoramas,hair_meshes`` where these assets are not installed. The title of the
        results names them.
    holdout_version
        ``synthetic`` without a pack. ``2``: 1,000 people and all ingredients; ``1``: 167 people
        without hard poses, hard light and the like.
    workers
        Processes that render.
    """

    far: bool = False
    pack: Path | None = None
    count: Positive = 4000
    without: str = ""
    holdout_version: HoldoutNumber = 1
    workers: NotNegative = 0


def refuse_contradictions(options: MeasurementOptions) -> None:
    """Raise ValueError if two options do not go together, or one lacks another."""
    if options.predictions is not None:
        if options.bundle is not None:
            raise ValueError("expected --bundle or --predictions, got both")
        if options.method is not None:
            raise ValueError("expected --method or --predictions, got both")
        if options.flip_tta:
            raise ValueError("expected no --flip-tta beside --predictions: no network runs")
        if options.align == "reference" and options.reference is None:
            raise ValueError(
                "--align reference: expected --reference with the mean face in the head frame of "
                "these predictions: a weight bundle or the folder of the training data"
            )
    if options.python is not None and options.method is None:
        raise ValueError("--python: expected --method NAME as well")
    if options.align == "as-is" and options.reference is not None:
        raise ValueError("--reference: expected --align reference as well")


def refuse_unused(
    name: DatasetName,
    path: Path | None,
    options: MeasurementOptions,
    holdout: HoldoutOptions,
    out: Path | None,
) -> None:
    """Raise ValueError if an option is given that the measurement does not look at."""
    of_method = {field.name for field in fields(options)} | {"out"}
    of_holdout = {field.name for field in fields(holdout)}
    used = {
        "stills": {"bundle", "flip_tta", "method", "python", "limit"},
        "clips": {"bundle", "flip_tta"},
        "blendshapes": of_holdout
        | of_method - {"predictions", "method", "python", "by", "align", "reference"},
        "synthetic": of_holdout | of_method,
    }.get(name, of_method)
    if path is not None or holdout.pack is not None:
        used -= {"count", "without", "holdout_version", "workers"}  # nothing is rendered
    given = {
        field.name
        for group in (options, holdout)
        for field in fields(group)
        if getattr(group, field.name) != field.default
    }
    given |= set() if out is None else {"out"}
    if unused := sorted(given - used):
        flags = ", ".join("--" + each.replace("_", "-") for each in unused)
        raise ValueError(f"{name}: expected no {flags}, which would change nothing here")
    if path is not None and holdout.pack is not None:
        raise ValueError(f"{name}: expected a folder or --pack, got both")
