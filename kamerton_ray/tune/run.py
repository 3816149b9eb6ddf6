"""A search from the command line: through Ray Tune, written down trial by trial, and resumable.

Every finished trial is a line of `results.jsonl` in the session's folder before the next one is
asked for, so whatever ends the search, what was measured is kept. A resumed search is a new run of
Tune whose searcher is told these lines first: it needs nothing of Ray's own state.
"""

from __future__ import annotations

import contextlib
import logging
import math
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.numeric import number, standard_error
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.search.nelder_mead import StopRule
from kamerton_ray.trial.config import key_of
from kamerton_ray.tune.folders import (
    RESULTS,
)
from kamerton_ray.tune.pace import in_pace
from kamerton_ray.tune.placement import how_lost
from kamerton_ray.tune.session import Session

if TYPE_CHECKING:
    from kamerton_ray.tune.searcher import NelderMeadSearcher

logger = logging.getLogger(__name__)


INTERRUPTED = "it was interrupted"
LEFT = "the loop's body left its loop"
TIME_SPENT = "its time was spent"
FIRST_FAILED = "the configuration with which it begins does not work"

LOST = ("lost", Outcome.SERVER_LOST.name.lower())
"""The outcomes of trials that did not fail by themselves."""

SAME = 3
"""After so many configurations with one and the same number it says nothing of them."""

RETRIES = 2
"""How often a configuration is tried again whose trial was lost, with its node or its process. One
that loses this many trials and another is taken to be the reason."""

NODES_S = 2.0
"""The cluster's nodes are looked at so often, in seconds."""

SLOW, SLOW_TRIALS = 3.0, 2
"""A node is named where its trials take so many times as long as those elsewhere, by the medians of
at least so many."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What is searched for.

    Attributes:
        space: The domains, as `(low, high)` by name, both included.
        starts: The configurations to begin with, the first of them TensorFlow's default.
        metric: The result's key that counts.
        mode: `"min"` or `"max"`.
    """

    space: Mapping[str, tuple[int, int]]
    starts: Sequence[Mapping[str, int]]
    metric: str
    mode: str


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a search ends, at the latest.

    Attributes:
        trials: After so many trials, those of the resumed session included.
        time_budget_s: After so many seconds.
    """

    trials: int | None = None
    time_budget_s: float | None = None


@dataclass(frozen=True)
class Ending:
    """How a search ended.

    Attributes:
        results: What each finished trial reported, with its `config`, in order.
        best: The configuration that the searcher recommends; None where nothing worked.
        reason: Why it ended, in words; `INTERRUPTED` after Ctrl-C.
        broken: Whether that is a fault, as a full disk, rather than an end.
    """

    results: list[dict[str, Any]]
    best: dict[str, Any] | None
    reason: str
    broken: bool = False


def search(
    trainable: type[Any],
    goal: Goal,
    session: Session,
    *,
    limits: Limits,
    seed: int = 0,
    kind: Mapping[str, Any] | None = None,
    watch: Callable[[dict[str, Any]], object] = lambda _: None,
    doubt: Callable[[dict[str, Any]], str] = lambda _: "",
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
    from ray import tune  # noqa: PLC0415 - the command line must start without Ray

    from kamerton_ray.tune.concurrency import every_node  # noqa: PLC0415
    from kamerton_ray.tune.searcher import NelderMeadSearcher  # noqa: PLC0415

    space = {name: tune.randint(low, high + 1) for name, (low, high) in goal.space.items()}
    results = session.results()
    # Where nothing has worked, what was wrong may have been mended: it begins anew.
    known = results if any(_worked(result, goal) for result in results) else []
    left = None if limits.trials is None else max(0, limits.trials - len(known))
    searcher = NelderMeadSearcher(
        space,
        goal.metric,
        goal.mode,
        [dict(one) for one in goal.starts],
        seed=seed,
        budget=left or None,
        retries=RETRIES,
    )
    _tell(searcher, goal, known)
    if any(result.get("left") for result in results):
        return _ending(results, searcher, LEFT)
    if left == 0:
        return _ending(results, searcher, StopRule.BUDGET.value)

    log = _Log(session, results, watch, lambda result: _stop(result, results, goal, doubt))
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as storage, contextlib.suppress(KeyboardInterrupt):
        try:
            tune.run(
                trainable if not kind else _on(trainable, kind),
                config=space,
                metric=goal.metric,
                mode=goal.mode,
                **every_node(searcher, kind),
                num_samples=-1,
                time_budget_s=limits.time_budget_s,
                raise_on_failed_trial=False,
                callbacks=[_recorder(log, searcher)],
                stop=_stopper(log.stops),
                storage_path=storage,
                verbose=0,
            )
        except OSError as error:
            log.stops.append(Stop(StopKind.FAULT, f"Ray cannot write its own files: {error}"))
        except InvalidInputError as error:
            if not results:
                raise
            # No node is left that could run a trial.
            log.stops.append(Stop(StopKind.FAULT, str(error)))
    spent = time.monotonic() - begin
    if log.stops:
        stop = log.stops[0]
        if stop.kind is StopKind.MISTAKE:
            raise InvalidInputError(stop.reason)
        return _ending(results, searcher, stop.reason, broken=stop.kind is StopKind.FAULT)
    if searcher.stopped_by is not None:
        reason = searcher.stopped_by.value
    elif limits.time_budget_s is not None and spent >= limits.time_budget_s:
        reason = TIME_SPENT
    else:
        reason = INTERRUPTED
    return _ending(results, searcher, reason)


def _tell(searcher: NelderMeadSearcher, goal: Goal, results: list[dict[str, Any]]) -> None:
    """Tell a searcher what was measured before."""
    for result in in_pace(results):
        config = result["config"]
        if not goal.space.keys() <= config.keys():
            raise InvalidInputError(
                f"{RESULTS}: each config must say {' and '.join(goal.space)}, but one is {config!r}"
            )
        searcher.add_evaluated_point(
            {name: config[name] for name in goal.space},
            number(result.get(goal.metric)) if _worked(result, goal) else None,
            sem=standard_error(result, goal.metric),
        )


def _on(trainable: type[Any], kind: Mapping[str, Any]) -> type[Any]:
    """The trainable, run on nodes of a kind."""
    from ray import tune  # noqa: PLC0415 - the command line must start without Ray

    from kamerton_ray.tune.placement import one_per_node  # noqa: PLC0415 - it is needed with Ray alone

    # A function, so that nodes that join count.
    placed: type[Any] = tune.with_resources(trainable, lambda _: one_per_node(kind))
    return placed


def _ending(
    results: list[dict[str, Any]],
    searcher: NelderMeadSearcher,
    reason: str,
    *,
    broken: bool = False,
) -> Ending:
    best = None if searcher.best is None else dict(searcher.best.config)
    return Ending(results, best, reason, broken)


class StopKind(Enum):
    """What makes a search stop before its end."""

    END = "end"
    """There is no more to be found."""
    FAULT = "fault"
    """It cannot go on."""
    MISTAKE = "mistake"
    """What it was asked to search by is nothing to search by."""


@dataclass(frozen=True)
class Stop:
    """Why a search stops before its end."""

    kind: StopKind
    reason: str


def _stop(
    result: dict[str, Any],
    results: Sequence[dict[str, Any]],
    goal: Goal,
    doubt: Callable[[dict[str, Any]], str],
) -> Stop | None:
    """Why the newest result ends the search, if it does."""
    if result.get("left"):
        return Stop(StopKind.END, LEFT)
    if not any(_worked(one, goal) for one in results):
        first, lost = result["config"] in goal.starts[:1], result.get("outcome") in LOST
        return Stop(StopKind.END, FIRST_FAILED) if first and not lost else None
    if not _worked(result, goal):
        return None
    mistake = doubt(result) or _same_everywhere(results, goal)
    return Stop(StopKind.MISTAKE, mistake) if mistake else None


def _worked(result: Mapping[str, Any], goal: Goal) -> bool:
    return not math.isnan(number(result.get(goal.metric)))


def _same_everywhere(results: Sequence[dict[str, Any]], goal: Goal) -> str:
    """That every trial gave the same number, if some of different configurations did."""
    working = [result for result in results if _worked(result, goal)]
    values = {result[goal.metric] for result in working}
    if len(values) > 1 or len({key_of(result["config"]) for result in working}) < SAME:
        return ""
    last = working[-1]
    rule = "the number to search by must depend on the configuration, but with every one it is"
    if not last.get("line"):
        return f"{rule} {values.pop():g}; of a loop it is the last line that the body prints"
    others = "".join(f"\n  {line}" for line in last["other_lines"])
    return (
        f"{rule} {last['read']}, read from '{last['line']}'. --objective takes a regular "
        "expression whose group is another number. "
        + (f"The other lines with numbers:{others}" if others else "No other line has a number.")
    )


@dataclass
class _Log:
    """Keeps every result.

    Attributes:
        stop: Says why a result ends the search, if it does.
        stops: Why it is to end.
    """

    session: Session
    results: list[dict[str, Any]]
    watch: Callable[[dict[str, Any]], object]
    stop: Callable[[dict[str, Any]], Stop | None] = lambda _: None
    stops: list[Stop] = field(default_factory=list)
    _seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _slow: set[str] = field(default_factory=set)

    def keep(self, result: dict[str, Any]) -> None:
        """Write a result down, and show it."""
        self.results.append(result)
        try:
            self.session.add(result)
        except OSError as error:
            self.stops.append(Stop(StopKind.FAULT, f"its results cannot be written down: {error}"))
        self.watch(result)
        if stop := self.stop(result):
            self.stops.append(stop)

    def note_pace(self, node: str, seconds: float) -> None:
        """Name a node once whose trials take much longer than those of the others."""
        self._seconds[node].append(seconds)
        own = self._seconds[node]
        others = [one for other, all_ in self._seconds.items() if other != node for one in all_]
        if node in self._slow or min(len(own), len(others)) < SLOW_TRIALS:
            return
        times = statistics.median(own) / max(statistics.median(others), 1e-9)
        if times > SLOW:
            self._slow.add(node)
            logger.warning("A trial on %s takes %.1f times as long as elsewhere.", node, times)


def _recorder(log: _Log, searcher: NelderMeadSearcher) -> Any:  # noqa: ANN401 - Ray is untyped
    """Hears from Ray how every trial has ended."""
    from ray import tune  # noqa: PLC0415 - the command line must start without Ray

    nodes = _Nodes()

    class Recorder(tune.Callback):  # type: ignore[misc]
        # Ray passes all by name.
        def on_step_begin(self, **_: object) -> None:
            nodes.look()

        def on_trial_complete(self, *, trial: Any, **_: object) -> None:  # noqa: ANN401 - Ray's
            result, config = trial.last_result, dict(trial.config)
            log.keep({**result, "config": config})
            log.note_pace(result["node_ip"], result["time_total_s"])
            if result.get("restarted"):
                logger.warning("The trial of %s was begun anew: %s", config, result["restarted"])

        # The searcher hears of it first.
        def on_trial_error(self, *, trial: Any, **_: object) -> None:  # noqa: ANN401 - Ray's
            error, config = why_lost(Path(trial.error_file or "")), dict(trial.config)
            if searcher.has_failed(trial.trial_id):
                log.keep({"outcome": "lost", "error": error, "config": config})
            else:
                logger.warning("The trial of %s is run again: %s.", config, error)

    return Recorder()


class _Nodes:
    """Tells of the nodes that were lost and have joined."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._next = 0.0

    def look(self) -> None:
        """Look at the cluster, where the last look was a while ago."""
        import ray  # noqa: PLC0415 - the command line must start without Ray

        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + NODES_S
        alive = {
            node["NodeID"]: node["NodeManagerAddress"]
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU")
        }
        for node in self._known.keys() - alive.keys():
            left = "nothing can run until one joins" if not alive else f"{len(alive)} left"
            logger.warning("The node %s was lost: %s.", self._known[node], left)
        if self._known:
            for node in alive.keys() - self._known.keys():
                logger.warning("The node %s has joined.", alive[node])
        self._known = alive


def why_lost(error_file: Path) -> str:
    """Why a trial did not end by itself, from what Ray says in the trial's file."""
    return how_lost(error_file.read_text(encoding="utf-8") if error_file.is_file() else "")


def _stopper(stops: list[Stop]) -> Any:  # noqa: ANN401 - Ray's
    """Ends the search when there is a reason to. Ray pickles it."""
    from ray import tune  # noqa: PLC0415 - the command line must start without Ray

    class Stopper(tune.Stopper):  # type: ignore[misc]
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002 - Ray's
            return False

        def stop_all(self) -> bool:
            return bool(stops)

    return Stopper()
