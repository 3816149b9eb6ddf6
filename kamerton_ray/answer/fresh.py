"""What the fresh runs say of each configuration, with intervals, and who trades what for what.

A number is the default's, moved by how far it was from that within the rounds; its interval is that
of these moves. So a machine that changes its pace moves none of them, and the default itself, which
the others are held against, has no width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from kamerton_ray.answer.final import FEWEST, Final
from kamerton_ray.answer.rounds import pairs_of
from kamerton_ray.answer.verdict import Standing, Verdict
from kamerton_ray.trial.comparison import moves_of
from kamerton_ray.trial.config import Config
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result, median_of


class Span(NamedTuple):
    """A number with its 95 % interval; NaN where nothing says it."""

    value: float
    low: float
    high: float

    @classmethod
    def point(cls, value: float) -> Span:
        """A number without a width."""
        return cls(value, value, value)

    @property
    def is_known(self) -> bool:
        """Whether it has an interval."""
        return not math.isnan(self.low)

    def is_above(self, other: Span) -> bool:
        """Whether all of it lies above another one."""
        return self.low > other.high


Numbers = Mapping[str, Span]
"""The numbers of a configuration, by their names."""


def gain_of(row: Standing, verdict: Verdict, objective: Objective) -> Span:
    """The gain of one of a verdict's rows over the default."""
    if row.config is None:
        return Span.point(row.gain)
    if row.config == verdict.config and not math.isnan(verdict.low):
        return Span(row.gain, verdict.low, verdict.high)
    by = verdict.comparison
    moves = [objective.gain(own, theirs, by) for own, theirs in _pairs(row.config, verdict)]
    return _span(row.gain, moves, by.amount)


def number_of(key: str, row: Standing, verdict: Verdict) -> Span:
    """A number of one of a verdict's rows, as its `throughput`."""
    value = float(getattr(row, key))
    if row.config is None:
        return Span.point(value)
    pairs = [(own.number(key), theirs.number(key)) for own, theirs in _pairs(row.config, verdict)]
    by, moves = moves_of(pairs)
    defaults = [one for some in verdict.rounds for one in some if one.config is None]
    usual = median_of(defaults, key)
    return _span(value, moves, lambda move: by.moved(usual, move))


def pareto(rows: Sequence[Numbers], signs: Mapping[str, int]) -> list[int]:
    """The places of those that trade one number for another, beyond their intervals.

    One beats another where it is surely better in a number, and no number of the other lies beyond
    its own interval. Of those that nobody beats, the first of some that cannot be told apart stands
    for them. One alone trades nothing, so there are two or more, or none.

    Args:
        rows: Each by the names of its numbers, in the order in which they are preferred.
        signs: 1 for each number that is better the higher it is, -1 for each that is better lower.
    """

    def beats(one: Numbers, other: Numbers) -> bool:
        estimate = {name: Span.point(other[name].value) for name in signs}
        return _is_better(one, other, signs) and not _is_better(estimate, one, signs)

    known = [place for place, row in enumerate(rows) if all(row[name].is_known for name in signs)]
    found: list[int] = []
    for one in known:
        is_beaten = any(beats(rows[other], rows[one]) for other in known)
        trades = all(
            _is_better(rows[one], rows[other], signs) and _is_better(rows[other], rows[one], signs)
            for other in found
        )
        if trades and not is_beaten:
            found.append(one)
    return found if len(found) > 1 else []


def _is_better(one: Numbers, other: Numbers, signs: Mapping[str, int]) -> bool:
    """Whether one is surely better in some number."""
    return any(
        one[name].is_above(other[name]) if sign > 0 else other[name].is_above(one[name])
        for name, sign in signs.items()
    )


def _pairs(config: Config, verdict: Verdict) -> list[tuple[Result, Result]]:
    """A configuration's fresh results with the default's; the chosen one's of the final."""
    final = verdict.rounds[verdict.race_rounds :]
    return pairs_of(final if config == verdict.config and final else verdict.rounds, config)


def _span(value: float, moves: Sequence[float], number: Callable[[float], float]) -> Span:
    """A number whose interval is that of its moves.

    Args:
        value: The number.
        moves: How far it was from the default's in each round, as `Comparison` computes with it.
        number: The number that a move makes.
    """
    known = [move for move in moves if not math.isnan(move)]
    if len(known) < FEWEST:
        return Span(value, math.nan, math.nan)
    final = Final(0.0)  # whose interval knows that rounds may be alike; when it ends is no matter
    for move in known:
        final.tell(move)
    found = final.interval()
    ends = [number(found.low), number(found.high)]
    # The table's own number is a median: it may lie just beside the interval of a few.
    return Span(value, min(value, *ends), max(value, *ends))
