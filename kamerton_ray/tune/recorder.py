"""Keeps every result of a search from the command line, and tells what happens to its nodes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.result import Result
from kamerton_ray.tune import ray_api
from kamerton_ray.tune.ending import Stop, StopKind
from kamerton_ray.tune.pace import BY_TRIAL, MUCH_SLOWER, SlowNodes
from kamerton_ray.tune.placement import how_lost
from kamerton_ray.tune.ray_api import Trial
from kamerton_ray.tune.schedule import Schedule
from kamerton_ray.tune.session import Session

if TYPE_CHECKING:
    from kamerton_ray.tune.searcher import NelderMeadSearcher

logger = logging.getLogger(__name__)

REPORTED_OF_LOST = ("outcome", "error")
"""What is known of a trial that was lost."""

LOOK_AT_NODES_S = 2.0
"""The cluster's nodes are looked at so often, in seconds."""


@dataclass
class Log:
    """Keeps every result.

    Attributes:
        session: Where they are written down.
        results: All of them, those of before included.
        watch: Is shown every result.
        why_stop: Says why a result ends the search, if it does.
        stops: Why it is to end.
    """

    session: Session
    results: list[Result]
    watch: Callable[[Result], object]
    why_stop: Callable[[Result], Stop | None] = lambda _: None
    stops: list[Stop] = field(default_factory=list)
    _slow: SlowNodes = field(default_factory=lambda: SlowNodes(least=MUCH_SLOWER, by=BY_TRIAL))

    def keep(self, result: Result) -> None:
        """Write a result down, and show it."""
        self.results.append(result)
        try:
            self.session.add(result)
        except OSError as error:
            self.stops.append(Stop(StopKind.FAULT, f"its results cannot be written down: {error}"))
        self.watch(result)
        if stop := self.why_stop(result):
            self.stops.append(stop)

    def note_pace(self, result: Result) -> None:
        """Name a node once whose trials take much longer than those of the others."""
        for ip, times in self._slow.learn(result).items():
            logger.warning("A trial on %s takes %.1f times as long as elsewhere.", ip, times)


def recorder(log: Log, searcher: NelderMeadSearcher) -> object:
    """The callback of Ray Tune that hears how every trial has ended."""
    from ray import tune  # noqa: PLC0415 - the command line must start without Ray

    nodes = _Nodes()

    class Recorder(tune.Callback):  # type: ignore[misc]  # Ray is untyped
        # Ray passes all by name.
        def on_step_begin(self, **_: object) -> None:
            nodes.look()

        def on_trial_complete(self, *, trial: Trial, **_: object) -> None:
            result = Result.of({**trial.last_result, "config": trial.config})
            log.keep(result)
            log.note_pace(result)
            if result.restarted:
                logger.warning(
                    "The trial of %s was begun anew: %s", result.config, result.restarted
                )

        # The searcher hears of it first.
        def on_trial_error(self, *, trial: Trial, **_: object) -> None:
            error, config = why_lost(Path(trial.error_file or "")), dict(trial.config)
            if searcher.has_failed(trial.trial_id):
                names = REPORTED_OF_LOST
                log.keep(Result(outcome=Outcome.LOST, error=error, config=config, names=names))
            else:
                logger.warning("The trial of %s is run again: %s.", config, error)

    return Recorder()


def stopper(stops: list[Stop], schedule: Schedule) -> object:
    """The stopper of Ray Tune that ends the search when there is a reason to. Ray pickles it.

    Ray asks it again and again, also while a trial runs (`TuneController.step`).
    """
    from ray import tune  # noqa: PLC0415 - the command line must start without Ray

    class Stopper(tune.Stopper):  # type: ignore[misc]  # Ray is untyped
        def __call__(self, *_: object, **__: object) -> bool:
            """No single trial is stopped."""
            return False

        def stop_all(self) -> bool:
            return bool(stops) or schedule.is_over

    return Stopper()


class _Nodes:
    """Tells of the nodes that were lost and have joined."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._next = 0.0

    def look(self) -> None:
        """Look at the cluster, where the last look was a while ago."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK_AT_NODES_S
        alive = {node.id: node.ip for node in ray_api.live_nodes() if node.slots}
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
