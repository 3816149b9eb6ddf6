"""Pictures of a search and its verdict, as matplotlib figures for notebooks and the report.

Colours are told apart by the colour-blind (blue is better, orange worse), and none has to be
decoded: what it says is written beside it. Names are shown as they are, never read as mathematics.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import numbers
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from kamerton_ray.answer.verdict import Verdict
from kamerton_ray.errors import InvalidInputError, MissingExtraError
from kamerton_ray.machine.threads import THREADS
from kamerton_ray.numeric import number
from kamerton_ray.report.measured import Measured, Row
from kamerton_ray.trial.config import Config
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result, median_of
from kamerton_ray.tune.results import trial_results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = tuple[int, int]
"""A cell of a map: across and up, from 0."""

WIDTH = 4.4
"""A figure's width in inches, unless it has more to show: at 72 to the inch it fits a phone."""

ROW, COLUMN = 0.6, 0.58
"""A cell's height and width in inches, at the least."""

MOST_FILLED = 12
"""Up to so many integers in a row are all on a map's axis, measured or not."""

GAP = 0.09
"""Names beside a picture are so far apart, as a share of its height."""

MOST_ROWS = 25
"""So many configurations are shown in a list; the best of them."""

LEAST_CONTRAST, MOST_CONTRAST = math.log(1.15), math.log(2.0)
"""The gain whose colour is the strongest lies between these: noise should not look dramatic."""

NAMES = {
    "seconds": "time taken",
    "seconds_p90": "step time, 90th percentile",
    "seconds_p99": "step time, 99th percentile",
    "cpu_seconds": "CPU time of a step",
}

NAME_LENGTH = 28
"""Longer names are cut in a picture."""

TITLE_LENGTH = 46
"""So long a line above a picture may be."""


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours of a picture.

    Attributes:
        paper: The background.
        ink: What matters.
        soft: What explains.
        line: Axes and grids.
        better: Better than the default.
        worse: Worse.
        neither: Not told apart from it.
        middle: A cell that is as good as the default.
    """

    paper: str
    ink: str
    soft: str
    line: str
    better: str
    worse: str
    neither: str
    middle: str


LIGHT = Palette(
    paper="#ffffff",
    ink="#1a1f26",
    soft="#59636f",
    line="#d5dae0",
    better="#1b6cb0",
    worse="#b8500c",
    neither="#7c8692",
    middle="#eceff2",
)
DARK = Palette(
    paper="#14171b",
    ink="#e9ecef",
    soft="#a0a9b4",
    line="#3a414a",
    better="#63b3f4",
    worse="#f0984e",
    neither="#8d97a3",
    middle="#2a3037",
)


class Unit(NamedTuple):
    """How a metric is shown: by how much it is multiplied, and what the unit is then."""

    scale: float
    name: str


UNITS = ((1.0, Unit(1.0, "s")), (1e-3, Unit(1e3, "ms")), (0.0, Unit(1e6, "µs")))
"""From which number of seconds on which unit is used."""


def surface(
    results: object,
    *,
    verdict: Verdict | None = None,
    objective: Objective | None = None,
    palette: Palette = LIGHT,
) -> Figure:
    """The map of what was measured: a cell for each pair of values, and the search's path on it.

    A cell's colour is its gain over the default, which is written in it; the small number is that
    of its trial. Of more than two tuned parameters the first two make the map, and a cell shows the
    best over the others; a single one makes a strip.

    Args:
        results: Whatever `trial_results` takes, or a `Measured`.
        verdict: Names the best; without it that is the search's.
        objective: What the configurations are judged by.
        palette: The colours.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    found = measured(results, objective)
    cells = _Cells(found)
    best = best_row(found, verdict)
    with _figure(palette, _map_size(cells)) as (figure, axes):
        limit = _contrast(found)
        for place, rows in cells.rows.items():
            row = next((one for one in rows if one is best), rows[0])
            fill = _fill(row, found, limit, palette)
            marks = marks_of(row, found, best)
            others = [short(row.config.get(name), 8) for name in cells.others]
            _cell(axes, place, fill, palette=palette, outlined="best" in marks)
            _write(
                axes,
                place,
                row,
                value=found.shown(row) if row.worked else "failed",
                said=[*others, *marks],
                fill=fill or palette.paper,
                color=readable_on(fill or palette.paper),
            )
        if cells.unmeasured:
            axes.text(
                *cells.unmeasured, "default", ha="center", va="center", color=palette.soft, size=7
            )
        _dots(axes, cells, palette)
        _path(axes, cells, palette)
        _map_axes(axes, cells, found, palette)
    return figure


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
    found = measured(results, objective)
    best = best_row(found, verdict)
    rows, left_out = _shown_rows(found, best)
    with _figure(palette, (WIDTH, 0.9 + 0.24 * max(2, len(rows)))) as (figure, axes):
        for place, row in enumerate(rows):
            color = row_color(row, found, palette)
            at, *ends = map(found.drawn, (row.gain, row.low, row.high))
            if not math.isnan(row.low):
                axes.plot(ends, [place, place], color=color, lw=2, alpha=0.55)
            filled = color if row.miss <= 0 else palette.paper
            axes.plot(at, place, "o", color=color, ms=5.5, markerfacecolor=filled, gid="row")
            said = found.shown(row) + ("x" if found.ratios else "")
            said += "" if row.miss <= 0 else ", breaks a limit"
            axes.annotate(
                said,
                (1.01, place),
                xycoords=("axes fraction", "data"),
                va="center",
                weight="bold" if row is best else "normal",
                color=palette.ink,
                annotation_clip=False,
            )
        base = found.drawn(found.comparison.none)
        axes.vlines(base, -0.4, len(rows) - 0.4, color=palette.soft, lw=1, zorder=0)
        axes.text(base, -0.5, found.baseline.name, ha="center", color=palette.soft, size=9)
        labels = ["  ".join([*marks_of(row, found, best), _values(row)]) for row in rows]
        axes.set_yticks(range(len(rows)), labels)
        for label, row in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_color(palette.ink)
            label.set_fontweight("bold" if row is best else "normal")
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) - 0.4, -1.2)
        axes.set_xlabel(_gain_label(found) + left_out)
        names = short(" · ".join(found.axes), TITLE_LENGTH)
        figure.suptitle(names, x=0.01, ha="left", size=9, color=palette.soft)
        axes.spines["left"].set_visible(False)
    return figure


def progress(
    results: object,
    *,
    against: str = "trials",
    objective: Objective | None = None,
    palette: Palette = LIGHT,
) -> Figure:
    """The best so far, and each trial.

    Args:
        results: As in `surface`, and so are the other arguments.
        against: `"trials"`, or `"time"` since the first one began.
        objective: What the configurations are judged by.
        palette: The colours.

    Raises:
        InvalidInputError: `against` is neither, or the results do not say their times.
        MissingExtraError: matplotlib is not installed.
    """
    found = measured(results, objective)
    if against not in {"trials", "time"}:
        raise InvalidInputError(f"against must be 'trials' or 'time', but got {against!r}")
    seconds = times(found.results) if against == "time" else None
    if against == "time" and seconds is None:
        raise InvalidInputError("results must say their times, but have no time_total_s")
    ends, unit = (range(1, len(found.results) + 1), "trials") if seconds is None else _span(seconds)
    points = sorted(
        (at, found.value(result))
        for at, result in zip(ends, found.results, strict=True)
        if not math.isnan(found.value(result))
    )
    with _figure(palette, (WIDTH, 2.7)) as (figure, axes):
        at = [x for x, _ in points]
        gains = [found.drawn(found.gain(value)) for _, value in points]
        best = list(itertools.accumulate(gains, max if _higher(found) else min))
        axes.plot(at, gains, "o", color=palette.neither, ms=4, alpha=0.8, gid="trial")
        if best:
            axes.step([*at, max(ends)], [*best, best[-1]], where="post", color=palette.better, lw=2)
        base = found.drawn(found.comparison.none)
        axes.axhline(base, color=palette.soft, lw=1, zorder=0)
        said = [(best[-1], f"{best[-1]:.4g}" if not found.ratios else f"{best[-1]:.2f}x")]
        _say_levels(
            axes,
            [
                *((value, text, palette.better) for value, text in said),
                (base, found.baseline.name, palette.soft),
            ],
        )
        axes.set_xlabel("trials" if unit == "trials" else f"time since the search began ({unit})")
        axes.set_ylabel(_gain_label(found, brief=True))
        axes.set_xlim(left=0)
        if unit == "trials":
            _whole_numbers(axes)
    return figure


def rounds(
    verdict: Verdict, *, objective: Objective | None = None, palette: Palette = LIGHT
) -> Figure:
    """The fresh runs of the default and of the best: a dot for each process, round by round.

    Args:
        verdict: With its rounds.
        objective: What was judged by; for a speed-up the step time is shown.
        palette: The colours.

    Raises:
        InvalidInputError: The verdict has no rounds.
        MissingExtraError: matplotlib is not installed.
    """
    if not verdict.rounds:
        raise InvalidInputError("a verdict must have rounds to show them, but this one has none")
    metric = (objective or Objective()).metric
    metric = "seconds" if metric == "speedup" else metric
    pairs = [
        (_fresh(one, None, metric), _fresh(one, verdict.config, metric)) for one in verdict.rounds
    ]
    unit = unit_of(metric, [value for pair in pairs for value in pair])
    scale = unit.scale
    with _figure(palette, (WIDTH, 2.8)) as (figure, axes):
        for place, (default, best) in enumerate(pairs, 1):
            final = place > verdict.race_rounds
            alpha = 1.0 if final else 0.4
            ys = [default * scale, best * scale]
            axes.plot([place, place], ys, color=palette.line, lw=1.2, zorder=1)
            for y, color in zip(ys, (palette.neither, palette.better), strict=True):
                axes.plot(place, y, "o", color=color, ms=5.5, alpha=alpha, gid="fresh")
        middles = [
            median_of([{"y": pair[which] * scale} for pair in pairs], "y") for which in (0, 1)
        ]
        names = zip(middles, ("default", "best"), (palette.soft, palette.better), strict=True)
        _say_levels(axes, [level for level in names if not math.isnan(level[0])])
        axes.set(xlabel="round (fresh processes each)", ylabel=label_of(metric, unit))
        axes.set_xlim(0.4, len(pairs) + 0.6)
        _whole_numbers(axes)
        _stages(axes, verdict, palette)
    return figure


# --- what is shown -------------------------------------------------------------------------------


def measured(results: object, objective: Objective | None = None) -> Measured:
    """What was measured, from whatever holds it."""
    return results if isinstance(results, Measured) else Measured(trial_results(results), objective)


def best_row(found: Measured, verdict: Verdict | None) -> Row | None:
    """The verdict's best, or else the search's."""
    told = None if verdict is None else found.find(verdict.config)
    return told or found.best


def short(name: object, length: int = NAME_LENGTH) -> str:
    """A name as it is shown: on one line, and not too long."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(name))
    return text if len(text) <= length else text[: length - 1] + "…"


def unit_of(metric: str, values: Sequence[float]) -> Unit:
    """The unit in which these values of a metric are best read; without a name if it is unknown."""
    if metric == "throughput":
        return Unit(1.0, "steps/s")
    if metric not in NAMES:
        return Unit(1.0, "")
    largest = max((abs(value) for value in values if not math.isnan(value)), default=1.0)
    return next(unit for least, unit in UNITS if largest >= least)


def label_of(metric: str, unit: Unit) -> str:
    """A metric in words, with its unit."""
    return f"{NAMES.get(metric, short(metric))} ({unit.name or 'as printed'})"


def times(results: Sequence[Result]) -> list[float] | None:
    """When each trial ended, in seconds since the first one began; None where nothing says it."""
    took = [result.time_total_s for result in results]
    ends = [result.timestamp for result in results]
    known = [end for end in ends if not math.isnan(end)]
    if known and len(known) == len(ends):
        begin = min(end - (0 if math.isnan(t) else t) for end, t in zip(ends, took, strict=True))
        return [end - begin for end in ends]
    if all(math.isnan(one) for one in took):
        return None
    return list(itertools.accumulate(0.0 if math.isnan(one) else one for one in took))


def _span(seconds: Sequence[float]) -> tuple[Sequence[float], str]:
    divisor, unit = next(
        (divisor, unit)
        for most, divisor, unit in ((300, 1, "s"), (3 * 3600, 60, "min"), (math.inf, 3600, "h"))
        if max(seconds) <= most
    )
    return [one / divisor for one in seconds], unit


def _higher(found: Measured) -> bool:
    """Whether higher is better in what is shown."""
    return found.ratios or found.objective.mode == "max"


def _gain_label(found: Measured, *, brief: bool = False) -> str:
    metric = short(found.objective.metric)
    if not found.ratios:
        return f"{metric} ({'higher' if found.objective.mode == 'max' else 'lower'} is better)"
    better = found.objective.better().replace(found.objective.metric, metric)
    whose = {"default": "TensorFlow's default", "start": "the start", "median": "the median"}
    if brief:
        return f"times {better}"
    return f"times {better} than {whose[found.baseline.name]}"


def marks_of(row: Row, found: Measured, best: Row | None) -> list[str]:
    """What a configuration is beside its values: the best, the default."""
    base = found.default or found.baseline.config
    named = [("best", row is best), (found.baseline.name, row.config == base)]
    return [name for name, is_it in named if is_it]


def _values(row: Row) -> str:
    return " · ".join(short(value, 12) for value in row.config.values())


def _shown_rows(found: Measured, best: Row | None) -> tuple[list[Row], str]:
    """The best rows, with the default's among them, and what to say of those left out."""
    rows = found.working[:MOST_ROWS]
    rest = found.working[MOST_ROWS:]
    rows += [row for row in rest if marks_of(row, found, best)]
    count = len(found.working) - len(rows)
    return rows, f"\n{count} more, none of them better, are left out" if count else ""


def _fresh(results: Sequence[Result], config: Config | None, metric: str) -> float:
    return next((one.number(metric) for one in results if one.config == config), math.nan)


# --- the map -------------------------------------------------------------------------------------


class _Cells:
    """Which configurations lie in which cell of a map.

    Attributes:
        names: The axes' names, across and up.
        across: The values on the first axis, in order.
        up: The same on the second.
        rows: The configurations of each cell, the best first.
    """

    def __init__(self, found: Measured) -> None:
        self.names = [*found.axes, "", ""][:2]
        self.others = found.axes[2:]
        shown = [row.config for row in found.rows] + [c for c in [found.default] if c]
        self.across, self.up = (_ticks([one.get(name) for one in shown]) for name in self.names)
        self.rows: dict[Place, list[Row]] = {}
        for row in found.rows:
            self.rows.setdefault(self.place(row.config), []).append(row)
        trials = {trial: row for row in found.rows for trial in row.trials}
        missing = found.default if found.find(found.default) is None else None
        self.unmeasured = None if missing is None else self.place(missing)
        self.path = [self.place(trials[trial].config) for trial in sorted(trials)]

    def place(self, config: Config) -> Place:
        """The cell of a configuration."""
        x, y = (config.get(name) for name in self.names)
        return self.across.index(x), self.up.index(y)


def _ticks(values: Sequence[Any]) -> list[Any]:
    """The values in order; those of a short range of integers without gaps."""
    distinct = {repr(value): value for value in values}.values()
    if all(isinstance(value, numbers.Integral) for value in distinct):
        low, high = min(distinct), max(distinct)
        if high - low < max(MOST_FILLED, 1.5 * len(distinct)):
            return list(range(low, high + 1))
    # What is no number comes after those that are, by its name.
    named = sorted(distinct, key=repr)
    return sorted((one for one in named if not math.isnan(number(one))), key=number) + [
        one for one in named if math.isnan(number(one))
    ]


def _map_size(cells: _Cells) -> tuple[float, float]:
    return max(WIDTH, 0.8 + COLUMN * len(cells.across)), 1.0 + ROW * len(cells.up)


def _cell(axes: Axes, place: Place, fill: str | None, *, palette: Palette, outlined: bool) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - an extra

    x, y = place
    axes.add_patch(
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


def _write(
    axes: Axes,
    place: Place,
    row: Row,
    *,
    value: str,
    said: Sequence[str],
    fill: str,
    color: str,
) -> None:
    """The value, under it what the cell is, and in its corner the trial's number."""
    x, y = place
    # Its own ground keeps the search's path from crossing it.
    ground = {"facecolor": fill, "edgecolor": "none", "pad": 0.8}
    style: dict[str, Any] = {"color": color, "zorder": 4, "bbox": ground}
    middle = y - 0.08 + 0.07 * len(said)
    weight, size = ("bold" if "best" in said else "normal"), (10 if row.worked else 8)
    axes.text(x, middle, value, ha="center", va="center", weight=weight, size=size, **style)
    if said:
        under = "\n".join(said)
        axes.text(x, y - 0.4, under, ha="center", va="bottom", size=7.5, linespacing=0.95, **style)
    first, *more = row.trials
    number = f"{first}, {more[0]}" if len(more) == 1 else f"{first} +{len(more)}" if more else first
    axes.text(x - 0.42, y + 0.4, str(number), ha="left", va="top", size=7, **style)


def _dots(axes: Axes, cells: _Cells, palette: Palette) -> None:
    """A dot for each cell that was not measured."""
    places = itertools.product(range(len(cells.across)), range(len(cells.up)))
    empty = [one for one in places if one not in cells.rows and one != cells.unmeasured]
    xs, ys = ([place[axis] for place in empty] for axis in (0, 1))
    axes.plot(xs, ys, ".", color=palette.line, ms=3)


def _path(axes: Axes, cells: _Cells, palette: Palette) -> None:
    """The way of the search from trial to trial, through the cells' corners, beside the values."""
    xs, ys = ([place[axis] for place in cells.path] for axis in (0, 1))
    axes.plot(
        [x - 0.38 for x in xs], [y + 0.33 for y in ys], color=palette.ink, lw=0.8, alpha=0.35,
        zorder=3, gid="path",
    )  # fmt: skip


def _map_axes(axes: Axes, cells: _Cells, found: Measured, palette: Palette) -> None:
    axes.set_xticks(range(len(cells.across)), [short(one, 8) for one in cells.across])
    axes.set_yticks(range(len(cells.up)), [short(one, 8) for one in cells.up])
    axes.set(xlim=(-0.55, len(cells.across) - 0.45), ylim=(-0.55, len(cells.up) - 0.45))
    axes.set_xlabel(_axis_label(cells.names[0]))
    if cells.names[1]:
        axes.set_ylabel(_axis_label(cells.names[1]))
    else:
        axes.set_yticks([])
    over = short(", ".join(cells.others), TITLE_LENGTH)
    title = _gain_label(found)
    if over:
        title += f"\neach cell: the best over what is written below,\n{over}"
    axes.set_title(title, loc="left", size=9, color=palette.soft)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _axis_label(name: str) -> str:
    return f"{name} (threads)" if name in THREADS else short(name)


def _contrast(found: Measured) -> float:
    """The merit whose colour is the strongest."""
    most = max((abs(found.merit(row.value)) for row in found.working), default=1.0)
    return min(max(most, LEAST_CONTRAST), MOST_CONTRAST) if found.ratios else most or 1.0


def _fill(row: Row, found: Measured, limit: float, palette: Palette) -> str | None:
    """A cell's colour; None where its trials failed."""
    if not row.worked:
        return None
    merit = found.merit(row.value)
    return mixed(
        palette.middle, palette.better if merit > 0 else palette.worse, min(1.0, abs(merit) / limit)
    )


def mixed(one: str, other: str, share: float) -> str:
    """A colour on the way from one to another."""
    parts = [(1 - share) * a + share * b for a, b in zip(_rgb(one), _rgb(other), strict=True)]
    return "#" + "".join(f"{round(part):02x}" for part in parts)


def _rgb(color: str) -> list[int]:
    return [int(color[begin : begin + 2], 16) for begin in (1, 3, 5)]


def readable_on(color: str) -> str:
    """Black or white, of which one always has a contrast above 4.5, as WCAG 2.2 asks for."""
    return max(("#000000", "#ffffff"), key=lambda one: contrast(one, color))


def contrast(one: str, other: str) -> float:
    """How well one colour is read on another, from 1 to 21 (WCAG 2.2, "contrast ratio")."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - sRGB
        for part in (value / 255 for value in _rgb(color))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# --- the other pictures --------------------------------------------------------------------------


def row_color(row: Row, found: Measured, palette: Palette) -> str:
    """What is not told apart from the default is grey."""
    low, high = (row.gain, row.gain) if math.isnan(row.low) else (row.low, row.high)
    none = found.comparison.none
    if low > none:
        return palette.better
    return palette.worse if high < none else palette.neither


def _stages(axes: Axes, verdict: Verdict, palette: Palette) -> None:
    """Which rounds chose among the finalists, and which count."""
    race, last = verdict.race_rounds, len(verdict.rounds)
    if 0 < race < last:
        axes.axvline(race + 0.5, color=palette.line, lw=1)
    for begin, end, name in ((0, race, "race"), (race, last, "final, which counts")):
        if end > begin:
            axes.annotate(
                name, ((begin + end + 1) / 2, 1.02), xycoords=("data", "axes fraction"),
                ha="center", va="bottom", color=palette.soft, size=9,
            )  # fmt: skip


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - an extra

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _say_levels(axes: Axes, levels: Sequence[tuple[float, str, str]]) -> None:
    """Names at the right end of lines, as high as these, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    places: list[float] = []
    for value, name, color in sorted(levels):
        place = max((value - low) / (high - low), places[-1] + GAP if places else -math.inf)
        places.append(place)
        axes.annotate(
            name, (1.02, place), xycoords="axes fraction", va="center", color=color,
            weight="bold", annotation_clip=False,
        )  # fmt: skip


# --- the paper -----------------------------------------------------------------------------------


@contextmanager
def _figure(palette: Palette, size: tuple[float, float]) -> Iterator[tuple[Figure, Axes]]:
    """A figure with axes in our style, whatever the user's is; on it `$` is a dollar sign."""
    try:
        from matplotlib import style  # noqa: PLC0415 - an extra
        from matplotlib.text import Text  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError.of("report", error) from error
    settings = {"text.parse_math": False, "text.usetex": False, "font.size": 10}
    with style.context(["default", settings]):
        figure = _picture()(figsize=size, layout="constrained", facecolor=palette.paper)
        axes = figure.add_subplot(facecolor="none")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[:].set_color(palette.line)
        axes.tick_params(colors=palette.soft, labelcolor=palette.soft, labelsize=9)
        yield figure, axes
        axes.xaxis.label.set_color(palette.ink)
        axes.yaxis.label.set_color(palette.ink)
        for text in figure.findobj(Text):
            text.set_parse_math(False)


@functools.cache
def _picture() -> type[Figure]:
    """A figure that a notebook shows, even one that has not loaded pyplot."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            file = io.BytesIO()
            self.savefig(file, format="png", dpi=144)
            return file.getvalue()

    return Picture
