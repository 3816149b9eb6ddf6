"""Remote: what measures in another process, used from here like one that measures here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from kamerton_ray.trial.config import Config
from kamerton_ray.trial.measurer import RoundMeasurer
from kamerton_ray.trial.result import Result

R = TypeVar("R")


class Call(Protocol):
    """Calls a function with the measurer, in the measurer's process."""

    def __call__(self, work: Callable[[RoundMeasurer], R], /) -> R:
        """What the function returns."""


class Remote:
    """Measures by a call to where the measurer is."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def measure(self, config: Config) -> Result:
        """What a trial of a configuration finds."""
        return self._call(lambda there: there.measure(config))

    def fits(self, configs: Sequence[Config | None]) -> bool:
        """Whether there is memory to measure these in one round."""
        return self._call(lambda there: there.fits(configs))

    def measure_round(self, configs: Sequence[Config | None]) -> list[Result]:
        """A result for each configuration, in this order."""
        return self._call(lambda there: there.measure_round(configs))

    def close(self) -> None:
        """What is kept warm there is for the next one."""
