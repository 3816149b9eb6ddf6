"""Where trials run: each has a node for itself, and all these nodes are of one kind.

Ray has no request that says so. A placement group's STRICT_SPREAD acts inside the group, and every
trial of Tune is a group of its own. Ray Serve uses a resource that every node has one of by itself
(ray/_raylet.pyx, `IMPLICIT_RESOURCE_PREFIX`), but the raylets of Ray 2.60 end when a group asks for
it. So a trial asks for all CPUs of a node of its kind. By the label that Ray gives every node,
`ray.io/node-id`, it asks for none of the nodes of other kinds. A Ray before 2.47 cannot be asked so
(it has no `bundle_label_selector`), but knows each node's address as a resource. There one node
runs all trials where nodes have to be shunned.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.hardware import Machine, this_machine
from kamerton_ray.machine.locks import locked, own_folder
from kamerton_ray.tune import ray_api
from kamerton_ray.tune.ray_api import Node, Resources, Task

logger = logging.getLogger(__name__)

SURVEY_S = 60.0
"""How long the nodes may take to say what they are: each starts a process to do so."""

NAMED = 8
"""So many addresses are listed at most."""


Kind = Mapping[str, object] | Machine
"""What nodes have to be: some of `NodeKind.traits`, or what a result says of its machine."""


@dataclass(frozen=True)
class NodeKind:
    """Nodes whose step times can be compared.

    Attributes:
        machine: What they say they are.
        slots: How many CPUs Ray counts on each.
        nodes: Them.
    """

    machine: Machine
    slots: float
    nodes: tuple[Node, ...] = ()

    @property
    def traits(self) -> dict[str, object]:
        """What it can be chosen by."""
        return {**self.machine.to_json(), "slots": self.slots}

    def __str__(self) -> str:
        ips = [node.ip for node in self.nodes]
        more = f" and {len(ips) - NAMED} more" if len(ips) > NAMED else ""
        return f"{len(ips)} of {_words(self.traits)} ({', '.join(ips[:NAMED])}{more})"

    def fits(self, asked: Mapping[str, object]) -> bool:
        """Whether it is what is asked for; what is asked for beyond `traits` does not count."""
        return all(asked[name] == value for name, value in self.traits.items() if name in asked)


def one_per_node(kind: Kind | None = None) -> Resources:
    """The resources of a trial that has a node for itself, for `tune.with_resources`.

    `benchmark` and `command` ask for them anyway. Nodes without CPUs, as a head often is, run no
    trials. To choose a kind, and have nodes that join later count, give Ray the function:
    `tune.with_resources(trainable, lambda config: one_per_node({"usable_cpus": 64}))`.

    Args:
        kind: What the nodes have to be, by the keys of `NodeKind.traits`; a result's `machine`
            will do. By default the kind that the most nodes are of, and after that the same as
            long as one of them is left. Another kind takes over from a lost one, with a warning.

    Returns:
        A `PlacementGroupFactory` for the nodes that are known now.

    Raises:
        InvalidInputError: The cluster has no such node.
    """
    chosen, others = _choose(kind)
    shun = _fitting(others, chosen.slots)
    if not shun:
        return _request(chosen.slots)
    return _request(chosen.slots, on=chosen.nodes, off=shun)


def one_of_these(ips: Sequence[str]) -> Resources:
    """The resources of a trial that has one of some live nodes for itself."""
    alive = [node for node in ray_api.live_nodes() if node.ip in ips]
    most = max((node.slots for node in alive), default=0)
    # On those with fewer CPUs it would not fit, and on others not be alone.
    return _request(most, on=[node for node in alive if node.slots == most])


def _request(
    slots: float, *, on: Sequence[Node] | None = None, off: Sequence[Node] = ()
) -> Resources:
    """The resources of so many CPUs of one node.

    Args:
        slots: So many.
        on: The nodes of which it may be one; None for any.
        off: Those that it must not be. Where Ray can be told so, it is told these.
    """
    if on is None:
        return ray_api.resources({"CPU": slots})
    if not ray_api.selects_nodes():
        # Ray gives every node one of the resource with its address.
        address = on[0].ip if on else "none"
        return ray_api.resources({"CPU": slots, f"node:{address}": 0.001})
    ids = ",".join(sorted(node.id for node in off or on))
    label = f"{'!in' if off else 'in'}({ids})"
    return ray_api.resources({"CPU": slots}, {"ray.io/node-id": label})


def trial_nodes(kind: Kind | None = None) -> int:
    """How many nodes run the trials of `one_per_node`: so many can run at the same time.

    Raises:
        InvalidInputError: The cluster has no such node.
    """
    return len(chosen_kind(kind).nodes)


def chosen_kind(kind: Kind | None = None) -> NodeKind:
    """The nodes that run the trials of `one_per_node`.

    Raises:
        InvalidInputError: The cluster has no such node.
    """
    return _choose(kind)[0]


def node_kinds(timeout: float = SURVEY_S) -> list[NodeKind]:
    """The kinds of the cluster's nodes, the one with the most first.

    Args:
        timeout: How many seconds to wait for nodes that have not yet said what they are. Those
            that do not say in time are left out.
    """
    groups: dict[NodeKind, list[Node]] = {}
    for node, kind in _survey(timeout):
        groups.setdefault(kind, []).append(node)
    kinds = [replace(kind, nodes=tuple(nodes)) for kind, nodes in groups.items()]
    return sorted(kinds, key=lambda kind: (-len(kind.nodes), -kind.slots, str(kind.machine)))


def shun(ips: Iterable[str]) -> None:
    """Place trials on none of these nodes, as long as there is another one of their kind."""
    _KNOWN.shunned = frozenset(ips)


def note_own_node() -> None:
    """Take what this process sees of its node for what the node would say, and do not ask it.

    That is so where this process has started Ray: all that runs there are children of its own.
    """
    _KNOWN.machines[ray_api.this_node()] = this_machine()


def alive_nodes() -> set[str]:
    """The addresses of the nodes that are there; Ray is started where it was not."""
    ray_api.start()
    return {node.ip for node in ray_api.live_nodes()}


def how_lost(error: str) -> str:
    """Why an actor did not end by itself, from what Ray says of it."""
    text = error.strip()
    place = re.search(r"\bip: (\S+)", text)
    if place is not None and "its node has died" in text:
        return f"its node {place[1]} was lost"
    if place is not None:
        return f"its actor, a process on {place[1]}, was lost"
    # Before Ray knows whether an actor has died it is said to be unavailable.
    unavailable = re.search(r"\bThe actor \S+ is unavailable", text)
    return "its actor was lost" if unavailable or not text else text.rpartition("\n")[2]


@contextlib.contextmanager
def node_to_itself() -> Iterator[None]:
    """Keep every other trial of this package on this node waiting meanwhile.

    One's resources can be chosen so that two fit on a node, and another job may count its CPUs
    differently: two timings would still not overlap.
    """
    with contextlib.ExitStack() as stack:
        try:
            path = own_folder() / f"{ray_api.this_node()}.lock"
            stack.enter_context(locked(path, wait=_say_waiting))
        except OSError as error:
            logger.warning("Nothing keeps two trials on this node apart: %s", error)
        yield


def _say_waiting() -> None:
    logger.warning(
        "This trial waits, since another one is measuring on its node. Leave the trials' resources "
        "to one_per_node(), and nodes without such a neighbour are used instead."
    )


class _Known:
    """What is known of nodes. Ray never uses an id again, so it does not get old.

    Attributes:
        asked: What will be each node's answer, by its id.
        machines: What it is; None where it could not say.
        chosen: What was chosen, by the cluster and what was asked for; without its nodes.
        shunned: The addresses of nodes that are to run no trials.
        alone: The address of the only node that runs trials, where Ray cannot be asked for more.
    """

    def __init__(self) -> None:
        self.asked: dict[str, Task[Machine]] = {}
        self.machines: dict[str, Machine | None] = {}
        self.chosen: dict[str, NodeKind] = {}
        self.shunned: frozenset[str] = frozenset()
        self.alone = ""


_KNOWN = _Known()


def _choose(kind: Kind | None) -> tuple[NodeKind, list[NodeKind]]:
    """The kind that runs trials, and the others."""
    asked = kind.to_json() if isinstance(kind, Machine) else kind or {}
    key = f"{ray_api.cluster_address()} {kind!r}"
    settled = _KNOWN.chosen.get(key)
    kinds = node_kinds(0)
    fitting = [one for one in kinds if settled and one.fits(settled.traits)]
    if not fitting:
        kinds = node_kinds()
        fitting = [one for one in kinds if one.fits(asked)]
    if not fitting and settled:  # all were lost; trials wait for nodes like them
        return settled, kinds
    if not kinds:
        raise InvalidInputError(
            "the Ray cluster must have a live node with CPUs to run trials on, but it has none"
        )
    if not fitting:
        raise InvalidInputError(
            f"no node of the cluster is of the kind {asked!r}; it has {_listed(kinds)}"
        )
    chosen, others = fitting[0], [one for one in kinds if one is not fitting[0]]
    if replace(chosen, nodes=()) != settled:
        _KNOWN.chosen[key] = replace(chosen, nodes=())
        _announce(chosen, others, lost=settled)
    kept, shunned = _kept(chosen)
    others = [*others, *shunned]
    if ray_api.selects_nodes() or not kept.nodes[1:] or not _fitting(others, kept.slots):
        return kept, others
    return _alone(kept), others


def _fitting(kinds: Iterable[NodeKind], slots: float) -> list[Node]:
    """The nodes that are large enough to run a trial that asks for so many CPUs."""
    return [node for kind in kinds if kind.slots >= slots for node in kind.nodes]


def _alone(kind: NodeKind) -> NodeKind:
    """The first of its nodes, which is said when it changes."""
    first = kind.nodes[0]
    if first.ip != _KNOWN.alone:
        _KNOWN.alone = first.ip
        logger.warning(
            "This Ray cannot keep trials off single nodes, as Ray 2.47 and later can: all of them "
            "run on %s.",
            first.ip,
        )
    return replace(kind, nodes=(first,))


def _kept(kind: NodeKind) -> tuple[NodeKind, list[NodeKind]]:
    """A kind without the nodes that are shunned, and these, if others are left."""
    kept, shunned = (
        tuple(node for node in kind.nodes if (node.ip in _KNOWN.shunned) is wanted)
        for wanted in (False, True)
    )
    if not kept or not shunned:
        return kind, []
    return replace(kind, nodes=kept), [replace(kind, nodes=shunned)]


def _announce(chosen: NodeKind, others: Sequence[NodeKind], *, lost: NodeKind | None) -> None:
    """Say what the user might not expect of the nodes that run trials."""
    if lost:
        logger.warning(
            "All nodes of the kind of the trials so far were lost: %s", _words(lost.traits)
        )
    if others or lost:
        logger.warning(
            "Step times of nodes of different kinds cannot be compared. Trials run on %s; not on "
            "%s.",
            chosen,
            _listed(others) or "others",
        )
    every, free = ray_api.cpus()
    if free < every:
        logger.warning(
            "%g of the cluster's %g CPUs are in use by other work. A trial waits until all CPUs of "
            "a node are free.",
            every - free,
            every,
        )


def _words(machine: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def _listed(kinds: Iterable[NodeKind]) -> str:
    return "; ".join(map(str, kinds))


def _survey(timeout: float) -> Iterator[tuple[Node, NodeKind]]:
    """The live nodes with CPUs that have said what they are, each with its kind."""
    alive = {node.id: node for node in ray_api.live_nodes() if node.slots > 0}
    for number in alive.keys() - _KNOWN.machines.keys() - _KNOWN.asked.keys():
        # Ray's number of CPUs does not say what a node is.
        _KNOWN.asked[number] = ray_api.run_on(alive[number], this_machine)
    awaited = {_KNOWN.asked[number]: number for number in alive if number in _KNOWN.asked}
    answered, silent = ray_api.wait(awaited, timeout)
    for answer in answered:
        number = awaited[answer]
        del _KNOWN.asked[number]
        _KNOWN.machines[number] = _answer(answer, alive[number].ip)
    if silent and timeout:
        ips = sorted(alive[awaited[one]].ip for one in silent)
        logger.warning("Nodes that did not say in time what they are: %s", ", ".join(ips[:NAMED]))
    for number, node in alive.items():
        if (machine := _KNOWN.machines.get(number)) is not None:
            yield node, NodeKind(machine, node.slots)


def _answer(answer: Task[Machine], ip: str) -> Machine | None:
    """What a node says that it is; None where it cannot."""
    try:
        return ray_api.value(answer)
    except ray_api.error() as error:
        logger.warning("The node %s cannot run trials: %s", ip, error)
        return None
