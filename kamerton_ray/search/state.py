"""A search as plain JSON values, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kamerton_ray.errors import StateError
from kamerton_ray.search import constraints
from kamerton_ray.search.constraints import Constraints
from kamerton_ray.search.feasible import Feasible
from kamerton_ray.search.ledger import Ledger
from kamerton_ray.search.measurements import Measurements, failed_unless_finite
from kamerton_ray.search.options import Options, count
from kamerton_ray.search.points import Point
from kamerton_ray.search.progress import Phase, Progress, StopRule
from kamerton_ray.search.space import IntegerSpace

FORMAT = "kamerton_ray.NelderMead/3"


@dataclass(frozen=True)
class State:
    """All that a search is."""

    space: IntegerSpace
    options: Options
    known: Measurements
    progress: Progress
    ledger: Ledger
    constraints: Constraints = ()


def to_json(state: State) -> dict[str, object]:
    """A search as plain JSON values."""
    options, known, progress = state.options, state.known, state.progress
    saved = {
        "format": FORMAT,
        "space": state.space.to_json(),
        "mode": options.mode,
        "seed": options.seed,
        "budget": options.budget,
        "patience": options.patience,
        "repeats": options.repeats,
        "fresh": [[list(p), _numbers(values)] for p, values in known.fresh.items()],
        "again": _lists(known.forgotten),
        "noises": [[list(p), sem] for p, sem in known.noises.items()],
        "finalists": _lists(progress.finalists),
        "values": [[list(p), *_numbers([value])] for p, value in known.values.items()],
        "open": [[number, list(p)] for number, p in state.ledger.opened.items()],
        "asked": state.ledger.asked,
        "phase": progress.phase.value,
        "start": _lists(progress.start),
        "simplex": _lists(progress.simplex),
        "polished": None if progress.polished is None else list(progress.polished),
        "restarts": progress.restarts,
        "stopped_by": None if progress.stopped_by is None else progress.stopped_by.name,
    }
    if state.constraints:
        saved["constraints"] = constraints.to_json(state.constraints)
    return saved


def _lists(points: Iterable[Point]) -> list[list[int]]:
    return [list(point) for point in points]


def _numbers(values: Iterable[float]) -> list[float | None]:
    """The values, with None for those of failed points: JSON has no infinity."""
    return [value if math.isfinite(value) else None for value in values]


def from_json(saved: object, given: Constraints = ()) -> State:
    """The search that `to_json` described.

    Args:
        saved: What `to_json` gave.
        given: Its constraints once more; may be left out where none is a function.

    Raises:
        StateError: `saved` is not what `to_json` gives, or the constraints given are others.
        InvalidInputError: A constraint breaks its rule.
    """
    found = saved.get("format") if isinstance(saved, dict) else type(saved).__name__
    if not isinstance(saved, dict) or found != FORMAT:
        raise StateError(f"a saved search has the format {FORMAT!r}, but got {found!r}")
    kept = constraints.restored(saved.get("constraints", []), given)
    try:
        state = replace(_Reader(saved).state(), constraints=kept)
        feasible = Feasible(state.space, kept) if kept else None
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise StateError(f"a saved search is damaged: {error!r}") from error
    if feasible is not None:
        _check_kept(state, feasible)
    return state


def _check_kept(state: State, feasible: Feasible) -> None:
    """Refuse a search with a point that it cannot have asked for."""
    known = state.known
    for point in (*known.values, *known.forgotten, *state.ledger.points, *state.progress.start):
        if point not in feasible:
            raise StateError(
                "this search was saved with other constraints: it has measured or will measure "
                f"{state.space.config(point)!r}, which breaks those that it has now"
            )


class _Reader:
    """Reads a saved search part by part, and checks each."""

    def __init__(self, saved: Mapping[str, Any]) -> None:
        self._saved = saved
        self._space = IntegerSpace.from_json(saved["space"])
        self._dimension = sum(len(axis) > 1 for axis in self._space.axes)
        self._ordered = sum(len(axis) > 1 and not axis.words for axis in self._space.axes)

    def state(self) -> State:
        options, known = self._options(), self._known()
        ledger = self._ledger()
        return State(self._space, options, known, self._progress(known), ledger)

    def _options(self) -> Options:
        names = ("mode", "seed", "budget", "patience", "repeats")
        return Options.checked(self._dimension, **{name: self._saved[name] for name in names})

    def _known(self) -> Measurements:
        known = Measurements(
            values={self._point(p): _value(value) for p, value in self._saved["values"]},
            fresh={
                self._point(p): [_value(value) for value in values]
                for p, values in self._saved["fresh"]
            },
            forgotten=self._points("again"),
            noises={self._point(p): float(sem) for p, sem in self._saved["noises"]},
        )
        if not {*known.fresh, *self._points("finalists")} <= set(known.values):
            raise StateError("only a measured point can be measured again")
        return known

    def _ledger(self) -> Ledger:
        opened = {count("id", number, least=0): self._point(p) for number, p in self._saved["open"]}
        next_id = max(opened, default=-1) + 1
        return Ledger(count("asked", self._saved["asked"], least=next_id), opened)

    def _progress(self, known: Measurements) -> Progress:
        saved = self._saved
        phase = Phase(saved["phase"])
        if phase is not Phase.START and not known.values:
            raise StateError(f"the phase {phase.value!r} comes after the first value")
        simplex, vertices = self._points("simplex"), self._ordered + 1
        if phase is Phase.SIMPLEX and len(simplex) != vertices:
            raise StateError(f"a simplex has {vertices} vertices: {simplex}")
        return Progress(
            phase=phase,
            start=tuple(self._points("start")),
            simplex=tuple(simplex),
            polished=None if saved["polished"] is None else self._point(saved["polished"]),
            restarts=count("restarts", saved["restarts"], least=0),
            finalists=tuple(self._points("finalists")),
            stopped_by=None if saved["stopped_by"] is None else StopRule[saved["stopped_by"]],
        )

    def _points(self, key: str) -> list[Point]:
        return [self._point(indices) for indices in self._saved[key]]

    def _point(self, indices: Iterable[object]) -> Point:
        point = tuple(count("index", index, least=0) for index in indices)
        self._space.check(point)
        return point


def _value(saved: float | None) -> float:
    return math.inf if saved is None else failed_unless_finite(float(saved))
