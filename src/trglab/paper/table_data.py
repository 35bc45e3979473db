"""Training data and test sets of the tables: the data sets, a synthetic stand-in, or packs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trg.geometry.crop import face_box
from trg.geometry.projection import transform
from trglab.datasets.arkitface import ARKitFace
from trglab.datasets.biwi import BIWI
from trglab.datasets.completion import is_complete
from trglab.datasets.sample import Sample
from trglab.evaluation.prediction import LabelledImages
from trglab.evaluation.protocols import BoxName, EvaluationProtocol, open_data_set, open_pack
from trglab.export.synthetic_data_sets import SyntheticDataSetFolders
from trglab.paper.tables_1_to_4 import Role, TrainingSets
from trglab.training.config import Recipe
from trglab.training.overrides import with_overrides
from trglab.training.recipes import recipe, tiny

SYNTHETIC_TITLE = "synthetic stand-in, not the paper's data"

STAND_IN_TRAINING = {
    "steps": 1500,
    "batch_size": 32,
    "optim.warmup_steps": 100,
    "optim.ema_decay": 0.99,
    "log_every": 50,
    "validate_every": 1500,
    "checkpoint_every": 250,
}
"""Overrides of the recipe ``tiny``: minutes of training, after which rows differ by more than
noise"""

STAND_IN_BUFFER = 512
STAND_IN_REUSE = 8
"""Views made of each stand-in image before it is read again"""


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """One data set that tables measure on."""

    short_name: str
    """For headings"""
    protocol: EvaluationProtocol
    images: LabelledImages
    boxes: BoxName = "paper"


@dataclass(frozen=True, slots=True)
class TableData:
    """Everything that tables and figures are made from."""

    title: str
    """Names the data, above all where they are not the paper's"""
    recipe: Recipe
    """Of all rows but the one of :attr:`single_recipe`"""
    tests: Mapping[Role, EvaluationSet]
    single_recipe: Recipe | None = None
    """The same recipe on ARKitFace alone, where :attr:`recipe` trains on both data sets"""
    training_sets: TrainingSets | None = None
    """Training data of :attr:`recipe`; None if they are not the paper's"""
    training: EvaluationSet | None = None
    """The training data, shown beside the test sets in Fig. 3"""
    notes: tuple[str, ...] = ()


def table_data_from_datasets(
    arkitface: Path,
    biwi: Path | None,
    w300lp: Path | None = None,
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    arkitface_views: Path | None = None,
    boxes: BoxName = "paper",
) -> TableData:
    """Open ARKitFace and BIWI; the training data are ARKitFace and, if given, 300W-LP.

    Parameters
    ----------
    w300lp
        Folder of the data set, or a store of its views.
    name
        Of the recipe; None: the paper's. The data of any other recipe are replaced by these.
    overrides
        Fields of the recipe by dotted name.
    arkitface_views
        A store of the views of ARKitFace's training part, read instead of the folder in trainings.
    boxes
        Face boxes of the test sets.

    Raises
    ------
    FileNotFoundError, ValueError
        From a data set's reader or the recipe.
    """
    if name == "paper" and w300lp is None:
        raise ValueError("recipe paper: expected --w300lp FOLDER as well, or --recipe paper_single")
    if name == "paper_single" and w300lp is not None:
        raise ValueError("recipe paper_single: expected no --w300lp, or --recipe paper")
    if name == "paper_v2":
        raise ValueError(
            "recipe paper_v2: expected a recipe for all rows; the row v2 is TRGv2's network. Its "
            "own training: trg train paper_v2, then trg eval"
        )
    folders, changes = {"arkitface": str(arkitface_views or arkitface)}, dict(overrides or {})
    training_sets: TrainingSets = "arkitface"
    if w300lp is None:
        main, single = _on_paper_data(name, recipe("paper_single", folders), changes), None
    else:
        training_sets = "both"
        paper = recipe("paper", {**folders, "w300lp": str(w300lp)})
        main = _on_paper_data(name, paper, changes)
        of_arkitface = {
            path: value for path, value in changes.items() if not path.startswith("datasets.1.")
        }
        single = _on_paper_data(name, recipe("paper_single", folders), of_arkitface)
    tests: dict[Role, EvaluationSet] = {
        "near": EvaluationSet("ARKitFace", *open_data_set("arkitface", arkitface), boxes)
    }
    if biwi is not None:
        tests["far"] = EvaluationSet("BIWI", *open_data_set("biwi", biwi), boxes)
    is_synthetic = any(is_complete(folder) for folder in (arkitface, biwi) if folder is not None)
    frames = ARKitFace(arkitface, "train")
    return TableData(
        title=SYNTHETIC_TITLE if is_synthetic else "the paper's data sets",
        recipe=main,
        tests=tests,
        single_recipe=single,
        training_sets=training_sets,
        training=EvaluationSet(
            "training part", tests["near"].protocol, LabelledImages(frames, "arkitface train")
        ),
    )


def _on_paper_data(name: str | None, paper: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a name with the data of one of the paper's, and its fields changed."""
    if name in (None, "paper", "paper_single"):
        return with_overrides(paper, overrides)
    base = tiny() if name == "tiny" else recipe(name)
    reading: dict[str, Any] = {"augment": base.datasets[0].augment}
    if name == "tiny":
        base = with_overrides(base, STAND_IN_TRAINING)
        reading |= {"buffer_size": STAND_IN_BUFFER, "reuse": STAND_IN_REUSE}
    datasets = tuple(replace(dataset, **reading) for dataset in paper.datasets)
    return with_overrides(replace(base, datasets=datasets), overrides)


def table_data_from_synthetic(
    folders: SyntheticDataSetFolders,
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    boxes: BoxName = "truth",
) -> TableData:
    """Open a synthetic stand-in. The default recipe is ``tiny``.

    The true boxes of BIWI's frames are those of the landmarks of the person's mesh, which is a face
    only; the boxes of BIWI's reader are around whole heads.
    """
    data = table_data_from_datasets(
        folders.arkitface, folders.biwi, None, name or "tiny", overrides, boxes=boxes
    )
    near, far = data.tests["near"], data.tests["far"]
    landmarks68 = ARKitFace(folders.arkitface, "test").landmarks68
    frames = _LandmarkBoxes(BIWI(folders.biwi), landmarks68.tolist())
    far = replace(
        far,
        short_name="BIWI stand-in",
        protocol=replace(far.protocol, true_boxes=near.protocol.true_boxes),
        images=far.images._replace(samples=frames),
    )
    note = (
        "The numbers of the paper's rows are of the real data sets and of networks trained on "
        "millions of images: only the order of rows can be compared."
    )
    tests: dict[Role, EvaluationSet] = {
        "near": replace(near, short_name="ARKitFace stand-in"),
        "far": far,
    }
    return replace(data, tests=tests, training_sets=None, notes=(note,))


def table_data_from_packs(
    name: str,
    options: Mapping[str, Any],
    near: Path,
    far: Path | None,
    overrides: Mapping[str, Any] | None = None,
) -> TableData:
    """Open packs of the synthetic hold-outs; the training data are the recipe's.

    Parameters
    ----------
    options
        Of the recipe, such as ``pack``.
    near, far
        The hold-out at the training distances, and the one beyond them.

    Raises
    ------
    FileNotFoundError, ValueError
        From a pack or the recipe, or ``far`` is not the far hold-out.
    """
    tests: dict[Role, EvaluationSet] = {"near": EvaluationSet("near", *open_pack(near))}
    if far is not None:
        tests["far"] = EvaluationSet("far", *open_pack(far, far=True))
    base = with_overrides(recipe(name, options), overrides or {})
    training = None
    if base.datasets[0].is_view_store:
        training = EvaluationSet("training", *open_pack(Path(base.datasets[0].options["folder"])))
    note = (
        "The paper's numbers are of ARKitFace in the columns of the near hold-out, and of BIWI in "
        "those of the far one: only the order of rows can be compared."
    )
    lacking = [f"{test.protocol.title}." for test in tests.values() if test.protocol.without]
    return TableData(
        "synthetic hold-outs, not the paper's data",
        base,
        tests,
        training=training,
        notes=(note, *lacking),
    )


class _LandmarkBoxes:
    """BIWI's frames with the paper's face boxes, around the landmarks of each person's mesh."""

    def __init__(self, frames: BIWI, landmarks68: list[int]) -> None:
        self._frames, self._landmarks68 = frames, landmarks68

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        """Read one frame."""
        sample = self._frames[index]
        assert sample.rotation is not None
        assert sample.translation_m is not None
        points_m = self._frames.mesh(sample.identity).vertices_m[self._landmarks68]
        points_cam_m = transform(points_m, sample.rotation, sample.translation_m)
        return replace(sample, box_xyxy=face_box(sample.camera.project(points_cam_m)))
