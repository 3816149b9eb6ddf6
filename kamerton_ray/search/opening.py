"""The first points: what is measured around the start, before anything is known."""

from __future__ import annotations

import itertools

from kamerton_ray.search.axis import Axis
from kamerton_ray.search.lattice import MIDDLE, Lattice
from kamerton_ray.search.points import Point, along, distinct

FEW = 3
"""In a range from 0 with more values than this, 0 often means "whatever the default is"."""


def survey(lattice: Lattice, start: Point) -> list[Point]:
    """What to measure beside the start, if several points can be measured at once.

    First the far end, the ridge down from it and what lies beside that; then the start's halves.
    Under a constraint the exchange of two values comes next to the end.
    """
    end = far_end(lattice, start)
    ridge = trades(lattice, end)
    beside = itertools.chain.from_iterable(zip(*map(lattice.octaves, ridge), strict=False))
    first, halves = first_steps(lattice, start), lattice.halvings(end, start)
    return distinct([end, *exchanges(lattice, end), *ridge, *beside, *first, *halves])


def far_end(lattice: Lattice, point: Point) -> Point:
    """The point with the shortest axis at its farther end."""
    if not lattice.free:
        return point
    i = _shortest(lattice)
    axis = lattice.axes[i]
    there = len(axis) - 1 if axis.coordinate(point[i]) < MIDDLE else _low_end(axis)
    return along(point, i, [there])[0]


def exchanges(lattice: Lattice, point: Point) -> list[Point]:
    """`point` with the values of two axes exchanged, where a constraint ties one to the other.

    So it is where one can only reach its end if the other falls. From one process with all threads
    this leads to as many processes with one each; what lies between loads the machine alike.
    """
    if lattice.feasible is None:
        return []
    found = []
    for i, j in itertools.permutations(lattice.counts, 2):
        one, other = lattice.axes[i], lattice.axes[j]
        (end,) = along(point, i, [len(one) - 1])
        (paid,) = along(end, j, [0])
        if lattice.allows(paid) and not lattice.allows(end):
            (half,) = along(point, i, [one.closest(other.values[point[j]])])
            found += along(half, j, [other.closest(one.values[point[i]])])
    return [p for p in distinct(found) if p != point and lattice.allows(p)]


def first_steps(lattice: Lattice, point: Point) -> list[Point]:
    """From `point` a step on each longer axis: to half the value, or from low half the axis up."""
    found = []
    for i, step in zip(lattice.free, lattice.steps_from(point, 0.5), strict=True):
        half = lattice.axes[i].halvings(point[i])[1:2]
        falls = half and step[i] < point[i]
        if i != _shortest(lattice):
            found += along(point, i, half) if falls else [step]
    return found


def trades(lattice: Lattice, end: Point) -> list[Point]:
    """From the low end of the shortest axis: twice its value for half the value on another.

    Operations side by side share the machine, so the products that fit it are a ridge.
    """
    short = _shortest(lattice)
    first = first_steps(lattice, end)
    if short not in lattice.counts or end[short] != _low_end(lattice.axes[short]):
        return first
    twice = lattice.axes[short].double(end[short])
    return [traded for point in first for traded in along(point, short, [twice])]


def _shortest(lattice: Lattice) -> int:
    """The axis with the fewest values, of equals the last."""
    return min(reversed(lattice.free), key=lambda axis: lattice.lengths[axis], default=0)


def _low_end(axis: Axis) -> int:
    """The index of the lowest value that is a number of its own, not the default in disguise."""
    return int(axis.values[0] == 0 and len(axis) > FEW)
