"""on_a_node: measure on a node that one has for oneself, asked from here round by round."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from kamerton_ray.errors import KamertonError
from kamerton_ray.trial.measurer import RoundMeasurer
from kamerton_ray.tune import ray_api
from kamerton_ray.tune.placement import how_lost, node_to_itself, one_of_these, one_per_node
from kamerton_ray.tune.remote import Remote
from kamerton_ray.tune.trainable import Trainable

HEARS_S = 0.1
"""Ctrl-C is heard after so many seconds at the latest."""

T = TypeVar("T")
R = TypeVar("R")


class LostError(KamertonError, RuntimeError):
    """The process was lost, or its node; the message says which."""


@contextlib.contextmanager
def on_a_node(
    trainable: type[Trainable[RoundMeasurer]], *, node_ips: Sequence[str] = ()
) -> Iterator[RoundMeasurer]:
    """Have a node on which no trial runs meanwhile, and measure there.

    What measures is the node's host where the trainable has one, or else a process that is started
    for it and ends with the context.

    Args:
        trainable: What a trial runs.
        node_ips: On one of which nodes; none for any.

    Yields:
        What measures there. Ctrl-C is heard meanwhile.

    Raises:
        LostError: The process or its node was lost.
    """
    resources = one_of_these(node_ips) if node_ips else one_per_node()
    group = resources.to_placement_group()
    try:
        _awaited(group.ready())
        host = trainable.host(ray_api.node_of(group))
        if host is not None:
            yield Remote(functools.partial(_called, host))
        else:
            cpus = resources.bundles[0]["CPU"]
            started = ray_api.start_in(group, trainable.measurer, cpus=cpus)
            yield Remote(functools.partial(_called, started))
            ray_api.called(started, lambda there: there.close())
    except ray_api.error() as error:
        raise LostError(how_lost(str(error))) from error
    finally:
        ray_api.release(group)


def _called(actor: ray_api.Actor, work: Callable[[RoundMeasurer], R]) -> R:
    """What a function returns that is called with an actor's measurer, which has its node alone."""
    task: ray_api.Task[R] = actor.call.remote(functools.partial(_by_itself, work))
    return _awaited(task)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Have Ctrl-C interrupt: after a run of Tune its handler is left, which swallows the first.

    (ray/tune/tune.py, `_setup_signal_catching`)
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are for the main thread
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


def _by_itself(work: Callable[[RoundMeasurer], R], measurer: RoundMeasurer) -> R:
    """Call a function with a measurer, while no trial of this package runs on the node."""
    with node_to_itself():
        return work(measurer)


def _awaited(task: ray_api.Task[T]) -> T:
    """What comes of a task; Ctrl-C is heard meanwhile, which `ray.get` does once a second."""
    while not ray_api.wait([task], timeout=HEARS_S)[0]:
        continue
    return ray_api.value(task)
