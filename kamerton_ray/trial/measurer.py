"""What a trial needs of whatever measures its configuration."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Protocol, TypeVar

from kamerton_ray.machine.neighbours import Watch, undisturbed
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

    def fits(self, configs: Sequence[Config | None]) -> bool:
        """Whether there is memory to measure these in one round."""

    def measure_round(self, configs: Sequence[Config | None]) -> list[Result]:
        """A result for each configuration, in this order, in fresh processes; None is the default.

        Where the machine's state changes from one to the next, they take turns.
        """


Owner = TypeVar("Owner")


def despite_a_lost_nest(
    measure: Callable[[Owner, Config], Result],
) -> Callable[[Owner, Config], Result]:
    """Have a configuration measured once more whose nest was lost, which may be chance."""

    @functools.wraps(measure)
    def measured(owner: Owner, config: Config) -> Result:
        result = measure(owner, config)
        if result.outcome is not Outcome.SERVER_LOST:
            return result
        return replace(measure(owner, config), restarted=result.error)

    return measured


def undisturbed_result(watch: Watch, config: Config, measure: Callable[[Config], Result]) -> Result:
    """What is found of a configuration; again where other work disturbed it, if patience lasts.

    Args:
        watch: What waits for other work to end.
        config: The configuration.
        measure: Measures it once.
    """
    result, meanwhile = undisturbed(
        watch, lambda: measure(config), lambda one: one.outcome is Outcome.OK
    )
    return replace(result, config=dict(config), **asdict(meanwhile))
