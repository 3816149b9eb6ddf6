"""How long a command takes, as the user says it, and what is said of it beforehand."""

from __future__ import annotations

import math
from collections.abc import Iterable

import click

from kamerton_ray.cli.options import SearchOptions
from kamerton_ray.cli.saying import say
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.schedule import QUICK_S, USUAL_S, Schedule

ALSO_S = 240.0
"""The usual time with knobs, of which each word takes a trial and an import of TensorFlow."""

LEAST_COMPARISON_S = 60.0
"""Where the whole has no time of its own, the comparison may take as long as the search took, and
at least so many seconds."""


def total_s(options: SearchOptions) -> float:
    """How many seconds the whole may take; infinite for as many as it needs.

    Raises:
        UsageError: The user says it twice.
    """
    said = [options.time_budget is not None, options.quick, options.sure]
    if sum(said) > 1:
        raise click.UsageError("--time-budget, --quick and --sure exclude each other")
    if options.time_budget is not None:
        return options.time_budget
    if options.quick:
        return QUICK_S
    if options.sure or options.trials is not None:
        return math.inf
    return ALSO_S if options.also else USUAL_S


def schedule_of(
    options: SearchOptions, *, compares: bool, repeats: bool = False, begin: float | None = None
) -> Schedule:
    """How the time is shared out; a search without a comparison takes what it needs.

    Args:
        options: What the user says of it.
        compares: Whether a comparison follows the search.
        repeats: Whether what a trial runs is run once more at the end.
        begin: When the command has begun, by `time.monotonic`; by default now.

    Raises:
        UsageError: The user says twice how long it may take.
    """
    total, said = total_s(options), options.time_budget is not None or options.quick
    if not said and not compares:
        total = math.inf
    return Schedule(total, grows=not said, compares=compares, repeats=repeats, begin=begin)


def say_how_long(options: SearchOptions, schedule: Schedule) -> None:
    """Say how long it takes, before it begins."""
    if math.isinf(schedule.total_s):
        return
    more = ", more where the model is slow" if schedule.grows else ""
    then = "; then its best is compared with the default" if schedule.compares else ""
    search = f"up to {schedule.search_s:.0f} s of it to search{then}"
    say(options, f"This takes about {schedule.total_s:.0f} s{more}: {search}.")


def comparison_s(
    results: Iterable[Result], options: SearchOptions, schedule: Schedule
) -> float | None:
    """How many seconds the comparison may take; None for as many as it needs."""
    if schedule.left_s is not None or options.sure:
        return schedule.left_s
    return max(LEAST_COMPARISON_S, sum(result.time_total_s for result in results))
