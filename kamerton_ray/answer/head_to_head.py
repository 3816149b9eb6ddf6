"""HeadToHead: which of a few configurations is best, and by how much it beats the default.

It is asked and told in rounds: in each, every configuration that is left and the default are
measured once more, each in a fresh process. It measures nothing itself and has no clock.

There are two stages, since the number that made a configuration win flatters it:

* The race. At a few looks the probability of good selection is estimated: that none of the others
  is faster than the leader by more than a tolerance (PGS, Branke, Chick & Schmidt 2007, "Selecting
  a selection procedure", Management Science 53:1916-1932). It is the product, by Slepian's
  inequality, of one Student probability for each other configuration, from the trimmed mean of the
  differences within the rounds: so many comparisons are accounted for. The race ends when it is
  high enough, and those that have hardly a chance to be the best drop out before. Each look may err
  (Armitage, McPherson & Rowe 1969, "Repeated significance tests on accumulating data", Journal of
  the Royal Statistical Society A 132:235-244), so they are few and each has to be surer than what
  is promised, 95 %. A race that is not decided after its most rounds promises nothing, and says so.
* The final. The chosen one and the default are measured in rounds of their own. Nothing of the race
  counts, so there is no selection to correct for (Cox 1975, "A note on data-dependent significance
  levels", Biometrika 62:441-444). The estimate is that of Hodges & Lehmann (1963, "Estimates of
  location based on rank tests", Annals of Mathematical Statistics 34:598-611) with the interval of
  the signed-rank test (Wilcoxon 1945, "Individual comparisons by ranking methods", Biometrics
  Bulletin 1:80-83), and the decision is read off that interval, so that the two cannot disagree.
  It supposes that what a round adds to the gain is as likely to be above zero as below it by as
  much, as the difference of two that are equally noisy is, whatever their outliers. Each of the two
  is first in as many rounds as the other, since who is first may be faster or slower for it.

Neighbouring rounds may be alike, as where a machine's pace changes slowly, and then say less than
independent ones. What they correlate by is estimated from the final's rounds in order, the interval
is as much wider, and as many more rounds are run; their number never depends on the gain found.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from kamerton_ray.trial.estimate import walsh_means

DEFAULT = -1
"""Stands for TensorFlow's default among the indices of the configurations."""

SCREEN_RACE, LEAST_RACE, MOST_RACE = 2, 4, 100
"""After so many rounds those far behind drop out; so many give each pair a spread of its own; after
so many the race ends as it stands."""

LOOKS = (LEAST_RACE, 5, 7, 9, 12, 16, 21, 28, 37, 49, 65, 86, MOST_RACE)
"""After so many rounds the race is looked at: each look may err, so they are few."""

TRIMMED = 0.15
"""The share of the rounds at each end that does not count: what is disturbed is mostly there."""

GOOD_SELECTION = 0.95
"""The promise: in so many races the chosen one is not slower than the best by more than the
tolerance, or it is said that the race was not decided."""

EACH_LOOK, NEARLY = 0.995, 0.95
"""A look decides, and one with fewer threads takes the leader's place, when the first is how
probably it is good; one that is nearly so sure is waited for. Looks share most of their rounds, so
that all together err in less than 5 % of the races, even where all but the best are just beyond the
tolerance (benchmarks/verdict.py)."""

HARDLY = 0.002
"""One that is faster than the leader with less than this probability drops out."""

FUTILE = 0.01
"""Below this probability that any beats the default by the tolerance the race ends, too."""

SUPPOSED, SUPPOSED_ROUNDS = 0.6, 20
"""What rounds correlate by, as long as these say little of it: it counts like so many of them."""

LEAST_FINAL, MOST_FINAL = 20, 60
"""Of twenty rounds two may be disturbed to the same side and a clear win is still told from chance:
39 of the 210 means are theirs, and 53 lie outside of the interval. Of sixteen only one may."""

ORDERS = 4
"""The orders of two repeat after so many rounds, in which each is first as often as the other: with
another number of rounds the one that is first more often would be favoured, where that matters."""

COVERAGE = 0.94
"""What the interval covers before it is widened. It is told as one of 95 %, since chance widens it,
too: independent rounds are found to correlate a little as often as not (benchmarks/verdict.py)."""

MARGIN = 0.6
"""The final reckons with a correlation greater by this share / sqrt(rounds) than it finds: one too
small costs more than one too great, as the width grows ever faster with it."""

MOST_CORRELATED, LEAST_EFFECTIVE = 0.9, 2.5
"""Rounds count as correlated by no more, and as so many independent ones at the least."""

HALF_WIDTH = 2.6
"""So many standard errors the interval is planned to be wide to each side: more than Student's two,
since the spread is known from few rounds."""

SMALLEST_GROUP, SHARE_OF_GROUP, GAP = 3, 6, 3.0
"""Rounds fall into two groups where each has so many or more, and one in so many of all, and the
gap between them is so many times as wide as the values scatter within either. Normal, heavy-tailed
and disturbed rounds are taken for two groups in at most 1 of 200 finals (benchmarks/verdict.py)."""

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
        middle: The estimate.
        low: Where its 95 % interval begins.
        high: Where it ends.
    """

    middle: float
    low: float
    high: float


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
        self._final: Final | None = None
        self.stage = Stage.RACE if threads else Stage.DONE
        self.left: list[int] = list(self._race)
        """Those that are still in the race; after it, those not told apart from the best."""
        self.failed: list[int] = []
        """Those that did not survive a round."""
        self.chosen: int | None = None
        """The one in the final."""
        self.preferred = False
        """Whether the chosen one was preferred to the leader for its fewer threads."""
        self.undecided = False
        """Whether the race ended before it was decided, for its length or for want of time."""

    @property
    def race_rounds(self) -> int:
        """How many rounds of the race were run."""
        return max((len(values) for values in self._race.values()), default=0)

    @property
    def final_rounds(self) -> int:
        """How many rounds of the final were run."""
        return len(self._final.gains) if self._final else 0

    @property
    def correlation(self) -> float:
        """What neighbouring rounds of the final are reckoned to correlate by."""
        return self._final.correlation if self._final else 0.0

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
            elif self._final and arm == self.chosen:
                self._final.tell(gain)
        if self.stage is Stage.RACE:
            self._look()
        self._note_the_end()

    def hurry(self) -> None:
        """Time is short: end the race as it stands, and make the final no longer than it must."""
        if self.stage is Stage.RACE and self.race_rounds >= LEAST_RACE:
            self._begin_final()
        if self._final:
            self._final.hurry()
        self._note_the_end()

    def interval(self) -> Interval | None:
        """What the final says of the chosen one's log speed-up; None before its end."""
        return self._final.interval() if self._final and self._final.done else None

    def _note_the_end(self) -> None:
        if self._final and self._final.done:
            self.stage = Stage.DONE

    def _drop(self, arm: int) -> None:
        self.failed.append(arm)
        self.left = [one for one in self.left if one != arm]
        if arm == self.chosen:
            self.chosen = self._final = None
            self.stage = Stage.RACE
        if not self.left:
            self.stage = Stage.DONE

    def _values(self) -> Floats:
        """What those left are compared by: their gains, or their levels where these scatter less.

        A default that is noisier than the machine's drift within a round blurs the gains.
        """
        both = [np.array([kept[a] for a in self.left]) for kept in (self._race, self._levels)]
        return min(both, key=lambda one: float(np.median(np.abs(unexplained(one)))))

    def _look(self) -> None:
        """After some of the rounds, drop who has hardly a chance, and end the race if decided."""
        alone = len(self.left) == 1 and self.race_rounds > LEAST_RACE
        if self.race_rounds in LOOKS or alone:
            self._judge()
        elif self.race_rounds == SCREEN_RACE:
            self._screen()

    def _screen(self) -> None:
        """Drop who has hardly a chance, by the spread that neither arms nor rounds explain."""
        values = self._values()
        arms, rounds = values.shape
        if arms == 1:
            return
        freedom = (arms - 1) * (rounds - 1)
        spread = math.sqrt(float((unexplained(values) ** 2).sum()) / freedom)
        error = spread * math.sqrt(2 / (rounds * worth(SUPPOSED)))
        means = values.mean(axis=1)
        faster = student(freedom, (means - means.max()) / max(error, 1e-9))
        self.left = [arm for arm, p in zip(self.left, faster, strict=True) if p >= HARDLY]

    def _judge(self) -> None:
        """Drop who has hardly a chance, and end the race when it is decided."""
        if (self._decided() and not self._waits()) or self.race_rounds >= MOST_RACE:
            self._begin_final()
            return
        values = self._values()
        lead, correlated = _leader(values), _supposed(values)
        slower = [Trimmed.of(one, correlated).exceeds(0.0) for one in values[lead] - values]
        slower[lead] = 0.0
        self.left = [arm for arm, p in zip(self.left, slower, strict=True) if p <= 1 - HARDLY]

    def _decided(self) -> bool:
        """Whether the leader is the best or near it, or none is worth a final of many rounds."""
        values = self._values()
        correlated = _supposed(values)
        gains = [Trimmed.of(np.array(self._race[arm]), correlated) for arm in self.left]
        futile = max(one.exceeds(self._tolerance) for one in gains) < FUTILE
        return futile or self._good(values, _leader(values), correlated) >= EACH_LOOK

    def _waits(self) -> bool:
        """Whether one with fewer threads is nearly sure enough to take the leader's place."""
        values = self._values()
        lead, correlated = self.left[_leader(values)], _supposed(values)
        return any(
            NEARLY <= self._good(values, row, correlated) < EACH_LOOK
            for row, arm in enumerate(self.left)
            if self._threads[arm] < self._threads[lead]
        )

    def _good(self, values: Floats, row: int, correlated: float) -> float:
        """How probably none is faster than this one by more than the tolerance."""
        others = np.delete(values[row] - values, row, axis=0)
        return math.prod(Trimmed.of(one, correlated).exceeds(-self._tolerance) for one in others)

    def _begin_final(self) -> None:
        self.undecided = not self._decided()
        values = self._values()
        lead, correlated = self.left[_leader(values)], _supposed(values)
        equal = [
            arm
            for row, arm in enumerate(self.left)
            if arm == lead or self._good(values, row, correlated) >= EACH_LOOK
        ]
        self.chosen = min(equal, key=lambda arm: (self._threads[arm], arm != lead))
        self.preferred = self._threads[self.chosen] < self._threads[lead]
        enough = self._enough(Trimmed.of(np.array(self._race[self.chosen])))
        self._final, self.stage = Final(enough), Stage.FINAL

    def _enough(self, gain: Trimmed) -> int:
        """How many rounds give an interval as sharp as the tolerance, or a third of the gain."""
        aim = max(self._tolerance, abs(gain.mean) / 3)
        spread = gain.error * math.sqrt(self.race_rounds)
        wanted = _whole_orders((HALF_WIDTH * spread / aim) ** 2)
        return min(max(wanted, LEAST_FINAL), MOST_FINAL)


class Final:
    """The rounds of the chosen one and the default, of which the answer is taken.

    It ends when its rounds are worth as many independent ones as were planned, or are the most.

    Args:
        planned: How many independent rounds are wanted.
    """

    def __init__(self, planned: int) -> None:
        self._planned, self._most = planned, MOST_FINAL
        self.gains: list[float] = []
        self.correlation = 0.0
        """What neighbouring rounds are reckoned to correlate by: the most that was found. Were it
        forgotten, the final would end as soon as chance hides it."""
        self.done = False
        """Whether it has come to its end."""

    def tell(self, gain: float) -> None:
        """What a round has found."""
        self.gains.append(gain)
        self._settle()

    def hurry(self) -> None:
        """Run no more rounds than it must."""
        self._most = min(self._most, max(LEAST_FINAL, _whole_orders(len(self.gains))))
        self._settle()

    def interval(self) -> Interval:
        """What its rounds say."""
        return signed_rank_interval(self.gains, correlation=self.correlation)

    def _settle(self) -> None:
        count = len(self.gains)
        if count < min(self._planned, self._most):
            return
        found = correlation(np.array([self.gains])) * (1 + MARGIN / math.sqrt(count))
        self.correlation = min(max(self.correlation, found), MOST_CORRELATED)
        wanted = _whole_orders(self._planned / worth(self.correlation))
        self.done = count >= min(wanted, self._most)


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
    freedom: float

    @classmethod
    def of(cls, values: Floats, correlation: float = 0.0) -> Trimmed:
        """Of two values or more, of which neighbours correlate by so much."""
        count = len(values)
        cut = int(TRIMMED * count)
        inner = np.sort(values)[cut : count - cut]
        spread = float(np.std(np.clip(values, inner[0], inner[-1]), ddof=1))
        error = spread / ((1 - 2 * cut / count) * math.sqrt(count))
        worth = independent(count, correlation)
        error *= math.sqrt((count - 1) / (worth - 1)) if worth < count else 1.0
        freedom = (len(inner) - 1) * worth / count
        return cls(float(inner.mean()), max(error, 1e-9), freedom)

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


def student(freedom: float, t: Any) -> Any:  # noqa: ANN401 - a number or an array of them
    """Student's cumulative distribution."""
    from scipy.special import stdtr  # noqa: PLC0415 - it takes longer to import than all the rest

    return stdtr(freedom, t)


def _whole_orders(rounds: float) -> int:
    """So many rounds or a few more, with each order as often as the others."""
    return ORDERS * math.ceil(rounds / ORDERS)


def signed_rank_interval(values: Sequence[float], *, correlation: float = 0.0) -> Interval:
    """The estimate of Hodges & Lehmann and the interval of Wilcoxon's signed-rank test.

    Both are of the means of any two values and of each by itself, in order: the median of these,
    and from the k-th to the k-th last of them, for the k whose coverage is nearest to `COVERAGE`
    (Hollander, Wolfe & Chicken, "Nonparametric Statistical Methods", sections 3.2 and 3.3). Six
    values or more; with fewer the interval, from the least to the greatest, covers less.

    Args:
        values: What independent rounds have found, or such of which neighbours are alike.
        correlation: What these correlate by; the interval is as much wider.
    """
    means, count = walsh_means(values), len(values)
    tails = signed_rank_tails(count)
    outside = int(np.argmin(np.abs(1 - 2 * tails[: (len(means) + 1) // 2] - COVERAGE)))
    middle, low, high = float(np.median(means)), means[outside], means[-1 - outside]
    wider = widening(count, correlation)
    return Interval(middle, middle - wider * (middle - low), middle + wider * (high - middle))


@functools.cache
def signed_rank_tails(count: int) -> Floats:
    """How probably at most 0, 1, 2 ... of so many values' Walsh means lie above the true middle.

    Each rank is in the sum of those above it or not, as a coin falls.
    """
    chances = np.ones(1)
    for rank in range(1, count + 1):
        chances = np.convolve(chances, [0.5, *[0.0] * (rank - 1), 0.5])
    tails: Floats = np.cumsum(chances)
    return tails


def widening(count: int, correlation: float) -> float:
    """How many times as wide an interval from correlated values has to be.

    As many independent ones as they are worth have a greater standard error and, their spread
    being less surely known, Student's distribution with fewer degrees of freedom (Zwiers & von
    Storch 1995, "Taking serial correlation into account in tests of the mean", Journal of Climate
    8:336-351). Values that are alike also scatter less around their own middle than the true one.
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - as in `student`

    left = independent(count, correlation)
    if left >= count:
        return 1.0
    quantiles = stdtrit([left - 1, count - 1], (1 + COVERAGE) / 2)
    return math.sqrt((count - 1) / (left - 1)) * float(quantiles[0] / quantiles[1])


def worth(correlation: float) -> float:
    """What a round is worth beside an independent one (Bayley & Hammersley 1946)."""
    bounded = min(max(correlation, 0.0), MOST_CORRELATED)
    return (1.0 - bounded) / (1.0 + bounded)


def independent(count: int, correlation: float) -> float:
    """As many independent rounds say as much."""
    return max(count * worth(correlation), min(count, LEAST_EFFECTIVE))


def two_groups(
    values: Sequence[float], *, least: float = 0.0
) -> tuple[list[int], list[int]] | None:
    """The numbers of the upper and the lower values, if they fall into two groups; else None.

    Each has `SMALLEST_GROUP` or more and one in `SHARE_OF_GROUP` of all, so that outliers are none,
    and the gap is more than `GAP` times the mean deviation within either, and than `least`.
    """
    order = np.argsort(values)
    ordered = np.asarray(values)[order]
    smallest = max(SMALLEST_GROUP, math.ceil(len(values) / SHARE_OF_GROUP))
    splits = range(smallest, len(values) - smallest + 1)
    if not splits:
        return None
    at = max(splits, key=lambda split: float(ordered[split] - ordered[split - 1]))
    gap = float(ordered[at] - ordered[at - 1])
    scatter = max(_scatter(ordered[:at]), _scatter(ordered[at:]))
    if gap <= max(GAP * scatter, least):
        return None
    return sorted(order[at:].tolist()), sorted(order[:at].tolist())


def _scatter(values: Floats) -> float:
    """The mean deviation from the median, where one value less than there are is free."""
    return float(np.abs(values - np.median(values)).sum()) / (len(values) - 1)


def ranks(values: Floats) -> Floats:
    """The rank of each value, from 0; equal ones share theirs."""
    ordered = np.sort(values)
    sides = [np.searchsorted(ordered, values, side) for side in ("left", "right")]
    shared: Floats = np.mean(sides, axis=0)
    return shared


def correlation(rows: Floats) -> float:
    """What neighbouring values in a row correlate by, as estimated from their ranks over all rows.

    Ranks, since the interval is theirs and outliers would hide it (Wald & Wolfowitz 1943, "An exact
    test for randomness in the non-parametric case", Annals of Mathematical Statistics 14:378-388).
    The estimate r from n values is too low by (1 + 3 r) / n (Kendall 1954, "Note on bias in the
    estimation of autocorrelation", Biometrika 41:403-404), which is put right.
    """
    count = len(rows[0])
    ranked = np.array([ranks(one) for one in rows])
    ranked -= ranked.mean(axis=1, keepdims=True)
    square = float((ranked**2).sum())
    if count < LEAST_RACE or square == 0.0:
        return 0.0
    found = float((ranked[:, 1:] * ranked[:, :-1]).sum()) / square
    return (count * found + 1) / (count - 3)


def _supposed(values: Floats) -> float:
    """What the rounds of a race correlate by: what is supposed, until the rounds say more."""
    arms, rounds = len(values), len(values[0])
    if arms == 1:
        return SUPPOSED
    said = (arms - 1) * (rounds - 1)
    found = (said * correlation(unexplained(values)) + SUPPOSED_ROUNDS * SUPPOSED) / (
        said + SUPPOSED_ROUNDS
    )
    return min(max(found, 0.0), MOST_CORRELATED)
