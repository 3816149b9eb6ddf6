"""A window: what processes have done that ran steps at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kamerton_ray.trial.estimate import Floats


@dataclass(frozen=True)
class Run:
    """The steps that one process ran, one after the other.

    Attributes:
        ticks: When each began and the last ended, in seconds on the machine's clock.
        each: How many steps there are between two ticks; 1 but in a long block of short steps.
    """

    ticks: Floats
    each: int = 1

    def done(self, begin_s: float, end_s: float) -> float:
        """How many steps were done in a time, those that it cuts as the share inside of it."""
        first, last = self.ticks[:-1], self.ticks[1:]
        inside = np.minimum(last, end_s) - np.maximum(first, begin_s)
        took = np.maximum(last - first, np.finfo(float).tiny)
        return self.each * float(np.sum(np.clip(inside / took, 0.0, 1.0)))

    def step_times(self, begin_s: float, end_s: float) -> Floats:
        """The seconds of the steps whose middle lies in a time."""
        middles = (self.ticks[:-1] + self.ticks[1:]) / 2
        found: Floats = np.diff(self.ticks)[(begin_s <= middles) & (middles <= end_s)]
        return found / self.each


@dataclass(frozen=True)
class Window:
    """A time in which all of some processes ran steps, and what they did in it.

    Steps that the ends of the window cut count as shares, so it need not wait for anybody: before
    its begin one process may run alone, and after its end another.

    Attributes:
        runs: The steps of each process.
        begin_s: When it begins, on the machine's clock.
        end_s: When it ends.
    """

    runs: tuple[Run, ...]
    begin_s: float
    end_s: float

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Window:
        """The time in which all of them ran; where there is none, all that they took."""
        begins, ends = [run.ticks[0] for run in runs], [run.ticks[-1] for run in runs]
        if max(begins) < min(ends):
            return cls(tuple(runs), float(max(begins)), float(min(ends)))
        return cls(tuple(runs), float(min(begins)), float(max(ends)))

    def part(self, after_s: float, length_s: float) -> Window:
        """The part of it that begins so much later, and is so long; at most to its end."""
        begin = min(self.begin_s + after_s, self.end_s)
        return replace(self, begin_s=begin, end_s=min(begin + length_s, self.end_s))

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end_s - self.begin_s

    @property
    def steps(self) -> float:
        """How many steps all of them did in it."""
        return sum(run.done(self.begin_s, self.end_s) for run in self.runs)

    @property
    def step_times(self) -> Floats:
        """The seconds of the steps in it, or of all where it is shorter than a step."""
        found = [run.step_times(self.begin_s, self.end_s) for run in self.runs]
        if not any(map(len, found)):
            found = [run.step_times(-np.inf, np.inf) for run in self.runs]
        return np.concatenate(found)
