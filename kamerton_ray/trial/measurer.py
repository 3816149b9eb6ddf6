"""What a trial needs of whatever measures its configuration."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.config import Config
from kamerton_ray.trial.result import Result


class Measurer(Protocol):
    """Measures configurations one after the other, and keeps processes warm meanwhile."""

    def measure(self, config: Config) -> Result:
        """What a trial of a configuration finds."""

    def close(self) -> None:
        """End every process."""


class RoundMeasurer(Measurer, Protocol):
    """One that can also measure several side by side."""

    def measure_round(self, configs: Sequence[Config | None]) -> list[Result]:
        """A result for each configuration, in this order, in fresh processes; None is the default.

        Where the machine's state changes from one to the next, they take turns.
        """


Owner = TypeVar("Owner")
Arguments = ParamSpec("Arguments")


def despite_a_lost_nest(
    measure: Callable[Concatenate[Owner, Arguments], Result],
) -> Callable[Concatenate[Owner, Arguments], Result]:
    """Have a configuration measured once more whose nest was lost, which may be chance."""

    @functools.wraps(measure)
    def measured(owner: Owner, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        result = measure(owner, *args, **kwargs)
        if result.outcome is not Outcome.SERVER_LOST:
            return result
        return replace(measure(owner, *args, **kwargs), restarted=result.error)

    return measured
