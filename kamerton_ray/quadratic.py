"""A quadratic fitted to measured points, and where on the lattice it is lowest."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kamerton_ray.space import Point

MAX_RADIUS = 16
"""How many lattice steps from the centre the fit is trusted at most."""

MAX_CANDIDATES = 10_000
"""How many lattice points are looked at; the radius shrinks with the number of axes to keep it."""

Matrix = npt.NDArray[np.float64]


def lowest_nearby(
    centre: Point, values: dict[Point, float], lengths: Sequence[int]
) -> Point | None:
    """The unmeasured lattice point where a quadratic around `centre` promises to be lowest.

    Nelder & Mead (1965, appendix) fit a quadratic to their final simplex and its edges' midpoints;
    here the points are those already measured nearest to the centre, twice as many as there are
    terms, by least squares. Distances are in lattice steps, whatever the scale of an axis.

    Args:
        centre: The best point.
        values: The finite values measured so far, the centre's included.
        lengths: The lattice's number of values on each axis.

    Returns:
        The point, or None where the fit is undetermined or promises nothing below the centre.
    """
    free = [i for i, length in enumerate(lengths) if length > 1]
    terms = (len(free) + 1) * (len(free) + 2) // 2
    if len(values) < terms:
        return None
    offsets = (np.array(list(values), dtype=float) - np.array(centre))[:, free]
    nearest = np.argsort(np.sum(offsets**2, axis=1), kind="stable")[: 2 * terms]
    design = _terms(offsets[nearest])
    measured = np.array(list(values.values()))[nearest]
    coefficients, _, rank, _ = np.linalg.lstsq(design, measured, rcond=None)
    candidates = [point for point in _box(centre, lengths, len(free)) if point not in values]
    if rank < terms or not candidates:
        return None
    away = (np.array(candidates, dtype=float) - np.array(centre))[:, free]
    predicted = _terms(away) @ coefficients
    lowest = int(np.argmin(predicted))
    # Less than rounding errors is no promise.
    promise = values[centre] - predicted[lowest]
    return candidates[lowest] if promise > 1e-9 * float(np.ptp(measured)) else None


def _terms(offsets: Matrix) -> Matrix:
    """The terms of a full quadratic, a row for each offset: 1, x_i and x_i x_j."""
    count, d = offsets.shape
    products = [offsets[:, i] * offsets[:, j] for i in range(d) for j in range(i, d)]
    return np.column_stack([np.ones(count), offsets, *products])


def _box(centre: Point, lengths: Sequence[int], free: int) -> itertools.product[Point]:
    """The lattice points around the centre, as far as MAX_RADIUS and MAX_CANDIDATES allow."""
    radius = min(MAX_RADIUS, (int(MAX_CANDIDATES ** (1 / max(free, 1))) - 1) // 2)
    return itertools.product(
        *(
            range(max(0, i - radius), min(length, i + radius + 1))
            for i, length in zip(centre, lengths, strict=True)
        )
    )
