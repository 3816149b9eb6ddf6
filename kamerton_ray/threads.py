"""TensorFlow's two thread counts: setting them, and how many a trial can use."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kamerton_ray import cgroups
from kamerton_ray.errors import InvalidInputError, RuntimeStartedError

logger = logging.getLogger(__name__)

THREADS = ("intra_op", "inter_op")
"""The names of the two counts in a configuration."""

MAX_THREADS = 4096
"""No count above this is a thread count; the largest machines have some 2,000 CPUs."""

LEAST_RANGE = 4
"""`thread_space` reaches up to at least this many, since on few CPUs more threads can pay."""

MOST_INTER_OP = 16
"""`thread_space` reaches no further for inter-op; few graphs have more independent branches."""


class Threading(NamedTuple):
    """The two thread counts, in the order of Kamerton's `[intra, inter]`.

    Attributes:
        intra_op: Threads inside one operation; 0 for TensorFlow's default.
        inter_op: Operations that run at once; 0 for TensorFlow's default.
    """

    intra_op: int = 0
    inter_op: int = 0

    @classmethod
    def of(cls, config: Threading | Mapping[str, Any] | Sequence[int]) -> Threading:
        """The counts in a trial's configuration, or in Kamerton's `[intra, inter]`.

        Args:
            config: A dict with `intra_op`, `inter_op` or both (other keys are ignored and a
                missing one is 0), or a sequence of the two numbers.

        Raises:
            InvalidInputError: A count is not an integer from 0 to `MAX_THREADS`, or there are
                none.
        """
        if isinstance(config, Mapping):
            if not set(THREADS) & set(config):
                raise InvalidInputError(
                    f"a threading dict must have 'intra_op' or 'inter_op', but got {config!r}"
                )
            counts = [config.get("intra_op", 0), config.get("inter_op", 0)]
        elif isinstance(config, Sequence) and not isinstance(config, str) and len(config) == 2:  # noqa: PLR2004
            counts = list(config)
        else:
            raise InvalidInputError(
                "threading must be a dict with 'intra_op' and 'inter_op', a Threading, or "
                f"[intra, inter], but got {config!r}"
            )
        return cls(_thread_count("intra_op", counts[0]), _thread_count("inter_op", counts[1]))

    def environment(self) -> dict[str, str]:
        """The variables that give a process these counts; TensorFlow reads them when it starts."""
        return {
            "TF_NUM_INTRAOP_THREADS": str(self.intra_op),
            "TF_NUM_INTEROP_THREADS": str(self.inter_op),
        }


def set_threading(config: Threading | Mapping[str, Any] | Sequence[int]) -> Threading:
    """Set TensorFlow's thread counts in this process, before its runtime starts.

    Zero leaves the choice to TensorFlow: the environment variables `TF_NUM_INTRAOP_THREADS` and
    `TF_NUM_INTEROP_THREADS` if they are set, else one thread for each CPU it may run on.

    Args:
        config: A trial's configuration with `intra_op` and `inter_op`, a `Threading`, or
            Kamerton's `[intra, inter]`.

    Returns:
        The counts that were set.

    Raises:
        InvalidInputError: A count is not an integer from 0 to `MAX_THREADS`.
        RuntimeStartedError: TensorFlow has started with other counts. They are fixed once the
            first tensor or operation exists (tensorflow/python/eager/context.py,
            `intra_op_parallelism_threads`).
    """
    threading = Threading.of(config)
    import tensorflow as tf  # noqa: PLC0415 - seconds, and only this function needs it

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threading.intra_op)
        tf.config.threading.set_inter_op_parallelism_threads(threading.inter_op)
    except RuntimeError as error:
        running = Threading(
            tf.config.threading.get_intra_op_parallelism_threads(),
            tf.config.threading.get_inter_op_parallelism_threads(),
        )
        raise RuntimeStartedError(
            f"TensorFlow's runtime has already started with {running}, so {threading} cannot be "
            "set: TensorFlow fixes its thread pools when the first tensor or operation exists "
            f"('{error}'). Call set_threading before anything that makes one, in a process of its "
            "own for each configuration; with Ray Tune leave reuse_actors off."
        ) from error
    return threading


def runtime_started() -> bool:
    """Whether TensorFlow's runtime runs in this process: its threads do not survive a fork."""
    context = sys.modules.get("tensorflow.python.eager.context")
    # Asking for the context itself would create it.
    current = getattr(context, "_context", None)
    return getattr(current, "_context_handle", None) is not None or _session_made()


def _session_made() -> bool:
    """Whether a session of TensorFlow 1 was made, whose threads are others.

    TensorFlow counts them (tensorflow/python/client/session.py, `BaseSession.__init__`).
    """
    session = sys.modules.get("tensorflow.python.client.session")
    counter = getattr(session, "_python_session_create_counter", None)
    return counter is not None and counter.get_cell().value() > 0


@dataclass(frozen=True)
class CpuLimit:
    """One source's word on how many CPUs this process may use.

    Attributes:
        source: What limits it.
        cpus: The limit in CPUs; a fraction for a quota.
        detail: Where that was read.
    """

    source: str
    cpus: float
    detail: str


@dataclass(frozen=True)
class UsableCpus:
    """How many CPUs this process can really use, and why.

    Attributes:
        count: The smallest limit, rounded up; at least 1.
        limits: Every source that says something.
    """

    count: int
    limits: tuple[CpuLimit, ...]

    def __str__(self) -> str:
        lines = [f"{self.count} usable CPUs, the least of:"]
        lines += [
            f"  {limit.source:<14} {limit.cpus:>6g}  ({limit.detail})" for limit in self.limits
        ]
        return "\n".join(lines)


def usable_cpus(*, root: Path | str = "/") -> UsableCpus:
    """How many CPUs this process can really use, source by source.

    TensorFlow counts the affinity mask alone and knows nothing of a container's quota, so its
    default can be far too many. A quota of 2.5 CPUs counts as 3.

    Args:
        root: Where `proc` and `sys` are found.
    """
    root = Path(root)
    limits = [CpuLimit("affinity", float(_affinity()), "the CPUs the scheduler may place it on")]
    limits += [_of_quota(quota) for quota in cgroups.quotas(root)]
    limits += [
        CpuLimit("cgroup cpuset", float(one.count), f"CPUs {one.cpus}, {one.path}")
        for one in cgroups.cpu_sets(root)
    ]
    least = min(limit.cpus for limit in limits)
    return UsableCpus(count=max(1, math.ceil(least)), limits=tuple(limits))


def thread_space(cpus: int | None = None) -> dict[str, Any]:
    """The search space of thread counts: `{"intra_op": tune.randint, "inter_op": tune.randint}`.

    Args:
        cpus: The CPUs that a trial will have. By default those of the nodes of the Ray cluster
            that this process is connected to that run trials (see `one_per_node`), asked on the
            nodes themselves, or of this machine.

    Returns:
        Intra-op counts up to the number of CPUs and inter-op counts up to the same or 16, both
        at least up to 4.

    Raises:
        InvalidInputError: `cpus` is not a positive integer, or no node can run trials.
    """
    from ray import tune  # noqa: PLC0415 - importing this package must not import Ray

    bounds = thread_bounds(trial_cpus() if cpus is None else _thread_count("cpus", cpus, least=1))
    return {name: tune.randint(low, high + 1) for name, (low, high) in bounds.items()}


def thread_bounds(cpus: int) -> dict[str, tuple[int, int]]:
    """The lowest and highest of both counts that are worth a trial on so many CPUs."""
    intra = max(LEAST_RANGE, cpus)
    inter = max(LEAST_RANGE, min(cpus, MOST_INTER_OP))
    return {"intra_op": (1, intra), "inter_op": (1, inter)}


def default_threads(cpus: int) -> dict[str, int]:
    """What TensorFlow chooses on so many CPUs: one thread for each, for both counts."""
    return {"intra_op": cpus, "inter_op": cpus}


def trial_cpus(kind: Mapping[str, Any] | None = None) -> int:
    """The usable CPUs of each node that runs trials, or of this machine without Ray.

    Args:
        kind: What the nodes have to be, as for `one_per_node`.
    """
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return usable_cpus().count
    from kamerton_ray.placement import chosen_kind  # noqa: PLC0415 - it builds on this module

    return int(chosen_kind(kind).machine["usable_cpus"])


def _thread_count(name: str, value: object, *, least: int = 0) -> int:
    plain = getattr(value, "item", None)  # NumPy's integers
    number = plain() if callable(plain) else value
    if (
        isinstance(number, bool)
        or not isinstance(number, int)
        or not least <= number <= MAX_THREADS
    ):
        raise InvalidInputError(
            f"{name} must be an integer from {least} to {MAX_THREADS}, but got {value!r} of type "
            f"{type(value).__name__}"
        )
    return number


# --- what the kernel says -----------------------------------------------------------------------


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _of_quota(quota: cgroups.Quota) -> CpuLimit:
    allowed, each = round(1e6 * quota.allowed_s), round(1e6 * quota.period_s)
    detail = f"{allowed} of each {each} microseconds, {quota.path}"
    return CpuLimit("cgroup quota", allowed / each, detail)
