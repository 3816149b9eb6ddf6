"""How a command's time is shared out between its search and the comparison after it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

USUAL_S, QUICK_S = 60.0, 25.0
"""So many seconds a command takes where nobody says it, and where a quick answer is asked for."""

WORTH_TRIALS = 15
"""The usual time grows with the model: it is that of so many trials."""

SEARCH_SHARE = 0.5
"""After this share of the time no more trials are begun."""

LEAST_TRIALS = 2
"""So many trials are run in any case: the first is the default's, and has imported TensorFlow."""

ENDING_S = 2.0
"""So many seconds are left for Ray to end."""

MEASURED_SHARE, LEAST_MEASURED_S, MOST_MEASURED_S = 1 / 60, 0.5, 4.0
"""A trial measures for this share of the time, in seconds at least and at most so long."""


class Schedule:
    """How long a command may take, and how much of that its search.

    Args:
        total_s: About how many seconds it may take; infinite for as many as it needs.
        grows: Whether that is more where the model is slow.
        compares: Whether a comparison follows the search.
        repeats: Whether what a trial runs is run once more at the end.
        begin: When it has begun, on that clock; by default now.
        clock: The seconds on some clock.
    """

    def __init__(
        self,
        total_s: float = math.inf,
        *,
        grows: bool = False,
        compares: bool = True,
        repeats: bool = False,
        begin: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._told_s = total_s
        self.grows, self.compares, self._clock = grows, compares, clock
        self._repeats, self._begin = repeats, clock() if begin is None else begin
        self._trials_s: list[float] = []

    def note(self, trial_s: float) -> None:
        """Take in how long a trial took; NaN where nobody knows it."""
        if not math.isnan(trial_s):
            self._trials_s.append(trial_s)

    @property
    def spent_s(self) -> float:
        """How long the command has taken so far."""
        return self._clock() - self._begin

    @property
    def total_s(self) -> float:
        """How long it may take; infinite for as long as it needs."""
        if not self.grows or not self._trials_s:
            return self._told_s
        return max(self._told_s, WORTH_TRIALS * min(self._trials_s))

    @property
    def left_s(self) -> float | None:
        """How long the comparison may take from now on; None for as long as it needs."""
        left = self._end_s - self.spent_s
        return None if math.isinf(left) else max(left, 0.0)

    @property
    def search_s(self) -> float:
        """When the search ends, in seconds since the command has begun."""
        return self._end_s * (SEARCH_SHARE if self.compares else 1.0)

    @property
    def _end_s(self) -> float:
        """When all measuring ends, likewise."""
        again = self._trial_s if self._repeats and self._trials_s else 0.0
        return self.total_s - ENDING_S - again

    @property
    def _trial_s(self) -> float:
        """How long a trial takes."""
        return max(statistics.median(self._trials_s), 1e-9)

    @property
    def trials_left(self) -> float:
        """For how many more trials the search has time; infinite where nobody knows it."""
        if len(self._trials_s) < LEAST_TRIALS:
            return math.inf
        return (self.search_s - self.spent_s) / self._trial_s

    @property
    def search_is_over(self) -> bool:
        """Whether there is no time for another trial."""
        return self.trials_left < 1

    @property
    def is_over(self) -> bool:
        """Whether even a trial that runs has to be given up.

        Where the time grows with the trials nobody knows that before some have ended.
        """
        waits = self.grows and len(self._trials_s) < LEAST_TRIALS
        return not waits and self.spent_s > self._end_s


def measured_s(total_s: float) -> float:
    """How long a trial measures where the whole may take so long; infinite for as it needs."""
    return min(max(total_s * MEASURED_SHARE, LEAST_MEASURED_S), MOST_MEASURED_S)
