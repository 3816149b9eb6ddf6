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
from typing import Any, Generic, Protocol, TypeVar

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


class Actor(Protocol):
    """Ray's `ActorHandle` of what `start_on` or `start_in` has started."""

    call: Any
    """Calls a function with what it holds, in its process; `.remote(work)` is a `Task`."""


class Group(Protocol):
    """Ray's `PlacementGroup`: resources that are held."""

    def ready(self) -> Task[object]:
        """What has come as soon as they are."""


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


def choice(words: Sequence[str]) -> object:
    """Ray Tune's domain of some words."""
    domain: object = ray("tune").choice(list(words))
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


def start_on(node: Node, make: Callable[[], object], *, name: str) -> Actor:
    """Start an actor on a node, beside whatever runs there; Ray starts it again where it is lost.

    Args:
        node: The node.
        make: Makes what the actor is: Ray calls its methods.
        name: By what it is found.
    """
    strategies = ray("util.scheduling_strategies")
    there = strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
    return _start(make, num_cpus=0, max_restarts=-1, name=name, scheduling_strategy=there)


def start_in(group: Group, make: Callable[[], object], *, cpus: float) -> Actor:
    """Start an actor in a group's resources.

    Args:
        group: The group.
        make: Makes what the actor is.
        cpus: How many CPUs of the group's it takes.
    """
    strategies = ray("util.scheduling_strategies")
    there = strategies.PlacementGroupSchedulingStrategy(group)
    return _start(make, num_cpus=cpus, scheduling_strategy=there)


def node_of(group: Group) -> str:
    """The id of the node that a group of one bundle holds the resources of."""
    table = ray("util").placement_group_table(group)
    return str(table["bundles_to_node_id"][0])


def release(group: Group) -> None:
    """Give a group's resources back, and end what runs in it."""
    ray("util").remove_placement_group(group)


def _start(make: Callable[[], object], **options: object) -> Actor:
    actor: Actor = ray().remote(_Made).options(**options).remote(make)
    return actor


class _Made:
    """What an actor is, made in its process."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._made = make()

    def call(self, work: Callable[[object], object]) -> object:
        """What a function returns of it."""
        return work(self._made)


def named(name: str) -> Actor | None:
    """The actor of this name; None where there is none."""
    try:
        found: Actor = ray().get_actor(name)
    except ValueError:
        return None
    return found


def kill(actor: Actor) -> None:
    """End an actor."""
    ray().kill(actor)


def wait(tasks: Iterable[Task[T]], timeout: float) -> tuple[Sequence[Task[T]], Sequence[Task[T]]]:
    """Wait for tasks; those that have ended, and those that have not."""
    awaited = list(tasks)
    ended, running = ray().wait(awaited, num_returns=len(awaited), timeout=timeout)
    return ended, running


def value(task: Task[T]) -> T:
    """What has come of a task; it raises what that raised, or `error()`."""
    found: T = ray().get(task)
    return found


def called(actor: Actor, work: Callable[[Any], T]) -> T:
    """What a function returns that is called with what an actor holds, in its process."""
    task: Task[T] = actor.call.remote(work)
    return value(task)


def error() -> type[Exception]:
    """What Ray raises where a task, its process or its node was lost."""
    kind: type[Exception] = ray().exceptions.RayError
    return kind
