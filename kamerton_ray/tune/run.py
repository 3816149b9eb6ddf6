"""A search from the command line: through Ray Tune, written down trial by trial, and resumable.

Every finished trial is a line of `results.jsonl` in the session's folder before the next one is
asked for. So whatever ends the search, what was measured is kept. A resumed search is a new run of
Tune whose searcher is told these lines first: it needs nothing of Ray's own state.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.search.nelder_mead import StopRule
from kamerton_ray.search.options import USUAL_REPEATS
from kamerton_ray.trial.result import Result
from kamerton_ray.tune import ray_api
from kamerton_ray.tune.ending import (
    BODY_LEFT,
    INTERRUPTED,
    TIME_SPENT,
    Ending,
    Stop,
    StopKind,
    why_stop,
)
from kamerton_ray.tune.folders import RESULTS
from kamerton_ray.tune.goal import Goal, Limits, is_bounds
from kamerton_ray.tune.pace import in_pace
from kamerton_ray.tune.placement import Kind, one_per_node
from kamerton_ray.tune.recorder import Log, recorder, stopper
from kamerton_ray.tune.schedule import Schedule
from kamerton_ray.tune.session import Session

if TYPE_CHECKING:
    from kamerton_ray.tune.searcher import NelderMeadSearcher

RETRIES_OF_LOST = 2
"""How often a configuration is tried again whose trial was lost, with its node or its process. A
configuration that loses one more is taken to be the reason."""


def search(
    trainable: type[object],
    goal: Goal,
    session: Session,
    *,
    limits: Limits,
    seed: int = 0,
    kind: Kind | None = None,
    watch: Callable[[Result], object] = lambda _: None,
    doubt: Callable[[Result], str] = lambda _: "",
) -> Ending:
    """Search in trials of Ray Tune, until the searcher, a limit or Ctrl-C ends it.

    It also ends where the first of the starts fails by itself and nothing has worked.

    Args:
        trainable: What a trial runs.
        goal: What is searched for.
        session: Where the results go, and those of before come from.
        limits: When it ends.
        seed: Settles what the search leaves open.
        kind: What the nodes have to be, as for `one_per_node`.
        watch: Called with every result.
        doubt: Says of a result that worked why it is none to search by, if it is not.

    Returns:
        How it ended.

    Raises:
        InvalidInputError: The results are none to search by: there is a doubt, or all are the same.
    """
    results = session.results()
    # Where nothing has worked, what was wrong may have been mended: it begins anew.
    known = results if any(map(goal.has_worked, results)) else []
    left = limits.trials_left(len(known))
    searcher = searcher_of(goal, seed=seed, budget=left, is_compared=limits.schedule.compares)
    tell(searcher, goal, known)
    if any(result.left for result in results):
        return _ending(results, searcher, BODY_LEFT)
    if left == 0:
        return _ending(results, searcher, StopRule.BUDGET.value)
    schedule = limits.schedule

    def show(result: Result) -> None:
        schedule.note(result.time_total_s)
        watch(result)

    def stop(result: Result) -> Stop | None:
        spent = Stop(StopKind.END, TIME_SPENT) if schedule.search_is_over else None
        return why_stop(result, results, goal, doubt) or spent

    log = Log(session, results, show, stop)
    _run(trainable, goal, searcher, log, kind=kind, schedule=schedule)
    if not log.stops:
        return _ending(results, searcher, _reason(searcher, schedule))
    first = log.stops[0]
    if first.kind is StopKind.MISTAKE:
        raise InvalidInputError(first.reason)
    return _ending(results, searcher, first.reason, broken=first.kind is StopKind.FAULT)


def searcher_of(
    goal: Goal, *, seed: int, budget: int | None, is_compared: bool
) -> NelderMeadSearcher:
    """The searcher of a goal.

    Args:
        goal: What is searched for.
        seed: Settles what the search leaves open.
        budget: How many trials it may ask for; None or 0 for as many as it needs.
        is_compared: Whether a comparison follows. It measures the best ones anew, so the search
            does not.
    """
    from kamerton_ray.tune.searcher import NelderMeadSearcher  # noqa: PLC0415 - it imports Ray

    return NelderMeadSearcher(
        _domains(goal),
        goal.metric,
        goal.mode,
        [dict(one) for one in goal.starts],
        seed=seed,
        budget=budget or None,
        repeats=0 if is_compared else USUAL_REPEATS,
        retries=RETRIES_OF_LOST,
        constraints=goal.constraints,
    )


def _domains(goal: Goal) -> dict[str, object]:
    """The search space, as Ray Tune knows it."""
    return {
        name: ray_api.randint(*domain)
        if is_bounds(domain)
        else ray_api.choice(list(map(str, domain)))
        for name, domain in goal.space.items()
    }


def tell(searcher: NelderMeadSearcher, goal: Goal, results: Sequence[Result]) -> None:
    """Tell a searcher what was measured before.

    Raises:
        InvalidInputError: A configuration does not say all that is searched for.
    """
    for result in in_pace(results):
        config = result.tuned
        if not goal.space.keys() <= config.keys():
            raise InvalidInputError(
                f"{RESULTS}: each config must say {' and '.join(goal.space)}, but one is {config!r}"
            )
        searcher.add_evaluated_point(
            {name: config[name] for name in goal.space},
            result.number(goal.metric) if goal.has_worked(result) else None,
            sem=result.standard_error(goal.metric),
        )


def _run(
    trainable: type[object],
    goal: Goal,
    searcher: NelderMeadSearcher,
    log: Log,
    *,
    kind: Kind | None,
    schedule: Schedule,
) -> None:
    """Run trials until something ends it; a fault is noted in the log."""
    from kamerton_ray.tune.concurrency import every_node  # noqa: PLC0415 - it imports Ray

    with tempfile.TemporaryDirectory() as storage, contextlib.suppress(KeyboardInterrupt):
        try:
            ray_api.ray("tune").run(
                trainable if not kind else _placed(trainable, kind),
                config=_domains(goal),
                metric=goal.metric,
                mode=goal.mode,
                **every_node(searcher, kind),
                num_samples=-1,
                raise_on_failed_trial=False,
                callbacks=[recorder(log, searcher)],
                stop=stopper(log.stops, schedule),
                storage_path=storage,
                verbose=0,
            )
        except OSError as error:
            fault = f"Ray cannot write its own files: {error}"
            log.stops.append(Stop(StopKind.FAULT, fault))
        except InvalidInputError as error:
            if not log.results:
                raise
            # No node is left that could run a trial.
            log.stops.append(Stop(StopKind.FAULT, str(error)))


def _placed(trainable: type[object], kind: Kind) -> object:
    """The trainable, run on nodes of a kind."""
    # A function, so that nodes that join count.
    placed: object = ray_api.ray("tune").with_resources(trainable, lambda _: one_per_node(kind))
    return placed


def _reason(searcher: NelderMeadSearcher, schedule: Schedule) -> str:
    """Why a search has ended that no result stopped."""
    if searcher.stopped_by is not None:
        return searcher.stopped_by.value
    return TIME_SPENT if schedule.is_over else INTERRUPTED


def _ending(
    results: list[Result],
    searcher: NelderMeadSearcher,
    reason: str,
    *,
    broken: bool = False,
) -> Ending:
    best = None if searcher.best is None else dict(searcher.best.config)
    return Ending(results, best, reason, broken)
