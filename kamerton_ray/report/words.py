"""What the page says in words: the decision, the numbers to know, how it was measured."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import math
from collections.abc import Iterator, Sequence

from kamerton_ray.answer.verdict import Decision, Verdict
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.report.about import About
from kamerton_ray.report.labels import better_of
from kamerton_ray.report.measured import Measured, times
from kamerton_ray.report.part import Part
from kamerton_ray.trial.config import INSTANCES_KEY

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


def facts(part: Part) -> Iterator[tuple[str, str]]:
    """The numbers to know, and what they are."""
    yield from _gain(part)
    found = part.measured
    yield str(len(found.results)), "trials of the search"
    yield str(len(found.rows)), "configurations"
    if took := times(found.results):
        yield duration(max(took)), "of searching"


def _gain(part: Part) -> Iterator[tuple[str, str]]:
    """The gain of the best: that of the fresh runs, or else that of the search."""
    found, verdict = part.measured, part.verdict
    if verdict is not None and not math.isnan(verdict.low):
        by, gain = verdict.comparison, verdict.speedup if verdict.ratios else verdict.difference
        what, joint = better_of(found, by)
        yield f"{by.figure(gain)}{by.times}", f"{what} {joint} the default"
        yield f"{by.figure(verdict.low)} to {by.figure(verdict.high)}", "95 % interval"
        yield str(verdict.runs), "fresh runs of each"
    elif found.best is not None:
        what = "" if found.ratios else f"{found.objective.metric}, "
        yield f"{found.shown(found.best)}{found.comparison.times}", f"{what}by the search alone"


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
    if not ends:
        return ""
    return f"; measured until {dt.datetime.fromtimestamp(max(ends)).astimezone():%Y-%m-%d %H:%M}"
