"""Training and export of the detector."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from tests.support.cli import trg_cli  # noqa: F401 (a fixture)
from tests.support.dot_scenes import DotScenes
from trg.inference.detector import FaceDetector
from trglab.detector.evaluation import LabelledImage, negative_scores, positive_scores
from trglab.detector.export import (
    PARITY_LIMIT,
    detector_graph,
    export_detector,
    measure_parity,
)
from trglab.detector.mixing import SceneMixer
from trglab.detector.network import (
    DetectorConfig,
    DetectorNetwork,
)
from trglab.detector.scene_store import write_scenes
from trglab.detector.training import DetectionRecipe, DetectionRun, train_detector, trained_network
from trglab.training.optim import learning_rate
from trglab.training.state import read_log

TINY = DetectorConfig(False, (8, 16), (16, 16, 16), (1, 1, 1), width=16)


@pytest.mark.slow
def test_the_graph_of_the_separable_network_agrees_with_it() -> None:
    """The export folds scale and batch normalisation into the convolutions."""
    network = DetectorNetwork(replace(TINY, separable=True))
    network.train()(torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8))
    network.eval()
    graph = detector_graph(network)
    assert max(measure_parity(network, graph).values()) < PARITY_LIMIT
    assert {node.op_type for node in graph.graph.node}.isdisjoint({"BatchNormalization"})


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


def test_the_command_trains_from_stores(trg_cli, tmp_path) -> None:  # noqa: F811
    write_scenes(tmp_path / "negatives", DotScenes(1, 0).scene, 3)
    write_scenes(tmp_path / "scenes", DotScenes(2, 2).scene, 3)
    command = ["detector", "train", tmp_path / "run", "--negatives", tmp_path / "negatives"]
    done = trg_cli(*command, "--steps", 1)
    assert done.code == 2
    assert "expected images with faces" in done.err
    stores = ["--scenes", tmp_path / "scenes"] * 2
    assert trg_cli(*command, *stores, "--steps", 1, "--uses", 2).code == 0
    assert read_log(tmp_path / "run")[-1]["step"] == 1
