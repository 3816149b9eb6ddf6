"""A nest whose attempts build a model and run its steps, and the handle on such an attempt.

An attempt costs a tenth of a second where a new process that imports TensorFlow costs six to ten.
"""

from __future__ import annotations

import pickle
import shutil
import tempfile
from collections.abc import Mapping, Sequence

import cloudpickle

from kamerton_ray.machine.hardware import UNKNOWN, Machine
from kamerton_ray.machine.threads import Threading
from kamerton_ray.process.attempt import Attempt
from kamerton_ray.process.handle import START_TIMEOUT_S, CleanNest
from kamerton_ray.process.messages import (
    BuildStep,
    Built,
    ImportsFailed,
    Inside,
    LookInside,
    ModelSetup,
    Ready,
    RunSteps,
    StepSeconds,
)
from kamerton_ray.process.outcome import AttemptError, Outcome
from kamerton_ray.process.spent import Spent


class ModelNest(CleanNest):
    """The handle on a clean nest that has imported TensorFlow and `build`.

    Args:
        build: The pickled function to build steps with.
        env: Its whole environment, and that of every attempt. What binds when TensorFlow is
            imported (`TF_ENABLE_ONEDNN_OPTS`, `OMP_*`) therefore needs a nest of its own.
        preload: Whether the nest imports TensorFlow and unpickles `build` itself. Otherwise each
            attempt does, which costs seconds, but works where that starts TensorFlow's runtime.
        tensorflow: Whether to import TensorFlow and to set thread counts.
        cwd: The working directory.
        source: The file of `build`, for tracebacks.

    Its temporary folder, in Python, is one of its own, which goes with it.

    Attributes:
        started: What the imports started, in words, whose threads do not survive a fork, so that
            the attempts need a nest that does not preload; empty where that is nothing.

    Raises:
        AttemptError: The imports failed.
    """

    def __init__(
        self,
        build: bytes,
        *,
        env: Mapping[str, str],
        preload: bool = True,
        tensorflow: bool = True,
        cwd: str | None = None,
        source: str = "",
    ) -> None:
        self._imports_s = 0.0 if preload else START_TIMEOUT_S
        self._folder = tempfile.mkdtemp(prefix="kamerton_ray-")
        setup = ModelSetup(
            build=build,
            preload=preload,
            tensorflow=tensorflow,
            folder=self._folder,
            source=source,
        )
        super().__init__(
            "kamerton_ray.process.in_model_nest", pickle.dumps(setup), env=env, cwd=cwd
        )
        try:
            self.started = self._first_notice().started
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the nest and all its attempts, and wait until they are gone."""
        super().close()
        shutil.rmtree(self._folder, ignore_errors=True)  # where it could not do so itself

    def attempt(
        self,
        threads: Threading,
        config: object = None,
        *,
        timeout: float,
        cpus: Sequence[int] = (),
        variables: Mapping[str, str] | None = None,
        knobs: Mapping[str, str] | None = None,
    ) -> ModelAttempt:
        """Start an attempt.

        Args:
            threads: The thread counts to set first.
            config: What a `build` with a parameter gets.
            timeout: How many seconds building, or a block of steps, may take.
            cpus: The CPUs to run on; none for all that there are.
            variables: What to add to its environment.
            knobs: The variables of the nest's environment whose effect is checked.

        Raises:
            AttemptError: The nest was lost.
        """
        attempt = ModelAttempt(self, timeout, imports_s=self._imports_s)
        own, checked = dict(variables or {}), dict(knobs or {})
        attempt.give(BuildStep(list(threads), list(cpus), own, checked))
        attempt.give_bytes(cloudpickle.dumps(config))
        return attempt

    def _first_notice(self) -> Ready:
        notice = self.notice(START_TIMEOUT_S, Ready, ImportsFailed)
        if isinstance(notice, ImportsFailed):
            raise AttemptError(Outcome.BUILD_RAISED, "on import:\n" + notice.traceback)
        return notice


class ModelAttempt(Attempt):
    """The handle on an attempt that builds a step, runs one, and then blocks of it on request.

    Args:
        nest: What forks it.
        timeout: How many seconds building, or a block of steps, may take.
        imports_s: How many more it may take before it builds.

    Attributes:
        machine: What it runs on.
        spent: What the steps have taken so far.
        timeout: How many seconds a block of steps may take.
        build_timeout: How many seconds building may take.
    """

    def __init__(self, nest: ModelNest, timeout: float, *, imports_s: float = 0.0) -> None:
        super().__init__(nest)
        self.machine = UNKNOWN
        self.spent = Spent()
        self.timeout = timeout
        self.build_timeout = timeout + imports_s

    def built(self) -> Machine | None:
        """The machine that it has built the step on; None as long as it has not.

        Raises:
            AttemptError: It failed to.
        """
        if (answer := self.answered(Built)) is None:
            return None
        self.machine = Machine.of(answer.machine)
        return self.machine

    def start(self, steps: int) -> None:
        """Have it run steps one after the other."""
        self.give(RunSteps(steps))

    def done(self) -> StepSeconds | None:
        """What the first step took, or those that were started; None as long as they run.

        Raises:
            AttemptError: A step failed.
        """
        if (answer := self.answered(StepSeconds)) is not None:
            self.spent += Spent(answer.cpu_s, answer.system_s, answer.faults)
        return answer

    def look_inside(self, steps: int) -> Inside:
        """What passes inside of so many steps, which the profiler slows down.

        Raises:
            AttemptError: A step failed, or another profiler is at work, or they took too long.
        """
        self.give(LookInside(steps))
        return self.answer(Inside, self.timeout)
