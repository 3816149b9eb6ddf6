"""Names and units as they are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from kamerton_ray.report.measured import Measured

NAMES = {
    "seconds": "time taken",
    "seconds_per_program": "time taken per program",
    "seconds_p90": "step time, 90th percentile",
    "seconds_p99": "step time, 99th percentile",
    "cpu_seconds": "CPU time of a step",
}

NAME_LENGTH = 28
"""Longer names are cut in a picture."""

TITLE_LENGTH = 46
"""A line above a picture may be this long."""

WHOSE = {"default": "TensorFlow's default", "start": "the start", "median": "the median"}
"""A baseline's name, as in "times faster than ..."."""


class Unit(NamedTuple):
    """How a metric is shown: by how much it is multiplied, and what the unit is then."""

    scale: float
    name: str


UNITS = ((1.0, Unit(1.0, "s")), (1e-3, Unit(1e3, "ms")), (0.0, Unit(1e6, "µs")))
"""Each unit of time, after the number of seconds from which on it is used."""


def short(name: object, length: int = NAME_LENGTH) -> str:
    """A name as it is shown: on one line, and not too long."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(name))
    return text if len(text) <= length else text[: length - 1] + "…"


def unit_of(metric: str, values: Sequence[float]) -> Unit:
    """The unit in which these values of a metric read best; nameless if it is unknown."""
    if metric == "throughput":
        return Unit(1.0, "steps/s")
    if metric not in NAMES:
        return Unit(1.0, "")
    largest = max((abs(value) for value in values if not math.isnan(value)), default=1.0)
    return next(unit for least, unit in UNITS if largest >= least)


def metric_label(metric: str, unit: Unit) -> str:
    """A metric in words, with its unit."""
    return f"{NAMES.get(metric, short(metric))} ({unit.name or 'as printed'})"


def gain_label(found: Measured, *, brief: bool = False) -> str:
    """What a picture shows of the configurations, as "times faster than TensorFlow's default"."""
    objective = found.objective
    metric = short(objective.metric)
    if not found.ratios:
        return f"{metric} ({'higher' if objective.mode == 'max' else 'lower'} is better)"
    better = f"times {objective.better().replace(objective.metric, metric)}"
    return better if brief else f"{better} than {WHOSE[found.baseline.name]}"
