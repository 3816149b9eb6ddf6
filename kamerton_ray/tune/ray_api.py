"""What this package asks of Ray, with types; Ray has none.

Importing this package must not import Ray, which takes a second and more. So Ray is imported when
the first of these functions is called.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Generic, Protocol, TypeVar

from kamerton_ray.trial.config import Config

T = TypeVar("T")


@dataclass(frozen=True)
class Node:
    """A live node.

    Attributes:
        id: Ray's name for it, which it never uses again.
        ip: Its address.
        slots: How many CPUs Ray counts on it.
    """

    id: str
    ip: str
    slots: float


class Task(Generic[T]):
    """Ray's `ObjectRef`: what will come of a task."""


class Group(Protocol):
    """Ray's `PlacementGroup`: resources that are held."""


class Resources(Hashable, Protocol):
    """Ray's `PlacementGroupFactory`: the resources that a trial asks for."""

    @property
    def bundles(self) -> list[dict[str, float]]:
        """The resources, node by node."""

    def to_placement_group(self) -> Group:
        """Hold them."""


class Trial(Protocol):
    """A trial of Ray Tune."""

    trial_id: str
    config: Config
    last_result: Mapping[str, object]
    error_file: str | None
    placement_group_factory: Resources


def ray(module: str = "") -> ModuleType:
    """Ray, or one of its modules, imported when it is first needed."""
    return importlib.import_module(f"ray.{module}" if module else "ray")


def start() -> None:
    """Start Ray where it is not running."""
    if not ray().is_initialized():
        ray().init()


def live_nodes() -> list[Node]:
    """The nodes that are there, those without CPUs as well."""
    return [
        Node(node["NodeID"], node["NodeManagerAddress"], float(node["Resources"].get("CPU", 0)))
        for node in ray().nodes()
        if node["Alive"]
    ]


def this_node() -> str:
    """The id of the node that this process runs on."""
    return str(ray().get_runtime_context().get_node_id())


def cluster_address() -> str:
    """What tells this cluster from others."""
    return str(ray().get_runtime_context().gcs_address)


def cpus() -> tuple[float, float]:
    """How many CPUs Ray counts on all nodes, and how many of them are free."""
    every, free = ray().cluster_resources(), ray().available_resources()
    return every.get("CPU", 0.0), free.get("CPU", 0.0)


def randint(low: int, high: int) -> object:
    """Ray Tune's domain of the integers from `low` to `high`, both included."""
    domain: object = ray("tune").randint(low, high + 1)
    return domain


@functools.cache
def selects_nodes() -> bool:
    """Whether this Ray can be asked for nodes by their labels, as 2.47 and later can."""
    group = ray("util").placement_group
    return "bundle_label_selector" in inspect.signature(group).parameters


def resources(bundle: Mapping[str, float], labels: Mapping[str, str] | None = None) -> Resources:
    """The resources of one node.

    Args:
        bundle: How much of each.
        labels: What the node's labels have to be, where this Ray can be asked so.
    """
    more = {"bundle_label_selector": [dict(labels)]} if labels else {}
    found: Resources = ray("tune").PlacementGroupFactory([dict(bundle)], **more)
    return found


def run_on(node: Node, function: Callable[[], T]) -> Task[T]:
    """Run a function on a node, beside whatever runs there."""
    strategies = ray("util.scheduling_strategies")
    there = strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
    task: Task[T] = ray().remote(function).options(num_cpus=0, scheduling_strategy=there).remote()
    return task


def wait(tasks: Iterable[Task[T]], timeout: float) -> tuple[Sequence[Task[T]], Sequence[Task[T]]]:
    """Wait for tasks; those that have ended, and those that have not."""
    awaited = list(tasks)
    ended, running = ray().wait(awaited, num_returns=len(awaited), timeout=timeout)
    return ended, running


def value(task: Task[T]) -> T:
    """What has come of a task; it raises what that raised, or `error()`."""
    found: T = ray().get(task)
    return found


def error() -> type[Exception]:
    """What Ray raises where a task, its process or its node was lost."""
    kind: type[Exception] = ray().exceptions.RayError
    return kind
