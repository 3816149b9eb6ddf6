"""Where a search starts: the points of configurations that need not give every parameter."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.search.constraints import Constraints
from kamerton_ray.search.lattice import lattice_of
from kamerton_ray.search.points import Point
from kamerton_ray.search.space import IntegerSpace
from kamerton_ray.search.spread import middle_of, near
from kamerton_ray.search.tree import names

NOTHING: Mapping[str, int] = MappingProxyType({})


def start_point(
    space: IntegerSpace,
    constraints: Constraints,
    config: Mapping[str, object],
    usual: Mapping[str, int] = NOTHING,
) -> Point:
    """The point of a configuration; what it leaves out is as usual, or in the middle of its axis.

    Where that would break a constraint it is the nearest that breaks none. What is given stays.

    Args:
        space: The space.
        constraints: What the point has to keep where something is left out.
        config: What is given.
        usual: The usual values of parameters by name, for which the closest on the axis is taken.

    Raises:
        InvalidInputError: A value is not on the lattice; or something is left out, and there is a
            name that the space does not have, or nothing keeps the constraints.
    """
    missing = space.missing(config)
    if not missing:
        return space.point(config)
    _check_names(space, config)
    part = space.narrowed(config)
    wanted = tuple(
        axis.closest(usual[axis.name]) if axis.name in usual else middle_of(axis)
        for axis in part.axes
    )
    try:
        found = near(lattice_of(part, constraints), wanted)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"a start point must keep all constraints, but none was found that gives {missing} "
            f"beside {dict(config)!r}: {error}"
        ) from error
    return space.point(part.config(found))


def _check_names(space: IntegerSpace, config: Mapping[str, object]) -> None:
    """Refuse names that the space does not have: one may be a slip for what is left out."""
    known = set(names(space.config((0,) * len(space.axes))))
    if unknown := [name for name in names(config) if name and name not in known]:
        raise InvalidInputError(
            "a start point may leave parameters out, but must name no others than "
            f"{sorted(known)}, but got {unknown[0]!r} in {dict(config)!r}"
        )
