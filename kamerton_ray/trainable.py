"""A `tune.Trainable` of a single step, from anything that measures a configuration."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from kamerton_ray.placement import node_to_itself, one_per_node

Config = dict[str, Any]


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


def one_step(name: str, make: Callable[[], Measurer]) -> type[Any]:
    """A trainable whose trials are one measurement each, and have a node for themselves.

    With `reuse_actors=True` one measurer serves all the trials of an actor. To a trial's result it
    adds `began` and `ended`, in seconds since 1970.

    Args:
        name: What it is called in Ray's output.
        make: Makes the measurer, in the trial's actor.
    """
    from ray import tune  # noqa: PLC0415 - importing this package must not import Ray

    class OneStep(tune.Trainable):  # type: ignore[misc]
        """Measures one configuration a trial."""

        measurer = staticmethod(make)

        def setup(self, config: Config) -> None:  # noqa: ARG002 - the trial's is in self.config
            self._measurer = make()

        def step(self) -> dict[str, Any]:
            with node_to_itself():
                began = time.time()
                result = self._measurer.measure(self.config)
                return {**result, "began": began, "ended": time.time(), "done": True}

        def reset_config(self, new_config: Config) -> bool:  # noqa: ARG002 - Ray sets self.config
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:  # noqa: ARG002
            """Tuner saves every trial at its end; one of a single step has nothing to keep."""
            return {}

        def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
            """Nothing was kept."""

        def cleanup(self) -> None:
            self._measurer.close()

        @classmethod
        def default_resource_request(cls, config: Config) -> Any:  # noqa: ANN401, ARG003
            return one_per_node()

    OneStep.__name__ = OneStep.__qualname__ = name
    return OneStep
