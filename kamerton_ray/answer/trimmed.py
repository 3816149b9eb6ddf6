"""Trimmed means: the centre of values of which a few are disturbed.

The standard error and the degrees of freedom are those of Tukey & McLaughlin 1963, "Less vulnerable
confidence and significance procedures for location based on a single sample", Sankhya A 25:331-352.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kamerton_ray.answer.correlation import independent
from kamerton_ray.answer.student import student
from kamerton_ray.trial.estimate import Floats

TRIMMED = 0.15
"""The share of the values at each end that does not count: disturbed values are mostly there."""

LEAST_ERROR = 1e-9
"""A standard error is at least this, so that equal values can be divided by it."""


@dataclass(frozen=True)
class Trimmed:
    """What some values say of their centre.

    Attributes:
        mean: Their mean without the outermost.
        error: Its standard error, from the winsorized variance.
        freedom: The degrees of freedom of Student's distribution for it.
    """

    mean: float
    error: float
    freedom: float

    @classmethod
    def of(cls, values: Floats, correlation: float = 0.0) -> Trimmed:
        """The centre of two values or more, of which neighbours are alike by `correlation`."""
        count = len(values)
        cut = int(TRIMMED * count)
        inner = np.sort(values)[cut : count - cut]
        spread = float(np.std(np.clip(values, inner[0], inner[-1]), ddof=1))
        error = spread / ((1 - 2 * cut / count) * math.sqrt(count))
        worth = independent(count, correlation)
        error *= math.sqrt((count - 1) / (worth - 1)) if worth < count else 1.0
        freedom = (len(inner) - 1) * worth / count
        return cls(float(inner.mean()), max(error, LEAST_ERROR), freedom)

    def exceeds(self, least: float) -> float:
        """The probability that the true centre exceeds `least`."""
        return float(student(self.freedom, (self.mean - least) / self.error))
