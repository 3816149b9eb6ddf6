"""The page: what `report.html.j2` shows, put together."""

from __future__ import annotations

import contextlib
import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kamerton_ray.errors import InvalidInputError, MissingExtraError
from kamerton_ray.report import tables, words
from kamerton_ray.report.about import About
from kamerton_ray.report.exports import FORM_NAMES, FORMS, export
from kamerton_ray.report.palette import DARK, LIGHT
from kamerton_ray.report.part import Part
from kamerton_ray.report.pictures import Chart, charts
from kamerton_ray.report.plot_trade_off import has_front
from kamerton_ray.report.tables import Table
from kamerton_ray.report.told import Told

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE = "report.html.j2"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the page shows of a part; the names are the template's.

    Attributes:
        part: The part.
        decision: What to do, in two or three words.
        headline: The first line of the answer.
        more: Its other lines.
        answer: The numbers of the fresh runs that the answer rests on, and what they are.
        searched: Those of the search.
        charts: The pictures by name.
        says_intervals: Whether trials or fresh runs say how sure they are.
        finalists: The gains of the fresh runs.
        costs: What the finalists cost.
        trade_offs: The fresh runs' Pareto set.
        traded: What that is chosen by, in words.
        has_front: Whether the picture of throughput against latency has a line.
        forms: The configuration in each form that can say it, after that form's name.
        failures: The trials that failed.
    """

    part: Part
    decision: str
    headline: str
    more: str
    answer: list[tuple[str, str]]
    searched: list[tuple[str, str]]
    charts: Mapping[str, Chart]
    says_intervals: bool
    finalists: Table | None
    costs: Table | None
    trade_offs: Table | None
    traded: str
    has_front: bool
    forms: list[tuple[str, str]]
    failures: list[tuple[int, str, str, str]]

    @classmethod
    def of(cls, part: Part, prefix: str) -> Shown:
        """A part with what is made of it; the ids in its pictures begin with the prefix."""
        headline, _, more = part.sentence.partition("\n")
        return cls(
            part=part,
            decision=words.decision(part.verdict),
            headline=headline,
            more=more,
            answer=list(words.answer(part)),
            searched=list(words.searched(part)),
            charts=charts(part, prefix),
            says_intervals=any(row.has_interval for row in Told(part.measured, part.verdict).rows),
            finalists=tables.finalists(part),
            costs=tables.costs(part),
            trade_offs=tables.trade_offs(part),
            traded=tables.traded(part),
            has_front=has_front(part.measured, part.verdict),
            forms=list(_forms(part)),
            failures=list(words.failures(part.measured)),
        )


def page(parts: Sequence[Part], about: About) -> str:
    """One page on all parts, which needs no other file.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    return _template().render(
        parts=[Shown.of(part, f"p{place}") for place, part in enumerate(parts)],
        title=words.title(parts[0]),
        commands=about.commands,
        ran=list(words.ran(parts, about)),
        method=list(words.method(parts, about)),
        light=LIGHT,
        dark=DARK,
    )


def _template() -> Template:
    try:
        import jinja2  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError.of("report", error) from error
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    source = importlib.resources.files("kamerton_ray.report").joinpath(TEMPLATE)
    return environment.from_string(source.read_text(encoding="utf-8"))


def _forms(part: Part) -> Iterator[tuple[str, str]]:
    """The configuration in each form that can say it."""
    if part.config is None:
        return
    cpus = part.machine.usable_cpus or None
    for form in FORMS:
        with contextlib.suppress(InvalidInputError):  # a form that cannot say it
            yield FORM_NAMES[form], export(part.config, form, cpus=cpus)
