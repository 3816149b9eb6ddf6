"""Blocks of steps that take turns, in windows that are taken again if other work disturbs them."""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple, Protocol

import numpy as np

from kamerton_ray.machine.cgroups import Quota, Throttling
from kamerton_ray.machine.neighbours import Gauges, Watch
from kamerton_ray.process.spent import Spent
from kamerton_ray.trial.estimate import Floats
from kamerton_ray.trial.window import Window

BLOCK_S = 0.01
"""A block is this long, or one step. The shorter the blocks, the closer in time are a pair's two;
the clock's resolution is still far below."""

TOGETHER_S, TOGETHER_STEPS = 0.1, 3
"""Where one of the two is several instances the blocks of both are so long, and have at least so
many steps: the moments at a block's ends, when some run and others do not, must not weigh."""

PERIODS = 3
"""Under a quota a block spans so many periods, after a first one that does not count."""


class Process(Protocol):
    """One process or several that run steps; `model_instances.Instances` is one."""

    @property
    def count(self) -> int:
        """How many processes."""

    @property
    def spent(self) -> Spent:
        """What their steps have cost so far."""

    @property
    def memory(self) -> int:
        """The most bytes that one of them was seen to hold; 0 where nobody looked."""

    def run(self, steps: int) -> Window:
        """Have each run so many steps, at the same time."""

    def look(self) -> None:
        """See how much memory they hold."""


class Least(NamedTuple):
    """How long a block is, and how many steps it has at the least."""

    seconds: float = BLOCK_S
    steps: int = 1


def least_of(*processes: Process) -> Least:
    """What the blocks have that are to be compared."""
    together = any(one.count > 1 for one in processes)
    return Least(TOGETHER_S, TOGETHER_STEPS) if together else Least()


class Blocks:
    """The blocks of steps that one process has run, or several at the same time.

    Under a quota a block is preceded by a rest of a period, so that nobody pays for what the one
    before it has overdrawn. Its steps begin with a full quota. What is done in the first period
    does not count, nor what is done after `PERIODS` more. So it holds the time that steps take and
    the time that the quota makes them wait, as they are in the long run.

    Args:
        process: What runs the steps.
        step_s: How long one takes.
        gauges: What is read of the machine.
        least: How long a block is.
        settled: Whether the warm-up has ended with a steady step time.
    """

    def __init__(
        self, process: Process, step_s: float, gauges: Gauges, least: Least, *, settled: bool
    ) -> None:
        self._process, self._gauges, self._settled = process, gauges, settled
        self._quota = gauges.quota
        length_s = least.seconds
        if self._quota is not None:
            length_s = (2 + PERIODS) * self._quota.period_s
        self._count = max(least.steps, round(length_s / step_s))
        self._spent, self._steps_run = process.spent, 0
        self._windows: list[Window] = []
        self.throttling = Throttling(0, 0, 0.0)

    def __len__(self) -> int:
        return len(self._windows)

    def measure(self) -> None:
        """Run one more."""
        if self._quota is None:
            self._windows.append(self._run())
        else:
            self._windows.append(self._run_under(self._quota))

    def _run_under(self, quota: Quota) -> Window:
        self._gauges.sleep(quota.period_s)
        before = quota.throttling()
        window = self._run()
        self.throttling += quota.throttling() - before
        counted = window.part(quota.period_s, PERIODS * quota.period_s)
        # What ends within the first period counts as it is.
        return counted if counted.seconds > 0 else window

    def _run(self) -> Window:
        self._steps_run += self._count * self._process.count
        return self._process.run(self._count)

    def keep(self, count: int) -> None:
        """Leave out all blocks after so many."""
        del self._windows[count:]

    def logs(self) -> Floats:
        """The log of the seconds that the machine takes for a step, of each block."""
        return np.log([one.seconds / one.steps for one in self._windows])

    @property
    def seconds(self) -> float:
        """The median of the blocks' mean step times."""
        means = [float(np.mean(one.step_times)) for one in self._windows]
        return math.exp(float(np.median(np.log(means))))

    def found(self) -> dict[str, Any]:
        """The step time and its percentiles, and what a step costs, as `Timing` names them."""
        steps = np.concatenate([one.step_times for one in self._windows])
        quota, throttling = self._quota, self.throttling
        throughput = sum(one.steps for one in self._windows) / sum(
            one.seconds for one in self._windows
        )
        each = self._process.spent.since(self._spent, self._steps_run)
        return {
            "seconds": self.seconds,
            "seconds_p90": float(np.quantile(steps, 0.9)),
            "seconds_p99": float(np.quantile(steps, 0.99)),
            "throughput": throughput,
            "machine_seconds": math.exp(float(np.median(self.logs()))),
            "cpu_seconds": each.cpu_s,
            "system_seconds": each.system_s,
            "faults": each.faults,
            "cpus": each.cpu_s * throughput,
            "memory": self._process.memory or math.nan,
            "throttled": throttling.share if quota else math.nan,
            "held_back": quota.held_back(throttling) if quota else math.nan,
            "blocks": len(self),
            "settled": self._settled,
        }


class Visit:
    """A trial's measuring, in windows that are taken again where other work disturbs them.

    Attributes:
        blocks: What was measured of each process, as many of one as of another.
        kept_s: How many seconds the windows took that count.
    """

    def __init__(self, gauges: Gauges, watch: Watch) -> None:
        self._gauges, self._watch = gauges, watch
        self.blocks: list[Blocks] = []
        self._begin_s, self._stolen_s = gauges.clock(), gauges.stolen()
        self.kept_s = self._others_s = 0.0
        self._turns = 0
        self._disturbed = False

    def __len__(self) -> int:
        """How many blocks of each."""
        return len(self.blocks[0])

    def window(self, seconds: float) -> None:
        """Measure in turn for so long; undisturbed, if patience allows."""
        while True:
            kept, mark = len(self), self._watch.start()
            self._turn()
            while self._gauges.clock() < mark.clock + seconds:
                self._turn()
            reading = self._watch.since(mark)
            if not self._watch.again(reading):
                break
            for one in self.blocks:
                one.keep(kept)
        self.kept_s += reading.seconds
        self._others_s += reading.cpus * reading.seconds
        self._disturbed = self._disturbed or reading.disturbed

    def _turn(self) -> None:
        """A block of each; the one to go first changes, so that a steady drift favours nobody."""
        first = self._turns % len(self.blocks)
        for one in (*self.blocks[first:], *self.blocks[:first]):
            one.measure()
        self._turns += 1

    def found(self) -> dict[str, Any]:
        """What it took, and what others took meanwhile, as `Timing` names it."""
        seconds = self._gauges.clock() - self._begin_s
        whole = seconds * (os.cpu_count() or 1)
        return {
            "measured_s": seconds,
            "stolen": (self._gauges.stolen() - self._stolen_s) / whole if whole > 0 else math.nan,
            "others": self._others_s / self.kept_s if self.kept_s > 0 else math.nan,
            "beside": self._watch.beside if self._disturbed else "",
        }
