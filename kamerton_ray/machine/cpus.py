"""How many CPUs a process can really use: by its affinity, its quota and its CPU set."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from kamerton_ray.machine import cgroups


@dataclass(frozen=True)
class CpuLimit:
    """One source's word on how many CPUs this process may use.

    Attributes:
        source: What limits it.
        cpus: The limit in CPUs; a fraction for a quota.
        detail: Where that was read.
    """

    source: str
    cpus: float
    detail: str


@dataclass(frozen=True)
class UsableCpus:
    """How many CPUs this process can really use, and why.

    Attributes:
        count: The smallest limit, rounded up; at least 1.
        limits: Every source that says something.
    """

    count: int
    limits: tuple[CpuLimit, ...]

    def __str__(self) -> str:
        lines = [f"{self.count} usable CPUs, the least of:"]
        lines += [
            f"  {limit.source:<14} {limit.cpus:>6g}  ({limit.detail})" for limit in self.limits
        ]
        return "\n".join(lines)


def usable_cpus(*, root: Path | str = "/") -> UsableCpus:
    """How many CPUs this process can really use, source by source.

    TensorFlow counts the affinity mask alone and knows nothing of a container's quota, so its
    default can be far too many. A quota of 2.5 CPUs counts as 3.

    Args:
        root: Where `proc` and `sys` are found.
    """
    root = Path(root)
    limits = [CpuLimit("affinity", float(affinity()), "the CPUs the scheduler may place it on")]
    limits += [_of_quota(quota) for quota in cgroups.quotas(root)]
    limits += [
        CpuLimit("cgroup cpuset", float(one.count), f"CPUs {one.cpus}, {one.path}")
        for one in cgroups.cpu_sets(root)
    ]
    least = min(limit.cpus for limit in limits)
    return UsableCpus(count=max(1, math.ceil(least)), limits=tuple(limits))


def affinity() -> int:
    """How many CPUs the scheduler may place this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _of_quota(quota: cgroups.Quota) -> CpuLimit:
    allowed, each = round(1e6 * quota.allowed_s), round(1e6 * quota.period_s)
    detail = f"{allowed} of each {each} microseconds, {quota.path}"
    return CpuLimit("cgroup quota", allowed / each, detail)
