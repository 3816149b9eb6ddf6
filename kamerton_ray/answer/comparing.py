"""verdict: the answer to a search, measured afresh.

The best of many noisy numbers flatters itself. So none of the search's own numbers is told: the
best of the search meet the default once more in a head-to-head of fresh processes (see
`head_to_head` for how it goes). They only help to choose who is measured there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import cast

from kamerton_ray.answer.candidates import (
    Candidate,
    Kind,
    check_reported,
    kinds_of,
    nothing_worked,
)
from kamerton_ray.answer.deciding import decide
from kamerton_ray.answer.finalists import MOST_FINALISTS, affordable, contestants, has_time, screen
from kamerton_ray.answer.rounds import Course, run_on_a_node
from kamerton_ray.answer.verdict import Decision, Verdict
from kamerton_ray.errors import InvalidInputError
from kamerton_ray.trial.config import in_words
from kamerton_ray.trial.measurer import RoundMeasurer
from kamerton_ray.trial.objective import Objective
from kamerton_ray.tune.pace import out_of_pace
from kamerton_ray.tune.placement import alive_nodes
from kamerton_ray.tune.results import trial_results
from kamerton_ray.tune.trainable import Trainable


def verdict(
    results: object,
    trainable: type[object],
    *,
    objective: Objective | None = None,
    budget_s: float | None = None,
    finalists: int = MOST_FINALISTS,
    shared: bool = False,
    watch: Callable[[Course], object] = lambda _: None,
) -> Verdict:
    """Compare the best of a search with each other and the default, afresh, and decide.

    Ray has to be running, or is started. The comparison is a trial that has a node for itself, on
    each kind of machine that took part in the search, one after the other.

    Args:
        results: An `ExperimentAnalysis`, a `ResultGrid`, the folder of one or of a session of
            `kamerton-ray`, or a list of results, each with its `config`.
        trainable: What the search ran, made by `benchmark` or `command`.
        objective: What the configurations are judged by; by default the step time's speed-up.
        budget_s: About how many seconds the comparison may take, in equal shares on each kind of
            machine; by default as many as it needs. Where they are over before it is decided, it
            says so.
        finalists: At most so many configurations are compared; fewer where `budget_s` asks for it.
        shared: Whether the answer is wanted for a machine that does other work, too. Otherwise one
            that was found beside other work says so, and is neither a win nor the default's.
        watch: Called after every round, with what is known by then.

    Returns:
        The verdict for the kind of machine that ran most trials; those for the other kinds are its
        `elsewhere`.

    Raises:
        InvalidInputError: The results are empty or do not have what they are judged by, or the
            trainable is not of this package.
    """
    if not hasattr(trainable, "measurer"):
        raise InvalidInputError(
            f"verdict needs a trainable made by benchmark() or command(), but got {trainable!r}"
        )
    if finalists < 1:
        raise InvalidInputError(f"finalists must be 1 or more, but got {finalists!r}")
    judge = objective or Objective()
    found = trial_results(results)
    check_reported(found, judge)
    kinds = kinds_of(found)
    compare = _Comparison(
        trainable=cast("type[Trainable[RoundMeasurer]]", trainable),
        objective=judge,
        budget_s=None if budget_s is None else budget_s / len(kinds),
        finalists=finalists,
        shared=shared,
        watch=watch,
    )
    alive = alive_nodes()
    verdicts = [compare.on(kind, alive, only=len(kinds) == 1) for kind in kinds]
    return replace(verdicts[0], elsewhere=tuple(verdicts[1:]))


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """How the comparison is run, as `verdict` is told."""

    trainable: type[Trainable[RoundMeasurer]]
    objective: Objective
    budget_s: float | None
    finalists: int
    shared: bool
    watch: Callable[[Course], object]

    def on(self, kind: Kind, alive: Collection[str], *, only: bool) -> Verdict:
        """The verdict for a kind of machine.

        Args:
            kind: The kind, and what was measured on it.
            alive: The addresses of the nodes that are there.
            only: Whether there is no other kind, so that any node will do.
        """
        most = min(self.finalists, affordable(kind.results, self.budget_s))
        found = contestants(kind, self.objective)
        chosen = screen(found, self.objective, most=most)
        nodes = [ip for ip in kind.nodes if ip in alive]
        if not chosen:
            return _nothing_worked(kind)
        if not only and not nodes:
            return _not_compared(kind, chosen[0], "no node of its kind is left")
        if not has_time(kind.results, self.budget_s):
            return _not_compared(kind, chosen[0], "there was no time")
        slow = out_of_pace(kind.results)
        course = run_on_a_node(
            self.trainable,
            [one.config for one in chosen],
            self.objective,
            searched=[one.results for one in chosen],
            node_ips=[ip for ip in nodes if ip not in slow] or nodes,
            budget_s=self.budget_s,
            watch=self.watch,
        )
        course = replace(course, left_out=len(found) - len(chosen))
        return decide(course, self.objective, searched=kind, shared=self.shared)


def _nothing_worked(kind: Kind) -> Verdict:
    sentence = nothing_worked(kind.results)
    return Verdict(decision=Decision.NONE, sentence=sentence, machine=kind.machine)


def _not_compared(kind: Kind, best: Candidate, why: str) -> Verdict:
    return Verdict(
        decision=Decision.UNSURE,
        config=best.config,
        sentence=f"{in_words(best.config)} was the best of the search beside the default, but "
        f"{why} to compare the two.",
        machine=kind.machine,
    )
