"""``trg synth`` writes folders and contact sheets; research verbs fail with one clear sentence."""

from __future__ import annotations

import pytest

from tests.support.cli import trg_cli  # noqa: F401 (a fixture)
from tests.support.made_samples import TOPOLOGY, make_samples

pytestmark = pytest.mark.filterwarnings("ignore:Cyclopts application invoked")


class MadeFaces:
    """Stands in for the renderer, whose own tests are in tests/trglab/synth."""

    topology = TOPOLOGY

    def __init__(self, seed=0, **options):
        self._samples = make_samples(4, seed=seed)
        self.provenance = {"seed": seed}

    def sample(self, index):
        return self._samples[index]

    def neutral_m(self, index):
        return TOPOLOGY.template_m


@pytest.mark.parametrize("layout", ["webdataset", "biwi"])
def test_a_folder_and_a_sheet_are_written_and_resumed(trg_cli, monkeypatch, tmp_path, layout):  # noqa: F811
    monkeypatch.setattr("trglab.synth.dataset.SyntheticFaces", MadeFaces)
    monkeypatch.setattr("trglab.synth.parallel.SyntheticFaces", MadeFaces)
    arguments = ("synth", tmp_path / "faces", "--count", 2, "--layout", layout)
    assert trg_cli(*arguments, "--sheet", tmp_path / "sheet.png").code == 0
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    again = trg_cli(*arguments)
    assert again.code == 2
    assert "--resume" in again.err
    assert trg_cli(*arguments, "--resume").code == 0
    other_seed = trg_cli(*arguments, "--resume", "--seed", 1)
    assert other_seed.code == 2
    assert "other settings" in other_seed.err or "expected" in other_seed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("synth",), "expected a folder to write"),
        (("asset", "photo_skin", "/nowhere"), "10.6084/m9.figshare.5047666"),
        (("bench", "trg_xxl"), "trg_s"),
        (("bench", "[bold].trg"), "[bold].trg: expected a weight bundle"),
        (("train", "nonsense", "/nowhere"), "paper_single"),
        (("train", "tiny", "/nowhere", "steps"), "NAME=VALUE"),
    ],
)
def test_errors_are_one_clear_sentence(trg_cli, arguments, message):  # noqa: F811
    done = trg_cli(*arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
