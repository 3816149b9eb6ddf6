"""The last few points, which are measured again: the lowest of many noisy values flatters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kamerton_ray.numeric import mean
from kamerton_ray.search.arrays import Flags, Vector
from kamerton_ray.search.heights import Heights
from kamerton_ray.search.lattice import Lattice
from kamerton_ray.search.measurements import Measurements
from kamerton_ray.search.points import Point
from kamerton_ray.search.surrogate import Surrogate

MOST_FINALISTS = 3
"""At most this many points are measured again at the end."""


def contenders(known: Measurements, lattice: Lattice) -> list[Point]:
    """The points that cannot be told apart from the best, best first; none where it is alone."""
    ranked = known.worked()
    if not ranked[1:] or is_exact(known):
        return []
    values = known.of(ranked)
    like = _alike(known, lattice, values, lowest=values[0], errors=2)
    found = [point for point, alike in zip(ranked, like, strict=True) if alike]
    return found[:MOST_FINALISTS] if found[1:] else []


def undecided(known: Measurements, lattice: Lattice, finalists: Sequence[Point]) -> list[Point]:
    """The finalists whose fresh values leave them a chance; all while some have none yet."""
    fresh = fresh_means(known, finalists)
    if not fresh:
        return list(finalists)
    ranked = known.worked()
    values = np.array([fresh.get(point, known.values[point]) for point in ranked])
    like = _alike(known, lattice, values, lowest=min(fresh.values()), errors=1)
    likely = {point for point, alike in zip(ranked, like, strict=True) if alike}
    return [point for point, value in fresh.items() if point in likely and math.isfinite(value)]


def recommended(known: Measurements, finalists: Sequence[Point]) -> tuple[Point, float] | None:
    """The best point with its value, which is that of the fresh values once all finalists have one.

    None while no point has worked.
    """
    if known.best is None:
        return None
    fresh = fresh_means(known, finalists)
    if worked := {point: value for point, value in fresh.items() if math.isfinite(value)}:
        point = min(worked, key=lambda finalist: worked[finalist])
        return point, worked[point]
    # What fails when it is measured again comes behind everything that has not failed.
    point = next((point for point in known.worked() if point not in fresh), known.best)
    return point, known.values[point]


def fresh_means(known: Measurements, finalists: Sequence[Point]) -> dict[Point, float]:
    """The mean of each finalist's fresh values, infinite where all failed.

    Empty until each finalist has one.
    """
    fresh = {point: known.fresh.get(point, []) for point in finalists}
    if not all(fresh.values()):
        return {}
    worked = {p: [v for v in values if math.isfinite(v)] for p, values in fresh.items()}
    return {point: mean(values) if values else math.inf for point, values in worked.items()}


def is_exact(known: Measurements) -> bool:
    """Whether everything that was measured again came out the same: there is no noise."""
    return bool(known.fresh) and all(
        value == known.values[point] for point, values in known.fresh.items() for value in values
    )


def _alike(
    known: Measurements, lattice: Lattice, values: Vector, *, lowest: float, errors: float
) -> Flags:
    """Which of the values of the points that worked are as good as the lowest.

    They lie above it by no more than so many standard errors of the difference of two values: as
    they were told for the best points, or as the surrogate estimates them on its own scale.
    """
    errors *= math.sqrt(2)
    ranked = known.worked()
    told = [known.noises[point] for point in ranked[:MOST_FINALISTS] if point in known.noises]
    if told:
        with np.errstate(over="ignore"):
            return np.asarray(values <= lowest + errors * np.median(told))
    measured = known.of(ranked)
    noise = Surrogate(lattice.features(ranked), Heights(measured).of(measured)).noise
    scale = Heights(values)
    return np.asarray(scale.of(values) <= scale.of(np.array(lowest)) + errors * noise)
