"""Feasible: the points of a lattice that keep all constraints.

A product of values that are not below 0 never falls along an axis, so that all that lies beyond a
point that breaks an `AtMost` is passed over. Functions have to be called point by point.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.search.constraints import AtMost, Constraint, Constraints, described, is_kept
from kamerton_ray.search.points import Point, along
from kamerton_ray.search.space import IntegerSpace

MOST_REFUSED = 2**15
"""After so many points that a function has refused no more are looked at in order."""


@dataclass(frozen=True)
class Limit:
    """An `AtMost` of a lattice.

    Attributes:
        axes: The axes whose values are multiplied.
        said: What the caller has said.
    """

    axes: tuple[int, ...]
    said: AtMost


class Feasible:
    """The points that keep all constraints; nothing else is ever asked for.

    Args:
        space: The space.
        constraints: At least one.

    Raises:
        InvalidInputError: A product names an unknown parameter, one of words or one with values
            below 0, or no point keeps the products.
    """

    def __init__(self, space: IntegerSpace, constraints: Constraints) -> None:
        self._space = space
        self._rules = [one for one in constraints if not isinstance(one, AtMost)]
        self._limits = [_limit(space, one) for one in constraints if isinstance(one, AtMost)]
        self._kept: dict[Point, bool] = {}  # what the functions said, which may take long
        self._found: list[Point] = []
        self._refused = 0
        self._next: Point | None = (0,) * len(space.axes)
        if (broken := self._beyond(self._next)) is not None:
            raise InvalidInputError(f"no configuration of this space keeps {broken}")

    def __contains__(self, point: Point) -> bool:
        return self._beyond(point) is None and self._is_kept(point)

    def check(self, point: Point, what: str) -> None:
        """Raise `InvalidInputError` if a point breaks a constraint, naming it `what`."""
        if point in self:
            return
        config = self._space.config
        broken: Constraint = self._beyond(point) or next(
            rule for rule in self._rules if not is_kept(rule, config(point))
        )
        raise InvalidInputError(
            f"{what} must keep all constraints, but got {config(point)!r}, which breaks "
            f"{described(broken)}"
        )

    def _beyond(self, point: Point) -> AtMost | None:
        axes = self._space.axes
        for limit in self._limits:
            if math.prod(axes[i].values[point[i]] for i in limit.axes) > limit.said.most:
                return limit.said
        return None

    def _is_kept(self, point: Point) -> bool:
        if not self._rules:
            return True
        if point not in self._kept:
            config = self._space.config  # a fresh one for each: a function may change it
            self._kept[point] = all(is_kept(rule, config(point)) for rule in self._rules)
        return self._kept[point]

    # --- all of them ----------------------------------------------------------------------------

    def unknown(self, known: Collection[Point]) -> Iterator[Point]:
        """The feasible points that are not known.

        In order; where the functions refuse too many, then the neighbours of the known ones.
        """
        yield from (point for point in self._in_order() if point not in known)
        if self._next is not None:
            around = (near for point in known for near in self._neighbours(point))
            yield from (point for point in around if point not in known and point in self)

    @property
    def is_whole(self) -> bool:
        """Whether every point was looked at; not so where the functions refused too many."""
        return self._next is None

    def _in_order(self) -> Iterator[Point]:
        """The feasible points in order, as far as they can be found; each is looked for once."""
        number = 0
        while number < len(self._found) or self._find():
            yield self._found[number]
            number += 1

    def _find(self) -> bool:
        """Look for one more point."""
        while (point := self._next) is not None and self._refused < MOST_REFUSED:
            kept = self._is_kept(point)
            self._next = self._after(point)
            if kept:
                self._found.append(point)
                return True
            self._refused += 1
        return False

    def _after(self, point: Point) -> Point | None:
        """The next point within all limits, where the last axis counts the units."""
        for i in reversed(range(len(point))):
            longer = (*point[:i], point[i] + 1, *(0 for _ in point[i + 1 :]))
            if longer[i] < len(self._space.axes[i]) and self._beyond(longer) is None:
                return longer
        return None

    def _neighbours(self, point: Point) -> Iterator[Point]:
        for i, axis in enumerate(self._space.axes):
            there = (point[i] - 1, point[i] + 1)
            yield from along(point, i, [t for t in there if 0 <= t < len(axis)])


def _limit(space: IntegerSpace, said: AtMost) -> Limit:
    names = [axis.name for axis in space.axes]
    for name in said.product:
        if name not in names:
            raise InvalidInputError(
                f"a constraint names {name!r}, but the tuned parameters are {names}"
            )
    axes = tuple(names.index(name) for name in said.product)
    for i in axes:
        if space.axes[i].words:
            raise InvalidInputError(
                f"a product's parameters must be numbers, but {names[i]!r} takes "
                f"{list(space.axes[i].words)}"
            )
        if (lowest := space.axes[i].values[0]) < 0:
            raise InvalidInputError(
                f"a product's parameters must be 0 or above, but the lowest {names[i]!r} is "
                f"{lowest}"
            )
    return Limit(axes, said)
