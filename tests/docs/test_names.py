"""Everything that the documentation names exists: code, files, links, make targets."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])

pytestmark = pytest.mark.skipif(
    not (ROOT / "CONTRIBUTING.md").is_file(), reason="the documentation is not beside the tests"
)

DOTTED_NAME = re.compile(r"(?<![\w./@-])(?:trg|trglab)(?:\.[A-Za-z_]\w*)+")
PATH = re.compile(r"(?<![\w/.-])(?:src|tests|docs|scripts|\.ci)/[\w./*-]*[\w*]")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
MAKE = re.compile(r"`make ([a-z-]+)")
CARD_KEYS = {"trg.detector"}
"""Keys inside files, which look like names of modules."""


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute or field of something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[count:]:
            if not hasattr(found, attribute):
                # A field without a default is no attribute of its class.
                return attribute in getattr(found, "__annotations__", {})
            found = getattr(found, attribute)
        return True
    return False


def test_a_name_that_does_not_exist_is_noticed():
    assert resolves("trg.HeadPoseEstimator")
    assert resolves("trg.geometry.camera.Camera.from_fov")
    assert resolves("trg.face.Face.translation_m")
    assert not resolves("trg.geometry.camera.Camera.from_nothing")
    assert not resolves("trg.no_such_module")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_that_a_page_names_exists(page):
    names = set(DOTTED_NAME.findall(page.read_text())) - CARD_KEYS
    assert sorted(name for name in names if not resolves(name)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    text = page.read_text()
    missing = [path for path in PATH.findall(text) if not any(ROOT.glob(path))]
    missing += [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_that_a_page_names_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(MAKE.findall(page.read_text())) <= targets


def test_the_index_lists_every_page():
    index = ROOT / "docs" / "index.md"
    pages = {page.name for page in ROOT.glob("docs/*.md")} - {index.name}
    assert pages <= set(LINK.findall(index.read_text()))
