"""Timing: a candidate against the default, in blocks that take turns, and what can be said of it.

It measures through two objects that run steps and return their seconds, so it knows nothing of how
processes are made, and takes its clock as an argument.

The speed-up is estimated on the logarithms of the blocks' median step times. Two estimates are at
hand, and the one with the smaller standard error is taken:

* paired: the Hodges-Lehmann estimate (1963, Ann. Math. Stat. 34:598) of default minus candidate,
  block pair by block pair. What slows both at the same time cancels.
* by level: the candidate against the median of what the default took in the trials before. It wins
  where the default's blocks jump by themselves while its level stays.

The standard errors come from batch means (Law & Kelton, "Simulation Modeling and Analysis", on
output analysis of a single run): neighbouring blocks resemble each other, so the means of a few
long batches are taken for independent, not the blocks. To them comes what no block within a trial
shows: that two processes with the same threads differ. Most of that is luck with memory: whether
malloc keeps what a step frees, or returns it and has each page fault in anew at the next step,
settles by chance in each process, and can be a quarter of the step time.
"""

from __future__ import annotations

import math
import mmap
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kamerton_ray.errors import InvalidInputError

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

PROCESS_SD = 0.02
"""The standard deviation of the log speed-up between processes with the same threads, beyond what
their blocks and page faults show: 0 to 2.5 % for the models of `benchmarks/noise.py --aa 40`."""

PAGES = 128
"""How many pages are touched to see what a page fault costs."""

PAGE_TRIES = 8
"""How many times that is done."""

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
    precision: float = 0.05

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
        throughput: Steps per second, from the mean step time.
        cpu_seconds: CPU seconds per step, over all of its threads.
        default_seconds: The median step time of the default; NaN where it was not measured.
        speedup: How many times faster than the default; NaN likewise.
        speedup_low: Where the 95 % interval of the speed-up begins.
        speedup_high: Where it ends.
        blocks: How many blocks of the candidate were measured.
        settled: Whether the warm-up ended with a steady step time.
        cut_short: Whether the measurement ended early, the candidate being clearly worse.
        estimate: `"paired"`, `"level"` or `"alone"`.
        measured_s: How long it took, the warm-up included.
        stolen: The share of the machine's CPU time that the hypervisor gave to others meanwhile;
            NaN where the system does not count it. Above a few percent the speed-up is that of
            such moments: threads that wait for each other suffer more than one alone.
    """

    seconds: float
    seconds_p90: float
    seconds_p99: float
    throughput: float = math.nan
    cpu_seconds: float = math.nan
    default_seconds: float = math.nan
    speedup: float = math.nan
    speedup_low: float = math.nan
    speedup_high: float = math.nan
    blocks: int
    settled: bool
    cut_short: bool = False
    estimate: str = "alone"
    measured_s: float = 0.0
    stolen: float = math.nan


@dataclass(frozen=True)
class Estimate:
    """A log speed-up with its standard error, and how much another process may differ."""

    name: str
    log_speedup: float
    error: float
    process_sd: float = PROCESS_SD

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the speed-up."""
        half = self.half_width
        return math.exp(self.log_speedup - half), math.exp(self.log_speedup + half)

    @property
    def half_width(self) -> float:
        """How far the 95 % interval of the log speed-up reaches to each side."""
        return math.hypot(T_QUANTILE * self.error, NORMAL_QUANTILE * self.process_sd)


class Process(Protocol):
    """A process that runs steps; `isolation.Child` is one."""

    @property
    def faults(self) -> int:
        """How many page faults its steps have caused so far."""

    @property
    def cpu_s(self) -> float:
        """How many CPU seconds its steps have taken so far."""

    def run(self, steps: int) -> list[float]:
        """Run so many steps and return the seconds of each."""


class TooFastError(InvalidInputError):
    """A step takes too little time to be timed."""


class Timer:
    """Times candidates one after the other, and remembers how the default has fared.

    Args:
        options: How long and how precisely.
        clock: The seconds on some clock.
        stolen: The seconds that the hypervisor has taken from all CPUs.
        fault_s: The seconds that a page fault takes; measured by default.
    """

    def __init__(
        self,
        options: TimingOptions,
        *,
        clock: Callable[[], float] = time.perf_counter,
        stolen: Callable[[], float] | None = None,
        fault_s: float | None = None,
    ) -> None:
        self._options = options
        self._clock = clock
        self._stolen = stolen or stolen_cpu_seconds
        self._fault_s = page_fault_seconds() if fault_s is None else fault_s
        self._default_levels: list[float] = []

    def warm_up(self, process: Process) -> tuple[int, bool]:
        """Run steps until their time has settled.

        Returns:
            How many steps make a block, and whether the step time has settled.

        Raises:
            TooFastError: The steps are too short.
        """
        end = self._clock() + self._options.warmup_s
        process.run(1)  # what the first step alone does: tracing, allocating
        count, recent = 1, [math.inf] * 3
        while True:
            block = process.run(count)
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

    def alone(self, process: Process) -> Timing:
        """Time a candidate by itself."""
        since = self._now()
        count, settled = self.warm_up(process)
        end = self._clock() + self._options.budget_s
        ours = _Blocks(process, count)
        while self._clock() < end or len(ours) < BATCHES:
            ours.measure()
        return Timing(blocks=len(ours), settled=settled, **self._spent(since), **ours.step_times())

    def against(self, candidate: Process, default: Process) -> Timing:
        """Time a candidate and the default in blocks that take turns, never at the same time."""
        since = self._now()
        theirs = _Blocks(default, self.warm_up(default)[0])
        count, settled = self.warm_up(candidate)
        ours = _Blocks(candidate, count)
        end = self._clock() + self._options.budget_s
        cut_short = False
        while True:
            for _ in range(LOOK_EVERY):
                # The one to go first changes, so that a steady drift favours neither.
                for blocks in (theirs, ours) if len(ours) % 2 else (ours, theirs):
                    blocks.measure()
            estimate = self._estimate(ours, theirs)
            if len(ours) > LOOK_EVERY:
                cut_short = estimate.interval()[1] < CLEARLY_WORSE
                if cut_short or estimate.half_width <= self._options.precision:
                    break
            if self._clock() >= end:
                break
        level = float(np.median(theirs.log_medians()))
        self._default_levels.append(level)
        low, high = estimate.interval()
        return Timing(
            default_seconds=math.exp(level),
            speedup=math.exp(estimate.log_speedup),
            speedup_low=low,
            speedup_high=high,
            blocks=len(ours),
            settled=settled,
            cut_short=cut_short,
            estimate=estimate.name,
            **self._spent(since),
            **ours.step_times(),
        )

    def together(self, processes: Sequence[Process], *, default: int) -> list[Timing]:
        """Time several in blocks that take turns, each against one of them, the default.

        They are warmed up in the order given, which is for the caller to balance: the last of them
        is still warm when the blocks begin. The measurement takes `budget_s` for every two of them.
        No interval is given: what one process of each shows says little of the next.
        """
        since = self._now()
        warm = [self.warm_up(process) for process in processes]
        blocks = [_Blocks(p, count) for p, (count, _) in zip(processes, warm, strict=True)]
        end = self._clock() + self._options.budget_s * len(processes) / 2
        while self._clock() < end or len(blocks[default]) < BATCHES:
            # The one to go first changes, so that a steady drift favours nobody.
            first = len(blocks[default]) % len(blocks)
            for one in blocks[first:] + blocks[:first]:
                one.measure()
        spent = self._spent(since)
        theirs = blocks[default].log_medians()
        return [
            Timing(
                default_seconds=math.exp(float(np.median(theirs))),
                speedup=math.exp(hodges_lehmann(theirs - one.log_medians())),
                blocks=len(one),
                settled=settled,
                estimate="paired",
                **spent,
                **one.step_times(),
            )
            for one, (_, settled) in zip(blocks, warm, strict=True)
        ]

    def _now(self) -> tuple[float, float]:
        return self._clock(), self._stolen()

    def _spent(self, since: tuple[float, float]) -> dict[str, Any]:
        """What a trial took, and what the hypervisor took from it."""
        seconds, stolen = (now - then for now, then in zip(self._now(), since, strict=True))
        whole = seconds * (os.cpu_count() or 1)
        return {"measured_s": seconds, "stolen": stolen / whole if whole > 0 else math.nan}

    def _estimate(self, ours: _Blocks, theirs: _Blocks) -> Estimate:
        candidate = ours.log_medians()
        estimates = [paired_estimate(candidate, theirs.log_medians())]
        if len(self._default_levels) >= 3:  # noqa: PLR2004 - fewer show no spread
            estimates.append(level_estimate(candidate, np.array(self._default_levels)))
        best = min(estimates, key=lambda estimate: estimate.error)
        shares = (blocks.fault_share(self._fault_s) for blocks in (ours, theirs))
        return replace(best, process_sd=process_sd(*shares))


class _Blocks:
    """The blocks of steps that one process has run."""

    def __init__(self, process: Process, count: int) -> None:
        self._process = process
        self._count = count
        self._faults, self._cpu_s = process.faults, process.cpu_s
        self._blocks: list[list[float]] = []

    def __len__(self) -> int:
        return len(self._blocks)

    def measure(self) -> None:
        """Run one more."""
        self._blocks.append(self._process.run(self._count))

    def log_medians(self) -> Floats:
        """The log of each block's median step time."""
        return np.log([float(np.median(block)) for block in self._blocks])

    def fault_share(self, fault_s: float) -> float:
        """The share of its CPU time that went into page faults, each taking `fault_s`."""
        faults = self._process.faults - self._faults
        cpu_s = self._process.cpu_s - self._cpu_s
        return min(1.0, faults * fault_s / cpu_s) if cpu_s > 0 else 0.0

    def step_times(self) -> dict[str, Any]:
        """The median and the percentiles of the steps, as `Timing` names them."""
        steps = np.concatenate([np.asarray(block) for block in self._blocks])
        return {
            "seconds": float(np.median(steps)),
            "seconds_p90": float(np.quantile(steps, 0.9)),
            "seconds_p99": float(np.quantile(steps, 0.99)),
            "throughput": 1 / float(np.mean(steps)),
            "cpu_seconds": (self._process.cpu_s - self._cpu_s) / (len(self) * self._count),
        }


def positive(name: str, value: float) -> float:
    """`value`, which must be a number above 0.

    Raises:
        InvalidInputError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise InvalidInputError(f"{name} must be a number above 0, but got {value!r}")
    return float(value)


def stolen_cpu_seconds() -> float:
    """The seconds that the hypervisor has taken from all CPUs since the start of the machine.

    The eighth number of the first line of /proc/stat (proc_stat(5), "steal"); NaN without one.
    """
    try:
        with Path("/proc/stat").open(encoding="ascii") as file:
            return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return math.nan


def page_fault_seconds() -> float:
    """What a page fault costs on this machine, the page's release included; a few milliseconds.

    It is the least of several tries: what disturbs them only makes them longer.
    """
    return min(_touch_pages() for _ in range(PAGE_TRIES)) / PAGES


def _touch_pages() -> float:
    start = time.perf_counter()
    with mmap.mmap(-1, PAGES * mmap.PAGESIZE) as memory:
        for offset in range(0, PAGES * mmap.PAGESIZE, mmap.PAGESIZE):
            memory[offset] = 1
    return time.perf_counter() - start


def process_sd(*fault_shares: float) -> float:
    """The standard deviation of the log speed-up between processes with the same threads.

    Args:
        fault_shares: The share of its CPU time that each process spends on page faults. Another
            process may have none of them; a share evenly spread from none to all of this has a
            standard deviation of this / sqrt(12).
    """
    return math.hypot(PROCESS_SD, *(share / math.sqrt(12) for share in fault_shares))


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
