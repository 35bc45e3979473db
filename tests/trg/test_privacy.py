"""Nothing leaves the machine, and nothing is written that was not asked for."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import no_sockets
from trg.app.selftest import IMAGE_NAME, SELFTEST_FOLDER

ROOT = Path(__file__).parents[2]
FORBID = "from tests.support.no_sockets import forbid_sockets; forbid_sockets()\n"
RUN = "import sys; from trg.app.cli import main; sys.argv = ['trg', *sys.argv[1:]]; main()\n"


def run_at_home(code: str, home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code as a user with this home folder, without variables that mark tests or CI."""
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        },
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_run_opens_no_socket_and_writes_only_its_results(tmp_path) -> None:
    arguments = ("predict", SELFTEST_FOLDER / IMAGE_NAME, "-o", "out", "--draw", "--mesh", "glb")
    forbid = FORBID if no_sockets.IS_AVAILABLE else ""
    done = run_at_home(forbid + RUN, tmp_path / "home", *arguments)
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "home").iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"home", "out"}


@pytest.mark.skipif(not no_sockets.IS_AVAILABLE, reason="needs Linux on x86-64 or ARM64")
def test_the_filter_ends_a_process_that_opens_a_socket(tmp_path) -> None:
    done = run_at_home(FORBID + "import socket; socket.socket()", tmp_path / "home")
    assert done.returncode == -signal.SIGSYS


STUB = """
import os, sys, types
stub = sys.modules["onnxruntime"] = types.ModuleType("onnxruntime")
stub.disable_telemetry_events = lambda: print("switched off")
"""


@pytest.mark.parametrize(
    ("choice", "shown"), [("", "switched off\n1\n"), ("os.environ[NAME] = '0'\n", "0\n")]
)
def test_telemetry_is_off_unless_the_user_chose_it(tmp_path, choice, shown) -> None:
    name = "NAME = 'ORT_DISABLE_TELEMETRY'\n"
    show = "import trg.inference.onnx_session; print(os.environ[NAME])"
    done = run_at_home(STUB + name + choice + show, tmp_path / "home")
    assert done.stdout == shown


def test_only_one_module_imports_onnx_runtime() -> None:
    """Telemetry is switched off there, before the import."""
    pattern = re.compile(r"^\s*(import|from) onnxruntime\b", re.MULTILINE)
    sources = [*(ROOT / "src").rglob("*.py")]
    found = [path.name for path in sources if pattern.search(path.read_text())]
    assert found == ["onnx_session.py"]
