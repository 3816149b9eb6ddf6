"""What a user should know of how an answer came about, in sentences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from kamerton_ray.answer.candidates import Kind
from kamerton_ray.answer.head_to_head import Stage
from kamerton_ray.answer.one_process import STEPS, gains_of, ms
from kamerton_ray.answer.rounds import Course
from kamerton_ray.answer.standings import standing
from kamerton_ray.answer.two_groups import two_groups
from kamerton_ray.answer.why import why, work_of
from kamerton_ray.answer.widening import widening
from kamerton_ray.machine.cgroups import HELD_BACK
from kamerton_ray.machine.hardware import Machine
from kamerton_ray.machine.knobs import ONEDNN, XLA, warnings
from kamerton_ray.machine.neighbours import QUIET
from kamerton_ray.machine.threads import VARIABLES
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.command import SECONDS_PER_PROGRAM
from kamerton_ray.trial.config import Config, in_words, instances_of
from kamerton_ray.trial.estimate import hodges_lehmann
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import median_of
from kamerton_ray.tune.pace import SLOWER, out_of_pace

DRIFT_WITHIN, DRIFT_SINCE = 1.15, SLOWER
"""The default's pace may change by these factors, during the comparison and since the search."""

STOLEN = 0.05
"""Above this share the CPU time that the hypervisor takes is worth a word."""

NOTABLE = 2.0
"""A correlation is worth a word from so many of its standard errors, 1 / sqrt(rounds) each."""

TIMES = ("seconds", SECONDS_PER_PROGRAM)
"""In these a gain says how much faster it is."""

CHEAPER = 0.85
"""A configuration is cheaper that takes less than this share of the default's CPU a step."""

LONG_FIRST = 2.0
"""A first step that takes so many times as long as the default's is worth a word."""

SHOWN = "TensorFlow's log shows it where TF_CPP_MIN_LOG_LEVEL=0 is set."
"""What would check whether oneDNN and XLA took effect in a program."""

ENOUGH_RUNS = 3
"""More runs than this are wanted to say that it does as much."""

MOSTLY = 0.8
"""Two groups are the doing of the one whose own step time makes up this share of the gap."""


def other_work(course: Course) -> str:
    """The work that took CPUs beside the comparison, in words; empty where there was none."""
    results = course.of(course.chosen, final=True) + course.of(None, final=True)
    taken = [one.others for one in results if not math.isnan(one.others)]
    cpus = statistics.fmean(taken) if taken else 0.0
    if cpus <= QUIET:
        return ""
    named = [one.beside for one in results if one.beside]
    who = f", last seen: {named[-1]}" if named else ""
    return f"other work that took {cpus:.1f} CPUs{who}"


def reasons(course: Course, objective: Objective, searched: Kind, machine: Machine) -> list[str]:
    """What the user should know of how the answer came about, in sentences.

    Args:
        course: How the comparison went.
        objective: What the configurations are judged by.
        searched: What the search measured.
        machine: What the comparison ran on.
    """
    return [
        *warnings(course.chosen or {}),
        *_unchecked(course),
        *_preferred(course, objective),
        *_tied(course),
        *_another_default(machine),
        *_another_machine(searched.machine, machine),
        *_slow_nodes(searched),
        *_alone(course),
        *_undecided(course, objective),
        *_groups(course, objective),
        *_alike(course),
        *_drift(course, searched),
        *_held_back(course),
        *_stolen(course),
        *_cheaper(course, objective),
        *_first_step(course),
        *why(course, searched),
        *_no_room(searched),
        *_failed(course),
    ]


def _unchecked(course: Course) -> list[str]:
    """Of which knobs of the chosen one nothing shows that they took effect in the program."""
    names = sorted({name for one in course.of(course.chosen) for name in one.unchecked})
    if course.chosen is None or not names:
        return []
    log = f" {SHOWN}" if {ONEDNN, XLA}.intersection(names) else ""
    return [f"Not checked in programs: that {' and '.join(names)} took effect.{log}"]


def _preferred(course: Course, objective: Objective) -> list[str]:
    """Whether the chosen one was preferred for its fewer threads."""
    if not course.preferred:
        return []
    return [
        (
            f"{in_words(course.chosen)} was preferred to others within "
            f"{objective.share(course.comparison)} of it for its fewer threads."
        )
    ]


def _tied(course: Course) -> list[str]:
    """Which others may be as good as the chosen one."""
    if course.stage is not Stage.DONE:
        return []
    others = [in_words(one) for one in course.left if one != course.chosen]
    return [f"Not told apart from the best: {'; '.join(others)}."] if others else []


def _another_default(machine: Machine) -> list[str]:
    """What the default was, where it was not one thread of each kind for each usable CPU."""
    if not (machine.default_intra_op or machine.default_inter_op):
        return []
    return [
        (
            f"TensorFlow's default was {in_words(machine.default_threads)} here (usable CPUs: "
            f"{machine.usable_cpus}), since {' or '.join(VARIABLES)} is set, or a quota gives "
            "fewer CPUs than TensorFlow counts."
        )
    ]


def _another_machine(searched: Machine, compared: Machine) -> list[str]:
    """Whether the search and the comparison ran on different kinds of machine."""
    if not searched or not compared or searched == compared:
        return []
    return [
        (
            f"The search ran on another kind of machine ({searched}) than the comparison "
            f"({compared})."
        )
    ]


def _slow_nodes(searched: Kind) -> list[str]:
    """Which nodes of the search were slower than the others."""
    return [
        f"The node {ip} was out of pace with the others of its kind: the default took {times:.2f} "
        "times as long there."
        for ip, times in out_of_pace(searched.results).items()
    ]


def _alone(course: Course) -> list[str]:
    """Whether the search's best met none of the others."""
    if len(course.finalists) > 1 or not course.left_out:
        return []
    others = "another one" if course.left_out == 1 else f"{course.left_out} others"
    return [f"Of the search's configurations its best alone was compared, not with {others}."]


def _undecided(course: Course, objective: Objective) -> list[str]:
    """Whether the race may have chosen the wrong one."""
    if not course.undecided:
        return []
    better, share = objective.better(course.comparison), objective.share(course.comparison)
    return [
        (
            "The comparison of the configurations with each other was not decided: another may be "
            f"{better} than the one that was chosen by more than {share}."
        )
    ]


def _groups(course: Course, objective: Objective) -> list[str]:
    """Whether the final's rounds fall into two groups, and by whose doing."""
    if course.stage is not Stage.DONE or course.chosen is None:
        return []
    by = course.comparison
    known = [
        (gain, objective.own_level(own, by))
        for own, default in course.pairs(course.chosen, final=True)
        if not math.isnan(gain := objective.gain(own, default, by))
    ]
    gains = [gain for gain, _ in known]
    found = two_groups(gains, least=by.tolerance(objective.within))
    if found is None:
        return []
    who = _whose_doing(course, known, found)
    verb = "are" if who == in_words(course.chosen) and instances_of(course.chosen) > 1 else "is"
    said = " and ".join(
        f"{by.figure(by.amount(middle))}{by.times} ({len(group)})"
        for group in found
        for middle in [hodges_lehmann([gains[number] for number in group])]
    )
    return [
        (
            f"The rounds fall into two groups, {said}: {who} {verb} fast in some processes and "
            "slow in others."
        )
    ]


def _whose_doing(
    course: Course,
    known: Sequence[tuple[float, float]],
    groups: tuple[list[int], list[int]],
) -> str:
    """Who makes the groups, the chosen one or the default, in words.

    Args:
        course: How the comparison went.
        known: The gain of each round, and the chosen one's own level in it.
        groups: The places of the upper and of the lower gains.
    """

    def apart(values: Sequence[float]) -> float:
        upper, lower = (statistics.median(values[number] for number in group) for group in groups)
        return upper - lower

    ours = apart([level for _, level in known]) / apart([gain for gain, _ in known])
    if ours < 1 - MOSTLY:
        return "the default"
    return in_words(course.chosen) if ours > MOSTLY else "the default, or this configuration,"


def _alike(course: Course) -> list[str]:
    """Whether neighbouring rounds of the final were more alike than chance makes them."""
    if course.interval is None or course.correlation < NOTABLE / math.sqrt(course.final_rounds):
        return []
    wider = widening(course.final_rounds, course.correlation)
    return [
        (
            f"Neighbouring rounds were alike (correlation {course.correlation:.1f}), so they say "
            f"less than independent ones: the interval is {wider:.1f} times as wide for it."
        )
    ]


def _held_back(course: Course) -> list[str]:
    """How long a CPU quota has stopped the two of the final."""
    shares = {
        in_words(config): median_of(course.of(config, final=True), "held_back")
        for config in (None, course.chosen)
    }
    if not any(share > HELD_BACK for share in shares.values()):
        return []
    said = " and ".join(f"{who} wait for {share:.0%}" for who, share in shares.items())
    return [f"The CPU quota made {said} of the CPU time that was asked for."]


def _stolen(course: Course) -> list[str]:
    """How much of the CPU time the hypervisor gave to others."""
    stolen = median_of([one for results in course.rounds for one in results], "stolen")
    if not stolen > STOLEN:
        return []
    return [f"The hypervisor gave {stolen:.0%} of the CPU time to others meanwhile."]


def _cheaper(course: Course, objective: Objective) -> list[str]:
    """Which finalist does as much as the default with clearly less CPU, chosen or not."""
    if objective.metric not in (*STEPS, *TIMES) or not course.comparison.is_ratio:
        return []
    least = -course.comparison.tolerance(objective.within)
    saved = {
        number: share
        for number, config in enumerate(course.finalists)
        if (gains := gains_of(course, config, objective))[ENOUGH_RUNS:]
        and statistics.median(gains) > least
        and (share := _cpu_share(course, config)) < CHEAPER
    }
    if not saved:
        return []
    best = min(saved, key=lambda number: saved[number])
    config = course.finalists[best]
    theirs = median_of(course.of(None), "cpu_seconds")
    own, less = standing(course, config, objective), 1 - saved[best]
    took, work = _instead(theirs * saved[best], theirs), work_of(course.of(None))
    what = "steps" if objective.metric in STEPS else "speed"
    return [
        (
            f"CPU: {in_words(config)} took {less:.0%} less CPU a {work} than TensorFlow's default "
            f"({took}), for {own.gain:.2f}x its {what} in {own.runs} runs."
        )
    ]


def _instead(seconds: float, other: float) -> str:
    """Two times, as in "20.5 instead of 31 ms"."""
    if max(seconds, other) >= 1:
        return f"{seconds:.3g} instead of {other:.3g} s"
    return f"{ms(seconds)} instead of {ms(other)} ms"


def _cpu_share(course: Course, config: Config) -> float:
    """How much CPU a configuration takes for a step, as a share of the default's in its rounds."""
    pairs = course.pairs(config)
    shares = [own.cpu_seconds / theirs.cpu_seconds for own, theirs in pairs if theirs.cpu_seconds]
    return statistics.median(shares) if shares else math.nan


def _first_step(course: Course) -> list[str]:
    """How long the first step of the best took, where XLA may have compiled for it."""
    own, theirs = (median_of(course.of(one), "first_step_seconds") for one in (course.chosen, None))
    if not own > LONG_FIRST * theirs:
        return []
    return [
        (
            f"The first step of {in_words(course.chosen)} takes {own:.1f} s, compiling included, "
            f"that of the default {theirs:.1f} s; no figure here holds it."
        )
    ]


def _no_room(searched: Kind) -> list[str]:
    """Which configurations were not started, since they would not have fitted into memory."""
    left_out = [one for one in searched.results if one.outcome is Outcome.NO_ROOM]
    if not left_out:
        return []
    some = "1 trial was" if len(left_out) == 1 else f"{len(left_out)} trials were"
    said = left_out[-1].error.splitlines()[-1]
    return [f"{some} not started for want of memory ({in_words(left_out[-1].config)}: {said})."]


def _failed(course: Course) -> list[str]:
    """Which finalists failed in the comparison."""
    failed = [
        config
        for config in course.finalists
        if any(one.outcome is not Outcome.OK for one in course.of(config))
    ]
    return [f"{in_words(config)} failed when it was run again." for config in failed]


def _drift(course: Course, searched: Kind) -> list[str]:
    """Whether the default's pace changed, during the comparison and since the search."""
    pace = [one.seconds for one in course.of(None) if one.seconds > 0]
    return [*_drift_within(pace), *_drift_since(pace, searched)]


def _drift_within(pace: Sequence[float]) -> list[str]:
    """Whether it changed from the first third of the comparison to the last."""
    third = len(pace) // 3
    if not third:
        return []
    change = statistics.median(pace[-third:]) / statistics.median(pace[:third])
    if max(change, 1 / change) <= DRIFT_WITHIN:
        return []
    return [
        (
            f"The machine was not steady: at the end of the comparison the default took "
            f"{change:.2f} times as long as at its beginning. Taking turns evens that out, but "
            "the answer holds for such a machine."
        )
    ]


def _drift_since(pace: Sequence[float], searched: Kind) -> list[str]:
    """Whether it changed from the search to the comparison."""
    before = median_of(searched.results, "default_seconds")
    if not pace or not before > 0:
        return []
    change = statistics.median(pace) / before
    if max(change, 1 / change) <= DRIFT_SINCE:
        return []
    return [
        (
            f"The machine has changed since the search: the default took {change:.2f} times "
            "as long in the comparison."
        )
    ]
