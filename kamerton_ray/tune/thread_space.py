"""The search spaces of threads and instances, on this machine or on the nodes that run trials."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Sequence

from kamerton_ray.machine.cpus import usable_cpus
from kamerton_ray.machine.knobs import offered
from kamerton_ray.machine.threads import (
    OVERSUBSCRIBED,
    THREADS,
    default_threads,
    instance_bounds,
    thread_bounds,
    thread_count,
)
from kamerton_ray.machine.topology import topology, worth_pinning
from kamerton_ray.search.constraints import AtMost
from kamerton_ray.trial.config import INSTANCES_KEY, ONE_PROCESS, PINNED
from kamerton_ray.tune import ray_api
from kamerton_ray.tune.placement import Kind, chosen_kind

logger = logging.getLogger(__name__)


def thread_space(cpus: int | None = None, *, knobs: Sequence[str] = ()) -> dict[str, object]:
    """The search space of thread counts: `{"intra_op": tune.randint, "inter_op": tune.randint}`.

    Args:
        cpus: The CPUs that a trial will have. By default those of the nodes of the Ray cluster
            that this process is connected to that run trials (see `one_per_node`), asked on the
            nodes themselves, or of this machine.
        knobs: What is searched, too, as `("onednn", "allocator")`; `benchmark` has to be told the
            same. The words are those that are to be had on this machine.

    Returns:
        Intra-op counts up to the number of CPUs and inter-op counts up to the same or 16, both
        at least up to 4.

    Raises:
        InvalidInputError: `cpus` is not a positive integer, no node can run trials, or there is no
            such knob.
    """
    bounds = thread_bounds(trial_cpus() if cpus is None else thread_count("cpus", cpus, least=1))
    counts = {name: ray_api.randint(low, high) for name, (low, high) in bounds.items()}
    return {**counts, **_knob_space(knobs)}


def _knob_space(names: Sequence[str]) -> dict[str, object]:
    offer = offered(names)
    for sentence in offer.said:
        logger.warning("%s", sentence)
    return {name: ray_api.choice(words) for name, words in offer.words.items()}


def instance_space(
    cpus: int | None = None, *, pinned: bool | None = None, knobs: Sequence[str] = ()
) -> dict[str, object]:
    """The search space of instances and their threads; use it with `instance_limit`.

    Args:
        cpus: The CPUs that a trial will have; by default as for `thread_space`.
        pinned: Whether `"pinned"` is searched, too: instances with CPUs of their own (1), or left
            to the scheduler (0). By default where that can matter on this machine, because CPUs
            share a core or there are several NUMA nodes.
        knobs: What is searched, too, as for `thread_space`.

    Returns:
        `"instances"` up to the number of CPUs, and the counts of `thread_space` for each of them.

    Raises:
        InvalidInputError: `cpus` is not a positive integer, no node can run trials, or there is no
            such knob.
    """
    count = trial_cpus() if cpus is None else thread_count("cpus", cpus, least=1)
    low, high = instance_bounds(count)
    places = worth_pinning(topology()) if pinned is None else pinned
    return {
        INSTANCES_KEY: ray_api.randint(low, high),
        **thread_space(count),
        **({PINNED: ray_api.randint(0, 1)} if places else {}),
        **_knob_space(knobs),
    }


def instance_limit(cpus: int | None = None) -> AtMost:
    """The constraint for `instance_space`: at most two intra-op threads for each CPU, in all.

    Args:
        cpus: The CPUs that a trial will have; by default as for `thread_space`.

    Raises:
        InvalidInputError: `cpus` is not a positive integer, or no node can run trials.
    """
    count = trial_cpus() if cpus is None else thread_count("cpus", cpus, least=1)
    return AtMost(product=(INSTANCES_KEY, "intra_op"), most=OVERSUBSCRIBED * count)


def default_values(names: Collection[str]) -> dict[str, int]:
    """What a program has that sets none of these parameters, as far as that is known.

    Args:
        names: The parameters. Nodes are asked for their CPUs where a thread count is among them.

    Raises:
        InvalidInputError: No node can run trials.
    """
    threads = default_threads(trial_cpus()) if set(THREADS) & set(names) else {}
    return {name: value for name, value in {**ONE_PROCESS, **threads}.items() if name in names}


def trial_cpus(kind: Kind | None = None) -> int:
    """The usable CPUs of each node that runs trials, or of this machine without Ray.

    Args:
        kind: What the nodes have to be, as for `one_per_node`.
    """
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return usable_cpus().count
    return chosen_kind(kind).machine.usable_cpus
