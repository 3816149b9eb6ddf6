"""The checks on GitHub, as far as they can be looked at here."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_it_may_only_read_and_its_actions_are_pinned(path):
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert told["permissions"] == {"contents": "read"}
    steps = [step for job in told["jobs"].values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", one) for one in used)
    checkouts = [step for step in steps if "checkout" in step.get("uses", "")]
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_it_runs_what_the_makefile_offers_on_every_python():
    told = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text(encoding="utf-8"))
    assert commands(told) == {"make check", "make test", "make test-docs", "make test-lowest"}
    offered = re.findall(
        r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text()
    )
    assert told["jobs"]["test"]["strategy"]["matrix"]["python"] == offered


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_it_makes_is_in_the_makefile(path):
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    made = {one for one in commands(yaml.safe_load(path.read_text())) if one.startswith("make ")}
    assert made
    assert all(f"\n{one.removeprefix('make ')}:" in targets for one in made)


def commands(told):
    """What a workflow runs."""
    return {step["run"] for job in told["jobs"].values() for step in job["steps"] if "run" in step}


def test_a_commit_is_checked_by_the_same_tools():
    told = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [
        hook["entry"].removeprefix(".venv/bin/") for repo in told["repos"] for hook in repo["hooks"]
    ]
    assert hooks == ["ruff check", "ruff format --check", "mypy"]
