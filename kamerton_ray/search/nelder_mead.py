"""NelderMead: the simplex search on an integer lattice, as ask and tell.

It has no clock, no I/O and no logging, and knows neither Ray nor TensorFlow.

The search is a function of the values told so far. Each step below looks up the values it needs:
where one is missing the step breaks off and names the point, having changed nothing; where all are
known it is taken. So nothing is measured twice, tells may come in any order with any number of
points open, and the state is short enough to be written as JSON.
"""

from __future__ import annotations

import bisect
import copy
import itertools
import math
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from kamerton_ray.errors import InvalidInputError, StateError
from kamerton_ray.numeric import as_float, mean, number
from kamerton_ray.search.heights import Heights
from kamerton_ray.search.lattice import LONG, Lattice
from kamerton_ray.search.quadratic import lowest_nearby
from kamerton_ray.search.space import IntegerSpace, Point
from kamerton_ray.search.surrogate import Surrogate, expected_improvement

# The coefficients of Nelder & Mead (1965, p. 309), "A simplex method for function minimization".
REFLECT = 1.0
EXPAND = 2.0
CONTRACT = 0.5
SHRINK = 0.5

INITIAL_STEP = 0.5
"""The length of a new simplex's edges, as a share of each axis."""

TOLERANCE = 0.002
"""Improvements expected to be smaller, as a share of the value, are not sought."""

LOOKED_AT = 64
"""So many of the best points the surrogate is fitted to."""

MOST_FINALISTS = 3
"""At most so many points are measured again at the end."""

MOST_REPEATS = 1000
"""More often nothing is measured again; a larger number is a mistake."""

MOST_AHEAD = 15
"""So many points are worth measuring beside the one that is needed."""

STATE_FORMAT = "kamerton_ray.NelderMead/3"


Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


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
    LEAD = "lead"
    POLISH = "polish"
    SIMPLEX = "simplex"


@dataclass(frozen=True)
class Suggestion:
    """A point to measure.

    Attributes:
        id: What `NelderMead.tell` wants back with the value.
        point: The lattice point.
        config: The configuration at that point.
        repeat: Whether the point was measured before and is deliberately measured again.
    """

    id: int
    point: Point
    config: dict[str, Any]
    repeat: bool = False


@dataclass(frozen=True)
class Best:
    """The best measured point.

    Attributes:
        point: The lattice point.
        config: The configuration at that point.
        value: The value told for it; of a point measured again, the mean of the fresh values.
        measurements: How often it was measured.
    """

    point: Point
    config: dict[str, Any]
    value: float
    measurements: int = 1


class _LackingError(Exception):
    """A step needs the values of these points first; no error, and never seen from outside."""

    def __init__(self, points: list[Point]) -> None:
        super().__init__(points)
        self.points = points


class NelderMead:
    """Nelder-Mead on an integer lattice, driven by `ask` and `tell`.

    * The start points come first. From the best of them the first simplex reaches to the far end
      of the shortest axis: of two thread counts the smaller range is mostly inter-op's, whose best
      is often 1. If that end is better, half the value on the others is traded for twice the low
      end, since operations side by side share the machine; if not, half the value is tried.
    * Then the simplex stands on the best points measured. The best vertex's values halved and
      doubled come first, trades before single steps, a compass whose needle is a factor of two.
      All the moves of the others (Nelder & Mead 1965; each by itself, as Lee & Wiswall 2007 do in
      parallel), strides of 1, 2, 4, ... from the best and halvings of the start's values follow
      while anything is expected of them. A surrogate ranks them by expected improvement (Jones,
      Schonlau & Welch 1998).
    * Then the best point is polished: the minimum of a quadratic fitted around it (Nelder & Mead
      1965, appendix) and its neighbours on each axis (the compass search of Kolda, Lewis & Torczon
      2003, SIAM Review 45:385) are measured until none is better.
    * While patience lasts, a new simplex starts where least was measured (Luersen & Le Riche 2004,
      "Globalized Nelder-Mead method", Computers & Structures 82:2251) and moves as Lagarias,
      Reeds, Wright & Wright (1998, SIAM J. Optim. 9:112, section 2) say, with their tie-breaking;
      when it has collapsed at a new best point, that is polished, and the surrogate leads again.
      On an axis of many values a simplex on the best points closes in before the first polish.
    * At the end the points that cannot be told apart from the best are measured again, in turn,
      and the best by the fresh values is recommended: the lowest of many noisy values flatters.

    A move is rounded to the nearest lattice point within the bounds; one that lands on a vertex or
    would make the simplex flat is void. A point measured before is looked up. Open points count as
    measured at what the surrogate expects of them (the kriging believer of Ginsbourger, Le Riche &
    Carraro 2010), so that any number may be open at once.

    Args:
        space: The lattice, or the dict of domains to make it of.
        start: Configurations to measure first, in order; the first simplex starts at the best of
            them. Without any it starts in the middle.
        mode: `"min"` or `"max"`.
        seed: Settles what the search leaves open: where restarts go on a large lattice.
        budget: Stop after asking for this many points. Without it the search ends by itself.
        patience: How many points in a row may pass without an improvement before the search ends;
            3 (d + 1) for d axes by default.
        repeats: How often each of the last few is measured again at the end; 0 never does. A
            function without noise is found out and left alone.

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
        repeats: int = 2,
    ) -> None:
        self.space = space if isinstance(space, IntegerSpace) else IntegerSpace(space)
        if mode not in ("min", "max"):
            raise InvalidInputError(f"mode must be 'min' or 'max', but got {mode!r}")
        self.mode = mode
        self.seed = _count("seed", seed, least=0)
        self.budget = None if budget is None else _count("budget", budget, least=1)
        self._lattice = Lattice(self.space.axes)
        usual = 3 * (self._lattice.dimension + 1)
        self.patience = usual if patience is None else _count("patience", patience, least=1)
        self._lead_patience = min(usual, self.patience)
        self.repeats = _count("repeats", repeats, least=0, most=MOST_REPEATS)
        self.stopped_by: StopRule | None = None
        self._values: dict[Point, float] = {}  # in the order told; minimised; inf where it failed
        self._noises: dict[Point, float] = {}  # standard errors, where they were told
        self._fresh: dict[Point, list[float]] = {}  # the values of points measured again
        self._again: list[Point] = []  # whose values were forgotten
        self._open: dict[int, Point] = {}
        self._asked = 0
        self._phase = Phase.START
        self._start = _distinct(self.space.point(config) for config in start)
        self._simplex: list[Point] = []
        self._polished: Point | None = None
        self._restarts = 0
        self._finalists: list[Point] = []
        # Derived from the above, kept for speed.
        self._best: Point | None = None
        self._order: list[Point] = []  # by value, of equals by place
        self._stalled = 0
        self._wanted: list[Point] | None = None
        self._foresees = True  # until a look ahead has shown nothing

    # --- asking and telling ---------------------------------------------------------------------

    @property
    def best(self) -> Best | None:
        """The best point so far, or None while nothing could be measured."""
        if self._best is None:
            return None
        fresh = self._confirmed()
        if worked := {p: value for p, value in fresh.items() if math.isfinite(value)}:
            point = min(worked, key=lambda finalist: worked[finalist])
            return self._described(point, worked[point])
        # What fails when it is measured again comes behind everything that has not failed.
        point = next((p for p in self._worked() if p not in fresh), self._best)
        return self._described(point, self._values[point])

    def _described(self, point: Point, value: float) -> Best:
        said = value if self.mode == "min" else -value
        return Best(point, self.space.config(point), said, 1 + len(self._fresh.get(point, ())))

    def _confirmed(self) -> dict[Point, float]:
        """The mean of each finalist's fresh values, infinite where all failed.

        Empty until each has one.
        """
        fresh = {point: self._fresh.get(point, []) for point in self._finalists}
        if not all(fresh.values()):
            return {}
        worked = {p: [v for v in values if math.isfinite(v)] for p, values in fresh.items()}
        return {point: mean(values) if values else math.inf for point, values in worked.items()}

    @property
    def simplex(self) -> tuple[Best, ...]:
        """The best points measured that do not lie flat, best first: where the search stands."""
        worked = [point for point in self._ranked() if math.isfinite(self._values[point])]
        vertices = self._lattice.simplex(worked)
        return tuple(self._described(point, self._values[point]) for point in vertices)

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
        opened = set(self._open.values())
        point = next((wanted for wanted in self._wanted if wanted not in opened), None)
        if point is None and opened and not self._spent():
            point = self._foresee()
        if point is None or self._spent():
            return Signal.WAIT if opened else Signal.DONE
        repeat = point in self._values
        suggestion = Suggestion(self._asked, point, self.space.config(point), repeat)
        self._open[self._asked] = point
        self._asked += 1
        if self._phase is Phase.LEAD:
            self._wanted = None  # the next is chosen with this one in mind
        return suggestion

    def tell(self, suggestion_id: int, value: float | None, *, sem: float | None = None) -> None:
        """Give the value measured for an open point.

        Args:
            suggestion_id: The id of the suggestion.
            value: What was measured. None, NaN and the infinities mean that the point failed,
                which is worse than every number in either mode.
            sem: The value's standard error, where it is known: how far two values must lie apart
                to be told apart. Without it the search estimates its own.

        Raises:
            InvalidInputError: No point with that id is open, or the value is no number.
        """
        minimised = self._minimised(value)
        self._take(self._close(suggestion_id), minimised, sem)

    def release(self, suggestion_id: int) -> None:
        """Give an open point back unmeasured; where it is still needed it is asked again.

        Raises:
            InvalidInputError: No point with that id is open.
        """
        self._close(suggestion_id)

    def add(
        self, config: Mapping[str, Any], value: float | None, *, sem: float | None = None
    ) -> None:
        """Take in a value measured elsewhere, so that its point is not measured here.

        Where the search would ask for that point next, it goes on as if it had: given the values
        of an earlier search in their order, it stands where that one stood. A number replaces an
        earlier failure at the same point, and nothing replaces a number.

        Args:
            config: The configuration.
            value: What was measured there; see `tell`.
            sem: The value's standard error, where it is known.

        Raises:
            InvalidInputError: The configuration is not on the lattice, or the value is no number.
        """
        point, minimised = self.space.point(config), self._minimised(value)
        if self._asks_for(point):
            self._take(point, minimised, sem)
        else:
            self._learn(point, minimised, sem)

    def _asks_for(self, point: Point) -> bool:
        """Whether the search needs this point next; if not, it stays where it stands."""
        before = dict(vars(self))
        if point in self._advance():
            return True
        vars(self).update(before)
        return False

    def forget(self, config: Mapping[str, Any]) -> None:
        """Discard the value of a configuration, as of a machine that was disturbed.

        It is measured again, before any other. One without a value is left alone.

        Raises:
            InvalidInputError: The configuration is not on the lattice.
        """
        point = self.space.point(config)
        if point not in self._values:
            return
        del self._values[point]
        self._noises.pop(point, None)
        self._fresh.pop(point, None)
        self._recount()
        self._finalists, self._polished = [], None
        self._reconsider()
        self.stopped_by = None
        self._again.append(point)
        if not self._values:
            self._phase = Phase.START

    def _close(self, suggestion_id: int) -> Point:
        if suggestion_id not in self._open:
            raise InvalidInputError(
                f"only an open point can be told or released, which are {sorted(self._open)}, but "
                f"got {suggestion_id!r}"
            )
        self._reconsider()
        return self._open.pop(suggestion_id)

    def _reconsider(self) -> None:
        """What is wanted next has to be found anew, and may be foreseen again."""
        self._wanted, self._foresees = None, True

    def _minimised(self, value: float | None) -> float:
        found = math.nan if value is None else as_float(value)
        if found is None:
            raise InvalidInputError(
                f"a value must be a number, or None for a failure, but got {value!r}"
            )
        if not math.isfinite(found):
            return math.inf
        return -found if self.mode == "max" else found

    def _take(self, point: Point, value: float, sem: float | None) -> None:
        """Learn the value of a point that was asked for, perhaps again."""
        if point in self._finalists:
            self._fresh.setdefault(point, []).append(value)
            self._reconsider()
        else:
            self._learn(point, value, sem)

    def _learn(self, point: Point, value: float, sem: float | None) -> None:
        if math.isfinite(value) and self._values.get(point) == math.inf:
            del self._values[point]
            self._recount()
        if point not in self._values:
            self._values[point] = value
            if (error := number(sem)) > 0:
                self._noises[point] = error
            self._note(point)
            self._reconsider()
            self.stopped_by = None
            self._finalists = []

    def _note(self, point: Point) -> None:
        """Put a point that has its value into the order, and see whether it is the best."""
        bisect.insort(self._order, point, key=lambda known: (self._values[known], known))
        self._stalled += 1
        if self._values[point] < (math.inf if self._best is None else self._values[self._best]):
            self._best, self._stalled = point, 0

    def _recount(self) -> None:
        self._best, self._order, self._stalled = None, [], 0
        for point in self._values:
            self._note(point)

    # --- the stop rules -------------------------------------------------------------------------

    def _stop_rule(self) -> StopRule | None:
        # Stop if the caller's budget is spent, but for what the last repeats need.
        if self._spent() or self._is_short():
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

    def _is_short(self) -> bool:
        """Whether the rest of the budget is needed to measure the last few again."""
        if self.budget is None:
            return False
        if self._finalists:
            return not self._is_exact()
        needed = min(self.repeats * MOST_FINALISTS, self.budget // 4)
        return 0 < self.budget - self._asked <= needed and len(self._contenders()) > 1

    def _is_polished(self) -> bool:
        return self._polished == self._best

    # --- the phases: each step raises _Lacking for the points it needs, or is taken whole ---------

    def _advance(self) -> list[Point]:
        """Go on as far as the known values allow, and name the points that the next step needs."""
        steps = {
            Phase.START: self._start_step,
            Phase.LEAD: self._lead_step,
            Phase.POLISH: self._polish_step,
            Phase.SIMPLEX: self._simplex_step,
        }
        taken = 0
        try:
            while (rule := self._stop_rule()) is None:
                self._need(self._again)
                steps[self._phase]()
                taken += 1
                # A lattice simplex can walk in a circle over known points: a collapse, too.
                if self._phase is Phase.SIMPLEX and taken > 8 * (self._lattice.dimension + 1):
                    self._collapse()
            self._confirm()
        except _LackingError as lacking:
            return lacking.points
        self.stopped_by = None if self._open else rule
        return []

    def _start_step(self) -> None:
        """Measure the start points and, from the best of them, the first simplex."""
        if not self._start and self._best is None:
            self._start = [self._lattice.middle()]
        known = self._start or [self._best or self._lattice.middle()]
        self._need(known, ahead=self._lattice.survey(known[0]))
        origin = min(known, key=self._at)
        end = self._lattice.far_end(origin)
        self._need([end], ahead=self._lattice.survey(origin))
        steps = (
            self._lattice.trades if self._at(end) < self._at(origin) else self._lattice.first_steps
        )
        self._need(steps(min(origin, end, key=self._at)))
        self._phase = Phase.LEAD

    def _lead_step(self) -> None:
        """Measure the simplex's candidate of which most is expected, while anything is."""
        promising = self._most_promising() if self._stalled < self._lead_patience else None
        if promising is not None:
            self._need([promising])
        self._need(self._open.values())
        simplex = self._lattice.simplex(self._ranked())
        if self._is_polished():
            self._restart()
        elif max(self._lattice.lengths) > LONG and len(simplex) > self._lattice.dimension:
            self._phase, self._simplex = Phase.SIMPLEX, simplex
        else:
            self._phase = Phase.POLISH

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
        """Measure what is likely to better the best point, until nothing near it does."""
        if self._best is not None:
            # The fit is asked while it helps: `patience` promises that fail are enough.
            fit = self._stalled < self._lead_patience
            lengths = self._lattice.lengths
            promising = lowest_nearby(self._best, self._values, lengths) if fit else None
            around = self._lattice.leaps(self._best, self._values)
            around += self._lattice.neighbours(self._best)
            self._need(around if promising is None else [promising, *around])
        self._polished = self._best
        self._phase = Phase.LEAD

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

    def _need(self, points: Iterable[Point], *, ahead: Iterable[Point] = ()) -> None:
        """Go on if all these points have values; those `ahead` are likely to be needed next."""
        lacking = _distinct(point for point in points if point not in self._values)
        if lacking:
            likely = [point for point in ahead if point not in self._values]
            raise _LackingError(_distinct([*lacking, *likely[:MOST_AHEAD]]))

    # --- looking ahead: what to measure while every point that is needed is open ------------------

    def _foresee(self) -> Point | None:
        """What the search will need next if the open points turn out as the surrogate expects.

        None where that is not known, where so many are open that more would help little, or where
        the search would then end.
        """
        if not self._foresees or self._finalists or self._best is None:
            return None
        if len(self._open) > MOST_AHEAD:
            return None
        expected = copy.deepcopy(self, {id(one): one for one in (self.space, self._lattice)})
        for opened, value in zip(self._open, self._expected_values(), strict=True):
            expected.tell(opened, value)
        found = expected.ask()
        self._foresees = isinstance(found, Suggestion) and not found.repeat
        return found.point if isinstance(found, Suggestion) and self._foresees else None

    def _expected_values(self) -> list[float]:
        """What the surrogate expects at the open points, within the range of the values known."""
        ranked = self._worked()
        known = self._values_at(ranked)
        heights = Heights(known).of(known)
        features = self._lattice.features
        surrogate = Surrogate(features(ranked), heights, self._known_noise(ranked))
        expected, _ = surrogate.predict(features(self._open.values()))
        # Of a quarter, lest the difference of the largest values overflow.
        values = [4 * float(value) for value in np.interp(expected, heights, known / 4)]
        return values if self.mode == "min" else [-value for value in values]

    # --- the surrogate: which of the simplex's candidates to measure -----------------------------

    def _most_promising(self) -> Point | None:
        """What to measure next, or None where no improvement is expected.

        Half and double the best point's values come first, whatever is expected of them: step
        times fall and rise over factors of two, and have ridges that no smooth surrogate foresees.
        """
        ranked = list(itertools.islice(self._ranked(), LOOKED_AT))
        known = ChainMap(self._values, dict.fromkeys(self._open.values(), math.nan))
        octaves = [p for p in self._lattice.octaves(ranked[0]) if p not in known]
        candidates = octaves + [p for p in self._candidates(ranked) if p not in known]
        if not candidates:
            return None
        gain = self._expected_improvement(ranked, candidates)
        if octaves:
            return octaves[int(gain[: len(octaves)].argmax())]
        most = int(gain.argmax())
        return candidates[most] if gain[most] >= TOLERANCE else None

    def _expected_improvement(self, ranked: list[Point], candidates: list[Point]) -> Vector:
        """By how much each candidate is expected to be below the best; open points are believed."""
        values = self._values_at(ranked)
        places, heights = self._lattice.features(ranked), Heights(values).of(values)
        noise = self._known_noise(ranked)
        surrogate = Surrogate(places, heights, noise)
        best = min(surrogate.predict(places)[0].min(), heights.min())
        if opened := [point for point in self._open.values() if point not in self._values]:
            believed = self._lattice.features(opened)
            expected, _ = surrogate.predict(believed)
            surrogate = Surrogate(
                np.vstack([places, believed]), np.concatenate([heights, expected]), noise
            )
        return expected_improvement(
            *surrogate.predict(self._lattice.features(candidates)), float(best)
        )

    def _ranked(self) -> Iterator[Point]:
        """The measured points, best first; of equals the best of all, then by their place."""
        if self._best is not None:
            yield self._best
        yield from (point for point in self._order if point != self._best)

    def _candidates(self, ranked: list[Point]) -> list[Point]:
        """What a simplex on the best points may measure next."""
        start = self._start[0] if self._start else ranked[0]
        return _distinct(
            [
                *self._moves(self._lattice.simplex(ranked)),
                *self._lattice.strides(ranked[0]),
                *self._lattice.halvings(ranked[0], start),
            ]
        )

    def _moves(self, simplex: list[Point]) -> list[Point]:
        """Where each vertex but the best reflects, expands, contracts and shrinks to."""
        if len(simplex) <= self._lattice.dimension:
            return []
        vertices = self._lattice.places(simplex)
        found = []
        for worst in range(1, len(simplex)):
            centroid = np.delete(vertices, worst, axis=0).mean(axis=0)
            found += [
                self._lattice.snap(centroid + factor * (centroid - vertices[worst]))
                for factor in (REFLECT, EXPAND, CONTRACT, -CONTRACT)
            ]
            found.append(self._lattice.snap(vertices[0] + SHRINK * (vertices[worst] - vertices[0])))
        return found

    def _values_at(self, points: list[Point]) -> Vector:
        return np.array([self._values[point] for point in points])

    def _known_noise(self, points: list[Point]) -> float | None:
        """The usual standard error that was told, on the scale of the points' heights."""
        told = [point for point in points if point in self._noises]
        if not told:
            return None
        slopes = Heights(self._values_at(points)).slopes(self._values_at(told))
        with np.errstate(over="ignore"):
            return float(np.median(slopes * [self._noises[point] for point in told]))

    # --- the last few: measured again, so that a lucky value does not win -------------------------

    def _confirm(self) -> None:
        """Measure the finalists again, in turn."""
        if not self._finalists:
            self._need(self._open.values())
            contenders = self._contenders()
            self._finalists = contenders if len(contenders) > 1 else []
        for times in range(1, self.repeats + 1):
            lacking = [p for p in self._undecided() if len(self._fresh.get(p, ())) < times]
            if lacking and not self._spent():
                raise _LackingError(lacking)
            if self._is_exact():
                return  # nothing to average

    def _is_exact(self) -> bool:
        """Whether everything that was measured again came out the same: there is no noise."""
        return bool(self._fresh) and all(
            value == self._values[point]
            for point, values in self._fresh.items()
            for value in values
        )

    def _contenders(self) -> list[Point]:
        """The points that cannot be told apart from the best, best first, and at most so many."""
        ranked = self._worked()
        if not self.repeats or len(ranked) < 2 or self._is_exact():  # noqa: PLR2004
            return []
        values = self._values_at(ranked)
        alike = self._alike(ranked, values, values[0], errors=2)
        return [p for p, like in zip(ranked, alike, strict=True) if like][:MOST_FINALISTS]

    def _undecided(self) -> list[Point]:
        """The finalists whose fresh values leave them a chance; all while some have none yet."""
        fresh = self._confirmed()
        if not fresh:
            return self._finalists
        ranked = self._worked()
        values = np.array([fresh.get(point, self._values[point]) for point in ranked])
        alike = self._alike(ranked, values, min(fresh.values()), errors=1)
        likely = {point for point, like in zip(ranked, alike, strict=True) if like}
        return [p for p, value in fresh.items() if p in likely and math.isfinite(value)]

    def _worked(self) -> list[Point]:
        """The points that did not fail, best first, as far as they are looked at."""
        ranked = itertools.islice(self._ranked(), LOOKED_AT)
        return [point for point in ranked if math.isfinite(self._values[point])]

    def _alike(self, ranked: list[Point], values: Vector, lowest: float, *, errors: float) -> Flags:
        """Which of some values are above the lowest by no more than so many standard errors.

        The error is that of the difference of two values: as it was told for the best points, or
        as the surrogate estimates it on its own scale.
        """
        errors *= math.sqrt(2)
        told = [self._noises[point] for point in ranked[:MOST_FINALISTS] if point in self._noises]
        if told:
            with np.errstate(over="ignore"):
                return np.asarray(values <= lowest + errors * np.median(told))
        known = self._values_at(ranked)
        noise = Surrogate(self._lattice.features(ranked), Heights(known).of(known)).noise
        scale = Heights(values)
        return np.asarray(scale.of(values) <= scale.of(np.array(lowest)) + errors * noise)

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
            "repeats": self.repeats,
            "fresh": [
                [list(point), [value if math.isfinite(value) else None for value in values]]
                for point, values in self._fresh.items()
            ],
            "again": [list(point) for point in self._again],
            "noises": [[list(point), sem] for point, sem in self._noises.items()],
            "finalists": [list(point) for point in self._finalists],
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
                repeats=state["repeats"],
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
        self._fresh = {
            self._checked(point): [math.inf if value is None else float(value) for value in values]
            for point, values in state["fresh"]
        }
        self._again = [self._checked(point) for point in state["again"]]
        self._noises = {self._checked(point): float(sem) for point, sem in state["noises"]}
        self._finalists = [self._checked(point) for point in state["finalists"]]
        if not {*self._fresh, *self._finalists} <= set(self._values):
            raise StateError("only a measured point can be measured again")
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


def _count(name: str, value: object, *, least: int, most: float = math.inf) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        upper = "" if most == math.inf else f" and at most {most}"
        raise InvalidInputError(
            f"{name} must be an integer of at least {least}{upper}, but got {value!r}"
        )
    return value
