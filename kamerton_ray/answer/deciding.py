"""What a comparison says: the decision, its sentence, and how each configuration fares."""

from __future__ import annotations

import math
from dataclasses import replace

from kamerton_ray.answer.candidates import Kind, miss_of
from kamerton_ray.answer.final import FinalEnd
from kamerton_ray.answer.head_to_head import Stage
from kamerton_ray.answer.one_process import beside_one_process, counts_steps
from kamerton_ray.answer.reasons import other_work, reasons
from kamerton_ray.answer.rounds import Course
from kamerton_ray.answer.signed_rank import Interval
from kamerton_ray.answer.standings import standings
from kamerton_ray.answer.verdict import Decision, Verdict
from kamerton_ray.machine.hardware import UNKNOWN
from kamerton_ray.trial.comparison import Comparison
from kamerton_ray.trial.config import Config, in_words, instances_of
from kamerton_ray.trial.objective import Objective


def decide(
    course: Course, objective: Objective, *, searched: Kind, shared: bool = False
) -> Verdict:
    """What a head-to-head says.

    Args:
        course: How it went.
        objective: What the configurations are judged by.
        searched: What the search measured on this kind of machine.
        shared: Whether the answer is wanted for a machine that does other work, too.
    """
    fresh = [one for results in course.rounds for one in results]
    machine = next((one.machine for one in fresh if one.machine), UNKNOWN)
    found = Verdict(
        decision=Decision.UNSURE,
        sentence=_broken_off(course),
        config=course.chosen or course.finalists[0],
        reasons=tuple(reasons(course, objective, searched, machine)),
        table=standings(course, objective),
        ratios=course.comparison.is_ratio,
        machine=machine or searched.machine,
        rounds=course.rounds,
        race_rounds=course.race_rounds,
        interrupted=course.interrupted,
    )
    if course.stage is not Stage.DONE or course.chosen is None or course.interval is None:
        return found
    decision, sentence = _decided(course, course.interval, objective)
    if beside := other_work(course):
        decision, sentence = _beside(beside, decision, sentence, shared=shared)
    by, interval = course.comparison, course.interval
    middle, low, high = map(by.amount, (interval.middle, interval.low, interval.high))
    return replace(
        found,
        decision=decision,
        sentence=sentence,
        config=course.chosen,
        speedup=middle if by.is_ratio else math.nan,
        difference=math.nan if by.is_ratio else middle,
        low=low,
        high=high,
        runs=course.final_rounds,
        tied=tuple(course.left),
    )


def _decided(course: Course, interval: Interval, objective: Objective) -> tuple[Decision, str]:
    """The decision, and the sentence that says it."""
    best, gain = in_words(course.chosen), _gain(course, interval, objective)
    least = course.comparison.tolerance(objective.within)
    limits = objective.kept()
    many = instances_of(course.chosen) > 1
    it = "they" if many else "it"
    if _misses(course, course.chosen, objective):
        comes = "come" if many else "comes"
        return Decision.KEEP, (
            f"No configuration kept {limits} in the fresh runs; {best} {comes} closest: "
            f"{it} {gain}."
        )
    if _misses(course, None, objective):
        return Decision.USE, (
            f"{best} {'keep' if many else 'keeps'} {limits}, which TensorFlow's default does not; "
            f"{it} {gain}."
        )
    if objective.fewest and interval.low > -least:
        share = objective.share(course.comparison)
        return Decision.USE, (
            f"{best} {'have' if many else 'has'} the fewest threads within {share} of the best; "
            f"{it} {gain}."
        )
    if interval.low > least:
        return Decision.USE, f"{best} {gain}{beside_one_process(course, objective)}."
    if course.ended is FinalEnd.STOPPED and interval.high > least:
        found = _found(course, interval, objective)
        return Decision.UNSURE, f"Undecided so far: {best} against TensorFlow's default, {found}."
    return Decision.KEEP, _no_win(course, interval, objective)


def _misses(course: Course, config: Config | None, objective: Objective) -> bool:
    """Whether a configuration breaks a limit in the final."""
    return miss_of(course.of(config, final=True), objective) > 0


def _gain(course: Course, interval: Interval, objective: Objective) -> str:
    """By how much the chosen one is better, as in "is 1.30x [1.20, 1.40] faster than ..."."""
    by, many = course.comparison, instances_of(course.chosen) > 1
    amount, verb = _amount(by, interval), "are" if many else "is"
    if below := objective.below(by.amount(interval.middle), by):
        return f"{verb} {amount}{below} than TensorFlow's default {_runs(course)}"
    if counts_steps(course, objective):
        does = "do" if many else "does"
        return f"{does} {amount} the steps of TensorFlow's default {_runs(course)}"
    better = objective.better(by)
    return f"{verb} {amount} {better} than TensorFlow's default {_runs(course)}"


def _no_win(course: Course, interval: Interval, objective: Objective) -> str:
    """That the default is to be kept."""
    by, best = course.comparison, in_words(course.chosen)
    beyond = "beyond noise"
    if interval.low > 0:
        beyond = f"by surely more than {objective.share(by)}"
    return (
        f"No configuration beat TensorFlow's default {beyond} (chosen for the final: {best}, "
        f"{_found(course, interval, objective)}): keep the default."
    )


def _found(course: Course, interval: Interval, objective: Objective) -> str:
    """What was measured where no gain is claimed, as in "1.02x [0.97, 1.07] (95 %, ...)"."""
    by = course.comparison
    better = "" if by.is_ratio else f" {objective.better(by)}"
    better += objective.below(by.amount(interval.middle), by)
    return f"{_amount(by, interval)}{better} {_runs(course)}"


def _amount(by: Comparison, interval: Interval) -> str:
    """An estimate with its interval, as in "1.30x [1.20, 1.40]"."""
    middle, low, high = (
        by.figure(by.amount(gain)) for gain in (interval.middle, interval.low, interval.high)
    )
    return f"{middle}{by.times} [{low}, {high}]"


def _runs(course: Course) -> str:
    return f"(95 %, {course.final_rounds} fresh runs each)"


def _beside(work: str, decision: Decision, sentence: str, *, shared: bool) -> tuple[Decision, str]:
    """The same of a machine that was busy: never a plain win, unless that is what was asked for."""
    said = f"Beside {work}: {sentence}"
    if shared:
        return decision, said
    return Decision.BUSY, (
        f"The machine was busy. {said} A machine at rest may decide otherwise: end the other work "
        "and compare again, or ask for the answer of a shared machine."
    )


def _broken_off(course: Course) -> str:
    """The sentence of a comparison that did not come to its end."""
    best = in_words(course.chosen or course.finalists[0])
    if course.error:
        return f"{best} was the best of the search; it could not be compared: {course.error}"
    if not course.left and course.rounds:
        return f"{best} was the best of the search, but it failed when it was run again."
    return f"{best} is the best so far; its comparison with the default did not end."
