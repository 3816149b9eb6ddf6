"""Progress: how far a search has come, beside what it has measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from kamerton_ray.search.points import Point


class Phase(Enum):
    """What the search is doing."""

    START = "start"
    LEAD = "lead"
    POLISH = "polish"
    SIMPLEX = "simplex"


class StopRule(Enum):
    """Why a search ended; each value is the reason in words."""

    BUDGET = "as many points were asked as the budget allows"
    EXHAUSTED = "every point that may be tried was measured"
    FAILED = "no point could be measured"
    CONVERGED = "the best point has no better neighbour, and nothing better was found elsewhere"


@dataclass(frozen=True)
class Progress:
    """Where a search stands; every step gives a new one.

    Attributes:
        phase: What the search is doing.
        start: The points to measure first.
        simplex: The vertices, in the simplex's own phase.
        polished: The last point that was polished.
        restarts: How often a new simplex was begun.
        finalists: The points that are measured again at the end.
        stopped_by: Why the search ended; None while it goes on.
    """

    phase: Phase = Phase.START
    start: tuple[Point, ...] = ()
    simplex: tuple[Point, ...] = ()
    polished: Point | None = None
    restarts: int = 0
    finalists: tuple[Point, ...] = ()
    stopped_by: StopRule | None = None

    def reopened(self) -> Progress:
        """The same, but what was found at the end counts no longer."""
        return replace(self, finalists=(), stopped_by=None)
