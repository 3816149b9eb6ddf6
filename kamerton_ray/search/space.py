"""IntegerSpace: from a dict of domains to the points of an integer lattice, and back."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kamerton_ray.errors import InvalidInputError, StateError
from kamerton_ray.search.axis import Axis, Path, Scale, described, integer
from kamerton_ray.search.domains import axis_of, increasing, ordered, plain, scaled
from kamerton_ray.search.points import Point

__all__ = ["Axis", "Config", "IntegerSpace", "Scale"]

Config = dict[str, Any]
"""A configuration: the tuned integers and the constants, perhaps in dicts of their own."""


class IntegerSpace:
    """The lattice of integer configurations that a search may try.

    A domain is one of Ray Tune's `randint` (upper bound exclusive), `qrandint` (the multiples
    of q between the bounds), `lograndint`, `qlograndint` and `choice` of ordered integers, or
    a Python `range`. Dicts nest; everything else is a constant. Ray itself is not imported.

    Args:
        domains: The configuration with a domain in place of each tuned parameter.
        scale: `"linear"` or `"log"` for parameters by name (`"a/b"` when nested). Without it,
            the log domains and the ranges that span more than a factor of eight are logarithmic.
            All others are linear, and so are all with values below 0. On a logarithmic scale 0
            counts as half the next value.

    Raises:
        InvalidInputError: A domain is not a finite, ordered set of integers, or a name, a
            scale or a constant breaks a rule.

    Examples:
        >>> space = IntegerSpace({"intra_op": range(1, 9), "batch": 8})
        >>> space.point({"intra_op": 3})
        (2,)
        >>> space.config((2,))
        {'intra_op': 3, 'batch': 8}
    """

    def __init__(
        self,
        domains: Mapping[str, object],
        *,
        scale: Mapping[str, Scale | str] | None = None,
    ) -> None:
        if not isinstance(domains, Mapping):
            raise InvalidInputError(
                f"a search space must be a dict of domains, but got {domains!r}"
            )
        axes: list[Axis] = []
        self.constants: Config = {}
        for path, domain in _leaves(domains, ()):
            axis = axis_of(path, domain)
            if axis is None:
                _put(self.constants, path, plain(path, domain))
            else:
                axes.append(axis)
        self.axes: tuple[Axis, ...] = _scaled(axes, scale or {})
        self._order = [path for path, _ in _leaves(domains, ())]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IntegerSpace):
            return NotImplemented
        return (
            sorted(self.axes, key=lambda axis: axis.path)
            == sorted(other.axes, key=lambda axis: axis.path)
            and self.constants == other.constants
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        axes = ", ".join(f"{axis.name}: {described(axis.values)}" for axis in self.axes)
        return f"IntegerSpace({axes})"

    @property
    def size(self) -> int:
        """How many points the lattice has."""
        return math.prod(len(axis) for axis in self.axes)

    def without_constants(self) -> IntegerSpace:
        """The same lattice whose configurations hold the tuned parameters alone."""
        return self._of(self.axes, {}, [axis.path for axis in self.axes])

    @classmethod
    def _of(cls, axes: tuple[Axis, ...], constants: Config, order: list[Path]) -> IntegerSpace:
        space = cls({})
        space.axes, space.constants, space._order = axes, constants, order
        return space

    def config(self, point: Point) -> Config:
        """The configuration at a lattice point: Python ints, and the constants beside them.

        Raises:
            InvalidInputError: The point is not on the lattice.
        """
        self.check(point)
        tuned = {
            axis.path: axis.values[index] for axis, index in zip(self.axes, point, strict=True)
        }
        constants = dict(_leaves(self.constants, ()))
        config: Config = {}
        for path in self._order:
            if path in tuned:
                _put(config, path, tuned[path])
            elif path in constants:
                _put(config, path, copy.deepcopy(constants[path]))
        return config

    def point(self, config: Mapping[str, object]) -> Point:
        """The lattice point of a configuration, nested or flattened (`"a/b"`).

        Keys that are not tuned are ignored.

        Raises:
            InvalidInputError: A parameter is missing, or its value is not on the lattice.
        """
        return tuple(axis.index(_get(config, axis)) for axis in self.axes)

    def check(self, point: Sequence[int]) -> None:
        """Raise `InvalidInputError` unless `point` is on the lattice."""
        inside = len(point) == len(self.axes) and all(
            0 <= index < len(axis) for axis, index in zip(self.axes, point, strict=True)
        )
        if not inside:
            shape = tuple(len(axis) for axis in self.axes)
            raise InvalidInputError(f"a point of this lattice is below {shape}, but got {point}")

    def to_json(self) -> dict[str, object]:
        """The space as plain JSON values."""
        return {
            "axes": [_axis_to_json(axis) for axis in self.axes],
            "constants": self.constants,
            "order": [list(path) for path in self._order],
        }

    @classmethod
    def from_json(cls, state: object) -> IntegerSpace:
        """The space that `to_json` described.

        Raises:
            StateError: `state` is not what `to_json` gives.
        """
        if not isinstance(state, dict):
            raise StateError(f"not a saved search space: {state!r}")
        try:
            axes = tuple(_axis_from_json(axis) for axis in state["axes"])
            constants = dict(state["constants"])
            order = [tuple(path) for path in state["order"]]
            held = [axis.path for axis in axes] + [path for path, _ in _leaves(constants, ())]
            if sorted(order) != sorted(held):
                raise StateError(f"the order names {order}, but the space has {held}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StateError(f"not a saved search space: {error!r}") from error
        return cls._of(axes, constants, order)


def _leaves(tree: Mapping[str, object], prefix: Path) -> Iterator[tuple[Path, object]]:
    """Every leaf of a nested dict with the keys that lead to it, in the dict's order."""
    for key, value in tree.items():
        if not isinstance(key, str) or "/" in key:
            raise InvalidInputError(
                "a parameter's name must be a string without '/' (Ray joins nested names "
                f"with it), but got {key!r} under {'/'.join(prefix) or 'the top level'!r}"
            )
        path = (*prefix, key)
        if isinstance(value, Mapping) and value and "grid_search" not in value:
            yield from _leaves(value, path)
        else:
            yield path, value


def _put(tree: Config, path: Path, value: object) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


def _get(config: Mapping[str, object], axis: Axis) -> object:
    if axis.name in config:
        return config[axis.name]
    node: object = config
    for key in axis.path:
        if not isinstance(node, Mapping) or key not in node:
            raise InvalidInputError(
                f"a configuration must give every tuned parameter, but {axis.name!r} is missing "
                f"in {dict(config)!r}"
            )
        node = node[key]
    return node


def _scaled(axes: list[Axis], scale: Mapping[str, Scale | str]) -> tuple[Axis, ...]:
    """The axes, each with the scale that the caller or its range asks for."""
    names = [axis.name for axis in axes]
    for name in scale:
        if name not in names:
            raise InvalidInputError(
                f"a scale is given for {name!r}, but the tuned parameters are {names}"
            )
    return tuple(scaled(axis, scale.get(axis.name)) for axis in axes)


def _axis_to_json(axis: Axis) -> dict[str, object]:
    values = axis.values
    return {
        "path": list(axis.path),
        "values": (
            {"range": [values.start, values.stop, values.step]}
            if isinstance(values, range)
            else list(values)
        ),
        "scale": axis.scale.value,
    }


def _axis_from_json(state: Mapping[str, Any]) -> Axis:
    path = tuple(str(key) for key in state["path"])
    name, values = "/".join(path), state["values"]
    if not isinstance(values, dict):
        return scaled(Axis(path, ordered(name, values), Scale.LINEAR), state["scale"])
    start, stop, step = (integer(name, number) for number in values["range"])
    axis = Axis(path, increasing(name, range(start, stop, step)), Scale.LINEAR)
    return scaled(axis, state["scale"])
