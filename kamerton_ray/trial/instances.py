"""Several instances of a program at the same time, and what their numbers come to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TypeVar

from kamerton_ray.process.attempt import Attempt, each_found
from kamerton_ray.process.outcome import AttemptError, Outcome
from kamerton_ray.trial.config import INSTANCE, INSTANCES, INSTANCES_KEY, instances_of

Found = TypeVar("Found")
AnAttempt = TypeVar("AnAttempt", bound=Attempt)

SHARED = (
    "Instances share the files, ports and locks that the program opens; "
    f"{INSTANCE} tells each its number."
)
"""What is said where one fails of what the others have none of."""

OF_SHARING = (
    *(Outcome.EXITED, Outcome.NO_OBJECTIVE, Outcome.NO_NUMBER),
    *(Outcome.BODY_RAISED, Outcome.BUILD_RAISED),
)
"""How an instance ends that does not get what another one has."""

MOMENT_S = 0.5
"""Instances that fail of their configuration or a fault of the program fail this close together."""


class Combine(Enum):
    """What the numbers of several instances come to; each value says it in words."""

    SUM = "the sum of their numbers"
    """Of a throughput, and whatever else is better the higher it is."""
    SLOWEST = "the largest of their numbers"
    """Of what each of them has to keep, as a latency."""
    PER_PROGRAM = "the largest of their numbers, divided by how many of them ran"
    """Of a time: together they do the work of so many programs in the time of the slowest."""

    @property
    def word(self) -> str:
        """It as the user types it."""
        return self.name.lower().replace("_", "-")

    def of(self, numbers: Sequence[float]) -> float:
        """What numbers come to; NaN where one of them is."""
        if any(map(math.isnan, numbers)):
            return math.nan
        if self is Combine.SUM:
            return math.fsum(numbers)
        return max(numbers) / (len(numbers) if self is Combine.PER_PROGRAM else 1)


ALONE: Mapping[str, str] = {INSTANCE: "0", INSTANCES: "1"}
"""The variables of an instance that is the only one."""


def environments(config: Mapping[str, object]) -> list[dict[str, str]]:
    """The variables of each instance: its number, from 0, and how many there are.

    Where a configuration says nothing of instances, there is one, without variables.

    Raises:
        InvalidInputError: It says no positive integer.
    """
    if INSTANCES_KEY not in config:
        return [{}]
    count = instances_of(config)
    return [{INSTANCE: str(number), INSTANCES: str(count)} for number in range(count)]


class InstanceError(AttemptError):
    """One of several instances failed.

    Args:
        error: How.
        name: Which of them, as "instance 1 of 2".
        alone: Whether the others had none of it.
    """

    def __init__(self, error: AttemptError, name: str, *, alone: bool) -> None:
        super().__init__(error.outcome, error.detail, error.stderr)
        self.args = ("\n".join([f"{name}: {error}", *[SHARED] * alone]),)


def all_found(
    attempts: Sequence[AnAttempt],
    look: Callable[[AnAttempt], Found | None],
    timeout: float,
    *,
    every_s: float = math.inf,
) -> list[Found]:
    """What is found of each instance, in their order.

    Args:
        attempts: The instances.
        look: What is found of one by now; None as long as nothing is.
        timeout: How many seconds they may take.
        every_s: They are looked at after so many seconds at the latest.

    Raises:
        AttemptError: One failed, and the others are waited for no more. Where there are several,
            it says which.
    """
    found: dict[AnAttempt, Found] = {}
    try:
        # What came before an error is kept.
        found.update(each_found(attempts, look, timeout, every_s=every_s))
    except AttemptError as error:
        failed = [place for place, one in enumerate(attempts, 1) if one.error is error]
        if not failed or not attempts[1:]:
            raise
        others = [one for one in attempts if one.error is None and one not in found]
        alone = _is_alone(error, others, look, has_found=bool(found))
        name = f"instance {failed[0]} of {len(attempts)}"
        raise InstanceError(error, name, alone=alone) from error
    return [found[attempt] for attempt in attempts]


def _is_alone(
    error: AttemptError,
    others: Sequence[AnAttempt],
    look: Callable[[AnAttempt], Found | None],
    *,
    has_found: bool,
) -> bool:
    """Whether an instance failed as one does that does not get what another one has."""
    if error.outcome is Outcome.TIMEOUT:  # those that still run are as late
        return has_found
    if error.outcome not in OF_SHARING:
        return False
    try:
        list(each_found(others, look, MOMENT_S))
    except AttemptError as other:
        return other.outcome is Outcome.TIMEOUT
    return True
