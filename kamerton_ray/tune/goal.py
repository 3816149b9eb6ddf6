"""What a search from the command line looks for, and how long it may take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from kamerton_ray.search.constraints import AtMost
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.schedule import Schedule

Bounds = tuple[int, int]
"""The lowest and the highest value."""

Domain = Bounds | tuple[str, ...]
"""Bounds, or words."""


def is_bounds(domain: Domain) -> TypeGuard[Bounds]:
    """Whether a domain is one of numbers."""
    return isinstance(domain[0], int)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What is searched for.

    Attributes:
        space: The domains by name: `(low, high)`, both included, or words.
        starts: The configurations to begin with, the first of them TensorFlow's default.
        metric: The result's key that counts.
        mode: `"min"` or `"max"`.
        constraints: What configurations have to keep.
    """

    space: Mapping[str, Domain]
    starts: Sequence[Mapping[str, int | str]]
    metric: str
    mode: str
    constraints: Sequence[AtMost] = ()

    def has_worked(self, result: Result) -> bool:
        """Whether a result has a number to search by."""
        return not math.isnan(result.number(self.metric))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a search ends, at the latest.

    Attributes:
        trials: After so many trials, those of the resumed session included.
        schedule: What knows when its time is spent.
    """

    trials: int | None = None
    schedule: Schedule = field(default_factory=Schedule)

    def trials_left(self, ran: int) -> int | None:
        """How many more trials may be run; None for as many as it takes."""
        return None if self.trials is None else max(0, self.trials - ran)
