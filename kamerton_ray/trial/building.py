"""Building: the models of a round build at the same time, as many as there are CPUs for.

Two that build at the same time may be in each other's way, as where both write the same file. So
one that fails beside others builds once more by itself before it counts as failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from kamerton_ray.process.outcome import AttemptError, Outcome
from kamerton_ray.trial.config import Config, instances_of
from kamerton_ray.trial.model_instances import Instances

BUILDING_PER_CPU = 2
"""So many processes for each CPU build at the same time. Building is mostly the work of one thread,
and of as many as there are CPUs the last one would leave the others idle."""

IN_THE_WAY = frozenset(
    {Outcome.BUILD_RAISED, Outcome.EXITED, Outcome.SIGNALLED, Outcome.OUT_OF_MEMORY}
)
"""How one may fail for what builds beside it. A timeout is long enough once."""

Start = Callable[[Config | None], Instances]
"""Starts the processes of a configuration, which build by themselves; None is the default.

It raises AttemptError where they cannot be started."""


def built(
    configs: Sequence[Config | None], start: Start, *, most: int
) -> list[Instances | AttemptError]:
    """For each configuration the processes that are ready to run steps, or why there are none.

    Args:
        configs: In the order in which they are started.
        start: Starts one.
        most: So many processes build at the same time.
    """
    found: list[Instances | AttemptError] = []
    for group in at_once(configs, most):
        ready = [_ready(one) for one in [_started(start, config) for config in group]]
        found += [
            _ready(_started(start, config)) if group[1:] and _may_be_in_the_way(one) else one
            for config, one in zip(group, ready, strict=True)
        ]
    return found


def at_once(configs: Sequence[Config | None], most: int) -> Iterator[Sequence[Config | None]]:
    """Configurations in their order, in groups of at most so many processes, or of a single one."""
    group: list[Config | None] = []
    for config in configs:
        if group and sum(map(instances_of, [*group, config])) > most:
            yield group
            group = []
        group.append(config)
    if group:
        yield group


def _may_be_in_the_way(found: Instances | AttemptError) -> bool:
    """Whether one has failed as it may for what builds beside it."""
    return isinstance(found, AttemptError) and found.outcome in IN_THE_WAY


def _started(start: Start, config: Config | None) -> Instances | AttemptError:
    try:
        return start(config)
    except AttemptError as error:
        return error


def _ready(building: Instances | AttemptError) -> Instances | AttemptError:
    """The same when it has built, or why it has not."""
    if isinstance(building, Instances):
        try:
            building.build()
        except AttemptError as error:
            return error
    return building
