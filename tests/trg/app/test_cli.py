"""The command line as a whole: what it imports, its help pages, its errors."""

from __future__ import annotations

import os
import re
import shlex

import pytest

import trg
from tests.support.child_process import ROOT, run_python
from tests.support.cli import Cli, trg_cli  # noqa: F401 -- a fixture
from trg.app.cli import EXTRA_OF_PACKAGE, RESEARCH_VERBS, app
from trg.app.cli.shared import key_values
from trg.app.selftest import IMAGE_NAME, SELFTEST_FOLDER

RUN = "import sys; from trg.app.cli import main; sys.argv = ['trg', *sys.argv[1:]]\n"
REPORT_IMPORTS = """
try:
    main()
finally:
    print("imported:", [name for name in {names} if name in sys.modules])
"""
RESEARCH_PACKAGES = ("trglab", "torch", "numba", "matplotlib", "pyarrow")


def test_a_tilde_in_an_overridden_field_is_the_home_folder() -> None:
    values = key_values(("datasets.0.options.folder=~/views", "name=a~b"))
    assert values == {"datasets.0.options.folder": os.path.expanduser("~/views"), "name": "a~b"}


@pytest.mark.parametrize("arguments", [("--help",), ("predict", "--help"), ("doctor",)])
def test_product_verbs_import_no_research_package(arguments):
    report = REPORT_IMPORTS.format(names=RESEARCH_PACKAGES)
    shown = run_python(RUN + report, *arguments).stdout
    assert "imported: []" in shown
    if arguments == ("--help",):
        verbs = ["predict", "live", "web", "serve", "label", "movement", "camera", "doctor"]
        verbs += ["models", *RESEARCH_VERBS]
        places = [shown.index(f"│ {name} ") for name in verbs]
        assert places == sorted(places), "in the order of use"
        for verb in RESEARCH_VERBS.values():
            assert verb.help.split(" ")[0] in shown


def test_predicting_a_photo_imports_no_other_verb_and_no_package_for_videos_or_downloads():
    other_verbs = ("camera", "doctor", "label", "live", "live_options", "movement", "serve", "web")
    unused = ("av", "yaml", "urllib.request", "numpy.ma")
    names = unused + tuple(f"trg.app.cli.{verb}" for verb in other_verbs)
    report = REPORT_IMPORTS.format(names=names)
    shown = run_python(RUN + report, "predict", str(SELFTEST_FOLDER / IMAGE_NAME)).stdout
    assert "imported: []" in shown


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


def test_names_are_shown_as_they_are(trg_cli, tmp_path):  # noqa: F811
    (tmp_path / "a:cat:[b].jpg").write_text("no picture")
    assert "a:cat:[b].jpg" in trg_cli("predict", tmp_path, "--out", tmp_path / "a.jsonl").err


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


@pytest.mark.parametrize("arguments", [("models",), ("--help",), ("doctor",), ("predict", "x.jpg")])
def test_a_closed_standard_output_is_one_line_and_exit_code_2(arguments):
    done = run_python(f"import sys; sys.stdout = None\n{RUN}main()", *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: standard output is closed"]


@pytest.mark.parametrize("arguments", [("--help",), ("models",), ("predict", "--help")])
def test_a_reader_that_closes_the_pipe_ends_the_program_quietly(arguments):
    close = "import os\nreader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)\n"
    done = run_python(f"{close}{RUN}main()", *arguments)
    assert (done.returncode, done.stderr) == (141, "")


def test_ctrl_c_ends_any_verb_with_one_line(capsys, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("trg.app.installation.bundled_models", interrupted)
    done = Cli(capsys, monkeypatch)("models")
    assert (done.code, done.out, done.err) == (130, "", "stopped\n")


@pytest.mark.parametrize("name", ["photo.jpg", "my clip.MP4", "-", "{folder}"])
def test_a_photo_in_place_of_a_verb_suggests_predict(tmp_path, name):
    name = name.format(folder=tmp_path)
    done = run_python(f"{RUN}main()", name, "--landmarks")
    assert done.returncode == 2
    assert f"did you mean: trg predict {shlex.join([name, '--landmarks'])}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "tokens",
    [
        ["predict", "photo.jpg", "-o", "-"],
        ["predict", "--camera", "-", "photo.jpg"],
        ["live", "clip.mp4", "--view", "-"],
        ["movement", "-"],
        ["web", "--out", "-"],
    ],
)
def test_a_hyphen_where_no_standard_stream_is_known_is_an_error_and_no_file_of_that_name(
    trg_cli,  # noqa: F811
    tokens,
):
    done = trg_cli(*tokens)
    assert done.code == 2
    assert "-: expected a name; only `trg predict -` reads standard input" in done.err


def test_every_optional_dependency_has_its_extra_in_messages():
    text = (ROOT / "pyproject.toml").read_text()
    section = text.split("[project.optional-dependencies]")[1].split("[project.scripts]")[0]
    import_names = {
        "scikit-image": "skimage",
        "python-osc": "pythonosc",
        "rerun-sdk": "rerun",
    }
    for extra, listed in re.findall(r"^(\w+) = \[(.*?)\]$", section, re.MULTILINE | re.DOTALL):
        if extra not in ("test", "dev", "docs"):
            for package in re.findall(r'"([\w-]+)[><=]', listed):
                name = import_names.get(package, package.replace("-", "_"))
                assert EXTRA_OF_PACKAGE.get(name) == extra, name


def test_python_m_trg_and_the_short_flags():
    run_module = "import runpy, sys; sys.argv = ['trg', *sys.argv[1:]]\n"
    run_module += "runpy.run_module('trg', run_name='__main__')"
    assert run_python(run_module, "-V").stdout.strip() == trg.__version__
    assert "-m" in run_python(run_module, "doctor", "--help").stdout


def test_completion_covers_the_lazy_verbs():
    script = app.generate_completion(shell="bash")
    assert all(name in script for name in RESEARCH_VERBS)
    assert "--install-completion" in script
