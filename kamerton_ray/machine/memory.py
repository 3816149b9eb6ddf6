"""Memory: how much is left, and how much a process holds.

A process's share of what it has in common with others counts for it in part (PSS, Linux
Documentation/filesystems/proc.rst), so that the sum over several counts nothing twice.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

from kamerton_ray.machine import cgroups
from kamerton_ray.machine.cgroups import read

GIGA, MEGA = 10**9, 10**6


def available_memory(root: Path | str = "/") -> int:
    """How many bytes this process can take before the system swaps or kills.

    Args:
        root: Where `proc` and `sys` are found.
    """
    limits = cgroups.memory_limits(Path(root))
    return min([int(psutil.virtual_memory().available), *(limit.left for limit in limits)])


def held_memory(pid: int, root: Path | str = "/") -> int:
    """How many bytes a process holds, its share of what it has in common with others included.

    It is 0 for a process that is gone.

    Args:
        pid: The process.
        root: Where `proc` is found.
    """
    for line in read(Path(root) / f"proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return 1024 * int(line.split()[1])
    with contextlib.suppress(psutil.Error):  # no such file before Linux 4.14
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def in_words(size: float) -> str:
    """A number of bytes, as in 1.5 GB."""
    return f"{size / GIGA:.1f} GB" if size >= GIGA else f"{size / MEGA:.0f} MB"
