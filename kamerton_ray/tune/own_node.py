"""An object in a process that has a node for itself, called from here step by step."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kamerton_ray.errors import KamertonError
from kamerton_ray.tune.placement import how_lost, node_to_itself, one_of_these, one_per_node

HEARS_S = 0.1
"""How long Ctrl-C may have to wait, in seconds."""


class LostError(KamertonError, RuntimeError):
    """The process was lost, or its node; the message says which."""


@contextlib.contextmanager
def on_a_node(
    make: Callable[[], object], *, node_ips: Sequence[str] = ()
) -> Iterator[Callable[[str], Any]]:
    """Make an object in a process of its own, on a node where no trial runs meanwhile.

    Args:
        make: Makes it, in that process.
        node_ips: On one of which nodes; none for any.

    Yields:
        What calls a method of it by name, without arguments, and returns what that returns. Ctrl-C
        is heard meanwhile.

    Raises:
        LostError: The process or its node was lost.
    """
    import ray  # noqa: PLC0415 - importing this package must not import Ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy  # noqa: PLC0415

    resources = one_of_these(node_ips) if node_ips else one_per_node()
    group = resources.to_placement_group()
    try:
        there = (
            ray.remote(_There)
            .options(
                num_cpus=resources.bundles[0]["CPU"],
                scheduling_strategy=PlacementGroupSchedulingStrategy(group),
            )
            .remote(make)
        )
        yield lambda method: _awaited(there.call.remote(method))
    except ray.exceptions.RayError as error:
        raise LostError(how_lost(str(error))) from error
    finally:
        ray.util.remove_placement_group(group)  # with the actor in it


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


class _There:
    """The object in its own process."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._made = make()

    def call(self, method: str) -> object:
        """Call a method, while no trial of this package runs on the node."""
        with node_to_itself():
            found: object = getattr(self._made, method)()
        return found


def _awaited(reference: Any) -> Any:  # noqa: ANN401 - Ray is untyped
    """What comes of a task; Ctrl-C is heard meanwhile, which `ray.get` does once a second."""
    import ray  # noqa: PLC0415 - importing this package must not import Ray

    while not ray.wait([reference], timeout=HEARS_S)[0]:
        continue
    return ray.get(reference)
