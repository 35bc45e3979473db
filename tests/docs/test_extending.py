"""The classes and commands of docs/extending.md run as they stand there, in smaller sizes."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.cli import trg_cli  # noqa: F401 (a fixture)
from tests.support.made_samples import make_samples
from trg.inference.bundle import DEFAULT_BUNDLE, bundled_names
from trglab.training.state import read_log

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
SMALLER = {
    "train small": "steps=1 batch_size=2 holdout.count=2",
    "train tiny runs/first": "batch_size=2 holdout.count=2",
    "train tiny runs/mine": "steps=2",
    "train tiny runs/both": "steps=2 holdout.count=2",
    "train tiny runs/close": "steps=2 holdout.count=2",
    "eval": "--no-plots",
}
"""Arguments that are added to commands that begin so."""

pytestmark = [
    pytest.mark.filterwarnings("ignore:Cyclopts application invoked"),
    pytest.mark.filterwarnings("ignore:.*built-in"),
    pytest.mark.skipif(
        not PAGE.is_file() or DEFAULT_BUNDLE not in bundled_names(),
        reason="needs docs/ and the bundled weights",
    ),
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def commands() -> list[list[str]]:
    """The page's calls of ``trg``, with few samples."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        if line.startswith("trg "):
            more = [text for begin, text in SMALLER.items() if line.startswith(f"trg {begin}")]
            smaller = re.sub(r"--count \d+", "--count 3", " ".join([line, *more]))
            found.append(shlex.split(smaller)[1:])
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with ``photos/`` and ``my_faces.py``, which is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_faces", raising=False)
    Path("photos").mkdir()
    samples = make_samples(3)
    names = [f"{index}.png" for index in range(len(samples))]
    for name, sample in zip(names, samples, strict=True):
        Image.fromarray(sample.image).save(Path("photos") / name)
    points = np.stack([sample.landmarks68_px for sample in samples])
    np.savez("photos/landmarks68.npz", names=names, points=points)
    (module,) = (block for block in blocks("python") if block.startswith("# my_faces.py"))
    Path("my_faces.py").write_text(module)
    yield tmp_path
    sys.modules.pop("my_faces", None)


@pytest.mark.slow
def test_the_commands_with_rendered_faces_run(folder, trg_cli):  # noqa: F811
    for command in commands():
        if command[1] != "tiny":
            done = trg_cli(*command)
            assert done.code == 0, f"{command}: {done.err}"
            if command[0] == "eval":
                assert "without face model, photo skin, panoramas, hair meshes" in done.out


@pytest.mark.slow
def test_the_tiny_trainings_run_and_the_longer_one_goes_on(folder, trg_cli):  # noqa: F811
    for command in commands():
        if command[1] == "tiny":
            done = trg_cli(*command)
            assert done.code == 0, f"{command}: {done.err}"
    steps = [line["step"] for line in read_log(Path("runs/first")) if line["kind"] == "train"]
    assert steps == list(range(1, 41))


def test_the_example_in_python_trains(folder):
    names: dict[str, object] = {}
    exec(next(block for block in blocks("python") if "run_training" in block), names)
    assert names["result"].finished
