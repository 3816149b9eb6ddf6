"""Instances: processes of the same model that are built and run at the same time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import numpy as np

from kamerton_ray.machine.hardware import Machine
from kamerton_ray.machine.memory import held_memory
from kamerton_ray.process.messages import Inside, StepSeconds
from kamerton_ray.process.model_nest import ModelAttempt
from kamerton_ray.process.outcome import AttemptError
from kamerton_ray.process.spent import Spent
from kamerton_ray.trial.instances import all_found
from kamerton_ray.trial.window import Run, Window


class Instances:
    """Processes with the same configuration; one of them is the usual case.

    A process that was forked and told its counts builds, and runs a first step, by itself.

    Args:
        attempts: The processes, in the order of their numbers.

    Attributes:
        count: How many there are.
        memory: The most bytes that one of them was seen to hold; 0 before `look`.
        first_s: How long their first steps took, the longest of them; NaN before `build`.
    """

    def __init__(self, attempts: Sequence[ModelAttempt]) -> None:
        self._attempts = list(attempts)
        self.count = len(self._attempts)
        self.memory = 0
        self.first_s = math.nan

    def __enter__(self) -> Instances:  # noqa: PYI034 - Self is of Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def error(self) -> AttemptError | None:
        """How one of them failed, or None."""
        return next((one.error for one in self._attempts if one.error is not None), None)

    @property
    def machine(self) -> Machine:
        """What they run on."""
        return self._attempts[0].machine

    @property
    def spent(self) -> Spent:
        """What their steps have cost so far."""
        return sum((attempt.spent for attempt in self._attempts), start=Spent())

    @property
    def strays(self) -> int:
        """How many processes they left behind in other groups; they were killed."""
        return sum(attempt.strays for attempt in self._attempts)

    def build(self) -> None:
        """Wait until all of them are built and have run a first step, each by itself.

        Raises:
            AttemptError: One was not, or not in time.
        """
        all_found(self._attempts, ModelAttempt.built, self._attempts[0].build_timeout)
        self.first_s = max(math.fsum(done.seconds) for done in self._done())

    def run(self, steps: int) -> Window:
        """Have each of them run so many steps, all at the same time.

        Raises:
            AttemptError: A step failed, or they took too long.
        """
        for attempt in self._attempts:
            attempt.start(steps)
        return Window.of(list(map(_run, self._done())))

    def look_inside(self, steps: int) -> Inside:
        """What passes inside of so many steps of the first of them.

        Raises:
            AttemptError: A step failed, or the profiler did, or they took too long.
        """
        return self._attempts[0].look_inside(steps)

    def _done(self) -> list[StepSeconds]:
        """What the steps took that all of them run."""
        return all_found(self._attempts, ModelAttempt.done, self._attempts[0].timeout)

    def look(self) -> None:
        """See how much memory they hold."""
        self.memory = max(self.memory, *(held_memory(one.pid) for one in self._attempts))

    def close(self) -> None:
        """End them with all they started, and wait until they are gone."""
        with contextlib.ExitStack() as stack:
            for attempt in self._attempts:
                stack.callback(attempt.close)


def _run(done: StepSeconds) -> Run:
    """When each step began and the last ended."""
    took = np.cumsum(np.asarray(done.seconds) * done.each)
    return Run(done.began + np.concatenate([[0.0], took]), done.each)
