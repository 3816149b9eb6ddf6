"""Timing: a candidate against the default, in blocks that take turns, and what can be said of it.

It measures through two functions that run steps and return their seconds, so it knows nothing of
processes, and takes its clock as an argument.

The speed-up is estimated on the logarithms of the blocks' median step times. Two estimates are at
hand, and the one with the smaller standard error is taken:

* paired: the Hodges-Lehmann estimate (1963, Ann. Math. Stat. 34:598) of default minus candidate,
  block pair by block pair. What slows both at the same time cancels.
* by level: the candidate against the median of what the default took in the trials before. It wins
  where the default's blocks jump by themselves while its level stays.

The standard errors come from batch means (Law & Kelton, "Simulation Modeling and Analysis", on
output analysis of a single run): neighbouring blocks resemble each other, so the means of a few
long batches are taken for independent, not the blocks. To them comes what no block within a trial
shows: that two processes with the same threads differ.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kamerton_ray.errors import InvalidInputError

Run = Callable[[int], list[float]]
"""Runs so many steps and returns the seconds of each."""

BLOCK_S = 0.01
"""A block is this long, or one step. The shorter the blocks, the closer in time are a pair's two;
the clock's resolution is still far below."""

WARMUP_BLOCK_S = 0.05
"""The same during the warm-up, where a trend must show above the noise."""

SHORTEST_STEP_S = 1e-6
"""A step below this does nothing that could be timed: the loop around it takes a tenth of that."""

BATCHES = 6
"""How many batches a trial's blocks are cut into."""

T_QUANTILE = 2.571
"""The 97.5 % quantile of Student's t with BATCHES - 1 degrees of freedom."""

NORMAL_QUANTILE = 1.960
"""That of the normal distribution."""

PROCESS_SD = 0.015
"""The standard deviation of the log speed-up between processes with the same threads, beyond what
their blocks show: 1.2 to 1.7 % for four of the five models of `benchmarks/noise.py --aa 40`."""

LOOK_EVERY = BATCHES
"""How many block pairs are taken between two looks at the interval."""

CLEARLY_WORSE = 0.8
"""A candidate whose speed-up lies below this is of no interest, however far below."""

SETTLED = 0.05
"""A step time has settled when three blocks in a row lie within this share of their median."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TimingOptions:
    """How a trial is timed.

    Attributes:
        warmup_s: The longest warm-up, in seconds.
        budget_s: The longest measurement, in seconds, the default's blocks included.
        precision: Stop when the interval reaches no farther than this share from the speed-up.
    """

    warmup_s: float = 2.0
    budget_s: float = 4.0
    precision: float = 0.04

    def __post_init__(self) -> None:
        for name in ("warmup_s", "budget_s", "precision"):
            positive(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one trial measured.

    Attributes:
        seconds: The median step time of the candidate.
        seconds_p90: Nine of ten of its steps took no longer.
        seconds_p99: 99 of 100 of its steps took no longer.
        default_seconds: The median step time of the default; NaN where it was not measured.
        speedup: How many times faster than the default; NaN likewise.
        speedup_low: Where the 95 % interval of the speed-up begins.
        speedup_high: Where it ends.
        blocks: How many blocks of the candidate were measured.
        settled: Whether the warm-up ended with a steady step time.
        cut_short: Whether the measurement ended early, the candidate being clearly worse.
        estimate: `"paired"`, `"level"` or `"alone"`.
        measured_s: How long it took, the warm-up included.
    """

    seconds: float
    seconds_p90: float
    seconds_p99: float
    default_seconds: float = math.nan
    speedup: float = math.nan
    speedup_low: float = math.nan
    speedup_high: float = math.nan
    blocks: int
    settled: bool
    cut_short: bool = False
    estimate: str = "alone"
    measured_s: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """A log speed-up with its standard error."""

    name: str
    log_speedup: float
    error: float

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the speed-up."""
        half = self.half_width
        return math.exp(self.log_speedup - half), math.exp(self.log_speedup + half)

    @property
    def half_width(self) -> float:
        """How far the 95 % interval of the log speed-up reaches to each side."""
        return math.hypot(T_QUANTILE * self.error, NORMAL_QUANTILE * PROCESS_SD)


class TooFastError(InvalidInputError):
    """A step takes too little time to be timed."""


class Timer:
    """Times candidates one after the other, and remembers how the default has fared.

    Args:
        options: How long and how precisely.
        clock: The seconds on some clock.
    """

    def __init__(
        self, options: TimingOptions, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._options = options
        self._clock = clock
        self._default_levels: list[float] = []

    def warm_up(self, run: Run) -> tuple[int, bool]:
        """Run steps until their time has settled.

        Returns:
            How many steps make a block, and whether the step time has settled.

        Raises:
            TooFastError: The steps are too short.
        """
        end = self._clock() + self._options.warmup_s
        run(1)  # what the first step alone does: tracing, allocating
        count, recent = 1, [math.inf] * 3
        while True:
            block = run(count)
            step = float(np.median(block))
            recent = [*recent[1:], step]
            count = min(max(1, round(WARMUP_BLOCK_S / max(step, 1e-9))), 2 * count)
            middle = sorted(recent)[1]
            steady = max(recent) - min(recent) <= SETTLED * middle
            longest = WARMUP_BLOCK_S / SHORTEST_STEP_S
            long_enough = count * step >= WARMUP_BLOCK_S / 2 or count >= longest
            if long_enough and (steady or self._clock() >= end):
                if step < SHORTEST_STEP_S:
                    raise TooFastError(f"a step must take at least 1 us, but took {step:.1g} s")
                return max(1, round(BLOCK_S / step)), steady

    def alone(self, run: Run) -> Timing:
        """Time a candidate by itself."""
        start = self._clock()
        count, settled = self.warm_up(run)
        end = self._clock() + self._options.budget_s
        blocks = [run(count)]
        while self._clock() < end or len(blocks) < BATCHES:
            blocks.append(run(count))
        return Timing(
            blocks=len(blocks),
            settled=settled,
            measured_s=self._clock() - start,
            **_step_times(blocks),
        )

    def against(self, run: Run, default: Run) -> Timing:
        """Time a candidate and the default in blocks that take turns, never at the same time."""
        start = self._clock()
        default_count, _ = self.warm_up(default)
        count, settled = self.warm_up(run)
        end = self._clock() + self._options.budget_s
        ours: list[list[float]] = []
        theirs: list[list[float]] = []
        cut_short = False
        while True:
            for _ in range(LOOK_EVERY):
                # The one to go first changes, so that a steady drift favours neither.
                if len(ours) % 2:
                    theirs.append(default(default_count))
                    ours.append(run(count))
                else:
                    ours.append(run(count))
                    theirs.append(default(default_count))
            estimate = self._estimate(ours, theirs)
            if len(ours) > LOOK_EVERY:
                cut_short = estimate.interval()[1] < CLEARLY_WORSE
                if cut_short or estimate.half_width <= self._options.precision:
                    break
            if self._clock() >= end:
                break
        levels = _log_medians(theirs)
        self._default_levels.append(float(np.median(levels)))
        low, high = estimate.interval()
        return Timing(
            default_seconds=float(np.exp(np.median(levels))),
            speedup=math.exp(estimate.log_speedup),
            speedup_low=low,
            speedup_high=high,
            blocks=len(ours),
            settled=settled,
            cut_short=cut_short,
            estimate=estimate.name,
            measured_s=self._clock() - start,
            **_step_times(ours),
        )

    def _estimate(self, ours: Sequence[list[float]], theirs: Sequence[list[float]]) -> Estimate:
        candidate, default = _log_medians(ours), _log_medians(theirs)
        estimates = [paired_estimate(candidate, default)]
        if len(self._default_levels) >= 3:  # noqa: PLR2004 - fewer show no spread
            estimates.append(level_estimate(candidate, np.array(self._default_levels)))
        return min(estimates, key=lambda estimate: estimate.error)


def positive(name: str, value: float) -> float:
    """`value`, which must be a number above 0.

    Raises:
        InvalidInputError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise InvalidInputError(f"{name} must be a number above 0, but got {value!r}")
    return float(value)


def paired_estimate(candidate: Floats, default: Floats) -> Estimate:
    """The log speed-up from pairs of blocks.

    Args:
        candidate: The log step times of the candidate's blocks.
        default: Those of the default's blocks, each next to the candidate's in time.
    """
    differences = default - candidate
    return Estimate("paired", hodges_lehmann(differences), batch_error(differences))


def level_estimate(candidate: Floats, levels: Floats) -> Estimate:
    """The log speed-up against what the default took in earlier trials.

    Args:
        candidate: The log step times of the candidate's blocks.
        levels: The default's log step time in each earlier trial. How much they differ is how
            much the machine can have changed since, and so is a part of the error.
    """
    drift = float(np.std(levels, ddof=1)) * math.sqrt(1 + 1 / len(levels))
    return Estimate(
        "level",
        float(np.median(levels)) - hodges_lehmann(candidate),
        math.hypot(batch_error(candidate), drift),
    )


def hodges_lehmann(values: Floats) -> float:
    """The median of the means of all pairs: nearly as sharp as the mean, and robust."""
    i, j = np.triu_indices(len(values))
    return float(np.median((values[i] + values[j]) / 2))


def batch_error(values: Floats) -> float:
    """The standard error of the centre of values that resemble their neighbours."""
    centres = [float(np.median(batch)) for batch in np.array_split(values, BATCHES)]
    return float(np.std(centres, ddof=1)) / math.sqrt(BATCHES)


def _log_medians(blocks: Sequence[list[float]]) -> Floats:
    return np.log([float(np.median(block)) for block in blocks])


def _step_times(blocks: Sequence[list[float]]) -> dict[str, Any]:
    steps = np.concatenate([np.asarray(block) for block in blocks])
    return {
        "seconds": float(np.median(steps)),
        "seconds_p90": float(np.quantile(steps, 0.9)),
        "seconds_p99": float(np.quantile(steps, 0.99)),
    }
