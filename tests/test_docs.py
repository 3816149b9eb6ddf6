"""The reference leaves nothing out, and the pages name no option that there is not."""

import dataclasses
import importlib.util
import pkgutil
import re
from pathlib import Path

import pytest

import kamerton_ray
from kamerton_ray.cli.commands import main
from kamerton_ray.machine.hardware import Machine
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.result import Result

ROOT = Path(__file__).parent.parent
REFERENCE = "\n".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
EVERY_PAGE = "\n".join(
    path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
)
NAMES = [getattr(kamerton_ray, name) for name in kamerton_ray.__all__]
NAMES += [getattr(kamerton_ray.plot, name) for name in kamerton_ray.plot.__all__]


@pytest.fixture(scope="module")
def hooks():
    """What MkDocs calls."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_stands_in_the_reference():
    shown = re.findall(r"^::: (\S+)$", REFERENCE, re.MULTILINE)
    assert len(set(shown)) == len(shown)
    found = [pkgutil.resolve_name(name) for name in shown]
    assert [name for name in NAMES if not any(name is one for one in found)] == []


def test_every_key_of_a_result_stands_in_the_lists(hooks):
    listed = "\n".join(written() for written in hooks.GENERATED.values())
    fields = {one.name for one in (*dataclasses.fields(Result), *dataclasses.fields(Machine))}
    described = set(re.findall(r"^`(\w+)` \([^\n]+\)\n:   \S", listed, re.MULTILINE))
    assert described == fields - {"more", "names"}
    assert all(f"* `{one.name.lower()}`: {one.value}" in listed for one in Outcome)


def test_every_option_stands_in_the_help_of_its_command(hooks):
    sections = hooks.command_help().split("\n## ")
    for name, section in zip(main.commands, sections, strict=True):
        options = {one for param in main.commands[name].params for one in param.opts}
        wanted = {option for option in options if option.startswith("--")}
        assert wanted <= set(re.findall(r"--[a-z-]+", section))
        assert section.removeprefix("## ").startswith(name)


def test_the_pages_name_options_that_there_are():
    unknown = []
    for name, rest in re.findall(r"kamerton-ray (\w+)([^`\n]*)", EVERY_PAGE):
        if name in main.commands:
            known = {one for param in main.commands[name].params for one in param.opts}
            own = rest.partition(" -- ")[0].partition(" && ")[0].partition("#")[0]
            found = re.findall(r"(?<= )--[a-z-]+", own)
            unknown += [f"{name} {one}" for one in found if one not in known]
    assert unknown == []


@pytest.mark.parametrize(
    ("link", "here", "on_the_site"),
    [
        ("../../cluster/job.yaml", "docs/guides/containers.md", "../cluster/job.yaml.md"),
        ("../../README.md", "docs/guides/trials.md", "../overview.md"),
        ("docs/index.md", "README.md", "index.md"),
        ("../../benchmarks/regret.png", "docs/explanation/search.md", "../benchmarks/regret.png"),
        ("time.md", "docs/guides/resuming.md", "time.md"),
        ("https://example.com/x.md", "README.md", "https://example.com/x.md"),
    ],
)
def test_a_link_leads_to_where_a_file_stands_on_the_site(hooks, link, here, on_the_site):
    assert hooks.mended(link, here) == on_the_site
