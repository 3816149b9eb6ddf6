"""HeadToHead: which of a few configurations is best, and by how much it beats the default.

It is asked and told in rounds: in each, every configuration that is left and the default are
measured once more, each in a fresh process. It measures nothing itself and has no clock.

There are two stages, since the number that made a configuration win flatters it:

* The race. After each round the probability of good selection is estimated: that none of the others
  is faster than the leader by more than a tolerance (PGS, Branke, Chick & Schmidt 2007, "Selecting
  a selection procedure", Management Science 53:1916-1932). It is the product, by Slepian's
  inequality, of one Student probability for each other configuration, from the trimmed mean of the
  differences within the rounds: so many comparisons are accounted for. The race ends when it is
  high enough, and those that have hardly a chance to be the best drop out before.
* The final. The chosen one and the default are measured in rounds of their own, whose number is
  settled before the first. Nothing of the race counts, so there is no selection to correct for
  (Cox 1975, "A note on data-dependent significance levels", Biometrika 62:441-444). The interval is
  that of the sign test, from one ordered value to another (Conover, "Practical Nonparametric
  Statistics", section 3.2): it holds whatever the noise is like, outliers included. Each of the two
  is first in as many rounds as the other, since who is first may be faster or slower for it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

DEFAULT = -1
"""Stands for TensorFlow's default among the indices of the configurations."""

SCREEN_RACE, LEAST_RACE, MOST_RACE = 2, 4, 100
"""After so many rounds those far behind begin to drop out; so many give each pair a spread of its
own; after so many the race ends as it stands."""

TRIMMED = 0.15
"""The share of the rounds at each end that does not count: what is disturbed is mostly there."""

GOOD_SELECTION = 0.99
"""The race ends when the leader is, so probably, not slower than the best by the tolerance."""

HARDLY = 0.003
"""One that is faster than the leader with less than this probability drops out."""

FUTILE = 0.05
"""Below this probability that any beats the default by the tolerance the race ends, too."""

EQUAL = 0.97
"""One that is so probably within the tolerance of the leader may take its place for its threads."""

LEAST_FINAL, MOST_FINAL = 16, 60
"""Of sixteen values two at each end are trimmed, so a win is told from chance though two of them
are disturbed; where one run in fifty is, three of sixteen are in one comparison of 240."""

ORDERS = 4
"""The orders of two repeat after so many rounds, in which each is first as often as the other: with
another number of rounds the one that is first more often would be favoured, where that matters."""

COVERAGE = 0.957
"""The nominal coverage of the interval that is told. Beside a machine that drifts it covers between
93 and 97 % (benchmarks/verdict.py)."""

SURE = 0.99
"""A win is claimed where a gain of more than the tolerance is so probable. Counts that are set
explicitly are a percent or two faster in some models than the same ones chosen by TensorFlow."""

SIGN_TEST_HALF = 2.6
"""The half-width of the sign test's interval is about this times sd / sqrt(n) for normal noise."""

Floats = npt.NDArray[np.float64]


class Stage(Enum):
    """How far a head-to-head has come."""

    RACE = "race"
    FINAL = "final"
    DONE = "done"


@dataclass(frozen=True)
class Interval:
    """An estimate of a log speed-up.

    Attributes:
        middle: The median of the rounds.
        low: Where its 95 % interval begins.
        high: Where it ends.
        sure: The probability that it is above the tolerance, by the trimmed mean: unlike the sign
            test, that also counts how far the rounds are from it.
    """

    middle: float
    low: float
    high: float
    sure: float


class HeadToHead:
    """Which of a few configurations is best, and by how much it beats the default.

    Args:
        threads: How many threads each configuration starts; among equals the fewest win.
        within: The tolerance, as a share of the step time.
    """

    def __init__(self, threads: Sequence[int], *, within: float = 0.02) -> None:
        self._threads = list(threads)
        self._tolerance = math.log1p(within)
        self._race: dict[int, list[float]] = {arm: [] for arm in range(len(threads))}
        self._levels: dict[int, list[float]] = {arm: [] for arm in range(len(threads))}
        self._final: list[float] = []
        self._final_rounds = 0
        self.stage = Stage.RACE if threads else Stage.DONE
        self.left: list[int] = list(self._race)
        """Those that are still in the race; after it, those not told apart from the best."""
        self.failed: list[int] = []
        """Those that did not survive a round."""
        self.chosen: int | None = None
        """The one in the final."""
        self.preferred = False
        """Whether the chosen one was preferred to the leader for its fewer threads."""

    @property
    def race_rounds(self) -> int:
        """How many rounds of the race were run."""
        return max((len(values) for values in self._race.values()), default=0)

    @property
    def final_rounds(self) -> int:
        """How many rounds of the final were run."""
        return len(self._final)

    def ask(self) -> list[int]:
        """Whom to measure in the next round, in this order; nobody when it has ended.

        The order is rotated from round to round and reversed in every second, so that nobody is
        always first and a drift favours nobody.
        """
        if self.stage is Stage.DONE:
            return []
        arms = self.left if self.chosen is None else [self.chosen]
        order = [DEFAULT, *arms]
        number = self.race_rounds + self.final_rounds
        turn = number // 2 % len(order)
        order = order[turn:] + order[:turn]
        return order[::-1] if number % 2 else order

    def tell(self, gains: Mapping[int, float], levels: Mapping[int, float] | None = None) -> None:
        """What a round has found.

        Args:
            gains: For each configuration that was asked for the log of its speed-up over the
                default in this round; NaN where it failed.
            levels: The log of its speed by itself, where that is known.
        """
        for arm, gain in gains.items():
            if math.isnan(gain):
                self._drop(arm)
            elif self.stage is Stage.RACE:
                self._race[arm].append(gain)
                self._levels[arm].append((levels or gains)[arm])
            elif self.stage is Stage.FINAL and arm == self.chosen:
                self._final.append(gain)
        if self.stage is Stage.RACE and self.race_rounds >= LEAST_RACE:
            self._judge()
        elif self.stage is Stage.RACE and self.race_rounds >= SCREEN_RACE:
            self._screen()
        elif self.stage is Stage.FINAL and self.final_rounds >= self._final_rounds:
            self.stage = Stage.DONE

    def hurry(self) -> None:
        """Time is short: end the race as it stands, and make the final no longer than it must."""
        if self.stage is Stage.RACE and self.race_rounds >= LEAST_RACE:
            self._begin_final()
        least = max(LEAST_FINAL, _whole_orders(self.final_rounds + 1))
        self._final_rounds = min(self._final_rounds, least)

    def interval(self) -> Interval | None:
        """What the final says of the chosen one's log speed-up; None before its end."""
        if self.stage is not Stage.DONE or not self._final:
            return None
        return sign_interval(self._final, tolerance=self._tolerance)

    def _drop(self, arm: int) -> None:
        self.failed.append(arm)
        self.left = [one for one in self.left if one != arm]
        if arm == self.chosen:
            self.chosen, self._final = None, []
            self.stage = Stage.RACE
        if not self.left:
            self.stage = Stage.DONE

    def _values(self) -> Floats:
        """What those left are compared by: their gains, or their levels where these scatter less.

        A default that is noisier than the machine's drift within a round blurs the gains.
        """
        both = [np.array([kept[a] for a in self.left]) for kept in (self._race, self._levels)]
        return min(both, key=lambda one: float(np.median(np.abs(unexplained(one)))))

    def _screen(self) -> None:
        """Drop who has hardly a chance, by the spread that neither arms nor rounds explain."""
        values = self._values()
        arms, rounds = values.shape
        if arms == 1:
            return
        freedom = (arms - 1) * (rounds - 1)
        error = math.sqrt(float((unexplained(values) ** 2).sum()) / freedom * 2 / rounds)
        means = values.mean(axis=1)
        faster = student(freedom, (means - means.max()) / max(error, 1e-9))
        self.left = [arm for arm, p in zip(self.left, faster, strict=True) if p >= HARDLY]

    def _judge(self) -> None:
        """Drop who has hardly a chance, and end the race when it is decided."""
        values = self._values()
        lead = _leader(values)
        behind = [Trimmed.of(one) for one in values[lead] - values]
        not_far = [one.exceeds(-self._tolerance) for one in behind]
        not_far[lead] = 1.0
        faster = [1 - one.exceeds(0.0) for one in behind]
        faster[lead] = 1.0
        beats = max(Trimmed.of(np.array(self._race[a])).exceeds(self._tolerance) for a in self.left)
        self.left = [arm for arm, p in zip(self.left, faster, strict=True) if p >= HARDLY]
        decided = math.prod(not_far) >= GOOD_SELECTION or len(self.left) == 1
        if decided or beats < FUTILE or values.shape[1] >= MOST_RACE:
            self._begin_final()

    def _begin_final(self) -> None:
        values = self._values()
        lead = _leader(values)
        equal = [
            arm
            for arm, one in zip(self.left, values - values[lead], strict=True)
            if arm == self.left[lead] or Trimmed.of(one).exceeds(-self._tolerance) >= EQUAL
        ]
        self.chosen = min(equal, key=lambda arm: (self._threads[arm], arm != self.left[lead]))
        self.preferred = self._threads[self.chosen] < self._threads[self.left[lead]]
        self._final_rounds = self._enough(Trimmed.of(np.array(self._race[self.chosen])))
        self.stage = Stage.FINAL

    def _enough(self, gain: Trimmed) -> int:
        """How many rounds give an interval as sharp as the tolerance, or a third of the gain."""
        aim = max(self._tolerance, abs(gain.mean) / 3)
        spread = gain.error * math.sqrt(self.race_rounds)
        wanted = _whole_orders((SIGN_TEST_HALF * spread / aim) ** 2)
        return min(max(wanted, LEAST_FINAL), MOST_FINAL)


@dataclass(frozen=True)
class Trimmed:
    """What some values say of their centre, whatever a few disturbed ones among them are.

    Attributes:
        mean: Their mean without the outermost.
        error: Its standard error, from the winsorized variance.
        freedom: The degrees of freedom of Student's distribution for it (Tukey & McLaughlin 1963,
            "Less vulnerable confidence and significance procedures for location based on a single
            sample", Sankhya A 25:331-352).
    """

    mean: float
    error: float
    freedom: int

    @classmethod
    def of(cls, values: Floats) -> Trimmed:
        """Of two values or more."""
        count = len(values)
        cut = int(TRIMMED * count)
        inner = np.sort(values)[cut : count - cut]
        spread = float(np.std(np.clip(values, inner[0], inner[-1]), ddof=1))
        error = spread / ((1 - 2 * cut / count) * math.sqrt(count))
        return cls(float(inner.mean()), max(error, 1e-9), len(inner) - 1)

    def exceeds(self, least: float) -> float:
        """The probability that the true centre exceeds `least`."""
        return float(student(self.freedom, (self.mean - least) / self.error))


def _leader(values: Floats) -> int:
    """The row with the highest centre."""
    return int(np.argmax([Trimmed.of(one).mean for one in values]))


def unexplained(values: Floats) -> Floats:
    """What neither its row nor its column explains of each value."""
    rows, columns = values.mean(axis=1, keepdims=True), values.mean(axis=0)
    rest: Floats = values - rows - columns + values.mean()
    return rest


def student(freedom: int, t: Any) -> Any:  # noqa: ANN401 - a number or an array of them
    """Student's cumulative distribution."""
    from scipy.special import stdtr  # noqa: PLC0415 - it takes longer to import than all the rest

    return stdtr(freedom, t)


def _whole_orders(rounds: float) -> int:
    """So many rounds or a few more, with each order as often as the others."""
    return ORDERS * math.ceil(rounds / ORDERS)


def sign_interval(values: Sequence[float], *, tolerance: float = 0.0) -> Interval:
    """The median and its 95 % interval, from one ordered value to another, and between these.

    The sign test's interval covers too much with one pair of ordered values and too little with the
    next; it is interpolated as Hettmansperger & Sheather do (1986, "Confidence intervals based on
    interpolated order statistics", Statistics & Probability Letters 4:75-79).

    Six values or more; with fewer the interval, from the least to the greatest, covers less.
    """
    ordered, count = sorted(values), len(values)
    covered = coverages(count)
    rank = max((rank for rank, share in covered.items() if share >= COVERAGE), default=1)
    inner = min(rank + 1, max(covered))
    between = 0.0
    if covered[rank] > COVERAGE > covered[inner]:
        share = (covered[rank] - COVERAGE) / (covered[rank] - covered[inner])
        between = (count - rank) * share / (rank + (count - 2 * rank) * share)
    low, high = (
        (1 - between) * outer + between * inside
        for outer, inside in (
            (ordered[rank - 1], ordered[inner - 1]),
            (ordered[-rank], ordered[-inner]),
        )
    )
    sure = Trimmed.of(np.array(ordered)).exceeds(tolerance) if count > 1 else 0.0
    return Interval(float(np.median(ordered)), low, high, sure)


def coverages(count: int) -> dict[int, float]:
    """How surely the median lies between two of so many ordered values, by rank from the ends."""
    tails = itertools.accumulate(math.comb(count, rank) / 2**count for rank in range(count // 2))
    return {rank: 1 - 2 * tail for rank, tail in enumerate(tails, start=1)} or {1: 0.0}
