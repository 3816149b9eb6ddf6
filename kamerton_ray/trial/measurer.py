"""What a trial needs of whatever measures its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from kamerton_ray.trial.config import Config


class Measurer(Protocol):
    """Measures configurations one after the other, and keeps processes warm meanwhile."""

    def measure(self, config: Config) -> dict[str, Any]:
        """A trial's result."""

    def close(self) -> None:
        """End every process."""


class RoundMeasurer(Measurer, Protocol):
    """One that can also measure several side by side."""

    def measure_round(self, configs: Sequence[Config | None]) -> list[dict[str, Any]]:
        """A result for each configuration, in this order, in fresh processes; None is the default.

        Where the machine's state changes from one to the next, they take turns.
        """
