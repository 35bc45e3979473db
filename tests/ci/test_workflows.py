"""The files below .github: what they run exists, with pinned actions and the least permissions."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.ci.test_release import load_script

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yml"))

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason=".github is not beside the tests")

MAY_WRITE = {
    ("release.yml", "pypi"): {"id-token"},
    ("release.yml", "github"): {"contents", "id-token", "attestations"},
    ("docs.yml", "deploy"): {"pages", "id-token"},
}
"""Jobs that publish, and what each of them needs to write."""


def read(path: Path) -> dict:
    """A workflow; YAML reads its key `on` as true."""
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", sorted(GITHUB.rglob("*.yml")), ids=lambda path: path.name)
def test_every_file_is_a_mapping_in_yaml(path):
    assert isinstance(read(path), dict)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_with_their_version_beside(path):
    used = re.findall(r"uses: (.*)", path.read_text())
    pinned = r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
    assert used
    assert [each for each in used if not re.fullmatch(pinned, each)] == []


def test_an_action_has_one_version_in_all_workflows():
    used = {each for path in WORKFLOWS for each in re.findall(r"uses: (.*)", path.read_text())}
    assert len({each.partition("@")[0] for each in used}) == len(used)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_only_jobs_that_publish_may_write(path):
    workflow = read(path)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for name, job in workflow["jobs"].items():
        writes = {key for key, value in job.get("permissions", {}).items() if value == "write"}
        assert writes == MAY_WRITE.get((path.name, name), set()), name
        assert job["timeout-minutes"] <= 60, name
    assert "group" in workflow["concurrency"]
    assert "secrets." not in path.read_text()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_expression_is_expanded_inside_a_shell_command(path):
    steps = [step for job in read(path)["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_target_of_make_that_a_workflow_runs_exists(path):
    text = path.read_text()
    targets = set(re.findall(r"run: (?:make|\.ci/run) ([a-z][a-z-]*)", text))
    for job in read(path)["jobs"].values():
        targets |= set(job.get("strategy", {}).get("matrix", {}).get("target", []))
    defined = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert sorted(targets - defined) == []


def test_all_supported_pythons_are_tested_and_declared():
    installs = load_script("installs.py")
    jobs = read(GITHUB / "workflows" / "ci.yml")["jobs"]
    project = (ROOT / "pyproject.toml").read_text()
    supported = re.findall(r"Programming Language :: Python :: (3\.\d+)", project)
    assert f'requires-python = ">={supported[0]}"' in project
    assert list(installs.NEWEST) == supported
    assert jobs["tests"]["strategy"]["matrix"]["python"] == supported
    tried = jobs["installs"]["strategy"]["matrix"]["include"]
    assert {each["environment"]: each["python"] for each in tried} == installs.ENVIRONMENTS
    first, last = (version.replace(".", ", ") for version in (supported[0], supported[-1]))
    assert f"({first}) <= v <= ({last})" in (ROOT / "Makefile").read_text()


def test_a_target_by_name_is_all_that_ci_runs():
    done = subprocess.run(
        [ROOT / ".ci" / "run", "no-such-target"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.findall(r"=== make (\S+)$", done.stdout, re.MULTILINE) == ["no-such-target"]
    assert "failed: no-such-target" in done.stdout
