"""What a built documentation site must be: whole, without requests elsewhere, and documented."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

LOADING = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "video": ("src", "poster"),
}
"""Attributes by whose values a browser loads something, by element."""

CSS_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")
GENERATOR_PAGES = {"404.html"}


class Page(HTMLParser):
    """The links, anchors and loaded files of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element links to, loads, and is called."""
        values = {name: value for name, value in attrs if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and values.get("rel") == "canonical":
            return
        self.loaded += [values[name] for name in LOADING.get(tag, ()) if name in values]
        self.loaded += _css_urls(values.get("style", ""))
        if "mermaid" in values.get("class", "").split():
            self.loaded.append("https://mermaid/")  # the theme's script would fetch Mermaid

    def handle_data(self, data: str) -> None:
        """Note what a style sheet in the page loads."""
        if self.cdata_elem == "style":
            self.loaded += _css_urls(data)


def faults_of_site(site: Path, pages: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with a built site, whose navigation has these Markdown pages."""
    listed = {page.removesuffix(".md") + ".html" for page in pages}
    parsed = {path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")}
    for name in sorted(listed - set(parsed)):
        yield f"{name}: in the navigation, and not built"
    for name in sorted(set(parsed) - listed - GENERATOR_PAGES):
        yield f"{name}: expected a place in `nav` of zensical.toml"
    for name in sorted(set(parsed) - GENERATOR_PAGES):
        page = parsed[name]
        for url in page.loaded:
            if _is_elsewhere(url):
                yield f"{name}: loads {url}; expected files of the site only"
        for url in [*page.links, *page.loaded]:
            if not _is_elsewhere(url) and (fault := _broken(url, name, site, parsed)):
                yield f"{name}: {url}: {fault}"
    for path in sorted(site.rglob("*.css")):
        for url in _css_urls(path.read_text()):
            if _is_elsewhere(url):
                yield f"{path.relative_to(site)}: loads {url}; expected files of the site only"


def faults_of_reference(modules: Sequence[str], source: Path) -> Iterator[str]:
    """Yield the public modules, classes, functions and fields that have no docstring.

    A field of a dataclass or NamedTuple counts as documented where the section of attributes in the
    docstring of its class names it. Other attributes without a docstring are not in the reference.
    """
    import griffe

    loader = griffe.GriffeLoader(search_paths=[source], docstring_parser="numpy")
    for package in sorted({name.partition(".")[0] for name in modules}):
        loader.load(package)
    for name in modules:
        yield from _undocumented(loader.modules_collection[name])


def _undocumented(owner) -> Iterator[str]:
    if not owner.has_docstring:
        yield f"{owner.path}: expected a docstring ({owner.relative_filepath}:{owner.lineno or 1})"
    described = _described_attributes(owner)
    for name, member in owner.members.items():
        if name.startswith("_") or member.is_alias or member.is_module:
            continue
        if not member.is_attribute or (described is not None and name not in described):
            yield from _undocumented(member)


def _described_attributes(owner) -> set[str] | None:
    """Return the fields that a class describes; None if its attributes are no fields."""
    is_tuple = owner.is_class and any(str(base) == "NamedTuple" for base in owner.bases)
    if not (is_tuple or "dataclass" in owner.labels):
        return None
    sections = owner.docstring.parsed if owner.has_docstring else ()
    lists = [each.value for each in sections if each.kind.value == "attributes"]
    return {name for items in lists for item in items for name in item.name.split(", ")}


def _css_urls(text: str) -> list[str]:
    return ["".join(found) for found in CSS_URL.findall(text)]


def _is_elsewhere(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def _broken(url: str, name: str, site: Path, parsed: dict[str, Page]) -> str | None:
    """Return why a link within the site leads nowhere; None if it leads somewhere."""
    if url.startswith("data:"):
        return None
    address, anchor = urldefrag(url)
    address = unquote(address.partition("?")[0])
    path = (site / name).parent / address if address else site / name
    if not path.resolve().is_relative_to(site.resolve()):
        return "leads out of the site"
    if not path.is_file():
        return "no such file"
    target = parsed.get(path.resolve().relative_to(site.resolve()).as_posix())
    if anchor and target is not None and unquote(anchor) not in target.anchors:
        return "no such anchor"
    return None
