"""The race: which of a few configurations is the best.

It is a Bayesian selection with a belief for each configuration, which begins with what the search
has measured (see `chances`). Each round measures those that are likeliest the best, so that the
effort goes to the close ones (the shares are those of Thompson 1933, "On the likelihood that one
unknown probability exceeds another", Biometrika 25:285-294). The race ends when one is good with a
high probability: none of the others is faster by more than a tolerance (PGS, Branke, Chick &
Schmidt 2007, "Selecting a selection procedure", Management Science 53:1916-1932). A belief holds at
any time, so it may be looked at after every round. A race that is not decided after its most rounds
promises nothing, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np

from kamerton_ray.answer.chances import SEARCHED, Chances, Value
from kamerton_ray.search.arrays import Matrix, Vector

HURRIED, LEAST_RACE, MOST_RACE = 2, 3, 100
"""In a hurry the race ends as it stands after the first number of rounds. By itself it ends after
the second at the earliest, and after the last as it stands."""

GOOD_SELECTION = 0.95
"""The promise: in this share of the races the chosen one is slower than the best by no more than
the tolerance, or the race says that it was not decided."""

ENOUGH, VERY_SURE = 0.97, 0.995
"""The race ends when one is good with the first probability. Those good with the second are as good
as the leader, and of these the one with the fewest threads wins. Noise is not quite what is
believed of it, so the first is a little higher than what is promised (benchmarks/verdict.py)."""

NEARLY = 0.9
"""A configuration with fewer threads than the leader may still be chosen. While it is good with at
least this probability, but not yet very surely, the race waits for it."""

HARDLY = 0.02
"""A configuration is out while it is good with less than this probability."""

FEWEST, AT_ONCE, WORTH = 2, 6, 0.02
"""Measured in a round are those likeliest the best: at least the first number, at most the second.
Any more than the first are the best with at least this share of the probability of the likeliest.
The second is also how many are measured in turn with a default of their own. Each may hold a model
in memory meanwhile, and what is measured at times far apart cannot be compared."""

FAR = 100.0
"""Those whose places are unknown lie so far from each other that none tells of another."""

FUTILE = 0.01
"""The race also ends when a gain above the tolerance has less than this probability."""


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


@dataclass(frozen=True)
class Entrant:
    """A configuration that takes part.

    Attributes:
        threads: How many threads it starts; among equals the fewest win.
        named: Whether the answer names it in any case, so that it is measured a few times at least.
        place: Where it lies beside the others, as `places` says; nothing where that is unknown.
        searched: The log of its speed, or another level, in each of the search's trials.
    """

    threads: int
    _: KW_ONLY
    named: bool = False
    place: Sequence[float] = ()
    searched: Sequence[float] = ()


class Race:
    """The rounds in which the configurations meet.

    Args:
        entrants: The configurations.
        tolerance: Gains no farther apart than this count as equal.
    """

    def __init__(self, entrants: Sequence[Entrant], *, tolerance: float) -> None:
        self._tolerance = tolerance
        self._threads = [one.threads for one in entrants]
        self._named = [arm for arm, one in enumerate(entrants) if one.named]
        self._places: Matrix = np.array(
            [list(one.place) or [FAR * arm] for arm, one in enumerate(entrants)], float
        )
        self._values = [
            Value(arm, SEARCHED, level)
            for arm, one in enumerate(entrants)
            for level in one.searched
        ]
        self._turns = SEARCHED + 1
        self._in: list[int] = list(range(len(entrants)))
        self.rounds = 0
        """How many rounds were run."""
        self.left: list[int] = list(self._in)
        """Those that may be the best; after the race, those not told apart from it."""
        self.next: list[int] = list(self._in)
        """Those to be measured in the next round: at first all."""
        self.choice = Choice(arm=0, preferred=False, undecided=True)
        """Whom it chooses, as the last look has left it."""

    def tell(self, *turns: Mapping[int, float]) -> None:
        """Take in a round.

        Args:
            turns: For those that were measured in turn the gain of each over the default's.
        """
        for gains in turns:
            told = [(-1, 0.0), *gains.items()]
            self._values += [Value(arm, self._turns, gain) for arm, gain in told]
            self._turns += 1
        self.rounds += 1

    def drop(self, arm: int) -> None:
        """Take a configuration out that has failed."""
        for some in (self._in, self.left, self.next, self._named):
            if arm in some:
                some.remove(arm)

    def look(self) -> bool:
        """See who may be the best, and whether the race is over."""
        field = self._field()
        named = self._named if self.rounds < LEAST_RACE else []
        self.left, self.next = field.left, sorted({*field.likeliest, *named})
        self.choice = field.choice()
        if len(self._in) == 1 or self.rounds >= MOST_RACE:
            return True
        return self.rounds >= LEAST_RACE and field.is_decided

    def _field(self) -> _Field:
        row_of = {arm: row for row, arm in enumerate([*self._in, -1])}
        values = [one._replace(arm=row_of[one.arm]) for one in self._values if one.arm in row_of]
        return _Field(
            arms=self._in,
            threads=[self._threads[arm] for arm in self._in],
            chances=Chances(values, self._places[self._in]),
            tolerance=self._tolerance,
        )


class _Field:
    """Those in a race, as a look sees them.

    Args:
        arms: Their numbers.
        threads: How many threads each starts.
        chances: What is believed of them.
        tolerance: Gains no farther apart than this count as equal.
    """

    def __init__(
        self, *, arms: Sequence[int], threads: Sequence[int], chances: Chances, tolerance: float
    ) -> None:
        self._arms, self._threads = arms, threads
        self._expected, self._best = chances.expected, chances.best()
        self._good: Vector = chances.good(tolerance)
        self._gains = chances.gains(tolerance)

    @property
    def left(self) -> list[int]:
        """Those that may be good, the leader in any case."""
        lead = self._lead()
        return [
            arm for row, arm in enumerate(self._arms) if row == lead or self._good[row] >= HARDLY
        ]

    @property
    def likeliest(self) -> list[int]:
        """Those worth measuring: the likeliest, and two at the least."""
        rows = np.argsort(-self._best, kind="stable")
        least = WORTH * self._best.max()
        count = int(np.clip((self._best >= least).sum(), FEWEST, AT_ONCE))
        return [self._arms[row] for row in rows[:count]]

    @property
    def is_decided(self) -> bool:
        """Whether it is known who is good, or that no gain is worth a final."""
        is_known = bool(self._good.max() >= ENOUGH) and not self._waits()
        return is_known or self._gains < FUTILE

    def choice(self) -> Choice:
        """Whom it would choose."""
        lead = self._lead()
        equal = [row for row, good in enumerate(self._good) if row == lead or good >= VERY_SURE]
        chosen = min(equal, key=lambda row: (self._threads[row], row != lead))
        return Choice(
            arm=self._arms[chosen],
            preferred=self._threads[chosen] < self._threads[lead],
            undecided=self._good[chosen] < ENOUGH and self._gains >= FUTILE,
        )

    def _lead(self) -> int:
        """The row that is likeliest good; of such the one with the highest level."""
        rows = range(len(self._arms))
        return max(rows, key=lambda row: (self._good[row], self._expected[row]))

    def _waits(self) -> bool:
        """Whether one with fewer threads is nearly sure enough to take the leader's place."""
        most = self._threads[self._lead()]
        return any(
            NEARLY <= good < VERY_SURE
            for good, threads in zip(self._good, self._threads, strict=True)
            if threads < most
        )
