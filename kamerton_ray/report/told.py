"""The one gain that each configuration is told by: that of its fresh runs, or else the search's."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from kamerton_ray.answer.fresh import gain_of
from kamerton_ray.answer.verdict import Decision, Standing, Verdict
from kamerton_ray.report.measured import Measured, Row


class Mark(NamedTuple):
    """What the configuration is that the answer is about: in a picture, and where there is room."""

    brief: str
    full: str


BEST = Mark("best", "best")
CHOSEN = Mark("chosen", "chosen for the final")
SO_FAR = Mark("best", "best so far")


class Told:
    """What a search measured, each configuration with its one gain.

    Args:
        found: What the search measured.
        verdict: What the comparison says; None without one.

    Attributes:
        found: What the search measured.
        rows: The configurations that were measured afresh, as in the verdict's table the chosen one
            first, and then the search's; those that failed are last.
        best: The row of the verdict's configuration, or else of the search's best.
        mark: What that one is.
        is_compared: Whether any of them was measured afresh.
    """

    def __init__(self, found: Measured, verdict: Verdict | None) -> None:
        self.found = found
        told = [_told(row, found, verdict) for row in found.rows]
        best = best_row(found, verdict)
        self.best = next((row for row in told if best and row.config == best.config), None)
        self.mark = mark_of(verdict)
        fresh = [row for row in told if row.is_fresh]
        fresh.sort(key=lambda row: (not self.is_best(row), -self.merit(row)))
        self.rows = [*fresh, *(row for row in told if not row.is_fresh)]
        self.is_compared = bool(fresh)

    @property
    def working(self) -> list[Row]:
        """Those of which a trial, or a fresh run, worked; in this order."""
        return [row for row in self.rows if row.worked]

    def merit(self, row: Row) -> float:
        """How much better than the baseline one is, as `Comparison` computes with it."""
        return self.found.comparison.level(row.gain)

    def is_best(self, row: Row) -> bool:
        """Whether it is the one that the answer is about."""
        return self.best is not None and row.config == self.best.config

    def is_muted(self, row: Row) -> bool:
        """Whether it is the search's alone, beside others that were measured afresh."""
        return self.is_compared and not row.is_fresh

    def is_strong(self, row: Row) -> bool:
        """Whether it stands out: as the best, not where it was only chosen."""
        return self.is_best(row) and self.mark is BEST

    def marks(self, row: Row, *, brief: bool = False) -> list[str]:
        """What a configuration is beside its values: the best, the default."""
        best, found = self.mark.brief if brief else self.mark.full, self.found
        is_default = row.config == (found.default or found.baseline.config)
        named = [(best, self.is_best(row)), (found.baseline.name, is_default)]
        return [name for name, is_it in named if is_it]


def best_row(found: Measured, verdict: Verdict | None) -> Row | None:
    """The verdict's best, or else the search's."""
    told = None if verdict is None else found.find(verdict.config)
    return told or found.best


def mark_of(verdict: Verdict | None) -> Mark:
    """What the configuration of a verdict is; "best" is what the search's own is, too."""
    if verdict is None or verdict.config is None:
        return BEST
    if math.isnan(verdict.low):
        return SO_FAR
    by = verdict.comparison
    gain = verdict.speedup if verdict.ratios else verdict.difference
    return BEST if verdict.decision is Decision.USE and gain >= by.none else CHOSEN


def _told(row: Row, found: Measured, verdict: Verdict | None) -> Row:
    """A row by its fresh runs, where it has some that are told as the search's own."""
    if verdict is None or verdict.ratios is not found.ratios:
        return row
    fresh = next((one for one in verdict.table if _is_of(one, row, found)), None)
    if fresh is None or math.isnan(fresh.gain):
        return row
    span = gain_of(fresh, verdict, found.objective)
    is_default = fresh.config is None  # the others are held against it, so it has no interval
    return replace(
        row,
        value=row.value if math.isnan(fresh.value) else fresh.value,
        gain=fresh.gain,
        low=math.nan if is_default else span.low,
        high=math.nan if is_default else span.high,
        is_fresh=True,
    )


def _is_of(standing: Standing, row: Row, found: Measured) -> bool:
    """Whether a verdict's row is about this configuration."""
    if standing.config is None:
        return found.default is not None and row.config == found.default
    return row.config == found.tuned(standing.config)
