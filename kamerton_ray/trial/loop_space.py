"""The space that Kamerton's loop searches, from what its caller has said of it."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.cpus import usable_cpus
from kamerton_ray.machine.threads import THREADS, thread_bounds
from kamerton_ray.search.space import IntegerSpace

LEAST_UPPER = 64
"""Without bounds an axis that is no thread count goes from 1 to this, or to four times the vertex's
value if that is more."""

PAIR = 2
"""Bounds are a lowest and a highest value."""

Bounds = Sequence[Sequence[int]]


def usual_bounds(start: Sequence[int], *, counts: bool) -> list[tuple[int, int]]:
    """The lowest and the highest value of each axis, where nobody has said them.

    Args:
        start: The vertex. Fields of a named tuple tell which of its values are thread counts.
        counts: Whether it is `[intra, inter]` anyway.
    """
    values = _integers("vertex", start)
    of_counts = thread_bounds(usable_cpus().count)
    fields = THREADS if counts else getattr(start, "_fields", ())
    bounds = []
    for place, value in enumerate(values):
        field = fields[place] if place < len(fields) else ""
        name = next((name for name in THREADS if field.startswith(name[:5])), None)
        low, high = of_counts[name] if name else (1, max(LEAST_UPPER, 4 * value))
        bounds.append((low, max(high, value)))
    return bounds


def space_within(bounds: Bounds, start: Sequence[int]) -> IntegerSpace:
    """The space between bounds, which hold the vertex.

    Raises:
        InvalidInputError: They do not, or are no bounds.
    """
    values = _integers("vertex", start)
    if not values:
        raise InvalidInputError("vertex must hold at least one integer, but got none")
    if len(bounds) != len(values) or any(len(pair) != PAIR for pair in bounds):
        raise InvalidInputError(
            f"bounds must be a pair (low, high) for each of {len(values)} axes, but got {bounds!r}"
        )
    ends = [_integers("bounds", pair) for pair in bounds]
    for value, (low, high) in zip(values, ends, strict=True):
        if not low <= value <= high:
            raise InvalidInputError(
                f"vertex must lie within its bounds, but {value} is not from {low} to {high}"
            )
    return IntegerSpace({f"x{i}": range(low, high + 1) for i, (low, high) in enumerate(ends)})


def first_vertices(
    space: IntegerSpace, start: Sequence[int], sizes: Sequence[int] | None
) -> list[list[int]]:
    """The vertex and those one step beside it along each axis, moved onto the bounds; each once.

    Raises:
        InvalidInputError: The step sizes are not one integer for each axis.
    """
    vertex = _integers("vertex", start)
    points = [vertex, *_beside(vertex, sizes)]
    return [list(point) for point in dict.fromkeys(_inside(space, point) for point in points)]


def _beside(vertex: list[int], sizes: Sequence[int] | None) -> list[list[int]]:
    if sizes is None:
        return []
    steps = _integers("step_sizes", sizes)
    if len(steps) != len(vertex):
        raise InvalidInputError(f"step_sizes must be one for each axis, but got {sizes!r}")
    return [[v + step * (i == j) for j, v in enumerate(vertex)] for i, step in enumerate(steps)]


def _inside(space: IntegerSpace, vertex: list[int]) -> tuple[int, ...]:
    return tuple(
        min(max(value, axis.values[0]), axis.values[-1])
        for axis, value in zip(space.axes, vertex, strict=True)
    )


def _integers(name: str, values: Sequence[int]) -> list[int]:
    try:
        return [int(operator.index(value)) for value in values]
    except TypeError:
        raise InvalidInputError(f"{name} must be integers, but got {values!r}") from None
