"""The paper from the documented commands alone, on miniature folders in the data sets' formats."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from tests.support.cli import trg_cli  # noqa: F401 (a fixture)
from trg.network.config import BackboneConfig
from trg.network.feature_extractor import ResNet
from trglab.training.state import read_log

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Cyclopts application invoked")]

ROOT = Path(__file__).parents[3]

SMALL = (
    *("batch_size=4", "model.crop_size=64", "view_scale=1.25", "precision=f32"),
    *("model.decoder=(16,16,16)", "model.sampler.hidden=(8,)", "model.sampler.features=3"),
    *("model.regressor.hidden=(32,)", "model.regressor.vertex_rank=8"),
)
"""Overrides for a small network. The backbone stays a ResNet-18, which the weights must fit."""


def write_imagenet_weights(path: Path) -> None:
    """Write random tensors of the names and shapes of torchvision's resnet18-f37072fd.pth."""
    generator = torch.Generator().manual_seed(0)
    state = {
        name: 1.0 + 0.1 * torch.rand(tensor.shape, generator=generator)
        if tensor.ndim == 1
        else 0.05 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in ResNet(BackboneConfig()).state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    state["fc.weight"], state["fc.bias"] = torch.zeros(1000, 512), torch.zeros(1000)
    assert len(state) == 102
    torch.save(state, path)


def documented_commands(page: str) -> str:
    """The commands of a page, each on one line."""
    return re.sub(r" \\\n\s+", " ", (ROOT / page).read_text(encoding="utf-8"))


def trained_steps(folder: Path) -> list[int]:
    return [line["step"] for line in read_log(folder) if line["kind"] == "train"]


def test_the_documented_commands_train_and_measure_the_paper(
    trg_cli,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    monkeypatch.chdir(tmp_path)

    def trg(line: str, *more: str) -> str:
        done = trg_cli(*line.split()[1:], *more)
        assert done.code == 0, f"{line}\n{done.err}"
        return done.out

    write_imagenet_weights(tmp_path / "resnet18-f37072fd.pth")
    trg("trg synth ARKitFace --layout arkitface --split train --count 5")
    trg("trg synth ARKitFace --layout arkitface --split test --count 3 --seed 1")
    trg("trg synth 300W_LP --layout 300wlp --count 3 --seed 2")
    trg("trg synth BIWI --layout biwi --count 3 --seed 3")

    researchers, tables = map(documented_commands, ("docs/researchers.md", "docs/tables.md"))
    training = (
        "trg train paper runs/paper --option.arkitface ARKitFace --option.w300lp 300W_LP "
        "backbone_weights=resnet18-f37072fd.pth"
    )
    assert training in researchers
    steps = "steps=4"
    trg(training, *SMALL, steps, "log_every=1", "--max-minutes", "0")
    assert trained_steps(Path("runs/paper")) == [1]
    trg(training, *SMALL, steps, "log_every=1", "--resume")
    assert trained_steps(Path("runs/paper")) == [1, 2, 3, 4]
    trg("trg export runs/paper/best.pt mine.trg --name mine --licence none")

    printed = trg("trg eval arkitface ARKitFace --bundle mine.trg --out out/arkitface")
    assert "TRG, several sets" in printed
    printed = trg("trg eval biwi BIWI --bundle mine.trg --out out/biwi")
    report = json.loads(Path("out/biwi/report.json").read_text())
    assert report["settings"] == {"boxes": "paper"}
    assert (report["images"], report["not_found"]) == (3, 0)

    folders = "--arkitface ARKitFace --w300lp 300W_LP --biwi BIWI"
    weights = "backbone_weights=resnet18-f37072fd.pth"
    assert f"trg table 1 {folders} {weights}" in researchers
    assert f"trg table 1 {folders} {weights}" in tables
    for number in "1234":
        printed = trg(f"trg table {number} {folders} {weights}", *SMALL, "steps=1")
        table = json.loads(Path(f"out/tables/table-{number}.json").read_text())
        notes = " ".join(table["notes"])
        assert "random weights" not in notes
        assert "missing" not in notes
        assert "boxes: the paper's" in notes
        labels = [(row["label"], row["source"]) for row in table["rows"]]
        printed_above_ours = list(itertools.pairwise(labels))
        if number == "1":
            expected = [("TRG (Ours)", "TRG (full)")]
            assert len([source for _, source in labels if source == "ours"]) == 8
        else:
            expected = [
                ("TRG, ARKitFace alone", "TRG, ARKitFace alone"),
                ("TRG, several sets", "TRG, ARKitFace and 300W-LP"),
            ]
        for theirs, ours in expected:
            assert ((theirs, "paper"), (ours, "ours")) in printed_above_ours
    assert f"trg table fig3 {folders}" in tables
    printed = trg(f"trg table fig3 {folders}")
    assert "Boxes of BIWI: the paper's" in " ".join(printed.split())
    assert f"trg table fig4 {folders} {weights}" in tables
    trg(f"trg table fig4 {folders} {weights}", *SMALL, "steps=1")
    for name in ("fig3.png", "fig4.png"):
        assert Path("out/tables", name).stat().st_size > 10_000
    shutil.rmtree("out/tables/trained")  # gigabytes, which pytest would keep
