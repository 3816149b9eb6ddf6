"""What a search measured, configuration by configuration, beside TensorFlow's default."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from kamerton_ray.answer.candidates import check_reported, miss_of, value_of
from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.hardware import UNKNOWN, Machine
from kamerton_ray.machine.knobs import STOCK, is_stock
from kamerton_ray.machine.threads import THREADS
from kamerton_ray.trial.comparison import Comparison
from kamerton_ray.trial.config import INSTANCES_KEY, ONE_PROCESS, Config, flat, in_words, key_of
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result, numbers_in
from kamerton_ray.tune.results import trial_results

GUESSES = ("speedup", "objective", "seconds")
"""Which key of a result counts where nobody says it: the first of these that has numbers."""


ORDER = (INSTANCES_KEY, *THREADS)
"""What comes first of all that was tuned."""


class Basis(Enum):
    """What a configuration's gain is measured against."""

    PAIRED = "the default, measured in turn with each trial"
    TRIAL = "the trial of {}"
    FRESH = "TensorFlow's default in the comparison's fresh runs"
    MEDIAN = "the median configuration, since the default was not measured"


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What 1.00x is.

    Attributes:
        value: Its value of the metric; 1 for a speed-up.
        basis: How that is known.
        config: The configuration that was measured for it; None where it was none of the search's.
        is_default: Whether it is TensorFlow's default.
    """

    value: float
    basis: Basis
    config: Config | None = None
    is_default: bool = True

    @property
    def name(self) -> str:
        """A word for it."""
        if self.is_default:
            return "default"
        return "median" if self.basis is Basis.MEDIAN else "start"

    def __str__(self) -> str:
        meant = ", TensorFlow's default" if self.is_default else ", with which the search began"
        return self.basis.value.format(f"{in_words(self.config)}{meant}")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A configuration, over its trials.

    Attributes:
        config: What was tuned.
        trials: The numbers of its trials, from 1, those that failed included.
        value: Its value of the metric; NaN where all failed.
        gain: How many times better than the baseline, or, where there are no ratios, how much in
            the metric's own unit; NaN where all failed.
        low: Where the gain's 95 % interval begins; NaN where the trials do not say it.
        high: Where it ends.
        miss: By how much it breaks the limits; 0 where it keeps them, infinite where nobody knows.
        results: What its trials reported.
        is_fresh: Whether value, gain and interval are those of fresh runs, not of its trials.
    """

    config: Config
    trials: tuple[int, ...]
    value: float
    gain: float
    low: float
    high: float
    miss: float
    results: list[Result] = field(repr=False)
    is_fresh: bool = False

    @property
    def worked(self) -> bool:
        """Whether any of its trials did."""
        return not math.isnan(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether its trials say how sure they are."""
        return not math.isnan(self.low)

    def to_json(self) -> dict[str, object]:
        """It by name as the search knows it, without what its trials reported."""
        names = (one.name for one in dataclasses.fields(self))
        return {n: getattr(self, n) for n in names if n not in {"results", "is_fresh"}}


class Measured:
    """Trials, and what they say of each configuration.

    Args:
        results: What each trial reported, with its `config`, in order.
        objective: What they are judged by; by default the key that looks like it.
        start: The configuration with which the search began, which stands in for the default where
            that was not measured.
        fresh: What the default took in a comparison, used in the same way.

    Raises:
        InvalidInputError: No result has a number under the key that counts, or a limited one.

    Attributes:
        results: The trials.
        objective: What they are judged by.
        axes: The names of what was tuned.
        default: TensorFlow's default as a configuration; None where it is unknown.
        baseline: What the gains are measured against.
        comparison: How they are compared.
        rows: The configurations, the best first, the failed last.
    """

    def __init__(
        self,
        results: Sequence[Result],
        objective: Objective | None = None,
        *,
        start: Config | None = None,
        fresh: Sequence[Result] = (),
    ) -> None:
        self.results = list(results)
        self.objective = _known(objective, results)
        self.axes = _axes(self.results)
        self.default = self._default()
        self.baseline = self._baseline(self.tuned(start), fresh)
        values = map(self.objective.value, self.results)
        self.comparison = Comparison.of(values, [self.baseline.value])
        groups: dict[str, list[tuple[int, Result]]] = {}
        for place, result in enumerate(self.results, 1):
            groups.setdefault(key_of(self.tuned(result.config)), []).append((place, result))
        self.rows = sorted((self._row(group) for group in groups.values()), key=self._rank)

    @property
    def ratios(self) -> bool:
        """Whether gains are ratios; not where a value is 0 or less."""
        return self.comparison.is_ratio

    @property
    def names(self) -> set[str]:
        """The names of all that the configurations say, tuned or not."""
        return {name for one in self.results for name, _ in flat(one.tuned)}

    @property
    def machine(self) -> Machine:
        """What the trials ran on, as far as it is known."""
        return next((one.machine for one in self.results if one.machine.usable_cpus), UNKNOWN)

    @property
    def cpus(self) -> int:
        """How many CPUs the trials had; 0 where nobody knows."""
        return self.machine.usable_cpus

    @property
    def working(self) -> list[Row]:
        """The configurations of which a trial worked, the best first."""
        return [row for row in self.rows if row.worked]

    @property
    def best(self) -> Row | None:
        """The best that keeps the limits, or else misses them least; None where nothing worked."""
        return min(self.working, key=lambda row: row.miss, default=None)

    def value(self, result: Result) -> float:
        """A trial's value; NaN where it failed."""
        return self.objective.value(result)

    def tuned(self, config: Mapping[str, object] | None) -> Config:
        """The part of a configuration that was tuned, by flat names."""
        values = dict(flat(config or {}))
        return {name: values[name] for name in self.axes if name in values}

    def words(self, config: Mapping[str, object] | None) -> str:
        """A configuration as a user writes it, without what is the same everywhere."""
        return in_words(None if config is None else self.tuned(config) or dict(config))

    def find(self, config: Mapping[str, object] | None) -> Row | None:
        """The row of a configuration."""
        wanted = None if config is None else self.tuned(config)
        return next((row for row in self.rows if row.config == wanted), None)

    def said(self, row: Row) -> str:
        """What `shown` shows, with its "x", and with ", slower" where that is what it means."""
        after = self.objective.below(row.gain, self.comparison) if self.ratios else ""
        return f"{self.shown(row)}{self.comparison.times}{after}"

    def merit(self, value: float) -> float:
        """How much better than the baseline a value is, as `Comparison` computes with it."""
        level = self.comparison.level
        return self.objective.sign * (level(value) - level(self.baseline.value))

    def gain(self, value: float) -> float:
        """The same as it is told: how many times, or how much in the metric's own unit."""
        return self.comparison.amount(self.merit(value))

    def drawn(self, gain: float) -> float:
        """Where a gain lies in a picture, which shows values where there are no ratios."""
        return gain if self.ratios else self.baseline.value + self.objective.sign * gain

    def shown(self, row: Row) -> str:
        """A row's gain, or its value where there are no ratios."""
        return f"{row.gain:.2f}" if self.ratios else f"{row.value:.4g}"

    def _rank(self, row: Row) -> tuple[bool, float]:
        return not row.worked, -self.merit(row.value) if row.worked else 0.0

    def _default(self) -> Config | None:
        """One process, in it one thread of each pool for each CPU, and no knob set.

        Where anything else was tuned it is unknown.
        """
        stock = {name: STOCK for name in self.names if is_stock(name, STOCK)}
        usual: Config = {**ONE_PROCESS, **self.machine.default_threads, **stock}
        if not self.cpus or not self.axes or set(self.axes) - set(usual):
            return None
        fixed = {k: v for k, v in flat(self.results[0].tuned) if k in usual}
        if any(usual[name] != value for name, value in fixed.items() if name not in self.axes):
            return None
        return {name: usual[name] for name in self.axes}

    def _baseline(self, start: Config, fresh: Sequence[Result]) -> Baseline:
        """The default's own trial, or the next best thing."""
        if self.objective.metric == "speedup":
            return Baseline(value=1.0, basis=Basis.PAIRED)
        own, begin = self._value_of(self.default), self._value_of(start)
        alone, everything = (value_of(some, self.objective) for some in (fresh, self.results))
        choices = (
            Baseline(value=own, basis=Basis.TRIAL, config=self.default),
            Baseline(value=alone, basis=Basis.FRESH),
            Baseline(value=begin, basis=Basis.TRIAL, config=start, is_default=False),
            Baseline(value=everything, basis=Basis.MEDIAN, is_default=False),
            Baseline(value=1.0, basis=Basis.MEDIAN, is_default=False),
        )
        return next(one for one in choices if not math.isnan(one.value))

    def _value_of(self, config: Config | None) -> float:
        """The value of a configuration; NaN where none of its trials worked."""
        same = [one for one in self.results if config and self.tuned(one.config) == config]
        return value_of(same, self.objective)

    def _row(self, group: Sequence[tuple[int, Result]]) -> Row:
        results = [result for _, result in group]
        working = [result for result in results if not math.isnan(self.value(result))]
        value = value_of(working, self.objective)
        low, high = self._interval(working)
        return Row(
            config=self.tuned(results[0].config),
            trials=tuple(place for place, _ in group),
            value=value,
            gain=self.gain(value),
            low=low,
            high=high,
            miss=miss_of(working, self.objective),
            results=working,
        )

    def _interval(self, results: Sequence[Result]) -> tuple[float, float]:
        """The gain's interval where every trial says its own; of several, that of their mean."""
        metric = self.objective.metric
        names = ("low", "high") if self.objective.sign > 0 else ("high", "low")
        ends = [[self.merit(r.number(f"{metric}_{name}")) for name in names] for r in results]
        if not ends or not all(high > low for low, high in ends):
            return math.nan, math.nan
        middle = statistics.fmean((low + high) / 2 for low, high in ends)
        reach = math.hypot(*(high - low for low, high in ends)) / (2 * len(ends))
        return self.comparison.amount(middle - reach), self.comparison.amount(middle + reach)


def as_measured(results: object, objective: Objective | None = None) -> Measured:
    """What was measured, from whatever holds it."""
    return results if isinstance(results, Measured) else Measured(trial_results(results), objective)


def times(results: Sequence[Result]) -> list[float] | None:
    """When each trial ended, in seconds since the first one began; None where nothing says it."""
    took = [result.time_total_s for result in results]
    ends = [result.timestamp for result in results]
    if ends and not any(map(math.isnan, ends)):
        begin = min(end - (0 if math.isnan(t) else t) for end, t in zip(ends, took, strict=True))
        return [end - begin for end in ends]
    if all(map(math.isnan, took)):
        return None
    return list(itertools.accumulate(0.0 if math.isnan(one) else one for one in took))


def _known(objective: Objective | None, results: Sequence[Result]) -> Objective:
    """The objective, which the results must have, or else the key that looks like one."""
    if objective is not None:
        check_reported(results, objective)
        return objective
    known = numbers_in(results)
    guessed = next((key for key in GUESSES if key in known), None)
    if guessed is None and any(one.worked for one in results):
        raise InvalidInputError(
            f"results must have numbers under one of {list(GUESSES)}, or it must be said which key "
            f"counts, of {known}"
        )
    return Objective(metric=guessed or "speedup")


def _axes(results: Sequence[Result]) -> list[str]:
    """The names whose values differ; where none do, the counts or all; instances first.

    Several instances are told though their number is fixed: the default has one.
    """
    seen: dict[str, set[str]] = {}
    for result in results:
        for name, value in flat(result.tuned):
            seen.setdefault(name, set()).add(repr(value))
    names = [name for name, values in seen.items() if len(values) > 1]
    names = names or [name for name in ORDER if name in seen] or list(seen)
    if INSTANCES_KEY not in names and seen.get(INSTANCES_KEY, {"1"}) != {"1"}:
        names.append(INSTANCES_KEY)
    return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
