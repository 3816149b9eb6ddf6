"""Hosts: a process on every node that measures for all who ask it there.

What it keeps warm outlives a search: the comparison after it imports TensorFlow no second time. It
takes no CPUs of Ray's. Whoever asks it has the node for himself.
"""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from kamerton_ray.trial.config import Config
from kamerton_ray.trial.measurer import RoundMeasurer
from kamerton_ray.trial.result import Result
from kamerton_ray.tune import ray_api
from kamerton_ray.tune.placement import Kind, chosen_kind
from kamerton_ray.tune.trainable import Trainable, one_step

R = TypeVar("R")


class WarmMeasurer(RoundMeasurer, Protocol):
    """One that takes long before its first measurement."""

    def warm(self) -> None:
        """Do all that does not depend on the configuration."""


W = TypeVar("W", bound=WarmMeasurer)


@contextlib.contextmanager
def hosted(
    trainable: type[Trainable[W]], kind: Kind | None = None
) -> Iterator[type[Trainable[RoundMeasurer]]]:
    """A trainable like this one, whose trials are measured by one process on each node.

    The processes start at once, and end with the context. On a node that joins later every actor
    measures by itself.

    Args:
        trainable: What a trial runs.
        kind: What the nodes have to be, as for `one_per_node`.
    """
    name, make = uuid.uuid4().hex, trainable.measurer
    hosts = [
        ray_api.start_on(node, functools.partial(_warm, make), name=f"{name}-{node.id}")
        for node in chosen_kind(kind).nodes
    ]
    try:
        yield one_step(trainable.__name__, functools.partial(_asking, name, make))
    finally:
        for host in hosts:
            ray_api.kill(host)


def _warm(make: Callable[[], W]) -> W:
    """A measurer that is ready to measure."""
    measurer = make()
    measurer.warm()
    return measurer


def _asking(name: str, make: Callable[[], W]) -> RoundMeasurer:
    """What has this node's host measure; where there is none, what measures itself."""
    host = ray_api.named(f"{name}-{ray_api.this_node()}")
    return make() if host is None else _Asking(host)


class _Asking:
    """Measures by having a host do it."""

    def __init__(self, host: ray_api.Actor) -> None:
        self._host = host

    def measure(self, config: Config) -> Result:
        """What a trial of a configuration finds."""
        return self._asked(lambda there: there.measure(config))

    def fits(self, configs: Sequence[Config | None]) -> bool:
        """Whether there is memory to measure these in one round."""
        return self._asked(lambda there: there.fits(configs))

    def measure_round(self, configs: Sequence[Config | None]) -> list[Result]:
        """A result for each configuration, in this order."""
        return self._asked(lambda there: there.measure_round(configs))

    def close(self) -> None:
        """What the host keeps warm is for the next one."""

    def _asked(self, work: Callable[[RoundMeasurer], R]) -> R:
        task: ray_api.Task[R] = self._host.call.remote(work)
        return ray_api.value(task)
