"""Lattice: the geometry of a bounded integer lattice whose axes have scales."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from kamerton_ray.search.space import Axis, Point

SMALL = 1024
"""Up to this many points a lattice is looked at as a whole, beyond by a sample."""

SAMPLE = 256

LONG = 256
"""An axis with more values is long: single steps lead nowhere on it."""

AT_A_TIME = 512
"""From so many known points the distances are computed at once."""

ALMOST_FLAT = 1e-6
"""The sine of an angle below which an edge lies in the plane of the others."""

MOST_HALVINGS = 8
"""How often a value is halved, or a step doubled, at most."""

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


T = TypeVar("T")


class Lattice:
    """The points of some axes, and where they lie in the unit cube.

    Args:
        axes: The axes; one with a single value takes no part in any move.

    Attributes:
        lengths: The number of values on each axis.
        free: The axes with more than one value.
        counts: Those of them without values below 0, which can be halved and doubled.
        size: The number of points.
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        self._axes = tuple(axes)
        self.lengths = [len(axis) for axis in axes]
        self.free = [i for i, length in enumerate(self.lengths) if length > 1]
        self.counts = [i for i in self.free if axes[i].values[0] >= 0]
        # Where a range begins with 0 and goes on, the 0 often means "whatever the default is".
        self._lows = [int(axis.values[0] == 0 and len(axis) > 3) for axis in axes]  # noqa: PLR2004
        self.size = math.prod(self.lengths)

    @property
    def dimension(self) -> int:
        """How many axes can be searched."""
        return len(self.free)

    def coordinates(self, point: Point) -> Vector:
        """Where a point lies, from 0 to 1 on each axis."""
        return np.array(
            [axis.coordinate(index) for axis, index in zip(self._axes, point, strict=True)]
        )

    def places(self, points: Iterable[Point]) -> Matrix:
        """Where some points lie, a row for each."""
        columns = zip(*points, strict=True)
        return np.column_stack(
            [axis.coordinates(column) for axis, column in zip(self._axes, columns, strict=True)]
        )

    def features(self, points: Iterable[Point]) -> Matrix:
        """Where some points lie on the free axes, and from 0 to 1 the product of their values.

        Threads that run at once are a product: half the intra-op and twice the inter-op threads
        load a machine alike.
        """
        places = self.places(points)[:, self.free]
        spans = np.array([self._axes[i].octaves for i in self.counts])
        if len(spans) < 2:  # noqa: PLR2004 - a product has two factors
            return places
        logarithms = [[self._axes[i].octave(point[i]) for i in self.counts] for point in points]
        products = np.sum(logarithms, axis=1, keepdims=True) / spans.sum()
        return np.hstack([places, products])

    def snap(self, coordinates: Vector) -> Point:
        """The nearest lattice point; outside the bounds, the nearest on them."""
        return tuple(
            axis.nearest(float(c)) for axis, c in zip(self._axes, coordinates, strict=True)
        )

    def middle(self) -> Point:
        """The point in the middle of every axis."""
        return self.snap(np.full(len(self._axes), 0.5))

    def steps_from(self, origin: Point, share: float) -> list[Point]:
        """From `origin` a step along each axis, `share` of it long, towards its farther end."""
        found = []
        for i in self.free:
            here = self._axes[i].coordinate(origin[i])
            sign = 1 if here <= 0.5 else -1  # noqa: PLR2004 - the middle of an axis
            there = self._axes[i].nearest(here + sign * share)
            if there == origin[i]:
                there += sign
            found.append((*origin[:i], there, *origin[i + 1 :]))
        return found

    def octaves(self, point: Point) -> list[Point]:
        """The points with one value halved and another doubled, then with one halved or doubled."""
        moved = {i: [self._half(i, point[i]), self._double(i, point[i])] for i in self.counts}
        found = [
            (*point[:i], a, *point[i + 1 : j], b, *point[j + 1 :])
            for i, j in itertools.combinations(self.counts, 2)
            for a, b in zip(moved[i], reversed(moved[j]), strict=True)
        ]
        found += [(*point[:i], t, *point[i + 1 :]) for i in self.counts for t in moved[i]]
        return [p for p in _distinct(found) if p != point]

    def neighbours(self, point: Point) -> list[Point]:
        """The points one lattice step away along an axis."""
        return [
            (*point[:i], there, *point[i + 1 :])
            for i in self.free
            for there in (point[i] - 1, point[i] + 1)
            if 0 <= there < self.lengths[i]
        ]

    def leaps(self, best: Point, known: Iterable[Point]) -> list[Point]:
        """On each long axis twice as far beyond the best point as the last known one lies behind.

        Steps of one lattice step would take for ever there. Hooke & Jeeves (1961) move so.
        """
        found = []
        for i in (i for i in self.free if self.lengths[i] > LONG):
            line = [p[i] - best[i] for p in known if (*p[:i], best[i], *p[i + 1 :]) == best]
            for sign in (-1, 1):
                behind = min((-sign * away for away in line if sign * away < 0), default=0)
                ahead = min((sign * away for away in line if sign * away > 0), default=math.inf)
                there = best[i] + 2 * sign * behind
                if 2 * behind < ahead and there != best[i] and 0 <= there < self.lengths[i]:
                    found.append((*best[:i], there, *best[i + 1 :]))
        return found

    def is_flat(self, simplex: Sequence[Point]) -> bool:
        """Whether the vertices lie in one plane; exact, however long the axes are."""
        first, *others = simplex
        return _is_singular([[point[i] - first[i] for i in self.free] for point in others])

    def strides(self, point: Point) -> list[Point]:
        """The points 1, 2, 4, ... lattice steps away along an axis, both ways, and the ends."""
        found = []
        for i in self.free:
            last = self.lengths[i] - 1
            steps = [2**k for k in range(min(last.bit_length(), MOST_HALVINGS))]
            there = [point[i] + sign * step for step in steps for sign in (-1, 1)]
            found += [(*point[:i], t, *point[i + 1 :]) for t in (0, last, *there) if 0 <= t <= last]
        return found

    def halvings(self, point: Point, start: Point) -> list[Point]:
        """From `point` with up to two axes at a half, a quarter, ... of the start's or top value.

        Numbers of threads that fit a machine are such: all logical CPUs, half of them where each
        core has two, one socket's share.
        """
        levels = {
            i: sorted({*self._halved(i, start[i]), *self._halved(i, self.lengths[i] - 1)})
            for i in self.free
        }
        found = [(*point[:i], there, *point[i + 1 :]) for i in self.free for there in levels[i]]
        for i, j in itertools.combinations(self.free, 2):
            found += [
                (*point[:i], a, *point[i + 1 : j], b, *point[j + 1 :])
                for a, b in itertools.product(levels[i], levels[j])
            ]
        return found

    def _halved(self, i: int, index: int) -> list[int]:
        """The indices on axis `i` of the value at `index`, its half, quarter, ..., and 0."""
        values = self._axes[i].values
        low, value = min(values[0], 0), values[index]
        wanted = [low + (value - low) // 2**k for k in range(MOST_HALVINGS)]
        return _distinct([*(self._nearest(i, w) for w in wanted if w >= values[0]), 0])

    def _half(self, i: int, index: int) -> int:
        """The index on axis `i` of half the value; of the lowest above 0, that is 0."""
        values = self._axes[i].values
        return 0 if values[0] == 0 and index <= 1 else self._nearest(i, values[index] // 2)

    def _double(self, i: int, index: int) -> int:
        """The index on axis `i` of twice the value; of 0, that is the lowest above."""
        value = self._axes[i].values[index]
        return self._nearest(i, 2 * value) if value else 1

    def _nearest(self, i: int, value: int) -> int:
        """The index on axis `i` whose value is nearest."""
        values = self._axes[i].values
        above = min(bisect.bisect_left(values, value), len(values) - 1)
        below = max(above - 1, 0)
        return above if values[above] - value <= value - values[below] else below

    def far_end(self, point: Point) -> Point:
        """The point with the shortest axis at its farther end; of a range from 0, that is 1."""
        if not self.free:
            return point
        i = self._shortest()
        here = self._axes[i].coordinate(point[i])
        there = self.lengths[i] - 1 if here < 0.5 else self._lows[i]  # noqa: PLR2004
        return (*point[:i], there, *point[i + 1 :])

    def first_steps(self, point: Point) -> list[Point]:
        """From `point` to half the value on the longer axes; from low, up half of the axis."""
        found = []
        for i, step in zip(self.free, self.steps_from(point, 0.5), strict=True):
            there = self._halved(i, point[i])[1:2]
            falls = there and step[i] < point[i]
            if i != self._shortest():
                found.append((*point[:i], there[0], *point[i + 1 :]) if falls else step)
        return found

    def trades(self, end: Point) -> list[Point]:
        """From the low end of the shortest axis: twice its value for half the value on another.

        Operations side by side share the machine, so the products that fit it are a ridge.
        """
        short = self._shortest()
        if short not in self.counts or end[short] != self._lows[short]:
            return self.first_steps(end)
        twice = self._double(short, end[short])
        return [(*p[:short], twice, *p[short + 1 :]) for p in self.first_steps(end)]

    def _shortest(self) -> int:
        """The axis with the fewest values, of equals the last."""
        return min(reversed(self.free), key=lambda axis: self.lengths[axis], default=0)

    def survey(self, start: Point) -> list[Point]:
        """What to measure beside the start where more than one point can be.

        The end, the ridge down from it and what lies beside that; then the start's halves.
        """
        end = self.far_end(start)
        trades = self.trades(end)
        beside = itertools.chain.from_iterable(zip(*map(self.octaves, trades), strict=False))
        return _distinct(
            [end, *trades, *beside, *self.first_steps(start), *self.halvings(end, start)]
        )

    def simplex(self, points: Iterable[Point]) -> list[Point]:
        """The first d + 1 points that do not lie in one plane; fewer where all do."""
        found: list[Point] = []
        basis = np.zeros((0, len(self.free)))
        for point in points:
            if not found:
                found = [point]
                continue
            # As shares of the axes, lest a short axis count for nothing beside a very long one.
            edge = (np.subtract(point, found[0]) / self.lengths)[self.free]
            edge /= np.linalg.norm(edge)
            left = edge - basis.T @ (basis @ edge)
            length = np.linalg.norm(left)
            if length > ALMOST_FLAT:
                found.append(point)
                basis = np.vstack([basis, left / length])
            if len(found) > self.dimension:
                break
        return found

    def emptiest(self, known: Collection[Point], *, seed: Sequence[int]) -> Point:
        """The point farthest from every known one; on a large lattice, of a sample.

        Args:
            known: The points to keep away from; not all of the lattice.
            seed: Settles the sample. Give another one each time, so that no generator's state
                has to be kept.
        """
        if self.size <= SMALL:
            candidates = self._every_point()
        else:
            rows = np.zeros((SAMPLE, len(self._axes)))
            rows[:, self.free] = np.random.default_rng(seed).random((SAMPLE, self.dimension))
            # The last one makes sure that there is one.
            last = (point for point in self._every_point() if point not in known)
            candidates = itertools.chain(map(self.snap, rows), itertools.islice(last, 1))
        unknown = [point for point in candidates if point not in known]
        places, taken = self.places(unknown), self.places(known)
        # |a - b|^2 = |a|^2 + |b|^2 - 2 ab, for so many b at a time as the processor's cache holds.
        nearest, doubled = np.full(len(unknown), np.inf), 2 * places.T
        for some in (taken[i : i + AT_A_TIME] for i in range(0, len(taken), AT_A_TIME)):
            apart = (some**2).sum(axis=1, keepdims=True) - some @ doubled
            np.minimum(nearest, apart.min(axis=0), out=nearest)
        nearest += (places**2).sum(axis=1)
        return unknown[int(np.argmax(nearest.round(12)))]

    def _every_point(self) -> Iterable[Point]:
        """The points in order, one at a time: `itertools.product` would list each axis first."""
        return map(self._numbered, range(self.size))

    def _numbered(self, number: int) -> Point:
        """The point with this number, where the last axis counts the units."""
        indices = []
        for length in reversed(self.lengths):
            number, index = divmod(number, length)
            indices.append(index)
        return tuple(reversed(indices))


def _is_singular(rows: list[list[int]]) -> bool:
    """Whether the determinant is 0, by Bareiss (1968): without fractions, so nothing is rounded."""
    previous = 1
    while rows:
        pivot = next((row for row in rows if row[0]), None)
        if pivot is None:
            return True
        first, *rest = pivot
        rows = [
            [(first * b - row[0] * a) // previous for a, b in zip(rest, row[1:], strict=True)]
            for row in rows
            if row is not pivot
        ]
        previous = first
    return False


def _distinct(items: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(items))
