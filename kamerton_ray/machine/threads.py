"""TensorFlow's two thread counts: setting them, and how many are worth a trial."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kamerton_ray.errors import InvalidInputError, RuntimeStartedError

THREADS = ("intra_op", "inter_op")
"""The names of the two counts in a configuration."""

MAX_THREADS = 4096
"""No count above this is a thread count; the largest machines have some 2,000 CPUs."""

LEAST_RANGE = 4
"""`thread_space` reaches up to at least this many, since on few CPUs more threads can pay."""

LEAST_INSTANCES = 2
"""`instance_space` reaches up to at least this many."""

OVERSUBSCRIBED = 2
"""Instances times intra-op threads that exceed the CPUs by more than this are not worth a trial."""

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
        elif (
            isinstance(config, Sequence)
            and not isinstance(config, str)
            and len(config) == len(THREADS)
        ):
            counts = list(config)
        else:
            raise InvalidInputError(
                "threading must be a dict with 'intra_op' and 'inter_op', a Threading, or "
                f"[intra, inter], but got {config!r}"
            )
        return cls(thread_count("intra_op", counts[0]), thread_count("inter_op", counts[1]))

    def environment(self) -> dict[str, str]:
        """The variables that give a process these counts; TensorFlow reads them when it starts."""
        return {
            "TF_NUM_INTRAOP_THREADS": str(self.intra_op),
            "TF_NUM_INTEROP_THREADS": str(self.inter_op),
        }


VARIABLES = tuple(Threading().environment())
"""What says TensorFlow's two counts in an environment, in their order."""


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
        raise RuntimeStartedError(
            f"TensorFlow's runtime has already started with {_last_set()}, so {threading} cannot "
            "be set: TensorFlow fixes its thread pools when the first tensor or operation exists "
            f"('{error}'). Call set_threading before anything that makes one, in a process of its "
            "own for each configuration; with Ray Tune leave reuse_actors off."
        ) from error
    return threading


def overruled(threading: Threading) -> str:
    """That the model has set this process's counts after the trial had; empty if it has not.

    Args:
        threading: What the trial has set.
    """
    now = _last_set()
    if now == threading:
        return ""
    ours, theirs = ("intra_op={} inter_op={}".format(*counts) for counts in (threading, now))
    return (
        f"the model sets {theirs} in place of the trial's {ours}: leave tf.config.threading out of "
        "it"
    )


def _last_set() -> Threading:
    """The counts as they were last set in this process."""
    import tensorflow as tf  # noqa: PLC0415 - it is there already

    return Threading(
        tf.config.threading.get_intra_op_parallelism_threads(),
        tf.config.threading.get_inter_op_parallelism_threads(),
    )


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


def thread_bounds(cpus: int) -> dict[str, tuple[int, int]]:
    """The lowest and highest of both counts that are worth a trial on so many CPUs."""
    intra = max(LEAST_RANGE, cpus)
    inter = max(LEAST_RANGE, min(cpus, MOST_INTER_OP))
    return {"intra_op": (1, intra), "inter_op": (1, inter)}


def instance_bounds(cpus: int) -> tuple[int, int]:
    """The lowest and highest number of instances that are worth a trial on so many CPUs."""
    return 1, max(LEAST_INSTANCES, cpus)


def default_counts(env: Mapping[str, str], cpus: int) -> Threading:
    """What TensorFlow's default has in a process with these variables, on so many CPUs.

    TensorFlow takes a positive number from its variables, or else counts the CPUs that it may run
    on, of which a quota takes none away (core/common_runtime/process_util.cc;
    tsl/platform/default/port.cc, `NumSchedulableCPUs`).
    """
    return Threading(*(_said(env.get(name, "")) or cpus for name in VARIABLES))


def _said(text: str) -> int:
    """The number of threads that a variable says; 0 where it says none."""
    with contextlib.suppress(ValueError):
        return max(0, int(text))
    return 0


def default_threads(cpus: int) -> dict[str, int]:
    """What TensorFlow chooses on so many CPUs: one thread for each, for both counts."""
    return {"intra_op": cpus, "inter_op": cpus}


def thread_count(name: str, value: object, *, least: int = 0) -> int:
    """A thread count as a Python integer.

    Raises:
        InvalidInputError: It is none.
    """
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
