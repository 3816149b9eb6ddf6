"""Timing: a candidate against the default, in blocks that take turns, and what can be said of it.

It measures through two objects that run steps and return a window of them, so it knows nothing of
how processes are made, and reads the machine through gauges that it is given. Either may be several
instances at once. What is compared is how long the machine takes for a step: the length of a window
over the steps that all instances did in it. With one process that is the step time.

The speed-up is the Hodges-Lehmann estimate (1963, Ann. Math. Stat. 34:598) of the logarithms of
default over candidate, block pair by block pair. What slows both at the same time cancels.

Its interval has two parts:

* What the blocks of this trial show, by batch means (Law & Kelton, "Simulation Modeling and
  Analysis", on output analysis of a single run): neighbouring blocks resemble each other, so the
  means of a few long batches are taken for independent, not the blocks.
* What no single trial shows: a process is faster in one minute and slower in the next. With four
  processes of the same threads the speed-up differed by 8 % from visit to visit of one process, and
  by 1.5 % between the means of the processes (MobileNetV2; 2.7 and 1.0 % for a transformer). The
  default's process lives as long as the search, so its blocks are spread over all of it: how much
  its step time differs from trial to trial is how much the speed-up may.

Beside other work the blocks are left out and measured again; see `neighbours`. Under a CPU quota a
block spans whole periods of the quota and begins with a full one, since a process that overdraws
its quota stands still until the next period: see `Blocks`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.neighbours import WINDOW_S, Gauges, Watch, patience
from kamerton_ray.numeric import NanEqual, positive
from kamerton_ray.trial.blocks import PERIODS, Blocks, Process, Visit, least_of
from kamerton_ray.trial.estimate import (
    BATCHES,
    Estimate,
    batch_reach,
    hodges_lehmann,
    session_spread,
)

WARMUP_BLOCK_S = 0.05
"""The same during the warm-up, where a trend must show above the noise."""

SHORTEST_STEP_S = 1e-6
"""A step below this does nothing that could be timed: the loop around it takes a tenth of that."""


LEAST_PAIRS = 3
"""So many pairs are measured however long they take: two would show next to no spread."""


CLEARLY_WORSE = 0.8
"""A candidate whose speed-up lies below this is of no interest, however far below."""

SETTLED, STEADY_BLOCKS = 0.05, 3
"""A step time has settled when so many blocks in a row lie within this share of their median."""


@dataclass(frozen=True, kw_only=True)
class TimingOptions:
    """How a trial is timed.

    Attributes:
        warmup_s: The longest warm-up, in seconds.
        budget_s: The longest measurement, in seconds, the default's blocks included.
        precision: Stop when what the blocks show reaches no farther than this share from the
            speed-up, at 95 %.
        patience_s: How many seconds to wait for other work on the machine to end.
    """

    warmup_s: float = 2.0
    budget_s: float = 4.0
    precision: float = 0.03
    patience_s: float = field(default_factory=patience)

    def __post_init__(self) -> None:
        for name in ("warmup_s", "budget_s", "precision"):
            positive(name, getattr(self, name))
        positive("patience_s", self.patience_s, zero=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class Timing(NanEqual):
    """What one trial measured; of what was not measured its numbers are NaN.

    Attributes:
        seconds: The step time of the candidate: the median of its blocks' means.
        seconds_p90: Nine of ten of its steps took no longer.
        seconds_p99: 99 of 100 of its steps took no longer.
        throughput: Steps per second, of all instances together.
        machine_seconds: Seconds in which all instances together do a step: the median of the
            blocks' lengths over their steps. With one instance that is the step time.
        cpu_seconds: CPU seconds per step, over all of its threads; of a program, per run.
        system_seconds: Those of them that went to the kernel.
        faults: How many pages of memory the kernel had to give for a step.
        cpus: How many CPUs its instances kept busy.
        memory: The most bytes that an instance was seen to hold; NaN where nobody looked. What it
            shares with others, as TensorFlow's code, counts in part.
        default_seconds: The step time of the default; NaN where it was not measured.
        speedup: How many times as many steps as the default's the instances do in the same time;
            with one, how many times faster it is. NaN likewise.
        speedup_low: Where the 95 % interval of the speed-up begins.
        speedup_high: Where it ends.
        blocks: How many blocks of the candidate were measured.
        settled: Whether the warm-up ended with a steady step time.
        cut_short: Whether the measurement ended early, the candidate being clearly worse.
        measured_s: How long it took, the warm-up included.
        others: How many CPUs other work took meanwhile, as a mean; NaN where that is not counted.
        beside: Who that was, where it was more than runs on every machine.
        throttled: The share of the CPU quota's periods in which the candidate used it up and stood
            still; NaN without a quota.
        held_back: The share of the CPU time that the candidate had to wait for because of the
            quota; NaN likewise.
        default_throttled: The share of the periods of the default.
        python_seconds: How much of a step passes in Python, outside of TensorFlow's calls and
            without waiting; in a loop of Keras's, all that passes around the model's call. NaN
            where nobody looked, as the next.
        input_seconds: How much of a step waits for the next batch of a `tf.data.Dataset`.
        loop: Keras's function in which most of a step passes, as `predict`; empty where it is none.
        stolen: The share of the machine's CPU time that the hypervisor gave to others meanwhile;
            NaN where the system does not count it. Above a few percent the speed-up is that of
            such moments: threads that wait for each other suffer more than one alone.
    """

    seconds: float = math.nan
    seconds_p90: float = math.nan
    seconds_p99: float = math.nan
    throughput: float = math.nan
    machine_seconds: float = math.nan
    cpu_seconds: float = math.nan
    system_seconds: float = math.nan
    faults: float = math.nan
    cpus: float = math.nan
    memory: float = math.nan
    default_seconds: float = math.nan
    speedup: float = math.nan
    speedup_low: float = math.nan
    speedup_high: float = math.nan
    blocks: int = 0
    settled: bool = False
    cut_short: bool = False
    measured_s: float = 0.0
    others: float = math.nan
    beside: str = ""
    throttled: float = math.nan
    held_back: float = math.nan
    default_throttled: float = math.nan
    python_seconds: float = math.nan
    input_seconds: float = math.nan
    loop: str = ""
    stolen: float = math.nan


class TooFastError(InvalidInputError):
    """A step takes too little time to be timed."""


class Timer:
    """Times candidates one after the other, and remembers how the default has fared.

    Args:
        options: How long and how precisely.
        gauges: What is read of the machine.
        watch: What waits for other work to end; one of its own by default.
    """

    def __init__(
        self,
        options: TimingOptions,
        *,
        gauges: Gauges | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._options = options
        self._gauges = gauges or Gauges()
        self._clock = self._gauges.clock
        self._watch = watch or Watch(self._gauges, patience_s=options.patience_s)
        self._default_levels: list[float] = []

    def warm_up(self, process: Process) -> tuple[float, bool]:
        """Run steps until their time has settled.

        Returns:
            The seconds that a step takes then, and whether they have settled.

        Raises:
            TooFastError: The steps are too short.
        """
        end = self._clock() + self._options.warmup_s
        quota = self._gauges.quota
        block_s = WARMUP_BLOCK_S if quota is None else PERIODS * quota.period_s
        centre = np.median if quota is None else np.mean  # most steps know nothing of a quota
        count, recent = 1, [math.nan] * STEADY_BLOCKS
        while True:
            step = float(centre(process.run(count).step_times))
            recent = [*recent[1:], step]
            count = min(max(1, round(block_s / max(step, 1e-9))), 2 * count)
            # Until there are enough blocks one of them is NaN, and nothing lies within that.
            steady = max(recent) - min(recent) <= SETTLED * float(np.median(recent))
            longest = block_s / SHORTEST_STEP_S
            long_enough = count * step >= block_s / 2 or count >= longest
            if long_enough and (steady or self._clock() >= end):
                if step < SHORTEST_STEP_S:
                    raise TooFastError(f"a step must take at least 1 us, but took {step:.1g} s")
                return step, steady

    def alone(self, process: Process) -> Timing:
        """Time a candidate by itself."""
        visit = self._visit(process)
        while visit.kept_s < self._options.budget_s or len(visit) < LEAST_PAIRS:
            visit.window(self._window_s)
        return _timings(visit)[0]

    def against(self, candidate: Process, default: Process) -> Timing:
        """Time a candidate and the default in blocks that take turns, never at the same time."""
        visit = self._visit(candidate, default)
        ours, theirs = visit.blocks
        cut_short = False
        while True:
            visit.window(self._window_s)
            if len(visit) < LEAST_PAIRS:
                continue
            estimate = self._estimate(ours, theirs)
            if len(visit) >= 2 * BATCHES:
                cut_short = estimate.interval()[1] < CLEARLY_WORSE
            precise = len(visit) >= 2 * BATCHES and estimate.reach <= self._options.precision
            if cut_short or precise or visit.kept_s >= self._options.budget_s:
                break
        self._default_levels.append(float(np.median(theirs.logs())))
        low, high = estimate.interval()
        timing = _timings(visit, default=1)[0]
        return replace(timing, speedup_low=low, speedup_high=high, cut_short=cut_short)

    def together(self, processes: Sequence[Process], *, default: int | None) -> list[Timing]:
        """Time several in blocks that take turns, each against the default, where that takes part.

        They are warmed up in the order given, which is for the caller to balance: the last of them
        is still warm when the blocks begin. The measurement takes `budget_s` for every two of them,
        or one block of each where that takes longer. No interval is given: what one process of each
        shows says little of the next.
        """
        visit = self._visit(*processes)
        while visit.kept_s < self._options.budget_s * len(processes) / 2:
            visit.window(self._window_s)
        return _timings(visit, default=default)

    @property
    def _window_s(self) -> float:
        return min(WINDOW_S, self._options.budget_s)

    def _visit(self, *processes: Process) -> Visit:
        """Processes that are ready to be measured; they are warmed up in this order."""
        visit, least = Visit(self._gauges, self._watch), least_of(*processes)
        for process in processes:
            step_s, settled = self.warm_up(process)
            process.look()
            visit.blocks.append(Blocks(process, step_s, self._gauges, least, settled=settled))
        return visit

    def _estimate(self, ours: Blocks, theirs: Blocks) -> Estimate:
        gains = theirs.logs() - ours.logs()
        levels = [*self._default_levels, float(np.median(theirs.logs()))]
        return Estimate(hodges_lehmann(gains), batch_reach(gains), session_spread(levels))


def _timings(visit: Visit, *, default: int | None = None) -> list[Timing]:
    """What was measured of each, beside the default where one of them is that."""
    shared = visit.found()
    timings = [Timing(**shared, **one.found()) for one in visit.blocks]
    if default is None:
        return timings
    usual, theirs = timings[default], visit.blocks[default].logs()
    return [
        replace(
            timing,
            default_seconds=usual.seconds,
            default_throttled=usual.throttled,
            speedup=math.exp(hodges_lehmann(theirs - one.logs())),
        )
        for one, timing in zip(visit.blocks, timings, strict=True)
    ]
