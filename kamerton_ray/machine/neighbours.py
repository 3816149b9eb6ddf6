"""What other work takes of this machine's CPUs, and waiting for it to end.

A step time beside other work is that of another machine: on two CPUs one busy process has made one
thread look 1.4 times faster than TensorFlow's default, which it was not. The kernel counts how long
the CPUs were busy (proc_stat(5)) and how long our own processes ran; the rest was other work.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine import cgroups

logger = logging.getLogger(__name__)

Measured = TypeVar("Measured")

QUIET = 0.1
"""So many CPUs others may take: what runs on every machine takes less."""

GRAIN_S = 0.03
"""How far off a difference of the kernel's counts may be: it counts in ticks of 10 ms."""

WINDOW_S = 0.5
"""Other work is looked for in spans of at least so many seconds; a shorter one is mostly grain."""

PATIENCE_S = 30.0
"""So long other work is waited for, unless the user says otherwise."""

PATIENCE_VARIABLE = "KAMERTON_RAY_PATIENCE_S"
"""The variable by which the user can."""

NAMED = 3
"""So many processes are named at most."""

NAMES_LAST_S = 30.0
"""So long a look at who is in the way counts: it takes half a second."""

KEPT_OF_A_NAME = 15
"""The kernel keeps so many bytes of a process's name (proc_pid_comm(5))."""

LEAST_NAMED = 0.05
"""A process that takes fewer CPUs is not named."""


class Mark(NamedTuple):
    """A moment: the clock, and the CPU seconds that others had taken by then."""

    clock: float
    others: float


@dataclass(frozen=True)
class Reading:
    """What others took in a span of time.

    Attributes:
        cpus: In CPUs, as a mean over the span; NaN where the system does not count it.
        seconds: How long the span was.
    """

    cpus: float
    seconds: float

    @property
    def disturbed(self) -> bool:
        """Whether that is more than runs on every machine."""
        return self.seconds > 0 and self.cpus > QUIET + GRAIN_S / self.seconds


def patience() -> float:
    """How many seconds other work is waited for, where no option says it.

    Raises:
        InvalidInputError: The variable for it holds no number.
    """
    said = os.environ.get(PATIENCE_VARIABLE)
    try:
        return PATIENCE_S if said is None else float(said)
    except ValueError:
        raise InvalidInputError(
            f"{PATIENCE_VARIABLE} must be a number of seconds, but is {said!r}"
        ) from None


def busiest(seconds: float = WINDOW_S) -> str:
    """The processes, other than ours, that take CPUs just now, in words."""
    before = _cpu_seconds_of_all()
    time.sleep(seconds)
    return _grown_most(before, seconds)


def others_cpu_seconds() -> float:
    """The CPU seconds that others have taken of the CPUs that this process may use.

    Only its growth has a meaning. NaN where the system does not count it.
    """
    return busy_cpu_seconds() - own_cpu_seconds()


def busy_cpu_seconds(root: Path = Path("/")) -> float:
    """How long the CPUs that this process may use have worked, added up; NaN if not counted.

    The kernel's first, second, third, sixth and seventh time of each CPU (proc_stat(5)). What the
    hypervisor has taken does not count.
    """
    allowed = os.sched_getaffinity(0)
    busy = {
        int(line[0][3:]): sum(map(int, (*line[1:4], *line[6:8])))
        for line in map(str.split, cgroups.read(root / "proc/stat").splitlines())
        if line and line[0].startswith("cpu") and line[0][3:].isdecimal()
    }
    ticks = [busy[cpu] for cpu in allowed if cpu in busy]
    return sum(ticks) / os.sysconf("SC_CLK_TCK") if ticks else math.nan


def own_cpu_seconds() -> float:
    """The CPU seconds of this process and all it has started, those that have ended included."""
    return sum(_cpu_seconds(process) for process in _ours())


def stolen_cpu_seconds() -> float:
    """The seconds that the hypervisor has taken from all CPUs since the start of the machine.

    The eighth number of the first line of /proc/stat (proc_stat(5), "steal"); NaN without one.
    """
    try:
        return int(cgroups.read(Path("/proc/stat")).split(maxsplit=9)[8]) / os.sysconf("SC_CLK_TCK")
    except (IndexError, ValueError):
        return math.nan


def spare_cpus(root: Path = Path("/")) -> float:
    """How many of the CPUs that this process may run on its quota leaves to others."""
    quota = cgroups.tightest_quota(root)
    return 0.0 if quota is None else max(0.0, len(os.sched_getaffinity(0)) - quota.cpus)


def _ours() -> Iterator[psutil.Process]:
    me = psutil.Process()
    yield me
    yield from me.children(recursive=True)


def _cpu_seconds(process: psutil.Process, *, with_ended: bool = True) -> float:
    """A process's own CPU seconds, with those of its ended children that it has waited for."""
    with contextlib.suppress(psutil.Error):
        return float(sum(process.cpu_times()[: 4 if with_ended else 2]))
    return 0.0


def _cpu_seconds_of_all() -> dict[psutil.Process, float]:
    """What each of the others has taken itself.

    A child that ends gives all that it ever took to its parent at once, which may be hours.
    """
    ours = set(_ours())
    others = (one for one in psutil.process_iter() if one not in ours)
    return {one: _cpu_seconds(one, with_ended=False) for one in others}


def _grown_most(before: dict[psutil.Process, float], seconds: float) -> str:
    """Those that have taken the most since then; one that began since has taken all of its time."""
    taken = {
        one: (now - before.get(one, 0.0)) / seconds for one, now in _cpu_seconds_of_all().items()
    }
    first = sorted(taken, key=lambda one: -taken[one])[:NAMED]
    named = [f"{_name(one)} {taken[one]:.1f}" for one in first if taken[one] >= LEAST_NAMED]
    return ", ".join(named)


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return f"{process.name()} (process {process.pid})"
    return f"process {process.pid}"


@dataclass(frozen=True, kw_only=True)
class Gauges:
    """What is read of the machine; each is a function without arguments.

    Attributes:
        clock: The seconds on some clock.
        sleep: Waits for so many seconds.
        stolen: The CPU seconds that the hypervisor has taken from all CPUs so far.
        others: The CPU seconds that others have taken of the CPUs that this process may use.
        names: The processes that take CPUs just now, in words.
        room: How many CPUs others may take without being in the way.
        quota: The quota under which trials run.
    """

    clock: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    stolen: Callable[[], float] = stolen_cpu_seconds
    others: Callable[[], float] = others_cpu_seconds
    names: Callable[[], str] = busiest
    room: float = field(default_factory=spare_cpus)
    quota: cgroups.Quota | None = field(default_factory=cgroups.tightest_quota)


class Watch:
    """Watches for other work, and waits for it to end as long as patience lasts.

    Args:
        gauges: What is read of the machine.
        patience_s: How many seconds may go into waiting and measuring again. A quiet moment gives
            all of them back.

    Attributes:
        gauges: What is read of the machine.
        beside: Who was in the way when that was last looked for.
    """

    def __init__(self, gauges: Gauges, *, patience_s: float) -> None:
        self.gauges = gauges
        self.beside = ""
        self._named_s = -math.inf
        self._patience_s = self._left_s = patience_s

    def start(self) -> Mark:
        """The moment at which a span begins."""
        return Mark(self.gauges.clock(), self.gauges.others())

    def since(self, mark: Mark) -> Reading:
        """What others have taken since then."""
        now = self.start()
        seconds = now.clock - mark.clock
        taken = now.others - mark.others
        cpus = taken / seconds - self.gauges.room if seconds > 0 else math.nan
        return Reading(cpus if math.isnan(cpus) else max(0.0, cpus), seconds)

    def again(self, reading: Reading) -> bool:
        """Whether to measure anew what was read; if so, the machine has been waited for."""
        if not reading.disturbed:
            self._left_s = self._patience_s
            return False
        if self._left_s <= 0:
            self._name()
            return False
        self._left_s -= reading.seconds
        self._wait()
        return True

    def _name(self) -> None:
        """Look at who is in the way, unless that was just done."""
        now = self.gauges.clock()
        if now - self._named_s >= NAMES_LAST_S:
            self.beside, self._named_s = self.gauges.names(), now

    def _wait(self) -> None:
        """Wait for a quiet window, and say for whom."""
        self._name()
        logger.warning(
            "Other work takes CPUs: %s. It is waited for up to %.0f s, and measured again.",
            self.beside or "unnamed",
            max(self._left_s, 0),
        )
        while self._left_s > 0:
            mark = self.start()
            self.gauges.sleep(WINDOW_S)
            reading = self.since(mark)
            if not reading.disturbed:
                return
            self._left_s -= reading.seconds


@dataclass(frozen=True)
class Circumstances:
    """What else happened on the machine while something was measured.

    Attributes:
        others: How many CPUs other work took, as a mean; NaN where that is not counted.
        beside: Who that was, where it was more than runs on every machine.
        throttled: The share of the CPU quota's periods that were used up; NaN without a quota.
        held_back: The share of the CPU time that it had to wait for; NaN likewise.
    """

    others: float = math.nan
    beside: str = ""
    throttled: float = math.nan
    held_back: float = math.nan


def undisturbed(
    watch: Watch, measure: Callable[[], Measured], worked: Callable[[Measured], bool]
) -> tuple[Measured, Circumstances]:
    """Measure once, or again as long as other work disturbs it and patience lasts.

    Args:
        watch: What waits for other work to end.
        measure: Runs what is measured, and returns its result.
        worked: Whether a result is one that is worth measuring again.

    Returns:
        The result, and what else happened meanwhile.
    """
    while True:
        mark = watch.start()
        result, stopped = _under_quota(watch.gauges, measure)
        reading = watch.since(mark)
        if not worked(result) or not watch.again(reading):
            beside = watch.beside if reading.disturbed else ""
            return result, Circumstances(reading.cpus, beside, *stopped)


def _under_quota(
    gauges: Gauges, measure: Callable[[], Measured]
) -> tuple[Measured, tuple[float, float]]:
    """Measure with a full quota, where there is one, and say how much it stopped: both shares."""
    quota = gauges.quota
    if quota is None:
        return measure(), (math.nan, math.nan)
    gauges.sleep(quota.period_s)
    before = quota.throttling()
    result = measure()
    throttling = quota.throttling() - before
    return result, (throttling.share, quota.held_back(throttling))


def look(seconds: float = WINDOW_S) -> tuple[Reading, str]:
    """What others take just now, and who.

    Args:
        seconds: How long to look.
    """
    watch = Watch(Gauges(), patience_s=0)
    mark, before = watch.start(), _cpu_seconds_of_all()
    time.sleep(seconds)
    return watch.since(mark), _grown_most(before, seconds)


def command_lines(program: str) -> dict[int, list[str]]:
    """The command lines of the processes that run a program, by their ids."""
    found = psutil.process_iter(["name", "cmdline"])
    return {
        one.pid: list(one.info["cmdline"] or ())
        for one in found
        if one.info["name"] and one.info["name"][:KEPT_OF_A_NAME] == program[:KEPT_OF_A_NAME]
    }
