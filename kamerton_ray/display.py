"""What is shown while a search runs: each trial, the best so far and the time left."""

from __future__ import annotations

import math
import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from kamerton_ray.head_to_head import Stage
from kamerton_ray.numeric import number
from kamerton_ray.rounds import Course
from kamerton_ray.session import Goal, Limits
from kamerton_ray.verdict import in_words


class Display:
    """A line for each trial on standard error, and under them, on a terminal, how far it has come.

    Args:
        goal: What is searched for.
        limits: When it ends.
        quiet: Whether to show nothing.
    """

    def __init__(self, goal: Goal, limits: Limits, *, quiet: bool) -> None:
        self._goal, self._limits = goal, limits
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._begin = time.monotonic()
        self._results: list[dict[str, Any]] = []
        self._best: dict[str, Any] | None = None
        self._course: Course | None = None
        self._state: tuple[Stage, int] | None = None
        self._live = Live(console=self._console, get_renderable=self._status, refresh_per_second=2)

    def __enter__(self) -> Display:  # noqa: PYI034 - Self is of Python 3.11
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, result: dict[str, Any]) -> None:
        """Show what a trial found."""
        self._results.append(result)
        value = self._value(result)
        if math.isnan(value):
            found = f"failed: {str(result.get('error', '')).replace(chr(10), ' ')[:200]}"
        else:
            found = f"{value:.6g}{self._interval(result)}"
            if self._best is None or self._is_better(value, self._value(self._best)):
                self._best = result
        spent = time.monotonic() - self._begin
        self._console.print(
            Text(f"{spent:5.0f} s  trial {len(self._results):>3}  {self._config(result)}  {found}")
        )

    def show_round(self, course: Course) -> None:
        """Show how the comparison stands: a line where it has changed, and always on a terminal."""
        self._course = course
        state = (course.stage, len(course.left))
        if state == self._state:
            return
        self._state = state
        self._console.print(Text(f"{time.monotonic() - self._begin:5.0f} s  {self._standing()}"))

    def _standing(self) -> str:
        course = self._course
        if course is None:
            return "comparing the best with the default, in fresh processes"
        if course.stage is Stage.RACE:
            return f"comparison, round {len(course.rounds)}: {len(course.left)} may be the best"
        best = in_words(course.chosen or {})
        return f"comparison, round {len(course.rounds)}: {best} against the default"

    def _status(self) -> Text:
        if self._course is not None:
            spent = time.monotonic() - self._begin
            return Text(f"{spent:.0f} s; {self._standing()}", style="bold")
        spent = time.monotonic() - self._begin
        parts = [f"{spent:.0f} s, {len(self._results)} trials"]
        if self._best is not None:
            best = f"{self._value(self._best):.6g}{self._interval(self._best)}"
            parts.append(f"best {self._config(self._best)} {best}")
        if self._limits.time_budget_s is not None:
            parts.append(f"{max(0.0, self._limits.time_budget_s - spent):.0f} s left")
        if self._limits.trials is not None:
            parts.append(f"at most {self._limits.trials} trials")
        return Text("; ".join(parts), style="bold")

    def _value(self, result: dict[str, Any]) -> float:
        return number(result.get(self._goal.metric))

    def _interval(self, result: dict[str, Any]) -> str:
        low, high = (number(result.get(f"{self._goal.metric}_{end}")) for end in ("low", "high"))
        return "" if math.isnan(low + high) else f" [{low:.2f}, {high:.2f}]"

    def _is_better(self, value: float, other: float) -> bool:
        return value < other if self._goal.mode == "min" else value > other

    def _config(self, result: dict[str, Any]) -> str:
        return in_words({name: result["config"][name] for name in self._goal.space})
