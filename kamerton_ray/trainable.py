"""A `tune.Trainable` of a single step, from anything that measures a configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

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

    With `reuse_actors=True` one measurer serves all the trials of an actor.

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
            return {**self._measurer.measure(self.config), "done": True}

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
            return tune.PlacementGroupFactory([{"CPU": node_cpus()}])

    OneStep.__name__ = OneStep.__qualname__ = name
    return OneStep


def node_cpus(ip: str | None = None) -> float:
    """All CPUs of a node, by default the largest: two trials on one would disturb each other."""
    import ray  # noqa: PLC0415 - importing this package must not import Ray

    nodes = [
        node["Resources"].get("CPU", 0)
        for node in ray.nodes()
        if node["Alive"] and ip in {None, node["NodeManagerAddress"]}
    ]
    return float(max(nodes, default=1) or 1)
