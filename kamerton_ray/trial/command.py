"""Runner: runs any command with a configuration in its environment, and reads its number.

The program needs no change: TensorFlow reads `TF_NUM_INTRAOP_THREADS` and `TF_NUM_INTEROP_THREADS`.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import Any

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.environment import user_environment
from kamerton_ray.machine.hardware import this_machine
from kamerton_ray.machine.neighbours import Gauges, Watch, patience
from kamerton_ray.numeric import positive
from kamerton_ray.process.attempt import Attempt
from kamerton_ray.process.command_nest import CommandNest
from kamerton_ray.process.handle import TAIL
from kamerton_ray.process.messages import StartCommand
from kamerton_ray.process.outcome import AttemptError, Outcome
from kamerton_ray.trial.config import Config, environment
from kamerton_ray.trial.measurer import despite_a_lost_nest, undisturbed_result
from kamerton_ray.trial.result import Result

KEPT = 1 << 20
"""How many of the last bytes of each output a regular expression is looked for in."""

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"

RATE = re.compile(
    r"(?:/|(?<![a-z])per)[\s_-]*(?:s|secs?|seconds?|mins?|minutes?|h|hours?)(?![a-z0-9])"
    r"|throughput|(?<![a-z])(?:[fqrt]ps|iops|[kmgtp]?flops)(?![a-z])",
    re.IGNORECASE,
)
"""What is so much in a second is mostly better the higher it is."""

AROUND = 80
"""How much of a line is kept before and after the number that is read from it."""

LAST_LINES = 10
"""So many of the last lines are shown of an output in which the number is not found."""

OTHERS = 8
"""So many of the last other lines with numbers are kept: one of them may hold the one meant."""

TIME, LAST = "time", "last"

NAMES = (
    *("objective", "read", "line", "other_lines", "seconds", "outcome", "error", "restarted"),
    *("machine", "others", "beside", "throttled", "throttled_s"),
)
"""What a trial reports."""


class Direction(Enum):
    """Which numbers of a command are better; each value says it, and how that is known."""

    LOWER = "no (--minimize)"
    HIGHER = "yes (--maximize)"
    ASSUMED = "no (--maximize)"
    """Lower, since nobody has said it."""

    @property
    def mode(self) -> str:
        """`"min"` or `"max"`."""
        return "max" if self is Direction.HIGHER else "min"

    def doubt(self, text: str) -> str:
        """Why the direction has to be said first; empty where it has, or the text is no rate."""
        found = RATE.search(text)
        if self is not Direction.ASSUMED or found is None:
            return ""
        return (
            f"'{text}' looks like a rate ('{found[0].strip()}'): say --maximize if a higher number "
            "is better, or --minimize if a lower one is"
        )


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
                f"objective must be 'time', 'last' or a regular expression, but '{self.objective}' "
                f"is none: {error}"
            ) from None
        if groups > 1:
            raise InvalidInputError(
                f"objective must have at most one group, the number, but got '{self.objective}'"
            )


@dataclass(frozen=True)
class Reading:
    """The number of a run, and where it was found.

    Attributes:
        objective: The number.
        read: It as it was printed; empty for a time, as the next.
        line: What it was read from: its line, or the middle of a long one.
        other_lines: The last of the other lines that hold numbers.
    """

    objective: float = math.nan
    read: str = ""
    line: str = ""
    other_lines: tuple[str, ...] = ()


def read_as(result: Result, direction: Direction) -> str:
    """What was read in a run, and how it is meant; empty where nothing was, as for a time."""
    if not result.line:
        return ""
    said = f'reading {result.read} from "{result.line}"'
    asked = "? (--maximize or --minimize)"
    return f"{said}; higher is better: {asked if direction.doubt(said) else direction.value}"


class Runner:
    """Runs a command, one configuration after the other, with or without Ray.

    Args:
        options: The options of `command`.
        cwd: Where to run it.
    """

    def __init__(self, options: CommandOptions, cwd: str | None = None) -> None:
        self._options = options
        self._cwd = cwd
        self._nest = CommandNest()
        self._watch = Watch(Gauges(), patience_s=options.patience_s)

    @despite_a_lost_nest
    def measure(self, config: Config) -> Result:
        """Run the command with a configuration in its environment; again if it was disturbed.

        Returns:
            The number that was read, and `seconds`, from the program's start to its end. Where it
            failed its numbers are NaN.
        """
        return undisturbed_result(self._watch, config, self._measured)

    def _measured(self, config: Config) -> Result:
        try:
            with self._started(config) as attempt:
                begin = time.perf_counter()
                attempt.finish(self._options.timeout_s)
                seconds = time.perf_counter() - begin
                reading = _reading(self._options.objective, seconds, attempt)
        except AttemptError as error:
            found = Result(outcome=error.outcome, error=str(error))
        else:
            found = Result(**asdict(reading), seconds=seconds)
        return replace(found, machine=this_machine(), names=NAMES)

    def measure_round(self, configs: Sequence[Config | None]) -> list[Result]:
        """Run the command once with each configuration, in this order; None is the default."""
        return [self.measure(config or {}) for config in configs]

    def close(self) -> None:
        """End every process."""
        self._nest.close()

    def _started(self, config: Mapping[str, Any]) -> Attempt:
        env = {**user_environment(), **self._options.env, **environment(config)}
        command = StartCommand(list(self._options.argv), env, self._cwd)
        return self._nest.attempt(command, keep=KEPT)


def _reading(objective: str, seconds: float, attempt: Attempt) -> Reading:
    if objective == TIME:
        return Reading(seconds)
    pattern = NUMBER if objective == LAST else objective
    for text in attempt.printed, attempt.complained:
        for match in reversed(list(re.finditer(pattern, text, re.MULTILINE))):
            group = match.re.groups
            with contextlib.suppress(ValueError, TypeError):
                if math.isfinite(value := float(match.group(group))):
                    line, others = _place(text, *match.span(group))
                    return Reading(value, match.group(group).strip(), line, others)
    shown = "\n".join(attempt.printed[-TAIL:].splitlines()[-LAST_LINES:])
    said = f"Its last lines of stdout:\n{shown}" if shown else "It printed nothing to stdout."
    raise attempt.failed(Outcome.NO_OBJECTIVE, f"no number is matched by '{pattern}'\n{said}")


def _place(text: str, begin: int, end: int) -> tuple[str, tuple[str, ...]]:
    """What stands around a part of a text in its line, and the last other lines with numbers."""
    before, after = text[:begin].splitlines(), text[end:].splitlines()
    first = "" if text[:begin].endswith(("\n", "\r")) or not before else before.pop()
    rest = "" if text[end:].startswith(("\n", "\r")) or not after else after.pop(0)
    others = [line[: 2 * AROUND] for line in (*before, *after) if re.search(NUMBER, line)]
    line = first[-AROUND:] + text[begin:end] + rest[:AROUND]
    return line.strip(), tuple(others[-OTHERS:])
