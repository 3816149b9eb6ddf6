"""Objective: what a configuration is judged by, and what it must keep to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.timing import positive

Result = Mapping[str, Any]

FASTER = ("speedup", "seconds", "seconds_p90", "seconds_p99")
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
            of the step time, measured in turn with the default), `"throughput"` (steps/s),
            `"seconds_p90"`, `"seconds_p99"` or `"cpu_seconds"` (CPU seconds a step).
        mode: `"min"` or `"max"`; by default what the metric's name means.
        at_most: The highest allowed value of other keys, as `{"seconds_p99": 0.02}`.
        within: Configurations no farther apart than this share count as equal.
        fewest: Whether, of those equal to the best, the one with the fewest threads is wanted, even
            where it is slower than TensorFlow's default by as much as `within`.

    Raises:
        InvalidInputError: One breaks its rule.
    """

    metric: str = "speedup"
    mode: str = ""
    at_most: Mapping[str, float] = field(default_factory=dict)
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
        if positive("within", self.within) >= 1:
            raise InvalidInputError(f"within must be a share below 1, but got {self.within!r}")

    def level(self, result: Result) -> float:
        """The log of a result's value, the higher the better; NaN where it failed."""
        value = number(result.get(self.metric))
        if not value > 0 or not math.isfinite(value):
            return math.nan
        return math.log(value) * (1 if self.mode == "max" else -1)

    def own_level(self, result: Result) -> float:
        """The same without the default's share in it: what a speed-up is the ratio of."""
        if self.metric != "speedup":
            return self.level(result)
        seconds = number(result.get("seconds"))
        return -math.log(seconds) if seconds > 0 else math.nan

    def gain(self, result: Result, default: Result) -> float:
        """The log of how many times better a result is than the default's; NaN where one failed."""
        return self.level(result) - self.level(default)

    def miss(self, result: Result) -> float:
        """By how much a result breaks the limits, as a sum of logs; 0 where it keeps them."""
        excess = (
            math.log(value / limit)
            for key, limit in self.at_most.items()
            if (value := number(result.get(key))) > limit
        )
        return sum(excess, 0.0)

    def score(self, result: Result) -> float:
        """What a search maximises: above `INFEASIBLE` for those that keep the limits only.

        It is the ratio to the default, where the result says what that took; so a machine that
        changes its pace favours nobody. Those that break a limit rank by how far they miss it.
        """
        level, miss = self.level(result), self.miss(result)
        if miss > 0 and not math.isnan(level):
            return INFEASIBLE * math.exp(-miss)
        default = number(result.get("default_seconds"))
        if self.metric != "speedup" and default > 0:
            level += math.log(default)
        return math.exp(level)

    @property
    def comparative(self) -> str:
        """As in "1.3x ... TensorFlow's default"; only what is a time is said to be faster."""
        if self.metric in FASTER and self.mode == MODES.get(self.metric, "min"):
            return "faster than"
        better = "lower" if self.mode == "min" else "higher"
        return f"{better} than" if self.metric == "objective" else f"{better} in {self.metric} than"


def number(value: object) -> float:
    """A result's value, or NaN."""
    return float(value) if isinstance(value, int | float) else math.nan
