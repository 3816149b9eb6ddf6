"""What is shown while a search runs: each trial, the best so far and the time left."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.live import Live
from rich.text import Text

from kamerton_ray.answer.head_to_head import Stage
from kamerton_ray.answer.rounds import Course
from kamerton_ray.cli.saying import printable
from kamerton_ray.machine.memory import in_words as in_bytes
from kamerton_ray.process.outcome import TRACEBACK
from kamerton_ray.trial.config import ONE_PROCESS, in_words, instances_of
from kamerton_ray.trial.instances import SHARED
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.goal import Goal, Limits
from kamerton_ray.tune.schedule import LEAST_TRIALS

LONGEST_ERROR = 200
"""So much of why a trial failed is shown in its line."""

OUTPUT = re.compile(r"^Its last lines of std(?:out|err):$", re.MULTILINE)
"""What stands in an error before these."""

WHOLE_FROM = 100.0
"""So many steps a second and more have no decimals."""

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))

MARGIN = " " * 9
"""Before what is not said at a time of its own."""


class Display:
    """A line for each trial on standard error, and under them, on a terminal, how far it has come.

    Args:
        goal: What is searched for.
        limits: When it ends.
        objective: What is judged by: its values are shown, whatever the search goes by.
        quiet: Whether to show nothing.
        before: How many trials a resumed search has kept: the next one's number follows.
        note: Says how the first result that worked was come by; empty for nothing.
    """

    def __init__(
        self,
        goal: Goal,
        limits: Limits,
        objective: Objective,
        *,
        quiet: bool,
        before: int = 0,
        note: Callable[[Result], str] = lambda _: "",
    ) -> None:
        self._goal, self._limits, self._objective, self._note = goal, limits, objective, note
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._begin = time.monotonic()
        self._before = before
        self._results: list[Result] = []
        self._best: Result | None = None
        self._first: Result | None = None
        self._course: Course | None = None
        self._state: tuple[Stage, int] | None = None
        self._live = Live(console=self._console, get_renderable=self._status, refresh_per_second=2)

    def __enter__(self) -> None:
        if self._console.is_terminal:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, result: Result) -> None:
        """Show what a trial found."""
        self._results.append(result)
        worked = not math.isnan(self._value(result))
        if worked and (self._best is None or self._is_better(result, self._best)):
            self._best = result
        lines = [self._line(result, worked=worked)]
        if worked and self._first is None:
            self._first = result
            lines += [f"{MARGIN}{note}"] if (note := self._note(result)) else []
        if len(self._results) == LEAST_TRIALS:
            lines += [f"{MARGIN}{plan}" for plan in self._plan()]
        self._say("\n".join(lines))

    def _plan(self) -> Iterator[str]:
        """How it goes on, where that is known by now."""
        schedule = self._limits.schedule
        if math.isfinite(schedule.trials_left):
            more = max(0, int(schedule.trials_left))
            yield f"time for {more} more trials; about {schedule.total_s:.0f} s in all"

    def _line(self, result: Result, *, worked: bool) -> str:
        place = self._before + len(self._results)
        found = self._found(result) if worked else f"failed: {headline(result.error)}"
        return f"{self._spent():5.0f} s  trial {place:>3}  {self._config(result)}  {found}"

    def show_round(self, course: Course) -> None:
        """Show how the comparison stands: a line where it has changed, and always on a terminal."""
        self._course = course
        state = (course.stage, len(course.left))
        if state == self._state:
            return
        self._state = state
        self._say(f"{self._spent():5.0f} s  {self._standing()}")

    def _spent(self) -> float:
        return time.monotonic() - self._begin

    def _say(self, text: str) -> None:
        # A file has no width to be broken at.
        self._console.print(Text(printable(text)), soft_wrap=True)

    def _standing(self) -> str:
        course = self._course
        if course is None:
            return "comparing the best with the default, in fresh processes"
        if course.stage is Stage.RACE:
            return f"comparison, round {len(course.rounds)}: {len(course.left)} may be the best"
        best = in_words(course.chosen or {})
        return f"comparison, round {len(course.rounds)}: {best} against the default"

    def _status(self) -> Text:
        if self._course is None:
            return Text("; ".join(self._progress()), style="bold")
        parts = [f"{self._spent():.0f} s", self._standing(), *self._left()]
        return Text("; ".join(parts), style="bold")

    def _left(self) -> Iterator[str]:
        """How much time is left for all of it, where that is known."""
        if (left := self._limits.schedule.left_s) is not None:
            yield f"{left:.0f} s left"

    def _progress(self) -> Iterator[str]:
        """How far the search has come, in parts."""
        spent = self._spent()
        yield f"{spent:.0f} s, {len(self._results)} trials"
        if self._best is not None:
            yield f"best {self._config(self._best)} {self._found(self._best)}"
        yield from self._left()
        if self._limits.trials is not None:
            yield f"at most {self._limits.trials} trials"

    def _value(self, result: Result) -> float:
        return result.number(self._goal.metric)

    def _found(self, result: Result) -> str:
        """What a trial measured, and what is to be said of it."""
        found = f"{self._measured(result)}{self._over_limits(result)}{_unchecked(result)}"
        return f"{found}; beside {result.beside}" if result.beside else found

    def _measured(self, result: Result) -> str:
        """The objective's value, with what is known of it."""
        metric = self._objective.metric
        value = in_unit(metric, result.number(metric))
        if metric == "objective":
            several = instances_of(result.config) > 1  # what was read is the first one's alone
            return value if several else result.read or value
        if metric == "speedup":
            low, high = result.interval(metric)
            return value if math.isnan(low + high) else f"{value} [{low:.2f}, {high:.2f}]"
        return value if metric == "seconds" else f"{metric} {value}{self._beside(result)}"

    def _over_limits(self, result: Result) -> str:
        judge = self._objective
        over = "".join(
            f"; over the limit: {key} {in_unit(key, value)}, at most {in_unit(key, most)}"
            for key, most in judge.at_most.items()
            if not (value := result.number(key)) <= most
        )
        return over + "".join(
            f"; below the limit: {key} {in_unit(key, value)}, at least {in_unit(key, least)}"
            for key, least in judge.at_least.items()
            if not (value := result.number(key)) >= least
        )

    def _beside(self, result: Result) -> str:
        """What the default's own trial measured, for the others."""
        first, metric = self._first, self._objective.metric
        if first is None or first.config == result.config or not is_default(first):
            return ""
        return f" (default {in_unit(metric, first.number(metric))})"

    def _is_better(self, result: Result, other: Result) -> bool:
        value, best = self._value(result), self._value(other)
        return value < best if self._goal.mode == "min" else value > best

    def _config(self, result: Result) -> str:
        return in_words({name: result.tuned[name] for name in self._goal.space})


def _unchecked(result: Result) -> str:
    """Which variables of knobs nothing shows to have taken effect in a program."""
    return f"; not checked: {', '.join(result.unchecked)}" if result.unchecked else ""


def is_default(result: Result) -> bool:
    """Whether a trial ran with the counts that TensorFlow chooses by itself, and nothing else."""
    machine = result.machine
    usual = {**ONE_PROCESS, **machine.default_threads}
    return bool(machine.usable_cpus) and {**ONE_PROCESS, **result.tuned} == usual


def in_unit(metric: str, value: float) -> str:
    """A value of a metric as it is best read, with its unit."""
    if metric == "speedup":
        return f"{value:.2f}x"
    if metric == "throughput":
        return f"{value:.3g} steps/s" if abs(value) < WHOLE_FROM else f"{value:.0f} steps/s"
    if metric.startswith("seconds") or metric == "cpu_seconds":
        scale, unit = next(((s, u) for s, u in UNITS if abs(value) >= s), UNITS[-1])
        return f"{value / scale:.3g} {unit}"
    if metric == "memory":
        return in_bytes(value)
    return f"{value:.6g}"


def headline(error: str) -> str:
    """Why a trial failed, in a line: what happened, and the last line of each that tells of it."""
    before, raised, traced = error.strip().rpartition(TRACEBACK)
    if raised:
        return ", ".join([before.splitlines()[0], traced.splitlines()[-1]])[:LONGEST_ERROR]
    told, *outputs = OUTPUT.split(error.strip().removesuffix(SHARED).strip())
    first, *more = told.strip().splitlines() or [""]
    last = outputs[-1].strip().splitlines() if outputs else []
    return ", ".join([first, *more[-1:], *last[-1:]])[:LONGEST_ERROR]
