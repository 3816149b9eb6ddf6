"""What several instances are held against: the default's latency, and the best single process."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection

from kamerton_ray.answer.finalists import FEW
from kamerton_ray.answer.race import LEAST_RACE
from kamerton_ray.answer.rounds import Course
from kamerton_ray.trial.comparison import Comparison
from kamerton_ray.trial.config import INSTANCES_KEY, Config, in_words, instances_of
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import median_of

STEPS = ("speedup", "throughput")
"""In these a gain says how many times as many steps are done."""


def are_steps(names: Collection[str], objective: Objective, by: Comparison) -> bool:
    """Whether a gain is a number of steps: of instances it is not that one of them is faster.

    Args:
        names: What a configuration says.
        objective: What the configurations are judged by.
        by: How they are compared.
    """
    return INSTANCES_KEY in names and by.is_ratio and objective.metric in STEPS


def counts_steps(course: Course, objective: Objective) -> bool:
    """The same of a comparison."""
    return are_steps(course.chosen or (), objective, course.comparison)


def beside_one_process(course: Course, objective: Objective) -> str:
    """What else a user of several instances wants to know, to go on a sentence with.

    As in "; p99 26 ms instead of 29; the best single process, intra_op=1 inter_op=1, does 1.03x".
    It is empty where the chosen one is a single process.
    """
    if instances_of(course.chosen) == 1 or not counts_steps(course, objective):
        return ""
    return "".join(f"; {part}" for part in (_latency(course), _single(course, objective)) if part)


def _latency(course: Course) -> str:
    """What becomes of the time below which 99 % of the steps keep; by the final's rounds."""
    ours = median_of(course.of(course.chosen, final=True), "seconds_p99")
    theirs = median_of(course.of(None, final=True), "seconds_p99")
    if math.isnan(ours + theirs):
        return ""
    return f"p99 {ms(ours)} ms instead of {ms(theirs)}"


def _single(course: Course, objective: Objective) -> str:
    """How the best single process fares, by its fresh runs in the race."""
    runs = {
        number: gains
        for number, config in enumerate(course.finalists)
        if instances_of(config) == 1 and (gains := gains_of(course, config, objective))
    }
    # One that ran once is far behind, or lucky.
    enough = min(LEAST_RACE, max(map(len, runs.values()), default=0))
    found = {number: statistics.median(some) for number, some in runs.items() if some[enough - 1 :]}
    if not found and course.left_out and len(course.finalists) <= FEW:
        return ""  # one of these may be the best
    if not found:
        return "the best single process of the search is TensorFlow's default"
    best = max(found, key=lambda number: found[number])
    times = math.exp(found[best])
    alone = {k: v for k, v in course.finalists[best].items() if k != INSTANCES_KEY}
    return f"the best single process, {in_words(alone)}, does {objective.said(times)}"


def gains_of(course: Course, config: Config, objective: Objective) -> list[float]:
    """A configuration's gain over the default in each of its rounds."""
    pairs = course.pairs(config)
    gains = [objective.gain(own, theirs, course.comparison) for own, theirs in pairs]
    return [gain for gain in gains if not math.isnan(gain)]


def ms(seconds: float) -> str:
    """A time as milliseconds, without the unit."""
    return f"{1e3 * seconds:.3g}"
