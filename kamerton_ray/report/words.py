"""What the page says in words: the decision, the numbers to know, how it was measured."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import itertools
import math
import statistics
from collections.abc import Iterator, Sequence

from kamerton_ray.answer.verdict import Decision, Verdict
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.report.about import About
from kamerton_ray.report.labels import better_of
from kamerton_ray.report.measured import Measured, times
from kamerton_ray.report.part import Part
from kamerton_ray.report.told import BEST, mark_of
from kamerton_ray.trial.config import INSTANCES_KEY
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.work import Work

DECISIONS = {
    Decision.USE: "Use it",
    Decision.KEEP: "Keep the default",
    Decision.UNSURE: "Not compared to the end",
    Decision.BUSY: "For a busy machine alone",
    Decision.NONE: "Nothing worked",
}

PAIRED = (
    "Each trial ran in a fresh process, block by block in turn with another one that had "
    "TensorFlow's default threads; its speed-up is the ratio of the two step times, so "
    "what slows both cancels."
)

PAIRED_STEPS = (
    "Each trial ran in fresh processes, as many as its configuration says, block by block in turn "
    "with a single one that had TensorFlow's default threads; its number is how many times the "
    "steps of that they did together in the same time, so what slows both cancels."
)

NOT_COMPARED = (
    "The best of the search was not compared afresh with the default. The best of many "
    "noisy numbers flatters itself: expect less of it than its number says."
)


def title(part: Part) -> str:
    """The page's title: what to use."""
    if part.is_kept:
        return "keep the default"
    return "no trial worked" if part.best is None else part.measured.words(part.best.config)


def decision(verdict: Verdict | None) -> str:
    """What to do, in two or three words."""
    if verdict is None or (verdict.decision is Decision.UNSURE and not verdict.rounds):
        return "Not compared"
    if verdict.decision is Decision.UNSURE and verdict.runs:
        return "Undecided so far"
    return DECISIONS[verdict.decision]


def searched(part: Part) -> Iterator[tuple[str, str]]:
    """The numbers of the search, and what they are."""
    found = part.measured
    if part.verdict is None and found.best is not None:
        what = "" if found.ratios else f"{found.objective.metric}, "
        yield found.said(found.best), f"{what}by the search alone"
    trials, rows = len(found.results), len(found.rows)
    yield str(trials), "trial of the search" if trials == 1 else "trials of the search"
    yield str(rows), "configuration" if rows == 1 else "configurations"
    if took := times(found.results):
        yield duration(max(took)), "of searching"


def answer(part: Part) -> Iterator[tuple[str, str]]:
    """The gain of the fresh runs, above all other numbers, and what it rests on."""
    found, verdict = part.measured, part.verdict
    if verdict is None or math.isnan(verdict.low):
        return
    by, gain = verdict.comparison, verdict.speedup if verdict.ratios else verdict.difference
    what, joint = better_of(found, by)
    if joint == "than" and found.objective.below(gain, by):
        what = ""  # the figure says that it is slower
    whose = "" if mark_of(verdict) is BEST else f", {found.words(verdict.config)}"
    yield found.objective.said(gain, by), f"{what} {joint} the default{whose}".strip()
    yield f"{by.figure(verdict.low)} to {by.figure(verdict.high)}", "95 % interval"
    yield str(verdict.runs), "fresh runs of each"


def ran(parts: Sequence[Part], about: About) -> Iterator[tuple[str, str]]:
    """On what the command ran and how long, as far as it was written down, and what that is."""
    work = about.work
    if not work:
        return
    last = work[-1]
    if not math.isnan(last.began):
        yield _date(last.began), "date"
    tensorflow = parts[0].machine.tensorflow or last.tensorflow
    versions = (("Python", last.python), ("Ray", last.ray), ("TensorFlow", tensorflow))
    for said, name in ((last.system, "system"), *((number, name) for name, number in versions)):
        if said:
            yield said, name
    yield from _load(parts, last)
    took = sum(one.seconds for one in work if not math.isnan(one.seconds))
    if took:
        is_all = not any(math.isnan(one.seconds) for one in work)
        yield f"{'' if is_all else 'at least '}{duration(took)}", "total time"


def _load(parts: Sequence[Part], last: Work) -> Iterator[tuple[str, str]]:
    """How busy the machine was with other work, and its load average."""
    loads = {"before": last.load, "at the end": last.load_after}
    known = [f"{load:.1f} {when}" for when, load in loads.items() if not math.isnan(load)]
    if known:
        yield ", ".join(known), "load average"
    others = [one for result in _all(parts) if not math.isnan(one := result.number("others"))]
    if others:
        usual = statistics.median(others)
        yield f"{usual:.1f} CPUs in the median, {max(others):.1f} at most", "other work"


def _all(parts: Sequence[Part]) -> Iterator[Result]:
    """Every trial and every fresh run."""
    for part in parts:
        yield from part.measured.results
        yield from itertools.chain(*(part.verdict.rounds if part.verdict else ()))


def duration(seconds: float) -> str:
    """A time in the units that suit it."""
    minutes, rest = divmod(round(seconds), 60)
    hours = minutes / 60
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if hours < 1 else f"{hours:.1f} h"


def failures(found: Measured) -> Iterator[tuple[int, str, str, str]]:
    """The trials that failed: number, configuration, how, and what was said."""
    for place, result in enumerate(found.results, 1):
        if math.isnan(found.value(result)):
            how = "no value" if result.outcome is Outcome.OK else result.outcome.value
            yield place, found.words(result.config), how, result.error


def method(parts: Sequence[Part], about: About) -> Iterator[str]:
    """How it was measured, in sentences."""
    found, verdict = parts[0].measured, parts[0].verdict
    count = sum(len(part.measured.results) for part in parts)
    ended = f" and ended: {about.stopped_by}" if about.stopped_by else ""
    yield f"The search ran {count} trials{ended}."
    yield _trials(found)
    if kept := found.objective.kept():
        yield f"Limits: {kept}."
    yield _comparison(verdict) if verdict is not None and verdict.rounds else NOT_COMPARED
    yield f"Reported by kamerton_ray {importlib.metadata.version('kamerton_ray')}{_until(found)}."


def _trials(found: Measured) -> str:
    metric = found.objective.metric
    if metric == "speedup":
        return PAIRED_STEPS if INSTANCES_KEY in found.names else PAIRED
    better = "more" if found.objective.mode == "max" else "less"
    one = "1.00x" if found.ratios else f"The line that says {found.baseline.name!r}"
    return (
        f"Each trial reported {metric!r}, of which {better} is better; {one} is {found.baseline}."
    )


def _comparison(verdict: Verdict) -> str:
    race, final = verdict.race_rounds, len(verdict.rounds) - verdict.race_rounds
    met = "met TensorFlow's default in fresh processes, side by side"
    chosen = f"{race} times to choose among them, and {final} more the chosen one and the default"
    who = (
        f"Then the finalists {met}: {chosen}. Only the latter make the answer; none"
        if race
        else f"Then the search's best {met}, {final} times. None"
    )
    return (
        f"{who} of the search's own numbers counts, because the best of many noisy numbers "
        "flatters itself."
    )


def _until(found: Measured) -> str:
    """When the last trial was measured; empty where nothing says it."""
    ends = [one.timestamp for one in found.results if not math.isnan(one.timestamp)]
    return f"; measured until {_date(max(ends))}" if ends else ""


def _date(seconds: float) -> str:
    return f"{dt.datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M}"
