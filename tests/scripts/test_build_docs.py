"""The sources of the documentation site."""

from __future__ import annotations

import re
import sys

import pytest

from scripts import build_docs

pytestmark = [
    pytest.mark.skipif(not build_docs.CONFIG.is_file(), reason="the sources are not a checkout"),
    pytest.mark.skipif(sys.version_info < (3, 11), reason="the configuration is read with tomllib"),
]


def test_every_page_has_one_place_in_the_navigation():
    pages = list(build_docs.pages_of(build_docs.read_config()["nav"]))
    written = {path.name for path in build_docs.ROOT.glob("docs/*.md")}
    assert len(pages) == len(set(pages))
    assert written <= set(pages)


def test_links_out_of_the_folder_lead_to_pages_and_copies_in_the_site(tmp_path, monkeypatch):
    monkeypatch.setattr(build_docs, "SOURCE", tmp_path)
    text = "[a](../README.md), [b](../NOTICE#x), [c](cli.md#d), [e](../scripts/draw_figures.py)"
    staged = build_docs.in_site(text, build_docs.ROOT / "docs" / "index.md")
    copy = "files/scripts/draw_figures.py"
    assert staged == f"[a](index.md), [b](files/NOTICE.txt#x), [c](cli.md#d), [e]({copy})"
    assert (tmp_path / copy).read_text() == (
        build_docs.ROOT / "scripts/draw_figures.py"
    ).read_text()


def test_a_link_to_a_folder_leads_to_an_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(build_docs, "SOURCE", tmp_path)
    staged = build_docs.in_site("[f](../examples/serve/)", build_docs.ROOT / "docs" / "index.md")
    assert staged == "[f](files/examples/serve.zip)"
    assert (tmp_path / "files/examples/serve.zip").is_file()


def test_the_page_of_the_command_line_has_every_verb_and_explains_every_option():
    from trg.app.cli import RESEARCH_VERBS

    page = build_docs.cli_page()
    for verb in ("predict", "live", "serve", "label", "camera calibrate", *RESEARCH_VERBS):
        assert f" trg {verb}\n" in page
    assert "\ntrg camera calibrate [OPTIONS] CLIP\n" in page
    assert re.findall(r"^\* `--[^`]*`:(?: \*.*| \*\*.*|)$", page, re.MULTILINE) == []
