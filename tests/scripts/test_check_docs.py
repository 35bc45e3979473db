"""What the check of the documentation site refuses."""

from __future__ import annotations

import pytest
from scripts.check_docs import faults_of_reference, faults_of_site


def site(folder, **bodies):
    for name, body in bodies.items():
        (folder / f"{name}.html").write_text(f"<!doctype html><h2 id='top'>{name}</h2>{body}")
    return list(faults_of_site(folder, [f"{name}.md" for name in bodies]))


def test_a_whole_site_has_no_fault(tmp_path):
    (tmp_path / "a.css").write_text("p { background: url(a.png) }")
    (tmp_path / "a.png").touch()
    first = '<a href="b.html#top">b</a><a href="https://a.test/">elsewhere</a><img src="a.png">'
    assert site(tmp_path, a=first, b='<a href="#top">top</a><a href="a.html">a</a>') == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="gone.html">x</a>', "gone.html: no such file"),
        ('<a href="b.html#gone">x</a>', "b.html#gone: no such anchor"),
        ('<a href="#gone">x</a>', "#gone: no such anchor"),
        ('<a href="../b.html">x</a>', "../b.html: leads out of the site"),
        ('<img src="gone.png">', "gone.png: no such file"),
        ('<script src="https://a.test/a.js"></script>', "loads https://a.test/a.js"),
        ('<img src="//a.test/a.png">', "loads //a.test/a.png"),
        ('<link rel="preconnect" href="https://a.test">', "loads https://a.test"),
        ("<style>@import 'https://a.test/a.css'</style>", "loads https://a.test/a.css"),
        ('<p style="background: url(https://a.test/a.png)">', "loads https://a.test/a.png"),
        ('<pre class="mermaid"></pre>', "mermaid"),
    ],
)
def test_a_broken_link_and_a_request_elsewhere_are_faults(tmp_path, body, fault):
    faults = site(tmp_path, a=body, b="")
    assert len(faults) == 1
    assert fault in faults[0]
    assert faults[0].startswith("a.html: ")


def test_a_page_outside_the_navigation_is_a_fault(tmp_path):
    (tmp_path / "lost.html").write_text("")
    assert site(tmp_path, a="") == ["lost.html: expected a place in `nav` of zensical.toml"]


def test_a_style_sheet_that_loads_from_elsewhere_is_a_fault(tmp_path):
    (tmp_path / "a.css").write_text("@font-face { src: url('https://a.test/f.woff2') }")
    (fault,) = site(tmp_path, a="")
    assert fault.startswith("a.css: loads https://a.test/f.woff2")


def test_public_names_without_docstring_are_faults(tmp_path):
    pytest.importorskip("griffe")
    (tmp_path / "made.py").write_text(
        '"""A module."""\n'
        "from dataclasses import dataclass\n"
        "LIMIT = 3\n"
        "def found(): pass\n"
        "def _private(): pass\n"
        "@dataclass\n"
        "class Point:\n"
        '    """A point.\n\n    Attributes\n    ----------\n    x, y\n        Its place.\n    """\n'
        "    x: int\n"
        "    y: int\n"
        "    colour: str\n"
        "    name: str\n"
        '    """Documented here."""\n'
    )
    faults = list(faults_of_reference(["made"], tmp_path))
    assert [fault.partition(":")[0] for fault in faults] == ["made.found", "made.Point.colour"]
