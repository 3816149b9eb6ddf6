"""The final: the chosen configuration and the default, in rounds of their own.

None of the race's numbers counts, so there is no selection to correct for (Cox 1975, "A note on
data-dependent significance levels", Biometrika 62:441-444). The decision is read off the interval
(see `signed_rank`), so that the two cannot disagree. The interval supposes that noise raises a
round's gain as often as it lowers it by as much. That holds for the difference of two that are
equally noisy, whatever their outliers.
"""

from __future__ import annotations

import math

import numpy as np

from kamerton_ray.answer.correlation import MOST_CORRELATED, correlation, worth
from kamerton_ray.answer.signed_rank import Interval, signed_rank_interval

LEAST_FINAL, MOST_FINAL = 20, 60
"""The fewest and the most rounds. In twenty rounds two may be disturbed to the same side, and a
clear win is still told from chance: 39 of the 210 Walsh means are theirs, and 53 lie outside of the
interval. In sixteen rounds only one may."""

ORDERS = 4
"""The orders in which the two are measured repeat after so many rounds. In these each is first as
often as the other. With another number of rounds the one that is first more often would be
favoured, where being first matters."""

MARGIN = 0.6
"""The final reckons with a correlation greater by this share / sqrt(rounds) than it finds. One that
is too small costs more than one that is too great, since the width grows ever faster with it."""


class Final:
    """The rounds from which the answer is taken.

    It ends when its rounds are worth as many independent ones as were planned, or are the most. How
    many it takes never depends on the gain.

    Args:
        planned: How many independent rounds are wanted.
    """

    def __init__(self, planned: int) -> None:
        self._planned, self._most = planned, MOST_FINAL
        self.gains: list[float] = []
        self.correlation = 0.0
        """How much neighbouring rounds are alike. It is the most that was found so far: otherwise
        the final would end as soon as chance hides it."""
        self.done = False
        """Whether it has come to its end."""

    def tell(self, gain: float) -> None:
        """Take in what a round has found."""
        self.gains.append(gain)
        self._settle()

    def hurry(self) -> None:
        """Run no more rounds than it must."""
        self._most = min(self._most, max(LEAST_FINAL, whole_orders(len(self.gains))))
        self._settle()

    def interval(self) -> Interval:
        """What its rounds say."""
        return signed_rank_interval(self.gains, correlation=self.correlation)

    def _settle(self) -> None:
        """See whether that was enough."""
        count = len(self.gains)
        if count < min(self._planned, self._most):
            return
        found = correlation(np.array([self.gains])) * (1 + MARGIN / math.sqrt(count))
        self.correlation = min(max(self.correlation, found), MOST_CORRELATED)
        wanted = whole_orders(self._planned / worth(self.correlation))
        self.done = count >= min(wanted, self._most)


def whole_orders(rounds: float) -> int:
    """So many rounds or a few more, in which each order is there as often as the others."""
    return ORDERS * math.ceil(rounds / ORDERS)
