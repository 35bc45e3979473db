from __future__ import annotations

from pathlib import Path

import pytest

import trglab.training.api
from trglab.cli.train import train
from trglab.training.loop import TrainingResult


@pytest.fixture
def training_that_ends(monkeypatch, tmp_path: Path):
    """Return a function that replaces training by its result, in a folder with both weights."""
    (tmp_path / "best.pt").touch()
    (tmp_path / "last.pt").touch()
    figures = {"ge_deg_mean": 5.0, "ge_deg_median": 3.1415, "hidden_ge_deg_median": 9.0}

    def run(step: int, finished: bool) -> None:
        result = TrainingResult(tmp_path, step, finished, figures)
        monkeypatch.setattr(trglab.training.api, "train", lambda *_, **__: result)

    return run


def test_a_training_ends_with_its_figures_and_the_command_that_makes_a_bundle(
    training_that_ends, tmp_path: Path, capsys
) -> None:
    training_that_ends(20, True)
    train("tiny", tmp_path)
    said = " ".join(capsys.readouterr().err.split())
    assert "20 steps" in said
    assert "ge_deg_median 3.14; all figures are in log.jsonl" in said
    assert "hidden" not in said
    assert "best.pt NAME.trg --name NAME --licence LICENCE" in said


def test_a_training_out_of_time_says_how_to_continue(
    training_that_ends, tmp_path: Path, capsys
) -> None:
    training_that_ends(7, False)
    train("tiny", tmp_path)
    assert "7 of 20 steps; the same command with --resume" in " ".join(
        capsys.readouterr().err.split()
    )
