"""The tables of the page and the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kamerton_ray.answer.fresh import Span, gain_of, number_of, pareto
from kamerton_ray.answer.verdict import Standing, Verdict
from kamerton_ray.numeric import number
from kamerton_ray.report.labels import NAMES, better_of, short, shown_metric, unit_of
from kamerton_ray.report.measured import Measured
from kamerton_ray.report.part import Part
from kamerton_ray.report.told import mark_of
from kamerton_ray.trial.comparison import Comparison
from kamerton_ray.trial.config import key_of

TRADED = {"seconds": -1, "seconds_p99": -1, "throughput": 1, "cpu_seconds": -1}
"""What configurations trade off: 1 where more is better, -1 where less is."""

BESIDE = ("cpus", "memory")
"""What is shown beside that."""

COSTS = (*TRADED, *BESIDE)

HEADS = {
    "runs": "fresh runs",
    "seconds": "time",
    "seconds_p99": "p99",
    "throughput": "throughput",
    "cpu_seconds": "CPU time",
    "cpus": "CPUs busy",
    "memory": "memory per process",
}

WHOLE = 1e4
"""From here on numbers have no digits after the point, and no power of ten."""

BRIEF = 5
"""This many configurations are listed on a terminal."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Configurations and their numbers.

    Attributes:
        heads: What the columns are, with their units.
        rows: For each configuration its name, its marks and its numbers as texts.
    """

    heads: list[str]
    rows: list[tuple[str, str, list[str]]]


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A line of a table: a configuration, and its numbers by key, without a width or with one."""

    name: str
    marks: str
    numbers: Mapping[str, Span]


# --- which there are -----------------------------------------------------------------------------


def finalists(part: Part) -> Table | None:
    """The gains of the fresh runs; None where nothing was compared."""
    return _finalists(part, ["gain", "runs", _own_key(part.measured)])


def costs(part: Part) -> Table | None:
    """What the finalists cost; None where but one of the costs is known."""
    table = _finalists(part, list(COSTS))
    return table if table is not None and table.heads[1:] else None


def trade_offs(part: Part) -> Table | None:
    """The Pareto set of the fresh runs; None where no two differ beyond their intervals."""
    verdict = part.verdict
    if verdict is None:
        return None
    rows = [{key: number_of(key, one, verdict) for key in COSTS} for one in verdict.table]
    signs = _traded(rows)
    lines = [
        _Line(
            name=part.measured.words(one.config),
            marks=_mark(one, verdict),
            numbers={"gain": gain_of(one, verdict, part.measured.objective), **row},
        )
        for place in pareto(rows, signs)
        for one, row in [(verdict.table[place], rows[place])]
    ]
    return _table(lines, ["gain", *COSTS], part.measured, verdict.comparison) if lines else None


def traded(part: Part) -> str:
    """By what the Pareto set is chosen, in words; empty where but one of that is known."""
    verdict = part.verdict
    if verdict is None:
        return ""
    known = _traded([{k: number_of(k, one, verdict) for k in TRADED} for one in verdict.table])
    *names, last = [HEADS[key] for key in known] or [""]
    return f"{', '.join(names)} or {last}" if names else ""


def brief(part: Part) -> list[str]:
    """The finalists, or else the search's best, in columns for a terminal."""
    own = _own_key(part.measured)
    # A terminal is narrow: of instances the steps of all say more than the time of one.
    costs = [key for key in TRADED if own != "throughput" or key != "seconds"]
    table = _finalists(part, list(dict.fromkeys(["gain", "runs", own, *costs])))
    if table is None:
        lines = _searched_best(part.measured)
    else:
        lines = [["", *table.heads], *([name, *cells] for name, _, cells in table.rows)]
    return ["", *_aligned(lines)] if lines[1:] else []


# --- what stands in them -------------------------------------------------------------------------


def _finalists(part: Part, keys: Sequence[str]) -> Table | None:
    """The fresh runs' medians of these."""
    verdict = part.verdict
    if verdict is None or not verdict.table:
        return None
    lines = [
        _Line(
            name=part.measured.words(one.config),
            marks=_mark(one, verdict),
            numbers={key: Span.point(number(getattr(one, key))) for key in keys},
        )
        for one in verdict.table
    ]
    return _table(lines, keys, part.measured, verdict.comparison)


def _mark(one: Standing, verdict: Verdict) -> str:
    """What a finalist is beside its numbers."""
    if one.config is not None and one.config == verdict.config:
        return mark_of(verdict).full
    tied = {key_of(config) for config in verdict.tied}
    return "not told apart" if one.config and key_of(one.config) in tied else ""


def _own_key(found: Measured) -> str:
    """Under which key of a finalist its objective stands."""
    metric = shown_metric(found.objective, found.names)
    return metric if metric in COSTS else "value"


def _traded(rows: Sequence[Mapping[str, Span]]) -> dict[str, int]:
    """What these trade off: what is known of two; nothing where that is but one."""
    known = {
        key: sign for key, sign in TRADED.items() if sum(row[key].is_known for row in rows) > 1
    }
    return known if len(known) > 1 else {}


def _searched_best(found: Measured) -> list[list[str]]:
    """The best of the search with their intervals, below what these columns are."""
    lines = [["", "gain" if found.ratios else found.objective.metric, "95 % interval"]]
    for row in found.working[:BRIEF]:
        low, high = map(found.comparison.figure, sorted(map(found.drawn, (row.low, row.high))))
        interval = f"[{low}, {high}]" if row.has_interval else ""
        lines.append([found.words(row.config), found.said(row), interval])
    return lines


# --- how they are written ------------------------------------------------------------------------


def _table(lines: Sequence[_Line], keys: Iterable[str], found: Measured, by: Comparison) -> Table:
    """A table of those keys that have numbers; what the gains are is said."""
    numbers = {key: [one.numbers[key] for one in lines] for key in keys}
    columns = [
        _column(key, values, found, by)
        for key, values in numbers.items()
        if not all(math.isnan(one.value) for one in values)
    ]
    return Table(
        heads=[head for head, _ in columns],
        rows=[
            (one.name, one.marks, [cells[place] for _, cells in columns])
            for place, one in enumerate(lines)
        ],
    )


def _column(
    key: str, spans: Sequence[Span], found: Measured, by: Comparison
) -> tuple[str, list[str]]:
    """What a column is, and its cells."""
    metric = found.objective.metric if key == "value" else key
    unit = unit_of(metric, [one.value for one in spans])
    head = f"{_head(key, found, by)}{unit.name and f' ({unit.name})'}"
    scaled = [Span(*(number * unit.scale for number in one)) for one in spans]
    return head, [_cell(key, one, found, by) for one in scaled]


def _cell(key: str, span: Span, found: Measured, by: Comparison) -> str:
    """A number, and its interval where it has a width."""
    value, low, high = (_figure(key, one, by) for one in span)
    if key == "gain" and value:
        value = found.objective.said(span.value, by)
    return f"{value} [{low}, {high}]" if span.low < span.high and key not in BESIDE else value


def _head(key: str, found: Measured, by: Comparison) -> str:
    objective = found.objective
    if key == "gain":
        better, _, _ = better_of(found, by).what.partition(" in ")
        if better in {"faster", "faster per program"}:
            return better.replace("faster", "speed-up")
        return f"times {better}" if by.is_ratio else f"{better} by"
    if key == "value":
        return NAMES.get(objective.metric, short(objective.metric))
    return HEADS[key]


def _figure(key: str, value: float, by: Comparison) -> str:
    if math.isnan(value):
        return ""
    if key == "gain":
        return by.figure(value)
    if key == "runs" or abs(value) >= WHOLE:
        return f"{value:.0f}"
    return f"{value:.3g}" if key in BESIDE else f"{value:.4g}"


def _aligned(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines whose columns stand below each other, the first at the left, the others right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()
