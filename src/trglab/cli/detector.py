"""Verbs that make, train, export and measure face detectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cyclopts import App

from trg.app.cli.shared import NotNegative, Positive, messages

detector = App(
    name="detector",
    help="Make, train, export and measure face detectors.",
)

HOLDOUT_SEEDS = (1_000_003, 1_000_004)
"""Of the empty pictures: one set for the threshold, another one for the figures."""


@detector.command(name="train")
def train_verb(
    folder: Path,
    /,
    *,
    negatives: Path,
    scenes: Path | None = None,
    views: Path | None = None,
    steps: Positive = 5000,
    seed: NotNegative = 0,
    resume: bool = False,
    start_from: Path | None = None,
    device: str | None = None,
    max_minutes: float | None = None,
) -> None:
    """Train a detector on packed scenes.

    Parameters
    ----------
    folder
        Where the checkpoint and the log go.
    negatives
        Store of scenes without a face, from ``trg data pack scenes --negatives``.
    scenes
        Store of scenes, from ``trg data pack scenes``.
    views
        Store of single faces, from ``trg data pack synthetic``.
    steps, seed
        Length of the training, to whose end the learning rate falls, and its chance.
    resume, max_minutes, start_from
        Go on from the folder's checkpoint; stop in good order after this time; begin with the
        weights in ``last.pt`` of another training.
    device
        ``cpu`` (the default) or ``cuda``.
    """
    import torch

    from trglab.detector.mixing import SceneMixer
    from trglab.detector.scene_store import SceneStore, ViewScenes
    from trglab.detector.training import DetectionRecipe, train_detector
    from trglab.training.progress import training_bar

    recipe = DetectionRecipe(steps=steps, seed=seed)
    mixer = SceneMixer(
        seed,
        recipe.canvas_px,
        negatives=SceneStore(negatives),
        scenes=None if scenes is None else SceneStore(scenes),
        views=None if views is None else ViewScenes(views),
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
    empty_pictures: Positive = 1000,
) -> None:
    """Turn a training's averaged weights into an ONNX file, with what is known of it on its card.

    Parameters
    ----------
    checkpoint
        ``last.pt`` of a training.
    model
        The ONNX file to write.
    threshold
        Score from which on a face counts. None: the lowest at which at most 0.75 % of the empty
        pictures show one; the figures then come from other empty pictures.
    name, licence, attribution, data
        For the card; ``data`` says what the training has seen.
    stills
        Folder of photographs with 68 landmarks whose found share the card shall state.
    empty_pictures
        How many pictures without a face are looked at.
    """
    from trg.inference.detector import FaceDetector
    from trglab.detector.evaluation import (
        labelled_stills,
        negative_scores,
        positive_scores,
        report,
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
    export_detector(network, model, {**card, "threshold": threshold or 0.5})
    found = FaceDetector(model)
    if threshold is None:
        some = face_free_images(HOLDOUT_SEEDS[0], empty_pictures)
        threshold = threshold_for(negative_scores(found, some), 0.0075)
    labelled = positive_scores(found, [] if stills is None else labelled_stills(stills))
    empty = negative_scores(found, face_free_images(HOLDOUT_SEEDS[1], empty_pictures))
    card |= {"threshold": threshold, "figures": report(labelled, empty, threshold)}
    print(json.dumps(export_detector(network, model, card), indent=2))


@detector.command
def measure(
    model: Path | None = None,
    /,
    *,
    stills: Path | None = None,
    photos: Path | None = None,
    empty_pictures: Positive = 1000,
    crowds: NotNegative = 0,
    side: Positive = 320,
) -> None:
    """Measure a detector: faces found, false alarms, sizes, turned photographs, time. JSON.

    Parameters
    ----------
    model
        An exported detector; None: the package's own.
    stills
        Folder of photographs with 68 landmarks.
    photos
        Folder of JPEG photographs with one face in the middle each, looked at in four turns.
    empty_pictures
        How many pictures without a face are looked at.
    crowds
        How many synthetic scenes of people, whom no training shows, are looked at.
    side
        Larger side of the network's input, px.
    """
    import numpy as np
    from PIL import Image

    from trg.inference.detector import FaceDetector
    from trglab.detector.evaluation import (
        labelled_stills,
        milliseconds,
        negative_scores,
        positive_scores,
        recall_by_rotation,
        recall_by_size,
        report,
    )
    from trglab.detector.scenes import DetectionScenes
    from trglab.synth.negatives import face_free_images

    found = FaceDetector(model, side_px=side)
    labelled = positive_scores(found, [] if stills is None else labelled_stills(stills))
    empty = negative_scores(found, face_free_images(HOLDOUT_SEEDS[1], empty_pictures))
    figures = report(labelled, empty, found.threshold)
    figures["ms_640x480_one_thread"] = milliseconds(found)
    if crowds:
        scenes = DetectionScenes(HOLDOUT_SEEDS[1], (640, 480), people=24, scenes_per_person=1000)
        figures["recall_by_size"] = recall_by_size(found, map(scenes.sample, range(crowds)))
    if photos is not None:
        pictures = (
            np.asarray(Image.open(path).convert("RGB")) for path in sorted(photos.glob("*.jpg"))
        )
        figures["recall_by_rotation"] = recall_by_rotation(found, pictures)
    print(json.dumps(figures, indent=2))
