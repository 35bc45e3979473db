"""Build the documentation site and check it: ``python -m scripts.build_docs``.

The pages are those of docs/. The pages of the reference are made from the code. Links to files
outside docs/, which work where the repository is browsed, lead to copies in the site, and those to
folders to archives. Needs the extra ``docs``; ``make docs`` installs it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.check_docs import faults_of_reference, faults_of_site

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "zensical.toml"
SOURCE, SITE = ROOT / "build/site_source", ROOT / "build/site"
ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages at the root of the repository, and their places in the site."""

LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=(?:#[^)]*)?\))")
REFERENCE_FOLDER = "reference/"
ANSI = re.compile(r"\x1b\[[\d;]*m")


def main() -> int:
    """Build and check; return the exit code."""
    if sys.version_info < (3, 11):
        sys.exit(
            "the documentation needs Python 3.11 or later; choose one: make PYTHON=python3.12 docs"
        )
    pages = list(pages_of(read_config()["nav"]))
    stage(pages)
    shutil.rmtree(SITE, ignore_errors=True)
    zensical = Path(sys.executable).with_name("zensical")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT)))}
    command = [str(zensical), "build", "--clean", "--strict", "--config-file", str(CONFIG)]
    run = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = ANSI.sub("", run.stdout)
    print(output, end="", flush=True)
    if run.returncode:
        return run.returncode
    faults = [line for line in output.splitlines() if line.startswith("griffe: ")]
    faults += faults_of_reference(documented_modules(), ROOT / "src")
    faults += faults_of_site(SITE, pages)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{SITE.relative_to(ROOT)}: {len(pages)} pages, {len(faults)} faults")
    return bool(faults)


def read_config() -> dict[str, Any]:
    """Return the configuration of the site."""
    import tomllib

    return tomllib.loads(CONFIG.read_text())["project"]


def pages_of(entries: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the pages of a navigation, in its order."""
    for entry in entries:
        for target in entry.values():
            if isinstance(target, str):
                yield target
            else:
                yield from pages_of(target)


def documented_modules() -> list[str]:
    """Return the Python modules that the reference documents."""
    pages = pages_of(read_config()["nav"])
    return [name for page in pages if (name := module_of(page))]


def module_of(page: str) -> str | None:
    """Return the Python module that a page of the navigation documents; None if it is no such."""
    name = page.removeprefix(REFERENCE_FOLDER).removesuffix(".md")
    return name if page.startswith(REFERENCE_FOLDER) and name != "cli" else None


def stage(pages: list[str]) -> None:
    """Put everything that the generator reads into one folder."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT / "docs", SOURCE, ignore=shutil.ignore_patterns("*.md"))
    (SOURCE / REFERENCE_FOLDER).mkdir()
    written = {path: path.name for path in sorted((ROOT / "docs").glob("*.md"))}
    written |= {ROOT / name: page for name, page in ROOT_PAGES.items() if page != "index.md"}
    for path, page in written.items():
        (SOURCE / page).write_text(in_site(path.read_text(), path))
    for page in pages:
        if module := module_of(page):
            (SOURCE / page).write_text(f"::: {module}\n")
    (SOURCE / REFERENCE_FOLDER / "cli.md").write_text(cli_page())


def in_site(text: str, path: Path) -> str:
    """Return a page with links as the site needs them; files outside docs/ are copied there."""

    def target(match: re.Match[str]) -> str:
        linked = (path.parent / match[1]).resolve()
        if not linked.exists() or linked.is_relative_to(ROOT / "docs"):
            return os.path.relpath(linked, ROOT / "docs")
        name = linked.relative_to(ROOT).as_posix()
        if name in ROOT_PAGES:
            return ROOT_PAGES[name]
        copy = SOURCE / "files" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if linked.is_dir():
            copy = copy.with_suffix(".zip")
            shutil.make_archive(str(copy.with_suffix("")), "zip", linked)
        else:
            copy = copy if copy.suffix else copy.with_suffix(".txt")
            shutil.copyfile(linked, copy)
        return copy.relative_to(SOURCE).as_posix()

    return LINK.sub(target, text)


def cli_page() -> str:
    """Return the page of all verbs and options, from the code."""
    # In a program of its own: cyclopts adds `-m MODULE` to the verbs of one that was run so.
    code = "from trg.app.cli import app; print(app.generate_docs())"
    path = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", code]
    text = subprocess.run(command, env=path, check=True, capture_output=True, text=True).stdout
    _, _, verbs = text.partition("## trg ")
    return (
        "# Every verb and option\n\nAs `trg --help` and `trg VERB --help` show them. "
        "The [guide](../cli.md) explains what they are for.\n\n## trg " + verbs
    )


if __name__ == "__main__":
    sys.exit(main())
