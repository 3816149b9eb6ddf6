"""The estimate of Hodges & Lehmann, with the interval of Wilcoxon's signed-rank test.

The sources are Hodges & Lehmann 1963, "Estimates of location based on rank tests", Annals of
Mathematical Statistics 34:598-611, and Wilcoxon 1945, "Individual comparisons by ranking methods",
Biometrics Bulletin 1:80-83.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kamerton_ray.answer.widening import COVERAGE, widening
from kamerton_ray.trial.estimate import Floats, walsh_means


@dataclass(frozen=True)
class Interval:
    """An estimate of a log speed-up.

    Attributes:
        middle: The estimate.
        low: Where its 95 % interval begins.
        high: Where it ends.
    """

    middle: float
    low: float
    high: float


def signed_rank_interval(values: Sequence[float], *, correlation: float = 0.0) -> Interval:
    """The middle of some values, and the interval around it.

    Both are taken from the Walsh means: the means of any two values, and each value by itself, in
    order. The estimate is their median. The interval goes from the k-th of them to the k-th last,
    for the k whose coverage is nearest to `COVERAGE` (Hollander, Wolfe & Chicken, "Nonparametric
    Statistical Methods", sections 3.2 and 3.3). It takes six values or more. With fewer the
    interval goes from the least value to the greatest, and covers less.

    Args:
        values: What the rounds have found.
        correlation: How much neighbouring rounds are alike; the interval is widened for it.
    """
    means, count = walsh_means(values), len(values)
    tails = signed_rank_tails(count)
    outside = int(np.argmin(np.abs(1 - 2 * tails[: (len(means) + 1) // 2] - COVERAGE)))
    middle, low, high = float(np.median(means)), means[outside], means[-1 - outside]
    wider = widening(count, correlation)
    return Interval(middle, middle - wider * (middle - low), middle + wider * (high - middle))


@functools.cache
def signed_rank_tails(count: int) -> Floats:
    """The probabilities that at most 0, 1, 2 ... Walsh means lie above the true middle.

    Each rank is in the sum of those above the middle or not, as a coin falls.
    """
    chances = np.ones(1)
    for rank in range(1, count + 1):
        chances = np.convolve(chances, [0.5, *[0.0] * (rank - 1), 0.5])
    tails: Floats = np.cumsum(chances)
    return tails
