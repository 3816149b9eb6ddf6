"""How much wider an interval has to be where rounds are alike."""

from __future__ import annotations

import math

from kamerton_ray.answer.correlation import independent
from kamerton_ray.answer.student import student_quantile

COVERAGE = 0.94
"""What an interval covers before it is widened. Chance widens the intervals of independent rounds
as well, since every second estimate of their correlation is above 0. So an interval of this
coverage is told as one of 95 % (benchmarks/verdict.py)."""


def widening(count: int, correlation: float) -> float:
    """How many times as wide the interval of `count` correlated values has to be.

    Correlated values are worth fewer independent ones. Those have a greater standard error. Their
    spread is known less surely, so Student's distribution has fewer degrees of freedom (Zwiers &
    von Storch 1995, "Taking serial correlation into account in tests of the mean", Journal of
    Climate 8:336-351). And correlated values scatter less around their own middle than around the
    true one.
    """
    left = independent(count, correlation)
    if left >= count:
        return 1.0
    quantiles = student_quantile([left - 1, count - 1], (1 + COVERAGE) / 2)
    return math.sqrt((count - 1) / (left - 1)) * float(quantiles[0] / quantiles[1])
