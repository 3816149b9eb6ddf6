"""What `NelderMead` answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kamerton_ray.search.points import Point
from kamerton_ray.search.space import Config


class Signal(Enum):
    """What `NelderMead.ask` answers when it has no point to give."""

    WAIT = "wait"
    """An open point has to be told first."""
    DONE = "done"
    """The search is over; `NelderMead.stopped_by` says why."""


@dataclass(frozen=True)
class Suggestion:
    """A point to measure.

    Attributes:
        id: What `NelderMead.tell` wants back with the value.
        point: The lattice point.
        config: The configuration at that point.
        repeat: Whether the point was measured before and is deliberately measured again.
    """

    id: int
    point: Point
    config: Config
    repeat: bool = False


@dataclass(frozen=True)
class Best:
    """The best measured point.

    Attributes:
        point: The lattice point.
        config: The configuration at that point.
        value: The value told for it; of a point measured again, the mean of the fresh values.
        measurements: How often it was measured.
    """

    point: Point
    config: Config
    value: float
    measurements: int = 1
