"""Where the CPUs lie, disjoint sets of them for instances, and taking such a place.

The kernel says it in sysfs (Linux Documentation/admin-guide/cputopology.rst and
Documentation/ABI/stable/sysfs-devices-node). Of hybrid CPUs Arm's kernels say each one's capacity
(Documentation/ABI/testing/sysfs-devices-system-cpu, `cpu_capacity`), and Intel's which are
efficiency cores, by the counters that these have of their own (`/sys/devices/cpu_atom/cpus`).
"""

from __future__ import annotations

import ctypes
import itertools
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.cgroups import read

Item = TypeVar("Item")

SET_MEMPOLICY = {"x86_64": 238, "aarch64": 237}
"""The number of set_mempolicy(2), by architecture."""

PREFERRED = 1
"""Memory comes from the node while it has some (linux/mempolicy.h). `numactl --membind` would have
the kernel kill a process whose node is full while another has room."""

MOST_NODES = 64
"""So many bits the mask of a single word has; machines with more nodes are left alone."""


@dataclass(frozen=True, order=True)
class Cpu:
    """A logical CPU, in the order in which neighbours share most.

    Attributes:
        node: Its NUMA node.
        slower: By how much it is slower than the machine's fastest: 0 for these, as for all where
            the kernel says nothing.
        package: Its socket.
        core: Its core there; the hyperthreads of a core share it.
        number: Its own number.
    """

    node: int
    slower: int
    package: int
    core: int
    number: int


def topology(root: Path | str = "/", *, among: Iterable[int] | None = None) -> list[Cpu]:
    """Where CPUs lie, those that share most side by side.

    Args:
        root: Where `sys` is found.
        among: Which CPUs; by default those that this process may run on.
    """
    root = Path(root)
    nodes = _nodes(root)
    numbers = list(_allowed() if among is None else among)
    capacities = _capacities(root, numbers)
    fastest = max(capacities.values(), default=0)
    return sorted(
        _cpu(root, number, nodes.get(number, 0), fastest - capacities[number]) for number in numbers
    )


def worth_pinning(cpus: Sequence[Cpu]) -> bool:
    """Whether a place can matter: CPUs share a core, differ, or there are several NUMA nodes."""
    cores = {(cpu.package, cpu.core) for cpu in cpus}
    return len(cores) < len(cpus) or len({(cpu.node, cpu.slower) for cpu in cpus}) > 1


def cpu_sets(instances: int, cpus: Sequence[Cpu]) -> list[tuple[int, ...]]:
    """A set of CPUs for each instance, no two of which have one in common.

    The sets are as even as can be. None spans two NUMA nodes, unless there are fewer instances
    than nodes; then each has whole ones. The hyperthreads of a core stay together where they fit,
    and so do the performance cores of a hybrid CPU.

    Args:
        instances: How many there are.
        cpus: The CPUs, as `topology` orders them.

    Raises:
        InvalidInputError: There are more instances than CPUs.
    """
    if instances > len(cpus):
        raise InvalidInputError(
            f"pinned instances must be at most the {len(cpus)} CPUs, but got {instances}"
        )
    nodes = sorted({cpu.node for cpu in cpus})
    of_node = [[cpu.number for cpu in cpus if cpu.node == node] for node in nodes]
    if instances <= len(nodes):
        return [tuple(sorted(itertools.chain(*some))) for some in _parts(of_node, instances)]
    shares = _shares([len(own) for own in of_node], instances)
    return [
        tuple(sorted(part))
        for own, share in zip(of_node, shares, strict=True)
        for part in _parts(own, share)
    ]


def pin(cpus: Iterable[int], *, root: Path | str = "/") -> None:
    """Run this process on these CPUs alone, with memory from their NUMA node.

    The memory is left alone where the system does not allow to choose it, as in many containers.

    Args:
        cpus: Their numbers.
        root: Where `sys` is found.
    """
    wanted = set(cpus)
    os.sched_setaffinity(0, wanted)
    of_cpu = _nodes(Path(root))
    nodes = {of_cpu.get(number, 0) for number in wanted}
    if len(nodes) == 1 and len(set(of_cpu.values())) > 1:
        prefer_node(nodes.pop())


def prefer_node(node: int) -> bool:
    """Take this process's memory from a NUMA node; whether the system allows that."""
    number = SET_MEMPOLICY.get(platform.machine())
    if number is None or node >= MOST_NODES:
        return False
    mask = ctypes.c_ulong(1 << node)
    call = ctypes.CDLL(None, use_errno=True).syscall
    return bool(call(number, PREFERRED, ctypes.byref(mask), MOST_NODES + 1) == 0)


def _allowed() -> Iterable[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def _capacities(root: Path, numbers: Iterable[int]) -> dict[int, int]:
    """How much each CPU can do, on a scale of this machine's own; the same where nobody says."""
    efficient = set(_listed(read(root / "sys/devices/cpu_atom/cpus")))
    folder = root / "sys/devices/system/cpu"
    return {
        number: _integer(read(folder / f"cpu{number}/cpu_capacity"), int(number not in efficient))
        for number in numbers
    }


def _cpu(root: Path, number: int, node: int, slower: int) -> Cpu:
    folder = root / f"sys/devices/system/cpu/cpu{number}/topology"
    package, core = read(folder / "physical_package_id"), read(folder / "core_id")
    return Cpu(node, slower, _integer(package, 0), _integer(core, number), number)


def _integer(text: str, otherwise: int) -> int:
    return int(text) if text.isdecimal() else otherwise


def _nodes(root: Path) -> dict[int, int]:
    """The NUMA node of each CPU; empty where the kernel knows none."""
    found = {}
    for folder in (root / "sys/devices/system/node").glob("node[0-9]*"):
        for number in _listed(read(folder / "cpulist")):
            found[number] = int(folder.name.removeprefix("node"))
    return found


def _listed(text: str) -> list[int]:
    """The numbers in a list of the kernel's, as in 0-3,8."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _parts(items: Sequence[Item], count: int) -> list[list[Item]]:
    """A sequence in so many parts, as even as can be, in order."""
    ends = [len(items) * number // count for number in range(count + 1)]
    return [list(items[low:high]) for low, high in itertools.pairwise(ends)]


def _shares(sizes: Sequence[int], count: int) -> list[int]:
    """How many instances each node gets: one each, and then whoever has most CPUs for each."""
    shares = [1] * len(sizes)
    for _ in range(count - len(sizes)):
        roomiest = max(range(len(sizes)), key=lambda node: sizes[node] / (shares[node] + 1))
        shares[roomiest] += 1
    return shares
