"""A quadratic fitted to measured points, and where on the lattice it is lowest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from kamerton_ray.search.space import Point

MAX_RADIUS = 16
"""How many lattice steps from the centre the fit is trusted at most."""

MAX_CANDIDATES = 10_000
"""How many lattice points are looked at; the radius shrinks with the number of axes to keep it."""

Matrix = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int_]


def lowest_nearby(
    centre: Point, values: dict[Point, float], lengths: Sequence[int]
) -> Point | None:
    """The unmeasured lattice point where a quadratic around `centre` promises to be lowest.

    Nelder & Mead (1965, appendix) fit a quadratic to their final simplex and its edges' midpoints;
    here the points are those already measured nearest to the centre, twice as many as there are
    terms, by least squares. Distances are in lattice steps, whatever the scale of an axis.

    Args:
        centre: The best point.
        values: The values measured so far, infinite where a point failed; the centre's is finite.
        lengths: The lattice's number of values on each axis.

    Returns:
        The point, or None where the fit is undetermined, or promises less below the centre than
        its own standard error.
    """
    free = [i for i, length in enumerate(lengths) if length > 1]
    terms = (len(free) + 1) * (len(free) + 2) // 2
    middle = np.array(centre)
    known = np.fromiter(chain.from_iterable(values), int).reshape(len(values), len(lengths))
    measured = np.fromiter(values.values(), float)
    worked = np.isfinite(measured)
    offsets = (known[worked][:, free] - middle[free]).astype(float)
    if len(offsets) < terms:
        return None
    nearest = np.argsort((offsets**2).sum(axis=1), kind="stable")[: 2 * terms]
    # By a power of two, which loses nothing, lest the squares of the largest values overflow.
    exponent = -math.frexp(float(np.abs(measured[worked][nearest]).max()))[1]
    fitted = np.ldexp(measured[worked][nearest], exponent)
    design = _terms(offsets[nearest])
    coefficients, _, rank, _ = np.linalg.lstsq(design, fitted, rcond=None)
    if rank < terms:
        return None
    low, high = _box(middle, lengths, len(free))
    shape = tuple(int(n) for n in high - low)
    away = np.indices(shape).reshape(len(shape), -1).T + (low - middle)
    there = _terms(away[:, free].astype(float))
    predicted = there @ coefficients
    inside = known[((low <= known) & (known < high)).all(axis=1)]
    predicted[np.ravel_multi_index(tuple((inside - low).T), shape)] = np.inf
    lowest = int(predicted.argmin())
    # Less than rounding errors is no promise, nor is less than the prediction's standard error.
    promise = math.ldexp(values[centre], exponent) - predicted[lowest]
    least = max(1e-9 * np.ptp(fitted), _standard_error(design, fitted, coefficients, there[lowest]))
    if not promise > least:
        return None
    return tuple(int(i) for i in middle + away[lowest])


def _standard_error(design: Matrix, fitted: Vector, coefficients: Vector, term: Vector) -> float:
    """How far off the fit's prediction at `term` is, by how far off it is where it was measured."""
    misfit = fitted - design @ coefficients
    freedom = max(1, len(fitted) - len(term))
    leverage = np.linalg.lstsq(design.T, term, rcond=None)[0]
    return math.sqrt(misfit @ misfit / freedom) * float(np.linalg.norm(leverage))


def _terms(offsets: Matrix) -> Matrix:
    """The terms of a full quadratic, a row for each offset: 1, x_i and x_i x_j."""
    count, d = offsets.shape
    products = [offsets[:, i] * offsets[:, j] for i in range(d) for j in range(i, d)]
    return np.column_stack([np.ones(count), offsets, *products])


def _box(middle: Indices, lengths: Sequence[int], free: int) -> tuple[Indices, Indices]:
    """The lowest and highest corner that MAX_RADIUS and MAX_CANDIDATES allow, the last outside."""
    radius = min(MAX_RADIUS, (int(MAX_CANDIDATES ** (1 / max(free, 1))) - 1) // 2)
    return np.maximum(middle - radius, 0), np.minimum(middle + radius + 1, lengths)
