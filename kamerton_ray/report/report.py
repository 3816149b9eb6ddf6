"""The report of a search and its verdict: a page, pictures, CSV and JSON."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import datetime as dt
import importlib.metadata
import importlib.resources
import importlib.util
import io
import itertools
import json
import math
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kamerton_ray.answer.candidates import candidates, kinds_of, nothing_worked, pareto
from kamerton_ray.answer.verdict import Decision, Standing, Verdict
from kamerton_ray.errors import InvalidInputError, MissingExtraError
from kamerton_ray.numeric import number, plain
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.report import plot
from kamerton_ray.report.exports import FORMS, export
from kamerton_ray.report.measured import Measured
from kamerton_ray.report.plot import DARK, LIGHT, NAMES, Palette, best_row, times, unit_of
from kamerton_ray.trial.comparison import Comparison
from kamerton_ray.trial.config import Config, flat, key_of
from kamerton_ray.trial.objective import Objective
from kamerton_ray.tune.folders import write
from kamerton_ray.tune.results import trial_results
from kamerton_ray.tune.session import Session

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = "report.html.j2"

COSTS = {"seconds": -1, "seconds_p99": -1, "throughput": 1, "cpu_seconds": -1}
"""What configurations trade off: 1 where more is better, -1 where less is."""

HEADS = {
    "runs": "fresh runs",
    "seconds": "time",
    "seconds_p99": "p99",
    "throughput": "throughput",
    "cpu_seconds": "CPU time",
}

WIDE = 1.5
"""A picture so many times as wide as usual has the page's whole width."""

BRIEF = 5
"""So many configurations are listed on a terminal."""

FORM_NAMES = {
    "env": "Shell",
    "dotenv": ".env file",
    "docker": "docker run",
    "k8s": "Kubernetes",
    "tf-serving": "TensorFlow Serving",
    "python": "Python",
    "json": "JSON",
}

DECISIONS = {
    Decision.USE: "Use it",
    Decision.KEEP: "Keep the default",
    Decision.UNSURE: "Not compared to the end",
    Decision.BUSY: "For a busy machine alone",
    Decision.NONE: "Nothing worked",
}


NOT_TO_USE = {Decision.KEEP, Decision.BUSY}
"""Those after which nothing is to be set."""

COMPARED = {Decision.USE, Decision.KEEP, Decision.BUSY}
"""Those of a comparison that came to its end."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one kind of machine found.

    Attributes:
        machine: What identifies it.
        measured: What the search measured there.
        verdict: What the comparison there says; None without one.
    """

    machine: Mapping[str, Any]
    measured: Measured
    verdict: Verdict | None

    @property
    def sentence(self) -> str:
        """The answer, which may have more lines than one where something failed."""
        if self.verdict is not None:
            return self.verdict.sentence
        best = self.measured.best
        if best is None:
            return nothing_worked(self.measured.results)
        shown, metric = self.measured.shown(best), self.measured.objective.metric
        gain = f"{shown}x" if self.measured.ratios else f"{metric} {shown}"
        return (
            f"{self.measured.words(best.config)} was the best of the search ({gain}), which "
            "flatters itself: it was not compared afresh with the default."
        )

    @property
    def config(self) -> Config | None:
        """What is to be applied, all of it; None where that is nothing."""
        if self.verdict is not None:
            return self.verdict.config if self.verdict.decision not in NOT_TO_USE else None
        best = self.measured.best
        return None if best is None else dict(best.results[0]["config"])


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
class Report:
    """What is to be told of a search.

    Attributes:
        parts: What each kind of machine found, the one with the most trials first.
        about: What was searched for, and how, where that is known.
    """

    parts: tuple[Part, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The answer."""
        return self.parts[0].sentence

    def html(self) -> str:
        """One page, which needs no other file.

        Raises:
            MissingExtraError: matplotlib or jinja2 is not installed.
        """
        try:
            import jinja2  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise MissingExtraError.of("report", error) from error
        environment = jinja2.Environment(
            autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
        )
        source = importlib.resources.files("kamerton_ray.report").joinpath(TEMPLATE)
        page = environment.from_string(source.read_text(encoding="utf-8"))
        return page.render(
            parts=[_Shown(part, f"p{place}") for place, part in enumerate(self.parts)],
            title=_title(self.parts[0]),
            source=_source(self.about),
            method=_method(self),
            light=LIGHT,
            dark=DARK,
        )

    def figures(self, *, palette: Palette = LIGHT) -> dict[str, Figure]:
        """The pictures by name.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        found = {}
        for place, part in enumerate(self.parts):
            after = f"-{place + 1}" if place else ""
            found.update({f"{name}{after}": draw(palette) for name, draw in pictures(part).items()})
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Every trial, flat: its number, its configuration, its gain and what it reported."""
        found = []
        for part in self.parts:
            measured = part.measured
            for place, result in enumerate(measured.results, 1):
                value = measured.value(result)
                config = {f"config/{name}": one for name, one in flat(result["config"])}
                told = {name: one for name, one in flat(result) if not name.startswith("config/")}
                found.append({"trial": place, **config, "gain": measured.gain(value), **told})
        return found

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures, as what `json.dumps` takes; what is NaN is None."""
        found = {
            "sentence": self.sentence,
            "about": dict(self.about),
            "parts": [
                {
                    "machine": dict(part.machine),
                    "sentence": part.sentence,
                    "verdict": None if part.verdict is None else part.verdict.to_json(),
                    "metric": part.measured.objective.metric,
                    "gains_over": str(part.measured.baseline),
                    "configurations": [
                        {
                            f.name: getattr(row, f.name)
                            for f in dataclasses.fields(row)
                            if f.name != "results"
                        }
                        for row in part.measured.rows
                    ],
                }
                for part in self.parts
            ],
            "trials": self.rows(),
        }
        text = json.dumps(found, default=plain)
        told: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
        return told

    def text(self) -> str:
        """The answer and a short table, for a terminal."""
        lines = []
        for part in self.parts:
            where = f"On {_machine_words(part.machine)}: " if len(self.parts) > 1 else ""
            lines += [f"{where}{part.sentence}", *_reasons(part), *_brief(part), ""]
        return "\n".join(lines[:-1])

    def save(self, *, html: Path | None = None, png: Path | None = None, csv: Path | None = None,
             json: Path | None = None) -> list[Path]:  # fmt: skip
        """Write it.

        Args:
            html: A file for the page.
            png: A folder for the pictures.
            csv: A file for the trials.
            json: A file for everything but the pictures.

        Returns:
            What was written.

        Raises:
            InvalidInputError: That is not possible there.
            MissingExtraError: matplotlib or jinja2 is not installed.
        """
        texts = [(html, self.html), (csv, self._csv), (json, self._json)]
        written = [path for path, text in texts if path is not None and _write(path, text())]
        if png is not None:
            for name, figure in self.figures().items():
                written.append(png / f"{name}.png")
                _write(written[-1], _png(figure))
        return written

    def _csv(self) -> str:
        rows = self.rows()
        names = list(dict.fromkeys(name for row in rows for name in row))
        file = io.StringIO()
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue()

    def _json(self) -> str:
        return json.dumps(self.to_json(), indent=1) + "\n"


def report(
    results: object, verdict: Verdict | None = None, *, objective: Objective | None = None
) -> Report:
    """What is to be told of a search: `.html()`, `.figures()`, `.save(html=..., png=...)`.

    Args:
        results: An `ExperimentAnalysis`, a `ResultGrid`, the folder of one or of a session of
            `kamerton-ray`, or a list of results, each with its `config`.
        verdict: What `verdict` said of them; by default what the session's folder holds.
        objective: What the configurations are judged by; by default what the session was for, or
            Ray's own metric, or the first of `speedup`, `objective` and `seconds` that there is.

    Raises:
        InvalidInputError: The results are empty, or do not have what they are judged by.
    """
    session = None
    if isinstance(results, str | os.PathLike) and Session.is_one(Path(results)):
        session = Session.open(Path(results))
    found = trial_results(results)
    about = _about(session)
    if session is not None:
        answer = session.answer()
        verdict = verdict or (None if answer is None else verdict_of(answer))
        objective = objective or _searched_for(about)
    objective = objective or _of_ray(results, found)
    parts: list[Part] = []
    for kind in kinds_of(found):
        own = _verdict_on(kind.machine, verdict, first=not parts)
        fresh = [] if own is None else list(itertools.chain(*own.rounds))
        measured = Measured(
            kind.results,
            objective,
            start=next(iter(about.get("goal", {}).get("starts", [])), None),
            fresh=[one for one in fresh if one.get("config") is None],
        )
        parts.append(Part(machine=kind.machine, measured=measured, verdict=own))
    return Report(parts=tuple(parts), about=about)


def check_extra() -> None:
    """See to it that a page can be written.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    for name in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError.of("report", ImportError(name=name))


# --- what is known -------------------------------------------------------------------------------


def verdict_of(answer: Mapping[str, Any]) -> Verdict:
    """The verdict that a session has written down."""
    names = {one.name for one in dataclasses.fields(Verdict)}
    told = {name: value for name, value in answer.items() if name in names and value is not None}
    told["decision"] = Decision(answer["decision"])
    told["table"] = tuple(_standing(row) for row in answer.get("table", ()))
    told["elsewhere"] = tuple(verdict_of(one) for one in answer.get("elsewhere", ()))
    return Verdict(**told)


def _standing(row: Mapping[str, Any]) -> Standing:
    known: dict[str, Any] = {
        one.name: number(row.get(one.name)) for one in dataclasses.fields(Standing)
    }
    return Standing(**{**known, "config": row["config"]})


def _about(session: Session | None) -> dict[str, Any]:
    if session is None:
        return {}
    answer = session.answer() or {}
    return {**session.description(), "stopped_by": answer.get("stopped_by", "")}


def _searched_for(about: Mapping[str, Any]) -> Objective | None:
    if about["kind"] == "tune":
        judged = about.get("objective", "speedup")
        return Objective(metric=judged, at_most=dict(about.get("limits", [])))
    if about.get("objective") == "time":  # of a command: the same numbers, with their unit
        return Objective(metric="seconds")
    return Objective(metric="objective", mode="max" if about.get("maximize") else "min")


def _of_ray(results: object, found: Sequence[Mapping[str, Any]]) -> Objective | None:
    """What a run of Ray Tune was asked to optimise, where its trials report it."""
    analysis = getattr(results, "_experiment_analysis", results)
    metric, mode = (getattr(analysis, f"default_{name}", None) for name in ("metric", "mode"))
    # A score is a ratio already, and no picture shows it.
    if metric in {None, "score"} or not any(metric in result for result in found):
        return None
    return Objective(metric=str(metric), mode=str(mode or ""))


def _verdict_on(
    machine: Mapping[str, Any], verdict: Verdict | None, *, first: bool
) -> Verdict | None:
    """What was said of this kind of machine."""
    if verdict is None:
        return None
    same = [one for one in verdict.elsewhere if key_of(one.machine) == key_of(machine)]
    return next(iter(same), verdict if first else None)


# --- the page ------------------------------------------------------------------------------------


def pictures(part: Part) -> dict[str, Callable[[Palette], Figure]]:
    """What draws the pictures that there is something for, by name."""
    found, verdict = part.measured, part.verdict
    draw: dict[str, Callable[[Palette], Figure]] = {}
    if found.working:
        draw["map"] = lambda palette: plot.surface(found, verdict=verdict, palette=palette)
        draw["speedups"] = lambda palette: plot.speedups(found, verdict=verdict, palette=palette)
        draw["trials"] = lambda palette: plot.progress(found, palette=palette)
        if times(found.results) is not None:
            draw["time"] = lambda palette: plot.progress(found, against="time", palette=palette)
    if verdict is not None and verdict.rounds:
        draw["rounds"] = lambda palette: plot.rounds(
            verdict, objective=found.objective, palette=palette
        )
    return draw


LABELS = {
    "map": "Map of the measured configurations",
    "speedups": "Gain over the default of each configuration, sorted",
    "trials": "Best so far against trials",
    "time": "Best so far against time",
    "rounds": "Fresh runs of the default and the best",
}


class _Shown:
    """What the page shows of a part; the names are the template's."""

    def __init__(self, part: Part, prefix: str) -> None:
        found, verdict = part.measured, part.verdict
        first, _, rest = part.sentence.partition("\n")
        self.sentence, self.more = first, rest
        self.decision = _decision(verdict)
        self.is_used = verdict is not None and verdict.decision is Decision.USE
        self.reasons = () if verdict is None else verdict.reasons
        self.facts = list(_facts(part))
        self.charts = {name: _chart(name, draw, prefix) for name, draw in pictures(part).items()}
        self.baseline = str(found.baseline)
        self.ratios = found.ratios
        self.intervals = any(not math.isnan(row.low) for row in found.rows)
        self.applies = list(_applies(part))
        self.compared = verdict is not None and verdict.decision in COMPARED
        self.kept = verdict is not None and verdict.decision is Decision.KEEP
        self.finalists = _finalists(part, ["gain", "runs", _own_key(found)])
        costs = _finalists(part, list(COSTS))
        self.costs = costs if costs is not None and len(costs.heads) > 1 else None
        self.trade_offs = _trade_offs(part)
        self.failures = list(_failures(found))
        self.trials = len(found.results)
        self.machine = [(name.replace("_", " "), value) for name, value in part.machine.items()]
        self.name = _machine_words(part.machine)


def _decision(verdict: Verdict | None) -> str:
    """What to do, in two or three words."""
    compared = verdict is not None and (verdict.rounds or verdict.decision is not Decision.UNSURE)
    return DECISIONS[verdict.decision] if verdict is not None and compared else "Not compared"


def _title(part: Part) -> str:
    best = best_row(part.measured, part.verdict)
    kept = part.verdict is not None and part.verdict.decision is Decision.KEEP
    what = "no trial worked" if best is None else part.measured.words(best.config)
    return "keep the default" if kept else what


def _facts(part: Part) -> Iterator[tuple[str, str]]:
    """The numbers to know, and what they are."""
    found, verdict = part.measured, part.verdict
    if verdict is not None and not math.isnan(verdict.low):
        by, gain = verdict.comparison, verdict.speedup if verdict.ratios else verdict.difference
        yield f"{by.figure(gain)}{by.times}", f"{found.objective.better(by)} than the default"
        yield f"{by.figure(verdict.low)} to {by.figure(verdict.high)}", "95 % interval"
        yield str(verdict.runs), "fresh runs of each"
    elif found.best is not None:
        if found.ratios:
            yield f"{found.shown(found.best)}x", "by the search alone"
        else:
            yield found.shown(found.best), f"{found.objective.metric}, by the search alone"
    yield str(len(found.results)), "trials of the search"
    yield str(len(found.rows)), "configurations"
    took = times(found.results)
    if took:
        yield _duration(max(took)), "of searching"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes / 60:.1f} h"  # noqa: PLR2004


def _applies(part: Part) -> Iterator[tuple[str, str]]:
    """The configuration in each form that can say it."""
    if part.config is None:
        return
    for form in FORMS:
        with contextlib.suppress(InvalidInputError):  # a form that cannot say it
            yield FORM_NAMES.get(form, form), export(part.config, form)


def _finalists(part: Part, keys: Sequence[str]) -> Table | None:
    """The fresh runs' medians of these."""
    if part.verdict is None or not part.verdict.table:
        return None
    found, best = part.measured, part.verdict.config
    tied = {key_of(one) for one in part.verdict.tied}
    rows = []
    for one in part.verdict.table:
        marks = ["best"] if one.config is not None and one.config == best else []
        marks += (
            ["not told apart"] if one.config and key_of(one.config) in tied and not marks else []
        )
        rows.append((found.words(one.config), ", ".join(marks), dataclasses.asdict(one)))
    return _table(rows, keys, found.objective, part.verdict.comparison)


def _trade_offs(part: Part) -> Table | None:
    """The search's Pareto set; None where the trials report but one of the costs."""
    found = part.measured
    rows = candidates(found.results, found.objective)
    costs = {
        key: sign
        for key, sign in COSTS.items()
        if any(not math.isnan(row.median(key)) for row in rows)
    }
    if len(costs) < 2:  # noqa: PLR2004 - one cost alone is no trade-off
        return None
    best = best_row(found, part.verdict)
    chosen = []
    for one in pareto(rows, costs):
        row = found.find(one.config)
        marks = [] if row is None else plot.marks_of(row, found, best)
        gain = math.nan if row is None else row.gain
        numbers = {"gain": gain, **{key: one.median(key) for key in costs}}
        chosen.append((found.words(one.config), ", ".join(marks), numbers))
    return _table(chosen, ["gain", *costs], found.objective, found.comparison)


def _own_key(found: Measured) -> str:
    """Under which key of a finalist its objective stands; for a speed-up the step time."""
    metric = found.objective.metric
    return "seconds" if metric == "speedup" else metric if metric in COSTS else "value"


def _table(
    rows: Sequence[tuple[str, str, Mapping[str, Any]]],
    keys: Sequence[str],
    objective: Objective,
    by: Comparison,
) -> Table:
    """A table of those keys that have numbers; what the gains are is said."""
    metric, better = objective.metric, objective.better(by).split()[0]
    names = {
        "gain": f"times {better}" if by.is_ratio else f"{better} by",
        "value": NAMES.get(metric, plot.short(metric)),
    }
    columns = []
    for key in keys:
        values = [number(numbers.get(key)) for _, _, numbers in rows]
        if all(math.isnan(value) for value in values):
            continue
        unit = unit_of(metric if key == "value" else key, values)
        head = f"{names.get(key) or HEADS[key]}{unit.name and f' ({unit.name})'}"
        texts = ["" if math.isnan(v) else _figure(key, v * unit.scale, by) for v in values]
        columns.append((head, texts))
    lines = [[texts[place] for _, texts in columns] for place in range(len(rows))]
    return Table(
        heads=[label for label, _ in columns],
        rows=[(name, marks, own) for (name, marks, _), own in zip(rows, lines, strict=True)],
    )


def _figure(key: str, value: float, by: Comparison) -> str:
    if key == "gain":
        return f"{by.figure(value)}{by.times}"
    return f"{value:.0f}" if key == "runs" else f"{value:.4g}"


def _failures(found: Measured) -> Iterator[tuple[int, str, str, str]]:
    """The trials that failed: number, configuration, how, and what was said."""
    for place, result in enumerate(found.results, 1):
        if math.isnan(found.value(result)):
            outcome = str(result.get("outcome") or "no value")
            known = Outcome.__members__.get(outcome.upper())
            words = outcome if known is None else known.value
            yield place, found.words(result["config"]), words, str(result.get("error") or "")


def _source(about: Mapping[str, Any]) -> str:
    """What was searched for, as it was typed."""
    if not about:
        return "a run of Ray Tune"
    target = {
        "tune": [str(about.get("target", ""))],
        "exec": ["--", *about.get("argv", ())],
        "run": [str(about.get("script", "")), *about.get("args", ())],
    }.get(about["kind"], [])
    return shlex.join(["kamerton-ray", about["kind"], *target])


def _method(told: Report) -> list[str]:
    """How it was measured, in sentences."""
    part = told.parts[0]
    found, verdict = part.measured, part.verdict
    said = [
        f"The search ran {sum(len(one.measured.results) for one in told.parts)} trials"
        + (f" and ended: {told.about['stopped_by']}." if told.about.get("stopped_by") else "."),
        _trials_in_words(found),
    ]
    said += [f"Limits: {key} at most {most:g}." for key, most in found.objective.at_most.items()]
    if verdict is not None and verdict.rounds:
        final = len(verdict.rounds) - verdict.race_rounds
        said.append(
            "Then the finalists met TensorFlow's default in fresh processes, side by side: "
            f"{verdict.race_rounds} times to choose among them, and {final} more the chosen one "
            "and the default. Only the latter make the answer; none of the search's own numbers "
            "counts, because the best of many noisy numbers flatters itself."
        )
    else:
        said.append(
            "The best of the search was not compared afresh with the default. The best of many "
            "noisy numbers flatters itself: expect less of it than its number says."
        )
    dates = [number(result.get("timestamp")) for result in found.results]
    ends = [date for date in dates if not math.isnan(date)]
    when = (
        f"; measured until {dt.datetime.fromtimestamp(max(ends)).astimezone():%Y-%m-%d %H:%M}"
        if ends
        else ""
    )
    said.append(f"Reported by kamerton_ray {importlib.metadata.version('kamerton_ray')}{when}.")
    return said


def _trials_in_words(found: Measured) -> str:
    metric = found.objective.metric
    if metric == "speedup":
        return (
            "Each trial ran in a fresh process, block by block in turn with another one that had "
            "TensorFlow's default threads; its speed-up is the ratio of the two step times, so "
            "what slows both cancels."
        )
    better = "more" if found.objective.mode == "max" else "less"
    one = "1.00x" if found.ratios else f"The line that says {found.baseline.name!r}"
    return (
        f"Each trial reported {metric!r}, of which {better} is better; {one} is {found.baseline}."
    )


def _machine_words(machine: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in machine.items()) or "an unknown machine"


# --- pictures in the page ------------------------------------------------------------------------


@dataclass(frozen=True)
class Chart:
    """A picture for the page.

    Attributes:
        svg: In both palettes, of which the page shows one.
        wide: Whether it needs the page's whole width.
    """

    svg: str
    wide: bool


def _chart(name: str, draw: Callable[[Palette], Figure], prefix: str) -> Chart:
    from markupsafe import Markup  # noqa: PLC0415 - jinja2 brings it

    both = {mode: draw(palette) for mode, palette in (("light", LIGHT), ("dark", DARK))}
    found = "".join(
        f'<div class="{mode}">{svg(figure, f"{prefix}-{name}-{mode}", LABELS[name])}</div>'
        for mode, figure in both.items()
    )
    # matplotlib has escaped what is in it.
    return Chart(Markup(found), both["light"].get_figwidth() > WIDE * plot.WIDTH)  # noqa: S704


def svg(figure: Figure, prefix: str, label: str) -> str:
    """A figure as an SVG element whose texts are texts and whose ids begin with a prefix.

    Its width is that of its place, but no less than its texts need to be read.
    """
    from matplotlib import rc_context  # noqa: PLC0415 - an extra

    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    opening, _, inside = text[text.index("<svg") :].partition(">")
    box = re.findall(r'viewBox="[^"]*"', opening)[0]
    width = figure.get_figwidth() * 72
    least = width * 0.9 if width > 72 * plot.WIDTH else 0
    body = re.sub(r"<[^>]*>", lambda tag: _own_ids(tag.group(), prefix), inside)
    return (
        f'<svg role="img" aria-label="{label}" {box} '
        f'style="min-width:{least:.0f}px;max-width:{width * 1.4:.0f}px">{body}'
    )


def _own_ids(tag: str, prefix: str) -> str:
    """A tag with its ids, and its references to some, made its own."""
    return re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{prefix}-", tag)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=200)
    return file.getvalue()


# --- the terminal and files ----------------------------------------------------------------------


def _reasons(part: Part) -> list[str]:
    return [] if part.verdict is None else [f"  {reason}" for reason in part.verdict.reasons]


def _brief(part: Part) -> list[str]:
    """The finalists, or else the search's best, in columns."""
    keys = dict.fromkeys(["gain", "runs", _own_key(part.measured), *COSTS])
    table = _finalists(part, list(keys))
    found = part.measured
    shown = "gain" if found.ratios else found.objective.metric
    heads = ["", *table.heads] if table else ["", shown, "95 % interval"]
    rows = [[name, *cells] for name, _, cells in table.rows] if table else []
    if not table:
        for row in found.working[:BRIEF]:
            low, high = map(found.comparison.figure, sorted(map(found.drawn, (row.low, row.high))))
            interval = "" if math.isnan(row.low) else f"[{low}, {high}]"
            rows.append(
                [found.words(row.config), found.shown(row) + found.comparison.times, interval]
            )
    if not rows:
        return []
    widths = [max(len(line[at]) for line in [heads, *rows]) for at in range(len(heads))]
    return [
        "",
        *(
            "  ".join(
                cell.rjust(width) if at else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in [heads, *rows]
        ),
    ]


def _write(path: Path, content: str | bytes) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, content)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}") from error
    return True
