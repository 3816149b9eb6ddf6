"""Objective: what a configuration is judged by, and what it must keep to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.numeric import positive
from kamerton_ray.trial.comparison import RATIO, Comparison
from kamerton_ray.trial.result import Result

FASTER = ("speedup", "seconds", "seconds_p90", "seconds_p99", "seconds_per_program")
"""In these a better configuration is a faster one; what any other number means nobody knows."""

MODES = {"speedup": "max", "throughput": "max"}
"""How `benchmark`'s results are meant; the others are better the lower they are."""

INFEASIBLE = 1e-3
"""The score of a configuration that only just breaks a limit, where the default's is about 1."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What a configuration is judged by, and what it must keep to.

    Attributes:
        metric: The key of a trial's result that counts: for `benchmark` `"speedup"` (which is that
            of the steps that all instances do, measured in turn with the default), `"throughput"`
            (steps/s), `"seconds_p90"`, `"seconds_p99"`, `"cpu_seconds"` (CPU seconds a step),
            `"cpus"` (how many CPUs are kept busy) or `"memory"` (bytes an instance).
        mode: `"min"` or `"max"`; by default what the metric's name means.
        at_most: The highest allowed value of other keys, as `{"seconds_p99": 0.02}`. An unknown
            value has not kept its limit.
        at_least: The lowest allowed value of other keys, as `{"throughput": 100}`, likewise.
        within: Configurations no farther apart than this share count as equal. Where values are 0
            or less it is a share of the default's absolute value.
        fewest: Whether, of those equal to the best, the one with the fewest threads is wanted, even
            where it is slower than TensorFlow's default by as much as `within`.

    Raises:
        InvalidInputError: One breaks its rule.
    """

    metric: str = "speedup"
    mode: str = ""
    at_most: Mapping[str, float] = field(default_factory=dict)
    at_least: Mapping[str, float] = field(default_factory=dict)
    within: float = 0.02
    fewest: bool = False

    def __post_init__(self) -> None:
        """Check them."""
        if not self.mode:
            object.__setattr__(self, "mode", MODES.get(self.metric, "min"))
        if self.mode not in {"min", "max"}:
            raise InvalidInputError(f"mode must be 'min' or 'max', but got {self.mode!r}")
        for key, limit in self.at_most.items():
            positive(f"at_most[{key!r}]", limit)
        for key, limit in self.at_least.items():
            positive(f"at_least[{key!r}]", limit)
        if positive("within", self.within) >= 1:
            raise InvalidInputError(f"within must be a share below 1, but got {self.within!r}")

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.mode == "max" else -1

    def value(self, result: Result) -> float:
        """A result's value; NaN where it failed."""
        return result.number(self.metric)

    def comparison(self, results: Iterable[Result], default: Iterable[Result] = ()) -> Comparison:
        """How these results are compared with each other and the default's."""
        return Comparison.of(map(self.value, results), map(self.value, default))

    def level(self, result: Result, by: Comparison = RATIO) -> float:
        """A result's value as what a gain is the difference of, the higher the better."""
        return self.sign * by.level(self.value(result))

    def own_level(self, result: Result, by: Comparison = RATIO) -> float:
        """The same without the default's share in it: what a speed-up is the ratio of."""
        own = -RATIO.level(result.machine_seconds if result.machine_seconds > 0 else result.seconds)
        return self.level(result, by) if self.metric != "speedup" or math.isnan(own) else own

    def level_of_trial(self, trial: Result, by: Comparison = RATIO) -> float:
        """That of a trial, as a ratio to what its default took, where that is known.

        So a machine that changes its pace favours nobody.
        """
        level = self.level(trial, by)
        if by.is_ratio and self.metric != "speedup" and trial.default_seconds > 0:
            level += math.log(trial.default_seconds)
        return level

    def gain(self, result: Result, default: Result, by: Comparison = RATIO) -> float:
        """How much better a result is than the default's; NaN where one failed."""
        return self.level(result, by) - self.level(default, by)

    def miss(self, result: Result) -> float:
        """By how much a result breaks the limits, as a sum of logs; 0 where it keeps them.

        It is infinite where a limited value is unknown: nobody can say that it keeps its limit.
        """
        return self.miss_of({key: result.number(key) for key in self.limited})

    def miss_of(self, values: Mapping[str, float]) -> float:
        """The same of the limited values by themselves."""
        return sum((self._excess(key, value) for key, value in values.items()), 0.0)

    def _excess(self, key: str, value: float) -> float:
        """By how much a value breaks its limits, as a log; infinite where it is unknown."""
        if math.isnan(value):
            return math.inf
        least = self.at_least.get(key, 0.0)
        under = (least / value if value > 0 else math.inf) if least else 0.0
        over = value / self.at_most.get(key, math.inf)
        return math.log(max(1.0, under, over))

    @property
    def limited(self) -> tuple[str, ...]:
        """The keys that have a limit."""
        return (*self.at_most, *(key for key in self.at_least if key not in self.at_most))

    def kept(self) -> str:
        """The limits in words."""
        most = [f"{key} at most {limit:g}" for key, limit in self.at_most.items()]
        return ", ".join(most + [f"{key} at least {one:g}" for key, one in self.at_least.items()])

    def score(self, result: Result) -> float:
        """What a search maximises: above `INFEASIBLE` for those that keep the limits only.

        Those that break a limit rank by how far they miss it.
        """
        level, miss = self.level_of_trial(result), self.miss(result)
        if miss > 0 and not math.isnan(level):
            return INFEASIBLE * math.exp(-miss)
        return math.exp(level)

    def share(self, by: Comparison = RATIO) -> str:
        """The tolerance in figures, as "2%" or "0.004"."""
        if by.is_ratio:
            return f"{self.within:.0%}"
        return by.figure(by.amount(by.tolerance(self.within)))

    def said(self, amount: float, by: Comparison = RATIO) -> str:
        """A gain as it is written, as "1.30x" or "0.91x, slower"."""
        return f"{by.figure(amount)}{by.times}{self.below(amount, by)}"

    def below(self, amount: float, by: Comparison = RATIO) -> str:
        """What is written after a ratio below 1, as ", slower"; nothing after any other gain."""
        if not by.is_ratio or not float(by.figure(amount)) < 1:
            return ""
        is_time = self.metric in (*FASTER, "throughput")
        is_usual = self.mode == MODES.get(self.metric, "min")
        return ", slower" if is_time and is_usual else ", worse"

    def better(self, by: Comparison = RATIO) -> str:
        """As in "1.3x ... than TensorFlow's default"; only what is a time is said to be faster."""
        if by.is_ratio and self.metric in FASTER and self.mode == MODES.get(self.metric, "min"):
            return "faster per program" if self.metric == "seconds_per_program" else "faster"
        better = "lower" if self.mode == "min" else "higher"
        return better if self.metric == "objective" else f"{better} in {self.metric}"
