"""Install the product in fresh environments and run `.ci/smoke.py` in each.

    make test-installs                   # every environment below
    python3 .ci/installs.py 3.12 lowest-3.10  # some of them
    python3 .ci/installs.py --wheel dist/trg_headpose-0.1.0-py3-none-any.whl  # of this wheel

* `3.10`, `3.11`, `3.12`, `3.13`: the newest dependencies that pip finds for this Python.
* `lowest-3.10`, `lowest-3.12`: the lowest versions that pyproject.toml allows for this Python.

Interpreters are looked up on PATH and among pyenv's versions; one that is missing is reported and
skipped. The exit code is 0 if every environment that could be built passed, 1 if one failed or
none could be built.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SMOKE_TEST = REPOSITORY / ".ci" / "smoke.py"
NEWEST = ("3.10", "3.11", "3.12", "3.13")
LOWEST = {"lowest-3.10": "3.10", "lowest-3.12": "3.12"}


ENVIRONMENTS = {**{version: version for version in NEWEST}, **LOWEST}


def main(names: list[str], wheel: Path | None) -> int:
    """Check the named environments, or all of them; return the exit code."""
    if unknown := set(names) - set(ENVIRONMENTS):
        sys.exit(f"environments: expected some of {[*ENVIRONMENTS]}, got {sorted(unknown)}")
    results: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        wheel = wheel or build_wheel(Path(folder))
        for name in names or ENVIRONMENTS:
            version = ENVIRONMENTS[name]
            python = find_python(version)
            if python is None:
                results[name] = f"SKIPPED: no python{version} on PATH or among pyenv's versions"
                continue
            pins = lowest_versions(wheel) if name in LOWEST else []
            start = time.monotonic()
            passed = check_environment(python, wheel, pins, Path(folder) / name)
            results[name] = f"{'passed' if passed else 'FAILED'}, {time.monotonic() - start:.0f} s"
    print("\nInstalled without pinned packages:")
    for name, result in results.items():
        print(f"  {name:<11} {result}")
    failed = any(result.startswith("FAILED") for result in results.values())
    all_skipped = all(result.startswith("SKIPPED") for result in results.values())
    return 1 if failed or all_skipped else 0


def build_wheel(folder: Path) -> Path:
    """Build this repository's wheel with the running interpreter."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(REPOSITORY)], check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def find_python(version: str) -> str | None:
    """Return a working interpreter of this version (`3.12`), None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), sys.executable]
    candidates += [str(each / "bin" / "python") for each in sorted(pyenv.glob(f"{version}.*"))]
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    for candidate in filter(None, candidates):
        # A shim of pyenv may be on PATH and still not run.
        done = subprocess.run([candidate, "-c", ask], capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return candidate
    return None


def lowest_versions(wheel: Path) -> list[str]:
    """Return a pin to the lower bound of each dependency of the base installation.

    Pins keep the markers of their requirements, which pip evaluates.
    """
    [distribution] = metadata.distributions(path=[str(wheel)])
    pins = []
    for requirement in distribution.requires or []:
        if "extra ==" in requirement:
            continue
        found = re.match(r"([\w.-]+).*?>=\s*([\w.]+)", requirement)
        if found is None:
            sys.exit(f"pyproject.toml: expected a lower bound (name>=version), got {requirement!r}")
        _, semicolon, marker = requirement.partition(";")
        pins.append(f"{found[1]}=={found[2]}{semicolon}{marker}")
    return pins


def check_environment(python: str, wheel: Path, pins: list[str], folder: Path) -> bool:
    """Install the wheel in a new virtual environment and run the smoke test there."""
    print(f"\n=== {folder.name}: {python}", *pins, flush=True)
    constraints = folder.with_suffix(".txt")
    constraints.write_text("\n".join(pins))
    bin_folder = folder / ("Scripts" if os.name == "nt" else "bin")
    environment_python = str(bin_folder / "python")
    steps = [
        [python, "-m", "venv", str(folder)],
        [environment_python, "-m", "pip", "install", "--quiet", "-c", str(constraints), str(wheel)],
        [environment_python, "-m", "pip", "list", "--format=freeze"],
        [environment_python, str(SMOKE_TEST)],
    ]
    # Run outside the repository, so that the installed package is the one tested.
    return all(
        subprocess.run(step, cwd=folder.parent, check=False).returncode == 0 for step in steps
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="ENVIRONMENT", help=", ".join(ENVIRONMENTS))
    parser.add_argument("--wheel", type=Path, help="built before; by default it is built here")
    given = parser.parse_args()
    sys.exit(main(given.names, given.wheel and given.wheel.resolve()))
