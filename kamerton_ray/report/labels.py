"""Names and units as they are shown."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from kamerton_ray.answer.one_process import are_steps
from kamerton_ray.report.measured import Measured
from kamerton_ray.trial.comparison import Comparison
from kamerton_ray.trial.config import INSTANCES_KEY
from kamerton_ray.trial.objective import Objective

NAMES = {
    "seconds": "time taken",
    "seconds_per_program": "time taken per program",
    "seconds_p90": "step time, 90th percentile",
    "seconds_p99": "step time, 99th percentile",
    "cpu_seconds": "CPU time",
}

NAME_LENGTH = 28
"""Longer names are cut in a picture."""

VALUE_LENGTH = 13
"""Longer values are cut in a map, and where a configuration is named by its values."""

TITLE_LENGTH = 46
"""A line above a picture may be this long."""

WHOSE = {"default": "TensorFlow's default", "start": "the start", "median": "the median"}
"""A baseline's name, as in "times faster than ..."."""


class Better(NamedTuple):
    """What a gain says, as in "1.3x faster than" or "2x the steps of" another."""

    what: str
    joint: str


class Unit(NamedTuple):
    """How a metric is shown: by how much it is multiplied, and what the unit is then."""

    scale: float
    name: str


UNITS = ((1.0, Unit(1.0, "s")), (1e-3, Unit(1e3, "ms")), (0.0, Unit(1e6, "µs")))
"""Each unit of time, after the number of seconds from which on it is used."""

SIZES = ((1e9, Unit(1e-9, "GB")), (0.0, Unit(1e-6, "MB")))
"""The same for a number of bytes."""


def short(name: object, length: int = NAME_LENGTH) -> str:
    """A name as it is shown: on one line, and not too long."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(name))
    return text if len(text) <= length else text[: length - 1] + "…"


def unit_of(metric: str, values: Sequence[float]) -> Unit:
    """The unit in which these values of a metric read best; nameless if it is unknown."""
    if metric == "throughput":
        return Unit(1.0, "steps/s")
    units = SIZES if metric == "memory" else UNITS if metric in NAMES else None
    if units is None:
        return Unit(1.0, "")
    largest = max((abs(value) for value in values if not math.isnan(value)), default=1.0)
    return next(unit for least, unit in units if largest >= least)


def metric_label(metric: str, unit: Unit) -> str:
    """A metric in words, with its unit."""
    return f"{NAMES.get(metric, short(metric))} ({unit.name or 'as printed'})"


def gain_label(found: Measured, *, brief: bool = False) -> str:
    """What a picture shows of the configurations, as "times faster than TensorFlow's default"."""
    objective = found.objective
    if not found.ratios:
        better = "higher" if objective.mode == "max" else "lower"
        return f"{short(objective.metric)} ({better} is better)"
    what, joint = better_of(found, found.comparison)
    return f"times {what}" if brief else f"times {what} {joint} {WHOSE[found.baseline.name]}"


def better_of(found: Measured, by: Comparison) -> Better:
    """What a gain over another says."""
    objective = found.objective
    if are_steps(found.names, objective, by):
        return Better("the steps", "of")
    return Better(objective.better(by).replace(objective.metric, short(objective.metric)), "than")


def shown_metric(objective: Objective, names: Collection[str]) -> str:
    """What fresh runs are shown by: for a speed-up the step time, or the steps of all instances.

    Args:
        objective: What the configurations are judged by.
        names: What a configuration says.
    """
    if objective.metric != "speedup":
        return objective.metric
    return "throughput" if INSTANCES_KEY in names else "seconds"


def brief_values(config: Mapping[str, object]) -> str:
    """A configuration by its values alone, as "1 · 2" or, of instances, "2 x (1, 1)"."""
    return _each({name: short(value, VALUE_LENGTH) for name, value in config.items()})


def brief_names(names: Iterable[str]) -> str:
    """Whose these values are, likewise; in two lines where one is too short."""
    text = short(_each({name: name for name in names}), 2 * TITLE_LENGTH)
    return "\n".join(textwrap.wrap(text, TITLE_LENGTH))


def _each(texts: Mapping[str, str]) -> str:
    others = [text for name, text in texts.items() if name != INSTANCES_KEY]
    if INSTANCES_KEY not in texts:
        return " · ".join(others)
    count = texts[INSTANCES_KEY]
    return f"{count} x ({', '.join(others)})" if others else count
