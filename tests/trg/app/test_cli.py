"""The command line as a whole: what it imports, its help pages, its errors."""

from __future__ import annotations

import os

import pytest

from tests.support.child_process import run_python
from trg.app.cli import RESEARCH_VERBS
from trg.app.selftest import IMAGE_NAME, SELFTEST_FOLDER

RUN = "import sys; from trg.app.cli import main; sys.argv = ['trg', *sys.argv[1:]]\n"
REPORT_IMPORTS = """
try:
    main()
finally:
    names = {name.partition(".")[0] for name in sys.modules}
    print("imported:", sorted({"trglab", "torch", "numba", "matplotlib", "pyarrow"} & names))
"""


@pytest.mark.parametrize("arguments", [("--help",), ("predict", "--help"), ("doctor",)])
def test_product_verbs_import_no_research_package(arguments):
    shown = run_python(RUN + REPORT_IMPORTS, *arguments).stdout
    assert "imported: []" in shown
    if arguments == ("--help",):
        verbs = ["predict", "doctor", "models", *RESEARCH_VERBS]
        places = [shown.index(f"│ {name} ") for name in verbs]
        assert places == sorted(places), "in the order of use"
        for verb in RESEARCH_VERBS.values():
            assert verb.help.split(" ")[0] in shown


@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    [
        ("torch", ("train", "tiny", "out"), "train"),
        ("numba", ("synth", "--sheet", "sheet.png"), "train"),
        ("pyarrow", ("predict", "{image}", "--format", "parquet", "-o", "out"), "data"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(tmp_path, package, arguments, extra):
    setup = f"import os, sys; os.chdir({str(tmp_path)!r}); sys.modules[{package!r}] = None\n"
    arguments = [each.format(image=SELFTEST_FOLDER / IMAGE_NAME) for each in arguments]
    done = run_python(f"{setup}{RUN}main()", *arguments)
    assert done.returncode == 2
    assert f"package {package}" in done.stderr
    assert f"pip install 'trg-headpose[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_warnings_are_single_lines_without_source_lines():
    setup = """
import warnings
warnings.simplefilter("default", UserWarning)
from trg.app.cli.shared import app

@app.command
def warn():
    warnings.warn("mind [this] step")
"""
    done = run_python(f"{setup}{RUN}main()", "warn")
    assert done.stderr.splitlines() == ["warning: mind [this] step"]


def test_a_tilde_that_the_shell_left_is_the_home_folder() -> None:
    code = (
        "from trg.app.cli import _expand_home; import sys; print(*map(_expand_home, sys.argv[1:]))"
    )
    shown = run_python(code, "~/no.jpg", "--camera=~/no.yaml", "-o", "a~b", "--ipd=0.06").stdout
    home = os.path.expanduser("~")
    assert shown.split() == [
        f"{home}/no.jpg",
        f"--camera={home}/no.yaml",
        "-o",
        "a~b",
        "--ipd=0.06",
    ]
