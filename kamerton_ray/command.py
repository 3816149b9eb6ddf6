"""command: from any command line to a `tune.Trainable` that runs it, the counts in its environment.

The program needs no change: TensorFlow reads `TF_NUM_INTRAOP_THREADS` and `TF_NUM_INTEROP_THREADS`.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kamerton_ray.environment import user_environment, working_directory
from kamerton_ray.errors import InvalidInputError
from kamerton_ray.exports import environment
from kamerton_ray.isolation import Attempt, AttemptError, Outcome, Spawned, despite_a_lost_server
from kamerton_ray.machine import hardware
from kamerton_ray.neighbours import Gauges, Watch, patience, undisturbed
from kamerton_ray.timing import positive
from kamerton_ray.trainable import one_step

KEPT = 1 << 20
"""How many of the last bytes of each output a regular expression is looked for in."""

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"

TIME, LAST = "time", "last"


@dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """The options of `command`, which documents them."""

    argv: tuple[str, ...]
    objective: str = TIME
    timeout_s: float = 3600.0
    env: Mapping[str, str] = field(default_factory=dict)
    patience_s: float = field(default_factory=patience)

    def __post_init__(self) -> None:
        """Check them."""
        if not self.argv or not all(isinstance(part, str) for part in self.argv):
            raise InvalidInputError(f"a command must be a list of strings, but got {self.argv!r}")
        positive("timeout_s", self.timeout_s)
        positive("patience_s", self.patience_s, zero=True)
        try:
            groups = re.compile(self.objective).groups
        except re.error as error:
            raise InvalidInputError(
                f"objective must be 'time', 'last' or a regular expression, but {self.objective!r} "
                f"is none: {error}"
            ) from None
        if groups > 1:
            raise InvalidInputError(
                f"objective must have at most one group, the number, but got {self.objective!r}"
            )


class Runner:
    """Runs a command, one configuration after the other, with or without Ray.

    Args:
        options: The options of `command`.
        cwd: Where to run it.
    """

    def __init__(self, options: CommandOptions, cwd: str | None = None) -> None:
        self._options = options
        self._cwd = cwd
        self._launcher: Spawned | None = None
        self._gauges = Gauges()
        self._watch = Watch(self._gauges, patience_s=options.patience_s)

    @despite_a_lost_server
    def measure(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Run the command with a configuration in its environment; again if it was disturbed.

        Returns:
            A result for Ray Tune: `objective`, `seconds` (from its start to its end), `outcome`,
            `error` and `machine`, and `others`, `beside`, `throttled` and `throttled_s` as `Timing`
            has them. Where it failed its numbers are NaN.
        """
        return undisturbed(self._watch, lambda: self._throttled(config), worked)

    def _throttled(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A run that begins with a full quota, and how often that has stopped it."""
        quota = self._gauges.quota
        if quota is None:
            return self._measured(config)
        self._gauges.sleep(quota.period_s)
        before = quota.throttling()
        result = self._measured(config)
        found = quota.throttling() - before
        return {**result, "throttled": found.share, "throttled_s": found.seconds}

    def _measured(self, config: Mapping[str, Any]) -> dict[str, Any]:
        seconds = objective = math.nan
        error: AttemptError | None = None
        try:
            with self._started(config) as attempt:
                begin = time.perf_counter()
                attempt.finish(self._options.timeout_s)
                seconds = time.perf_counter() - begin
                objective = _objective(self._options.objective, seconds, attempt)
        except AttemptError as failed:
            error = failed
            if failed.outcome is Outcome.SERVER_LOST:
                self.close()
        return {
            "objective": objective,
            "seconds": seconds,
            "outcome": (Outcome.OK if error is None else error.outcome).name.lower(),
            "error": "" if error is None else str(error),
            "machine": hardware(),
        }

    def measure_round(self, configs: Sequence[Mapping[str, Any] | None]) -> list[dict[str, Any]]:
        """Run the command once with each configuration, in this order; None is the default."""
        return [self.measure(config or {}) for config in configs]

    def close(self) -> None:
        """End every process."""
        if self._launcher is not None:
            self._launcher.close()
            self._launcher = None

    def _started(self, config: Mapping[str, Any]) -> Attempt:
        env = {**user_environment(), **self._options.env, **environment(config)}
        if self._launcher is None:
            self._launcher = Spawned("kamerton_ray.launcher", b"", env=user_environment())
        forked = self._launcher.forked({"command": self._options.argv[0]})
        attempt = Attempt(self._launcher, forked, self._options.timeout_s, keep=KEPT)
        order = {"argv": self._options.argv, "env": env, "cwd": self._cwd}
        attempt.give(json.dumps(order).encode())
        return attempt


def worked(result: Mapping[str, Any]) -> bool:
    """Whether a run came to its end, with a number."""
    return result.get("outcome") == Outcome.OK.name.lower()


def _objective(objective: str, seconds: float, attempt: Attempt) -> float:
    if objective == TIME:
        return seconds
    pattern = NUMBER if objective == LAST else objective
    for text in attempt.printed, attempt.complained:
        for match in reversed(list(re.finditer(pattern, text, re.MULTILINE))):
            with contextlib.suppress(ValueError, TypeError):
                return float(match.group(match.re.groups))
    raise attempt.failed(Outcome.NO_OBJECTIVE, f"no number is matched by {pattern!r}")


def command(
    argv: Sequence[str],
    *,
    objective: str = TIME,
    timeout_s: float = 3600.0,
    env: Mapping[str, str] | None = None,
    patience_s: float | None = None,
) -> type[Any]:
    """A `tune.Trainable` that runs a command, with the configuration in its environment.

    Use it with `reuse_actors=True`. `intra_op` and `inter_op` become TensorFlow's variables; a
    parameter written in capitals is a variable of that name.

    Args:
        argv: The command and its arguments; no shell is involved.
        objective: What a trial reports as `objective`: `"time"` for the seconds from its start to
            its end, `"last"` for the last number that it prints, or a regular expression, of whose
            last match the group, or without one the whole, is the number. It is looked for in the
            standard output and then in the standard error, in the last megabyte of each.
        timeout_s: After so many seconds it is killed with all its processes, and has failed.
        env: Variables to set beside the user's own.
        patience_s: How many seconds to wait for other work on the machine to end; a run that it has
            disturbed is run again. After that a run counts as it is, and says so. By default 30,
            or what `KAMERTON_RAY_PATIENCE_S` says; 0 never waits.

    Returns:
        A class for `tune.run` or `Tuner`. A trial reports `objective`, `seconds`, `outcome` and
        `error`; a failed one reports NaN.

    Raises:
        InvalidInputError: An argument breaks its rule.
    """
    options = CommandOptions(
        argv=tuple(argv),
        objective=objective,
        timeout_s=timeout_s,
        env=dict(env or {}),
        patience_s=patience() if patience_s is None else patience_s,
    )

    return one_step("Command", lambda: Runner(options, working_directory()))
