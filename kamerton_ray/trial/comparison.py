"""How two values are compared: by their ratio, or by their difference."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """How values are compared: by their ratio, or, where one is 0 or less, by their difference.

    What it computes with is a gain: the log of a ratio, or a difference as a share of `unit`. Of
    either kind 0 is neither better nor worse, and a few percent are a few hundredths.

    Attributes:
        unit: What differences are counted in; None for ratios.
    """

    unit: float | None = None

    @classmethod
    def of(cls, values: Iterable[float], default: Iterable[float] = ()) -> Comparison:
        """The one that these values allow; NaN does not count.

        Differences are counted in the default's absolute value. Where that is 0 they are counted in
        the smallest other value, so that none is too small to count.
        """
        usual = [value for value in default if not math.isnan(value)]
        known = [*usual, *(value for value in values if not math.isnan(value))]
        if all(value > 0 for value in known):
            return RATIO
        unit = abs(statistics.median(usual)) if usual else 0.0
        return cls(unit or min((abs(value) for value in known if value), default=1.0))

    @property
    def is_ratio(self) -> bool:
        """Whether there are ratios."""
        return self.unit is None

    @property
    def none(self) -> float:
        """The amount of no gain: once, or nothing."""
        return self.amount(0.0)

    def level(self, value: float) -> float:
        """What a gain is the difference of two of; NaN where there is no ratio."""
        if self.unit is not None:
            return value / self.unit
        return math.log(value) if value > 0 else math.nan

    def amount(self, gain: float) -> float:
        """A gain as it is said: how many times, or how much in the values' own unit."""
        return math.exp(gain) if self.unit is None else gain * self.unit

    def moved(self, value: float, gain: float) -> float:
        """The value that is so much higher than another."""
        return value * math.exp(gain) if self.unit is None else value + gain * self.unit

    def tolerance(self, within: float) -> float:
        """The gain of a share: of the value, or of the unit."""
        return math.log1p(within) if self.unit is None else within

    def figure(self, amount: float) -> str:
        """An amount as it is written, as 1.30 or 0.2."""
        return f"{amount:.2f}" if self.is_ratio else f"{amount:.3g}"

    @property
    def times(self) -> str:
        """What is written after it, as in 1.30x."""
        return "x" if self.is_ratio else ""


RATIO = Comparison()


DIFFERENCE = Comparison(1.0)
"""That in the values' own unit."""


def moves_of(pairs: Sequence[tuple[float, float]]) -> tuple[Comparison, list[float]]:
    """How far the first of each pair is from the second, and what that is; NaN is left out."""
    by = Comparison.of(itertools.chain(*pairs))
    moves = [by.level(one) - by.level(other) for one, other in pairs]
    return by, [move for move in moves if not math.isnan(move)]
