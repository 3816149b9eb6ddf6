"""IntegerSpace: from a dict of domains to the points of an integer lattice, and back.

A choice of words is an axis, too, whose indices are numbers without an order.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from kamerton_ray.errors import InvalidInputError, StateError
from kamerton_ray.search.axis import Axis, Path, Scale, described, integer, name_of
from kamerton_ray.search.domains import are_words, increasing, ordered, scaled, word_axis
from kamerton_ray.search.points import Point
from kamerton_ray.search.tree import MISSING, Parts, find, leaves, outermost_list, put

__all__ = ["Axis", "Config", "IntegerSpace", "Scale"]

Config = dict[str, Any]
"""A configuration: the tuned integers and words and the constants, perhaps in dicts and lists."""


class IntegerSpace:
    """The lattice of integer configurations that a search may try.

    A domain is one of Ray Tune's `randint` (upper bound exclusive), `qrandint` (the multiples
    of q between the bounds), `lograndint`, `qlograndint` and `choice` of ordered integers, or
    a Python `range`. A `choice` of words, or a Python set of them, has no order: each word is as
    far from any other. Dicts, lists and tuples nest; everything else is a constant. Ray itself is
    not imported.

    Args:
        domains: The configuration with a domain in place of each tuned parameter.
        scale: `"linear"` or `"log"` for parameters by name (`"a/b"` in a dict, `"a/0"` in a list).
            Without it, the log domains and the ranges that span more than a factor of eight are
            logarithmic. All others are linear, and so are all with values below 0. On a
            logarithmic scale 0 counts as half the next value.

    Raises:
        InvalidInputError: A domain is no finite, ordered set of integers and no set of words, or
            a name, a scale or a constant breaks a rule.

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
        parts = Parts.of(domains)
        self._set(parts, _scaled(parts.axes, scale or {}))

    def _set(self, parts: Parts, axes: Sequence[Axis]) -> None:
        self.axes: tuple[Axis, ...] = tuple(axes)
        self.constants: Config = parts.constants
        self._order, self._tuples = parts.order, parts.tuples

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IntegerSpace):
            return NotImplemented
        return (
            sorted(self.axes, key=lambda axis: axis.name)
            == sorted(other.axes, key=lambda axis: axis.name)
            and self.constants == other.constants
            and set(self._tuples) == set(other._tuples)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        axes = ", ".join(f"{axis.name}: {described(axis.choices)}" for axis in self.axes)
        return f"IntegerSpace({axes})"

    @property
    def size(self) -> int:
        """How many points the lattice has."""
        return math.prod(len(axis) for axis in self.axes)

    def without_constants(self) -> IntegerSpace:
        """The same lattice whose configurations hold the tuned parameters alone.

        A list with one of them in it stays whole: Ray replaces lists, and merges only dicts.
        """
        kept = {outermost_list(axis.path) or axis.path for axis in self.axes}
        parts = Parts(
            order=[path for path in self._order if path in kept],
            tuples=[path for path in self._tuples if (outermost_list(path) or path) in kept],
        )
        for path, constant in leaves(self.constants):
            if path in kept:
                put(parts.constants, path, constant)
        return self._of(parts, self.axes)

    def narrowed(self, config: Mapping[str, object]) -> IntegerSpace:
        """The same space, in which each parameter that a configuration gives has that value alone.

        Raises:
            InvalidInputError: A value is not on the lattice.
        """
        found = [(axis, find(config, axis.path)) for axis in self.axes]
        axes = [axis if value is MISSING else axis.only(value) for axis, value in found]
        return self._of(Parts([], self.constants, self._order, self._tuples), axes)

    @classmethod
    def _of(cls, parts: Parts, axes: Sequence[Axis]) -> IntegerSpace:
        space = cls({})
        space._set(parts, axes)
        return space

    def config(self, point: Point) -> Config:
        """The configuration at a lattice point: ints and words, and the constants beside them.

        Raises:
            InvalidInputError: The point is not on the lattice.
        """
        self.check(point)
        tuned = {
            axis.path: axis.choices[index] for axis, index in zip(self.axes, point, strict=True)
        }
        constants = dict(leaves(self.constants))
        config: Config = {}
        for path in self._order:
            if path in tuned:
                put(config, path, tuned.pop(path))
            elif path in constants:
                put(config, path, copy.deepcopy(constants[path]))
        for path, value in tuned.items():  # those in lists
            put(config, path, value)
        for path in reversed(self._tuples):
            put(config, path, tuple(find(config, path)))  # type: ignore[arg-type] # it is a list
        return config

    def point(self, config: Mapping[str, object]) -> Point:
        """The lattice point of a configuration, nested or flattened (`"a/b"`).

        Keys that are not tuned are ignored.

        Raises:
            InvalidInputError: A parameter is missing, or its value is not on the lattice.
        """
        found = [(axis, find(config, axis.path)) for axis in self.axes]
        if missing := [axis.name for axis, value in found if value is MISSING]:
            raise InvalidInputError(
                f"a configuration must give every tuned parameter, but {missing[0]!r} is missing "
                f"in {dict(config)!r}"
            )
        return tuple(axis.index(value) for axis, value in found)

    def missing(self, config: Mapping[str, object]) -> list[str]:
        """The tuned parameters that a configuration does not give."""
        return [axis.name for axis in self.axes if find(config, axis.path) is MISSING]

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
            **({"tuples": [list(path) for path in self._tuples]} if self._tuples else {}),
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
            axes = [_axis_from_json(axis) for axis in state["axes"]]
            parts = Parts(
                constants=dict(state["constants"]),
                order=[tuple(path) for path in state["order"]],
                tuples=[_path(path) for path in state.get("tuples", [])],
            )
            _check_agreement(parts, axes)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StateError(f"not a saved search space: {error!r}") from error
        return cls._of(parts, axes)


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
    if axis.words:
        return {"path": list(axis.path), "words": list(axis.words)}
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
    path = _path(state["path"])
    if "words" in state:
        return _words_from_json(path, state["words"])
    name, values = name_of(path), state["values"]
    if not isinstance(values, dict):
        return scaled(Axis(path, ordered(name, values), Scale.LINEAR), state["scale"])
    start, stop, step = (integer(name, number) for number in values["range"])
    axis = Axis(path, increasing(name, range(start, stop, step)), Scale.LINEAR)
    return scaled(axis, state["scale"])


def _path(keys: Sequence[object]) -> Path:
    """A path from JSON.

    Raises:
        StateError: It is none.
    """
    for key in keys:
        if not isinstance(key, str) and (type(key) is not int or key < 0):
            raise StateError(f"a path has keys and places, but got {key!r}")
    return tuple(keys)  # type: ignore[arg-type] # that was just looked at


def _check_agreement(parts: Parts, axes: Sequence[Axis]) -> None:
    """Refuse parts that are sound one by one but never stand together.

    Raises:
        StateError: They do not.
    """
    listed = [axis.path for axis in axes if outermost_list(axis.path)]
    held = [axis.path for axis in axes if axis.path not in listed]
    held += [path for path, _ in leaves(parts.constants)]
    if sorted(parts.order) != sorted(held):
        raise StateError(f"the order names {parts.order}, but the space has {held}")
    if len(set(listed)) < len(listed) or any(
        find(parts.constants, path) is not None for path in listed
    ):
        raise StateError(f"domains stand in lists at {listed}, but not each in a place of its own")
    if not all(isinstance(find(parts.constants, path), list) for path in parts.tuples):
        raise StateError(f"tuples stand at {parts.tuples}, but not all of these are lists")


def _words_from_json(path: Path, words: Sequence[object]) -> Axis:
    if not isinstance(words, list) or not are_words(words):
        raise StateError(f"parameter {name_of(path)!r} has no words: {words!r}")
    return word_axis(path, words)
