"""The package as a whole: what importing it costs, its version, its command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

import trg


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_package_loads_no_torch_and_changes_nothing():
    loaded = run_python(
        "import sys, trg, trg.geometry.projection, trg.geometry.camera, trg.geometry.crop\n"
        "import trg.geometry.face_mesh, trg.inference.bundle\n"
        "print(sorted({'torch', 'numba', 'onnxruntime', 'cyclopts', 'av'} & set(sys.modules)))"
    )
    assert loaded == "[]"
    assert "torch" not in run_python(
        "import sys, trg.inference.runtime; print(sorted(sys.modules))"
    ).split("'")


def test_public_names_are_listed_and_imported_on_first_use():
    code = "import trg; assert set(trg.__all__) <= set(dir(trg)); from trg import *; print(Camera)"
    assert run_python(code) == "<class 'trg.geometry.camera.Camera'>"
    for name in trg.__all__:
        assert getattr(trg, name).__doc__
    assert not hasattr(trg, "Pose")


def test_importing_the_package_is_quick():
    """At most 0.3 s more than NumPy; the fastest of three, because load only slows down."""
    code = "import time, numpy; t = time.perf_counter(); import trg; print(time.perf_counter() - t)"
    assert min(float(run_python(code)) for _ in range(3)) < 0.3


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from trg.app.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_cli_shows_its_verbs_and_version():
    assert trg.__version__ in run_cli("--version").stdout
    shown = run_cli("--help").stdout
    for verb in ("synth", "asset", "bench", "train", "data", "export"):
        assert verb in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("synth",), "expected a folder to write"),
        (("asset", "photos", "/nowhere"), "10.6084/m9.figshare.5047666"),
        (("bench", "trg_xxl"), "trg_s"),
        (("bench", "[bold].trg"), "[bold].trg: expected a weight bundle"),
        (("train", "nonsense", "/nowhere"), "paper_single"),
        (("train", "tiny", "/nowhere", "steps"), "NAME=VALUE"),
    ],
)
def test_cli_errors_are_one_clear_sentence(arguments, message):
    done = run_cli(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("layout", ["webdataset", "biwi"])
def test_cli_writes_folders_and_sheets(tmp_path, layout):
    out = tmp_path / "faces"
    arguments = ("synth", str(out), "--count", "3", "--layout", layout)
    assert run_cli(*arguments, "--sheet", str(tmp_path / "sheet.png")).returncode == 0
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    again = run_cli(*arguments)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    assert run_cli(*arguments, "--resume").returncode == 0
    other_seed = run_cli(*arguments, "--resume", "--seed", "1")
    assert other_seed.returncode == 2
    assert "other settings" in other_seed.stderr or "expected" in other_seed.stderr
