"""verdict: the answer to a search, measured afresh, with an interval and reasons.

The best of many noisy numbers flatters itself. So none of the search's own numbers counts: the
best of the search meet the default once more in a head-to-head of fresh processes (see
`head_to_head` for the statistics and their sources).
"""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from kamerton_ray.answer.candidates import (
    Candidate,
    Kind,
    candidates,
    check_reported,
    kinds_of,
    miss_of,
    nothing_worked,
)
from kamerton_ray.answer.head_to_head import LEAST_RACE, Interval, Stage
from kamerton_ray.answer.reasons import other_work, reasons
from kamerton_ray.answer.rounds import RACE_SHARE, Course, run_on_a_node
from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.hardware import UNKNOWN, Machine
from kamerton_ray.machine.threads import default_threads
from kamerton_ray.numeric import number, plain
from kamerton_ray.trial.comparison import DIFFERENCE, RATIO, Comparison
from kamerton_ray.trial.config import Config, in_words, is_variable
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result, median_of
from kamerton_ray.tune.pace import in_pace, out_of_pace
from kamerton_ray.tune.placement import alive_nodes
from kamerton_ray.tune.results import trial_results

LEAST_FINALISTS, MOST_FINALISTS = 4, 16
"""So many of the search's best are compared: fewer would leave the choice to the search's noise."""


class Decision(Enum):
    """What to do."""

    USE = "use"
    """Use the configuration."""
    KEEP = "keep"
    """Keep TensorFlow's default."""
    UNSURE = "unsure"
    """The comparison did not come to its end."""
    BUSY = "busy"
    """It came to its end beside other work, so it holds for a busy machine alone."""
    NONE = "none"
    """No trial worked."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the fresh runs of a configuration found, as medians over them.

    Attributes:
        config: The configuration; None for TensorFlow's default.
        runs: In how many fresh processes it was measured.
        gain: How many times better than the default, or, where the verdict has no ratios, how much
            in the metric's own unit; 1 or 0 for the default itself.
        value: The objective's metric.
        seconds: Seconds a step, or of a run.
        seconds_p99: 99 of 100 steps took no longer; NaN where no steps were timed, as the next.
        throughput: Steps a second.
        cpu_seconds: CPU seconds a step.
    """

    config: Config | None
    runs: int
    gain: float
    value: float
    seconds: float
    seconds_p99: float
    throughput: float
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer, and what it rests on.

    Attributes:
        decision: What to do.
        sentence: The same in words.
        config: The best configuration; None where none worked.
        speedup: How many times better than TensorFlow's default it is, by the objective; from the
            fresh runs of the final alone. NaN where the comparison did not come to its end, and
            where there are no ratios, since a value is 0 or less.
        difference: Where there are none, how much better it is, in the metric's own unit; else NaN.
        low: Where the 95 % interval of either begins.
        high: Where it ends.
        runs: How many fresh runs of each of the two that rests on.
        tied: The configurations that could not be told apart from the best, it included.
        reasons: What the user should know of it, in sentences.
        table: The finalists, the best first, and the default.
        ratios: Whether gains are ratios; otherwise they are differences.
        machine: For which kind of machine it holds.
        elsewhere: The answers for the other kinds that took part.
        rounds: Every fresh result, in lists of those measured in turn, in the order of their
            processes; `config` is None for the default.
        race_rounds: How many of the rounds chose among the finalists; the others are the final's.
        interrupted: Whether the comparison was broken off, as by Ctrl-C.
    """

    decision: Decision
    sentence: str
    config: Config | None = None
    speedup: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    runs: int = 0
    tied: tuple[Config, ...] = ()
    reasons: tuple[str, ...] = ()
    table: tuple[Standing, ...] = ()
    ratios: bool = True
    machine: Machine = UNKNOWN
    elsewhere: tuple[Verdict, ...] = ()
    rounds: list[list[Result]] = field(default_factory=list, repr=False)
    race_rounds: int = 0
    interrupted: bool = False

    @property
    def comparison(self) -> Comparison:
        """What its gains are."""
        return RATIO if self.ratios else DIFFERENCE

    def to_json(self, *, rounds: bool = False) -> dict[str, Any]:
        """It as what `json.dumps` takes, the rounds on demand; what is NaN is None."""
        found = {
            **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)},
            "decision": self.decision.value,
            "table": [dataclasses.asdict(one) for one in self.table],
            "elsewhere": [one.to_json(rounds=rounds) for one in self.elsewhere],
            "machine": self.machine.to_json(),
            "rounds": [[one.to_json() for one in results] for results in self.rounds],
        }
        if not rounds:
            del found["rounds"]
        told: dict[str, Any] = _without_nan(json.loads(json.dumps(found, default=plain)))
        return told


def verdict_of(answer: Mapping[str, Any]) -> Verdict:
    """The verdict that a session has written down."""
    names = {one.name for one in dataclasses.fields(Verdict)}
    told = {name: value for name, value in answer.items() if name in names and value is not None}
    told["decision"] = Decision(answer["decision"])
    told["table"] = tuple(_standing_of(row) for row in answer.get("table", ()))
    told["machine"] = Machine.of(answer.get("machine"))
    told["rounds"] = [[Result.of(one) for one in some] for some in answer.get("rounds", ())]
    told["elsewhere"] = tuple(verdict_of(one) for one in answer.get("elsewhere", ()))
    return Verdict(**told)


def _standing_of(row: Mapping[str, Any]) -> Standing:
    known: dict[str, Any] = {
        one.name: number(row.get(one.name)) for one in dataclasses.fields(Standing)
    }
    return Standing(**{**known, "config": row["config"]})


def verdict(
    results: object,
    trainable: type[Any],
    *,
    objective: Objective | None = None,
    budget_s: float | None = None,
    finalists: int = MOST_FINALISTS,
    shared: bool = False,
    watch: Callable[[Course], object] = lambda _: None,
) -> Verdict:
    """Compare the best of a search with each other and the default, afresh, and decide.

    Ray has to be running, or is started. The comparison is a trial that has a node for itself, on
    each kind of machine that took part in the search, one after the other.

    Args:
        results: An `ExperimentAnalysis`, a `ResultGrid`, the folder of one or of a session of
            `kamerton-ray`, or a list of results, each with its `config`.
        trainable: What the search ran, made by `benchmark` or `command`.
        objective: What the configurations are judged by; by default the step time's speed-up.
        budget_s: About how many seconds the comparison may take on each kind of machine; by
            default as many as it needs. At the least it takes 4 rounds of the finalists and 20 of
            the best, each with the default.
        finalists: At most so many configurations are compared; fewer where `budget_s` asks for it.
        shared: Whether the answer is wanted for a machine that does other work, too. Otherwise one
            that was found beside other work says so, and is neither a win nor the default's.
        watch: Called after every round, with what is known by then.

    Returns:
        The verdict for the kind of machine that ran most trials; those for the other kinds are its
        `elsewhere`.

    Raises:
        InvalidInputError: The results are empty or do not have what they are judged by, or the
            trainable is not of this package.
    """
    if not hasattr(trainable, "measurer"):
        raise InvalidInputError(
            f"verdict needs a trainable made by benchmark() or command(), but got {trainable!r}"
        )
    if finalists < 1:
        raise InvalidInputError(f"finalists must be 1 or more, but got {finalists!r}")
    objective = objective or Objective()
    found = trial_results(results)
    check_reported(found, objective)
    kinds = kinds_of(found)
    alive = alive_nodes()
    verdicts = []
    for kind in kinds:
        most = min(finalists, affordable(kind.results, budget_s))
        chosen = screen(contestants(kind, objective), objective, most=most)
        nodes = [ip for ip in kind.nodes if ip in alive]
        if not chosen:
            verdicts.append(_nothing_worked(kind))
            continue
        if len(kinds) > 1 and not nodes:
            verdicts.append(_no_node(kind, chosen[0]))
            continue
        course = run_on_a_node(
            trainable,
            [one.config for one in chosen],
            objective,
            node_ips=[ip for ip in nodes if ip not in out_of_pace(kind.results)] or nodes,
            budget_s=budget_s,
            watch=watch,
        )
        verdicts.append(decide(course, objective, searched=kind, shared=shared))
    return dataclasses.replace(verdicts[0], elsewhere=tuple(verdicts[1:]))


def contestants(kind: Kind, objective: Objective) -> list[Candidate]:
    """The candidates, without the one that has the default's own thread counts, if there are more.

    That one meets itself, which shows nothing.
    """
    found = candidates(in_pace(kind.results), objective)
    fixed = {
        name
        for name in {name for one in found for name in one.config}
        if len({repr(one.config.get(name)) for one in found}) == 1
    }
    cpus = kind.machine.usable_cpus
    return [one for one in found if not _is_default(one.config, cpus, fixed)] or found


def _is_default(config: Config, cpus: int, fixed: Collection[str]) -> bool:
    """Whether a configuration runs what the default does, which has the same fixed values.

    But variables, whose names are in capitals, the default runs without.
    """
    usual = default_threads(cpus)
    counts = {name: value for name, value in config.items() if name in usual}
    others = config.keys() - usual.keys()
    return (
        bool(counts)
        and all(value in (0, usual[name]) for name, value in counts.items())
        and not any(is_variable(name) or name not in fixed for name in others)
    )


def affordable(results: Sequence[Result], budget_s: float | None) -> int:
    """How many finalists the time allows, if a run takes as long as a trial of the search did."""
    seconds = median_of(results, "time_total_s")
    if budget_s is None or not seconds > 0:
        return MOST_FINALISTS
    return max(LEAST_FINALISTS, int(RACE_SHARE * budget_s / (LEAST_RACE * seconds)) - 1)


def screen(found: Sequence[Candidate], objective: Objective, *, most: int) -> list[Candidate]:
    """The best of the candidates: the search's noise is no reason to leave one of them out.

    Where limits are to be kept, those that keep them; where none does, those that miss them least.
    """
    if not found:
        return []
    misses = [miss_of(one.results, objective) for one in found]
    least = min(misses)
    feasible = [one for one, miss in zip(found, misses, strict=True) if miss <= least]
    return feasible[:most]


def decide(
    course: Course, objective: Objective, *, searched: Kind, shared: bool = False
) -> Verdict:
    """What a head-to-head says."""
    fresh = [one for results in course.rounds for one in results]
    machine = next((one.machine for one in fresh if one.machine), UNKNOWN)
    basis: dict[str, Any] = {
        "table": _table(course, objective),
        "ratios": course.comparison.is_ratio,
        "machine": machine or searched.machine,
        "reasons": tuple(reasons(course, objective, searched, machine)),
        "rounds": course.rounds,
        "race_rounds": course.race_rounds,
    }
    if course.stage is not Stage.DONE or course.chosen is None or course.interval is None:
        return Verdict(
            decision=Decision.UNSURE,
            config=course.chosen or course.finalists[0],
            sentence=_broken_off(course),
            interrupted=course.interrupted,
            **basis,
        )
    by, interval = course.comparison, course.interval
    middle, low, high = map(by.amount, (interval.middle, interval.low, interval.high))
    decision, sentence = _decided(course, interval, objective)
    if beside := other_work(course):
        decision, sentence = _beside(beside, decision, sentence, shared=shared)
    return Verdict(
        decision=decision,
        sentence=sentence,
        config=course.chosen,
        speedup=middle if by.is_ratio else math.nan,
        difference=math.nan if by.is_ratio else middle,
        low=low,
        high=high,
        runs=course.final_rounds,
        tied=tuple(course.left),
        **basis,
    )


def _decided(course: Course, interval: Interval, objective: Objective) -> tuple[Decision, str]:
    """The decision, and the sentence that says it."""
    by = course.comparison
    best, least = in_words(course.chosen), by.tolerance(objective.within)
    runs = f"(95 %, {course.final_rounds} fresh runs each)"
    middle, low, high = (
        by.figure(by.amount(gain)) for gain in (interval.middle, interval.low, interval.high)
    )
    amount = f"{middle}{by.times} [{low}, {high}]"
    better, share = objective.better(by), objective.share(by)
    gain = f"{amount} {better} than TensorFlow's default {runs}"
    ours, theirs = (
        miss_of(course.of(config, final=True), objective) for config in (course.chosen, None)
    )
    limits = ", ".join(f"{key} at most {limit:g}" for key, limit in objective.at_most.items())
    if ours > 0:
        return Decision.KEEP, (
            f"No configuration kept {limits} in the fresh runs; {best} comes closest, {gain}."
        )
    if theirs > 0:
        return Decision.USE, (
            f"{best} keeps {limits}, which TensorFlow's default does not; it is {gain}."
        )
    if objective.fewest and interval.low > -least:
        return Decision.USE, (
            f"{best} has the fewest threads within {share} of the best; it is {gain}."
        )
    if interval.low > least:
        return Decision.USE, f"{best} is {gain}."
    beyond = "beyond noise"
    if interval.low > 0:
        beyond = f"by surely more than {share}"
    amount += "" if by.is_ratio else f" {better}"
    return Decision.KEEP, (
        f"No configuration beat TensorFlow's default {beyond} (best: {best}, {amount} {runs}): "
        "keep the default."
    )


def _beside(work: str, decision: Decision, sentence: str, *, shared: bool) -> tuple[Decision, str]:
    """The same of a machine that was busy: never a plain win, unless that is what was asked for."""
    said = f"Beside {work}: {sentence}"
    if shared:
        return decision, said
    return Decision.BUSY, (
        f"The machine was busy. {said} A machine at rest may decide otherwise: end the other work "
        "and compare again, or ask for the answer of a shared machine."
    )


def _table(course: Course, objective: Objective) -> tuple[Standing, ...]:
    rows = [_standing(course, config, objective) for config in course.finalists]
    rows = sorted((row for row in rows if row.runs), key=lambda row: -row.gain)
    chosen = [row for row in rows if row.config == course.chosen]
    others = [row for row in rows if row.config != course.chosen]
    return (*chosen, *others, _standing(course, None, objective))


def _standing(course: Course, config: Config | None, objective: Objective) -> Standing:
    """How a configuration fares: the chosen one in the final, the others in the race.

    Its values are the default's, moved by the ratio or the difference within the rounds, or those
    of two that were measured at different times would say what the machine did meanwhile.
    """
    by = course.comparison
    own_final = config == course.chosen and course.final_rounds
    pairs = course.pairs(config, final=bool(own_final))
    gains = [g for own, theirs in pairs if not math.isnan(g := objective.gain(own, theirs, by))]

    def value(key: str) -> float:
        numbers = [(own.number(key), theirs.number(key)) for own, theirs in pairs]
        scale = Comparison.of(one for pair in numbers for one in pair)
        moves = [scale.level(own) - scale.level(theirs) for own, theirs in numbers]
        known = [move for move in moves if not math.isnan(move)]
        usual = median_of(course.of(None), key)
        return scale.moved(usual, statistics.median(known)) if known else math.nan

    return Standing(
        config=config,
        runs=len(gains),
        gain=by.amount(_middle(course, gains, final=bool(own_final))),
        value=value(objective.metric),
        seconds=value("seconds"),
        seconds_p99=value("seconds_p99"),
        throughput=value("throughput"),
        cpu_seconds=value("cpu_seconds"),
    )


def _middle(course: Course, gains: Sequence[float], *, final: bool) -> float:
    """The gain in the middle of some: of the final's the one that the sentence says."""
    if final and course.interval is not None:
        return course.interval.middle
    return statistics.median(gains) if gains else math.nan


def _broken_off(course: Course) -> str:
    best = in_words(course.chosen or course.finalists[0])
    if course.error:
        return f"{best} was the best of the search; it could not be compared: {course.error}"
    if not course.left and course.rounds:
        return f"{best} was the best of the search, but it failed when it was run again."
    return f"{best} is the best so far; its comparison with the default did not end."


def _nothing_worked(kind: Kind) -> Verdict:
    sentence = nothing_worked(kind.results)
    return Verdict(decision=Decision.NONE, sentence=sentence, machine=kind.machine)


def _no_node(kind: Kind, best: Candidate) -> Verdict:
    return Verdict(
        decision=Decision.UNSURE,
        config=best.config,
        sentence=f"{in_words(best.config)} was the best of the search, but no node of its kind is "
        "left to compare it with the default.",
        machine=kind.machine,
    )


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
