"""The race: which of a few configurations is the best.

It is a Bayesian selection with a belief for each configuration, which begins with what the search
has measured (see `chances`). The race ends when one is good with a high probability: none of the
others is faster by more than a tolerance (PGS, Branke, Chick & Schmidt 2007, "Selecting a selection
procedure", Management Science 53:1916-1932). What is missing to that are the others' probabilities
of being the best and faster by more. So each round measures the leader and those where these are
the highest (the shares are those of Thompson 1933, "On the likelihood that one unknown probability
exceeds another", Biometrika 25:285-294). A belief holds at any time, so it may be looked at after
every round. A race that is not decided after its most rounds promises nothing, and says so.

While a gain is likely the default is left out: it says nothing of who is the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np

from kamerton_ray.answer.chances import SEARCHED, Chances, Value
from kamerton_ray.answer.correlation import SUPPOSED, Likeness
from kamerton_ray.search.arrays import Matrix, Vector

DEFAULT = -1
"""Stands for TensorFlow's default among the numbers of the configurations."""

HURRIED, LEAST_RACE, MOST_RACE = 2, 3, 100
"""In a hurry the race ends as it stands after the first number of rounds. By itself it ends after
the second at the earliest, and after the last as it stands. Up to the second the default is
measured, too: the answer's table needs it."""

GOOD_SELECTION = 0.95
"""The promise: in this share of the races the chosen one is slower than the best by no more than
the tolerance, or the race says that it was not decided."""

AT_FIRST, AT_LAST, FALLS = 0.99, 0.97, 20
"""The race ends when one is good with a probability that falls from the first number to the second
in so many rounds: every further round says less than the one before. Noise is not quite what is
believed of it, so even the second is higher than what is promised (benchmarks/verdict.py)."""

VERY_SURE = 0.995
"""Those good with this probability are as good as the leader, and of these the one with the fewest
threads wins."""

NEARLY = 0.9
"""A configuration with fewer threads than the leader may still be chosen. While it is good with at
least this probability, but not yet very surely, the race waits for it."""

HARDLY = 0.02
"""A configuration is out while it is good with less than this probability."""

FEWEST, AT_ONCE, WORTH = 2, 6, 0.05
"""So many configurations are measured in a round, at the least and at the most. Any more than the
first number threaten the leader with at least this share of the probability of the likeliest to.
The second is also how many are measured in turn with a default of their own. Each may hold a model
in memory meanwhile, and what is measured at times far apart cannot be compared."""

FAR = 100.0
"""Those whose places are unknown lie so far from each other that none tells of another."""

FUTILE, LIKELY = 0.01, 0.8
"""The race also ends when a gain above the tolerance has less than the first probability. With the
second or more it is likely, and the default is left out."""


def enough(rounds: int) -> float:
    """The probability of being good that ends a race after so many rounds."""
    return AT_LAST + (AT_FIRST - AT_LAST) * max(0.0, 1 - rounds / FALLS)


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
        self.next: list[int] = [DEFAULT, *self._first()]
        """Those to be measured in the next round."""
        self.choice = Choice(arm=0, preferred=False, undecided=True)
        """Whom it chooses, as the last look has left it."""
        self.alike = SUPPOSED
        """How much neighbouring rounds are alike, by all that was seen at the last look."""

    def _first(self) -> list[int]:
        """Whom to measure at first: those that may be good, by what the search has found."""
        if not self._values:
            return self._in
        field = self._field()
        return sorted({*field.left, *field.threats, *self._named})

    def tell(self, *turns: Mapping[int, float]) -> None:
        """Take in a round.

        Args:
            turns: For those that were measured in turn, the default perhaps among them, the level
                of each.
        """
        for levels in turns:
            self._values += [Value(arm, self._turns, level) for arm, level in levels.items()]
            self._turns += 1
        self.rounds += 1

    def drop(self, arm: int) -> None:
        """Take out one that has failed; where it alone was left, any other may be the best."""
        for some in (self._in, self.left, self.next, self._named):
            if arm in some:
                some.remove(arm)
        self.left = self.left or list(self._in)

    def look(self) -> bool:
        """See who may be the best, and whether the race is over."""
        field = self._field()
        self.left, self.choice, self.alike = field.left, field.choice(), field.alike
        is_early = self.rounds < LEAST_RACE
        default = [DEFAULT] if is_early or not field.is_gain_likely else []
        self.next = [*default, *sorted({*field.threats, *(self._named if is_early else [])})]
        if len(self._in) == 1 or self.rounds >= MOST_RACE:
            return True
        return self.rounds >= LEAST_RACE and field.is_decided

    def _field(self) -> _Field:
        row_of = {arm: row for row, arm in enumerate([*self._in, DEFAULT])}
        values = [one._replace(arm=row_of[one.arm]) for one in self._values if one.arm in row_of]
        return _Field(
            arms=self._in,
            threads=[self._threads[arm] for arm in self._in],
            chances=Chances(values, self._places[self._in]),
            tolerance=self._tolerance,
            enough=enough(self.rounds),
        )


class _Field:
    """Those in a race, as a look sees them.

    Args:
        arms: Their numbers.
        threads: How many threads each starts.
        chances: What is believed of them.
        tolerance: Gains no farther apart than this count as equal.
        enough: One is chosen that is good with this probability.
    """

    def __init__(
        self,
        *,
        arms: Sequence[int],
        threads: Sequence[int],
        chances: Chances,
        tolerance: float,
        enough: float,
    ) -> None:
        self._arms, self._threads = arms, threads
        self._chances, self._tolerance, self._enough = chances, tolerance, enough
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
    def threats(self) -> list[int]:
        """Those worth measuring: the one whose lead is in question, and who may be faster."""
        focus = self._focus()
        threats, best = self._chances.beating(focus, self._tolerance), self._chances.best()
        others = [row for row in np.lexsort((-best, -threats)) if row != focus]
        worth = (threats > 0) & (threats >= WORTH * threats.max())
        count = int(np.clip(worth.sum(), FEWEST - 1, AT_ONCE - 1))
        return [self._arms[row] for row in (focus, *others[:count])]

    @property
    def alike(self) -> Likeness:
        """How much neighbouring rounds are alike."""
        return self._chances.alike

    @property
    def is_gain_likely(self) -> bool:
        """Whether the best likely beats the default."""
        return self._gains >= LIKELY

    @property
    def is_decided(self) -> bool:
        """Whether it is known who is good, or that no gain is worth a final."""
        is_known = bool(self._good.max() >= self._enough) and not self._waiting()
        return is_known or self._gains < FUTILE

    def choice(self) -> Choice:
        """Whom it would choose."""
        lead = self._lead()
        equal = [row for row, good in enumerate(self._good) if row == lead or good >= VERY_SURE]
        chosen = min(equal, key=lambda row: (self._threads[row], row != lead))
        return Choice(
            arm=self._arms[chosen],
            preferred=self._threads[chosen] < self._threads[lead],
            undecided=self._good[chosen] < self._enough and self._gains >= FUTILE,
        )

    def _lead(self) -> int:
        """The row that is likeliest good; of such the one with the highest level."""
        rows, expected = range(len(self._arms)), self._chances.expected
        return max(rows, key=lambda row: (self._good[row], expected[row]))

    def _focus(self) -> int:
        """The row on which it depends whether the race is over."""
        lead, waiting = self._lead(), self._waiting()
        if self._good[lead] < self._enough or not waiting:
            return lead
        return max(waiting, key=lambda row: self._good[row])

    def _waiting(self) -> list[int]:
        """The rows with fewer threads that are nearly sure enough to take the leader's place."""
        most = self._threads[self._lead()]
        return [
            row
            for row, good in enumerate(self._good)
            if NEARLY <= good < VERY_SURE and self._threads[row] < most
        ]
