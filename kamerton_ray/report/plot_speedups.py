"""Each configuration's gain over the default, in a list."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kamerton_ray.answer.verdict import Verdict
from kamerton_ray.report.labels import brief_names, brief_values, gain_label
from kamerton_ray.report.measured import Measured, Row, as_measured
from kamerton_ray.report.palette import LIGHT, Palette
from kamerton_ray.report.paper import WIDTH, Paper, paper
from kamerton_ray.report.told import Told
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

    Those that were measured afresh stand above the others, which are the search's, small and pale.
    The arguments are those of `surface`.
    """
    told = Told(as_measured(results, objective), verdict)
    rows = _listed(told)
    with paper(palette, (WIDTH, 0.9 + 0.24 * max(2, len(rows) + told.is_compared))) as sheet:
        _List(sheet, told, rows).draw()
    return sheet.figure


def row_color(row: Row, found: Measured, palette: Palette) -> str:
    """What is not told apart from the default is grey."""
    low, high = (row.low, row.high) if row.has_interval else (row.gain, row.gain)
    none = found.comparison.none
    if low > none:
        return palette.better
    return palette.worse if high < none else palette.neither


def _listed(told: Told) -> list[Row]:
    """The best rows, with the default's among them."""
    rest = told.working[MOST_ROWS:]
    return told.working[:MOST_ROWS] + [row for row in rest if told.marks(row)]


@dataclass(frozen=True)
class _List:
    """A list of configurations on its paper."""

    paper: Paper
    told: Told
    rows: list[Row]

    def draw(self) -> None:
        """Draw all of it."""
        for place, row in zip(self._places, self.rows, strict=True):
            self._row(place, row)
            self._say_gain(place, row)
        self._base()
        self._name_rows()
        self._labels()

    @functools.cached_property
    def _places(self) -> list[int]:
        """How far down each row stands: below those measured afresh a line is free for a name."""
        return [place + self.told.is_muted(row) for place, row in enumerate(self.rows)]

    def _row(self, place: int, row: Row) -> None:
        """A dot, hollow where a limit is broken, and a line for the interval."""
        axes, palette, found = self.paper.axes, self.paper.palette, self.told.found
        color, is_muted = row_color(row, found, palette), self.told.is_muted(row)
        at, *ends = map(found.drawn, (row.gain, row.low, row.high))
        if row.has_interval:
            alpha = 0.25 if is_muted else 0.55
            axes.plot(ends, [place, place], color=color, lw=1 if is_muted else 2, alpha=alpha)
        filled = color if row.miss <= 0 else palette.paper
        axes.plot(
            at, place, "o", color=color, ms=3.5 if is_muted else 5.5, markerfacecolor=filled,
            alpha=0.6 if is_muted else 1.0, gid="row",
        )  # fmt: skip

    def _say_gain(self, place: int, row: Row) -> None:
        """What it has gained, after its row."""
        said, is_muted = self.told.found.said(row), self.told.is_muted(row)
        self.paper.axes.annotate(
            said if row.miss <= 0 else f"{said}, breaks a limit",
            (1.01, place), xycoords=("axes fraction", "data"), va="center",
            annotation_clip=False, weight=self._weight(row), color=self._color(row),
            size=8 if is_muted else 10, gid="searched" if is_muted else "gain",
        )  # fmt: skip

    def _base(self) -> None:
        """The line that means no gain, with its name."""
        axes, soft, found = self.paper.axes, self.paper.palette.soft, self.told.found
        base = found.drawn(found.comparison.none)
        axes.vlines(base, -0.4, self._places[-1] + 0.6, color=soft, lw=1, zorder=0)
        axes.text(base, -0.5, found.baseline.name, ha="center", color=soft, size=9)

    def _name_rows(self) -> None:
        axes = self.paper.axes
        free = [one for one in range(self._places[-1]) if one not in self._places]
        names = [*map(self._name, self.rows), *(["by the search alone:"] * len(free))]
        axes.set_yticks([*self._places, *free], names)
        for label, row in zip(axes.get_yticklabels(), self.rows, strict=False):
            label.set_color(self._color(row))
            label.set_fontweight(self._weight(row))
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(self._places[-1] + 0.6, -1.2)
        axes.spines["left"].set_visible(False)

    def _labels(self) -> None:
        said = gain_label(self.told.found) + self._left_out()
        self.paper.axes.set_xlabel(said, loc="right")  # long names leave the axis little room
        names = brief_names(self.told.found.axes)
        soft = self.paper.palette.soft
        self.paper.figure.suptitle(names, x=0.01, ha="left", size=9, color=soft)

    def _left_out(self) -> str:
        """How many there are beside those in the list."""
        count = len(self.told.working) - len(self.rows)
        return f"\n{count} more, none of them better, are left out" if count else ""

    def _name(self, row: Row) -> str:
        return "  ".join([*self.told.marks(row), brief_values(row.config)])

    def _weight(self, row: Row) -> str:
        return "bold" if self.told.is_strong(row) else "normal"

    def _color(self, row: Row) -> str:
        palette = self.paper.palette
        return palette.soft if self.told.is_muted(row) else palette.ink
