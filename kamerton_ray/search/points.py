"""Points of the lattice, and lists of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Point = tuple[int, ...]
"""A lattice point: for each axis the index of its value, from 0."""

T = TypeVar("T")


def along(point: Point, axis: int, indices: Iterable[int]) -> list[Point]:
    """The point with each of some indices on one axis."""
    before, after = point[:axis], point[axis + 1 :]
    return [(*before, index, *after) for index in indices]


def distinct(items: Iterable[T]) -> list[T]:
    """Each of the items once, where it comes first."""
    return list(dict.fromkeys(items))
