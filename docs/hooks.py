"""What MkDocs does beside turning docs/ into pages: other files, and the command line's help.

The pages link to files outside of docs/, such as cluster/job.yaml, as one follows links on GitHub.
On the site these files are pages, too, and `place` says where. Every link is written as a path in
the repository first and then as one from page to page.
"""

from __future__ import annotations

import html
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from kamerton_ray.cli.commands import main

ROOT = Path(__file__).parent.parent

SHOWN = ("*.md", "cluster/*", "examples/*.py", "examples/*.ipynb", "examples/*.png")
SHOWN += ("benchmarks/*.png",)
"""The files outside of docs/ that pages may link to."""

NAMES = {"README.md": "overview.md"}
"""MkDocs takes a README for the start page of its folder."""

LANGUAGES = {".py": "python", ".yaml": "yaml"}
"""How code is coloured, by the file's suffix."""

LINK = re.compile(r"(\]\()([^)\s#:]+)")

HELP = "<!-- the help of every command -->"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the files outside of docs/."""
    for path in shown():
        if path.suffix == ".png":
            added = File.generated(config, place(str(path)), abs_src_path=str(ROOT / path))
        else:
            added = File.generated(config, place(str(path)), content=as_page(path))
        files.append(added)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs names them
    """Mend the links of a page, and show the command line's help where it belongs."""
    source = {place(str(path)): str(path) for path in shown()}
    here = source.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    if HELP in markdown:
        markdown = markdown.replace(HELP, command_help())
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
    context = click.Context(command, info_name=f"kamerton-ray {name}")
    usage = command.get_usage(context).removeprefix("Usage: ")
    text, *examples = (command.help or "").split("\n\n\b\n")
    blocks = [f"## {name}", f"```text\n{usage}\n```", _escaped(text)]
    blocks += [f"```text\n{example}\n```" for example in examples]
    records = [option.get_help_record(context) for option in command.get_params(context)]
    blocks += [f"`{one[0]}`\n:   {_escaped(one[1])}" for one in records if one is not None]
    return "\n\n".join(blocks)


def _escaped(text: str) -> str:
    """A text of click's as Markdown, in which nothing is marked."""
    return re.sub(r"([*_\[\]])", r"\\\1", html.escape(text, quote=False))
