"""A script with Kamerton's loop, unmodified, whose attempts are trials that execute the script.

Each attempt is a process of its own in which the loop yields that attempt's vertex, and ends with
its body. Before the first, one more process says what the loop searches for.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from kamerton_ray.errors import LoopError
from kamerton_ray.machine.environment import user_environment
from kamerton_ray.machine.neighbours import Gauges, Watch
from kamerton_ray.machine.threads import THREADS
from kamerton_ray.process.attempt import Attempt
from kamerton_ray.process.command_nest import CommandNest
from kamerton_ray.process.messages import StartCommand
from kamerton_ray.process.outcome import AttemptError, Outcome
from kamerton_ray.trial.config import Config
from kamerton_ray.trial.instances import Combine, all_found, environments
from kamerton_ray.trial.knobs import Knobs, check_program_knobs
from kamerton_ray.trial.logged import KEPT, UNCHECKED, check_effects
from kamerton_ray.trial.loop import BodyResult, what_ended
from kamerton_ray.trial.loop_messages import ORDER, BodyEnded, Describe, RunBody, Search
from kamerton_ray.trial.measurer import despite_a_lost_nest, undisturbed_result
from kamerton_ray.trial.result import Result

NAMES = (
    *("objective", "seconds", "left", "outcome", "error", "restarted"),
    *("others", "beside", "throttled", "held_back"),
)
"""What a trial reports, and `UNCHECKED` if it has it."""

DESCRIBE_TIMEOUT_S = 600.0
"""How long a script may take to come to its loop."""


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script and its arguments.

    Attributes:
        path: Where it lies, from the working directory of its processes.
        args: Its arguments.
    """

    path: str
    args: tuple[str, ...] = ()

    def argv(self) -> list[str]:
        """The command that executes it."""
        return [sys.executable, self.path, *self.args]


@dataclass(frozen=True)
class Described:
    """What the loop in a script searches for.

    Attributes:
        space: The lowest and highest value of each axis; two are `intra_op` and `inter_op`.
        starts: What to try first.
        iterations: At most so many attempts.
        repeats: How often each is run.
        timeout_s: How long each may take.
    """

    space: dict[str, tuple[int, int]]
    starts: list[dict[str, int]]
    iterations: int | None
    repeats: int
    timeout_s: float


def describe(
    script: Script, cwd: str | None = None, *, env: Mapping[str, str] | None = None
) -> Described:
    """Execute a script up to its loop, and ask that what it searches for.

    Args:
        script: The script.
        cwd: Where to execute it.
        env: Variables to set beside the user's own.

    Raises:
        LoopError: It has none, or failed before it.
    """
    runner = ScriptRunner(script, timeout_s=DESCRIBE_TIMEOUT_S, cwd=cwd)
    try:
        with runner.started(Describe(), [env or {}]) as (attempt,):
            found = attempt.answer(Search, DESCRIBE_TIMEOUT_S)
    except AttemptError as error:
        if error.outcome is Outcome.EXITED and error.detail == "with code 0":
            raise LoopError(f"{script.path} has ended without a loop over kamerton()") from None
        raise LoopError(f"{script.path} has failed before its loop: {error}") from None
    finally:
        runner.close()
    names = axis_names(len(found.bounds))
    return Described(
        {name: (low, high) for name, (low, high) in zip(names, found.bounds, strict=True)},
        [dict(zip(names, vertex, strict=True)) for vertex in found.starts],
        found.iterations,
        found.repeats,
        found.timeout,
    )


def conclude(script: Script, vertex: list[int], env: Mapping[str, str]) -> int:
    """Execute a script as the last iteration of its loop would be, and go on after it.

    Args:
        script: The script.
        vertex: The best one.
        env: The user's environment, without what Ray has added meanwhile.

    Returns:
        Its exit code.
    """
    order = {ORDER: RunBody(vertex, goes_on=True).to_json().decode()}
    return subprocess.run(script.argv(), env={**env, **order}, check=False).returncode


class ScriptRunner:
    """Executes a script, one vertex after the other, with or without Ray.

    Args:
        script: The script.
        names: The axes' names, in the order of the vertex.
        repeats: How often each vertex is run; the median counts.
        combine: What the numbers of several instances of the body come to.
        timeout_s: How many seconds an attempt may take.
        patience_s: How many seconds to wait for other work on the machine to end.
        cwd: Where to execute it.
        knobs: The knobs, and variables, that are tuned beside the axes.
    """

    def __init__(
        self,
        script: Script,
        *,
        names: Sequence[str] = (),
        repeats: int = 1,
        combine: Combine = Combine.SLOWEST,
        timeout_s: float,
        patience_s: float = 0.0,
        cwd: str | None = None,
        knobs: Sequence[str] = (),
    ) -> None:
        check_program_knobs(knobs)
        self._knobs = Knobs(knobs)
        self._script, self._names, self._repeats = script, names, repeats
        self._combine = combine
        self._timeout_s, self._cwd = timeout_s, cwd
        self._nest = CommandNest()
        self._watch = Watch(Gauges(), patience_s=patience_s)

    @despite_a_lost_nest
    def measure(self, config: Config) -> Result:
        """Run the loop's body with a vertex; again if it was disturbed.

        Where the configuration says so, several instances of it run at the same time.

        Returns:
            `objective`, the number that the body printed last, or what those of the instances come
            to; `seconds`, from the start to the end of all; and whether a body left its loop.
            Where one failed the numbers are NaN.

        Raises:
            InvalidInputError: `instances` is no positive integer.
        """
        return undisturbed_result(self._watch, config, self._measured)

    def _measured(self, config: Config) -> Result:
        begin = time.perf_counter()
        values, left = [], False
        silent: tuple[str, ...] = ()
        try:
            for _ in range(self._repeats):
                bodies, silent = self._bodies(config)
                left = any(body.left for body in bodies)
                numbers = [math.nan if body.value is None else body.value for body in bodies]
                values.append(self._combine.of(numbers))
                if left:
                    break
        except AttemptError as error:
            return Result(outcome=error.outcome, error=str(error), names=NAMES)
        return Result(
            objective=statistics.median(values),
            seconds=time.perf_counter() - begin,
            left=left,
            unchecked=silent,
            names=(*NAMES, *([UNCHECKED] if silent else ())),
        )

    def _bodies(self, config: Config) -> tuple[list[BodyResult], tuple[str, ...]]:
        """What the body of each instance comes to, and which knobs' effect nothing shows."""
        order = RunBody([config[name] for name in self._names])
        set_, env = self._knobs.variables(config), self._knobs.applied(user_environment(), config)
        own = [{**{name: env[name] for name in set_}, **told} for told in environments(config)]

        def look(attempt: Attempt) -> tuple[BodyResult, tuple[str, ...]] | None:
            body = _body(attempt)
            return None if body is None else (body, check_effects(attempt, set_))

        with self.started(order, own) as attempts:
            found = all_found(attempts, look, self._timeout_s)
        return [body for body, _ in found], found[0][1]

    def started(
        self, order: Describe | RunBody, envs: Sequence[Mapping[str, str]]
    ) -> AbstractContextManager[list[Attempt]]:
        """Processes that execute the script, whose loop follows the order.

        Args:
            order: The order.
            envs: The variables of each beside the user's own.
        """
        env = {**user_environment(), ORDER: order.to_json().decode()}
        argv = self._script.argv()
        return self._nest.started(
            [StartCommand(argv, {**env, **own}, self._cwd, reports=True) for own in envs],
            keep=KEPT,
        )

    def close(self) -> None:
        """End every process."""
        self._nest.close()


def _body(attempt: Attempt) -> BodyResult | None:
    """What the body in an attempt comes to, if it has ended."""
    ended = attempt.answered(BodyEnded)
    return None if ended is None else what_ended(attempt, ended)


def axis_names(count: int) -> Sequence[str]:
    """What the axes of a loop are called: two are thread counts."""
    return THREADS if count == len(THREADS) else [f"x{place}" for place in range(count)]
