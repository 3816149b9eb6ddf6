"""What MkDocs does beside turning docs/ into pages: other files, and what the code says of itself.

The pages link to files outside of docs/, such as cluster/job.yaml, as one follows links on GitHub.
On the site these files are pages, too, and `place` says where. Every link is written as a path in
the repository first and then as one from page to page.
"""

from __future__ import annotations

import dataclasses
import html
import inspect
import json
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from kamerton_ray.cli.commands import main
from kamerton_ray.machine.hardware import Machine
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.result import Result
from kamerton_ray.trial.timing import Timing

ROOT = Path(__file__).parent.parent

SHOWN = ("*.md", "cluster/*", "examples/*.py", "examples/*.ipynb", "examples/*.png")
SHOWN += ("benchmarks/*.png",)
"""The files outside of docs/ that pages may link to."""

NAMES = {"README.md": "overview.md"}
"""MkDocs takes a README for the start page of its folder."""

LANGUAGES = {".py": "python", ".yaml": "yaml"}
"""How code is coloured, by the file's suffix."""

LINK = re.compile(r"(\]\()([^)\s#:]+)")

KEY = re.compile(r"^(\w+): (.+(?:\n .+)*)", re.MULTILINE)
"""An attribute in a docstring."""

NO_KEYS = {"more", "names"}
"""Fields of a result that stand for several keys, or for none."""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the files outside of docs/."""
    for path in shown():
        if path.suffix == ".png":
            added = File.generated(config, place(str(path)), abs_src_path=str(ROOT / path))
        else:
            added = File.generated(config, place(str(path)), content=as_page(path))
        files.append(added)
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Mend the links of a page, and put in what the code says of itself."""
    source = {place(str(path)): str(path) for path in shown()}
    here = source.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    for comment, written in GENERATED.items():
        if comment in markdown:
            markdown = markdown.replace(comment, written())
    return LINK.sub(lambda link: link[1] + mended(link[2], here), markdown)


def shown() -> Iterator[Path]:
    """The files outside of docs/ that are pages or pictures of the site, as paths from the root."""
    for pattern in SHOWN:
        yield from (path.relative_to(ROOT) for path in sorted(ROOT.glob(pattern)))


def place(path: str) -> str:
    """Where a file of the repository stands in the site, before it is turned into a page."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.endswith(".md"):
        return NAMES.get(path, path.lower())
    return path if path.endswith(".png") else f"{path}.md"


def mended(link: str, here: str) -> str:
    """A link of the repository's file `here` as one of the site; others stay as they are."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link))
    if not (ROOT / target).is_file():
        return link
    return posixpath.relpath(place(target), posixpath.dirname(place(here)) or ".")


def as_page(path: Path) -> str:
    """A file as Markdown."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    if path.suffix == ".ipynb":
        return "\n\n".join(part for cell in json.loads(text)["cells"] for part in cell_parts(cell))
    language = LANGUAGES.get(path.suffix, "docker")
    return f"# {path}\n\n```{language}\n{text}```\n"


def cell_parts(cell: dict) -> Iterator[str]:
    """A cell of a notebook as Markdown: its text, or its code and the tables that it has shown."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        shown = "".join(output.get("data", {}).get("text/html", ""))
        for table in re.findall(r"<table.*?>(.*)</table>", shown, re.DOTALL):
            yield f"<table>{table}</table>"


def command_help() -> str:
    """The help of every command as Markdown."""
    return "\n\n".join(_help_of(name, command) for name, command in main.commands.items())


def _help_of(name: str, command: click.Command) -> str:
    parent = click.Context(main, info_name="kamerton-ray", **main.context_settings)
    context = click.Context(command, info_name=name, parent=parent)
    usage = command.get_usage(context).removeprefix("Usage: ")
    text, *examples = (command.help or "").split("\n\n\b\n")
    blocks = [f"## {name}", f"```text\n{usage}\n```", _escaped(text)]
    blocks += [f"```text\n{example}\n```" for example in examples]
    records = [option.get_help_record(context) for option in command.get_params(context)]
    described = [one for one in records if one and one[1]]  # an argument has no text
    blocks += [f"`{names}`\n:   {_escaped(help_text)}" for names, help_text in described]
    return "\n\n".join(blocks)


def _escaped(text: str) -> str:
    """A text of click's as Markdown, in which nothing is marked but the options."""
    text = re.sub(r"([*_\[\]])", r"\\\1", html.escape(text, quote=False))
    return re.sub(r"(?<!\S)(--[a-z-]+)", r"`\1`", text)


def keys(record: type, *, above: type | None = None) -> str:
    """The fields of a dataclass that its class above has not, as a list with their docstrings."""
    attributes = (record.__doc__ or "").partition("Attributes:\n")[2]
    told = dict(KEY.findall(inspect.cleandoc(attributes)))
    inherited = {one.name for one in dataclasses.fields(above)} if above else set()
    own = [one for one in dataclasses.fields(record) if one.name not in inherited | NO_KEYS]
    return "\n\n".join(
        f"`{one.name}` ({one.type})\n:   {' '.join(told[one.name].split())}" for one in own
    )


def outcomes() -> str:
    """Every way a trial ends, as it stands in a result."""
    return "\n".join(f"* `{one.name.lower()}`: {one.value}" for one in Outcome)


GENERATED: dict[str, Callable[[], str]] = {
    "<!-- the help of every command -->": command_help,
    "<!-- what was timed -->": lambda: keys(Timing),
    "<!-- what else is known -->": lambda: keys(Result, above=Timing),
    "<!-- the machine -->": lambda: keys(Machine),
    "<!-- the outcomes -->": outcomes,
}
"""What stands in a page where it has such a comment."""
