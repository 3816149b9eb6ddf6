"""Whether values fall into two groups, as those of a process that is fast or slow by chance do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kamerton_ray.trial.estimate import Floats

SMALLEST_GROUP, SHARE_OF_GROUP = 3, 6
"""A group has so many values or more, and at least one in so many of all: a few outliers are no
group."""

GAP = 3.0
"""The gap between the groups is so many times as wide as the values scatter within either. With
this, normal, heavy-tailed and disturbed values are taken for two groups in at most 1 of 200 finals
(benchmarks/verdict.py)."""


def two_groups(
    values: Sequence[float], *, least: float = 0.0
) -> tuple[list[int], list[int]] | None:
    """The places of the upper and of the lower values; None where there are no two groups.

    Args:
        values: What the rounds have found.
        least: A gap that is no wider than this does not count.
    """
    order = np.argsort(values)
    ordered = np.asarray(values)[order]
    smallest = max(SMALLEST_GROUP, math.ceil(len(values) / SHARE_OF_GROUP))
    splits = range(smallest, len(values) - smallest + 1)
    if not splits:
        return None
    at = max(splits, key=lambda split: float(ordered[split] - ordered[split - 1]))
    gap = float(ordered[at] - ordered[at - 1])
    scatter = max(_scatter(ordered[:at]), _scatter(ordered[at:]))
    if gap <= max(GAP * scatter, least):
        return None
    return sorted(order[at:].tolist()), sorted(order[:at].tolist())


def _scatter(values: Floats) -> float:
    """The mean deviation from the median, with one degree of freedom less than values."""
    return float(np.abs(values - np.median(values)).sum()) / (len(values) - 1)
