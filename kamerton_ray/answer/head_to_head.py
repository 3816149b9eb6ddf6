"""HeadToHead: which of a few configurations is best, and by how much it beats the default.

It is asked and told in rounds. In each round some of the configurations, the default mostly among
them, are measured once more, each in a fresh process. It measures nothing itself and has no clock.

The number that made a configuration win flatters it. So there are two stages: `race` chooses one,
and `final` measures it against the default in rounds of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum

from kamerton_ray.answer.final import Final, FinalEnd
from kamerton_ray.answer.race import DEFAULT, HURRIED, Entrant, Race
from kamerton_ray.answer.signed_rank import Interval


class Stage(Enum):
    """How far a head-to-head has come."""

    RACE = "race"
    FINAL = "final"
    DONE = "done"


class HeadToHead:
    """Which of a few configurations is best, and by how much it beats the default.

    Args:
        entrants: The configurations.
        within: The tolerance, as a share of the step time.
    """

    def __init__(self, entrants: Sequence[Entrant], *, within: float = 0.02) -> None:
        self._tolerance = math.log1p(within)
        self._race = Race(entrants, tolerance=self._tolerance)
        self._final: Final | None = None
        self.stage = Stage.RACE if entrants else Stage.DONE
        self.failed: list[int] = []
        """Those that did not survive a round."""
        self.chosen: int | None = None
        """The one in the final."""
        self.preferred = False
        """Whether the chosen one was preferred to the leader for its fewer threads."""
        self.undecided = False
        """Whether the race ended before it was decided, for its length or for want of time."""
        if len(entrants) == 1:
            self.chosen, self._final, self.stage = 0, Final(self._tolerance), Stage.FINAL

    @property
    def left(self) -> list[int]:
        """Those that are still in the race; after it, those not told apart from the best."""
        return self._race.left

    @property
    def race_rounds(self) -> int:
        """How many rounds of the race were run."""
        return self._race.rounds

    @property
    def final_rounds(self) -> int:
        """How many rounds of the final were run."""
        return len(self._final.gains) if self._final else 0

    @property
    def correlation(self) -> float:
        """How much neighbouring rounds of the final are alike."""
        return self._final.correlation if self._final else 0.0

    def ask(self) -> list[int]:
        """Whom to measure in the next round, in this order; nobody when it has ended.

        The order is rotated from round to round and reversed in every second, so that nobody is
        always first and a drift favours nobody.
        """
        if self.stage is Stage.DONE:
            return []
        order = self._race.next if self.chosen is None else [DEFAULT, self.chosen]
        number = self.race_rounds + self.final_rounds
        turn = number // 2 % len(order)
        order = order[turn:] + order[:turn]
        return order[::-1] if number % 2 else order

    def tell(self, *turns: Mapping[int, float]) -> None:
        """Take in what a round has found.

        Args:
            turns: For those that were measured in turn, the default mostly among them, the level
                of each: how much faster it was than something that they have in common, as a log.
                NaN where it failed.
        """
        working = [
            {arm: level for arm, level in levels.items() if not math.isnan(level)}
            for levels in turns
        ]
        if self.stage is Stage.RACE:
            self._race.tell(*working)
        for arm in {arm for levels in turns for arm in levels}.difference(*working):
            self._drop(arm)
        if self.stage is Stage.RACE and self._race.look():
            self._begin_final()
        elif self._final and self.chosen is not None:
            for levels in working:
                self._final.tell(levels[self.chosen] - levels[DEFAULT])
        self._note_the_end()

    def hurry(self) -> None:
        """Time is short: end the race as it stands."""
        if self.stage is Stage.RACE and self.race_rounds >= HURRIED:
            self._begin_final()

    def stop(self) -> None:
        """Time is over: end it as it stands."""
        if self._final:
            self._final.stop()
        self.stage = Stage.DONE

    @property
    def ended(self) -> FinalEnd | None:
        """Why the final has ended; None before that."""
        return self._final.ended if self._final else None

    def interval(self) -> Interval | None:
        """What the final says of the chosen one's log speed-up; None before its end."""
        return self._final.interval() if self._final and self._final.ended else None

    def _begin_final(self) -> None:
        choice = self._race.choice
        self.chosen, self.preferred = choice.arm, choice.preferred
        self.undecided = choice.undecided
        self._final = Final(self._tolerance, raced=self._race.alike)
        self.stage = Stage.FINAL

    def _drop(self, arm: int) -> None:
        """Go on without a configuration that failed; the race goes on if it was the chosen one."""
        self.failed.append(arm)
        self._race.drop(arm)
        if arm == self.chosen:
            self.chosen = self._final = None
            self.stage = Stage.RACE
        if not self.left:
            self.stage = Stage.DONE

    def _note_the_end(self) -> None:
        if self._final and self._final.ended:
            self.stage = Stage.DONE
