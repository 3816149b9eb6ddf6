"""Estimates that outliers do not move, and how far off a speed-up may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kamerton_ray.numeric import NORMAL_95

BATCHES = 6
"""How many batches a trial's blocks are cut into."""

T_QUANTILES = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}
"""The 97.5 % quantile of Student's t for so many batches."""

USUAL_SPREAD, USUAL_WEIGHT = 0.03, 3
"""How much a speed-up differs between trials until the session shows it, as a standard deviation of
its log, and for how many trials' word that counts."""

Floats = npt.NDArray[np.float64]


def hodges_lehmann(values: Sequence[float] | Floats) -> float:
    """The middle that the interval is around: the median of the means of any two values."""
    return float(np.median(walsh_means(values)))


def walsh_means(values: Sequence[float] | Floats) -> Floats:
    """The means of any two values and of each by itself, in order (Walsh 1949)."""
    found = np.asarray(values, float)
    one, other = np.triu_indices(len(found))
    means: Floats = np.sort((found[one] + found[other]) / 2)
    return means


@dataclass(frozen=True)
class Estimate:
    """A log speed-up, how far its blocks say that it may be off, and how much trials differ.

    Attributes:
        log_speedup: The estimate.
        reach: How far the 95 % interval of what the blocks show reaches to each side.
        spread: The standard deviation of what differs from trial to trial.
    """

    log_speedup: float
    reach: float
    spread: float

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the speed-up."""
        half = math.hypot(self.reach, NORMAL_95 * self.spread)
        return math.exp(self.log_speedup - half), math.exp(self.log_speedup + half)


def batch_reach(values: Floats) -> float:
    """How far the 95 % interval of the centre reaches, of values that resemble their neighbours."""
    batches = np.array_split(values, min(BATCHES, len(values)))
    centres = [float(np.median(batch)) for batch in batches]
    error = float(np.std(centres, ddof=1)) / math.sqrt(len(centres))
    return T_QUANTILES[len(centres)] * error


def session_spread(levels: Sequence[float]) -> float:
    """The standard deviation of a log speed-up from trial to trial.

    Args:
        levels: The log of the default's step time in each trial so far. A speed-up differed by 0.2
            to 0.9 times as much on the models of `benchmarks/noise.py`.
    """
    known = len(levels) - 1
    variance = float(np.var(levels, ddof=1)) * known if known else 0.0
    return math.sqrt((USUAL_WEIGHT * USUAL_SPREAD**2 + variance) / (USUAL_WEIGHT + known))
