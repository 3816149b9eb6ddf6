"""A configuration as a machine is set by it: what each instance gets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kamerton_ray.machine.knobs import calls, exported
from kamerton_ray.machine.threads import Threading
from kamerton_ray.trial.config import environment, has_threads, instances_of, pinned, variables

LEAST_SHARE = 1000
"""A request is said in thousandths of a CPU, as in Kubernetes."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What there is to set.

    Attributes:
        config: The whole configuration.
        environment: The environment variables of every instance.
        variables: Those of them that are not the thread counts.
        calls: What a program has to call, since no variable says it.
        threads: The counts; None where it says none.
        instances: How many processes there are.
        request: How many CPUs each asks for.
        share: How many whole CPUs each can have for itself; 0 where there are too few.
        pinned: Whether each has CPUs of its own.
    """

    config: Mapping[str, object]
    environment: Mapping[str, str]
    variables: Mapping[str, str]
    calls: Sequence[str]
    threads: Threading | None
    instances: int
    request: float
    share: int
    pinned: bool

    @classmethod
    def of(cls, config: Mapping[str, object], *, cpus: int | None = None) -> Setting:
        """What a configuration sets on a machine with so many usable CPUs; None if nobody knows.

        Raises:
            InvalidInputError: A count is none.
        """
        threads = Threading.of(config) if has_threads(config) else None
        count, intra_op = instances_of(config), threads.intra_op if threads else 0
        return cls(
            config=config,
            environment={**environment(config), **exported(config)},
            variables={**variables(config), **exported(config)},
            calls=calls(config),
            threads=threads,
            instances=count,
            request=_request(intra_op, count, cpus),
            share=cpus // count if cpus else max(1, intra_op),
            pinned=pinned(config) and count > 1,  # one alone has all CPUs
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is set outside of the program."""
        return self.instances == 1 and not self.environment


def _request(intra_op: int, count: int, cpus: int | None) -> float:
    """A CPU for each intra-op thread, or the equal share where the machine has not as many."""
    if not cpus:
        return max(1, intra_op)
    wanted = intra_op or cpus  # 0 is TensorFlow's default, which takes all
    if count * wanted <= cpus:
        return wanted
    return math.floor(LEAST_SHARE * cpus / count) / LEAST_SHARE
