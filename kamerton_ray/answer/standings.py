"""Standings: how each configuration of a head-to-head fares, with its one gain."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from kamerton_ray.answer.rounds import Course
from kamerton_ray.answer.verdict import Standing
from kamerton_ray.trial.comparison import moves_of
from kamerton_ray.trial.config import Config
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import median_of


def standings(course: Course, objective: Objective) -> tuple[Standing, ...]:
    """How the finalists fare, the chosen one first, and the default last."""
    rows = [standing(course, config, objective) for config in course.finalists]
    rows = sorted((row for row in rows if row.runs), key=lambda row: -row.gain)
    chosen = [row for row in rows if row.config == course.chosen]
    others = [row for row in rows if row.config != course.chosen]
    return (*chosen, *others, standing(course, None, objective))


def standing(course: Course, config: Config | None, objective: Objective) -> Standing:
    """How a configuration fares: the chosen one in the final, the others in the race.

    Its values are the default's, moved by the ratio or the difference within the rounds. Values of
    two that were measured at different times would say what the machine did meanwhile.
    """
    by = course.comparison
    own_final = config == course.chosen and course.final_rounds
    pairs = course.pairs(config, final=bool(own_final))
    gains = [g for own, theirs in pairs if not math.isnan(g := objective.gain(own, theirs, by))]

    def value(key: str) -> float:
        scale, moves = moves_of([(own.number(key), theirs.number(key)) for own, theirs in pairs])
        usual = median_of(course.of(None), key)
        return scale.moved(usual, statistics.median(moves)) if moves else math.nan

    return Standing(
        config=config,
        runs=len(gains),
        gain=by.amount(_middle(course, gains, final=bool(own_final))),
        value=value(objective.metric),
        seconds=value("seconds"),
        seconds_p99=value("seconds_p99"),
        throughput=value("throughput"),
        cpu_seconds=value("cpu_seconds"),
        cpus=value("cpus"),
        memory=value("memory"),
    )


def _middle(course: Course, gains: Sequence[float], *, final: bool) -> float:
    """The gain in the middle of some: of the final's the one that the sentence says."""
    if final and course.interval is not None:
        return course.interval.middle
    return statistics.median(gains) if gains else math.nan
