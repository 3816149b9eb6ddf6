"""The race: which of a few configurations is the best.

At a few looks the probability of good selection is estimated: that none of the others is faster
than the leader by more than a tolerance (PGS, Branke, Chick & Schmidt 2007, "Selecting a selection
procedure", Management Science 53:1916-1932). It is the product, by Slepian's inequality, of one
Student probability for each other configuration. These come from the trimmed means of the
differences within the rounds. So all comparisons are accounted for.

The race ends when that probability is high enough. Those that have hardly a chance to be the best
drop out before. Each look may err (Armitage, McPherson & Rowe 1969, "Repeated significance tests on
accumulating data", Journal of the Royal Statistical Society A 132:235-244). So there are few looks,
and each has to be surer than the 95 % that are promised. A race that is not decided after its most
rounds promises nothing, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kamerton_ray.answer.correlation import SUPPOSED, correlation, supposed, worth
from kamerton_ray.answer.student import student
from kamerton_ray.answer.trimmed import LEAST_ERROR, Trimmed
from kamerton_ray.trial.estimate import Floats

SCREEN_RACE, LEAST_RACE, MOST_RACE = 2, 4, 100
"""After the first number of rounds those far behind drop out. From the second on each pair has a
spread of its own. After the third the race ends as it stands."""

LOOKS = (LEAST_RACE, 5, 7, 9, 12, 16, 21, 28, 37, 49, 65, 86, MOST_RACE)
"""The race is looked at after so many rounds. Each look may err, so there are few."""

GOOD_SELECTION = 0.95
"""The promise: in this share of the races the chosen one is slower than the best by no more than
the tolerance, or the race says that it was not decided."""

EACH_LOOK = 0.995
"""A look decides when the leader is good with this probability. Looks share most of their rounds.
So all together err in less than 5 % of the races, even where all but the best are just beyond the
tolerance (benchmarks/verdict.py)."""

NEARLY = 0.95
"""A configuration with fewer threads than the leader may still be chosen. While it is good with at
least this probability, but not yet with `EACH_LOOK`, the race waits for it."""

HARDLY = 0.002
"""A configuration drops out when it is faster than the leader with less than this probability."""

FUTILE = 0.01
"""A configuration is hopeless when its gain exceeds the tolerance with less than this probability.
The race also ends when all of them are."""


@dataclass(frozen=True)
class Choice:
    """How a race has ended.

    Attributes:
        arm: The configuration that it has chosen.
        preferred: Whether it was preferred to the leader for its fewer threads.
        undecided: Whether the race ended before it was decided.
    """

    arm: int
    preferred: bool
    undecided: bool


class Race:
    """The rounds in which all configurations meet.

    Args:
        threads: How many threads each configuration starts; among equals the fewest win.
        tolerance: Gains no farther apart than this count as equal.
    """

    def __init__(self, threads: Sequence[int], *, tolerance: float) -> None:
        self._threads, self._tolerance = list(threads), tolerance
        self._gains: dict[int, list[float]] = {arm: [] for arm in range(len(threads))}
        self._levels: dict[int, list[float]] = {arm: [] for arm in self._gains}
        self.left: list[int] = list(self._gains)
        """Those that are still in the race; after it, those not told apart from the best."""

    @property
    def rounds(self) -> int:
        """How many rounds were run."""
        return max((len(values) for values in self._gains.values()), default=0)

    def tell(self, arm: int, *, gain: float, level: float) -> None:
        """Take in what a round has found of a configuration."""
        self._gains[arm].append(gain)
        self._levels[arm].append(level)

    def drop(self, arm: int) -> None:
        """Take a configuration out."""
        self.left = [one for one in self.left if one != arm]

    def look(self) -> bool:
        """After some of the rounds, drop who has hardly a chance; whether the race is over."""
        if self.rounds == SCREEN_RACE:
            self._screen()
        return len(self.left) == 1 or (self.rounds in LOOKS and self._is_over())

    def choice(self) -> Choice:
        """Whom it chooses, as it stands."""
        field = self._field()
        lead = self.left[field.lead]
        equal = [
            arm
            for row, arm in enumerate(self.left)
            if arm == lead or field.good(row, self._tolerance) >= EACH_LOOK
        ]
        chosen = min(equal, key=lambda arm: (self._threads[arm], arm != lead))
        return Choice(
            arm=chosen,
            preferred=self._threads[chosen] < self._threads[lead],
            undecided=not self._is_decided(field),
        )

    def _field(self) -> _Field:
        """Those left, compared by their gains, or by their levels where these scatter less.

        A default that is noisier than the machine's drift within a round blurs the gains.
        """
        both = [np.array([kept[a] for a in self.left]) for kept in (self._gains, self._levels)]
        return _Field(min(both, key=lambda one: float(np.median(np.abs(unexplained(one))))))

    def _screen(self) -> None:
        """Drop who is far behind, by the spread that neither arms nor rounds explain."""
        values = self._field().values
        arms, rounds = values.shape
        if arms == 1:
            return
        freedom = (arms - 1) * (rounds - 1)
        spread = math.sqrt(float((unexplained(values) ** 2).sum()) / freedom)
        error = spread * math.sqrt(2 / (rounds * worth(SUPPOSED)))
        means = values.mean(axis=1)
        faster = student(freedom, (means - means.max()) / max(error, LEAST_ERROR))
        self.left = [arm for arm, p in zip(self.left, faster, strict=True) if p >= HARDLY]

    def _is_over(self) -> bool:
        """Whether a look ends the race; if not, those with hardly a chance drop out."""
        field = self._field()
        decided = self._is_decided(field) and not self._waits(field)
        if decided or self.rounds >= MOST_RACE:
            return True
        slower = [field.slower(row) for row in range(len(self.left))]
        self.left = [arm for arm, p in zip(self.left, slower, strict=True) if p <= 1 - HARDLY]
        return False

    def _is_decided(self, field: _Field) -> bool:
        """Whether the leader is the best or near it, or no gain is worth a final."""
        if field.good(field.lead, self._tolerance) >= EACH_LOOK:
            return True
        gains = [Trimmed.of(np.array(self._gains[arm]), field.correlation) for arm in self.left]
        return max(one.exceeds(self._tolerance) for one in gains) < FUTILE

    def _waits(self, field: _Field) -> bool:
        """Whether one with fewer threads is nearly sure enough to take the leader's place."""
        most = self._threads[self.left[field.lead]]
        return any(
            NEARLY <= field.good(row, self._tolerance) < EACH_LOOK
            for row, arm in enumerate(self.left)
            if self._threads[arm] < most
        )


@dataclass(frozen=True)
class _Field:
    """Those left in a race, as a look sees them.

    Attributes:
        values: What they are compared by: a row for each, a column for each round.
    """

    values: Floats

    @cached_property
    def lead(self) -> int:
        """The row with the highest centre."""
        return int(np.argmax([Trimmed.of(one).mean for one in self.values]))

    @cached_property
    def correlation(self) -> float:
        """How much rounds are alike: what is supposed, until the rounds say more."""
        arms, rounds = len(self.values), len(self.values[0])
        if arms == 1:
            return SUPPOSED
        said = (arms - 1) * (rounds - 1)
        return supposed(correlation(unexplained(self.values)), said)

    def good(self, row: int, tolerance: float) -> float:
        """The probability that none is faster than this one by more than the tolerance."""
        others = np.delete(self.values[row] - self.values, row, axis=0)
        return math.prod(Trimmed.of(one, self.correlation).exceeds(-tolerance) for one in others)

    def slower(self, row: int) -> float:
        """The probability that this one is slower than the leader; 0 for the leader itself."""
        if row == self.lead:
            return 0.0
        behind = self.values[self.lead] - self.values[row]
        return Trimmed.of(behind, self.correlation).exceeds(0.0)


def unexplained(values: Floats) -> Floats:
    """What neither its row nor its column explains of each value."""
    rows, columns = values.mean(axis=1, keepdims=True), values.mean(axis=0)
    rest: Floats = values - rows - columns + values.mean()
    return rest
