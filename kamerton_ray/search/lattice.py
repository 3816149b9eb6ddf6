"""Lattice: the geometry of a bounded integer lattice whose axes have scales."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from kamerton_ray.search.arrays import Matrix, Vector
from kamerton_ray.search.axis import MOST_HALVINGS, Axis
from kamerton_ray.search.constraints import Constraints
from kamerton_ray.search.feasible import Feasible
from kamerton_ray.search.points import Point, along, distinct
from kamerton_ray.search.space import IntegerSpace
from kamerton_ray.search.words import Words

LONG = 256
"""An axis with more values is long: single steps lead nowhere on it."""

ALMOST_FLAT = 1e-6
"""An edge whose angle to the plane of the others has a smaller sine counts as lying in it."""

MIDDLE = 0.5
"""The coordinate of an axis's middle."""


class Lattice:
    """The points of some axes, and where they lie in the unit cube.

    Args:
        axes: The axes; one with a single value takes no part in any move.
        feasible: The points that may be measured; None where all may.

    Attributes:
        axes: The axes.
        feasible: The points that may be measured; None where all may.
        lengths: The number of values on each axis.
        words: The axes of more than one word, which have no order.
        free: All other axes with more than one value: along these a simplex moves.
        counts: Those of them without values below 0, which can be halved and doubled.
        size: The number of points.
    """

    def __init__(self, axes: Sequence[Axis], feasible: Feasible | None = None) -> None:
        self.axes = tuple(axes)
        self.feasible = feasible
        self.lengths = [len(axis) for axis in axes]
        several = [i for i, length in enumerate(self.lengths) if length > 1]
        self.words = Words({i: self.lengths[i] for i in several if axes[i].words})
        self.free = [i for i in several if not axes[i].words]
        self.counts = [i for i in self.free if axes[i].values[0] >= 0]
        self.size = math.prod(self.lengths)

    @property
    def dimension(self) -> int:
        """How many axes can be searched."""
        return len(self.free) + len(self.words)

    def allows(self, point: Point) -> bool:
        """Whether a point may be measured."""
        return self.feasible is None or point in self.feasible

    def is_exhausted(self, known: Collection[Point]) -> bool:
        """Whether every point that may be measured is known."""
        if self.feasible is None or not known:
            return len(known) >= self.size
        return next(self.feasible.unknown(known), None) is None

    def places(self, points: Iterable[Point]) -> Matrix:
        """Where some points lie, from 0 to 1 on each axis; a row for each.

        Where a word stands says nothing but which it is: what moves among points with the same
        words keeps them.
        """
        columns = zip(self.axes, zip(*points, strict=True), strict=True)
        found = [axis.coordinates(column) for axis, column in columns]
        rows: Matrix = np.array(found).T.copy()
        return rows

    def features(self, points: Iterable[Point]) -> Matrix:
        """Where some points lie on the free axes, and from 0 to 1 the product of their values.

        Threads that run at once are a product: half the intra-op and twice the inter-op threads
        load a machine alike. Words are columns of their own, and in no product.
        """
        points = list(points)
        places = self.spots(points)
        if not self.counts[1:]:  # a product has two factors or more
            return places
        span = np.sum([self.axes[i].octaves for i in self.counts])
        logarithms = [self.axes[i].octaves_up([point[i] for point in points]) for i in self.counts]
        products = np.sum(logarithms, axis=0)[:, None] / span
        return np.hstack([places, products])

    def spots(self, points: Sequence[Point]) -> Matrix:
        """Where some points lie on the free axes, and a column for each word."""
        places = self.places(points)[:, self.free]
        return np.hstack([places, self.words.columns(points)]) if self.words else places

    def snap(self, coordinates: Vector) -> Point:
        """The nearest lattice point; outside the bounds, the nearest on them."""
        return tuple(axis.nearest(float(c)) for axis, c in zip(self.axes, coordinates, strict=True))

    def steps_from(self, origin: Point, share: float) -> list[Point]:
        """From `origin` one step along each axis, towards its farther end and `share` of it.

        Where that may not be measured, towards the nearer end; where there is none, as it is.
        """
        found = []
        for i in self.free:
            far, near = along(origin, i, self._steps(i, origin[i], share))
            turns = not self.allows(far) and near != origin and self.allows(near)
            found.append(near if turns else far)
        return found

    def _steps(self, i: int, index: int, share: float) -> list[int]:
        """`share` of an axis towards its farther end, and towards its nearer one."""
        axis = self.axes[i]
        here = axis.coordinate(index)
        sign = 1 if here <= MIDDLE else -1
        far, near = (axis.nearest(here + way * share) for way in (sign, -sign))
        return [far + sign if far == index else far, near]

    def octaves(self, point: Point) -> list[Point]:
        """The points with one value halved and another doubled, then with one halved or doubled."""
        axes = self.axes
        moved = {i: [axes[i].half(point[i]), axes[i].double(point[i])] for i in self.counts}
        found = [
            (*point[:i], a, *point[i + 1 : j], b, *point[j + 1 :])
            for i, j in itertools.combinations(self.counts, 2)
            for a, b in zip(moved[i], reversed(moved[j]), strict=True)
        ]
        for i in self.counts:
            found += along(point, i, moved[i])
        return [p for p in distinct(found) if p != point]

    def neighbours(self, point: Point) -> list[Point]:
        """The points one lattice step away along an axis, or one word."""
        found = []
        for i in self.free:
            there = (point[i] - 1, point[i] + 1)
            found += along(point, i, [t for t in there if 0 <= t < self.lengths[i]])
        return found + self.words.others(point)

    def passed(self, point: Point) -> list[tuple[Point, Point]]:
        """Each of its neighbours behind which the axis goes on, with the point behind it."""
        found = []
        for i in self.free:
            for sign in (-1, 1):
                if 0 <= point[i] + 2 * sign < self.lengths[i]:
                    near, behind = along(point, i, [point[i] + sign, point[i] + 2 * sign])
                    found.append((near, behind))
        return found

    def leaps(self, best: Point, known: Iterable[Point]) -> list[Point]:
        """On each long axis, twice as far ahead of the best point as the next known one is behind.

        Steps of one lattice step would take for ever there. Hooke & Jeeves (1961) move so. No
        leap goes to a known point, or beyond one.
        """
        found = []
        for i in (i for i in self.free if self.lengths[i] > LONG):
            line = [p[i] - best[i] for p in known if (*p[:i], best[i], *p[i + 1 :]) == best]
            for sign in (-1, 1):
                behind = min((-sign * away for away in line if sign * away < 0), default=0)
                ahead = min((sign * away for away in line if sign * away > 0), default=math.inf)
                there = best[i] + 2 * sign * behind
                if 2 * behind < ahead and there != best[i] and 0 <= there < self.lengths[i]:
                    found += along(best, i, [there])
        return found

    def strides(self, point: Point) -> list[Point]:
        """The points 1, 2, 4, ... lattice steps away along an axis, both ways, and the ends."""
        found = []
        for i in self.free:
            last = self.lengths[i] - 1
            steps = [2**k for k in range(min(last.bit_length(), MOST_HALVINGS))]
            there = [point[i] + sign * step for step in steps for sign in (-1, 1)]
            found += along(point, i, [t for t in (0, last, *there) if 0 <= t <= last])
        return found

    def halvings(self, point: Point, start: Point) -> list[Point]:
        """From `point` with up to two axes at a half, a quarter, ... of the start's or top value.

        Thread counts that fit a machine are such: all logical CPUs, half of them where each core
        has two, the share of one socket.
        """
        levels = {}
        for i in self.free:
            axis = self.axes[i]
            levels[i] = sorted({*axis.halvings(start[i]), *axis.halvings(len(axis) - 1)})
        found = []
        for i in self.free:
            found += along(point, i, levels[i])
        for i, j in itertools.combinations(self.free, 2):
            for halved in along(point, i, levels[i]):
                found += along(halved, j, levels[j])
        return found

    def is_flat(self, simplex: Sequence[Point]) -> bool:
        """Whether the vertices lie in one plane; exact, however long the axes are."""
        first, *others = simplex
        return _is_singular([[point[i] - first[i] for i in self.free] for point in others])

    def simplex(self, points: Iterable[Point]) -> list[Point]:
        """The first d + 1 points that do not lie in one plane; fewer where all do.

        All have the words of the first.
        """
        found: list[Point] = []
        basis = np.zeros((0, len(self.free)))
        for point in points:
            if not found:
                found = [point]
                continue
            if not self.words.alike(point, found[0]):
                continue
            # As shares of the axes: else a short axis counts for nothing beside a very long one.
            edge = (np.subtract(point, found[0]) / self.lengths)[self.free]
            edge /= np.linalg.norm(edge)
            left = edge - basis.T @ (basis @ edge)
            length = np.linalg.norm(left)
            if length > ALMOST_FLAT:
                found.append(point)
                basis = np.vstack([basis, left / length])
            if len(found) > len(self.free):
                break
        return found


def lattice_of(space: IntegerSpace, constraints: Constraints) -> Lattice:
    """The lattice of a space, where only points that keep the constraints may be measured.

    Raises:
        InvalidInputError: A constraint does not fit the space.
    """
    return Lattice(space.axes, Feasible(space, constraints) if constraints else None)


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
