"""NelderMead: the simplex search on an integer lattice, as ask and tell.

It has no clock, no I/O and no logging, and knows neither Ray nor TensorFlow.

The search is a function of the values told so far. Each step below looks up the values it needs:
where one is missing the step breaks off and names the point, having changed nothing; where all are
known it is taken. So nothing is measured twice, tells may come in any order with any number of
points open, and the state is short enough to be written as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from kamerton_ray.errors import InvalidInputError, StateError
from kamerton_ray.lattice import Lattice
from kamerton_ray.quadratic import lowest_nearby
from kamerton_ray.space import IntegerSpace, Point

# The coefficients of Nelder & Mead (1965, p. 309), "A simplex method for function minimization".
REFLECT = 1.0
EXPAND = 2.0
CONTRACT = 0.5
SHRINK = 0.5

INITIAL_STEP = 0.5
"""The length of a new simplex's edges, as a share of each axis."""

STATE_FORMAT = "kamerton_ray.NelderMead/1"


class Signal(Enum):
    """What `NelderMead.ask` answers when it has no point to give."""

    WAIT = "wait"
    """An open point has to be told first."""
    DONE = "done"
    """The search is over; `NelderMead.stopped_by` says why."""


class StopRule(Enum):
    """Why a search ended; each value is the reason in words."""

    BUDGET = "as many points were asked as the budget allows"
    EXHAUSTED = "every point of the lattice was measured"
    FAILED = "no point could be measured"
    CONVERGED = "the best point has no better neighbour, and nothing better was found elsewhere"


class Phase(Enum):
    """What the search is doing."""

    START = "start"
    SIMPLEX = "simplex"
    POLISH = "polish"


@dataclass(frozen=True)
class Suggestion:
    """A point to measure.

    Attributes:
        id: What `NelderMead.tell` wants back with the value.
        point: The lattice point.
        config: The configuration at that point.
    """

    id: int
    point: Point
    config: dict[str, Any]


@dataclass(frozen=True)
class Best:
    """The best measured point.

    Attributes:
        point: The lattice point.
        config: The configuration at that point.
        value: The value told for it.
    """

    point: Point
    config: dict[str, Any]
    value: float


class _LackingError(Exception):
    """A step needs the values of these points first; no error, and never seen from outside."""

    def __init__(self, points: list[Point]) -> None:
        super().__init__(points)
        self.points = points


class NelderMead:
    """Nelder-Mead on an integer lattice, driven by `ask` and `tell`.

    An iteration follows Lagarias, Reeds, Wright & Wright (1998, SIAM J. Optim. 9:112, section 2)
    with their tie-breaking. What the lattice changes:

    * A move is rounded to the nearest lattice point within the bounds. A move that lands on a
      vertex or would make the simplex flat is void, and counts as worst.
    * A point measured before is looked up, never measured again.
    * A simplex that can shrink no further has collapsed. Then the best point is polished: the
      minimum of a quadratic fitted around it (Nelder & Mead 1965, appendix) and its neighbours on
      each axis (the compass search of Kolda, Lewis & Torczon 2003, SIAM Review 45:385) are
      measured until none is better.
    * After that a new simplex starts where least was measured (Luersen & Le Riche 2004,
      "Globalized Nelder-Mead method", Computers & Structures 82:2251), until a stop rule holds.

    Args:
        space: The lattice, or the dict of domains to make it of.
        start: Configurations to measure first, in order; the first simplex starts at the best of
            them. Without any it starts in the middle.
        mode: `"min"` or `"max"`.
        seed: Settles what the search leaves open: where restarts go on a large lattice.
        budget: Stop after asking for this many points. Without it the search ends by itself.
        patience: How many points in a row may pass without an improvement before the search ends;
            3 (d + 1) for d axes by default.

    Raises:
        InvalidInputError: An argument breaks its rule.

    Example:
        >>> search = NelderMead({"x": range(1, 65), "y": range(1, 65)}, start=[{"x": 22, "y": 2}])
        >>> while isinstance(trial := search.ask(), Suggestion):
        ...     x, y = trial.config["x"], trial.config["y"]
        ...     search.tell(trial.id, (x - 5) ** 2 + (y - 7) ** 2)
        >>> search.best.config
        {'x': 5, 'y': 7}
    """

    def __init__(
        self,
        space: IntegerSpace | Mapping[str, Any],
        *,
        start: Iterable[Mapping[str, Any]] = (),
        mode: str = "min",
        seed: int = 0,
        budget: int | None = None,
        patience: int | None = None,
    ) -> None:
        self.space = space if isinstance(space, IntegerSpace) else IntegerSpace(space)
        if mode not in ("min", "max"):
            raise InvalidInputError(f"mode must be 'min' or 'max', but got {mode!r}")
        self.mode = mode
        self.seed = _count("seed", seed, least=0)
        self.budget = None if budget is None else _count("budget", budget, least=1)
        self._lattice = Lattice(self.space.axes)
        self.patience = (
            3 * (self._lattice.dimension + 1)
            if patience is None
            else _count("patience", patience, least=1)
        )
        self.stopped_by: StopRule | None = None
        self._values: dict[Point, float] = {}  # in the order told; minimised; inf where it failed
        self._open: dict[int, Point] = {}
        self._asked = 0
        self._phase = Phase.START
        self._start = _distinct(self.space.point(config) for config in start)
        self._simplex: list[Point] = []
        self._polished: Point | None = None
        self._restarts = 0
        # Derived from the above, kept for speed.
        self._best: Point | None = None
        self._stalled = 0
        self._wanted: list[Point] | None = None

    # --- asking and telling ---------------------------------------------------------------------

    @property
    def best(self) -> Best | None:
        """The best point so far, or None while nothing could be measured."""
        if self._best is None:
            return None
        value = self._values[self._best]
        return Best(
            self._best, self.space.config(self._best), value if self.mode == "min" else -value
        )

    @property
    def measured(self) -> int:
        """How many distinct points have a value or have failed."""
        return len(self._values)

    @property
    def open(self) -> dict[int, Point]:
        """The points asked for and not yet told, by the suggestion's id."""
        return dict(self._open)

    def ask(self) -> Suggestion | Signal:
        """The next point to measure, or why there is none.

        While a point is open the answer is never `Signal.DONE`, since it may still change the
        search.
        """
        if self._wanted is None:
            self._wanted = self._advance()
        opened = self._open.values()
        for point in self._wanted:
            if point not in opened and not self._spent():
                suggestion = Suggestion(self._asked, point, self.space.config(point))
                self._open[self._asked] = point
                self._asked += 1
                return suggestion
        return Signal.WAIT if self._open else Signal.DONE

    def tell(self, suggestion_id: int, value: float | None) -> None:
        """Give the value measured for an open point.

        Args:
            suggestion_id: The id of the suggestion.
            value: What was measured. None, NaN and the infinities mean that the point failed,
                which is worse than every number in either mode.

        Raises:
            InvalidInputError: No point with that id is open, or the value is no number.
        """
        number = self._minimised(value)
        self._learn(self._close(suggestion_id), number)

    def release(self, suggestion_id: int) -> None:
        """Give an open point back unmeasured; where it is still needed it is asked again.

        Raises:
            InvalidInputError: No point with that id is open.
        """
        self._close(suggestion_id)

    def add(self, config: Mapping[str, Any], value: float | None) -> None:
        """Take in a value measured elsewhere, so that its point is not measured here.

        A number replaces an earlier failure at the same point, and nothing replaces a number.

        Raises:
            InvalidInputError: The configuration is not on the lattice, or the value is no number.
        """
        self._learn(self.space.point(config), self._minimised(value))

    def _close(self, suggestion_id: int) -> Point:
        if suggestion_id not in self._open:
            raise InvalidInputError(
                f"only an open point can be told or released, which are {sorted(self._open)}, but "
                f"got {suggestion_id!r}"
            )
        self._wanted = None
        return self._open.pop(suggestion_id)

    def _minimised(self, value: float | None) -> float:
        try:
            number = math.nan if value is None else float(value)
        except (TypeError, ValueError, OverflowError):
            raise InvalidInputError(
                f"a value must be a number, or None for a failure, but got {value!r}"
            ) from None
        if not math.isfinite(number):
            return math.inf
        return -number if self.mode == "max" else number

    def _learn(self, point: Point, number: float) -> None:
        if math.isfinite(number) and self._values.get(point) == math.inf:
            del self._values[point]
            self._recount()
        if point not in self._values:
            self._values[point] = number
            self._note_best(point)
            self._wanted = None
            self.stopped_by = None

    def _note_best(self, point: Point) -> None:
        self._stalled += 1
        if self._values[point] < (math.inf if self._best is None else self._values[self._best]):
            self._best, self._stalled = point, 0

    def _recount(self) -> None:
        self._best, self._stalled = None, 0
        for point in self._values:
            self._note_best(point)

    # --- the stop rules -------------------------------------------------------------------------

    def _stop_rule(self) -> StopRule | None:
        # Stop if the caller's budget is spent.
        if self._spent():
            return StopRule.BUDGET
        # Stop if nothing is left to measure.
        if self.measured >= self._lattice.size:
            return StopRule.EXHAUSTED
        # Stop if nothing works: failures lead a simplex nowhere.
        if self._best is None and self.measured >= 2 * self.patience:
            return StopRule.FAILED
        # Stop if the best point has no better neighbour, and patience with the rest is at an end.
        if self._best is not None and self._is_polished() and self._stalled >= self.patience:
            return StopRule.CONVERGED
        return None

    def _spent(self) -> bool:
        return self.budget is not None and self._asked >= self.budget

    def _is_polished(self) -> bool:
        return self._polished == self._best

    # --- the phases: each step raises _Lacking for the points it needs, or is taken whole ---------

    def _advance(self) -> list[Point]:
        """Go on as far as the known values allow, and name the points that the next step needs."""
        steps = {
            Phase.START: self._start_step,
            Phase.SIMPLEX: self._simplex_step,
            Phase.POLISH: self._polish_step,
        }
        taken = 0
        while (rule := self._stop_rule()) is None:
            try:
                steps[self._phase]()
            except _LackingError as lacking:
                return lacking.points
            taken += 1
            # A lattice simplex can walk in a circle over known points: that, too, is a collapse.
            if self._phase is Phase.SIMPLEX and taken > 8 * (self._lattice.dimension + 1):
                self._collapse()
        self.stopped_by = None if self._open else rule
        return []

    def _start_step(self) -> None:
        """Measure the start points; the first simplex stands on the best of all that is known."""
        if not self._start and self._best is None:
            self._start = [self._lattice.middle()]
        self._need(self._start)
        self._begin_at(self._best or self._start[0])

    def _simplex_step(self) -> None:
        """One iteration of Lagarias et al. (1998, section 2); the step numbers are theirs."""
        self._need(self._simplex)
        # Step 1, order; of equals the vertex that stood first stays first.
        ordered = sorted(self._simplex, key=self._at)
        best, next_worst, worst = (self._at(ordered[i]) for i in (0, -2, -1))
        # Step 2, reflect.
        reflected = self._moved(ordered, REFLECT)
        at_reflected = self._at(reflected)
        if best <= at_reflected < next_worst:
            self._simplex = [*ordered[:-1], reflected]
        elif at_reflected < best:
            # Step 3, expand.
            expanded = self._moved(ordered, EXPAND)
            further = self._at(expanded) < at_reflected
            self._simplex = [*ordered[:-1], expanded if further else reflected]
        else:
            # Step 4, contract: outside where the reflection is better than the worst, else inside.
            outside = at_reflected < worst
            contracted = self._moved(ordered, CONTRACT if outside else -CONTRACT)
            at_contracted = self._at(contracted)
            if at_contracted <= at_reflected if outside else at_contracted < worst:
                self._simplex = [*ordered[:-1], contracted]
            else:
                # Step 5, shrink.
                self._shrink(ordered)

    def _polish_step(self) -> None:
        """Measure what is likely to better the best point; where nothing is left, go elsewhere."""
        if self._best is not None:
            # The fit is asked while it helps: `patience` promises that fail are enough.
            fit = self._stalled < self.patience
            lengths = self._lattice.lengths
            promising = lowest_nearby(self._best, self._values, lengths) if fit else None
            around = self._lattice.neighbours(self._best)
            self._need(around if promising is None else [promising, *around])
        self._polished = self._best
        self._restart()

    def _collapse(self) -> None:
        """The simplex can go no further: polish the best point, unless that has been done."""
        if self._is_polished():
            self._restart()
        else:
            self._phase = Phase.POLISH

    def _restart(self) -> None:
        self._restarts += 1
        seed = (self.seed, self._restarts)
        self._begin_at(self._lattice.emptiest(self._values, seed=seed))

    def _begin_at(self, origin: Point) -> None:
        self._phase = Phase.SIMPLEX
        self._simplex = [origin, *self._lattice.steps_from(origin, INITIAL_STEP)]

    def _moved(self, ordered: list[Point], factor: float) -> Point:
        """The worst vertex moved through the centroid of the others by `factor`.

        The worst vertex itself where the move is void: it lands on a vertex, or leaves the
        simplex flat.
        """
        vertices = [self._lattice.coordinates(point) for point in ordered]
        centroid = np.mean(vertices[:-1], axis=0)
        point = self._lattice.snap(centroid + factor * (centroid - vertices[-1]))
        void = point in ordered or self._lattice.is_flat([*ordered[:-1], point])
        return ordered[-1] if void else point

    def _shrink(self, ordered: list[Point]) -> None:
        """Pull every vertex half-way to the best; where that cannot be done, collapse."""
        vertices = [self._lattice.coordinates(point) for point in ordered]
        pulled = [self._lattice.snap(vertices[0] + SHRINK * (v - vertices[0])) for v in vertices]
        if pulled == ordered or self._lattice.is_flat(pulled):
            self._collapse()
        else:
            self._simplex = pulled

    def _at(self, point: Point) -> float:
        """The value at a point; infinite where it failed."""
        self._need([point])
        return self._values[point]

    def _need(self, points: Iterable[Point]) -> None:
        lacking = _distinct(point for point in points if point not in self._values)
        if lacking:
            raise _LackingError(lacking)

    # --- the state ------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The whole search, open points included, as plain JSON values."""
        return {
            "format": STATE_FORMAT,
            "space": self.space.to_json(),
            "mode": self.mode,
            "seed": self.seed,
            "budget": self.budget,
            "patience": self.patience,
            "values": [
                [list(point), value if math.isfinite(value) else None]
                for point, value in self._values.items()
            ],
            "open": [[number, list(point)] for number, point in self._open.items()],
            "asked": self._asked,
            "phase": self._phase.value,
            "start": [list(point) for point in self._start],
            "simplex": [list(point) for point in self._simplex],
            "polished": None if self._polished is None else list(self._polished),
            "restarts": self._restarts,
            "stopped_by": None if self.stopped_by is None else self.stopped_by.name,
        }

    @classmethod
    def from_json(cls, state: Any) -> NelderMead:  # noqa: ANN401 - it is what is checked here
        """The search that `to_json` described; it goes on exactly as the saved one would.

        Raises:
            StateError: `state` is not what `to_json` gives.
        """
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        if found != STATE_FORMAT:
            raise StateError(f"a saved search has the format {STATE_FORMAT!r}, but got {found!r}")
        try:
            search = cls(
                IntegerSpace.from_json(state["space"]),
                mode=state["mode"],
                seed=state["seed"],
                budget=state["budget"],
                patience=state["patience"],
            )
            search._restore(state)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise StateError(f"a saved search is damaged: {error!r}") from error
        return search

    def _restore(self, state: Mapping[str, Any]) -> None:
        for point, value in state["values"]:
            number = math.inf if value is None else float(value)
            self._values[self._checked(point)] = number if math.isfinite(number) else math.inf
        self._recount()
        self._open = {
            _count("id", number, least=0): self._checked(point) for number, point in state["open"]
        }
        self._asked = _count("asked", state["asked"], least=max(self._open, default=-1) + 1)
        self._phase = Phase(state["phase"])
        if self._phase is not Phase.START and not self._values:
            raise StateError(f"the phase {self._phase.value!r} comes after the first value")
        self._start = [self._checked(point) for point in state["start"]]
        self._simplex = [self._checked(point) for point in state["simplex"]]
        if self._phase is Phase.SIMPLEX and len(self._simplex) != self._lattice.dimension + 1:
            raise StateError(
                f"a simplex has {self._lattice.dimension + 1} vertices: {self._simplex}"
            )
        self._polished = None if state["polished"] is None else self._checked(state["polished"])
        self._restarts = _count("restarts", state["restarts"], least=0)
        stopped_by = state["stopped_by"]
        self.stopped_by = None if stopped_by is None else StopRule[stopped_by]

    def _checked(self, indices: Iterable[int]) -> Point:
        point = tuple(_count("index", index, least=0) for index in indices)
        self.space.check(point)
        return point


def _distinct(points: Iterable[Point]) -> list[Point]:
    return list(dict.fromkeys(points))


def _count(name: str, value: object, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInputError(f"{name} must be an integer of at least {least}, but got {value!r}")
    return value
