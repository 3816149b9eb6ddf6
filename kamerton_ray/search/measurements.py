"""Measurements: what is known of the points, and which of them is the best."""

from __future__ import annotations

import bisect
import copy
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from kamerton_ray.numeric import number
from kamerton_ray.search.arrays import Vector
from kamerton_ray.search.points import Point, distinct

LOOKED_AT = 64
"""The surrogate is fitted to this many of the best points."""

IMPROVEMENT = 0.02
"""An improvement is lower than the last one by so much of its value, or of the range of all values
where that is less. Noise alone betters the best by less again and again, and would keep a search
going (benchmarks/ablation.py)."""

MOST_AHEAD = 15
"""This many points are worth measuring beside the one that is needed."""


class LackingError(Exception):
    """A step needs the values of these points first; no error, and never seen from outside."""

    def __init__(self, points: list[Point]) -> None:
        super().__init__(points)
        self.points = points


@dataclass
class Measurements:
    """The values told so far; lower is better, and infinity means that a point failed.

    Attributes:
        values: The value of each point, in the order told.
        noises: The standard errors, where they were told.
        fresh: The values of the points that were measured again.
        forgotten: The points whose values were discarded, to be measured before any other.
        best: The point with the lowest value, of equals the first told; None while none worked.
        highest: The highest value of those that worked; minus infinity while none did.
        improved: The value of the last point that was an improvement; infinite while none was.
        stalled: How many points in a row have brought no improvement.
        order: The points by their values, of equals by their place.
    """

    values: dict[Point, float] = field(default_factory=dict)
    noises: dict[Point, float] = field(default_factory=dict)
    fresh: dict[Point, list[float]] = field(default_factory=dict)
    forgotten: list[Point] = field(default_factory=list)
    best: Point | None = field(init=False)
    highest: float = field(init=False)
    improved: float = field(init=False)
    stalled: int = field(init=False)
    order: list[Point] = field(init=False)

    def __post_init__(self) -> None:
        self._recount()

    def _recount(self) -> None:
        self.best, self.stalled, self.order = None, 0, []
        self.highest, self.improved = -math.inf, math.inf
        for point in self.values:
            self._note(point)

    def _note(self, point: Point) -> None:
        """Put a point that has its value into the order, and see what it has brought."""
        bisect.insort(self.order, point, key=lambda known: (self.values[known], known))
        self.stalled += 1
        value = self.values[point]
        if not math.isfinite(value):
            return
        self.highest = max(self.highest, value)
        if self.best is None or value < self.values[self.best]:
            self.best = point
        if self.improved - value > IMPROVEMENT * min(abs(value), self.highest - value):
            self.improved, self.stalled = value, 0

    def copy(self) -> Measurements:
        """The same, to be told more without changing this one."""
        known = copy.copy(self)
        known.values, known.noises = dict(self.values), dict(self.noises)
        known.fresh = {point: list(values) for point, values in self.fresh.items()}
        known.forgotten, known.order = list(self.forgotten), list(self.order)
        return known

    # --- telling --------------------------------------------------------------------------------

    def learn(self, point: Point, value: float, sem: float | None = None) -> bool:
        """Take in a value where there is none yet, or a number where there is a failure.

        Returns:
            Whether it was taken in.
        """
        value = failed_unless_finite(value)
        if math.isfinite(value) and self.values.get(point) == math.inf:
            del self.values[point]
            self._recount()
        if point in self.values:
            return False
        self.values[point] = value
        if (error := number(sem)) > 0:
            self.noises[point] = error
        self._note(point)
        return True

    def learn_again(self, point: Point, value: float) -> None:
        """Take in a fresh value of a point."""
        self.fresh.setdefault(point, []).append(failed_unless_finite(value))

    def forget(self, point: Point) -> None:
        """Discard all that is known of a point, which has to be measured again."""
        del self.values[point]
        self.noises.pop(point, None)
        self.fresh.pop(point, None)
        self.forgotten.append(point)
        self._recount()

    # --- asking ---------------------------------------------------------------------------------

    def need(self, points: Iterable[Point], *, ahead: Iterable[Point] = ()) -> None:
        """Go on if all these points have values; those `ahead` are likely to be needed next.

        Raises:
            LackingError: Some have none.
        """
        lacking = distinct(point for point in points if point not in self.values)
        if lacking:
            likely = [point for point in ahead if point not in self.values]
            raise LackingError(distinct([*lacking, *likely[:MOST_AHEAD]]))

    def at(self, point: Point) -> float:
        """The value of a point.

        Raises:
            LackingError: It has none.
        """
        if point not in self.values:
            raise LackingError([point])
        return self.values[point]

    def of(self, points: Iterable[Point]) -> Vector:
        """The values of some points that have one."""
        return np.array([self.values[point] for point in points])

    def ranked(self) -> Iterator[Point]:
        """All points, best first; of equals the best of all, then by their place."""
        if self.best is not None:
            yield self.best
        yield from (point for point in self.order if point != self.best)

    def leading(self) -> list[Point]:
        """The best points, as many as the surrogate is fitted to, best first."""
        return list(itertools.islice(self.ranked(), LOOKED_AT))

    def worked(self) -> list[Point]:
        """Those of the leading points that did not fail."""
        return [point for point in self.leading() if math.isfinite(self.values[point])]


def failed_unless_finite(value: float) -> float:
    """The value; infinite, as of a failed point, where it is NaN or an infinity."""
    return value if math.isfinite(value) else math.inf
