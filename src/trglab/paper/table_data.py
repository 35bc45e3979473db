"""What tables are made from: the paper's data sets, a stand-in for them, or packs of views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trg.geometry.crop import face_box
from trg.geometry.projection import transform
from trg.inference.detector import FaceDetector
from trglab.datasets.arkitface import ARKitFace
from trglab.datasets.biwi import BIWI
from trglab.datasets.completion import is_complete
from trglab.datasets.sample import Sample
from trglab.evaluation.prediction import LabelledImages
from trglab.evaluation.protocols import open_data_set, open_pack
from trglab.export.stand_in import StandInFolders
from trglab.paper.table_plans import Role
from trglab.paper.tables import EvaluationSet, TableData
from trglab.training.overrides import with_overrides
from trglab.training.recipes import recipe, tiny

STAND_IN_TITLE = "synthetic stand-in, not the paper's data"

STAND_IN_TRAINING = {
    "steps": 1500,
    "batch_size": 32,
    "optim.warmup_steps": 100,
    "optim.ema_decay": 0.99,
    "log_every": 50,
    "validate_every": 1500,
    "checkpoint_every": 250,
}
"""What turns the recipe of seconds into one of minutes, after which rows differ by more than
chance."""

STAND_IN_REUSE = 8
"""How often a picture is used before it is read again."""


def table_data_from_datasets(
    arkitface: Path,
    biwi: Path | None,
    w300lp: Path | None = None,
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> TableData:
    """Open ARKitFace and BIWI, training on the former, with 300W-LP as well where it is given.

    Parameters
    ----------
    name
        The recipe; None: the paper's own. Another one's data are replaced by these.
    overrides
        Fields of the recipe by dotted name.

    Raises
    ------
    FileNotFoundError, ValueError
        A data set or the recipe is not what it should be.
    """
    folders = {"arkitface": str(arkitface)} | ({} if w300lp is None else {"w300lp": str(w300lp)})
    own = recipe("paper_single" if w300lp is None else "paper", folders)
    if name == "tiny":
        datasets = tuple(replace(dataset, reuse=STAND_IN_REUSE) for dataset in own.datasets)
        base = with_overrides(replace(tiny(), datasets=datasets), STAND_IN_TRAINING)
    else:
        base = own if name is None else replace(recipe(name), datasets=own.datasets)
    tests: dict[Role, EvaluationSet] = {"near": _test_set("arkitface", "ARKitFace", arkitface)}
    if biwi is not None:
        tests["far"] = _test_set("biwi", "BIWI", biwi)
    made_up = [is_complete(folder) for folder in (arkitface, biwi) if folder is not None]
    frames = ARKitFace(arkitface, "train")
    return TableData(
        title=STAND_IN_TITLE if any(made_up) else "the paper's data sets",
        recipe=with_overrides(base, overrides or {}),
        tests=tests,
        training=EvaluationSet(
            "training part", tests["near"].protocol, LabelledImages(frames, "arkitface train")
        ),
    )


def table_data_from_stand_in(
    parts: StandInFolders, name: str | None = None, overrides: Mapping[str, Any] | None = None
) -> TableData:
    """Open a synthetic stand-in. The default recipe is ``tiny``.

    BIWI's frames take boxes from the landmarks of the person's mesh, which is a face only: the
    reader's own are drawn around whole heads.
    """
    data = table_data_from_datasets(parts.arkitface, parts.biwi, None, name or "tiny", overrides)
    near, far = data.tests["near"], data.tests["far"]
    landmarks68 = ARKitFace(parts.arkitface, "test").landmarks68
    frames = _MeshBoxes(BIWI(parts.biwi), landmarks68.tolist())
    far = replace(
        far,
        short="BIWI stand-in",
        pictures=far.pictures._replace(samples=frames),
        boxes="truth",
        detector=None,
    )
    tests: dict[Role, EvaluationSet] = {
        "near": replace(near, short="ARKitFace stand-in"),
        "far": far,
    }
    note = (
        "The figures of the paper's rows are of the real data sets and of networks that had "
        "millions of pictures: only the order of rows can be compared."
    )
    return replace(data, tests=tests, notes=(note,))


def table_data_from_packs(
    name: str,
    options: Mapping[str, Any],
    near: Path,
    far: Path | None,
    overrides: Mapping[str, Any] | None = None,
) -> TableData:
    """Open packs of the synthetic hold-outs, training by a recipe on its own data.

    Parameters
    ----------
    options
        The recipe's own, such as ``pack``.
    near, far
        The hold-out at the training's distances, and the one beyond them.

    Raises
    ------
    FileNotFoundError, ValueError
        A pack or the recipe is not what it should be, or the far pack says that it is near.
    """
    tests: dict[Role, EvaluationSet] = {"near": EvaluationSet("near", *open_pack(near))}
    if far is not None:
        tests["far"] = EvaluationSet("far", *open_pack(far, far=True))
    base = with_overrides(recipe(name, options), overrides or {})
    training = None
    if base.datasets[0].is_view_store:
        training = EvaluationSet("training", *open_pack(Path(base.datasets[0].options["folder"])))
    note = (
        "The paper's figures are ARKitFace's where ours are of the near hold-out, and BIWI's where "
        "they are of the far one: only the order of rows can be compared."
    )
    return TableData("synthetic hold-outs, not the paper's data", base, tests, training, (note,))


def _test_set(name: str, short: str, folder: Path) -> EvaluationSet:
    rules, pictures = open_data_set(name, folder)
    detector = None if rules.boxes == "truth" or is_complete(folder) else FaceDetector()
    boxes = "truth" if detector is None else rules.boxes
    return EvaluationSet(short, rules, pictures, boxes, detector)


class _MeshBoxes:
    """BIWI's frames with the paper's boxes around the landmarks of each person's mesh."""

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
        in_camera = transform(points_m, sample.rotation, sample.translation_m)
        return replace(sample, box_xyxy=face_box(sample.camera.project(in_camera)))
