"""The simplex on the lattice: one iteration of the method, and all the moves it may make.

A move is rounded to the nearest lattice point within the bounds. It is void where it would make the
simplex flat, as one that lands on a vertex does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kamerton_ray.search.arrays import Vector
from kamerton_ray.search.lattice import Lattice
from kamerton_ray.search.moves import (
    MOVES,
    centroid,
    contract_inside,
    contract_outside,
    expand,
    reflect,
    shrink,
)
from kamerton_ray.search.points import Point

Simplex = Sequence[Point]


def iterated(
    simplex: Simplex, at: Callable[[Point], float], lattice: Lattice
) -> tuple[Point, ...] | None:
    """The simplex after one iteration of Lagarias et al. (1998, section 2), or None.

    The numbers of the steps, and how ties are broken, are theirs.

    Args:
        simplex: Its vertices.
        at: The value at a point.
        lattice: Where the points lie.

    Returns:
        The vertices; None where the simplex has collapsed, since it cannot even shrink.
    """
    if not simplex[1:]:
        return None  # a point alone, where there are only words to choose
    # Step 1, order; of equals the vertex that stood first stays first.
    ordered = sorted(simplex, key=at)
    kept = ordered[:-1]
    best, next_worst, worst = (at(ordered[i]) for i in (0, -2, -1))
    vertices = lattice.places(ordered)
    middle, last = centroid(vertices[:-1]), vertices[-1]
    # Step 2, reflect.
    reflected = landed(ordered, reflect(middle, last), lattice)
    at_reflected = at(reflected)
    if best <= at_reflected < next_worst:
        return (*kept, reflected)
    # Step 3, expand.
    if at_reflected < best:
        expanded = landed(ordered, expand(middle, last), lattice)
        return (*kept, expanded if at(expanded) < at_reflected else reflected)
    # Step 4, contract: outside where the reflection is better than the worst, else inside.
    outside = at_reflected < worst
    contract = contract_outside if outside else contract_inside
    contracted = landed(ordered, contract(middle, last), lattice)
    at_contracted = at(contracted)
    if at_contracted <= at_reflected if outside else at_contracted < worst:
        return (*kept, contracted)
    # Step 5, shrink.
    return shrunk(ordered, lattice)


def landed(ordered: Simplex, place: Vector, lattice: Lattice) -> Point:
    """The point that the last vertex moves to; where it stands if the move is void."""
    point = lattice.snap(place)
    return ordered[-1] if lattice.is_flat([*ordered[:-1], point]) else point


def shrunk(ordered: Simplex, lattice: Lattice) -> tuple[Point, ...] | None:
    """Every vertex pulled half the way to the first; None if none moves or they would lie flat."""
    vertices = lattice.places(ordered)
    pulled = tuple(lattice.snap(shrink(vertices[0], vertex)) for vertex in vertices)
    return None if pulled == tuple(ordered) or lattice.is_flat(pulled) else pulled


def every_move(simplex: Simplex, lattice: Lattice) -> list[Point]:
    """Where each vertex but the first may go; nowhere while there are too few vertices."""
    if len(simplex) <= len(lattice.free):
        return []
    vertices = lattice.places(simplex)
    found = []
    for worst in range(1, len(simplex)):
        middle, vertex = centroid(np.delete(vertices, worst, axis=0)), vertices[worst]
        found += [lattice.snap(move(middle, vertex)) for move in MOVES]
        found.append(lattice.snap(shrink(vertices[0], vertex)))
    return found
