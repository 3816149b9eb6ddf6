"""A `tune.Trainable` of a single step, from anything that measures a configuration."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from kamerton_ray.machine.environment import working_directory
from kamerton_ray.machine.neighbours import patience
from kamerton_ray.numeric import positive
from kamerton_ray.trial.bench import Bench, BenchOptions, Isolation
from kamerton_ray.trial.command import CommandOptions, Runner
from kamerton_ray.trial.config import Config
from kamerton_ray.trial.instances import Combine
from kamerton_ray.trial.judged import check_keys
from kamerton_ray.trial.measurer import Measurer
from kamerton_ray.trial.nests import Env
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.reading import TIME
from kamerton_ray.trial.timing import TimingOptions
from kamerton_ray.tune.placement import node_to_itself, one_per_node
from kamerton_ray.tune.ray_api import Actor, Resources

M = TypeVar("M", bound=Measurer)
M_co = TypeVar("M_co", bound=Measurer, covariant=True)


class Trainable(Protocol[M_co]):
    """A `tune.Trainable` whose trials are one measurement each."""

    @staticmethod
    def measurer() -> M_co:
        """What measures its configurations."""

    @staticmethod
    def host(node: str) -> Actor | None:
        """The process that measures for all on the node of this id; None where there is none."""


def one_step(
    name: str,
    make: Callable[[], M],
    host_on: Callable[[str], Actor | None] = lambda _: None,
) -> type[Trainable[M]]:
    """A trainable whose trials are one measurement each, and have a node for themselves.

    With `reuse_actors=True` one measurer serves all the trials of an actor. To a trial's result it
    adds `began` and `ended`, in seconds since 1970.

    Args:
        name: What it is called in Ray's output.
        make: Makes the measurer, in the trial's actor.
        host_on: Finds the process that measures for all on a node, where there is one.
    """
    from ray import tune  # noqa: PLC0415 - importing this package must not import Ray

    class OneStep(tune.Trainable):  # type: ignore[misc]  # Ray is untyped
        """Measures one configuration a trial."""

        measurer = staticmethod(make)
        host = staticmethod(host_on)

        # The configuration of a trial is in `self.config`, where Ray sets it.
        def setup(self, _config: Config) -> None:
            self._measurer = make()

        def step(self) -> dict[str, object]:
            with node_to_itself():
                began = time.time()
                result = self._measurer.measure(self.config)
                timed = {"began": began, "ended": time.time()}
                return {**result.report(), **timed, "done": True}

        def reset_config(self, _config: Config) -> bool:
            return True

        def save_checkpoint(self, _folder: str) -> dict[str, object]:
            """Tuner saves every trial at its end; one of a single step has nothing to keep."""
            return {}

        def load_checkpoint(self, checkpoint: dict[str, object] | None) -> None:
            """Nothing was kept."""

        def cleanup(self) -> None:
            self._measurer.close()

        @classmethod
        def default_resource_request(cls, _config: Config) -> Resources:
            return one_per_node()

    OneStep.__name__ = OneStep.__qualname__ = name
    return OneStep


def benchmark(  # noqa: PLR0913 - one call says all of a trial
    build: Callable[..., Callable[[], object]],
    *,
    warmup_s: float = 2.0,
    budget_s: float = 4.0,
    precision: float = 0.03,
    timeout_s: float = 60.0,
    patience_s: float | None = None,
    pair: bool = True,
    env: Env | None = None,
    isolation: Isolation | str = Isolation.FORK,
    objective: Objective | None = None,
    knobs: Sequence[str] = (),
) -> type[Trainable[Bench]]:
    """A `tune.Trainable` that times what `build` builds, in a process of its own for each trial.

    Use it with `reuse_actors=True`: then the warm process that has imported TensorFlow outlives
    the trial, and a trial costs little more than its measuring.

    Args:
        build: Called in the trial's process after the threads are set; builds the model and
            returns `step`, a callable without arguments that runs one step to its end. With a
            parameter it gets the trial's configuration. It may be a closure or of a notebook.
        warmup_s: The longest warm-up in seconds; it ends when the step time has settled.
        budget_s: The longest measurement in seconds, the default's share included.
        precision: Stop earlier when what a trial's own blocks show reaches no farther to each side
            at 95 %, as a share. The interval reaches farther, since trials differ.
        timeout_s: How long building, or a block of steps, may take before it counts as hung.
        patience_s: How many seconds to wait for other work on the machine to end; what it has
            disturbed is measured again. After that the trial is measured beside it, and says so.
            By default 30, or what `KAMERTON_RAY_PATIENCE_S` says; 0 never waits.
        pair: Whether to compare with TensorFlow's default threads, block by block in turn.
        env: Variables to set beside the user's own, for the default as well; or a function of
            the configuration, to tune variables, which the default goes without.
        isolation: `"fork"` from a warm process, or `"spawn"` to import everything anew.
        objective: What to judge by where it is not the step time alone: a trial then reports
            `score` as well, which the search is to maximise.
        knobs: What is tuned beside the threads: knobs by name, as `"allocator"`, for which
            `thread_space` and `instance_space` have the words, and variables in capitals, as
            `"MALLOC_ARENA_MAX"`. The default goes without all of them. A trial in which one took
            no effect fails.

    Returns:
        A class for `tune.run` or `Tuner`. A trial reports `seconds` (the step time),
        `default_seconds`, `speedup` (default / this; above 1 is faster), `speedup_low` and
        `speedup_high` (95 % interval), `seconds_p90`, `seconds_p99`, `outcome` and more; see
        `Timing` and `Bench.measure`. A failed trial reports NaN, and `error` says why.

    Raises:
        InvalidInputError: An argument breaks its rule.
    """
    if objective is not None:
        check_keys(objective)
    options = BenchOptions(
        timing=TimingOptions(
            warmup_s=warmup_s,
            budget_s=budget_s,
            precision=precision,
            patience_s=patience() if patience_s is None else patience_s,
        ),
        timeout_s=positive("timeout_s", timeout_s),
        pair=pair,
        env={} if env is None else env,
        isolation=Isolation.of(isolation),
        objective=objective,
        source=_source_of(build),
        knobs=tuple(knobs),
    )
    Bench(build, options)  # what is wrong with build is said here, not in every trial

    return one_step(getattr(build, "__name__", "Benchmark"), lambda: Bench(build, options))


def _source_of(build: Callable[..., object]) -> str:
    """The file that a function stands in; empty where it has none."""
    code = getattr(inspect.unwrap(build), "__code__", None) if callable(build) else None
    return str(getattr(code, "co_filename", ""))


def command(
    argv: Sequence[str],
    *,
    objective: str = TIME,
    combine: Combine | None = None,
    timeout_s: float = 3600.0,
    env: Mapping[str, str] | None = None,
    patience_s: float | None = None,
    knobs: Sequence[str] = (),
) -> type[Trainable[Runner]]:
    """A `tune.Trainable` that runs a command, with the configuration in its environment.

    Use it with `reuse_actors=True`. `intra_op` and `inter_op` become TensorFlow's variables; a
    parameter written in capitals is a variable of that name. With `instances` so many copies of the
    command run at the same time. Each finds its number, from 0, in `KAMERTON_RAY_INSTANCE`, and how
    many there are in `KAMERTON_RAY_INSTANCES`; they share the files, ports and locks that the
    command opens. One that fails ends the trial, which says which it was.

    Args:
        argv: The command and its arguments; no shell is involved.
        objective: What a trial reports as `objective`: `"time"` for the seconds from its start to
            its end, `"last"` for the last number that it prints, or a regular expression, of whose
            last match the group, or without one the whole, is the number. It is looked for in the
            standard output and then in the standard error, in the last megabyte of each.
        combine: What the numbers of several instances come to: `Combine.SUM`, as of a throughput;
            `Combine.SLOWEST`, the largest, as of a latency; or `Combine.PER_PROGRAM`, the largest
            divided by how many ran, by which two that take no longer than one are twice as good.
            That is what counts of a time where nothing is said; of printed numbers it must be said
            wherever a configuration has `instances`.
        timeout_s: After so many seconds it is killed with all its processes, and has failed.
        env: Variables to set beside the user's own.
        patience_s: How many seconds to wait for other work on the machine to end; a run that it has
            disturbed is run again. After that a run counts as it is, and says so. By default 30,
            or what `KAMERTON_RAY_PATIENCE_S` says; 0 never waits.
        knobs: The knobs that are tuned, by name, as for `benchmark`.

    Returns:
        A class for `tune.run` or `Tuner`. A trial reports `objective`, `seconds` (of the slowest
        instance), `outcome`, `error` and the `line` that the first one's number was read from, and
        of a time `seconds_per_program`, that divided by how many ran; a failed one reports NaN.

    Raises:
        InvalidInputError: An argument breaks its rule.
    """
    options = CommandOptions(
        argv=tuple(argv),
        objective=objective,
        combine=combine,
        timeout_s=timeout_s,
        env=dict(env or {}),
        patience_s=patience() if patience_s is None else patience_s,
        knobs=tuple(knobs),
    )

    return one_step("Command", lambda: Runner(options, working_directory()))
