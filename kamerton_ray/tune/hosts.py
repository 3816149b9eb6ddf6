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

from kamerton_ray.trial.measurer import RoundMeasurer
from kamerton_ray.tune import ray_api
from kamerton_ray.tune.placement import Kind, chosen_kind
from kamerton_ray.tune.remote import Remote
from kamerton_ray.tune.trainable import Trainable, one_step

CLOSING_S = 2.0
"""A host that is in the middle of a measurement is waited for no longer, as after Ctrl-C."""


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
    host_on = functools.partial(_host, name)
    try:
        yield one_step(trainable.__name__, functools.partial(_asking, host_on, make), host_on)
    finally:
        _end(hosts)


def _end(hosts: Sequence[ray_api.Actor]) -> None:
    """End hosts, once they have ended what they keep warm.

    Ray kills an actor's children with it (src/ray/common/ray_config_def.h,
    `kill_child_processes_on_worker_exit`), and the nest's folder would be left.
    """
    ray_api.wait([host.call.remote(lambda there: there.close()) for host in hosts], CLOSING_S)
    for host in hosts:
        ray_api.kill(host)


def _warm(make: Callable[[], W]) -> W:
    """A measurer that is ready to measure."""
    measurer = make()
    measurer.warm()
    return measurer


def _host(name: str, node: str) -> ray_api.Actor | None:
    """The host of these that is on a node; None where there is none."""
    return ray_api.named(f"{name}-{node}")


def _asking(
    host_on: Callable[[str], ray_api.Actor | None], make: Callable[[], RoundMeasurer]
) -> RoundMeasurer:
    """What has this node's host measure; where there is none, what measures itself."""
    there = host_on(ray_api.this_node())
    return make() if there is None else Remote(functools.partial(ray_api.called, there))
