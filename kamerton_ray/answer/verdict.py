"""The answer to a search, as a record: what to do, and what that rests on."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from enum import Enum

from kamerton_ray.machine.hardware import UNKNOWN, Machine
from kamerton_ray.numeric import NanEqual, number, plain
from kamerton_ray.trial.comparison import DIFFERENCE, RATIO, Comparison
from kamerton_ray.trial.config import Config
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.folders import Json


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
    """No trial worked, or none has ended."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing(NanEqual):
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
        cpus: How many CPUs were kept busy; NaN where nobody wrote it down, as the next.
        memory: The most bytes that one of its processes held.
    """

    config: Config | None
    runs: int
    gain: float
    value: float
    seconds: float
    seconds_p99: float
    throughput: float
    cpu_seconds: float
    cpus: float = math.nan
    memory: float = math.nan

    @classmethod
    def from_json(cls, row: Json) -> Standing:
        """The row of a table that was written down; what has no number is NaN."""
        told: Json = {one.name: number(row.get(one.name)) for one in dataclasses.fields(cls)}
        runs = 0 if math.isnan(told["runs"]) else int(told["runs"])
        return cls(**{**told, "config": row["config"], "runs": runs})


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict(NanEqual):
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

    def to_json(self, *, rounds: bool = False) -> Json:
        """It as what `json.dumps` takes, the rounds on demand; what is NaN or infinite is None."""
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
        # JSON has no NaN and no infinities: in their place stands None.
        told: Json = json.loads(json.dumps(found, default=plain), parse_constant=lambda _: None)
        return told

    @classmethod
    def from_json(cls, answer: Json) -> Verdict:
        """The verdict that `to_json` has told; a session keeps it as its answer."""
        names = {one.name for one in dataclasses.fields(cls)}
        told = {name: one for name, one in answer.items() if name in names and one is not None}
        told["decision"] = Decision(answer["decision"])
        told |= {
            name: number(answer.get(name)) for name in ("speedup", "difference", "low", "high")
        }
        told["table"] = tuple(map(Standing.from_json, answer.get("table", ())))
        told["machine"] = Machine.of(answer.get("machine"))
        told["rounds"] = [[Result.of(one) for one in some] for some in answer.get("rounds", ())]
        told["elsewhere"] = tuple(map(cls.from_json, answer.get("elsewhere", ())))
        return cls(**told)
