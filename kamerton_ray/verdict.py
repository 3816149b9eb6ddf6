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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.head_to_head import (
    LEAST_RACE,
    Interval,
    Stage,
    hodges_lehmann,
    two_groups,
    widening,
)
from kamerton_ray.objective import Objective, number
from kamerton_ray.pace import SLOWER, in_pace, out_of_pace
from kamerton_ray.results import (
    Candidate,
    Config,
    candidates,
    median_of,
    nothing_worked,
    trial_results,
)
from kamerton_ray.rounds import RACE_SHARE, Course, run_on_a_node
from kamerton_ray.space import key_of
from kamerton_ray.threads import default_threads

LEAST_FINALISTS, MOST_FINALISTS = 4, 16
"""So many of the search's best are compared: fewer would leave the choice to the search's noise."""

DRIFT_WITHIN, DRIFT_SINCE = 1.15, SLOWER
"""The default's pace may change by these factors, during the comparison and since the search."""

STOLEN = 0.05
"""Above this share the CPU time that the hypervisor takes is worth a word."""

NOTABLE = 2.0
"""A correlation is worth a word from so many of its standard errors, 1 / sqrt(rounds) each."""

MOSTLY = 0.8
"""Two groups are by the doing of the one whose own step time is so much of what they are apart."""


class Decision(Enum):
    """What to do."""

    USE = "use"
    """Use the configuration."""
    KEEP = "keep"
    """Keep TensorFlow's default."""
    UNSURE = "unsure"
    """The comparison did not come to its end."""
    NONE = "none"
    """No trial worked."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the fresh runs of a configuration found, as medians over them.

    Attributes:
        config: The configuration; None for TensorFlow's default.
        runs: In how many fresh processes it was measured.
        gain: How many times better than the default; 1 for the default itself.
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
            fresh runs of the final alone. NaN where the comparison did not come to its end.
        low: Where the 95 % interval of that begins.
        high: Where it ends.
        runs: How many fresh runs of each of the two that rests on.
        tied: The configurations that could not be told apart from the best, it included.
        reasons: What the user should know of it, in sentences.
        table: The finalists, the best first, and the default.
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
    low: float = math.nan
    high: float = math.nan
    runs: int = 0
    tied: tuple[Config, ...] = ()
    reasons: tuple[str, ...] = ()
    table: tuple[Standing, ...] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: tuple[Verdict, ...] = ()
    rounds: list[list[dict[str, Any]]] = field(default_factory=list, repr=False)
    race_rounds: int = 0
    interrupted: bool = False

    def to_json(self, *, rounds: bool = False) -> dict[str, Any]:
        """It as what `json.dumps` takes, the rounds on demand; what is NaN is None."""
        found = {
            **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)},
            "decision": self.decision.value,
            "table": [dataclasses.asdict(one) for one in self.table],
            "elsewhere": [one.to_json(rounds=rounds) for one in self.elsewhere],
        }
        if not rounds:
            del found["rounds"]
        plain: dict[str, Any] = _without_nan(json.loads(json.dumps(found, default=repr)))
        return plain


def verdict(
    results: object,
    trainable: type[Any],
    *,
    objective: Objective | None = None,
    budget_s: float | None = None,
    finalists: int = MOST_FINALISTS,
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
        finalists: At most so many configurations are compared.
        watch: Called after every round, with what is known by then.

    Returns:
        The verdict for the kind of machine that ran most trials; those for the other kinds are its
        `elsewhere`.

    Raises:
        InvalidInputError: The results are empty, or the trainable is not of this package.
    """
    if not hasattr(trainable, "measurer"):
        raise InvalidInputError(
            f"verdict needs a trainable made by benchmark() or command(), but got {trainable!r}"
        )
    if finalists < 1:
        raise InvalidInputError(f"finalists must be 1 or more, but got {finalists!r}")
    objective = objective or Objective()
    found = trial_results(results)
    kinds = kinds_of(found)
    alive = _alive_nodes()
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
        verdicts.append(decide(course, objective, searched=kind))
    return dataclasses.replace(verdicts[0], elsewhere=tuple(verdicts[1:]))


@dataclass(frozen=True)
class Kind:
    """A kind of machine, and what it measured.

    Attributes:
        machine: What identifies it.
        nodes: The addresses of the nodes of this kind that took part.
        results: What was measured on them.
    """

    machine: Mapping[str, Any]
    nodes: list[str]
    results: list[dict[str, Any]]


def kinds_of(results: Sequence[dict[str, Any]]) -> list[Kind]:
    """The results by kind of machine, the kind with the most first; never mixed.

    Those of which nobody knows it count with the first.
    """
    machines = [r["machine"] for r in results if r.get("machine")]
    of_node = {r["node_ip"]: r["machine"] for r in results if r.get("machine") and "node_ip" in r}
    usual = machines[0] if machines else {}
    groups: dict[str, Kind] = {}
    for result in results:
        # An attempt that failed early does not know its machine, but its node may.
        machine = result.get("machine") or of_node.get(result.get("node_ip"), usual)
        kind = groups.setdefault(key_of(machine), Kind(machine, [], []))
        kind.results.append(result)
        ip = result.get("node_ip")
        if ip is not None and ip not in kind.nodes:
            kind.nodes.append(ip)
    return sorted(groups.values(), key=lambda kind: -len(kind.results))


def contestants(kind: Kind, objective: Objective) -> list[Candidate]:
    """The candidates, without the one that has the default's own thread counts, if there are more.

    That one meets itself, which shows nothing.
    """
    found = candidates(in_pace(kind.results), objective)
    own = default_threads(kind.machine.get("usable_cpus", 0))
    return [one for one in found if one.config != own] or found


def affordable(results: Sequence[Mapping[str, Any]], budget_s: float | None) -> int:
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
    misses = {id(one): _miss(one.results, objective) for one in found}
    least = min(misses.values())
    feasible = [one for one in found if misses[id(one)] <= least]
    return feasible[:most]


def decide(course: Course, objective: Objective, *, searched: Kind) -> Verdict:
    """What a head-to-head says."""
    fresh = [one for results in course.rounds for one in results]
    machine: dict[str, Any] = next((one["machine"] for one in fresh if one.get("machine")), {})
    basis: dict[str, Any] = {
        "table": _table(course, objective),
        "machine": machine or searched.machine,
        "reasons": tuple(_reasons(course, objective, searched, machine)),
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
    speedup, low, high = (
        math.exp(log) for log in (course.interval.middle, course.interval.low, course.interval.high)
    )
    ratio = f"{speedup:.2f}x [{low:.2f}, {high:.2f}]"
    decision, sentence = _decided(course, course.interval, objective, ratio)
    return Verdict(
        decision=decision,
        sentence=sentence,
        config=course.chosen,
        speedup=speedup,
        low=low,
        high=high,
        runs=course.final_rounds,
        tied=tuple(course.left),
        **basis,
    )


def _decided(
    course: Course, interval: Interval, objective: Objective, ratio: str
) -> tuple[Decision, str]:
    """The decision, and the sentence that says it."""
    best, least = in_words(course.chosen), math.log1p(objective.within)
    runs = f"(95 %, {course.final_rounds} fresh runs each)"
    gain = f"{ratio} {objective.comparative} TensorFlow's default {runs}"
    ours, theirs = (
        _miss(course.of(config, final=True), objective) for config in (course.chosen, None)
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
            f"{best} has the fewest threads within {objective.within:.0%} of the best; "
            f"it is {gain}."
        )
    if interval.low > least:
        return Decision.USE, f"{best} is {gain}."
    beyond = "beyond noise"
    if interval.low > 0:
        beyond = f"by surely more than {objective.within:.0%}"
    return Decision.KEEP, (
        f"No configuration beat TensorFlow's default {beyond} (best: {best}, {ratio} {runs}): "
        "keep the default."
    )


def in_words(config: Mapping[str, Any] | None) -> str:
    """A configuration as the user writes it."""
    if config is None:
        return "TensorFlow's default"
    return " ".join(f"{name}={value}" for name, value in config.items())


def _table(course: Course, objective: Objective) -> tuple[Standing, ...]:
    rows = [_standing(course, config, objective) for config in course.finalists]
    rows = sorted((row for row in rows if row.runs), key=lambda row: -row.gain)
    chosen = [row for row in rows if row.config == course.chosen]
    others = [row for row in rows if row.config != course.chosen]
    return (*chosen, *others, _standing(course, None, objective))


def _standing(course: Course, config: Config | None, objective: Objective) -> Standing:
    """How a configuration fares: the chosen one in the final, the others in the race.

    Its values are the default's times their ratio within the rounds, or those of two that were
    measured at different times would say what the machine did meanwhile.
    """
    own_final = config == course.chosen and course.final_rounds
    pairs = course.pairs(config, final=bool(own_final))
    gains = [gain for own, theirs in pairs if not math.isnan(gain := objective.gain(own, theirs))]

    def value(key: str) -> float:
        ratios = [
            number(own.get(key)) / (number(theirs.get(key)) or math.nan) for own, theirs in pairs
        ]
        known = [ratio for ratio in ratios if not math.isnan(ratio)]
        return statistics.median(known) * median_of(course.of(None), key) if known else math.nan

    return Standing(
        config=config,
        runs=len(gains),
        gain=math.exp(hodges_lehmann(gains)) if gains else math.nan,
        value=value(objective.metric),
        seconds=value("seconds"),
        seconds_p99=value("seconds_p99"),
        throughput=value("throughput"),
        cpu_seconds=value("cpu_seconds"),
    )


def _miss(results: Sequence[Mapping[str, Any]], objective: Objective) -> float:
    """By how much the medians of some results break the limits."""
    return objective.miss({key: median_of(results, key) for key in objective.at_most})


def _broken_off(course: Course) -> str:
    best = in_words(course.chosen or course.finalists[0])
    if course.error:
        return f"{best} was the best of the search; it could not be compared: {course.error}"
    if not course.left and course.rounds:
        return f"{best} was the best of the search, but it failed when it was run again."
    return f"{best} is the best so far; its comparison with the default did not end."


def _reasons(
    course: Course, objective: Objective, searched: Kind, machine: Mapping[str, Any]
) -> list[str]:
    """What the user should know of how the answer came about."""
    found = []
    if course.preferred:
        found.append(
            f"{in_words(course.chosen)} was preferred to others within {objective.within:.0%} of "
            "it for its fewer threads."
        )
    if course.stage is Stage.DONE and len(course.left) > 1:
        tied = "; ".join(in_words(one) for one in course.left if one != course.chosen)
        found.append(f"Not told apart from the best: {tied}.")
    if searched.machine and machine and dict(searched.machine) != dict(machine):
        found.append(
            f"The search ran on another kind of machine ({_kind(searched.machine)}) than the "
            f"comparison ({_kind(machine)})."
        )
    found += [
        f"The node {ip} was out of pace with the others of its kind: the default took {times:.2f} "
        "times as long there."
        for ip, times in out_of_pace(searched.results).items()
    ]
    found += _undecided(course, objective)
    found += [*_groups(course, objective), *_alike(course), *_drift(course, searched)]
    stolen = median_of([one for results in course.rounds for one in results], "stolen")
    if stolen > STOLEN:
        found.append(f"The hypervisor gave {stolen:.0%} of the CPU time to others meanwhile.")
    failed = [c for c in course.finalists if any(_failed(one) for one in course.of(c))]
    found += [f"{in_words(config)} failed when it was run again." for config in failed]
    return found


def _undecided(course: Course, objective: Objective) -> list[str]:
    """Whether the race may have chosen the wrong one."""
    if not course.undecided:
        return []
    return [
        (
            "The comparison of the configurations with each other was not decided: another may be "
            f"faster than the one that was chosen by more than {objective.within:.0%}."
        )
    ]


def _groups(course: Course, objective: Objective) -> list[str]:
    """Whether the final's rounds fall into two groups, and by whose doing."""
    if course.stage is not Stage.DONE or course.chosen is None:
        return []
    pairs = course.pairs(course.chosen, final=True)
    known = [
        (gain, objective.own_level(own))
        for own, default in pairs
        if not math.isnan(gain := objective.gain(own, default))
    ]
    gains = [gain for gain, _ in known]
    found = two_groups(gains, least=math.log1p(objective.within))
    if found is None:
        return []

    def apart(values: Sequence[float]) -> float:
        upper, lower = (statistics.median(values[number] for number in group) for group in found)
        return upper - lower

    ours = apart([level for _, level in known]) / apart(gains)
    one, who = in_words(course.chosen), "the default, or this configuration,"
    if ours < 1 - MOSTLY:
        who = "the default"
    elif ours > MOSTLY:
        who = one
    said = " and ".join(
        f"{math.exp(hodges_lehmann([gains[number] for number in group])):.2f}x ({len(group)})"
        for group in found
    )
    return [
        (
            f"The rounds fall into two groups, {said}: {who} is fast in some processes and slow "
            "in others."
        )
    ]


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


def _drift(course: Course, searched: Kind) -> list[str]:
    """Whether the default's pace changed."""
    pace = [number(one.get("seconds")) for one in course.of(None)]
    pace = [seconds for seconds in pace if seconds > 0]
    found = []
    third = len(pace) // 3
    if third:
        change = statistics.median(pace[-third:]) / statistics.median(pace[:third])
        if max(change, 1 / change) > DRIFT_WITHIN:
            found.append(
                f"The machine was not steady: at the end of the comparison the default took "
                f"{change:.2f} times as long as at its beginning. Taking turns evens that out, but "
                "the answer holds for such a machine."
            )
    before = median_of(searched.results, "default_seconds")
    if pace and before > 0:
        change = statistics.median(pace) / before
        if max(change, 1 / change) > DRIFT_SINCE:
            found.append(
                f"The machine has changed since the search: the default took {change:.2f} times "
                "as long in the comparison."
            )
    return found


def _failed(result: Mapping[str, Any]) -> bool:
    return str(result.get("outcome", "ok")) != "ok"


def _kind(machine: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in machine.items())


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


def _alive_nodes() -> set[str]:
    import ray  # noqa: PLC0415 - importing this package must not import Ray

    if not ray.is_initialized():
        ray.init()
    return {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
