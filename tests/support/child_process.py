"""Python code in a process of its own, which imports the same packages as the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def start_python(code: str, *arguments: object, **options: Any) -> subprocess.Popen:
    """Start ``python -c code arguments``; the code can import ``trg`` and ``tests``."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        **options,
    )


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run such code to its end; the result has the exit code and the text of both outputs."""
    process = start_python(code, *arguments, text=True)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
