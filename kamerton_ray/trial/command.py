"""Runner: runs any command with a configuration in its environment, and reads its number.

The program needs no change: TensorFlow reads `TF_NUM_INTRAOP_THREADS` and `TF_NUM_INTEROP_THREADS`.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

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
from kamerton_ray.trial.config import INSTANCES_KEY, Config, environment
from kamerton_ray.trial.instances import Combine, all_found, environments
from kamerton_ray.trial.knobs import Knobs, check_preload, check_program_knobs
from kamerton_ray.trial.logged import KEPT, UNCHECKED, check_effects
from kamerton_ray.trial.measurer import despite_a_lost_nest, undisturbed_result
from kamerton_ray.trial.result import Result

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

SECONDS_PER_PROGRAM = "seconds_per_program"
"""The key of a time divided by how many instances ran: their work is that of so many programs."""

NAMES = (
    *("objective", "read", "line", "other_lines", "seconds", "outcome", "error", "restarted"),
    *("cpu_seconds", "cpus", "machine", "others", "beside", "throttled", "held_back"),
)
"""What a trial reports, `SECONDS_PER_PROGRAM` where a time counts, and `UNCHECKED` if it has it."""


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
    combine: Combine | None = None
    timeout_s: float = 3600.0
    env: Mapping[str, str] = field(default_factory=dict)
    patience_s: float = field(default_factory=patience)
    knobs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check them."""
        if not self.argv or not all(isinstance(part, str) for part in self.argv):
            raise InvalidInputError(f"a command must be a list of strings, but got {self.argv!r}")
        positive("timeout_s", self.timeout_s)
        positive("patience_s", self.patience_s, zero=True)
        self._check_objective()
        if self.combine is not None and not isinstance(self.combine, Combine):
            raise InvalidInputError(f"combine must be a Combine, but got {self.combine!r}")
        if self.combine is Combine.SUM and self.objective == TIME:
            raise InvalidInputError(
                f"combine must be {Combine.PER_PROGRAM.word} or {Combine.SLOWEST.word} where a "
                f"time counts, but got {self.combine.word}"
            )

    @property
    def metric(self) -> str:
        """Under which key of a result its value stands, with a name that says what it is.

        A time is known to be one, in seconds; of any other number nobody knows what it is.
        """
        if self.objective != TIME:
            return "objective"
        return SECONDS_PER_PROGRAM if self.combine is Combine.PER_PROGRAM else "seconds"

    def combining(self) -> Combine:
        """What the numbers of instances come to.

        Raises:
            InvalidInputError: Nobody has said it of printed numbers.
        """
        if self.combine is None and self.objective != TIME:
            raise InvalidInputError(
                "combine must say what printed numbers of several instances come to, "
                f"one of {', '.join(map(str, Combine))}, but got None"
            )
        return self.combine or Combine.PER_PROGRAM

    def _check_objective(self) -> None:
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
        seconds: How long the run took.
        cpu_s: The CPU seconds of the program, and of those that it waited for.
        unchecked: Which variables of knobs nothing shows to have taken effect.
    """

    objective: float
    read: str = ""
    line: str = ""
    other_lines: tuple[str, ...] = ()
    seconds: float = math.nan
    cpu_s: float = math.nan
    unchecked: tuple[str, ...] = ()


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
        check_program_knobs(options.knobs)
        self._knobs = Knobs(options.knobs)
        self._watch = Watch(Gauges(), patience_s=options.patience_s)

    @despite_a_lost_nest
    def measure(self, config: Config) -> Result:
        """Run the command with a configuration in its environment; again if it was disturbed.

        Where it says so, several instances of the command run at the same time.

        Returns:
            The number that was read, or what those of the instances come to, and `seconds`, from
            the start to the end of the slowest. What was read is the first instance's. Where one
            failed the numbers are NaN.

        Raises:
            InvalidInputError: `instances` is no positive integer, or it is not said what printed
                numbers of instances come to.
        """
        if INSTANCES_KEY in config:
            self._options.combining()  # a mistake is said before anything runs
        return undisturbed_result(self._watch, config, self._measured)

    def fits(self, _configs: Sequence[Config | None]) -> bool:
        """Whether there is memory to measure these in one round: they run one after the other."""
        return True

    def measure_round(self, configs: Sequence[Config | None]) -> list[Result]:
        """Run the command once with each configuration, in this order.

        None is the default, in one process; where others have instances it is told that it is one.
        """
        tuned = any(INSTANCES_KEY in (config or {}) for config in configs)
        default: Config = {INSTANCES_KEY: 1} if tuned else {}
        return [self.measure(default if config is None else config) for config in configs]

    def close(self) -> None:
        """End every process."""
        self._nest.close()

    def _measured(self, config: Config) -> Result:
        try:
            found = self._combined(self._runs(config), config)
        except AttemptError as error:
            found = Result(outcome=error.outcome, error=str(error), names=NAMES)
        return replace(found, machine=this_machine())

    def _runs(self, config: Config) -> list[Reading]:
        """What each instance comes to."""
        own = {**self._knobs.variables(config), **environment(config)}
        check_preload(own)
        with self._nest.started(self._commands(config), keep=KEPT) as attempts:
            begin = time.perf_counter()

            def look(attempt: Attempt) -> Reading | None:
                if not attempt.finished():
                    return None
                seconds, silent = time.perf_counter() - begin, check_effects(attempt, own)
                found = _reading(self._options.objective, seconds, attempt)
                return replace(found, seconds=seconds, cpu_s=attempt.cpu_s, unchecked=silent)

            return all_found(attempts, look, self._options.timeout_s)

    def _combined(self, runs: Sequence[Reading], config: Config) -> Result:
        """What the instances come to, of which there is one where a configuration has none."""
        first, seconds = runs[0], max(run.seconds for run in runs)
        taken = math.fsum(run.cpu_s for run in runs)
        numbers, is_time = [run.objective for run in runs], self._options.objective == TIME
        share = {SECONDS_PER_PROGRAM: seconds / len(runs)} if is_time else {}
        several = INSTANCES_KEY in config
        silent = (UNCHECKED,) if first.unchecked else ()
        return Result(
            objective=self._options.combining().of(numbers) if several else first.objective,
            read=first.read,
            line=first.line,
            other_lines=first.other_lines,
            seconds=seconds,
            cpu_seconds=taken / len(runs),
            cpus=taken / seconds,
            unchecked=first.unchecked,
            more=share,
            names=(*NAMES, *share, *silent),
        )

    def _commands(self, config: Config) -> list[StartCommand]:
        """The command of each instance."""
        env = {**user_environment(), **self._options.env}
        env = {**self._knobs.applied(env, config), **environment(config)}
        argv = list(self._options.argv)
        return [StartCommand(argv, {**env, **own}, self._cwd) for own in environments(config)]


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
