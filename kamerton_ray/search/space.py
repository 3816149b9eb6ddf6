"""IntegerSpace: from a dict of Ray Tune domains to the points of an integer lattice, and back."""

from __future__ import annotations

import copy
import json
import math
import operator
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

from kamerton_ray.errors import InvalidInputError, StateError

Point = tuple[int, ...]
"""A lattice point: for each axis the index of its value, from 0."""

Path = tuple[str, ...]
"""The keys that lead to a parameter in a nested configuration."""

LARGEST = 2**53
"""Beyond this neighbouring integers are one and the same floating-point number."""

TABLE = 4096
"""Up to this many values an axis keeps all their coordinates, for speed."""

LOG_SCALE_RATIO = 8
"""A range that spans more than this factor gets a logarithmic scale unless the caller says."""

_FUNCTION_PLACEHOLDER = (
    "__fn_ph"  # what Ray puts in place of tune.sample_from (impl/placeholder.py)
)
_REFERENCE_PLACEHOLDER = "__ref_ph"  # what Ray puts in place of an object, np.int64 included


class Scale(Enum):
    """How distances along an axis are measured."""

    LINEAR = "linear"
    LOG = "log"


@dataclass(frozen=True)
class Axis:
    """One tuned parameter: its place in the configuration, its values and its scale.

    Attributes:
        path: Keys that lead to the parameter in a nested configuration.
        values: The values in increasing order; a `range`, or a tuple where the steps differ.
        scale: Whether equal steps or equal ratios are equal distances.
    """

    path: Path
    values: range | tuple[int, ...]
    scale: Scale

    @property
    def name(self) -> str:
        """The parameter's name as Ray flattens it, such as `"threads/intra_op"`."""
        return "/".join(self.path)

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def _origin(self) -> float:
        return self._raw(self.values[0])

    @cached_property
    def _span(self) -> float:
        return self._raw(self.values[-1]) - self._origin

    def _raw(self, value: int) -> float:
        return math.log(self._amount(value)) if self.scale is Scale.LOG else float(value)

    def _amount(self, value: int) -> float:
        """The value; for 0, which has no logarithm, half the next one: it lies an octave below."""
        return value or self.values[1] / 2

    def octave(self, index: int) -> float:
        """How many times the value at `index` is twice the lowest; none may be below 0."""
        return math.log2(self._amount(self.values[index]) / self._amount(self.values[0]))

    @property
    def octaves(self) -> float:
        """How many times the highest value is twice the lowest."""
        return self.octave(-1)

    def coordinate(self, index: int) -> float:
        """The position of the value at `index` on the axis, from 0 (lowest) to 1 (highest)."""
        return self._computed(index) if self._table is None else self._table[index]

    def coordinates(self, indices: Iterable[int]) -> list[float]:
        """The positions of the values at some indices."""
        table = self._table
        return [self._computed(i) if table is None else table[i] for i in indices]

    def _computed(self, index: int) -> float:
        if len(self.values) == 1:
            return 0.0
        return (self._raw(self.values[index]) - self._origin) / self._span

    @cached_property
    def _table(self) -> list[float] | None:
        return list(map(self._computed, range(len(self)))) if len(self) <= TABLE else None

    def nearest(self, coordinate: float) -> int:
        """The index whose coordinate is nearest; beyond an end it is the end's."""
        if self._table is None:
            above = bisect_left(range(len(self)), coordinate, key=self._computed)
        else:
            above = bisect_left(self._table, coordinate)
        if above == 0:
            return 0
        if above == len(self):
            return above - 1
        below = above - 1
        nearer_below = coordinate - self.coordinate(below) <= self.coordinate(above) - coordinate
        return below if nearer_below else above

    def index(self, value: object) -> int:
        """The index of `value`.

        Raises:
            InvalidInputError: `value` is no integer, or is not one of the axis's values.
        """
        number = _integer(self.name, value)
        try:
            return self.values.index(number)
        except ValueError:
            raise InvalidInputError(
                f"parameter {self.name!r} takes {_describe(self.values)}, but got {number}"
            ) from None


class IntegerSpace:
    """The lattice of integer configurations that a search may try.

    A domain is one of Ray Tune's `randint` (upper bound exclusive), `qrandint` (the multiples
    of q between the bounds), `lograndint`, `qlograndint` and `choice` of ordered integers, or
    a Python `range`. Dicts nest; everything else is a constant. Ray itself is not imported.

    Args:
        domains: The configuration with a domain in place of each tuned parameter.
        scale: `"linear"` or `"log"` for parameters by name (`"a/b"` when nested). Otherwise
            it is logarithmic for the log domains and for ranges that span more than a factor of
            eight, and linear for the rest, as for those with values below 0. On a logarithmic
            scale 0 lies as far below the next value as half of that would.

    Raises:
        InvalidInputError: A domain is not a finite, ordered set of integers, or a name, a
            scale or a constant breaks a rule.

    Example:
        >>> space = IntegerSpace({"intra_op": range(1, 9), "batch": 8})
        >>> space.point({"intra_op": 3})
        (2,)
        >>> space.config((2,))
        {'intra_op': 3, 'batch': 8}
    """

    def __init__(
        self,
        domains: Mapping[str, Any],
        *,
        scale: Mapping[str, Scale | str] | None = None,
    ) -> None:
        if not isinstance(domains, Mapping):
            raise InvalidInputError(
                f"a search space must be a dict of domains, but got {domains!r}"
            )
        axes: list[Axis] = []
        self.constants: dict[str, Any] = {}
        for path, domain in _leaves(domains, ()):
            axis = _axis(path, domain)
            if axis is None:
                _put(self.constants, path, _plain(path, domain))
            else:
                axes.append(axis)
        self.axes: tuple[Axis, ...] = _rescale(axes, scale or {})
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
        axes = ", ".join(f"{axis.name}: {_describe(axis.values)}" for axis in self.axes)
        return f"IntegerSpace({axes})"

    @property
    def size(self) -> int:
        """How many points the lattice has."""
        return math.prod(len(axis) for axis in self.axes)

    def without_constants(self) -> IntegerSpace:
        """The same lattice whose configurations hold the tuned parameters alone."""
        space = copy.copy(self)
        space.constants = {}
        space._order = [axis.path for axis in self.axes]  # noqa: SLF001 - a copy of our own
        return space

    def config(self, point: Point) -> dict[str, Any]:
        """The configuration at a lattice point: Python ints, and the constants beside them.

        Raises:
            InvalidInputError: The point is not on the lattice.
        """
        self.check(point)
        tuned = {
            axis.path: axis.values[index] for axis, index in zip(self.axes, point, strict=True)
        }
        constants = dict(_leaves(self.constants, ()))
        config: dict[str, Any] = {}
        for path in self._order:
            if path in tuned:
                _put(config, path, tuned[path])
            elif path in constants:
                _put(config, path, copy.deepcopy(constants[path]))
        return config

    def point(self, config: Mapping[str, Any]) -> Point:
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

    def to_json(self) -> dict[str, Any]:
        """The space as plain JSON values."""
        return {
            "axes": [
                {
                    "path": list(axis.path),
                    "values": (
                        {"range": [axis.values.start, axis.values.stop, axis.values.step]}
                        if isinstance(axis.values, range)
                        else list(axis.values)
                    ),
                    "scale": axis.scale.value,
                }
                for axis in self.axes
            ],
            "constants": self.constants,
            "order": [list(path) for path in self._order],
        }

    @classmethod
    def from_json(cls, state: Any) -> IntegerSpace:  # noqa: ANN401 - it is what is checked here
        """The space that `to_json` described.

        Raises:
            StateError: `state` is not what `to_json` gives.
        """
        try:
            space = cls({})
            space.axes = tuple(_axis_from_json(axis) for axis in state["axes"])
            space.constants = dict(state["constants"])
            space._order = [tuple(path) for path in state["order"]]
            held = [axis.path for axis in space.axes]
            held += [path for path, _ in _leaves(space.constants, ())]
            if sorted(space._order) != sorted(held):
                raise StateError(f"the order names {space._order}, but the space has {held}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StateError(f"not a saved search space: {error!r}") from error
        return space


def _leaves(tree: Mapping[str, Any], prefix: Path) -> Iterator[tuple[Path, Any]]:
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


def _put(tree: dict[str, Any], path: Path, value: object) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


def _get(config: Mapping[str, Any], axis: Axis) -> object:
    if axis.name in config:
        return config[axis.name]
    node: Any = config
    for key in axis.path:
        if not isinstance(node, Mapping) or key not in node:
            raise InvalidInputError(
                f"a configuration must give every tuned parameter, but {axis.name!r} is missing "
                f"in {dict(config)!r}"
            )
        node = node[key]
    result: object = node
    return result


def _axis(path: Path, domain: object) -> Axis | None:
    """The axis for a domain, or None for a constant."""
    name = "/".join(path)
    if isinstance(domain, range):
        return Axis(path, _increasing_range(name, domain), Scale.LINEAR)
    if isinstance(domain, Mapping) and "grid_search" in domain:
        raise InvalidInputError(
            f"parameter {name!r}: tune.grid_search lists values to try one by one and cannot be "
            f"searched; use tune.randint or tune.choice instead, but got {dict(domain)!r}"
        )
    if isinstance(domain, (list, tuple)):
        _check_sequence(name, domain)
        return None
    # Whoever holds one of Ray's domains has imported this module; nobody else needs it.
    sample = sys.modules.get("ray.tune.search.sample")
    if sample is None or not isinstance(domain, sample.Domain):
        return None
    if isinstance(domain, sample.Categorical):
        return Axis(path, _ordered_choice(name, domain.categories), Scale.LINEAR)
    if isinstance(domain, sample.Integer):
        return _integer_axis(path, domain, sample)
    raise InvalidInputError(
        f"parameter {name!r} must be an integer domain (tune.randint, qrandint, lograndint, "
        f"qlograndint, or choice of ordered integers), but got {domain.domain_str} of type "
        f"{type(domain).__name__}"
    )


def _integer_axis(path: Path, domain: Any, sample: Any) -> Axis:  # noqa: ANN401 - Ray is untyped
    """The axis of a `ray.tune` Integer domain (bounds as in ray/tune/search/sample.py, 2.60)."""
    name = "/".join(path)
    lower, upper = _integer(name, domain.lower), _integer(name, domain.upper)
    sampler = domain.get_sampler()
    step = 1
    if isinstance(sampler, sample.Quantized):
        step = _integer(name, sampler.q)
        sampler = sampler.get_sampler()
    if step < 1:
        raise InvalidInputError(f"parameter {name!r}: q must be at least 1, but got {step}")
    # Ray's upper bound is exclusive for randint and for q = 1, and inclusive for larger q; the
    # grid of q is anchored at its multiples, not at the lower bound.
    stop = upper if step == 1 else upper + 1
    values = range(-(-lower // step) * step, stop, step)
    if not values:
        rule = (
            "the lower bound must be less than the upper bound, which is exclusive"
            if step == 1
            else f"a multiple of q={step} must lie between the bounds"
        )
        raise InvalidInputError(
            f"parameter {name!r}: {rule}, but got lower={lower}, upper={upper}, q={step}"
        )
    logarithmic = isinstance(sampler, domain._LogUniform)  # noqa: SLF001 - Ray has no public name
    if logarithmic and values[0] < 1:
        raise InvalidInputError(
            f"parameter {name!r}: a logarithmic range must start at 1 or above, but got "
            f"lower={lower}"
        )
    return Axis(path, values, Scale.LOG if logarithmic else Scale.LINEAR)


def _rescale(axes: list[Axis], scale: Mapping[str, Scale | str]) -> tuple[Axis, ...]:
    """Give each axis the scale that the caller or its range asks for."""
    names = [axis.name for axis in axes]
    for name in scale:
        if name not in names:
            raise InvalidInputError(
                f"a scale is given for {name!r}, but the tuned parameters are {names}"
            )
    return tuple(_with_scale(axis, scale.get(axis.name)) for axis in axes)


def _with_scale(axis: Axis, asked: Scale | str | None) -> Axis:
    low, high = axis.values[0], axis.values[-1]
    if low < -LARGEST or high > LARGEST:
        raise InvalidInputError(
            f"parameter {axis.name!r}: values must lie between -2**53 and 2**53, but got "
            f"{low} to {high}"
        )
    if asked is None:
        wide = low >= 0 and len(axis) > 1 and high > LOG_SCALE_RATIO * (low or axis.values[1])
        return replace(axis, scale=Scale.LOG) if wide else axis
    try:
        scale = Scale(asked)
    except ValueError:
        raise InvalidInputError(
            f"parameter {axis.name!r}: a scale is 'linear' or 'log', but got {asked!r}"
        ) from None
    if scale is Scale.LOG and low < 0:
        raise InvalidInputError(
            f"parameter {axis.name!r}: a logarithmic scale needs values of 0 or above, but the "
            f"lowest is {low}"
        )
    if high == 0:
        return replace(axis, scale=Scale.LINEAR)  # nothing but 0
    return replace(axis, scale=scale)


def _increasing_range(name: str, values: range) -> range:
    if not values:
        raise InvalidInputError(f"parameter {name!r}: a range must not be empty, but got {values}")
    return values if values.step > 0 else values[::-1]


def _ordered_choice(name: str, categories: Sequence[object]) -> tuple[int, ...]:
    if any(_is_placeholder(category, _REFERENCE_PLACEHOLDER) for category in categories):
        raise InvalidInputError(
            f"parameter {name!r}: Ray replaces every choice that is not a plain Python number by "
            "a reference, so NumPy integers cannot be ordered; use tune.choice(array.tolist())"
        )
    values = tuple(_integer(name, category) for category in categories)
    ordered = tuple(sorted(set(values)))
    if not values or values not in (ordered, ordered[::-1]):
        raise InvalidInputError(
            f"parameter {name!r}: the integers of tune.choice must be in strict order, but got "
            f"{list(values)}"
        )
    return ordered


def _integer(name: str, value: object) -> int:
    """`value` as a Python int; NumPy's integers count, booleans and floats do not."""
    try:
        if isinstance(value, bool):
            raise TypeError  # noqa: TRY301 - one message for everything that is no integer
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidInputError(
            f"parameter {name!r} takes integers, but got {value!r} of type {type(value).__name__}"
        ) from None


def _check_sequence(name: str, values: Sequence[object]) -> None:
    """Refuse what a list cannot hold: a domain inside it would reach the trainable unresolved."""
    sample = sys.modules.get("ray.tune.search.sample")
    if _is_placeholder(values, _FUNCTION_PLACEHOLDER):
        raise InvalidInputError(
            f"parameter {name!r}: tune.sample_from has no order and cannot be searched"
        )
    for item in values:
        held = item.values() if isinstance(item, Mapping) else [item]
        for value in held:
            if isinstance(value, range) or (sample and isinstance(value, sample.Domain)):
                raise InvalidInputError(
                    f"parameter {name!r}: a domain must be the value of a dict key, not an item "
                    f"of a list, but got {values!r}"
                )
            if isinstance(value, (list, tuple)):
                _check_sequence(name, value)


def _plain(path: Path, constant: object) -> object:
    """A constant as plain JSON values, so that a saved search needs no pickle."""
    try:
        return json.loads(json.dumps(constant))
    except (TypeError, ValueError):
        raise InvalidInputError(
            f"parameter {'/'.join(path)!r} is neither an integer domain nor a plain constant "
            "(None, bool, int, float, str, or lists of them); pass objects with "
            f"tune.with_parameters, but got {constant!r} of type {type(constant).__name__}"
        ) from None


def _is_placeholder(value: object, kind: str) -> bool:
    return isinstance(value, tuple) and len(value) > 0 and value[0] == kind


def _describe(values: range | tuple[int, ...]) -> str:
    if isinstance(values, range) and len(values) > 1:
        step = f" in steps of {values.step}" if values.step > 1 else ""
        return f"{values[0]}..{values[-1]}{step}"
    return f"one of {list(values)}"


def _axis_from_json(state: Any) -> Axis:  # noqa: ANN401 - it is what is checked here
    path = tuple(str(key) for key in state["path"])
    values = state["values"]
    name = "/".join(path)
    if isinstance(values, dict):
        start, stop, step = (_integer(name, number) for number in values["range"])
        return _with_scale(
            Axis(path, _increasing_range(name, range(start, stop, step)), Scale.LINEAR),
            state["scale"],
        )
    return _with_scale(Axis(path, _ordered_choice(name, values), Scale.LINEAR), state["scale"])
