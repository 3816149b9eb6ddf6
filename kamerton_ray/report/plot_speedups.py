"""Each configuration's gain over the default, in a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kamerton_ray.answer.verdict import Verdict
from kamerton_ray.report.labels import brief_names, brief_values, gain_label
from kamerton_ray.report.measured import Measured, Row, as_measured, best_row, marks_of
from kamerton_ray.report.palette import LIGHT, Palette
from kamerton_ray.report.paper import WIDTH, Paper, paper
from kamerton_ray.trial.objective import Objective

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 25
"""At most this many configurations are listed; the best of them."""


def speedups(
    results: object,
    *,
    verdict: Verdict | None = None,
    objective: Objective | None = None,
    palette: Palette = LIGHT,
) -> Figure:
    """Each configuration's gain over the default, the best first, with its 95 % interval if known.

    The arguments are those of `surface`.
    """
    found = as_measured(results, objective)
    best = best_row(found, verdict)
    rows = _listed(found, best)
    with paper(palette, (WIDTH, 0.9 + 0.24 * max(2, len(rows)))) as sheet:
        _List(sheet, found, rows, best).draw()
    return sheet.figure


def row_color(row: Row, found: Measured, palette: Palette) -> str:
    """What is not told apart from the default is grey."""
    low, high = (row.low, row.high) if row.has_interval else (row.gain, row.gain)
    none = found.comparison.none
    if low > none:
        return palette.better
    return palette.worse if high < none else palette.neither


def _listed(found: Measured, best: Row | None) -> list[Row]:
    """The best rows, with the default's among them."""
    rest = found.working[MOST_ROWS:]
    return found.working[:MOST_ROWS] + [row for row in rest if marks_of(row, found, best)]


@dataclass(frozen=True)
class _List:
    """A list of configurations on its paper."""

    paper: Paper
    found: Measured
    rows: list[Row]
    best: Row | None

    def draw(self) -> None:
        """Draw all of it."""
        for place, row in enumerate(self.rows):
            self._row(place, row)
            self._say_gain(place, row)
        self._base()
        self._name_rows()
        self._labels()

    def _row(self, place: int, row: Row) -> None:
        """A dot, hollow where a limit is broken, and a line for the interval."""
        axes, palette = self.paper.axes, self.paper.palette
        color = row_color(row, self.found, palette)
        at, *ends = map(self.found.drawn, (row.gain, row.low, row.high))
        if row.has_interval:
            axes.plot(ends, [place, place], color=color, lw=2, alpha=0.55)
        filled = color if row.miss <= 0 else palette.paper
        axes.plot(at, place, "o", color=color, ms=5.5, markerfacecolor=filled, gid="row")

    def _say_gain(self, place: int, row: Row) -> None:
        said = self.found.shown(row) + self.found.comparison.times
        self.paper.axes.annotate(
            said if row.miss <= 0 else f"{said}, breaks a limit",
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            weight=self._weight(row),
            color=self.paper.palette.ink,
            annotation_clip=False,
        )

    def _base(self) -> None:
        """The line that means no gain, with its name."""
        axes, soft = self.paper.axes, self.paper.palette.soft
        base = self.found.drawn(self.found.comparison.none)
        axes.vlines(base, -0.4, len(self.rows) - 0.4, color=soft, lw=1, zorder=0)
        axes.text(base, -0.5, self.found.baseline.name, ha="center", color=soft, size=9)

    def _name_rows(self) -> None:
        axes = self.paper.axes
        axes.set_yticks(range(len(self.rows)), [self._name(row) for row in self.rows])
        for label, row in zip(axes.get_yticklabels(), self.rows, strict=True):
            label.set_color(self.paper.palette.ink)
            label.set_fontweight(self._weight(row))
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(self.rows) - 0.4, -1.2)
        axes.spines["left"].set_visible(False)

    def _labels(self) -> None:
        self.paper.axes.set_xlabel(gain_label(self.found) + self._left_out())
        names = brief_names(self.found.axes)
        soft = self.paper.palette.soft
        self.paper.figure.suptitle(names, x=0.01, ha="left", size=9, color=soft)

    def _left_out(self) -> str:
        """How many there are beside those in the list."""
        count = len(self.found.working) - len(self.rows)
        return f"\n{count} more, none of them better, are left out" if count else ""

    def _name(self, row: Row) -> str:
        return "  ".join([*marks_of(row, self.found, self.best), brief_values(row.config)])

    def _weight(self, row: Row) -> str:
        return "bold" if row is self.best else "normal"
