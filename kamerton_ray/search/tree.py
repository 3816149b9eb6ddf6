"""What a nested configuration holds, in dicts and in lists, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.search.axis import Axis, Path, name_of
from kamerton_ray.search.domains import axis_of, plain

MISSING: Final = object()
"""What is found where a configuration says nothing."""


@dataclass
class Parts:
    """A search space taken apart.

    Attributes:
        axes: Its domains.
        constants: All else, as plain JSON values. A list that has domains in it is here as a
            whole, with None in their places.
        order: Where the domains and the constants stand in the dicts; a list is one of them.
        tuples: Which of the lists were tuples, outer ones first.
    """

    axes: list[Axis] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    order: list[Path] = field(default_factory=list)
    tuples: list[Path] = field(default_factory=list)

    @classmethod
    def of(cls, domains: Mapping[str, object]) -> Parts:
        """The parts of a space.

        Raises:
            InvalidInputError: A name, a domain or a constant breaks a rule.
        """
        parts = cls()
        for path, node in leaves(domains):
            parts.order.append(path)
            if (axis := axis_of(path, node)) is not None:
                parts.axes.append(axis)
            else:
                put(parts.constants, path, parts._constant(path, node))
        return parts

    def _constant(self, path: Path, node: object) -> object:
        """What is no domain, as plain JSON values."""
        if isinstance(node, Mapping) and all(map(_is_name, node)):
            return {key: self._item((*path, key), value) for key, value in node.items()}
        if not isinstance(node, list | tuple):
            return plain(path, node)
        if isinstance(node, tuple):
            self.tuples.append(path)
        return [self._item((*path, place), value) for place, value in enumerate(node)]

    def _item(self, path: Path, node: object) -> object:
        """The same of what stands in a list: None where it is a domain."""
        axis = axis_of(path, node)
        if axis is None:
            return self._constant(path, node)
        self.axes.append(axis)
        return None


def leaves(tree: Mapping[str, object], prefix: Path = ()) -> Iterator[tuple[Path, object]]:
    """Every leaf of a nested dict with the keys that lead to it, in the dict's order.

    Raises:
        InvalidInputError: A key is no name.
    """
    for key, value in tree.items():
        if not _is_name(key):
            raise InvalidInputError(
                "a parameter's name must be a string without '/' (Ray joins nested names "
                f"with it), but got {key!r} under {name_of(prefix) or 'the top level'!r}"
            )
        path = (*prefix, key)
        if isinstance(value, Mapping) and value and "grid_search" not in value:
            yield from leaves(value, path)
        else:
            yield path, value


def names(node: object, prefix: Path = ()) -> Iterator[str]:
    """The names of all that a configuration says, in its dicts and lists."""
    inner = dict(enumerate(node)) if isinstance(node, list | tuple) else node
    if not isinstance(inner, Mapping) or not inner:
        yield name_of(prefix)
        return
    for key, value in inner.items():
        yield from names(value, (*prefix, key))


def put(tree: Any, path: Path, value: object) -> None:  # noqa: ANN401 - a dict, or a list inside
    """Put a value where a path leads; dicts on the way that are not there are made."""
    for key in path[:-1]:
        tree = tree.setdefault(key, {}) if isinstance(tree, dict) else tree[key]
    tree[path[-1]] = value


def find(config: Mapping[str, object], path: Path) -> object:
    """What a configuration says, nested or flattened; `MISSING` where it says nothing.

    Ray flattens dicts, and lists only sometimes.
    """
    for whole in (path, outermost_list(path)):
        if whole and name_of(whole) in config:
            return _inside(config[name_of(whole)], path[len(whole) :])
    return _inside(config, path)


def _inside(node: object, path: Path) -> object:
    for key in path:
        if isinstance(key, int):
            there = isinstance(node, list | tuple) and key < len(node)
        else:
            there = isinstance(node, Mapping) and key in node
        if not there:
            return MISSING
        node = node[key]  # type: ignore[index] # it was just seen
    return node


def outermost_list(path: Path) -> Path:
    """Where the outermost list stands that a path leads into; empty where there is none."""
    return next((path[:i] for i, key in enumerate(path) if isinstance(key, int)), ())


def _is_name(key: object) -> bool:
    return isinstance(key, str) and "/" not in key
