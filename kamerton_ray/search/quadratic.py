"""A quadratic fitted to measured points, and where on the lattice it is lowest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np

from kamerton_ray.search.arrays import Indices, Matrix, Vector
from kamerton_ray.search.points import Point

MAX_RADIUS = 16
"""The fit is trusted up to this many lattice steps from the centre."""

MAX_CANDIDATES = 10_000
"""How many lattice points are looked at, at most; with more axes the radius is smaller."""


def lowest_nearby(
    centre: Point,
    values: dict[Point, float],
    lengths: Sequence[int],
    *,
    free: Sequence[int] | None = None,
    allows: Callable[[Point], bool] = lambda _: True,
) -> Point | None:
    """The unmeasured lattice point where a quadratic around `centre` promises to be lowest.

    Nelder & Mead (1965, appendix) fit a quadratic to their final simplex and its edges' midpoints;
    here the points are those already measured nearest to the centre, twice as many as there are
    terms, by least squares. Distances are in lattice steps, whatever the scale of an axis.

    Args:
        centre: The best point.
        values: The values measured so far, infinite where a point failed; the centre's is finite.
        lengths: The lattice's number of values on each axis.
        free: The axes along which it is fitted, on points that lie with the centre on all others;
            by default all that have more than one value.
        allows: Whether a point may be measured.

    Returns:
        The point; None where the fit is undetermined, or promises to be below the centre by less
        than its own standard error.
    """
    several = [i for i, length in enumerate(lengths) if length > 1]
    free = several if free is None else list(free)
    terms = (len(free) + 1) * (len(free) + 2) // 2
    middle = np.array(centre)
    known = np.fromiter(chain.from_iterable(values), int).reshape(len(values), len(lengths))
    measured = np.fromiter(values.values(), float)
    worked = np.isfinite(measured)
    if fixed := [i for i in several if i not in free]:
        worked &= (known[:, fixed] == middle[fixed]).all(axis=1)
    offsets = (known[worked][:, free] - middle[free]).astype(float)
    if len(offsets) < terms:
        return None
    nearest = np.argsort((offsets**2).sum(axis=1), kind="stable")[: 2 * terms]
    # Scaled by a power of two, which loses nothing: the largest values' squares would overflow.
    exponent = -math.frexp(float(np.abs(measured[worked][nearest]).max()))[1]
    fitted = np.ldexp(measured[worked][nearest], exponent)
    design = _terms(offsets[nearest])
    coefficients, _, rank, _ = np.linalg.lstsq(design, fitted, rcond=None)
    if rank < terms:
        return None
    low, high = _box(middle, lengths, free)
    shape = tuple(int(n) for n in high - low)
    away = np.indices(shape).reshape(len(shape), -1).T + (low - middle)
    there = _terms(away[:, free].astype(float))
    predicted = there @ coefficients
    inside = known[((low <= known) & (known < high)).all(axis=1)]
    predicted[np.ravel_multi_index(tuple((inside - low).T), shape)] = np.inf
    lowest = next((k for k in _rising(predicted) if allows(_point(middle + away[k]))), None)
    if lowest is None:
        return None
    # Less than rounding errors is no promise, nor is less than the prediction's standard error.
    promise = math.ldexp(values[centre], exponent) - predicted[lowest]
    least = max(1e-9 * np.ptp(fitted), _standard_error(design, fitted, coefficients, there[lowest]))
    if not promise > least:
        return None
    return _point(middle + away[lowest])


def _rising(predicted: Vector) -> Iterator[int]:
    """Where the unmeasured points stand, lowest first; most often the first one is enough."""
    yield int(predicted.argmin())
    order = np.argsort(predicted, kind="stable")[1:]
    yield from order[np.isfinite(predicted[order])].tolist()


def _point(place: Indices) -> Point:
    return tuple(int(i) for i in place)


def _standard_error(design: Matrix, fitted: Vector, coefficients: Vector, term: Vector) -> float:
    """How far off the prediction at `term` may be, by how far off the fit is where it is known."""
    misfit = fitted - design @ coefficients
    freedom = max(1, len(fitted) - len(term))
    leverage = np.linalg.lstsq(design.T, term, rcond=None)[0]
    return math.sqrt(misfit @ misfit / freedom) * float(np.linalg.norm(leverage))


def _terms(offsets: Matrix) -> Matrix:
    """The terms of a full quadratic, a row for each offset: 1, x_i and x_i x_j."""
    count, d = offsets.shape
    products = [offsets[:, i] * offsets[:, j] for i in range(d) for j in range(i, d)]
    return np.column_stack([np.ones(count), offsets, *products])


def _box(middle: Indices, lengths: Sequence[int], free: Sequence[int]) -> tuple[Indices, Indices]:
    """The corners of what MAX_RADIUS and MAX_CANDIDATES allow; the upper one is just outside."""
    radius = np.zeros(len(lengths), int)
    radius[free] = min(MAX_RADIUS, (int(MAX_CANDIDATES ** (1 / max(len(free), 1))) - 1) // 2)
    return np.maximum(middle - radius, 0), np.minimum(middle + radius + 1, lengths)
