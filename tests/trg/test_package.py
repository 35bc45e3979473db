"""The package as a whole: what importing it costs, its version, its command line."""

from __future__ import annotations

import subprocess
import sys

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


def test_the_command_line_knows_its_version():
    code = "from trg.app.cli import main; import sys; sys.argv = ['trg', '--version']; main()"
    assert run_python(code) == trg.__version__
