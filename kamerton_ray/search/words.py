"""The axes of words, which have no order: which points differ in a word, and how far that is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from kamerton_ray.search.arrays import Matrix
from kamerton_ray.search.points import Point, along

APART = 0.5
"""Two words of an axis are so far apart in each of two columns, as a share of an axis."""


class Words:
    """Some axes of words of a lattice.

    Args:
        lengths: How many words there are, by the axis's number.
    """

    def __init__(self, lengths: Mapping[int, int]) -> None:
        self._lengths = dict(lengths)

    def __len__(self) -> int:
        """How many axes there are."""
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(self._lengths)

    def alike(self, point: Point, other: Point) -> bool:
        """Whether two points have the same words."""
        return all(point[i] == other[i] for i in self._lengths)

    def others(self, point: Point) -> list[Point]:
        """The points with one other word."""
        found = []
        for i, length in self._lengths.items():
            found += along(point, i, [word for word in range(length) if word != point[i]])
        return found

    def untried(self, point: Point, known: Iterable[Point]) -> list[Point]:
        """Those of them whose word no known point has; the point is known, too."""
        tried = {(i, one[i]) for one in (point, *known) for i in self._lengths}
        new = (one for one in self.others(point) if any((i, one[i]) not in tried for i in self))
        return list(new)

    def columns(self, points: Sequence[Point]) -> Matrix:
        """A column for each word of each axis: whether a point has it, so all are equally far."""
        found = np.array(points)
        columns = [found[:, i] == word for i, many in self._lengths.items() for word in range(many)]
        matrix: Matrix = APART * np.array(columns).T
        return matrix
