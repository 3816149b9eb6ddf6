"""What a trial reported."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kamerton_ray.numeric import number
from kamerton_ray.process.outcome import Outcome

Result = Mapping[str, Any]


def has_worked(result: Result) -> bool:
    """Whether a trial came to its end and reported a number."""
    return str(result.get("outcome", "ok")) == "ok" and bool(numbers_in([result]))


def numbers_in(results: Sequence[Result]) -> list[str]:
    """The keys under which results have numbers."""
    return sorted({k for one in results for k, v in one.items() if not math.isnan(number(v))})


def median_of(results: Iterable[Result], key: str) -> float:
    """The median of a key; NaN where no result has it."""
    values = [value for one in results if not math.isnan(value := number(one.get(key)))]
    return statistics.median(values) if values else math.nan


def worked(result: Mapping[str, Any]) -> bool:
    """Whether a run came to its end, with a number."""
    return result.get("outcome") == Outcome.OK.name.lower()
