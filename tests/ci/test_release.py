"""`make release`: what it refuses, and what its archives must hold."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import trg

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "release.py"

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason=".ci is not beside the tests")

CHANGELOG = """# Changelog

## Unreleased

### Added

- What is not out yet.

## 1.2.0 - 2026-01-02

### Fixed

- A thing.

## 1.1

- Old.
"""


def load_script(name: str):
    """A script of `.ci`, which is no package, as a module."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, ROOT / ".ci" / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def release():
    return load_script("release.py")


@pytest.fixture
def texts(release):
    return {path: (ROOT / path).read_text() for path in release.VERSION_PLACES}


def test_release_notes_are_the_section_of_the_version(release):
    assert release.changelog_section(CHANGELOG, "1.2.0") == "### Fixed\n\n- A thing."
    assert release.changelog_section(CHANGELOG, "Unreleased").endswith("- What is not out yet.")
    assert release.changelog_section(CHANGELOG, "1.1") == "- Old."


@pytest.mark.parametrize("version", ["1.2", "1.2.1", "1.1.0", "1x1"])
def test_a_version_without_a_section_has_no_release_notes(release, version):
    assert release.changelog_section(CHANGELOG, version) == ""


def test_a_heading_in_brackets_is_a_section(release):
    text = CHANGELOG.replace("## 1.2.0", "## [1.2.0]")
    assert release.changelog_section(text, "1.2.0") == "### Fixed\n\n- A thing."


def test_every_file_that_names_the_version_names_the_same_one(release, texts):
    assert release.agreed_version(texts) == (trg.__version__, [])


def test_a_file_with_another_version_is_named(release, texts):
    texts["CITATION.cff"] = texts["CITATION.cff"].replace(trg.__version__, "9.9.9")
    version, [problem] = release.agreed_version(texts)
    assert version == trg.__version__
    assert problem == (
        f"CITATION.cff: expected version {version}, that of src/trg/__init__.py, got 9.9.9"
    )


@pytest.mark.parametrize(
    ("tag", "tags", "here", "problem"),
    [
        ("", [], [], None),
        ("", ["v0.9.0"], ["v0.9.0"], None),
        ("", ["v1.0.0"], [], "tag v1.0.0 exists already"),
        ("v1.0.0", ["v1.0.0"], ["v1.0.0"], None),
        ("v1.0.0", ["v1.0.0"], [], "expected it at the last commit"),
        ("v1.0.1", ["v1.0.1"], ["v1.0.1"], "expected v1.0.0"),
    ],
)
def test_a_tag_that_is_taken_or_not_the_versions_is_refused(release, tag, tags, here, problem):
    problems = release.tag_problems("1.0.0", tag, tags, here)
    assert problems == [] if problem is None else problem in problems[0]


def test_stray_and_missing_files_of_an_archive_are_named(release):
    assert release.content_problems(["a", "b"], {"a", "b"}, ["a"]) == []
    found = release.content_problems(["a", "tests/x.py"], {"a", "b"}, ["c"])
    assert found == ["missing: b", "missing: c", "unexpected: tests/x.py"]


def test_what_wheels_must_hold_is_in_the_source_tree(release):
    assert [name for name in release.REQUIRED if not (ROOT / "src" / name).is_file()] == []


def test_sdists_hold_everything_that_the_web_page_is_built_from(release):
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "web"], capture_output=True, text=True, check=False
    )
    tracked = set(listed.stdout.split())
    if not tracked:
        pytest.skip("needs a git checkout")
    assert release.included_in_sdist(release.source_folders(), tracked) == tracked


@pytest.mark.slow
def test_the_whole_release_is_built_and_checked(tmp_path):
    """A release of the last commit, built in a clone; needs a package index."""
    if not (ROOT / ".git").exists() or shutil.which("make") is None:
        pytest.skip("needs a git checkout and make")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    make = ["make", "-C", clone, "release", f"PYTHON={sys.executable}"]
    (clone / "left.txt").write_text("not committed")
    refused = subprocess.run(make, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "left.txt" in refused.stdout
    assert not (clone / "dist").exists()

    subprocess.run([*make, "DRY_RUN=1"], env=environment, check=True)
    out = clone / "dist" / "dry-run"
    subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=out, check=True)
    [sbom] = out.glob("*.cdx.json")
    bom = json.loads(sbom.read_text())
    assert bom["metadata"]["component"]["version"] == trg.__version__
    components = {each["name"] for each in bom["components"]}
    assert {"numpy", "pillow", "onnxruntime", "av"} <= components
    assert components.isdisjoint({"pip", "scikit-image", "torch", "pytest"})
