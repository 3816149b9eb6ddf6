"""Spread: points from all over a lattice, and the nearest to a place that may be measured."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.search.arrays import Matrix, Vector
from kamerton_ray.search.axis import Axis
from kamerton_ray.search.lattice import MIDDLE, Lattice
from kamerton_ray.search.points import Point

SMALL = 1024
"""A lattice with up to this many points is looked at as a whole, a larger one by a sample."""

SAMPLE = 256

AT_A_TIME = 512
"""The distances to this many known points are computed at once."""


def check_start(lattice: Lattice, first: Sequence[Point]) -> None:
    """Refuse start points that break a constraint, and constraints that nothing keeps.

    Raises:
        InvalidInputError: One does, or nothing was found.
    """
    if lattice.feasible is None:
        return
    for point in first:
        lattice.feasible.check(point, "a start point")
    if not first:
        middle(lattice)


def middle(lattice: Lattice) -> Point:
    """The point in the middle of every axis, or the nearest that may be measured.

    It has the first of the words of each axis.

    Raises:
        InvalidInputError: None was found.
    """
    return near(lattice, tuple(map(middle_of, lattice.axes)))


def middle_of(axis: Axis) -> int:
    """The index in the middle of an axis; the first where it has words, which have no middle."""
    return 0 if axis.words else axis.nearest(MIDDLE)


def near(lattice: Lattice, point: Point) -> Point:
    """The point, or the nearest that may be measured.

    Raises:
        InvalidInputError: None was found.
    """
    return point if lattice.allows(point) else _nearest(lattice, point)


def emptiest(lattice: Lattice, known: Collection[Point], *, seed: Sequence[int]) -> Point:
    """The point farthest from every known one; on a large lattice, of a sample.

    Args:
        lattice: The lattice.
        known: The points to keep away from; not all of the lattice.
        seed: Settles the sample. Give another one each time, so that no generator's state
            has to be kept.
    """
    around = spread(lattice, known, seed=seed)
    unknown = [point for point in around if point not in known and lattice.allows(point)]
    nearest = _nearest_squares(lattice.spots(unknown), lattice.spots(list(known)))
    return unknown[int(np.argmax(nearest.round(12)))]


def _nearest_squares(places: Matrix, taken: Matrix) -> Vector:
    """How far the nearest of those that are taken lies from each place, squared."""
    # |a - b|^2 = |a|^2 + |b|^2 - 2 ab, for as many b at a time as the processor's cache holds.
    nearest, doubled = np.full(len(places), np.inf), 2 * places.T
    for some in (taken[i : i + AT_A_TIME] for i in range(0, len(taken), AT_A_TIME)):
        apart = (some**2).sum(axis=1, keepdims=True) - some @ doubled
        np.minimum(nearest, apart.min(axis=0), out=nearest)
    nearest += (places**2).sum(axis=1)
    return nearest


def spread(lattice: Lattice, known: Collection[Point], *, seed: Sequence[int]) -> Iterable[Point]:
    """Points all over the lattice: those that are not known, or on a large one a sample."""
    unknown = _unknown(lattice, known)
    if lattice.size <= SMALL:
        return unknown
    rows = np.zeros((SAMPLE, len(lattice.axes)))
    searched = sorted([*lattice.free, *lattice.words])
    rows[:, searched] = np.random.default_rng(seed).random((SAMPLE, lattice.dimension))
    # The sample may hold known points only; the last one is unknown.
    return itertools.chain(map(lattice.snap, rows), itertools.islice(unknown, 1))


def _unknown(lattice: Lattice, known: Collection[Point]) -> Iterator[Point]:
    """The points that may be measured and are not known."""
    if lattice.feasible is not None:
        return lattice.feasible.unknown(known)
    return (point for point in _every_point(lattice) if point not in known)


def _every_point(lattice: Lattice) -> Iterable[Point]:
    """The points in order, one at a time: `itertools.product` would list each axis first."""
    return (_numbered(lattice, number) for number in range(lattice.size))


def _numbered(lattice: Lattice, number: int) -> Point:
    """The point with this number, where the last axis counts the units."""
    indices = []
    for length in reversed(lattice.lengths):
        number, index = divmod(number, length)
        indices.append(index)
    return tuple(reversed(indices))


def _nearest(lattice: Lattice, target: Point) -> Point:
    """A point near this one that may be measured.

    Raises:
        InvalidInputError: None was found.
    """
    around = [*lattice.halvings(target, target), *spread(lattice, (), seed=(0,))]
    candidates = list(filter(lattice.allows, around))
    if not candidates:
        whole = lattice.feasible is not None and lattice.feasible.is_whole
        raise InvalidInputError(
            "no configuration was found that keeps all constraints"
            + ("" if whole else "; give one as a start point")
        )
    found, nearer = None, _nearest_of(lattice, candidates, target)
    while found != nearer:  # each is nearer than the one before
        found = nearer
        steps = filter(lattice.allows, lattice.strides(found) + lattice.words.others(found))
        nearer = _nearest_of(lattice, [found, *steps], target)
    return nearer


def _nearest_of(lattice: Lattice, points: Sequence[Point], target: Point) -> Point:
    apart = ((lattice.spots(points) - lattice.spots([target])) ** 2).sum(axis=1)
    return points[int(apart.argmin())]
