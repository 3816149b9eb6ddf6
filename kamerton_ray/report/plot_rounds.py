"""The fresh runs of the default and of the best, round by round."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from kamerton_ray.answer.verdict import Verdict
from kamerton_ray.errors import InvalidInputError
from kamerton_ray.report.labels import metric_label, shown_metric, unit_of
from kamerton_ray.report.palette import LIGHT, Palette
from kamerton_ray.report.paper import WIDTH, Level, Paper, paper
from kamerton_ray.report.told import mark_of
from kamerton_ray.trial.config import Config
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RACE_ALPHA = 0.4
"""What does not count is paler."""


class _Pair(NamedTuple):
    """What a round measured of the two; NaN where one failed or took no part."""

    default: float
    best: float


def rounds(
    verdict: Verdict, *, objective: Objective | None = None, palette: Palette = LIGHT
) -> Figure:
    """The fresh runs of the default and of the best: a dot for each process, round by round.

    Args:
        verdict: With its rounds.
        objective: What was judged by; for a speed-up the step time is shown, or, where instances
            are tuned, the steps of all of them.
        palette: The colours.

    Raises:
        InvalidInputError: The verdict has no rounds.
        MissingExtraError: matplotlib is not installed.
    """
    if not verdict.rounds:
        raise InvalidInputError("a verdict must have rounds to show them, but this one has none")
    metric = shown_metric(objective or Objective(), verdict.config or ())
    pairs = _pairs(verdict, metric)
    unit = unit_of(metric, [value for pair in pairs for value in pair])
    pairs = [_Pair(default * unit.scale, best * unit.scale) for default, best in pairs]
    with paper(palette, (WIDTH, 2.8)) as sheet:
        for place, pair in enumerate(pairs, 1):
            _draw(sheet, place, pair, alpha=1.0 if place > verdict.race_rounds else RACE_ALPHA)
        sheet.name_levels(_levels(pairs, mark_of(verdict).brief, palette))
        sheet.axes.set(xlabel="round (fresh processes each)", ylabel=metric_label(metric, unit))
        sheet.axes.set_xlim(0.4, len(pairs) + 0.6)
        sheet.count_below()
        _name_stages(sheet, verdict)
    return sheet.figure


def _pairs(verdict: Verdict, metric: str) -> list[_Pair]:
    return [
        _Pair(_fresh(one, None, metric), _fresh(one, verdict.config, metric))
        for one in verdict.rounds
    ]


def _fresh(results: Sequence[Result], config: Config | None, metric: str) -> float:
    return next((one.number(metric) for one in results if one.config == config), math.nan)


def _draw(sheet: Paper, place: int, pair: _Pair, *, alpha: float) -> None:
    """A dot for each of the two, and a line between them."""
    axes, palette = sheet.axes, sheet.palette
    axes.plot([place, place], pair, color=palette.line, lw=1.2, zorder=1)
    for value, color in zip(pair, (palette.neither, palette.better), strict=True):
        axes.plot(place, value, "o", color=color, ms=5.5, alpha=alpha, gid="fresh")


def _levels(pairs: Sequence[_Pair], best: str, palette: Palette) -> list[Level]:
    """The names of the two, as high as their medians."""
    names = (("default", palette.soft), (best, palette.better))
    return [
        Level(statistics.median(known), name, color)
        for values, (name, color) in zip(zip(*pairs, strict=True), names, strict=True)
        if (known := [value for value in values if not math.isnan(value)])
    ]


def _name_stages(sheet: Paper, verdict: Verdict) -> None:
    """Which rounds chose among the finalists, and which count."""
    axes, palette = sheet.axes, sheet.palette
    race, last = verdict.race_rounds, len(verdict.rounds)
    if 0 < race < last:
        axes.axvline(race + 0.5, color=palette.line, lw=1)
    for begin, end, name in ((0, race, "race"), (race, last, "final, which counts")):
        if end > begin:
            axes.annotate(
                name, ((begin + end + 1) / 2, 1.02), xycoords=("data", "axes fraction"),
                ha="center", va="bottom", color=palette.soft, size=9,
            )  # fmt: skip
