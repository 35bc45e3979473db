"""Build and check a release; `make release` runs this, with the tools of release-tools.txt.

    make release               # the last commit, before it is tagged
    make release TAG=v0.1.0    # a commit that has this tag, as the publishing workflow does
    make release DRY_RUN=1     # the same, although the version is not ready; into dist/dry-run

The version is that of src/trg/__init__.py. Everything is made from an export of the last commit,
so that nothing else of the working folder gets in, and moved to dist/ when all checks have passed:

    trg_headpose-VERSION-py3-none-any.whl, trg_headpose-VERSION.tar.gz
    trg_headpose-VERSION.cdx.json    CycloneDX SBOM of the runtime dependencies
    SHA256SUMS                       of these three
    RELEASE_NOTES.md                 the version's section of CHANGELOG.md
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = "trg_headpose"
MAX_MB = 60

VERSION_PLACES = {
    "src/trg/__init__.py": r'^__version__ = "(.+)"$',
    "CITATION.cff": r'^version: "?([^"\s]+)"?$',
    "web/packages/trg/package.json": r'^  "version": "(.+)",$',
}
"""The version's one place, and the files that repeat it for readers of other formats."""

REQUIRED = (
    "trg/py.typed",
    "trglab/py.typed",
    "trg/bundles/detector.onnx",
    "trg/bundles/face_basis.npz",
    "trg/bundles/trg_fast.trg",
    "trg/bundles/trg_m.trg",
    "trg/bundles/trg_s.trg",
)
"""What a wheel without which users would be left with nothing must hold, tracked or not."""

SDIST_EXTRAS = {"PKG-INFO", ".gitignore", "pyproject.toml"}
"""What hatchling adds to the included files."""

DIST_INFO = (
    "METADATA",
    "RECORD",
    "WHEEL",
    "entry_points.txt",
    "licenses/LICENSE",
    "licenses/NOTICE",
)


def main() -> None:
    """Build, check, and move the results to dist/."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tag", default="", help="the tag that the commit has")
    parser.add_argument("--dry-run", action="store_true", help="though the version is not ready")
    options = parser.parse_args()
    version, notes, problems = examine_commit(options.tag)
    for problem in problems:
        print(f"{'dry run, ignored' if options.dry_run else 'refused'}: {problem}")
    if problems and not options.dry_run:
        sys.exit("no release was built; `make release DRY_RUN=1` builds one to look at")
    out = REPOSITORY / "dist" / ("dry-run" if options.dry_run else "")
    with tempfile.TemporaryDirectory() as name:
        results = make_release(Path(name), version, notes)
        out.mkdir(parents=True, exist_ok=True)
        for old in [*out.glob(f"{PACKAGE}-*"), *out.glob("SHA256SUMS")]:
            old.unlink()
        for result in results:  # the checksums come last: where they are, everything is
            shutil.copy(result, out / result.name)
    print(f"\n{PACKAGE} {version}, in {out}:")
    for result in results:
        print(f"  {result.name:<48}{(out / result.name).stat().st_size / 1e6:>8.2f} MB")


def examine_commit(tag: str) -> tuple[str, str, list[str]]:
    """Return the version, its release notes, and all reasons not to release the last commit."""
    texts = {path: (REPOSITORY / path).read_text() for path in VERSION_PLACES}
    version, problems = agreed_version(texts)
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    notes = changelog_section(changelog, version)
    if not notes:
        problems.append(
            f"CHANGELOG.md: expected a section '## {version}' with the changes of this version; "
            "name 'Unreleased' so"
        )
        notes = changelog_section(changelog, "Unreleased")
    if dirty := git("status", "--porcelain"):
        problems.append(f"uncommitted changes, which would be left out:\n{dirty}")
    problems += tag_problems(version, tag, git("tag").split(), git("tag", "--points-at").split())
    return version, notes, problems


def agreed_version(texts: dict[str, str]) -> tuple[str, list[str]]:
    """Return the version of the texts of VERSION_PLACES, and where others differ from the first."""
    found = {}
    for path, pattern in VERSION_PLACES.items():
        match = re.search(pattern, texts[path], re.MULTILINE)
        found[path] = match[1] if match else "none"
    source, version = next(iter(found.items()))
    return version, [
        f"{path}: expected version {version}, that of {source}, got {other}"
        for path, other in found.items()
        if other != version
    ]


def changelog_section(changelog: str, version: str) -> str:
    """Return the text below a version's heading, '' without one; a date may follow the version."""
    heading = rf"^## \[?{re.escape(version)}\]?(?: [^\n]*)?$"
    match = re.search(rf"{heading}\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return match[1].strip() if match else ""


def tag_problems(version: str, tag: str, tags: list[str], tags_here: list[str]) -> list[str]:
    """Return why a version cannot have its tag, or the given tag is not the version's."""
    expected = f"v{version}"
    if tag and tag != expected:
        return [f"tag {tag}: expected {expected}, as src/trg/__init__.py says {version}"]
    if tag and tag not in tags_here:
        return [f"tag {tag}: expected it at the last commit; check that commit out"]
    if not tag and expected in tags:
        return [
            f"tag {expected} exists already: raise the version in src/trg/__init__.py, or build "
            f"the tagged commit with `make release TAG={expected}`"
        ]
    return []


def make_release(folder: Path, version: str, notes: str) -> list[Path]:
    """Build and check everything in a folder; return the files of the release."""
    source, out, again = folder / "source", folder / "out", folder / "again"
    os.environ["SOURCE_DATE_EPOCH"] = git("log", "-1", "--format=%ct")
    tracked = export_commit(source)
    page = build_web_page(source)
    build("--outdir", out, source)  # an sdist, and a wheel from this sdist
    build("--wheel", "--outdir", again, source)
    [wheel], [sdist], [same_wheel] = out.glob("*.whl"), out.glob("*.tar.gz"), again.glob("*.whl")
    if sha256(wheel) != sha256(same_wheel):
        sys.exit(
            "the wheel of the sdist and that of the commit differ: the build is not reproducible"
        )
    print(f"two builds gave the same wheel: sha256 {sha256(wheel)}")
    check_contents(wheel, sdist, version, tracked, page)
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    run(sys.executable, REPOSITORY / ".ci" / "installs.py", "--wheel", wheel)
    sbom = out / f"{PACKAGE}-{version}.cdx.json"
    try_wheel(wheel, version, sbom, folder / "environment")
    (out / "RELEASE_NOTES.md").write_text(f"{notes}\n")
    published = [wheel, sdist, sbom]
    sums = out / "SHA256SUMS"
    sums.write_text("".join(f"{sha256(each)}  {each.name}\n" for each in published))
    return [*published, out / "RELEASE_NOTES.md", sums]


def export_commit(folder: Path) -> set[str]:
    """Write the files of the last commit to a new folder; return their paths."""
    archive = subprocess.run(
        ["git", "-C", REPOSITORY, "archive", "HEAD"], stdout=subprocess.PIPE, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder)
    return files_below(folder)


def build_web_page(source: Path) -> set[str]:
    """Build the page of `trg web` in an exported commit, where Node.js is; return its files."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        print("Node.js was not found: this wheel has no page for `trg web`")
        return set()
    run("make", "-C", source, "web")
    page = source / "src" / "trg" / "web_page"
    return {f"trg/web_page/{path}" for path in files_below(page)}


def build(*arguments: object) -> None:
    """Build with the hatchling of this environment, so that its version is pinned, too."""
    run(sys.executable, "-m", "build", "--no-isolation", *arguments)


def check_contents(
    wheel: Path, sdist: Path, version: str, tracked: set[str], page: set[str]
) -> None:
    """Exit unless both archives hold the commit's files and the page, and no others."""
    packages = {path.removeprefix("src/") for path in tracked if path.startswith("src/")}
    info = {f"{PACKAGE}-{version}.dist-info/{name}" for name in DIST_INFO}
    with zipfile.ZipFile(wheel) as files:
        problems = content_problems(files.namelist(), packages | page | info, REQUIRED)
    with tarfile.open(sdist) as files:
        names = [each.name.partition("/")[2] for each in files if not each.isdir()]
    included = included_in_sdist(source_folders(), tracked)
    expected = included | SDIST_EXTRAS | {f"src/{path}" for path in page}
    problems += content_problems(names, expected, [f"src/{path}" for path in REQUIRED])
    for archive in (wheel, sdist):
        if archive.stat().st_size > MAX_MB * 1e6:
            problems.append(f"{archive.name}: expected at most {MAX_MB} MB")
    if problems:
        sys.exit("\n".join(["contents:", *problems]))
    print(f"contents: {len(packages | page)} files, the commit's and no others")


def content_problems(
    names: Iterable[str], expected: set[str], required: Iterable[str]
) -> list[str]:
    """Return what an archive lacks, and what should not be in it."""
    found = set(names)
    return [
        *(f"missing: {name}" for name in sorted((expected | set(required)) - found)),
        *(f"unexpected: {name}" for name in sorted(found - expected)),
    ]


def source_folders() -> list[str]:
    """Return the files and folders that pyproject.toml includes in the sdist."""
    section = (REPOSITORY / "pyproject.toml").read_text().partition("build.targets.sdist]")[2]
    listed: list[str] = json.loads(
        re.search(r"^only-include = (\[.*?\])$", section, re.M | re.S)[1]
    )
    return listed


def included_in_sdist(included: list[str], tracked: set[str]) -> set[str]:
    """Return the tracked files that are in, or are, one of the included folders and files."""
    return {
        path
        for path in tracked
        if any(path == each or path.startswith(f"{each}/") for each in included)
    }


def try_wheel(wheel: Path, version: str, sbom: Path, environment: Path) -> None:
    """Install the wheel alone, list its dependencies in an SBOM, and run the demo elsewhere."""
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    bin_folder = environment / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", environment, "install", "--quiet"]
    run(*pip, wheel)
    # The SBOM's generator does not ask hatchling for the version.
    project = (REPOSITORY / "pyproject.toml").read_text()
    named = environment / "pyproject.toml"
    named.write_text(project.replace('dynamic = ["version"]', f'version = "{version}"'))
    cyclonedx = [sys.executable, "-m", "cyclonedx_py", "environment", "--validate"]
    run(
        *(*cyclonedx, "--pyproject", named, "--mc-type", "library"),
        *("--output-reproducible", "--of", "JSON", "--output-file", sbom, bin_folder / "python"),
    )
    run(*pip, f"{wheel}[demo]")
    find_photo = "import importlib.resources as r; print(r.files('skimage') / 'data/astronaut.png')"
    photo = output_of(bin_folder / "python", "-c", find_photo)
    run(bin_folder / "trg", "predict", photo, "-o", "out", "--draw", cwd=environment)
    [record] = (environment / "out" / "astronaut.jsonl").read_text().splitlines()
    faces = len(json.loads(record)["faces"])
    if faces != 1 or not (environment / "out" / "astronaut.jpg").is_file():
        sys.exit(f"demo of the wheel: expected a drawn image and one face, got {faces} faces")
    print("the demo of the wheel found its face")


def files_below(folder: Path) -> set[str]:
    """Return the paths of all files below a folder, relative to it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def sha256(path: Path) -> str:
    """Return the checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def git(*arguments: str) -> str:
    """Return what git prints in this repository."""
    return output_of("git", "-C", REPOSITORY, *arguments)


def output_of(*command: object) -> str:
    """Return what a command prints; exit if it fails."""
    words = [str(each) for each in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"exit code {done.returncode}: {' '.join(words)}")
    return done.stdout.strip()


def run(*command: object, cwd: Path | None = None) -> None:
    """Show a command and run it; exit if it fails."""
    words = [str(each) for each in command]
    print("\n$", *words, flush=True)
    code = subprocess.run(words, cwd=cwd, check=False).returncode
    if code:
        sys.exit(f"exit code {code}: {' '.join(words)}")


if __name__ == "__main__":
    main()
