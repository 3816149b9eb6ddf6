"""The rounds of a head-to-head, measured on a node that it has for itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kamerton_ray.answer.final import FinalEnd
from kamerton_ray.answer.head_to_head import HeadToHead, Stage
from kamerton_ray.answer.places import places
from kamerton_ray.answer.race import AT_ONCE, DEFAULT, Entrant
from kamerton_ray.answer.signed_rank import Interval
from kamerton_ray.machine.threads import THREADS
from kamerton_ray.trial.comparison import RATIO, Comparison
from kamerton_ray.trial.config import Config, instances_of
from kamerton_ray.trial.measurer import RoundMeasurer
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.own_node import LostError, interruptible, on_a_node
from kamerton_ray.tune.trainable import Trainable

GIVE_UP = 3
"""After so many rounds in a row without a value for the default, there is nothing to compare."""

RACE_SHARE = 0.5
"""How much of the time budget the race may take."""

ATTEMPTS = 2
"""A node may be lost: the comparison is then begun once more."""

Round = list[Result]
"""What those measured in turn have found: a result for each, with its `config`; None for a default.

A round of the head-to-head with more than `AT_ONCE` configurations is several of these."""


@dataclass(kw_only=True)
class Course:
    """How a head-to-head went, so far.

    Attributes:
        finalists: Who took part beside the default, the search's best first.
        left_out: How many others the search has measured, which take no part.
        rounds: What was found, one after the other.
        stage: How far it has come.
        chosen: The finalist that was measured against the default at the end.
        left: Those that were not told apart from the best.
        preferred: Whether the chosen one was preferred for its fewer threads.
        race_rounds: How many of the rounds came before the final.
        final_rounds: How many of the others count: those in which the default worked.
        comparison: What gains are: the logs of ratios, or differences.
        undecided: Whether the race ended before it was decided.
        correlation: What neighbouring rounds of the final correlate by.
        interval: The gain of the chosen one over the default; None before the end.
        ended: Why the final has ended; None before that.
        error: Why there is nothing to compare.
    """

    finalists: list[Config]
    left_out: int = 0
    rounds: list[Round] = field(default_factory=list)
    stage: Stage = Stage.RACE
    chosen: Config | None = None
    left: list[Config] = field(default_factory=list)
    preferred: bool = False
    race_rounds: int = 0
    final_rounds: int = 0
    comparison: Comparison = RATIO
    undecided: bool = False
    correlation: float = 0.0
    interval: Interval | None = None
    ended: FinalEnd | None = None
    error: str = ""

    @property
    def interrupted(self) -> bool:
        """Whether it was broken off, with nothing wrong."""
        return self.stage is not Stage.DONE and not self.error

    def of(self, config: Config | None, *, final: bool = False) -> list[Result]:
        """The results of a configuration, None for the default; on demand the final's alone."""
        rounds = self.rounds[self.race_rounds :] if final else self.rounds
        return [one for results in rounds for one in results if one.config == config]

    def pairs(self, config: Config | None, *, final: bool = False) -> list[tuple[Result, Result]]:
        """Each result of a configuration, with the default's beside it; likewise."""
        return pairs_of(self.rounds[self.race_rounds :] if final else self.rounds, config)


def pairs_of(rounds: Sequence[Round], config: Config | None) -> list[tuple[Result, Result]]:
    """Each result of a configuration in some rounds, with the default's beside it."""
    found = []
    for results in rounds:
        default = next((one for one in results if one.config is None), None)
        if default is not None:
            found += [(one, default) for one in results if one.config == config]
    return found


class Contest:
    """A head-to-head with the measuring, round by round.

    Args:
        measurer: What measures a round.
        finalists: The configurations, the search's best first.
        objective: What they are judged by.
        searched: What the search has measured of each; nothing where there was none.
        budget_s: About how many seconds it may take; None for as many as it needs.
        clock: The seconds on some clock.
    """

    def __init__(
        self,
        measurer: RoundMeasurer,
        finalists: Sequence[Config],
        objective: Objective,
        *,
        searched: Sequence[Sequence[Result]] = (),
        budget_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._measurer = measurer
        self._objective = objective
        self._searched = searched or [[] for _ in finalists]
        self._budget_s = math.inf if budget_s is None else budget_s
        self._clock = clock
        self._begin = clock()
        self._without_default = 0
        self.course = Course(finalists=list(finalists))
        self._head = self._new_head()

    def step(self) -> bool:
        """Run a round.

        Returns:
            Whether it was the last one.
        """
        begin, asked, is_race = self._clock(), self._head.ask(), self._head.chosen is None
        measured = [self._measured(group) for group in groups(asked, self._fits)]
        self.course.rounds += [list(one.values()) for one in measured]  # whole rounds alone
        if self.course.comparison.is_ratio:
            self._compare()
        if self._head.ask() == asked:  # or else it has begun anew
            self._tell([self._judged(one) for one in measured])
        if is_race or self._head.chosen is None:
            self.course.race_rounds = len(self.course.rounds)
        self._mind_the_time((self._clock() - begin) / len(asked))
        self._note()
        return self._head.stage is Stage.DONE or self._without_default >= GIVE_UP

    def _tell(self, turns: Sequence[Mapping[int, float]]) -> None:
        """Tell the head-to-head of a round in which the default worked."""
        if all(turns):
            self._without_default, self.course.error = 0, ""
            self._head.tell(*turns)
        else:
            self._without_default += 1

    def _mind_the_time(self, each_s: float) -> None:
        """End the race, or all of it, where there is no time for another round.

        Args:
            each_s: How long the last round took for each that it measured.
        """

        def is_over(until_s: float) -> bool:
            return self._clock() - self._begin + each_s * len(self._head.ask()) > until_s

        if is_over(RACE_SHARE * self._budget_s):
            self._head.hurry()
        if is_over(self._budget_s):
            self._head.stop()

    def _new_head(self) -> HeadToHead:
        judge, by = self._objective, self.course.comparison
        # It takes the log of the share; a difference is one itself.
        share = judge.within if by.is_ratio else math.expm1(judge.within)
        return HeadToHead(
            [
                Entrant(
                    threads=threads(config),
                    named=config == self._single,
                    place=place.tolist(),
                    searched=[x for t in trials if math.isfinite(x := judge.level_of_trial(t, by))],
                )
                for config, place, trials in zip(
                    self.course.finalists,
                    places(self.course.finalists),
                    self._searched,
                    strict=True,
                )
            ],
            within=share,
        )

    @property
    def _single(self) -> Config | None:
        """The search's best single process beside several instances: the answer names it."""
        finalists = self.course.finalists
        single = next((one for one in finalists if instances_of(one) == 1), None)
        return single if any(instances_of(one) > 1 for one in finalists) else None

    def _compare(self) -> None:
        """Where values turn out to have no ratios, begin anew with differences."""
        fresh = [one for results in self.course.rounds for one in results]
        comparison = self._objective.comparison(fresh, self.course.of(None))
        if comparison != self.course.comparison:
            self.course.comparison = comparison
            self.course.race_rounds = len(self.course.rounds) - 1  # where there is no new race
            self._head = self._new_head()

    def _configs(self, group: Sequence[int]) -> list[Config | None]:
        return [None if arm == DEFAULT else self.course.finalists[arm] for arm in group]

    def _fits(self, group: Sequence[int]) -> bool:
        """Whether there is memory to measure them in turn."""
        return self._measurer.fits(self._configs(group))

    def _measured(self, group: Sequence[int]) -> dict[int, Result]:
        """What each has found."""
        configs = self._configs(group)
        results = self._measurer.measure_round(configs)
        # Of the default the configuration is None, whatever it ran with.
        found = [replace(one, config=c) for c, one in zip(configs, results, strict=True)]
        return dict(zip(group, found, strict=True))

    def _judged(self, found: dict[int, Result]) -> dict[int, float]:
        """The level of each, with a default the gain over that; empty where the default failed."""
        judge, by = self._objective, self.course.comparison
        default = found.get(DEFAULT)
        if default is None:
            return {arm: judge.own_level(result, by) for arm, result in found.items()}
        if math.isnan(judge.value(default)):
            self.course.error = default.error
            return {}
        return {arm: judge.gain(result, default, by) for arm, result in found.items()}

    def _note(self) -> None:
        head, course = self._head, self.course
        chosen = None if head.chosen is None else course.finalists[head.chosen]
        course.stage, course.chosen, course.final_rounds = head.stage, chosen, head.final_rounds
        course.left = [course.finalists[arm] for arm in head.left]
        course.preferred, course.undecided = head.preferred, head.undecided
        course.correlation, course.interval = head.correlation, head.interval()
        course.ended = head.ended


def groups(
    asked: Sequence[int], fits: Callable[[Sequence[int]], bool] = lambda _: True
) -> list[list[int]]:
    """Those asked for, in groups as even as can be, the default in its place in each.

    Several groups need it, whether it was asked for or not: they have nothing else in common.

    Args:
        asked: Those asked for.
        fits: Whether a group fits into memory; one of a single configuration has to.
    """
    arms = [arm for arm in asked if arm != DEFAULT]
    if DEFAULT not in asked and not (len(arms) <= AT_ONCE and fits(asked)):
        asked = [DEFAULT, *asked]
    count = -(-len(arms) // AT_ONCE)
    while True:
        members = [{DEFAULT, *arms[number::count]} for number in range(count)]
        found = [[arm for arm in asked if arm in group] for group in members]
        if count >= len(arms) or all(map(fits, found)):
            return found
        count += 1


def threads(config: Config) -> int:
    """How many threads a configuration starts, in both pools of all instances."""
    return instances_of(config) * sum(int(config.get(name, 0)) for name in THREADS)


def run_on_a_node(
    trainable: type[Trainable[RoundMeasurer]],
    finalists: Sequence[Config],
    objective: Objective,
    *,
    searched: Sequence[Sequence[Result]] = (),
    node_ips: Sequence[str] = (),
    budget_s: float | None = None,
    watch: Callable[[Course], object] = lambda _: None,
) -> Course:
    """Run a head-to-head to its end, measured on a node that it has for itself.

    Args:
        trainable: What measures: what the search ran.
        finalists: The configurations, the search's best first.
        objective: What they are judged by.
        searched: What the search has measured of each.
        node_ips: On one of which nodes; none for any. Where that one is lost, it begins anew on
            another one.
        budget_s: About how many seconds it may take, what is lost with a node included.
        watch: Called after every round.

    Returns:
        How it went; after Ctrl-C, or where the node was lost, how far it came.
    """
    course = Course(finalists=list(finalists))
    begin = time.monotonic()
    with interruptible():
        for _ in range(ATTEMPTS):
            left = None if budget_s is None else budget_s - (time.monotonic() - begin)
            try:
                with on_a_node(trainable, node_ips=node_ips) as measurer:
                    contest = Contest(
                        measurer, finalists, objective, searched=searched, budget_s=left
                    )
                    done = False
                    while not done:
                        done = contest.step()
                        course = contest.course
                        watch(course)
            except LostError as error:
                course.error = str(error)
            except KeyboardInterrupt:
                break
            else:
                break
    return course
