"""Bench: times what a function builds, each configuration in a process of its own."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum

import cloudpickle

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.cpus import usable_cpus
from kamerton_ray.machine.environment import user_environment, working_directory
from kamerton_ray.machine.hardware import UNKNOWN
from kamerton_ray.machine.neighbours import Gauges, Watch
from kamerton_ray.machine.threads import THREADS, Threading
from kamerton_ray.machine.topology import cpu_sets, topology
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
    pinned,
)
from kamerton_ray.trial.instances import environments
from kamerton_ray.trial.kept_default import KeptDefault
from kamerton_ray.trial.looking import looked_inside
from kamerton_ray.trial.measurer import despite_a_lost_nest
from kamerton_ray.trial.model_instances import Instances
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result
from kamerton_ray.trial.timing import Timer, Timing, TimingOptions, TooFastError

logger = logging.getLogger(__name__)

Env = Mapping[str, str] | Callable[[Config], Mapping[str, str]]

ROUND_SHARE, LEAST_ROUND_S = 0.25, 0.8
"""How much of a trial's measuring time a round takes for every two, and how many seconds at least:
here the fresh processes count, not the blocks of one."""

MAX_NESTS = 3
"""How many nests, one for each environment, are kept warm; each holds TensorFlow in memory."""

AS_DEFAULT = {**dict.fromkeys(THREADS, 0), **ONE_PROCESS}
"""The parameters that are applied here, as TensorFlow's default has them. `build` may want others.
"""

NAMES = (
    *(one.name for one in fields(Timing)),
    *("outcome", "error", "restarted", "isolation", "strays", "machine"),
)
"""What a trial reports."""

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
            self._build: bytes = cloudpickle.dumps(build)
        except Exception as error:
            raise InvalidInputError(
                f"build must be picklable to reach the trials' processes, but {build!r} is not: "
                f"{error}. Make what it uses inside of it."
            ) from error
        self._takes_config = takes_config(build)
        self._options = options
        self._isolation = options.isolation
        self._nests: dict[str, ModelNest] = {}
        self._default: KeptDefault | None = None
        self._has_looked = False
        self._room = Room()
        self._gauges = Gauges()
        self._watch = Watch(self._gauges, patience_s=options.timing.patience_s)

    def warm(self) -> None:
        """Import TensorFlow; what goes wrong with it is said by the first trial."""
        with contextlib.suppress(AttemptError):
            self._nest_for(self._environment(None))

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
        try:
            default = self._default_for(config)
            if instances_of(config) > 1:  # how many fit is known when the default has built
                default.wait()
                self._room.note(default.memory)
            nest = self._nest_for(self._environment(config))
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
        """Time each configuration once more, in a fresh process, in turn with a fresh default.

        Args:
            configs: In the order in which their processes are made; None is the default.

        Returns:
            A result for each, as `measure` gives it.
        """
        self._drop_default()  # it would take memory, and is of no use here
        default = configs.index(None)
        with contextlib.ExitStack() as stack:
            found = dict(enumerate(self._built(configs, stack)))
            attempts = {i: one for i, one in found.items() if isinstance(one, Instances)}
            failed: dict[int, Failure] = {
                i: one for i, one in found.items() if not isinstance(one, Instances)
            }
            timings = self._in_turn(attempts, failed, default=default)
            if default in timings and not self._has_looked:
                timings[default] = looked_inside(attempts[default], timings[default])
                self._has_looked = True
        if any(_lost_nest(error) for error in failed.values()):
            self.close()
        without_default = failed.get(default)
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
        nest = self._nest_for(self._environment(config))
        with self._fork(nest, {**config, **ONE_PROCESS}) as attempt:
            try:
                attempt.build()
            except AttemptError as error:
                if _lost_nest(error):
                    raise
            attempt.look()
            self._room.note(attempt.memory)

    def _in_turn(
        self, attempts: Mapping[int, Instances], failed: dict[int, Failure], *, default: int
    ) -> dict[int, Timing]:
        """Time processes in turn; those that fail are noted, and the others measured without."""
        while default in (
            left := {i: attempt for i, attempt in attempts.items() if i not in failed}
        ):
            order = sorted(left)
            try:
                found = self._round_timer().together(
                    [left[index] for index in order], default=order.index(default)
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
        usual = _as_default(next((config for config in configs if config is not None), {}))

        def start(config: Config | None) -> Instances:
            if config is not None:
                self._check_room(config)
            nest = self._nest_for(self._environment(config))
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
        for nest in self._nests.values():
            nest.close()
        self._nests = {}

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
            isolation=self._isolation.value,
            strays=0 if attempt is None else attempt.strays,
            machine=UNKNOWN if attempt is None else attempt.machine,
            names=NAMES if judge is None else (*NAMES, "score"),
        )
        return result if judge is None else replace(result, score=judge.score(result))

    def _environment(self, config: Config | None) -> dict[str, str]:
        """The user's environment, and what the user asks for; None stands for the default."""
        asked = self._options.env
        if callable(asked):
            # What differs from configuration to configuration is tuned, so not the default's.
            asked = {} if config is None else asked(config)
        return {**user_environment(), **{name: str(value) for name, value in asked.items()}}

    def _nest_for(self, env: dict[str, str]) -> ModelNest:
        """The warm nest for an environment; the one used longest ago makes room for a new one."""
        key = json.dumps(env, sort_keys=True)
        nest = self._nests.pop(key, None) or self._start(env)
        self._nests[key] = nest
        while len(self._nests) > MAX_NESTS:
            kept = None if self._default is None else self._default.nest
            oldest = next(k for k, nest in self._nests.items() if nest is not kept)
            self._nests.pop(oldest).close()
        return nest

    def _start(self, env: dict[str, str]) -> ModelNest:
        nest = self._started(env, preload=self._isolation is Isolation.FORK)
        if not nest.started:
            return nest
        nest.close()
        self._isolation = Isolation.SPAWN
        logger.warning(
            "Importing the module of build starts %s, which does not survive a fork: each trial "
            "imports everything anew, which takes seconds. Create tensors and models, and start "
            "threads, inside build to avoid that.",
            nest.started,
        )
        return self._started(env, preload=False)

    def _started(self, env: dict[str, str], *, preload: bool) -> ModelNest:
        return ModelNest(
            self._build,
            env=env,
            preload=preload,
            tensorflow=self._options.tensorflow,
            cwd=working_directory(),
            source=self._options.source,
        )

    def _fork(self, nest: ModelNest, config: Config) -> Instances:
        """The processes of a configuration, which build at the same time."""
        told = environments(config)
        places = cpu_sets(len(told), topology()) if pinned(config) else [()] * len(told)
        with contextlib.ExitStack() as stack:
            attempts = [
                stack.enter_context(
                    nest.attempt(
                        _threads(config),
                        config,
                        timeout=self._options.timeout_s,
                        cpus=place,
                        variables=variables,
                    )
                )
                for place, variables in zip(places, told, strict=True)
            ]
            stack.pop_all()
        return Instances(attempts)

    def _default_for(self, config: Config) -> KeptDefault:
        """The default's process, kept from trial to trial while the rest of `config` is the same.

        Only a `build` that takes the configuration can make another model of another one.
        """
        rest = (
            {k: v for k, v in config.items() if k not in AS_DEFAULT} if self._takes_config else {}
        )
        key = key_of(rest)
        if self._default is None or self._default.key != key:
            self._drop_default()
            self._default = KeptDefault(key, self._timer())
            if self._options.pair:
                nest = self._nest_for(self._environment(None))
                self._default.start(nest, lambda: self._fork(nest, _as_default(config)))
        return self._default


def _threads(config: Config) -> Threading:
    return Threading.of(config) if set(THREADS) & set(config) else Threading()


def _as_default(config: Config) -> Config:
    """The configuration that TensorFlow's default has instead, for a `build` that wants one."""
    ours = {k: v for k, v in AS_DEFAULT.items() if k in config or k in THREADS}
    return {**config, **ours}


def _lost_nest(error: Failure) -> bool:
    return isinstance(error, AttemptError) and error.outcome is Outcome.SERVER_LOST
