"""An object in a process that has a node for itself, called from here step by step."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from kamerton_ray.errors import KamertonError
from kamerton_ray.tune import ray_api
from kamerton_ray.tune.placement import how_lost, node_to_itself, one_of_these, one_per_node

HEARS_S = 0.1
"""Ctrl-C is heard after so many seconds at the latest."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")


class LostError(KamertonError, RuntimeError):
    """The process was lost, or its node; the message says which."""


class Call(Protocol[T_co]):
    """Calls a function with the object, in the object's process."""

    def __call__(self, work: Callable[[T_co], R], /) -> R:
        """What the function returns."""


@contextlib.contextmanager
def on_a_node(make: Callable[[], T], *, node_ips: Sequence[str] = ()) -> Iterator[Call[T]]:
    """Make an object in a process of its own, on a node where no trial runs meanwhile.

    Args:
        make: Makes it, in that process.
        node_ips: On one of which nodes; none for any.

    Yields:
        What calls a function with it, as a method of its class. Ctrl-C is heard meanwhile.

    Raises:
        LostError: The process or its node was lost.
    """
    resources = one_of_these(node_ips) if node_ips else one_per_node()
    group = resources.to_placement_group()
    try:
        actor = ray_api.start_in(group, make, cpus=resources.bundles[0]["CPU"])

        def call(work: Callable[[T], R], /) -> R:
            task: ray_api.Task[R] = actor.call.remote(functools.partial(_by_itself, work))
            return _awaited(task)

        yield call
    except ray_api.error() as error:
        raise LostError(how_lost(str(error))) from error
    finally:
        ray_api.release(group)


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


def _by_itself(work: Callable[[T], R], made: T) -> R:
    """Call a function with an object, while no trial of this package runs on the node."""
    with node_to_itself():
        return work(made)


def _awaited(task: ray_api.Task[T]) -> T:
    """What comes of a task; Ctrl-C is heard meanwhile, which `ray.get` does once a second."""
    while not ray_api.wait([task], timeout=HEARS_S)[0]:
        continue
    return ray_api.value(task)
