"""The map of what was measured: a cell for each pair of values."""

from __future__ import annotations

import functools
import itertools
import math
import numbers
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kamerton_ray.answer.verdict import Verdict
from kamerton_ray.machine.knobs import STOCK
from kamerton_ray.machine.threads import OVERSUBSCRIBED, THREADS
from kamerton_ray.numeric import number
from kamerton_ray.report.labels import TITLE_LENGTH, VALUE_LENGTH, gain_label, short
from kamerton_ray.report.measured import Row, as_measured
from kamerton_ray.report.palette import LIGHT, Palette, mixed, readable_on
from kamerton_ray.report.paper import WIDTH, Paper, paper
from kamerton_ray.report.told import CHOSEN, Told
from kamerton_ray.trial.config import INSTANCES_KEY, Config
from kamerton_ray.trial.objective import Objective

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Place = tuple[int, int]
"""A cell of a map: across and up, from 0."""

ROW, COLUMN = 0.6, 0.58
"""A cell's least height and width in inches."""

NAMED_COLUMN = 0.78
"""Its least width where other values in it stand beside their names."""

LETTER, SMALL_LETTER = 0.085, 0.065
"""What a letter needs in inches below a map, and in a cell."""

LINES, LINE = 2, 0.15
"""So many lines fit below its value, and this is what another one needs in inches."""

MUTED = 0.5
"""How strong the colour of what the search alone has measured is beside that of fresh runs."""

MOST_FILLED = 12
"""Up to this many integers in a row are all on a map's axis, measured or not."""

NAMED_LENGTH = 12
"""Values in a cell stand beside their names where none of these lines is longer."""

LEAST_CONTRAST, MOST_CONTRAST = math.log(1.15), math.log(2.0)
"""The gain whose colour is the strongest lies between these: noise should not look dramatic."""


def surface(
    results: object,
    *,
    verdict: Verdict | None = None,
    objective: Objective | None = None,
    palette: Palette = LIGHT,
) -> Figure:
    """The map of what was measured: a cell for each pair of values.

    A cell's colour is its gain over the default, which is written in it: that of the fresh runs,
    or else, small and pale, that of the search. The number in its corner is that of its trial. Of
    more than two tuned parameters the first two make the map, and a cell shows the
    best over the others. A single one makes a strip. Of instances and their intra-op threads the
    cells that are not worth a trial are crossed out: more than two threads for each CPU.

    Args:
        results: What `report` takes.
        verdict: Names the best, and has the fresh runs; without it all is the search's.
        objective: What the configurations are judged by.
        palette: The colours.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    found = as_measured(results, objective)
    told = Told(found, verdict)
    cells = _Cells(told)
    with paper(palette, _size(cells)) as sheet:
        _Map(sheet, told, cells).draw()
    return sheet.figure


# --- where the configurations lie ----------------------------------------------------------------


class _Cells:
    """Which configurations lie in which cell of a map.

    Attributes:
        names: The axes' names, across and up; empty where there is none.
        others: What else was tuned.
        across: The values on the first axis, in order.
        up: The same on the second.
        rows: The configurations of each cell, those that were measured afresh before the others,
            and the best first.
        is_named: Whether a cell has room for the names of its other values.
        unmeasured: The cell of the default, where nothing was measured in it.
    """

    def __init__(self, told: Told) -> None:
        found = told.found
        self._told = told
        self.names = [*found.axes, "", ""][:2]
        self.others = found.axes[2:]
        shown = [row.config for row in found.rows] + [c for c in [found.default] if c]
        self.across, self.up = (_in_order([one.get(name) for one in shown]) for name in self.names)
        said = [f"{name}={row.config.get(name)}" for name in self.others for row in found.rows]
        self.is_named = bool(said) and max(map(len, said)) <= NAMED_LENGTH
        self.rows: dict[Place, list[Row]] = {}
        for row in told.rows:
            self.rows.setdefault(self.place(row.config), []).append(row)
        place = None if found.default is None else self.place(found.default)
        self.unmeasured = None if place in self.rows else place

    @property
    def empty(self) -> list[Place]:
        """The cells in which nothing was measured, the default's left out."""
        places = itertools.product(range(len(self.across)), range(len(self.up)))
        return [one for one in places if one not in self.rows and one != self.unmeasured]

    def crowded(self, cpus: int) -> list[Place]:
        """Those of them with too many threads for so many CPUs; none where such were tried."""
        if self.names != [INSTANCES_KEY, "intra_op"] or not cpus:
            return []

        def is_crowded(place: Place) -> bool:
            threads = number(self.across[place[0]]) * number(self.up[place[1]])
            return threads > OVERSUBSCRIBED * cpus

        return [] if any(map(is_crowded, self.rows)) else list(filter(is_crowded, self.empty))

    def shown(self) -> Iterator[tuple[Place, Row]]:
        """Each cell in which something was measured, with the configuration that it shows."""
        for place, rows in self.rows.items():
            yield place, next(filter(self._told.is_best, rows), rows[0])

    def lines(self, row: Row) -> list[str]:
        """What stands below the value of a configuration: what its place does not say of it."""
        values = {name: short(row.config.get(name), VALUE_LENGTH) for name in self.others}
        others = (f"{n}={value}" if self.is_named else value for n, value in values.items())
        found = self._told.found
        below = found.objective.below(row.gain, found.comparison).removeprefix(", ")
        return [*others, *self._told.marks(row, brief=True), *filter(None, [below])]

    def place(self, config: Config) -> Place:
        """The cell of a configuration."""
        x, y = (config.get(name) for name in self.names)
        return self.across.index(x), self.up.index(y)


def _in_order(values: Sequence[object]) -> list[object]:
    """The values in order; a short range of integers without gaps."""
    distinct = {repr(value): value for value in values}.values()
    counts = [int(value) for value in distinct if isinstance(value, numbers.Integral)]
    if len(counts) == len(distinct) and _is_short(counts):
        return list(range(min(counts), max(counts) + 1))
    # What is no number comes after those that are, by its name, and what sets nothing first.
    named = sorted(distinct, key=lambda one: (one != STOCK, repr(one)))
    return sorted((one for one in named if not math.isnan(number(one))), key=number) + [
        one for one in named if math.isnan(number(one))
    ]


def _is_short(counts: Sequence[int]) -> bool:
    """Whether an axis has room for all integers between these."""
    return max(counts) - min(counts) < max(MOST_FILLED, 1.5 * len(counts))


def _size(cells: _Cells) -> tuple[float, float]:
    across, up = len(cells.across), len(cells.up)
    return max(WIDTH, 0.8 + _column(cells) * across), 1.0 + _row(cells) * up


def _column(cells: _Cells) -> float:
    """A cell's width in inches, in which the words in it and below it have room."""
    lines = [line for _, row in cells.shown() for line in cells.lines(row)]
    values = [short(value, VALUE_LENGTH) for value in cells.across]
    least = NAMED_COLUMN if cells.is_named else COLUMN
    return max(least, LETTER * _longest(values), SMALL_LETTER * _longest(lines))


def _longest(texts: Sequence[str]) -> int:
    return max(map(len, texts), default=0)


def _row(cells: _Cells) -> float:
    """A cell's height in inches, in which the lines below its value have room."""
    most = max((len(cells.lines(row)) for _, row in cells.shown()), default=0)
    return ROW + LINE * max(0, most - LINES)


# --- drawing them --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Map:
    """A map on its paper."""

    paper: Paper
    told: Told
    cells: _Cells

    def draw(self) -> None:
        """Draw all of it."""
        for place, row in self.cells.shown():
            fill = self._fill(row)
            self._box(place, fill, outlined=self.told.is_best(row))
            self._write(place, row, fill or self.paper.palette.paper)
        self._unmeasured()
        self._ticks()
        self._labels()

    def _fill(self, row: Row) -> str | None:
        """A cell's colour; None where its trials failed."""
        if not row.worked:
            return None
        palette, merit = self.paper.palette, self.told.merit(row)
        end = palette.better if merit > 0 else palette.worse
        share = min(1.0, abs(merit) / self._strongest)
        return mixed(palette.middle, end, share * (MUTED if self.told.is_muted(row) else 1))

    @functools.cached_property
    def _strongest(self) -> float:
        """The merit whose colour is the strongest."""
        told = self.told
        most = max((abs(told.merit(row)) for row in told.working), default=1.0)
        return min(max(most, LEAST_CONTRAST), MOST_CONTRAST) if told.found.ratios else most or 1.0

    def _box(self, place: Place, fill: str | None, *, outlined: bool) -> None:
        from matplotlib.patches import Rectangle  # noqa: PLC0415 - an extra

        (x, y), palette = place, self.paper.palette
        self.paper.axes.add_patch(
            Rectangle(
                (x - 0.46, y - 0.45),
                0.92,
                0.9,
                facecolor=fill or "none",
                edgecolor=palette.ink if outlined else palette.line,
                linewidth=2 if outlined else 0.5,
                hatch=None if fill else "////",
                zorder=2 if outlined else 1,
                gid="cell",
            )
        )

    def _write(self, place: Place, row: Row, ground: str) -> None:
        """The value, under it what the cell is, and in its corner the trial's number."""
        (x, y), told = place, self.told
        said = self.cells.lines(row)
        write = functools.partial(self.paper.axes.text, color=readable_on(ground), zorder=4)
        value = told.found.shown(row) if row.worked else "failed"
        weight = "bold" if told.is_strong(row) else "normal"
        size = 8 if told.is_muted(row) or not row.worked else 10
        middle = y - 0.08 + 0.07 * min(LINES, len(said))
        middle += LINE / _row(self.cells) * 0.6 * max(0, len(said) - LINES)
        write(
            x, middle, value, ha="center", va="center", weight=weight, size=size,
            style="italic" if told.is_muted(row) else "normal",
            gid="searched" if told.is_muted(row) else "gain",
        )  # fmt: skip
        if said:
            under = "\n".join(said)
            write(x, y - 0.4, under, ha="center", va="bottom", size=7.5, linespacing=0.95)
        write(x - 0.42, y + 0.4, _trials(row), ha="left", va="top", size=7)

    def _unmeasured(self) -> None:
        """What cells are that were not measured: the default's, a cross for no trial, or a dot."""
        axes, palette = self.paper.axes, self.paper.palette
        if self.cells.unmeasured:
            x, y = self.cells.unmeasured
            axes.text(x, y, "default", ha="center", va="center", color=palette.soft, size=7)
        places = [place for place in self.cells.empty if place not in self._crowded]
        axes.plot(*_across_and_up(places), ".", color=palette.line, ms=3)
        crosses = _across_and_up(self._crowded)
        axes.plot(*crosses, "x", color=palette.neither, ms=4, alpha=0.7, gid="crowded")

    @functools.cached_property
    def _crowded(self) -> list[Place]:
        return self.cells.crowded(self.told.found.cpus)

    def _ticks(self) -> None:
        axes, cells = self.paper.axes, self.cells
        for show, values in ((axes.set_xticks, cells.across), (axes.set_yticks, cells.up)):
            show(range(len(values)), [short(one, VALUE_LENGTH) for one in values])
        axes.set(xlim=(-0.55, len(cells.across) - 0.45), ylim=(-0.55, len(cells.up) - 0.45))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    def _labels(self) -> None:
        axes, (across, up) = self.paper.axes, self.cells.names
        axes.set_xlabel(_axis_label(across))
        if up:
            axes.set_ylabel(_axis_label(up))
        else:
            axes.set_yticks([])
        title = [gain_label(self.told.found), *self._explained()]
        axes.set_title("\n".join(title), loc="left", size=9, color=self.paper.palette.soft)

    def _explained(self) -> Iterator[str]:
        """What else is to be known of the cells, in lines."""
        others = short(", ".join(self.cells.others), TITLE_LENGTH)
        if self.cells.is_named:
            yield f"each cell: the best over {others}"
        elif others:
            yield f"each cell: the best over what is written below,\n{others}"
        if self.told.is_compared:
            yield "upright: fresh runs; small and slanted: the search's"
        if self.told.best is not None and self.told.mark is CHOSEN:
            yield f"{CHOSEN.brief}: {CHOSEN.full.removeprefix(CHOSEN.brief).strip()}"
        if self._crowded:
            yield f"crossed out: over {OVERSUBSCRIBED} threads a CPU, not worth a trial"


def _across_and_up(places: Sequence[Place]) -> tuple[list[int], list[int]]:
    return [x for x, _ in places], [y for _, y in places]


def _trials(row: Row) -> str:
    """The numbers of a row's trials, or how many there are after the first."""
    first, *more = row.trials
    if not more:
        return str(first)
    return f"{first}, {more[0]}" if len(more) == 1 else f"{first} +{len(more)}"


def _axis_label(name: str) -> str:
    return f"{name} (threads)" if name in THREADS else short(name)
