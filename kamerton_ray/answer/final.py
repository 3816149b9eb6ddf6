"""The final: the chosen configuration and the default, in rounds of their own.

None of the race's numbers counts, so there is no selection to correct for (Cox 1975, "A note on
data-dependent significance levels", Biometrika 62:441-444). The decision is read off the interval
(see `signed_rank`), so that the two cannot disagree. The interval supposes that noise raises a
round's gain as often as it lowers it by as much. That holds for the difference of two that are
equally noisy, whatever their outliers.

It ends as soon as it is decided. Looking again and again would find a win that is none, so what
ends it early has to be three standard errors away (Haybittle 1971, "Repeated assessment of results
in clinical trials of cancer treatment", British Journal of Radiology 44:793-797, and Peto et al.
1976, British Journal of Cancer 34:585-612). That is so rare by chance that the interval at the end
needs no correction (Jennison & Turnbull 2000, "Group Sequential Methods", section 2.6).
"""

from __future__ import annotations

import math
from enum import Enum

import numpy as np

from kamerton_ray.answer.correlation import (
    MOST_CORRELATED,
    SUPPOSED,
    UNSAID,
    Likeness,
    correlation,
    supposed,
)
from kamerton_ray.answer.signed_rank import Interval, signed_rank_interval
from kamerton_ray.answer.student import student_quantile
from kamerton_ray.answer.trimmed import Trimmed

LEAST_FINAL, MOST_FINAL = 8, 60
"""The fewest and the most rounds."""

LEAST_RANKED, FEWEST = 6, 2
"""From the first number of rounds on the interval is that of the signed ranks. Before that it would
cover too little, and is Student's, which takes the second number."""

COVERAGE = 0.95
"""What Student's interval covers."""

ORDERS = 4
"""The orders in which the two are measured repeat after so many rounds. In these each is first as
often as the other. With another number of rounds the one that is first more often would be
favoured, where being first matters. So it is looked at after each so many."""

SURE = 0.99865
"""A look ends the final when the gain exceeds the tolerance, or does not, with this probability:
that of three standard errors to one side."""

HALF = 0.5
"""A win is known well enough when at least this share of it is sure."""

MARGIN = 1.0
"""The final reckons with a correlation greater by this share / sqrt(rounds) than it finds. One that
is too small costs more than one that is too great, since the width grows ever faster with it."""


class FinalEnd(Enum):
    """Why a final has ended."""

    DECIDED = "decided"
    """The gain surely exceeds the tolerance, or surely does not."""
    PRECISE = "precise"
    """It is known as precisely as the tolerance, or by the most rounds."""
    STOPPED = "stopped"
    """Its time was over."""


class Final:
    """The rounds from which the answer is taken.

    Args:
        tolerance: A gain has to exceed this.
        raced: How much neighbouring rounds are alike, by a race that went before.
    """

    def __init__(self, tolerance: float, *, raced: Likeness | None = None) -> None:
        self._tolerance, self._raced = tolerance, raced
        self.gains: list[float] = []
        self.correlation = 0.0
        """How much neighbouring rounds are alike: half way from what is known by now to the most
        that was known so far. Chance may hide it by now, and may have made it before."""
        self._most_alike = 0.0
        self.ended: FinalEnd | None = None

    def tell(self, gain: float) -> None:
        """Take in what a round has found."""
        self.gains.append(gain)
        count = len(self.gains)
        if count >= LEAST_FINAL and count % ORDERS == 0:
            self._correlate()
            self.ended = self._looked()

    def stop(self) -> None:
        """End it as it stands; without two rounds it has found nothing."""
        if len(self.gains) >= FEWEST and not self.ended:
            self._correlate()
            self.ended = FinalEnd.STOPPED

    def interval(self) -> Interval:
        """What its rounds say."""
        if len(self.gains) >= LEAST_RANKED:
            return signed_rank_interval(self.gains, correlation=self.correlation)
        alike = supposed(0.0, len(self.gains) - 1, before=self._raced or SUPPOSED)
        found = Trimmed.of(np.array(self.gains), alike)
        reach = found.error * float(student_quantile([found.freedom], (1 + COVERAGE) / 2)[0])
        return Interval(found.mean, found.mean - reach, found.mean + reach)

    def _correlate(self) -> None:
        """See how much neighbouring rounds are alike, by the race and by enough of themselves."""
        count = len(self.gains)
        found = correlation(np.array(self.gains)) if count >= LEAST_FINAL else 0.0
        known = supposed(found, count - 1, before=self._raced or UNSAID)
        now = min(known * (1 + MARGIN / math.sqrt(count)), MOST_CORRELATED)
        self._most_alike = max(self._most_alike, now)
        self.correlation = (now + self._most_alike) / 2

    def _looked(self) -> FinalEnd | None:
        """Whether that was enough; few rounds may hide how alike they are, if no race has told."""
        least, count = self._tolerance, len(self.gains)
        alike = self.correlation
        if self._raced is None:
            alike = max(alike, supposed(alike, count - 1))
        found = signed_rank_interval(self.gains, correlation=alike)
        if count >= MOST_FINAL or max(found.high - found.middle, found.middle - found.low) <= least:
            return FinalEnd.PRECISE
        exceeds = Trimmed.of(np.array(self.gains), alike).exceeds(least)
        wins = exceeds >= SURE and found.low > max(least, HALF * found.middle)
        loses = exceeds <= 1 - SURE and found.high < least
        return FinalEnd.DECIDED if wins or loses else None
