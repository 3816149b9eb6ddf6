"""A search from the command line: through Ray Tune, written down trial by trial, and resumable.

Every finished trial is a line of `results.jsonl` in the session's folder before the next one is
asked for, so whatever ends the search, what was measured is kept. A resumed search is a new run of
Tune whose searcher is told these lines first: it needs nothing of Ray's own state.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.simplex import StopRule

if TYPE_CHECKING:
    from kamerton_ray.searcher import NelderMeadSearcher

RESULTS, DESCRIPTION, ANSWER = "results.jsonl", "session.json", "answer.json"
"""A line per finished trial; what was searched for, and how; and what came of it."""

INTERRUPTED = "it was interrupted"
LEFT = "the loop's body left its loop"
TIME_SPENT = "its time was spent"


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
    """

    results: list[dict[str, Any]]
    best: dict[str, Any] | None
    reason: str


class Session:
    """A folder with what was searched for and every result.

    Args:
        folder: An existing one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, storage: Path, kind: str, description: Mapping[str, Any]) -> Session:
        """A new one below `storage`, named after its kind and the time."""
        name = f"{kind}-{dt.datetime.now().astimezone():%Y%m%d-%H%M%S}"
        storage.mkdir(parents=True, exist_ok=True)
        session = cls(Path(tempfile.mkdtemp(prefix=f"{name}-", dir=storage)))
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
        """Write down more of what it searches for."""
        known = self.description() if self.is_one(self.folder) else {}
        text = json.dumps({**known, **more}, indent=1)
        (self.folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")

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
        """Write a result down, so that not even a loss of power loses it."""
        with (self.folder / RESULTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(result, default=str) + "\n")
            file.flush()
            os.fsync(file.fileno())


def search(
    trainable: type[Any],
    goal: Goal,
    session: Session,
    *,
    limits: Limits,
    seed: int = 0,
    watch: Callable[[dict[str, Any]], object] = lambda _: None,
) -> Ending:
    """Search in trials of Ray Tune, until the searcher, a limit or Ctrl-C ends it.

    Args:
        trainable: What a trial runs.
        goal: What is searched for.
        session: Where the results go, and those of before come from.
        limits: When it ends.
        seed: Settles what the search leaves open.
        watch: Called with every result.

    Returns:
        How it ended.
    """
    from ray import tune  # noqa: PLC0415 - the command line must start without Ray

    from kamerton_ray.searcher import NelderMeadSearcher  # noqa: PLC0415

    space = {name: tune.randint(low, high + 1) for name, (low, high) in goal.space.items()}
    results = session.results()
    left = None if limits.trials is None else max(1, limits.trials - len(results))
    searcher = NelderMeadSearcher(
        space, goal.metric, goal.mode, [dict(one) for one in goal.starts], seed=seed, budget=left
    )
    for result in results:
        value = result.get(goal.metric)
        searcher.add_evaluated_point(
            {name: result["config"][name] for name in goal.space},
            value if isinstance(value, float | int) and math.isfinite(value) else None,
        )
    if limits.trials is not None and len(results) >= limits.trials:
        return _ending(results, searcher, StopRule.BUDGET.value)

    def keep(result: dict[str, Any]) -> None:
        session.add(result)
        results.append(result)
        watch(result)

    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as storage, contextlib.suppress(KeyboardInterrupt):
        tune.run(
            trainable,
            config=space,
            metric=goal.metric,
            mode=goal.mode,
            search_alg=searcher,
            num_samples=-1,
            time_budget_s=limits.time_budget_s,
            reuse_actors=True,
            raise_on_failed_trial=False,
            callbacks=[_recorder(keep)],
            stop=_stopper(results),
            storage_path=storage,
            verbose=0,
        )
    spent = time.monotonic() - begin
    if searcher.stopped_by is not None:
        reason = searcher.stopped_by.value
    elif any(result.get("left") for result in results):
        reason = LEFT
    elif limits.time_budget_s is not None and spent >= limits.time_budget_s:
        reason = TIME_SPENT
    else:
        reason = INTERRUPTED
    return _ending(results, searcher, reason)


def _ending(results: list[dict[str, Any]], searcher: NelderMeadSearcher, reason: str) -> Ending:
    best = None if searcher.best is None else dict(searcher.best.config)
    return Ending(results, best, reason)


def _recorder(keep: Callable[[dict[str, Any]], object]) -> Any:  # noqa: ANN401 - Ray is untyped
    """Keeps the result of every trial that has ended."""
    from ray import tune  # noqa: PLC0415 - the command line must start without Ray

    class Recorder(tune.Callback):  # type: ignore[misc]
        # Ray passes all by name.
        def on_trial_complete(self, *, trial: Any, **_: object) -> None:  # noqa: ANN401 - Ray's
            keep({**trial.last_result, "config": dict(trial.config)})

        def on_trial_error(self, *, trial: Any, **_: object) -> None:  # noqa: ANN401 - Ray's
            error = str(trial.get_error() or "its actor was lost").strip()
            keep({"outcome": "lost", "error": error, "config": dict(trial.config)})

    return Recorder()


def _stopper(results: list[dict[str, Any]]) -> Any:  # noqa: ANN401 - Ray is untyped
    """Ends the search when the body of Kamerton's loop has left it."""
    from ray import tune  # noqa: PLC0415 - the command line must start without Ray

    class WhenLeft(tune.Stopper):  # type: ignore[misc]
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002 - Ray's
            return False

        def stop_all(self) -> bool:
            return any(result.get("left") for result in results)

    return WhenLeft()
