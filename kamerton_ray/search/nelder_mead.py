"""NelderMead: the simplex search on an integer lattice, as ask and tell.

It has no clock, no I/O and no logging, and knows neither Ray nor TensorFlow. This class is the only
door to the search. What it consists of:

* `measurements.py`: what is known of the points;
* `ledger.py`: what was asked for and is still open;
* `progress.py`: how far the search has come;
* `phases.py`: the steps from there. They are functions of these three, and say how it all goes.

So the state is short enough to be written as JSON, which `state.py` does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Final

from kamerton_ray.search.answers import Best, Signal, Suggestion
from kamerton_ray.search.constraints import Constraint, checked
from kamerton_ray.search.finalists import recommended
from kamerton_ray.search.lattice import lattice_of
from kamerton_ray.search.ledger import Ledger
from kamerton_ray.search.measurements import Measurements
from kamerton_ray.search.options import USUAL_REPEATS, Options
from kamerton_ray.search.phases import Phases
from kamerton_ray.search.points import Point, distinct
from kamerton_ray.search.progress import Phase, Progress, StopRule
from kamerton_ray.search.space import IntegerSpace
from kamerton_ray.search.spread import check_start
from kamerton_ray.search.starting import start_point
from kamerton_ray.search.state import State, from_json, to_json

__all__ = ["Best", "NelderMead", "Signal", "StopRule", "Suggestion"]


class NelderMead:
    """Nelder-Mead on an integer lattice, driven by `ask` and `tell`.

    The simplex moves as Nelder & Mead (1965) say. While it stands on the best points measured, a
    surrogate chooses among its moves (Jones, Schonlau & Welch 1998). Then the best point is
    polished (Kolda, Lewis & Torczon 2003), and new simplices start where least was measured
    (Luersen & Le Riche 2004). At the end the best points are measured again, while that is expected
    to make the choice better (Frazier, Powell & Dayanik 2009). `kamerton_ray/search/phases.py`
    tells it in full.

    Any number of points may be open at once, and told in any order. Nothing is measured twice but
    the last few.

    Args:
        space: The lattice, or the dict of domains to make it of.
        start: Configurations to measure first, in order; the first simplex starts at the best of
            them. Without any it starts in the middle, and so does what a configuration leaves out.
        mode: `"min"` or `"max"`.
        seed: Settles what the search leaves open: where restarts go on a large lattice.
        budget: Stop after asking for this many points. Without it the search ends by itself.
        patience: How many points in a row may pass without an improvement, of 2 % of the value or
            of the range of all, before the search ends; 3 (d + 1) for d axes by default.
        repeats: How often each of the last few is measured again at the end, at most; 0 never
            does. A function without noise is found out and left alone.
        constraints: What every point asked has to keep, one or several: `AtMost`, or a function of
            the configuration that returns whether it may be tried, and always says the same.

    Raises:
        InvalidInputError: An argument breaks its rule, or nothing keeps all constraints.

    Examples:
        >>> search = NelderMead({"x": range(1, 65), "y": range(1, 65)}, start=[{"x": 22, "y": 2}])
        >>> while isinstance(trial := search.ask(), Suggestion):
        ...     x, y = trial.config["x"], trial.config["y"]
        ...     search.tell(trial.id, (x - 5) ** 2 + (y - 7) ** 2)
        >>> search.best.config
        {'x': 5, 'y': 7}
    """

    def __init__(
        self,
        space: IntegerSpace | Mapping[str, object],
        *,
        start: Iterable[Mapping[str, object]] = (),
        mode: str = "min",
        seed: int = 0,
        budget: int | None = None,
        patience: int | None = None,
        repeats: int = USUAL_REPEATS,
        constraints: Constraint | Iterable[Constraint] = (),
    ) -> None:
        self.space = space if isinstance(space, IntegerSpace) else IntegerSpace(space)
        self._constraints = checked(constraints)
        self._lattice = lattice_of(self.space, self._constraints)
        self._options = options = Options.checked(
            self._lattice.dimension,
            mode=mode,
            seed=seed,
            budget=budget,
            patience=patience,
            repeats=repeats,
        )
        self.mode: Final = options.mode
        self.seed: Final = options.seed
        self.budget: Final = options.budget
        self.patience: Final = options.patience
        self.repeats: Final = options.repeats
        first = distinct(start_point(self.space, self._constraints, config) for config in start)
        check_start(self._lattice, first)
        self._begin(Measurements(), Progress(start=tuple(first)), Ledger())

    def _begin(self, known: Measurements, progress: Progress, ledger: Ledger) -> None:
        self._known, self._progress, self._ledger = known, progress, ledger
        self._phases = Phases(self._lattice, known, ledger, self._options)
        self._reconsider()

    def _reconsider(self) -> None:
        """What is wanted next has to be found anew, and may be foreseen again."""
        self._wanted: list[Point] | None = None
        self._foresees = True  # until a look ahead has shown nothing

    @property
    def stopped_by(self) -> StopRule | None:
        """Why the search ended; None while it goes on."""
        return self._progress.stopped_by

    @property
    def best(self) -> Best | None:
        """The best point so far, or None while nothing could be measured."""
        found = recommended(self._known, self._lattice, self._progress.finalists)
        return None if found is None else self._described(*found)

    @property
    def simplex(self) -> tuple[Best, ...]:
        """The best points measured that do not lie flat, best first: where the search stands."""
        values = self._known.values
        worked = (point for point in self._known.ranked() if math.isfinite(values[point]))
        return tuple(self._described(p, values[p]) for p in self._lattice.simplex(worked))

    def _described(self, point: Point, value: float) -> Best:
        times = 1 + len(self._known.fresh.get(point, ()))
        return Best(point, self.space.config(point), self._options.signed(value), times)

    @property
    def measured(self) -> int:
        """How many distinct points have a value or have failed."""
        return len(self._known.values)

    @property
    def open(self) -> dict[int, Point]:
        """The points asked for and not yet told, by the suggestion's id."""
        return dict(self._ledger.opened)

    # --- asking and telling ---------------------------------------------------------------------

    def ask(self) -> Suggestion | Signal:
        """The next point to measure, or why there is none.

        While a point is open the answer is never `Signal.DONE`, since it may still change the
        search.
        """
        point = self._next()
        if point is None or self._phases.is_spent:
            return Signal.WAIT if self._ledger.opened else Signal.DONE
        number, repeat = self._ledger.enter(point), point in self._known.values
        if self._progress.phase is Phase.LEAD:
            self._wanted = None  # the next is chosen with this one in mind
        return Suggestion(number, point, self.space.config(point), repeat)

    def _next(self) -> Point | None:
        """The first point that is needed and not open, or else what will be needed after those."""
        if self._wanted is None:
            self._progress, self._wanted = self._phases.advance(self._progress)
        opened = set(self._ledger.points)
        point = next((wanted for wanted in self._wanted if wanted not in opened), None)
        if point is None and opened and self._foresees and not self._phases.is_spent:
            point = self._phases.foreseen(self._progress)
            self._foresees = point is not None
        return point

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
        minimised = self._options.minimised(value)
        self._take(self._close(suggestion_id), minimised, sem)

    def release(self, suggestion_id: int) -> None:
        """Give an open point back unmeasured; where it is still needed it is asked again.

        Raises:
            InvalidInputError: No point with that id is open.
        """
        self._close(suggestion_id)

    def add(
        self, config: Mapping[str, object], value: float | None, *, sem: float | None = None
    ) -> None:
        """Take in a value measured elsewhere, so that its point is not measured here.

        Where the search would ask for that point next, it goes on as if it had: given the values
        of an earlier search in their order, it stands where that one stood. A number replaces an
        earlier failure at the same point, and nothing replaces a number. What breaks a constraint
        is left out: it would lead the search to where it must not go.

        Args:
            config: The configuration.
            value: What was measured there; see `tell`.
            sem: The value's standard error, where it is known.

        Raises:
            InvalidInputError: The configuration is not on the lattice, or the value is no number.
        """
        point, minimised = self.space.point(config), self._options.minimised(value)
        if not self._lattice.allows(point):
            return
        progress, wanted = self._phases.advance(self._progress)
        if point in wanted:
            self._progress = progress
            self._take(point, minimised, sem)
        else:
            self._learn(point, minimised, sem)

    def forget(self, config: Mapping[str, object]) -> None:
        """Discard the value of a configuration, as of a machine that was disturbed.

        It is measured again, before any other. One without a value is left alone.

        Raises:
            InvalidInputError: The configuration is not on the lattice.
        """
        point = self.space.point(config)
        if point not in self._known.values:
            return
        self._known.forget(point)
        phase = self._progress.phase if self._known.values else Phase.START
        self._progress = replace(self._progress.reopened(), phase=phase, polished=None)
        self._reconsider()

    def _close(self, suggestion_id: int) -> Point:
        point = self._ledger.close(suggestion_id)
        self._reconsider()
        return point

    def _take(self, point: Point, value: float, sem: float | None) -> None:
        """Learn the value of a point that was asked for, perhaps again."""
        if point in self._progress.finalists:
            self._known.learn_again(point, value)
            self._reconsider()
        else:
            self._learn(point, value, sem)

    def _learn(self, point: Point, value: float, sem: float | None) -> None:
        if self._known.learn(point, value, sem):
            self._progress = self._progress.reopened()
            self._reconsider()

    # --- the state ------------------------------------------------------------------------------

    def to_json(self) -> dict[str, object]:
        """The whole search, open points included, as plain JSON; of functions only the names."""
        stands = self._known, self._progress, self._ledger
        return to_json(State(self.space, self._options, *stands, self._constraints))

    @classmethod
    def from_json(
        cls, state: object, *, constraints: Constraint | Iterable[Constraint] = ()
    ) -> NelderMead:
        """The search that `to_json` described; it goes on exactly as the saved one would.

        Its constraints have to be given once more, unless all are `AtMost`.

        Raises:
            StateError: `state` is not what `to_json` gives, or the constraints are others.
        """
        saved = from_json(state, checked(constraints))
        told = {**asdict(saved.options), "constraints": saved.constraints}
        first = map(saved.space.config, saved.progress.start)
        search = cls(saved.space, start=first, **told)
        search._begin(saved.known, saved.progress, saved.ledger)
        return search
