"""Runner: runs any command with a configuration in its environment, and reads its number.

The program needs no change: TensorFlow reads `TF_NUM_INTRAOP_THREADS` and `TF_NUM_INTEROP_THREADS`.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.environment import user_environment
from kamerton_ray.machine.hardware import machine_with_default
from kamerton_ray.machine.neighbours import Gauges, Watch, patience
from kamerton_ray.numeric import positive
from kamerton_ray.process.attempt import Attempt
from kamerton_ray.process.command_nest import CommandNest
from kamerton_ray.process.messages import StartCommand
from kamerton_ray.process.outcome import AttemptError
from kamerton_ray.process.threads_seen import EVERY_S, ThreadsSeen
from kamerton_ray.trial.config import INSTANCES_KEY, Config, environment
from kamerton_ray.trial.instances import Combine, all_found, environments
from kamerton_ray.trial.knobs import Knobs, check_preload, check_program_knobs
from kamerton_ray.trial.logged import KEPT, UNCHECKED, check_effects
from kamerton_ray.trial.measurer import despite_a_lost_nest, undisturbed_result
from kamerton_ray.trial.reading import TIME, Reading, read
from kamerton_ray.trial.result import Result

SECONDS_PER_PROGRAM = "seconds_per_program"
"""The key of a time divided by how many instances ran: their work is that of so many programs."""

NAMES = (
    *("objective", "read", "line", "other_lines", "seconds", "outcome", "error", "restarted"),
    *("cpu_seconds", "cpus", "threads", "machine", "others", "beside", "throttled", "held_back"),
)
"""What a trial reports, `SECONDS_PER_PROGRAM` where a time counts, and `UNCHECKED` if it has it."""


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
class Run:
    """What a run of the program came to.

    Attributes:
        reading: Its number.
        seconds: How long it took.
        cpu_s: The CPU seconds of the program, and of those that it waited for.
        threads: The most threads that it was seen to have; 0 where nobody looked.
        unchecked: Which variables of knobs nothing shows to have taken effect.
    """

    reading: Reading
    seconds: float
    cpu_s: float
    threads: int
    unchecked: tuple[str, ...]


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
        env = {**user_environment(), **self._options.env}
        try:
            found = self._combined(self._runs(config, env), config)
        except AttemptError as error:
            found = Result(outcome=error.outcome, error=str(error), names=NAMES)
        return replace(found, machine=machine_with_default(env))

    def _runs(self, config: Config, env: Mapping[str, str]) -> list[Run]:
        """What each instance comes to; `env` is what it gets that no configuration says."""
        own = {**self._knobs.variables(config), **environment(config)}
        check_preload(own)
        with self._nest.started(self._commands(config, env), keep=KEPT) as attempts:
            begin = time.perf_counter()
            seen = {attempt: ThreadsSeen() for attempt in attempts}

            def look(attempt: Attempt) -> Run | None:
                if not attempt.finished():
                    seen[attempt].look(attempt.pid)
                    return None
                seconds, silent = time.perf_counter() - begin, check_effects(attempt, own)
                found = read(self._options.objective, seconds, attempt)
                return Run(found, seconds, attempt.cpu_s, seen[attempt].most, silent)

            return all_found(attempts, look, self._options.timeout_s, every_s=EVERY_S)

    def _combined(self, runs: Sequence[Run], config: Config) -> Result:
        """What the instances come to, of which there is one where a configuration has none."""
        first, seconds = runs[0].reading, max(run.seconds for run in runs)
        taken = math.fsum(run.cpu_s for run in runs)
        numbers, is_time = [run.reading.objective for run in runs], self._options.objective == TIME
        share = {SECONDS_PER_PROGRAM: seconds / len(runs)} if is_time else {}
        several = INSTANCES_KEY in config
        unchecked = runs[0].unchecked
        return Result(
            objective=self._options.combining().of(numbers) if several else first.objective,
            read=first.read,
            line=first.line,
            other_lines=first.other_lines,
            seconds=seconds,
            cpu_seconds=taken / len(runs),
            cpus=taken / seconds,
            threads=runs[0].threads,
            unchecked=unchecked,
            more=share,
            names=(*NAMES, *share, *((UNCHECKED,) if unchecked else ())),
        )

    def _commands(self, config: Config, env: Mapping[str, str]) -> list[StartCommand]:
        """The command of each instance."""
        env = {**self._knobs.applied(env, config), **environment(config)}
        argv = list(self._options.argv)
        return [StartCommand(argv, {**env, **own}, self._cwd) for own in environments(config)]
