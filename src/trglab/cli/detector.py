"""Commands that train, export and evaluate face detectors."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from cyclopts import App

from trg.app.cli.shared import NotNegative, Positive, messages, refuse_existing

detector = App(
    name="detector",
    help="Train, export and evaluate face detectors.",
)

HOLDOUT_SEEDS = (1_000_003, 1_000_004)
"""Seeds of the negatives that set the threshold, and of those that are reported."""


@detector.command(name="train")
def train_verb(
    folder: Path,
    /,
    *,
    negatives: Path,
    scenes: tuple[Path, ...] = (),
    views: tuple[Path, ...] = (),
    steps: Positive = 5000,
    uses: Positive = 1,
    seed: NotNegative = 0,
    architecture: Literal["dense", "separable"] = "dense",
    resume: bool = False,
    start_from: Path | None = None,
    device: str | None = None,
    max_minutes: float | None = None,
) -> None:
    """Train a detector on packed scenes.

    Parameters
    ----------
    folder
        Folder of the checkpoint and the log.
    negatives
        Store of scenes without a face, from ``trg data pack scenes --negatives``.
    scenes
        Store of scenes, from ``trg data pack scenes``. Repeat it for several.
    views
        Store of single faces, from ``trg data pack synthetic``. Repeat it for several.
    steps
        Number of steps, over which the learning rate decays.
    uses
        How often each composed scene is used: 4 on a single core, where composing takes longer than
        training.
    seed
        Random seed.
    architecture
        ``separable`` is faster than ``dense``, and needs a longer training.
    resume
        Continue from the checkpoint in the folder.
    start_from
        ``last.pt`` of another training whose averaged weights this one starts with.
    max_minutes
        Stop after this time, with a checkpoint.
    device
        ``cpu`` (the default) or ``cuda``.
    """
    import torch

    from trglab.detector.mixing import SceneMixer
    from trglab.detector.network import ARCHITECTURES
    from trglab.detector.scene_store import JoinedScenes, SceneStore, ViewScenes
    from trglab.detector.training import DetectionRecipe, train_detector
    from trglab.training.progress import training_bar

    recipe = DetectionRecipe(steps=steps, seed=seed, uses=uses, model=ARCHITECTURES[architecture])
    mixer = SceneMixer(
        seed,
        recipe.canvas_px,
        negatives=SceneStore(negatives),
        scenes=JoinedScenes([SceneStore(each) for each in scenes]) if scenes else None,
        views=JoinedScenes([ViewScenes(each) for each in views]) if views else None,
    )
    with training_bar(steps, recipe.batch_size, messages) as on_step:
        done = train_detector(
            recipe,
            mixer,
            folder,
            resume=resume,
            start_from=start_from,
            device=None if device is None else torch.device(device),
            max_minutes=max_minutes,
            on_step=on_step,
        )
    messages.print(f"{folder}: {done} of {steps} steps done")


@detector.command(name="export")
def export_verb(
    checkpoint: Path,
    model: Path,
    /,
    *,
    threshold: float | None = None,
    name: str = "trg_detector",
    licence: str = "unknown",
    attribution: tuple[str, ...] = (),
    data: str = "",
    stills: Path | None = None,
    negatives: Positive = 1000,
    overwrite: bool = False,
) -> None:
    """Export the averaged weights of a training to an ONNX file with a model card.

    Parameters
    ----------
    checkpoint
        ``last.pt`` of a training.
    model
        The ONNX file to write.
    threshold
        Detection threshold. None: the lowest with a false-positive rate of at most 0.75 % on
        negatives that differ from the reported ones.
    name
        Name on the card.
    licence
        Licence of the weights, for the card.
    attribution
        Sources of the training data, with the credits that their licences require, for the card.
    data
        Description of the training data, for the card.
    stills
        Folder of images with 68 landmarks, on which the card reports the recall.
    negatives
        Number of synthetic negatives.
    overwrite
        Replace the file.
    """
    refuse_existing([model], overwrite=overwrite)
    from trg.inference.detector import FaceDetector
    from trglab.detector.evaluation import (
        evaluation_report,
        labelled_stills,
        negative_scores,
        positive_scores,
        threshold_for,
    )
    from trglab.detector.export import export_detector
    from trglab.detector.training import trained_network
    from trglab.synth.negatives import face_free_images

    network, training = trained_network(checkpoint)
    card: dict[str, Any] = {
        "name": name,
        "licence": licence,
        "attribution": list(attribution),
        "training": {"data": data, **training},
    }
    with TemporaryDirectory() as folder:  # the file itself is written once, with its figures
        trial = Path(folder, model.name)
        export_detector(network, trial, {**card, "threshold": threshold or 0.5})
        tested = FaceDetector(trial)
    if threshold is None:
        some = face_free_images(HOLDOUT_SEEDS[0], negatives)
        threshold = threshold_for(negative_scores(tested, some), 0.0075)
    positives = positive_scores(tested, [] if stills is None else labelled_stills(stills))
    scores = negative_scores(tested, face_free_images(HOLDOUT_SEEDS[1], negatives))
    card |= {"threshold": threshold, "figures": evaluation_report(positives, scores, threshold)}
    print(json.dumps(export_detector(network, model, card), indent=2))


@detector.command
def measure(
    model: Path | None = None,
    /,
    *,
    stills: Path | None = None,
    photos: Path | None = None,
    negatives: Positive = 1000,
    scenes: NotNegative = 0,
    threshold: float | None = None,
    side: Positive = 320,
) -> None:
    """Evaluate a detector: recall, false-positive rate, by size, roll and
    visibility, time. Prints JSON.

    Parameters
    ----------
    model
        An exported detector; None: the bundled one.
    stills
        Folder of images with 68 landmarks.
    photos
        Folder of JPEG images with one central face each, evaluated at four rotations.
    negatives
        Number of synthetic negatives.
    scenes
        Number of synthetic scenes of people who are in no training scene.
    threshold
        Detection threshold; None: that of the model's card.
    side
        Larger side of the network's input, px.
    """
    import numpy as np

    from trg.inference.detector import FaceDetector
    from trg.io.images import open_image
    from trglab.detector.evaluation import (
        SceneResults,
        detection_time_ms,
        evaluation_report,
        labelled_stills,
        negative_scores,
        positive_scores,
        recall_by_rotation,
    )
    from trglab.detector.scenes import DetectionScenes
    from trglab.synth.negatives import face_free_images

    tested = FaceDetector(model, threshold=threshold, side_px=side)
    positives = positive_scores(tested, [] if stills is None else labelled_stills(stills))
    scores = negative_scores(tested, face_free_images(HOLDOUT_SEEDS[1], negatives))
    figures = evaluation_report(positives, scores, tested.threshold)
    figures["ms_640x480_one_thread"] = detection_time_ms(tested)
    if scenes:
        held_out = DetectionScenes(HOLDOUT_SEEDS[1], (640, 480), people=24, scenes_per_person=1000)
        results = SceneResults.measure(tested, map(held_out.sample, range(scenes)))
        figures["scenes"] = results.report()
    if photos is not None:
        images = (
            np.asarray(open_image(path).convert("RGB")) for path in sorted(photos.glob("*.jpg"))
        )
        figures["recall_by_rotation"] = recall_by_rotation(tested, images)
    print(json.dumps(figures, indent=2))
