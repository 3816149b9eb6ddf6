"""Bench: times what a function builds, each configuration in a process of its own."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum

import cloudpickle

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.cpus import usable_cpus
from kamerton_ray.machine.hardware import UNKNOWN, Machine
from kamerton_ray.machine.neighbours import Gauges, Watch
from kamerton_ray.machine.threads import THREADS
from kamerton_ray.process.in_model_nest import takes_config
from kamerton_ray.process.model_nest import ModelNest
from kamerton_ray.process.outcome import AttemptError, Outcome
from kamerton_ray.process.room import Room
from kamerton_ray.trial.building import BUILDING_PER_CPU, IN_THE_WAY, built
from kamerton_ray.trial.config import (
    ONE_PROCESS,
    Config,
    instances_of,
    key_of,
)
from kamerton_ray.trial.kept_default import KeptDefault
from kamerton_ray.trial.knobs import Knobs
from kamerton_ray.trial.looking import looked_inside
from kamerton_ray.trial.measurer import despite_a_lost_nest
from kamerton_ray.trial.model_instances import Instances
from kamerton_ray.trial.nests import Env, Nests, forked
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result
from kamerton_ray.trial.timing import Timer, Timing, TimingOptions, TooFastError

ROUND_SHARE, LEAST_ROUND_S = 0.25, 0.8
"""How much of a trial's measuring time a round takes for every two, and how many seconds at least:
here the fresh processes count, not the blocks of one."""

AS_DEFAULT = {**dict.fromkeys(THREADS, 0), **ONE_PROCESS}
"""The parameters that are applied here, as TensorFlow's default has them. `build` may want others.
"""

NAMES = (
    *(one.name for one in fields(Timing)),
    *("outcome", "error", "restarted", "isolation", "strays", "machine"),
)
"""What every trial reports."""

TUNED = "tuned"
"""In place of whether a machine has oneDNN on."""

FIRST_STEP = "first_step_seconds"
"""Reported where XLA is tuned, which compiles for that step."""

Failure = AttemptError | TooFastError


class Isolation(Enum):
    """How a trial's process comes to be."""

    FORK = "fork"
    """Forked from a warm process that has imported TensorFlow: a hundredth of a second."""
    SPAWN = "spawn"
    """Forked from an empty process, so that it imports everything itself: seconds."""

    @classmethod
    def of(cls, value: Isolation | str) -> Isolation:
        """The one that is asked for.

        Raises:
            InvalidInputError: There is no such one.
        """
        try:
            return cls(value)
        except ValueError:
            raise InvalidInputError(f"isolation is 'fork' or 'spawn', but got {value!r}") from None


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """The options of `benchmark`, which documents them."""

    timing: TimingOptions
    timeout_s: float
    pair: bool
    env: Env
    isolation: Isolation
    objective: Objective | None = None
    source: str = ""
    """The file of `build`, for its tracebacks: what is pickled by value does not know it."""
    tensorflow: bool = True
    """Whether `build` needs TensorFlow, whose import takes seconds."""
    knobs: tuple[str, ...] = ()


class Bench:
    """Times configurations, each in a process of its own, with or without Ray.

    The nests and the default's process stay warm between attempts, until `close`.

    Args:
        build: The function to build steps with.
        options: The options of `benchmark`.

    Raises:
        InvalidInputError: `build` cannot be called, or cannot be pickled.
    """

    def __init__(self, build: Callable[..., Callable[[], object]], options: BenchOptions) -> None:
        if not callable(build):
            raise InvalidInputError(
                f"build must be a function that returns a step to time, but got {build!r}"
            )
        try:
            pickled: bytes = cloudpickle.dumps(build)
        except Exception as error:
            raise InvalidInputError(
                f"build must be picklable to reach the trials' processes, but {build!r} is not: "
                f"{error}. Make what it uses inside of it."
            ) from error
        self._takes_config = takes_config(build)
        self._options = options
        self._knobs = Knobs(options.knobs)
        self._names = _names(options, self._knobs)
        self._nests = Nests(
            pickled,
            env=options.env,
            knobs=self._knobs,
            preload=options.isolation is Isolation.FORK,
            tensorflow=options.tensorflow,
            source=options.source,
        )
        self._default: KeptDefault | None = None
        self._has_looked = False
        self._room = Room()
        self._gauges = Gauges()
        self._watch = Watch(self._gauges, patience_s=options.timing.patience_s)

    def warm(self) -> None:
        """Import TensorFlow; what goes wrong with it is said by the first trial."""
        with contextlib.suppress(AttemptError):
            self._nest(None)

    @despite_a_lost_nest
    def measure(self, config: Config) -> Result:
        """Time a configuration against TensorFlow's default threads.

        Returns:
            What was timed; where the attempt failed its numbers are NaN.
        """
        result = self._measured(config)
        default = self._default
        if default and default.built_beside and (result.outcome in IN_THE_WAY or default.error):
            self._drop_default()
            with contextlib.suppress(AttemptError):  # or else it fails in the same way below
                self._default_for(config).wait()
            result = self._measured(config)
        return result

    def _measured(self, config: Config) -> Result:
        self._nests.make_room()
        try:
            default = self._default_for(config)
            if instances_of(config) > 1:  # how many fit is known when the default has built
                default.wait()
                self._room.note(default.memory)
            nest = self._nest(config)
            self._check_room(config)
            with self._fork(nest, config) as attempt:
                timing = default.time(attempt)
            self._room.note(max(attempt.memory, default.memory))
        except (AttemptError, TooFastError) as error:
            if _lost_nest(error):
                self.close()
            return self._result(config, Timing(), error)
        return replace(self._result(config, timing, None, attempt), error=default.error)

    def measure_round(self, configs: Sequence[Config | None]) -> list[Result]:
        """Time each configuration once more, in a fresh process, in turn with the others.

        Args:
            configs: In the order in which their processes are made; None is the default.

        Returns:
            A result for each, as `measure` gives it; without a speed-up where no default is asked.
        """
        self._drop_default()  # it would take memory, and is of no use here
        default = configs.index(None) if None in configs else None
        self._nests.make_room(configs)
        with contextlib.ExitStack() as stack:
            found = dict(enumerate(self._built(configs, stack)))
            attempts = {i: one for i, one in found.items() if isinstance(one, Instances)}
            failed: dict[int, Failure] = {
                i: one for i, one in found.items() if not isinstance(one, Instances)
            }
            timings = self._in_turn(attempts, failed, default=default)
            if default is not None and default in timings and not self._has_looked:
                timings[default] = looked_inside(attempts[default], timings[default])
                self._has_looked = True
        if any(_lost_nest(error) for error in failed.values()):
            self.close()
        without_default = None if default is None else failed.get(default)
        return [
            self._result(
                config,
                timings.get(index, Timing()),
                failed.get(index, without_default),
                attempts.get(index),
            )
            for index, config in enumerate(configs)
        ]

    def fits(self, configs: Sequence[Config | None]) -> bool:
        """Whether there is memory to measure these in turn; None is the default."""
        count = sum(map(instances_of, configs))
        if not self._room.known and count > len(configs):
            self._learn_memory(next(config for config in configs if config is not None))
        return self._room.fits(count)

    def _check_room(self, config: Config) -> None:
        """See to it that a configuration fits into memory.

        Raises:
            AttemptError: It does not.
        """
        if not self._room.known and instances_of(config) > 1:
            self._learn_memory(config)
        self._room.check(instances_of(config))

    def _learn_memory(self, config: Config) -> None:
        """See what one process of a configuration holds; one that fails teaches nothing."""
        nest = self._nest(config)
        with self._fork(nest, {**config, **ONE_PROCESS}) as attempt:
            try:
                attempt.build()
            except AttemptError as error:
                if _lost_nest(error):
                    raise
            attempt.look()
            self._room.note(attempt.memory)

    def _in_turn(
        self, attempts: Mapping[int, Instances], failed: dict[int, Failure], *, default: int | None
    ) -> dict[int, Timing]:
        """Time processes in turn; those that fail are noted, and the others measured without."""
        while left := {i: attempt for i, attempt in attempts.items() if i not in failed}:
            if default is not None and default not in left:
                break
            order = sorted(left)
            try:
                found = self._round_timer().together(
                    [left[index] for index in order],
                    default=None if default is None else order.index(default),
                )
                return dict(zip(order, found, strict=True))
            except (AttemptError, TooFastError) as error:
                lost = [index for index in order if left[index].error] or order
                failed.update(dict.fromkeys(lost, error))
        return {}

    def _built(
        self, configs: Sequence[Config | None], stack: contextlib.ExitStack
    ) -> list[Instances | AttemptError]:
        """For each the processes that are ready to run steps, or why there are none."""
        first = next((config for config in configs if config is not None), {})
        usual = _as_default(first, self._knobs)

        def start(config: Config | None) -> Instances:
            if config is not None:
                self._check_room(config)
            nest = self._nest(config)
            return stack.enter_context(self._fork(nest, usual if config is None else config))

        # Whether one more fits is known when the others have taken their memory.
        most = BUILDING_PER_CPU * usable_cpus().count if self.fits(configs) else 1
        return built(configs, start, most=most)

    def _timer(self) -> Timer:
        """What times a trial; with what times a round it shares its patience."""
        return Timer(self._options.timing, gauges=self._gauges, watch=self._watch)

    def _round_timer(self) -> Timer:
        timing = self._options.timing
        least = min(LEAST_ROUND_S, timing.budget_s)
        options = replace(timing, budget_s=max(ROUND_SHARE * timing.budget_s, least))
        return Timer(options, gauges=self._gauges, watch=self._watch)

    def close(self) -> None:
        """End every process."""
        self._drop_default()
        self._nests.close()

    def _drop_default(self) -> None:
        """End the process that is kept."""
        if self._default is not None:
            self._default.close()
            self._default = None

    def _result(
        self,
        config: Config | None,
        timing: Timing,
        error: Failure | None,
        attempt: Instances | None = None,
    ) -> Result:
        outcome = Outcome.OK if error is None else getattr(error, "outcome", Outcome.TOO_FAST)
        judge = self._options.objective
        result = Result(
            **asdict(timing),
            config=config,
            outcome=outcome,
            error="" if error is None else str(error),
            isolation=(Isolation.FORK if self._nests.preload else Isolation.SPAWN).value,
            strays=0 if attempt is None else attempt.strays,
            first_step_seconds=math.nan if attempt is None else attempt.first_s,
            machine=UNKNOWN if attempt is None else _machine(attempt, self._knobs),
            names=self._names,
        )
        return result if judge is None else replace(result, score=judge.score(result))

    def _nest(self, config: Config | None) -> ModelNest:
        """The warm nest of a configuration; None stands for the default."""
        return self._nests.of(config, kept=None if self._default is None else self._default.nest)

    def _fork(self, nest: ModelNest, config: Config) -> Instances:
        return forked(nest, config, self._knobs, timeout_s=self._options.timeout_s)

    def _default_for(self, config: Config) -> KeptDefault:
        """The default's process, kept from trial to trial while the rest of `config` is the same.

        Only a `build` that takes the configuration can make another model of another one.
        """
        rest = (
            {k: v for k, v in config.items() if k not in AS_DEFAULT} if self._takes_config else {}
        )
        key = key_of(self._knobs.stock(rest))
        if self._default is None or self._default.key != key:
            self._drop_default()
            self._default = KeptDefault(key, self._timer())
            if self._options.pair:
                nest, usual = self._nest(None), _as_default(config, self._knobs)
                self._default.start(nest, lambda: self._fork(nest, usual))
        return self._default


def _as_default(config: Config, knobs: Knobs) -> Config:
    """The configuration that TensorFlow's default has instead, for a `build` that wants one."""
    ours = {k: v for k, v in AS_DEFAULT.items() if k in config or k in THREADS}
    return {**knobs.stock(config), **ours}


def _machine(attempt: Instances, knobs: Knobs) -> Machine:
    """What it ran on; where oneDNN is tuned that is no property of the machine."""
    is_tuned = bool(attempt.machine) and knobs.tunes_onednn
    return replace(attempt.machine, onednn=TUNED) if is_tuned else attempt.machine


def _names(options: BenchOptions, knobs: Knobs) -> tuple[str, ...]:
    """What a trial reports."""
    told = {FIRST_STEP: knobs.tunes_xla, "score": options.objective is not None}
    return (*NAMES, *(name for name, is_told in told.items() if is_told))


def _lost_nest(error: Failure) -> bool:
    return isinstance(error, AttemptError) and error.outcome is Outcome.SERVER_LOST
