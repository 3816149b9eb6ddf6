"""Throughput against latency: what more of the one costs in the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from kamerton_ray.answer.fresh import Span, number_of, pareto
from kamerton_ray.answer.verdict import Standing, Verdict
from kamerton_ray.errors import InvalidInputError
from kamerton_ray.report.labels import Unit, brief_names, brief_values, metric_label, unit_of
from kamerton_ray.report.measured import Measured, Row, as_measured
from kamerton_ray.report.naming import Named, name_points
from kamerton_ray.report.palette import LIGHT, Palette
from kamerton_ray.report.paper import WIDTH, Level, Paper, paper
from kamerton_ray.report.told import BEST, Told
from kamerton_ray.trial.config import key_of
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import median_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LATENCY, THROUGHPUT = "seconds_p99", "throughput"
"""What it shows: across and up."""

SIGNS = {LATENCY: -1, THROUGHPUT: 1}
"""Less of the one is better, and more of the other."""

NO_TRADE_OFF = "no two differ beyond their intervals in both:\nnothing is traded off"
"""What is said where there is no line to draw."""

LEAST_POINTS = 2
"""Fewer show nothing to trade off."""

MOST_NAMES = 6
"""At most so many points are named."""

FAR = 1.5
"""What lies this many times beyond the points that matter is out of the picture."""

MARGIN = 0.14
"""What is free around the points, as a share of what they span; names stand there, too."""

DASHED = (0, (4, 3))
"""How a limit's line is drawn."""

LEAST_SPAN = 0.1
"""They span at least this share of the largest value."""


class _Point(NamedTuple):
    """A configuration's place: the time that 99 % of its steps keep, its throughput, and a name."""

    latency: Span
    throughput: Span
    name: str
    is_best: bool = False
    is_strong: bool = False
    is_default: bool = False

    @property
    def at(self) -> tuple[float, float]:
        """Where it lies."""
        return self.latency.value, self.throughput.value

    @property
    def is_known(self) -> bool:
        """Whether it has a place."""
        return not any(map(math.isnan, self.at))

    @property
    def is_marked(self) -> bool:
        """Whether it is always worth its name."""
        return self.is_best or self.is_default


class _Points(NamedTuple):
    """What is shown: the points that count, those that are small beside fresh ones, the front."""

    counting: list[_Point]
    others: list[_Point]
    frontier: list[_Point]
    are_fresh: bool


def trade_off(
    results: object,
    *,
    verdict: Verdict | None = None,
    objective: Objective | None = None,
    palette: Palette = LIGHT,
) -> Figure:
    """Throughput against the time that 99 % of the steps keep; better is up and to the left.

    A large dot is a finalist, by its fresh runs with their 95 % intervals, and a small one a
    configuration as the search measured it; without fresh runs all of these are large. The line
    joins the finalists that trade the one for the other beyond these intervals; where there are not
    two, there is none. Dashed lines are the objective's limits.

    Args:
        results: As in `surface`, and so are the other arguments.
        verdict: With its table; names the best.
        objective: What the configurations are judged by.
        palette: The colours.

    Raises:
        InvalidInputError: Fewer than two configurations have both numbers.
        MissingExtraError: matplotlib is not installed.
    """
    found = as_measured(results, objective)
    points = _points(found, verdict)
    if len(points.counting) < LEAST_POINTS:
        raise InvalidInputError(
            f"results must have {THROUGHPUT!r} and {LATENCY!r} of {LEAST_POINTS} configurations, "
            f"but have them of {len(points.counting)}"
        )
    with paper(palette, (WIDTH, 3.3)) as sheet:
        _Plot(sheet, found, points).draw()
    return sheet.figure


def has_trade_off(found: Measured, verdict: Verdict | None) -> bool:
    """Whether there is something to show."""
    return len(_points(found, verdict).counting) >= LEAST_POINTS


def has_front(found: Measured, verdict: Verdict | None) -> bool:
    """Whether two of the finalists trade the one for the other beyond their intervals."""
    return bool(_points(found, verdict).frontier)


# --- which points there are ----------------------------------------------------------------------


def _points(found: Measured, verdict: Verdict | None) -> _Points:
    """The finalists and the search's; without them the search's alone, which make no front."""
    told = Told(found, verdict)
    searched = [one for row in found.working if (one := _searched(row, told)).is_known]
    if verdict is None:
        return _Points(searched, [], [], are_fresh=False)
    fresh = [one for row in verdict.table if (one := _fresh(row, told, verdict)).is_known]
    if len(fresh) < LEAST_POINTS:
        return _Points(searched, [], [], are_fresh=False)
    return _Points(fresh, searched, _frontier(fresh), are_fresh=True)


def _searched(row: Row, told: Told) -> _Point:
    """A configuration as the search measured it."""
    marks = told.marks(row, brief=True)
    return _Point(
        Span.point(median_of(row.results, LATENCY)),
        Span.point(median_of(row.results, THROUGHPUT)),
        name="  ".join([*marks, brief_values(row.config)]),
        is_best=told.is_best(row),
        is_strong=told.is_strong(row),
        is_default=told.found.baseline.name in marks,
    )


def _fresh(row: Standing, told: Told, verdict: Verdict) -> _Point:
    """A finalist, or the default, by its fresh runs."""
    spans = number_of(LATENCY, row, verdict), number_of(THROUGHPUT, row, verdict)
    if row.config is None:
        return _Point(*spans, "default", is_default=True)
    chosen = None if verdict.config is None else key_of(verdict.config)
    is_best, values = key_of(row.config) == chosen, brief_values(told.found.tuned(row.config))
    name = f"{told.mark.brief}  {values}" if is_best else values
    return _Point(*spans, name, is_best=is_best, is_strong=is_best and told.mark is BEST)


def _frontier(points: Sequence[_Point]) -> list[_Point]:
    """Those that trade the one for the other beyond their intervals, the lowest latency first."""
    rows = [{LATENCY: point.latency, THROUGHPUT: point.throughput} for point in points]
    return sorted(points[place] for place in pareto(rows, SIGNS))


# --- drawing them --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plot:
    """The picture on its paper; drawn in milliseconds or what unit suits the times."""

    paper: Paper
    found: Measured
    points: _Points

    def draw(self) -> None:
        """Draw all of it."""
        self._view()
        self._others()
        if self.points.frontier:
            self._line()
        for point in self.points.counting:
            self._dot(point)
        self._limits()
        self._labels()
        self._names()

    @property
    def _unit(self) -> Unit:
        return unit_of(LATENCY, [point.at[0] for point in self.points.counting])

    def _at(self, point: _Point) -> tuple[float, float]:
        """Where a point is drawn."""
        return point.at[0] * self._unit.scale, point.at[1]

    def _places(self) -> list[tuple[float, float]]:
        """Where all of them are drawn."""
        return [self._at(point) for point in (*self.points.counting, *self.points.others)]

    @property
    def _most(self) -> float:
        """The highest allowed latency as it is drawn; NaN where there is none."""
        most = self.found.objective.at_most.get(LATENCY, math.nan)
        return most * self._unit.scale

    @property
    def _least(self) -> float:
        """The lowest allowed throughput; NaN where there is none."""
        return self.found.objective.at_least.get(THROUGHPUT, math.nan)

    def _view(self) -> None:
        """See to it that what matters is seen, and what is near it."""
        counting = self.points.counting
        marked = [point for point in counting if point.is_marked]
        matter = counting if self.points.are_fresh else marked or counting
        near = [*self._places(), (self._most, self._least)]
        across, up = zip(*map(self._at, matter), strict=True)
        near_across, near_up = zip(*near, strict=True)
        self.paper.axes.set(xlim=_range(across, near_across), ylim=_range(up, near_up))

    def _others(self) -> None:
        axes, palette = self.paper.axes, self.paper.palette
        for point in self.points.others:
            axes.plot(*self._at(point), "o", color=palette.neither, ms=3, alpha=0.55, gid="small")

    def _line(self) -> None:
        """The best that there is of the one for each value of the other, as a staircase."""
        axes = self.paper.axes
        places = [self._at(point) for point in self.points.frontier]
        right, below = axes.get_xlim()[1], axes.get_ylim()[0]
        xs = [places[0][0], *(x for x, _ in places), right]
        ys = [below, *(y for _, y in places), places[-1][1]]
        color = self.paper.palette.better
        axes.step(xs, ys, where="post", color=color, lw=1.4, alpha=0.6, zorder=2, gid="frontier")

    def _dot(self, point: _Point) -> None:
        """A dot with its intervals; those of what matters less are paler."""
        axes, palette = self.paper.axes, self.paper.palette
        color = palette.better if point.is_strong else palette.ink
        color = color if point.is_marked else palette.neither
        (x, y), scale = self._at(point), self._unit.scale
        alpha = 0.8 if point.is_marked or point in self.points.frontier else 0.3
        (_, *across), (_, *up) = point.latency, point.throughput
        for xs, ys in (([end * scale for end in across], [y, y]), ([x, x], up)):
            axes.plot(xs, ys, color=color, lw=1.2, alpha=alpha, zorder=3, gid="interval")
        axes.plot(
            x, y, "o", color=color, ms=9 if point.is_strong else 6, mew=1.5, zorder=4,
            markerfacecolor=palette.paper if point.is_default else color, gid="point",
        )  # fmt: skip

    def _limits(self) -> None:
        """The limits, as far as they are in the picture."""
        axes, soft = self.paper.axes, self.paper.palette.soft
        if _is_within(self._most, axes.get_xlim()):
            axes.axvline(self._most, color=soft, lw=1, ls=DASHED, zorder=1, gid="limit")
            said = f"≤ {self._most:.4g} {self._unit.name}"
            axes.annotate(
                said, (self._most, 1.02), ha="center", va="bottom",
                xycoords=("data", "axes fraction"), color=soft, size=9,
            )  # fmt: skip
        if _is_within(self._least, axes.get_ylim()):
            axes.axhline(self._least, color=soft, lw=1, ls=DASHED, zorder=1, gid="limit")
            self.paper.name_levels([Level(self._least, f"≥ {self._least:.4g}", soft)])

    def _labels(self) -> None:
        axes, soft = self.paper.axes, self.paper.palette.soft
        axes.set_xlabel(metric_label(LATENCY, self._unit))
        axes.set_ylabel(metric_label(THROUGHPUT, unit_of(THROUGHPUT, [])))
        whose = "large: fresh runs, small: the search's own numbers"
        whose = whose if self.points.are_fresh else "the search's own numbers"
        nothing = [NO_TRADE_OFF] if self.points.are_fresh and not self.points.frontier else []
        lines = [brief_names(self.found.axes), whose, *nothing, *self._left_out()]
        self.paper.figure.supxlabel("\n".join(lines), size=9, color=soft)

    def _left_out(self) -> list[str]:
        """How many points are not seen."""
        views = self.paper.axes.get_xlim(), self.paper.axes.get_ylim()
        count = sum(not all(map(_is_within, at, views)) for at in self._places())
        if not count:
            return []
        return ["1 point is farther out" if count == 1 else f"{count} points are farther out"]

    def _names(self) -> None:
        """The names of the points that matter most, beside them."""
        (counting, _, frontier, _), palette = self.points, self.paper.palette
        rank = sorted(
            counting, key=lambda one: (not one.is_best, not one.is_default, one not in frontier)
        )
        named = [
            Named(
                self._at(point), point.name, palette.better if point.is_strong else palette.soft,
                "bold" if point.is_strong else "normal",
            )
            for point in rank[:MOST_NAMES]
        ]  # fmt: skip
        name_points(self.paper, named, dots=self._places())


def _range(values: Sequence[float], near: Sequence[float]) -> tuple[float, float]:
    """From where to where an axis goes: around all values, and those near them."""
    low, high = min(values), max(values)
    seen = [*values, *(one for one in near if low / FAR <= one <= high * FAR)]
    low, high = min(seen), max(seen)
    span = max(high - low, LEAST_SPAN * high)
    middle, reach = (low + high) / 2, (0.5 + MARGIN) * span
    return max(0.0, middle - reach), middle + reach


def _is_within(value: float, view: tuple[float, float]) -> bool:
    low, high = view
    return low <= value <= high
