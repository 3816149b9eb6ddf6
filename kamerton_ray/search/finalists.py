"""The last few points, which are measured again: the lowest of many noisy values flatters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median_low

import numpy as np

from kamerton_ray.numeric import mean
from kamerton_ray.search.arrays import Vector
from kamerton_ray.search.belief import Beliefs, beliefs
from kamerton_ray.search.heights import LARGEST, Heights
from kamerton_ray.search.lattice import Lattice
from kamerton_ray.search.measurements import Measurements
from kamerton_ray.search.points import Point, distinct

MOST_FINALISTS = 10
"""At most this many points are measured again at the end."""

COMPARED = 24
"""What is believed of them comes from this many of the best points."""

LEAST_ERRORS = 10.0
"""Values within so many standard errors of zero, where these were told, are told apart by their
differences rather than their ratios."""

LEAST_NOISE, MOST_NOISE = 1e-4, 1e4
"""Between these a told standard error is taken seriously, as a height."""

WORTH = 0.0004
"""A point is measured again while the choice is expected to become better by this share."""

QUIET, NOISY = 0.02, 0.08
"""Noise above the first, as a height, lowers what is worth it, by its square: so many times as many
measurements it takes to know as much, and each of them tells as much less. Noise above the second
counts as this (benchmarks/ablation.py)."""

DISTURBED, ENOUGH = 0.25, 3
"""Of a point with enough values one so much higher than their median, as a height, is left out."""


def contenders(known: Measurements) -> list[Point]:
    """The points that may be measured again, best first; none where there is nothing to choose."""
    ranked = known.worked()[:MOST_FINALISTS]
    return ranked if ranked[1:] and not is_exact(known) else []


def worth_repeating(
    known: Measurements, lattice: Lattice, finalists: Sequence[Point], most: int
) -> list[Point]:
    """The finalists that are worth another measurement, the one that tells most first.

    The first comes alone, since a function without noise needs no second. Once some have fresh
    values, the one that is chosen must have one, too. None is measured again more than `most`
    times.
    """
    if is_exact(known) or not (left := _working(known, finalists)):
        return []
    found = _beliefs(known, lattice, left)
    noises, chosen = np.clip(found.noise, QUIET, NOISY), int(found.expected.argmin())
    gradients = found.knowledge_gradients() * (noises / QUIET) ** 2
    if known.fresh and left[chosen] not in known.fresh:
        gradients[chosen] = math.inf
    worth = [left[i] for i in np.argsort(-gradients, kind="stable") if gradients[i] >= WORTH]
    worth = [point for point in worth if len(known.fresh.get(point, ())) < most]
    return worth if known.fresh else worth[:1]


def recommended(
    known: Measurements, lattice: Lattice, finalists: Sequence[Point]
) -> tuple[Point, float] | None:
    """The best point with its value; of one measured again that of its fresh values.

    None while no point has worked.
    """
    if known.best is None:
        return None
    left = [] if is_exact(known) else _working(known, finalists)
    if any(known.fresh.get(point) for point in left):
        point = left[int(_beliefs(known, lattice, left).expected.argmin())]
    else:
        # What fails when it is measured again comes behind everything that has not failed.
        point = next(iter(_working(known, known.worked())), known.best)
    fresh = _finite(known.fresh.get(point, ()))
    return point, mean(fresh) if fresh else known.values[point]


def is_exact(known: Measurements) -> bool:
    """Whether everything that was measured again came out the same: there is no noise."""
    return bool(known.fresh) and all(
        value == known.values[point] for point, values in known.fresh.items() for value in values
    )


def _working(known: Measurements, points: Sequence[Point]) -> list[Point]:
    """Those that have not failed each time they were measured again."""
    fresh = {point: known.fresh.get(point, ()) for point in points}
    return [point for point in points if not fresh[point] or _finite(fresh[point])]


def _finite(values: Sequence[float]) -> list[float]:
    return list(filter(math.isfinite, values))


def _beliefs(known: Measurements, lattice: Lattice, points: Sequence[Point]) -> Beliefs:
    """What is believed of some points, by the values of the best ones."""
    compared = distinct([*points, *known.worked()[:COMPARED]])
    values = [[known.values[one], *_finite(known.fresh.get(one, ()))] for one in compared]
    told = [known.noises[one] for one in compared if one in known.noises]
    usual = median_low(told) if told else 0.0
    scale = Heights(np.concatenate(values), least=min(LEAST_ERRORS * usual, LARGEST))
    heights = [_undisturbed(scale.of(np.array(some))) for some in values]
    measured = [number for number, some in enumerate(heights) for _ in some]
    errors = _errors(known, scale, compared, usual) if told else None
    found = beliefs(lattice.features(compared), measured, np.concatenate(heights), errors)
    return found.of_first(len(points))


def _errors(known: Measurements, scale: Heights, points: Sequence[Point], usual: float) -> Vector:
    """Each point's standard error as a difference of heights; the usual one where none was told."""
    sems = np.array([known.noises.get(point, usual) for point in points])
    with np.errstate(over="ignore"):
        errors = sems * scale.slopes(known.of(points))
    return np.asarray(np.clip(errors, LEAST_NOISE, MOST_NOISE))


def _undisturbed(heights: Vector) -> Vector:
    """Of three values or more those that nothing has disturbed."""
    if len(heights) < ENOUGH:
        return heights
    return heights[heights <= np.median(heights) + DISTURBED]
