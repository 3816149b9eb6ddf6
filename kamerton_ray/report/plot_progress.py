"""The best so far, against trials or time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.report.labels import gain_label
from kamerton_ray.report.measured import Measured, as_measured, times
from kamerton_ray.report.palette import LIGHT, Palette
from kamerton_ray.report.paper import WIDTH, Level, Paper, paper
from kamerton_ray.trial.objective import Objective

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPANS = ((300.0, 1, "s"), (3 * 3600.0, 60, "min"), (math.inf, 3600, "h"))
"""Up to how many seconds a unit of time is used, how many seconds it has, and its name."""


class _Span(NamedTuple):
    """When each trial ended, in what is counted, and what that is."""

    ends: Sequence[float]
    label: str
    counts_trials: bool = False


def progress(
    results: object,
    *,
    against: str = "trials",
    objective: Objective | None = None,
    palette: Palette = LIGHT,
) -> Figure:
    """The best so far by the search's own numbers, and each trial.

    Args:
        results: As in `surface`, and so are the other arguments.
        against: `"trials"`, or `"time"` since the first one began.
        objective: What the configurations are judged by.
        palette: The colours.

    Raises:
        InvalidInputError: `against` is neither, or the results do not say their times.
        MissingExtraError: matplotlib is not installed.
    """
    found = as_measured(results, objective)
    span = _span(found, against)
    with paper(palette, (WIDTH, 2.7)) as sheet:
        base = found.drawn(found.comparison.none)
        levels = [Level(base, found.baseline.name, palette.soft)]
        if points := _points(found, span.ends):
            best = _draw(sheet, found, points, last=max(span.ends))
            levels.append(Level(best, _said(best, found), palette.soft, "normal"))
        sheet.axes.axhline(base, color=palette.soft, lw=1, zorder=0)
        sheet.name_levels(levels)
        sheet.axes.set_xlabel(span.label)
        sheet.axes.set_ylabel(gain_label(found, brief=True))
        sheet.axes.set_xlim(left=0)
        if span.counts_trials:
            sheet.count_below()
    return sheet.figure


def _span(found: Measured, against: str) -> _Span:
    if against not in {"trials", "time"}:
        raise InvalidInputError(f"against must be 'trials' or 'time', but got {against!r}")
    if against == "trials":
        return _Span(range(1, len(found.results) + 1), "trials", counts_trials=True)
    seconds = times(found.results)
    if seconds is None:
        raise InvalidInputError("results must say their times, but have no time_total_s")
    size, unit = next((size, unit) for most, size, unit in SPANS if max(seconds) <= most)
    return _Span([one / size for one in seconds], f"time since the search began ({unit})")


def _points(found: Measured, ends: Sequence[float]) -> list[tuple[float, float]]:
    """When each trial that worked ended, and its gain as it is drawn."""
    values = sorted(
        (end, found.value(result))
        for end, result in zip(ends, found.results, strict=True)
        if not math.isnan(found.value(result))
    )
    return [(end, found.drawn(found.gain(value))) for end, value in values]


def _draw(
    sheet: Paper, found: Measured, points: Sequence[tuple[float, float]], *, last: float
) -> float:
    """A dot for each trial, and the best so far as a line up to the last one; the best."""
    at, gains = [end for end, _ in points], [gain for _, gain in points]
    higher = found.ratios or found.objective.mode == "max"
    best = list(itertools.accumulate(gains, max if higher else min))
    axes, palette = sheet.axes, sheet.palette
    axes.plot(at, gains, "o", color=palette.neither, ms=4, alpha=0.8, gid="trial")
    axes.step([*at, last], [*best, best[-1]], where="post", color=palette.soft, lw=1.5)
    return best[-1]


def _said(best: float, found: Measured) -> str:
    return f"{best:.2f}x" if found.ratios else f"{best:.4g}"
