"""Targets, losses, scene mixing, training and export of the detector."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import pytest
import torch

from tests.support.dot_faces import DotFaces
from tests.support.dot_scenes import DotScenes
from trg.inference.detector import STRIDE, UNIT_SIDE_PX, FaceDetector
from trg.network.cost import multiply_adds, parameter_count
from trglab.cli.detector import train_verb
from trglab.datasets.view_store import ViewStoreSettings, write_views
from trglab.detector.evaluation import LabelledImage, negative_scores, positive_scores
from trglab.detector.export import (
    PARITY_LIMIT,
    detector_graph,
    export_detector,
    measure_parity,
)
from trglab.detector.mixing import SceneMixer, flip_scene, turn_scene
from trglab.detector.network import (
    ARCHITECTURES,
    FULL_SIDE_PX,
    MIN_WEIGHT,
    DetectionTargets,
    DetectorConfig,
    DetectorNetwork,
    DetectorOutput,
    detection_losses,
    detection_targets,
)
from trglab.detector.scene_store import SceneStore, ViewScenes, write_scenes
from trglab.detector.training import DetectionRecipe, DetectionRun, train_detector, trained_network
from trglab.training.optim import learning_rate
from trglab.training.state import read_log

TINY = DetectorConfig(False, (8, 16), (16, 16, 16), (1, 1, 1), width=16)
NO_BOXES = np.zeros((0, 4))


def one_face(centre: tuple[float, float], side: float) -> tuple[np.ndarray, np.ndarray]:
    middle = np.array(centre)
    box = np.concatenate([middle - side / 2, middle + side / 2])
    return box[None], (middle + side * np.linspace(-0.3, 0.3, 10).reshape(5, 2))[None]


def targets_for(boxes, points, ignore=NO_BOXES, size=(96, 128)) -> DetectionTargets:
    return detection_targets(size, boxes, points, ignore)


@pytest.mark.parametrize(
    ("centre", "side"), [((50.0, 41.0), 16.0), ((3.0, 90.0), 40.0), ((64.0, 48.0), 170.0)]
)
def test_targets_encode_the_face_in_every_regression_cell(centre, side) -> None:
    boxes, points = one_face(centre, side)
    targets = targets_for(boxes, points)
    row, column = np.unravel_index(targets.heat.argmax(), targets.heat.shape)
    assert (column, row) == (centre[0] // STRIDE, centre[1] // STRIDE)
    assert (targets.heat == 1.0).sum() == 1
    face_weight = np.clip(side / FULL_SIDE_PX, MIN_WEIGHT, 1.0)
    assert targets.weight[row, column] == pytest.approx(face_weight)
    assert (np.delete(targets.weight.ravel(), targets.heat.argmax()) == 1.0).all()
    cells = np.argwhere(targets.faces_weight[..., 0] > 0)
    assert len(cells) >= 1
    np.testing.assert_allclose(targets.faces_weight.sum((0, 1)), face_weight, rtol=1e-5)
    for row, column in cells:
        cell = (np.array([column, row]) + 0.5) * STRIDE
        numbers = targets.faces[row, column].astype(float)
        decoded = UNIT_SIDE_PX * np.exp(numbers[2])
        assert decoded == pytest.approx(side, rel=1e-5)
        np.testing.assert_allclose(cell + decoded * numbers[:2], centre, atol=1e-3)
        np.testing.assert_allclose(cell + decoded * numbers[3:].reshape(5, 2), points[0], atol=1e-3)


def test_small_outside_and_unlabelled_faces_are_ignored() -> None:
    small, points = one_face((20.0, 20.0), 9.0)
    targets = targets_for(small, points)
    assert targets.heat.max() == 0.0
    assert targets.weight[2, 2] == 0.0
    outside, points = one_face((-4.0, 40.0), 40.0)
    targets = targets_for(outside, points)
    assert targets.heat.max() == 0.0
    assert targets.weight[5, 0] == 0.0
    assert targets.weight[5, 8] == 1.0
    box, points = one_face((64.0, 48.0), 24.0)
    targets = targets_for(box, points, np.array([[0.0, 0.0, 128.0, 96.0]]))
    assert targets.heat.max() == 1.0
    assert targets.weight[6, 8] == pytest.approx(24.0 / FULL_SIDE_PX)
    assert targets.weight[0, 0] == 0.0


def test_an_unknown_point_has_no_weight() -> None:
    box, points = one_face((64.0, 48.0), 32.0)
    points[0, 2] = np.nan
    targets = targets_for(box, points)
    assert np.isfinite(targets.faces).all()
    np.testing.assert_array_equal(targets.faces_weight[..., 7:9], 0.0)
    assert targets.faces_weight[..., 0].sum() == pytest.approx(32.0 / FULL_SIDE_PX)


def as_batch(targets: DetectionTargets) -> DetectionTargets:
    return DetectionTargets(*(torch.from_numpy(array)[None] for array in targets))


def test_losses_equal_a_loop_over_cells() -> None:
    rng = np.random.default_rng(0)
    boxes = np.vstack([one_face((30.0, 30.0), 30.0)[0], one_face((90.0, 60.0), 60.0)[0]])
    points = np.vstack([one_face((30.0, 30.0), 30.0)[1], one_face((90.0, 60.0), 60.0)[1]])
    targets = targets_for(boxes, points, np.array([[100.0, 0.0, 128.0, 20.0]]))
    logits = rng.normal(0, 1.5, targets.heat.shape).astype(np.float32)
    faces = rng.normal(0, 1, targets.faces.shape).astype(np.float32)
    got = detection_losses(
        DetectorOutput(torch.from_numpy(logits)[None], torch.from_numpy(faces)[None]),
        as_batch(targets),
    )
    heat = box = point = 0.0
    for cell in np.ndindex(targets.heat.shape):
        share = 1.0 / (1.0 + np.exp(-float(logits[cell])))
        if targets.heat[cell] == 1.0:
            heat -= targets.weight[cell] * (1.0 - share) ** 2 * np.log(share)
        else:
            heat -= (
                targets.weight[cell]
                * (1.0 - targets.heat[cell]) ** 4
                * share**2
                * np.log(1.0 - share)
            )
        error = np.abs(faces[cell] - targets.faces[cell]) * targets.faces_weight[cell]
        box, point = box + 4.0 * error[:3].sum(), point + 4.0 * error[3:].sum() / 5.0
    np.testing.assert_allclose(
        [got.heat, got.box, got.points], np.array([heat, box, point]) / 2, rtol=1e-4
    )
    assert got.total == pytest.approx(float(got.heat + got.box + got.points), rel=1e-6)


def test_a_perfect_prediction_has_no_loss_and_a_negative_is_accepted() -> None:
    targets = as_batch(targets_for(*one_face((64.0, 48.0), 32.0)))
    logits = torch.where(targets.heat == 1.0, 20.0, -20.0)
    assert detection_losses(DetectorOutput(logits, targets.faces), targets).total < 1e-4
    negative = as_batch(targets_for(NO_BOXES, np.zeros((0, 5, 2))))
    zeros = torch.zeros_like(negative.heat)
    losses = detection_losses(DetectorOutput(zeros, negative.faces), negative)
    assert float(losses.heat) == pytest.approx(zeros.numel() * 0.25 * np.log(2), rel=1e-5)
    assert losses.box == losses.points == 0.0


@pytest.mark.parametrize(
    ("architecture", "parameters", "operations"),
    [("dense", 480_000, 290e6), ("separable", 216_000, 78e6)],
)
def test_the_network_stays_in_its_budget(architecture, parameters, operations) -> None:
    network = DetectorNetwork(ARCHITECTURES[architecture])
    assert parameter_count(network) <= parameters
    image = torch.zeros(1, 256, 320, 3, dtype=torch.uint8)
    assert multiply_adds(network, image) <= operations
    output = network.eval()(torch.zeros(2, 64, 96, 3, dtype=torch.uint8))
    assert output.logits.shape == (2, 8, 12)
    assert output.faces.shape == (2, 8, 12, 13)


def test_the_graph_of_the_separable_network_agrees_with_it() -> None:
    """The export folds scale and batch normalisation into the convolutions."""
    network = DetectorNetwork(replace(TINY, separable=True))
    network.train()(torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8))
    network.eval()
    graph = detector_graph(network)
    assert max(measure_parity(network, graph).values()) < PARITY_LIMIT
    assert {node.op_type for node in graph.graph.node}.isdisjoint({"BatchNormalization"})


def bright_region(image: np.ndarray) -> np.ndarray:
    """Bounding rectangle of the bright disc."""
    rows, columns = np.nonzero(image.min(2) > 120)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


def test_mixed_scenes_have_correct_labels() -> None:
    """If a scene shows one complete disc, its box is twice as large and concentric."""
    mixer = SceneMixer(3, 96, negatives=DotScenes(1, 0), scenes=DotScenes(2, 1))
    checked = 0
    for number in range(120):
        scene = mixer.scene(number)
        inside = (scene.boxes_xyxy >= 0).all() and (scene.boxes_xyxy <= 96).all()
        if len(scene.boxes_xyxy) != 1 or len(scene.ignore_xyxy) or not inside:
            continue
        box = scene.boxes_xyxy[0]
        if box[2] - box[0] < 24 or (scene.image.min(2) > 120).mean() > 0.4:  # coloured filling
            continue
        found = bright_region(scene.image)
        side = box[2] - box[0]
        middle, half = (box[:2] + box[2:]) / 2, side / 4
        np.testing.assert_allclose(found[:2], middle - half, atol=0.06 * side + 1.0)
        np.testing.assert_allclose(found[2:], middle + half, atol=0.06 * side + 1.0)
        checked += 1
    assert checked >= 15


def test_scenes_are_a_function_of_seed_and_index() -> None:
    mixers = [
        SceneMixer(s, 96, negatives=DotScenes(1, 0), scenes=DotScenes(2, 3)) for s in (0, 0, 1)
    ]
    a, b, c = (mixer.scene(7) for mixer in mixers)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(a.image, c.image)


def test_flipping_twice_restores_a_scene() -> None:
    scene = DotScenes(0, 2).scene(0)
    once, twice = flip_scene(scene), flip_scene(flip_scene(scene))
    np.testing.assert_array_equal(twice.image, scene.image)
    np.testing.assert_allclose(twice.boxes_xyxy, scene.boxes_xyxy)
    np.testing.assert_allclose(twice.points, scene.points)
    assert (once.points[:, 0, 0] < once.points[:, 1, 0]).all()  # from left to right
    assert (once.boxes_xyxy[:, 0] < once.boxes_xyxy[:, 2]).all()


def test_turning_a_scene_turns_its_labels() -> None:
    """Each point keeps its pixel, and the image turns clockwise."""
    scene = DotScenes(0, 2).scene(0)
    scene.image[:] = np.random.default_rng(0).integers(0, 255, scene.image.shape)
    scene = scene._replace(points=scene.points + 0.25)  # not between two pixels
    for quarters in range(-1, 5):
        turned = turn_scene(scene, quarters)
        np.testing.assert_array_equal(turned.image, np.rot90(scene.image, -quarters))
        (x, y), (u, v) = (np.floor(each.points).astype(int).T for each in (scene, turned))
        np.testing.assert_array_equal(turned.image[v, u], scene.image[y, x])
        low, high = turned.boxes_xyxy[:, None, :2], turned.boxes_xyxy[:, None, 2:]
        assert ((turned.points > low) & (turned.points < high)).all()
        sides = [boxes[:, 2] - boxes[:, 0] for boxes in (turned.boxes_xyxy, scene.boxes_xyxy)]
        np.testing.assert_allclose(*sides)


def test_a_mixer_needs_faces() -> None:
    with pytest.raises(ValueError, match="expected images with faces"):
        SceneMixer(0, 96, negatives=DotScenes(0, 0))


def test_scenes_are_stored_and_read_back(tmp_path) -> None:
    scenes = DotScenes(0, 2)
    write_scenes(tmp_path / "scenes", scenes.scene, 5, provenance={"seed": 0})
    store = SceneStore(tmp_path / "scenes")
    assert len(store) == 5
    for a, b in zip(store.scene(4), scenes.scene(4), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="expected a store of views, got one of scenes"):
        ViewScenes(tmp_path / "scenes")
    with pytest.raises(FileNotFoundError, match="trg data pack"):
        SceneStore(tmp_path / "nowhere")


def test_views_become_scenes_of_one_face(tmp_path) -> None:
    settings = ViewStoreSettings(96, image_format="raw")
    write_views(tmp_path / "views", DotFaces, settings, indices=range(2))
    scene = ViewScenes(tmp_path / "views").scene(1)
    box = scene.boxes_xyxy[0]
    np.testing.assert_allclose(box[2:] - box[:2], 96 / 1.6, atol=0.01)
    for x, y in scene.points[0]:
        assert (box[:2] < (x, y)).all()
        assert (box[2:] > (x, y)).all()
    assert scene.ignore_xyxy.shape == (4, 4)


def test_views_are_rolled_with_their_labels(tmp_path, monkeypatch) -> None:
    """Some views show the face rolled by any angle: the tip of the nose stays where it is bright,
    and the five points turn with it."""
    settings = ViewStoreSettings(96, image_format="raw")
    nose = partial(DotFaces, dots=(30,))
    write_views(tmp_path / "views", nose, settings, indices=range(24))
    views = ViewScenes(tmp_path / "views")
    rolled = [views.scene(index) for index in range(24)]
    monkeypatch.setattr("trglab.detector.scene_store.ROLLED_SHARE", 0.0)
    rolls = []
    for index, scene in enumerate(rolled):
        column, row = scene.points[0, 2].astype(int)
        assert scene.image[row, column, 0] > 0.8 * scene.image.max()
        before, after = (
            points[1] - points[0] for points in (views.scene(index).points[0], scene.points[0])
        )
        np.testing.assert_allclose(np.hypot(*after), np.hypot(*before))
        turn = np.arctan2(np.linalg.det([before, after]), before @ after)
        rolls.append(abs(np.degrees(turn)))
    assert 0.4 < np.mean(np.array(rolls) < 1.0) < 0.8
    assert max(rolls) > 90.0


def tiny_recipe(steps: int = 6) -> DetectionRecipe:
    base = DetectionRecipe(
        steps=steps, batch_size=4, canvas_px=64, model=TINY, log_every=1, checkpoint_every=3
    )
    return replace(base, optim=replace(base.optim, warmup_steps=5, learning_rate=1e-2))


def dots_mixer() -> SceneMixer:
    return SceneMixer(0, 64, negatives=DotScenes(1, 0), scenes=DotScenes(2, 2))


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path) -> None:
    class Killed(BaseException):
        pass

    def kill(step: int, numbers: dict[str, float]) -> None:
        if step == 4:
            raise Killed

    recipe = tiny_recipe()
    assert train_detector(recipe, dots_mixer(), tmp_path / "whole") == 6
    with pytest.raises(Killed):
        train_detector(recipe, dots_mixer(), tmp_path / "cut", on_step=kill)
    assert train_detector(recipe, dots_mixer(), tmp_path / "cut", resume=True) == 6
    assert read_log(tmp_path / "cut") == read_log(tmp_path / "whole")
    a, b = (trained_network(tmp_path / name / "last.pt")[0] for name in ("whole", "cut"))
    for name, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[name]), name
    with pytest.raises(FileExistsError, match="expected no training there"):
        train_detector(recipe, dots_mixer(), tmp_path / "cut")
    with pytest.raises(ValueError, match="same recipe"):
        train_detector(replace(recipe, seed=9), dots_mixer(), tmp_path / "cut", resume=True)


def test_a_training_can_start_from_other_weights_and_stop_after_a_time_limit(tmp_path) -> None:
    recipe = tiny_recipe(2)
    train_detector(recipe, dots_mixer(), tmp_path / "first")
    done = train_detector(
        replace(recipe, steps=50),
        dots_mixer(),
        tmp_path / "second",
        start_from=tmp_path / "first" / "last.pt",
        max_minutes=0.0,
    )
    assert done == 1
    run = DetectionRun(recipe, dots_mixer())
    run.start_from(tmp_path / "first" / "last.pt")
    assert run.steps_before == 2
    expected = trained_network(tmp_path / "first" / "last.pt")[0].state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in run.network.state_dict().items())
    assert learning_rate(recipe.optim, 0, 2) < recipe.optim.learning_rate


def test_scenes_of_a_wrong_size_and_nonfinite_losses_are_refused(monkeypatch) -> None:
    with pytest.raises(ValueError, match="expected scenes of 256 px"):
        DetectionRun(DetectionRecipe(model=TINY), dots_mixer())
    run = DetectionRun(tiny_recipe(), dots_mixer())
    with torch.no_grad():
        run.network.head[1].bias.fill_(torch.nan)
    with pytest.raises(RuntimeError, match="expected finite losses"):
        run.train_step()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny detector trained to find discs, and its exported file."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = replace(
        tiny_recipe(60), batch_size=8, blur_share=0.0, noise_share=0.0, shrink_share=0.0
    )
    train_detector(recipe, dots_mixer(), folder)
    network, facts = trained_network(folder / "last.pt")
    card = export_detector(network, folder / "dots.onnx", {"threshold": 0.3, "training": facts})
    return network, folder / "dots.onnx", card


def test_the_exported_file_finds_what_was_trained(trained) -> None:
    _, path, _ = trained
    detector = FaceDetector(path, side_px=160)
    scenes = [DotScenes(9, 1).scene(k) for k in range(12)]
    images = [LabelledImage("x", s.image, s.boxes_xyxy[0]) for s in scenes]
    positives = positive_scores(detector, images)
    negatives = negative_scores(detector, [DotScenes(9, 0).scene(k).image for k in range(12)])
    assert np.median(positives) > 0.3 > negatives.max()


def test_the_file_holds_the_card_and_no_paths(trained) -> None:
    network, path, card = trained
    assert FaceDetector(path).card == json.loads(json.dumps(card))
    assert card["parameters"] == sum(p.numel() for p in network.parameters())
    assert card["training"]["step"] == 60
    assert card["storage"] == "float16"
    assert 0 < max(card["parity"].values()) < 0.05
    data = path.read_bytes()
    assert b"site-packages" not in data
    assert str(path.parent).encode() not in data
    onnx.checker.check_model(onnx.load_from_string(data))


def test_the_graph_agrees_with_the_network_at_any_size(trained) -> None:
    network, path, _ = trained
    detector = FaceDetector(path)
    for shape in ((1, 32, 32, 3), (3, 64, 160, 3), (2, 96, 32, 3)):
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        scores, faces = detector._session.run(("scores", "faces"), {"images": images})
        with torch.inference_mode():
            output = network(torch.from_numpy(images))
        np.testing.assert_allclose(faces, output.faces.numpy(), atol=0.05)
        side = 64 * np.exp(output.faces[..., 2].numpy())
        factor = 1.0 - 0.05 * np.clip(np.log2(128 / side), 0, 3)
        expected = torch.sigmoid(output.logits).numpy() * factor
        np.testing.assert_allclose(scores, expected, atol=0.02)


def test_export_needs_a_threshold(trained, tmp_path) -> None:
    for card in ({}, {"threshold": 0.0}, {"threshold": 1.5}):
        with pytest.raises(ValueError, match="expected a threshold"):
            export_detector(trained[0], tmp_path / "x.onnx", card)
    assert not list(tmp_path.iterdir())


def test_the_command_trains_from_stores(tmp_path) -> None:
    write_scenes(tmp_path / "negatives", DotScenes(1, 0).scene, 3)
    write_scenes(tmp_path / "scenes", DotScenes(2, 2).scene, 3)
    with pytest.raises(ValueError, match="expected images with faces"):
        train_verb(tmp_path / "run", negatives=tmp_path / "negatives", steps=1)
    train_verb(
        tmp_path / "run", negatives=tmp_path / "negatives", scenes=tmp_path / "scenes", steps=1
    )
    assert read_log(tmp_path / "run")[-1]["step"] == 1
