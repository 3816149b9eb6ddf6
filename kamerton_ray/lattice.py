"""Lattice: the geometry of a bounded integer lattice whose axes have scales."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from kamerton_ray.space import Axis, Point

SMALL = 1024
"""Up to this many points a lattice is looked at as a whole, beyond by a sample."""

SAMPLE = 256

Vector = npt.NDArray[np.float64]


class Lattice:
    """The points of some axes, and where they lie in the unit cube.

    Args:
        axes: The axes; one with a single value takes no part in any move.

    Attributes:
        lengths: The number of values on each axis.
        free: The axes with more than one value.
        size: The number of points.
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        self._axes = tuple(axes)
        self.lengths = [len(axis) for axis in axes]
        self.free = [i for i, length in enumerate(self.lengths) if length > 1]
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

    def neighbours(self, point: Point) -> list[Point]:
        """The points one lattice step away along an axis."""
        return [
            (*point[:i], there, *point[i + 1 :])
            for i in self.free
            for there in (point[i] - 1, point[i] + 1)
            if 0 <= there < self.lengths[i]
        ]

    def is_flat(self, simplex: Sequence[Point]) -> bool:
        """Whether the vertices lie in one plane; between integers the determinant is one, too."""
        edges = np.array(simplex[1:], dtype=float) - np.array(simplex[0], dtype=float)
        return bool(abs(np.linalg.det(edges[:, self.free])) < 0.5)  # noqa: PLR2004

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
            rows = np.random.default_rng(seed).random((SAMPLE, len(self._axes)))
            # The last one makes sure that there is one.
            last = (point for point in self._every_point() if point not in known)
            candidates = itertools.chain(map(self.snap, rows), itertools.islice(last, 1))
        unknown = [point for point in candidates if point not in known]
        places = np.array([self.coordinates(point) for point in known])
        room = [np.min(np.sum((places - self.coordinates(p)) ** 2, axis=1)) for p in unknown]
        return unknown[int(np.argmax(room))]

    def _every_point(self) -> Iterable[Point]:
        return itertools.product(*(range(length) for length in self.lengths))
