"""Phases: how the search goes, step by step.

* START. The start points come first. From the best of them the first simplex reaches to the far
  end of the shortest axis: of two thread counts the smaller range is mostly inter-op's, whose best
  is often 1. If that end is better, half the value on the others is traded for twice the low end,
  since operations side by side share the machine; if not, half the value is tried. Where a
  constraint lets one value rise only if another falls, as of processes and the threads of each, the
  two are exchanged there instead.
* LEAD. Now the simplex stands on the best points measured. The best vertex's values halved and
  doubled come first, trades before single steps: a compass whose needle is a factor of two. All
  the moves of the others follow (Nelder & Mead 1965; each by itself, as Lee & Wiswall 2007 do in
  parallel), strides of 1, 2, 4, ... from the best and halvings of the start's values, while
  anything is expected of them. A surrogate ranks them by expected improvement (Jones, Schonlau &
  Welch 1998).
* POLISH. Now the best point is polished. The minimum of a quadratic fitted around it (Nelder & Mead
  1965, appendix) and its neighbours on each axis (the compass search of Kolda, Lewis & Torczon
  2003, SIAM Review 45:385), each other word among them, are measured until none is better. Behind
  a neighbour that is far worse the next point is measured, too: counts that share the work out
  unevenly are teeth, and none of these is a valley's edge.
* SIMPLEX. While patience lasts, a new simplex starts where least was measured (Luersen & Le Riche
  2004, "Globalized Nelder-Mead method", Computers & Structures 82:2251). It moves as Lagarias,
  Reeds, Wright & Wright say (1998, SIAM J. Optim. 9:112, section 2). When it has collapsed at a new
  best point, that is polished, and the surrogate leads again. On an axis of many values a simplex
  on the best points closes in before the first polish.
* At the end the best points are measured again, the one that tells most first, while the choice is
  expected to become better by it (Frazier, Powell & Dayanik 2009).

Words have no order. The simplex and the quadratic move along the other axes, with the words of the
point that they start from. A word that no point has had yet is tried early, at the best point.

A point that breaks a constraint counts as infinite and is never needed (the extreme barrier of
Audet & Dennis 2006, SIAM J. Optim. 17:188), whichever step would have it.

A step looks up the values it needs. Where one is missing the step breaks off with a `LackingError`
that names the point, and has changed nothing; where all are known it is taken whole. So nothing is
measured twice, and values may come in any order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from kamerton_ray.search import opening
from kamerton_ray.search.candidates import expected_values, most_promising
from kamerton_ray.search.finalists import contenders, worth_repeating
from kamerton_ray.search.heights import Heights
from kamerton_ray.search.lattice import LONG, Lattice
from kamerton_ray.search.ledger import Ledger
from kamerton_ray.search.measurements import MOST_AHEAD, LackingError, Measurements
from kamerton_ray.search.options import Options, usual_patience
from kamerton_ray.search.points import Point
from kamerton_ray.search.progress import Phase, Progress, StopRule
from kamerton_ray.search.quadratic import lowest_nearby
from kamerton_ray.search.simplex import iterated
from kamerton_ray.search.spread import emptiest, middle

TOOTH = 0.1
"""A neighbour of the best point is far worse when it is higher by so much: of step times by 10 %.
Half as much asks for more trials and finds hardly more, twice as much finds less
(benchmarks/search.py --combed)."""

KEPT = 6
"""So many measurements of a budget are kept for measuring again, or a quarter of it."""

INITIAL_STEP = 0.5
"""The length of a new simplex's edges, as a share of each axis."""


class Phases:
    """The steps of a search, each from one `Progress` to the next.

    Args:
        lattice: Where the points lie.
        known: What was measured, as it is when a step is taken.
        ledger: What was asked for, likewise.
        options: How to search.
    """

    def __init__(
        self, lattice: Lattice, known: Measurements, ledger: Ledger, options: Options
    ) -> None:
        self._lattice = lattice
        self._known = known
        self._ledger = ledger
        self._options = options
        self._lead_patience = min(usual_patience(lattice.dimension), options.patience)

    def advance(self, progress: Progress) -> tuple[Progress, list[Point]]:
        """Go on as far as the known values allow.

        Returns:
            Where the search stands then, and the points that its next step needs; none at the end.
        """
        taken = 0
        try:
            while (rule := self._stop_rule(progress)) is None:
                self._known.need(self._known.forgotten)
                progress = self._given_a_start(progress)
                progress = self._step(progress)
                taken += 1
                # A lattice simplex can walk in a circle over known points: a collapse, too.
                walks = progress.phase is Phase.SIMPLEX
                if walks and taken > 8 * (self._lattice.dimension + 1):
                    progress = self._collapsed(progress)
            progress = self._with_finalists(progress)
            self._confirm(progress)
        except LackingError as lacking:
            return progress, lacking.points
        return replace(progress, stopped_by=None if self._ledger.opened else rule), []

    def foreseen(self, progress: Progress) -> Point | None:
        """What the search will need next if the open points turn out as the surrogate expects.

        None where that is not known, where so many are open that more would help little, or where
        the search would then end.
        """
        many = len(self._ledger.opened) > MOST_AHEAD
        if many or progress.finalists or self._known.best is None or not self._lattice.dimension:
            return None
        known, opened = self._known.copy(), list(self._ledger.points)
        for point, value in zip(opened, expected_values(known, self._lattice, opened), strict=True):
            known.learn(point, value)
        told = Phases(self._lattice, known, Ledger(self._ledger.asked), self._options)
        _, wanted = told.advance(progress)
        return wanted[0] if wanted and wanted[0] not in known.values else None

    # --- the stop rules -------------------------------------------------------------------------

    def _stop_rule(self, progress: Progress) -> StopRule | None:
        known, patience = self._known, self._options.patience
        # Stop if the caller's budget is spent, but for what the last repeats need.
        if self.is_spent or self._is_short(progress):
            return StopRule.BUDGET
        # Stop if nothing is left to measure.
        if self._lattice.is_exhausted(known.values):
            return StopRule.EXHAUSTED
        # Stop if nothing works: failures lead a simplex nowhere.
        if known.best is None:
            return StopRule.FAILED if len(known.values) >= 2 * patience else None
        # Stop if the best point has no better neighbour, and patience with the rest is at an end.
        if self._is_polished(progress) and known.stalled >= patience:
            return StopRule.CONVERGED
        return None

    @property
    def is_spent(self) -> bool:
        """Whether as many points were asked for as the budget allows."""
        budget = self._options.budget
        return budget is not None and self._ledger.asked >= budget

    def _is_short(self, progress: Progress) -> bool:
        """Whether the rest of the budget is needed to measure the last few again."""
        budget = self._options.budget
        if budget is None or not 0 < budget - self._ledger.asked <= min(KEPT, budget // 4):
            return False
        return bool(self._worth_repeating(progress.finalists or contenders(self._known)))

    def _is_polished(self, progress: Progress) -> bool:
        return progress.polished == self._known.best

    # --- the steps ------------------------------------------------------------------------------

    def _step(self, progress: Progress) -> Progress:
        steps = {
            Phase.START: self._start_step,
            Phase.LEAD: self._lead_step,
            Phase.POLISH: self._polish_step,
            Phase.SIMPLEX: self._simplex_step,
        }
        return steps[progress.phase](progress)

    def _given_a_start(self, progress: Progress) -> Progress:
        """With the middle to start from, where nothing else is there."""
        begins = progress.phase is Phase.START
        if begins and not progress.start and self._known.best is None:
            return replace(progress, start=(middle(self._lattice),))
        return progress

    def _start_step(self, progress: Progress) -> Progress:
        """Measure the start points and, from the best of them, the first simplex."""
        known, lattice = self._known, self._lattice
        points = progress.start or (known.best or middle(lattice),)
        self._need(points, ahead=opening.survey(lattice, points[0]))
        origin = min(points, key=self._at)
        end = opening.far_end(lattice, origin)
        self._need([end], ahead=opening.survey(lattice, origin))
        better = self._at(end) < self._at(origin)
        steps = opening.trades if better else opening.first_steps
        exchanged = opening.exchanges(lattice, end)
        self._need(exchanged or steps(lattice, min(origin, end, key=self._at)))
        return replace(progress, phase=Phase.LEAD)

    def _lead_step(self, progress: Progress) -> Progress:
        """Measure the candidate of which most is expected, while anything is."""
        known, lattice = self._known, self._lattice
        if known.stalled < self._lead_patience:
            start = progress.start[0] if progress.start else None
            promising = most_promising(known, lattice, opened=self._ledger.points, start=start)
            self._need([] if promising is None else [promising])
        self._need(self._ledger.points)
        simplex = tuple(lattice.simplex(known.ranked()))
        if self._is_polished(progress):
            return self._restarted(progress)
        is_long = any(lattice.lengths[i] > LONG for i in lattice.free)
        if is_long and len(simplex) > len(lattice.free):
            return replace(progress, phase=Phase.SIMPLEX, simplex=simplex)
        return replace(progress, phase=Phase.POLISH)

    def _polish_step(self, progress: Progress) -> Progress:
        """Measure what is likely to better the best point, until nothing near it does."""
        known, lattice = self._known, self._lattice
        if known.best is not None:
            around = lattice.leaps(known.best, known.values) + lattice.neighbours(known.best)
            # The fit is asked while it helps: `patience` promises that fail are enough.
            fits = known.stalled < self._lead_patience
            lowest = self._fitted(known.best) if fits else None
            self._need(around if lowest is None else [lowest, *around])
            self._need(self._behind_teeth(known.best))
        return replace(progress, phase=Phase.LEAD, polished=known.best)

    def _behind_teeth(self, best: Point) -> list[Point]:
        """The points behind those neighbours of the best one that are far worse."""
        known = self._known
        scale = Heights(known.of(known.worked()))
        passed = [
            (point, behind)
            for point, behind in self._lattice.passed(best)
            if math.isfinite(known.values.get(point, math.inf))
        ]
        steps = scale.of(known.of([point for point, _ in passed])) - scale.of(known.of([best]))
        return [behind for (_, behind), step in zip(passed, steps, strict=True) if step > TOOTH]

    def _fitted(self, best: Point) -> Point | None:
        lattice = self._lattice
        return lowest_nearby(
            best, self._known.values, lattice.lengths, free=lattice.free, allows=lattice.allows
        )

    def _simplex_step(self, progress: Progress) -> Progress:
        """Move the simplex once."""
        self._need(progress.simplex)
        simplex = iterated(progress.simplex, self._at, self._lattice)
        if simplex is None:
            return self._collapsed(progress)
        return replace(progress, simplex=simplex)

    def _collapsed(self, progress: Progress) -> Progress:
        """The simplex can go no further: polish the best point, unless that has been done."""
        if self._is_polished(progress):
            return self._restarted(progress)
        return replace(progress, phase=Phase.POLISH)

    def _restarted(self, progress: Progress) -> Progress:
        """A new simplex where least was measured."""
        restarts = progress.restarts + 1
        seed = (self._options.seed, restarts)
        origin = emptiest(self._lattice, self._known.values, seed=seed)
        simplex = (origin, *self._lattice.steps_from(origin, INITIAL_STEP))
        return replace(progress, phase=Phase.SIMPLEX, simplex=simplex, restarts=restarts)

    def _need(self, points: Iterable[Point], *, ahead: Iterable[Point] = ()) -> None:
        """Go on if all these points have values that may have one; see `Measurements.need`."""
        allows = self._lattice.allows
        self._known.need(filter(allows, points), ahead=filter(allows, ahead))

    def _at(self, point: Point) -> float:
        """The value of a point; infinite, without asking, where it may not be measured."""
        return self._known.at(point) if self._lattice.allows(point) else math.inf

    # --- the end --------------------------------------------------------------------------------

    def _with_finalists(self, progress: Progress) -> Progress:
        """With the points to measure again, once every open point is told."""
        if progress.finalists:
            return progress
        self._need(self._ledger.points)
        found = contenders(self._known) if self._options.repeats else []
        return replace(progress, finalists=tuple(found))

    def _confirm(self, progress: Progress) -> None:
        """Measure the finalists again, while that is worth it."""
        wanted = self._worth_repeating(progress.finalists)
        if wanted and not self.is_spent:
            raise LackingError(wanted)

    def _worth_repeating(self, points: Sequence[Point]) -> list[Point]:
        """Those that may be measured again, and are worth it, the one that tells most first."""
        return worth_repeating(self._known, self._lattice, points, self._options.repeats)
