"""Axis: the values of one tuned parameter, and where they lie."""

from __future__ import annotations

import contextlib
import math
import operator
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.search.points import distinct

Path = tuple[str | int, ...]
"""What leads to a parameter in a nested configuration: the keys of dicts, the places in lists."""

TABLE = 4096
"""An axis with up to this many values keeps all their coordinates, for speed."""

MOST_HALVINGS = 8
"""How often a value is halved, or a step doubled, at most."""


def name_of(path: Path) -> str:
    """A parameter's name: what leads to it, joined with `/`."""
    return "/".join(map(str, path))


class Scale(Enum):
    """How distances along an axis are measured."""

    LINEAR = "linear"
    LOG = "log"


@dataclass(frozen=True)
class Axis:
    """One tuned parameter: its place in the configuration, its values and its scale.

    Attributes:
        path: The keys and places that lead to the parameter in a nested configuration.
        values: The values in increasing order; a `range`, or a tuple where the steps differ. Of
            words they are the words' numbers, from 0.
        scale: Whether equal steps or equal ratios are equal distances.
        words: What a configuration says instead of numbers, in no order; empty where it says them.
    """

    path: Path
    values: range | tuple[int, ...]
    scale: Scale
    words: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The parameter's name as Ray flattens it, such as `"threads/intra_op"`."""
        return name_of(self.path)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def choices(self) -> range | tuple[int, ...] | tuple[str, ...]:
        """What a configuration may say: the words, or the values."""
        return self.words or self.values

    @cached_property
    def _origin(self) -> float:
        return self._raw(self.values[0])

    @cached_property
    def _span(self) -> float:
        return self._raw(self.values[-1]) - self._origin

    def _raw(self, value: int) -> float:
        return math.log(self._amount(value)) if self.scale is Scale.LOG else float(value)

    def _amount(self, value: int) -> float:
        """The value. Zero has no logarithm: it counts as half the next value, an octave below."""
        return value or self.values[1] / 2

    def octave(self, index: int) -> float:
        """How often the lowest value is doubled up to the one at `index`; none is below 0."""
        return math.log2(self._amount(self.values[index]) / self._amount(self.values[0]))

    def octaves_up(self, indices: Iterable[int]) -> list[float]:
        """The same of some indices."""
        table = self._octave_table
        return [self.octave(i) if table is None else table[i] for i in indices]

    @cached_property
    def _octave_table(self) -> list[float] | None:
        return list(map(self.octave, range(len(self)))) if len(self) <= TABLE else None

    @property
    def octaves(self) -> float:
        """How often the lowest value is doubled up to the highest."""
        return self.octave(-1)

    def coordinate(self, index: int) -> float:
        """Where the value at `index` lies on the axis, from 0 (lowest) to 1 (highest)."""
        return self._computed(index) if self._table is None else self._table[index]

    def coordinates(self, indices: Iterable[int]) -> list[float]:
        """Where the values at some indices lie."""
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
        """The index whose coordinate is nearest; beyond an end, the end's."""
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

    def half(self, index: int) -> int:
        """The index of half the value. From the lowest value above 0 it is the index of 0."""
        values = self.values
        return 0 if values[0] == 0 and index <= 1 else self.closest(values[index] // 2)

    def double(self, index: int) -> int:
        """The index of twice the value. From 0 it is the index of the lowest value above."""
        value = self.values[index]
        return self.closest(2 * value) if value else 1

    def halvings(self, index: int) -> list[int]:
        """The indices of the value, of its half, its quarter, ..., and of the lowest value."""
        lowest, value = self.values[0], self.values[index]
        base = min(lowest, 0)
        wanted = [base + (value - base) // 2**k for k in range(MOST_HALVINGS)]
        return distinct([*(self.closest(w) for w in wanted if w >= lowest), 0])

    def closest(self, value: int) -> int:
        """The index of the value closest to this one."""
        values = self.values
        above = min(bisect_left(values, value), len(values) - 1)
        below = max(above - 1, 0)
        return above if values[above] - value <= value - values[below] else below

    def only(self, value: object) -> Axis:
        """The axis with this value or word alone.

        Raises:
            InvalidInputError: It is not one of the axis's values.
        """
        index = self.index(value)
        if self.words:
            return replace(self, values=range(1), words=(self.words[index],))
        return replace(self, values=self.values[index : index + 1])

    def index(self, value: object) -> int:
        """The index of `value`.

        Raises:
            InvalidInputError: `value` is no integer, or is not one of the axis's values or words.
        """
        if self.words:
            with contextlib.suppress(ValueError):
                return self.words.index(value)
        else:
            value = integer(self.name, value)
            with contextlib.suppress(ValueError):
                return self.values.index(value)
        raise InvalidInputError(
            f"parameter {self.name!r} takes {described(self.choices)}, but got {value!r}"
        )


def integer(name: str, value: object) -> int:
    """`value` as a Python int; NumPy's integers count, booleans and floats do not.

    Raises:
        InvalidInputError: `value` is no integer.
    """
    if not isinstance(value, bool):
        with contextlib.suppress(TypeError):
            return operator.index(value)  # type: ignore[arg-type] # it raises what is caught here
    raise InvalidInputError(
        f"parameter {name!r} takes integers, but got {value!r} of type {type(value).__name__}"
    )


def described(values: range | tuple[int, ...] | tuple[str, ...]) -> str:
    """The values of an axis in a sentence."""
    if isinstance(values, range) and len(values) > 1:
        step = f" in steps of {values.step}" if values.step > 1 else ""
        return f"{values[0]}..{values[-1]}{step}"
    return f"one of {list(values)}"
