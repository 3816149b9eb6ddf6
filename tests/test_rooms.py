"""The rooms of the house, and what each may import."""

import ast
import graphlib
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "kamerton_ray"

MAY_IMPORT = {
    "search": set(),
    "machine": set(),
    "process": {"machine"},
    "trial": {"search", "process", "machine"},
    "tune": {"search", "trial", "process", "machine"},
    "answer": {"search", "trial", "tune", "process", "machine"},
    "report": {"answer", "trial", "tune", "process", "machine"},
    "cli": {"search", "machine", "process", "trial", "tune", "answer", "report"},
}
"""Beside what stands in no room, `errors` and `numeric`."""

GROUND = {"errors", "numeric"}

WITHOUT_RAY = ("search", "machine", "process", "trial", "answer", "report")
WITHOUT_TENSORFLOW = ("search", "tune", "answer", "report", "cli")


def name_of(path: Path) -> str:
    """A module's name, as it is imported."""
    parts = path.relative_to(HOUSE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text()) for path in HOUSE.rglob("*.py")}


def imports(name: str) -> Iterator[str]:
    """The modules that a module imports, wherever in it."""
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{one.name}" for one in node.names]
            yield from (one if one in MODULES else node.module for one in inner)


def room_of(name: str) -> str:
    """The room of a module, or the module itself where it stands in none."""
    return [*name.split("."), ""][1]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_what_it_may(room):
    """The arrows of CONTRIBUTING.md."""
    allowed = {room, *MAY_IMPORT[room], *GROUND}
    wrong = [
        f"{name} imports {other}"
        for name in MODULES
        if room_of(name) == room
        for other in imports(name)
        if other.startswith("kamerton_ray") and room_of(other) not in allowed
    ]
    assert not wrong


def test_every_room_is_known():
    """A new folder needs an arrow."""
    assert {path.parent.name for path in HOUSE.glob("*/__init__.py")} == set(MAY_IMPORT)


def test_a_room_says_first_what_it_is_for_and_what_it_imports():
    """Its `__init__` holds nothing else."""
    for room in MAY_IMPORT:
        tree = MODULES[f"kamerton_ray.{room}"]
        assert "import" in ast.get_docstring(tree).splitlines()[0], room
        assert len(tree.body) == 1, room


def test_nothing_is_in_a_circle():
    """Not even through an import inside a function."""
    graph = {
        name: {other for other in imports(name) if other in MODULES and other != name}
        for name in MODULES
    }
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    ("rooms", "package"), [(WITHOUT_RAY, "ray"), (WITHOUT_TENSORFLOW, "tensorflow")]
)
def test_who_knows_ray_and_tensorflow(rooms, package):
    """All that knows Ray is in one room."""
    wrong = [
        name
        for name in MODULES
        if room_of(name) in rooms
        for other in imports(name)
        if other.partition(".")[0] == package
    ]
    assert not wrong


MOST_LINES, MOST_LINES_OF_A_CLASS, MOST_LINES_OF_MOST_FUNCTIONS = 450, 250, 9


def test_everything_fits_on_a_few_screens():
    """A module, a class, and the function in the middle of all."""
    assert [name for name, tree in MODULES.items() if lines_of(tree) > MOST_LINES] == []
    nodes = [node for tree in MODULES.values() for node in ast.walk(tree)]
    classes = {one.name: lines_of(one) for one in nodes if isinstance(one, ast.ClassDef)}
    assert {name: n for name, n in classes.items() if n > MOST_LINES_OF_A_CLASS} == {}
    functions = [lines_of(one) for one in nodes if isinstance(one, ast.FunctionDef)]
    assert statistics.median(functions) <= MOST_LINES_OF_MOST_FUNCTIONS


def lines_of(tree):
    """How many lines a module, a class or a function takes."""
    last = max((getattr(node, "end_lineno", 0) or 0) for node in ast.walk(tree))
    return last - getattr(tree, "lineno", 1) + 1
