"""A search from the command line: through Ray Tune, written down trial by trial, and resumable.

Every finished trial is a line of `results.jsonl` in the session's folder before the next one is
asked for, so whatever ends the search, what was measured is kept. A resumed search is a new run of
Tune whose searcher is told these lines first: it needs nothing of Ray's own state.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import os
import re
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.numeric import number
from kamerton_ray.pace import in_pace
from kamerton_ray.simplex import StopRule

if TYPE_CHECKING:
    from kamerton_ray.searcher import NelderMeadSearcher

logger = logging.getLogger(__name__)

RESULTS, DESCRIPTION, ANSWER = "results.jsonl", "session.json", "answer.json"
"""A line per finished trial; what was searched for, and how; and what came of it."""

INTERRUPTED = "it was interrupted"
LEFT = "the loop's body left its loop"
TIME_SPENT = "its time was spent"

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


class Session:
    """A folder with what was searched for and every result.

    Args:
        folder: An existing one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, storage: Path, kind: str, description: Mapping[str, Any]) -> Session:
        """A new one below `storage`, named after its kind and the time.

        Raises:
            InvalidInputError: Nothing can be written there.
        """
        name = f"{kind}-{dt.datetime.now().astimezone():%Y%m%d-%H%M%S}"
        try:
            storage.mkdir(parents=True, exist_ok=True)
            session = cls(Path(tempfile.mkdtemp(prefix=f"{name}-", dir=storage)))
        except OSError as error:
            raise _unwritable(error) from error
        session.describe({"kind": kind, **description})
        return session

    @classmethod
    def open(cls, folder: Path) -> Session:
        """An earlier one.

        Raises:
            InvalidInputError: The folder holds none.
        """
        if not cls.is_one(folder):
            raise InvalidInputError(
                f"a session's folder holds {DESCRIPTION}, but {folder} does not"
            )
        return cls(folder)

    @staticmethod
    def is_one(folder: Path) -> bool:
        """Whether the folder holds a session."""
        return (folder / DESCRIPTION).is_file()

    def description(self) -> dict[str, Any]:
        """What it searches for, and how."""
        found: dict[str, Any] = json.loads((self.folder / DESCRIPTION).read_text(encoding="utf-8"))
        return found

    def describe(self, more: Mapping[str, Any]) -> None:
        """Write down more of what it searches for.

        Raises:
            InvalidInputError: Nothing can be written there.
        """
        known = self.description() if self.is_one(self.folder) else {}
        text = json.dumps({**known, **more}, indent=1)
        try:
            (self.folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise _unwritable(error) from error

    def results(self) -> list[dict[str, Any]]:
        """What was measured so far; a last line that was cut off is left out."""
        path = self.folder / RESULTS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = []
        for line in lines:
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def conclude(self, answer: Mapping[str, Any]) -> None:
        """Write down what came of it."""
        (self.folder / ANSWER).write_text(json.dumps(answer, default=repr) + "\n", encoding="utf-8")

    def answer(self) -> dict[str, Any] | None:
        """What came of it; None before the end."""
        path = self.folder / ANSWER
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def add(self, result: Mapping[str, Any]) -> None:
        """Write a result down, so that not even a loss of power loses it.

        Raises:
            OSError: It could not be written.
        """
        line = json.dumps(result, default=str) + "\n"
        with (self.folder / RESULTS).open("ab+") as file:
            if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                line = "\n" + line  # after one that was cut off
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())


def _unwritable(error: OSError) -> InvalidInputError:
    return InvalidInputError(f"the results must be written down, but {error}")


def search(
    trainable: type[Any],
    goal: Goal,
    session: Session,
    *,
    limits: Limits,
    seed: int = 0,
    kind: Mapping[str, Any] | None = None,
    watch: Callable[[dict[str, Any]], object] = lambda _: None,
) -> Ending:
    """Search in trials of Ray Tune, until the searcher, a limit or Ctrl-C ends it.

    Args:
        trainable: What a trial runs.
        goal: What is searched for.
        session: Where the results go, and those of before come from.
        limits: When it ends.
        seed: Settles what the search leaves open.
        kind: What the nodes have to be, as for `one_per_node`.
        watch: Called with every result.

    Returns:
        How it ended.
    """
    from ray import tune  # noqa: PLC0415 - the command line must start without Ray

    from kamerton_ray.concurrency import every_node  # noqa: PLC0415
    from kamerton_ray.searcher import NelderMeadSearcher  # noqa: PLC0415

    space = {name: tune.randint(low, high + 1) for name, (low, high) in goal.space.items()}
    results = session.results()
    left = None if limits.trials is None else max(1, limits.trials - len(results))
    searcher = NelderMeadSearcher(
        space,
        goal.metric,
        goal.mode,
        [dict(one) for one in goal.starts],
        seed=seed,
        budget=left,
        retries=RETRIES,
    )
    for result in in_pace(results):
        searcher.add_evaluated_point(
            {name: result["config"][name] for name in goal.space}, number(result.get(goal.metric))
        )
    if limits.trials is not None and len(results) >= limits.trials:
        return _ending(results, searcher, StopRule.BUDGET.value)

    log = _Log(session, results, watch)
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
                stop=_stopper(results, log.faults),
                storage_path=storage,
                verbose=0,
            )
        except OSError as error:
            log.faults.append(f"Ray cannot write its own files: {error}")
        except InvalidInputError as error:
            if not results:
                raise
            log.faults.append(str(error))  # no node is left that could run a trial
    spent = time.monotonic() - begin
    if log.faults:
        return _ending(results, searcher, log.faults[0], broken=True)
    if searcher.stopped_by is not None:
        reason = searcher.stopped_by.value
    elif _left(results):
        reason = LEFT
    elif limits.time_budget_s is not None and spent >= limits.time_budget_s:
        reason = TIME_SPENT
    else:
        reason = INTERRUPTED
    return _ending(results, searcher, reason)


def _on(trainable: type[Any], kind: Mapping[str, Any]) -> type[Any]:
    """The trainable, run on nodes of a kind."""
    from ray import tune  # noqa: PLC0415 - the command line must start without Ray

    from kamerton_ray.placement import one_per_node  # noqa: PLC0415 - it is needed with Ray alone

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


@dataclass
class _Log:
    """Keeps every result.

    Attributes:
        faults: Why some could not be written down.
    """

    session: Session
    results: list[dict[str, Any]]
    watch: Callable[[dict[str, Any]], object]
    faults: list[str] = field(default_factory=list)
    _seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _slow: set[str] = field(default_factory=set)

    def keep(self, result: dict[str, Any]) -> None:
        """Write a result down, and show it."""
        self.results.append(result)
        try:
            self.session.add(result)
        except OSError as error:
            self.faults.append(f"its results cannot be written down: {error}")
        self.watch(result)

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
    text = error_file.read_text(encoding="utf-8").strip() if error_file.is_file() else ""
    place = re.search(r"\bip: (\S+)", text)
    if place is None:
        return text.rpartition("\n")[2] or "its actor was lost"
    if "its node has died" in text:
        return f"its node {place[1]} was lost"
    return f"its actor, a process on {place[1]}, was lost"


def _left(results: list[dict[str, Any]]) -> bool:
    """Whether the body of Kamerton's loop has left it."""
    return any(result.get("left") for result in results)


def _stopper(results: list[dict[str, Any]], faults: list[str]) -> Any:  # noqa: ANN401 - Ray's
    """Ends the search when the body of Kamerton's loop has left it, or nothing can be kept.

    Ray pickles it.
    """
    from ray import tune  # noqa: PLC0415 - the command line must start without Ray

    class Stopper(tune.Stopper):  # type: ignore[misc]
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002 - Ray's
            return False

        def stop_all(self) -> bool:
            return _left(results) or bool(faults)

    return Stopper()
