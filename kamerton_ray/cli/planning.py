"""What each command tunes, and the plan of its search: what to search for, what a trial runs."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol, cast

from kamerton_ray.cli.connecting import send_by_value
from kamerton_ray.cli.options import ALL_CPUS, Knob, Limit, SearchOptions
from kamerton_ray.cli.saying import say
from kamerton_ray.cli.target import Build
from kamerton_ray.cli.timing import total_s
from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.environment import working_directory
from kamerton_ray.machine.knobs import offered
from kamerton_ray.machine.neighbours import patience
from kamerton_ray.machine.threads import (
    OVERSUBSCRIBED,
    default_threads,
    instance_bounds,
    thread_bounds,
)
from kamerton_ray.machine.topology import topology, worth_pinning
from kamerton_ray.search.constraints import AtMost
from kamerton_ray.trial.bench import Bench
from kamerton_ray.trial.command import CommandOptions
from kamerton_ray.trial.config import INSTANCES_KEY, ONE_PROCESS, PINNED
from kamerton_ray.trial.instances import Combine
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.reading import TIME, Direction
from kamerton_ray.trial.saved_model import SavedModel
from kamerton_ray.trial.script import Described, Script, ScriptRunner
from kamerton_ray.tune.goal import Bounds, Domain, Goal, is_bounds
from kamerton_ray.tune.hosts import hosted
from kamerton_ray.tune.schedule import measured_s
from kamerton_ray.tune.thread_space import trial_cpus
from kamerton_ray.tune.trainable import Trainable, benchmark, command, one_step

Said = int | str
Start = dict[str, Said]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A search.

    Attributes:
        goal: What is searched for.
        trainable: What a trial runs.
        objective: What is shown of it, and by what the best and the default are compared.
        direction: Which numbers of a command are better.
        combine: What the numbers of several instances come to; None where they are not tuned.
        warms: Whether measuring keeps anything warm that takes long to come by, as TensorFlow.
    """

    goal: Goal
    trainable: type[object]
    objective: Objective
    direction: Direction = Direction.LOWER
    combine: Combine | None = None
    warms: bool = False

    @contextlib.contextmanager
    def hosted(self, options: SearchOptions) -> Iterator[Plan]:
        """The same plan, with one process on each node that keeps warm what there is to."""
        if not self.warms:
            yield self
            return
        plain = cast("type[Trainable[Bench]]", self.trainable)
        with hosted(plain, dict(options.kinds)) as trainable:
            yield replace(self, trainable=trainable)


class Task(Protocol):
    """What a command tunes."""

    kind: ClassVar[str]
    """The command's name, as it stands in the session."""
    is_compared: ClassVar[bool]
    """Whether its best can be compared with the default."""

    def description(self) -> dict[str, object]:
        """What a resumed search has to have in common with this one."""

    def plan(self, options: SearchOptions) -> Plan:
        """How to search; Ray has to be there, since its nodes decide the ranges."""


@dataclass(frozen=True, kw_only=True)
class ProgramTask:
    """A program, which every trial runs.

    Attributes:
        command: The program, and how its number is read.
        direction: Which numbers are better.
        objective: What it is judged by.
        knobs: The variables that are tuned beside the threads.
        also: The knobs that are tuned, by name.
    """

    kind: ClassVar[str] = "exec"
    is_compared: ClassVar[bool] = True

    command: CommandOptions
    direction: Direction
    objective: Objective
    knobs: tuple[Knob, ...]
    also: tuple[str, ...] = ()

    def description(self) -> dict[str, object]:
        """What a resumed search has to have in common with this one."""
        return {
            "argv": list(self.command.argv),
            "objective": self.command.objective,
            "maximize": self.direction is Direction.HIGHER,
            "combine": _word(self.command.combine),
            "knobs": self.knobs,
            "timeout": self.command.timeout_s,
            **({"also": self.also} if self.also else {}),
        }

    def plan(self, options: SearchOptions) -> Plan:
        """How to search for its best configuration."""
        return Plan(
            goal=_goal(options, "objective", self.direction.mode),
            trainable=command(
                self.command.argv,
                objective=self.command.objective,
                combine=self.command.combine,
                timeout_s=self.command.timeout_s,
                patience_s=_patience(options),
                knobs=self.also,
            ),
            objective=self.objective,
            direction=self.direction,
            combine=self.command.combine,
        )


@dataclass(frozen=True, kw_only=True)
class FunctionTask:
    """A function that builds a model and returns a step of it, which every trial times.

    Attributes:
        target: How the user names the function, or the saved model.
        build: The function, or what stands for one.
        objective: What a step is judged by.
        most: The objective's upper limits, as the user has said them.
        least: Its lower ones.
        seconds: How long each trial measures; None for a share of the whole time.
        timeout_s: How long a build, or a block of steps, may take.
        knobs: The knobs, and variables, that are tuned beside the threads, by name.
    """

    kind: ClassVar[str] = "tune"
    is_compared: ClassVar[bool] = True

    target: str
    build: Build
    objective: Objective
    most: tuple[Limit, ...]
    least: tuple[Limit, ...]
    seconds: float | None
    timeout_s: float
    knobs: tuple[str, ...] = ()

    def description(self) -> dict[str, object]:
        """What a resumed search has to have in common with this one."""
        return {
            "target": self.target,
            **({} if self.seconds is None else {"seconds": self.seconds}),
            "objective": self.objective.metric,
            "limits": self.most,
            **({"least": self.least} if self.least else {}),
            **({"also": self.knobs} if self.knobs else {}),
            **(self.build.inputs if isinstance(self.build, SavedModel) else {}),
        }

    def plan(self, options: SearchOptions) -> Plan:
        """How to search for its best configuration."""
        if not isinstance(self.build, SavedModel):
            # The trials' processes, maybe on other machines, get the function by value.
            send_by_value(sys.modules[self.build.__module__])
        plain = self.objective.metric == "speedup" and not self.objective.limited
        return Plan(
            goal=_goal(options, "speedup" if plain else "score", "max", pins=True),
            trainable=benchmark(
                self.build,
                budget_s=self.seconds or measured_s(total_s(options)),
                timeout_s=self.timeout_s,
                patience_s=_patience(options),
                objective=None if plain else self.objective,
                knobs=self.knobs,
            ),
            objective=self.objective,
            warms=True,
        )


@dataclass(frozen=True, kw_only=True)
class LoopTask:
    """A script with Kamerton's loop, which every trial executes.

    Attributes:
        path: The script, as the user names it.
        script: The same, as a trial finds it.
        loop: What its loop searches for.
        combine: What the numbers of several instances come to; None where they are not tuned.
        knobs: The knobs, and variables, that are tuned beside the loop's own axes, by name.
    """

    kind: ClassVar[str] = "run"
    is_compared: ClassVar[bool] = False  # nobody knows what the loop's number is without it

    path: str
    script: Script
    loop: Described
    combine: Combine | None = None
    knobs: tuple[str, ...] = ()

    def description(self) -> dict[str, object]:
        """What a resumed search has to have in common with this one."""
        return {
            "script": self.path,
            "args": list(self.script.args),
            "combine": _word(self.combine),
            **({"also": self.knobs} if self.knobs else {}),
        }

    def plan(self, options: SearchOptions) -> Plan:
        """How to search for what its loop searches for."""
        asked = options.threads()
        own = {name: asked.get(name) or bounds for name, bounds in self.loop.space.items()}
        cpus = trial_cpus(dict(options.kinds))
        knobs = _knobs(options)
        space: dict[str, Domain] = {**_instances(options, cpus), **own, **knobs}
        starts = [{INSTANCES_KEY: 1, **start, **_first(knobs)} for start in self.loop.starts]
        _check_numbers(options.constraints, space)
        goal = Goal(
            space=space,
            starts=_keeping(options.constraints, _inside(starts, space)),
            metric="objective",
            mode="min",
            constraints=options.constraints,  # what else is worth a trial the script says
        )
        return Plan(
            goal=goal,
            trainable=self._trainable(_patience(options)),
            objective=Objective(metric="objective"),
            combine=self.combine,
        )

    def _trainable(self, patience_s: float) -> type[object]:
        script, loop, combine = self.script, self.loop, self.combine or Combine.SLOWEST
        knobs = self.knobs

        def runner() -> ScriptRunner:
            return ScriptRunner(
                script,
                names=list(loop.space),
                combine=combine,
                repeats=loop.repeats,
                timeout_s=loop.timeout_s,
                patience_s=patience_s,
                cwd=working_directory(),  # the trial's, not ours
                knobs=knobs,
            )

        return one_step(Path(script.path).name, runner)


def direction_of(objective: str, *, maximize: bool, minimize: bool) -> Direction:
    """Which of a program's numbers are better, as the options say.

    Raises:
        InvalidInputError: They say both, or do not say it of what looks like a rate.
    """
    if maximize and minimize:
        raise InvalidInputError("--maximize and --minimize exclude each other")
    if objective == TIME and maximize:
        raise InvalidInputError("--maximize is for a number that is printed; see --objective")
    if maximize:
        return Direction.HIGHER
    if minimize:
        return Direction.LOWER
    if doubt := Direction.ASSUMED.doubt(objective):
        raise InvalidInputError(doubt)
    return Direction.ASSUMED


def combine_of(asked: Combine | None, usual: Combine, options: SearchOptions) -> Combine | None:
    """What the numbers of several instances come to; None where these are not tuned.

    Raises:
        InvalidInputError: It is said of instances that are not tuned.
    """
    if options.instances is not None:
        return asked or usual
    if asked is not None:
        raise InvalidInputError("--combine is for several instances; see --instances")
    return None


def usual_combine(objective: str, direction: Direction) -> Combine:
    """What the numbers of several instances of a program come to, where nobody says it."""
    if objective == TIME:
        return Combine.PER_PROGRAM
    return Combine.SUM if direction is Direction.HIGHER else Combine.SLOWEST


def _word(combine: Combine | None) -> str | None:
    return None if combine is None else combine.word


def _patience(options: SearchOptions) -> float:
    """How many seconds a trial waits for other work to end."""
    return 0.0 if options.shared else patience()


def names_of(options: SearchOptions) -> tuple[str, ...]:
    """The names of the knobs and variables that are tuned."""
    return (*options.also, *dict(options.knobs))


def _knobs(options: SearchOptions) -> dict[str, Domain]:
    """The domains of what is tuned beside counts; what is left out is said.

    On a cluster nobody knows what its nodes have: there a word that is not to be had fails.
    """
    offer = offered(options.also)
    for sentence in offer.said:
        say(options, sentence)
    return {**dict(options.knobs), **offer.words}


def _first(knobs: Mapping[str, Domain]) -> Start:
    """Where the search begins: the lowest number, and the word that the environment has."""
    return {name: _first_of(domain, os.environ.get(name)) for name, domain in knobs.items()}


def _first_of(domain: Domain, own: str | None) -> Said:
    return domain[0] if own is None or is_bounds(domain) or own not in domain else own


def _goal(options: SearchOptions, metric: str, mode: str, *, pins: bool = False) -> Goal:
    """What is searched for; `pins` says whether instances can have CPUs of their own."""
    knobs = _knobs(options)
    cpus = trial_cpus(dict(options.kinds))
    asked = options.threads()
    threads = {name: asked[name] or usual for name, usual in thread_bounds(cpus).items()}
    places = _places(options) if pins else {}
    counts = {**_instances(options, cpus), **threads, **places}
    usual = default_threads(cpus)
    share = max(1, usual["intra_op"] // counts.get(INSTANCES_KEY, (1, 1))[0])
    start = {**ONE_PROCESS, **usual, "intra_op": share, **_first(knobs)}
    space: dict[str, Domain] = {**counts, **knobs}
    constraints = _constraints(options, counts, cpus)
    _check_numbers(constraints, space)
    return Goal(
        space=space,
        starts=_keeping(constraints, _inside([start], space)),
        metric=metric,
        mode=mode,
        constraints=constraints,
    )


def _check_numbers(constraints: Sequence[AtMost], space: Mapping[str, Domain]) -> None:
    """Refuse a product of words.

    Raises:
        InvalidInputError: There is one.
    """
    for name in {name for one in constraints for name in one.product}:
        if name in space and not is_bounds(space[name]):
            raise InvalidInputError(f"--constraint must be of numbers, but {name} has words")


def _keeping(constraints: Sequence[AtMost], starts: Sequence[Start]) -> list[Start]:
    """The configurations to begin with that break no constraint."""

    def keeps(start: Start) -> bool:
        counts = {name: said for name, said in start.items() if isinstance(said, int)}
        return all(one.keeps(counts) for one in constraints)

    return list(filter(keeps, starts))


def _instances(options: SearchOptions, cpus: int) -> dict[str, Bounds]:
    """The range of instances, where they are tuned.

    Raises:
        InvalidInputError: It reaches beyond the CPUs that a trial has.
    """
    if options.instances is None:
        return {}
    low, high = options.instances
    if high == ALL_CPUS:
        return {INSTANCES_KEY: instance_bounds(cpus)}
    if high > cpus:
        raise InvalidInputError(
            f"--instances must be at most the usable CPUs, {cpus}, but got {high}"
        )
    return {INSTANCES_KEY: (low, high)}


def _places(options: SearchOptions) -> dict[str, Bounds]:
    """Whether instances have CPUs of their own, where they are tuned and that can matter."""
    here = options.address is None  # nobody knows how the nodes of a cluster are built
    matters = options.instances is not None and here and worth_pinning(topology())
    return {PINNED: (0, 1)} if matters else {}


def _constraints(
    options: SearchOptions, space: Mapping[str, Bounds], cpus: int
) -> tuple[AtMost, ...]:
    """What the user says, and what is not worth a trial where instances are tuned."""
    product = (INSTANCES_KEY, "intra_op")
    said = any(set(one.product) == set(product) for one in options.constraints)
    if said or not set(product) <= space.keys():
        return options.constraints
    least = math.prod(space[name][0] for name in product)  # what the user has fixed is
    return (*options.constraints, AtMost(product, max(OVERSUBSCRIBED * cpus, least)))


def _inside(starts: Sequence[Mapping[str, Said]], space: Mapping[str, Domain]) -> list[Start]:
    """The configurations to begin with, moved onto the bounds."""
    return [
        {name: _within(start[name], domain) for name, domain in space.items()} for start in starts
    ]


def _within(said: Said, domain: Domain) -> Said:
    if isinstance(said, str) or not is_bounds(domain):
        return said
    return min(max(said, domain[0]), domain[1])
