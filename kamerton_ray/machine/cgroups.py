"""What this process's cgroups allow it: CPU quotas, CPU sets, and how often a quota held it up.

Files and formats, version 2: Linux Documentation/admin-guide/cgroup-v2.rst (`cpu.max`, `cpu.stat`,
`cpuset.cpus.effective`); version 1: Documentation/scheduler/sched-bwc.rst and
Documentation/admin-guide/cgroup-v1/cpusets.rst.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HELD_BACK = 0.01
"""Above this share of the CPU time a quota that holds processes back is worth a word.

Not by the share of the periods: of a program whose two threads take turns, and so keep within a
quota of 1 CPU, the kernel stops up to 23 %, for 0.1 % of the time (`benchmarks/quota.py --capped`).
"""


@dataclass(frozen=True)
class Throttling:
    """How often a quota has held its processes up, since the cgroup was made.

    Attributes:
        periods: The periods in which they ran.
        throttled: Those at whose end the quota was used up.
        seconds: How long the CPUs waited for the next period, added up.
    """

    periods: int
    throttled: int
    seconds: float

    def __sub__(self, before: Throttling) -> Throttling:
        return Throttling(
            self.periods - before.periods,
            self.throttled - before.throttled,
            self.seconds - before.seconds,
        )

    def __add__(self, more: Throttling) -> Throttling:
        return Throttling(
            self.periods + more.periods,
            self.throttled + more.throttled,
            self.seconds + more.seconds,
        )

    @property
    def share(self) -> float:
        """The share of the periods that were throttled."""
        return self.throttled / self.periods if self.periods else 0.0


@dataclass(frozen=True)
class Quota:
    """How much CPU time a cgroup's processes get in each period, together.

    Attributes:
        allowed_s: The CPU seconds of a period.
        period_s: The seconds of a period; 0.1 unless somebody has changed it.
        path: The file that says so.
    """

    allowed_s: float
    period_s: float
    path: Path

    @property
    def cpus(self) -> float:
        """The same in CPUs."""
        return self.allowed_s / self.period_s

    def held_back(self, throttling: Throttling) -> float:
        """The share of the CPU time asked for, in [0, 1), that its processes had to wait for.

        What they had is taken to be all that the quota allows.
        """
        had = throttling.periods * self.allowed_s
        return throttling.seconds / (throttling.seconds + had) if throttling.periods else 0.0

    def throttling(self) -> Throttling:
        """How often it has held its processes up so far."""
        lines = (line.split() for line in read(self.path.parent / "cpu.stat").splitlines())
        found = {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdecimal()}  # noqa: PLR2004 - a name and a number
        return Throttling(
            found.get("nr_periods", 0),
            found.get("nr_throttled", 0),
            found.get("throttled_usec", 0) * 1e-6 + found.get("throttled_time", 0) * 1e-9,
        )


@dataclass(frozen=True)
class CpuSet:
    """The CPUs that a cgroup's processes may run on.

    Attributes:
        count: How many they are.
        cpus: Which, as the kernel lists them.
        path: The file that says so.
    """

    count: int
    cpus: str
    path: Path


@dataclass(frozen=True)
class MemoryLimit:
    """How much memory a cgroup's processes may hold together, and hold, in bytes.

    Attributes:
        allowed: How much they may hold.
        used: How much they hold, files that were read included.
        reclaimable: How much of that the kernel gives back by itself: files not used of late.
    """

    allowed: int
    used: int
    reclaimable: int

    @property
    def left(self) -> int:
        """How much more they may hold."""
        return max(0, self.allowed - self.used + self.reclaimable)


def quotas(root: Path = Path("/")) -> list[Quota]:
    """The quotas of this process's cgroup and all its parents, of both versions.

    Args:
        root: Where `proc` and `sys` are found.
    """
    found = []
    for folder in _folders(root, ""):
        quota, _, period = read(folder / "cpu.max").partition(" ")
        found += _quota(quota, period, folder / "cpu.max")
    for folder in _folders(root, "cpu"):
        period = read(folder / "cpu.cfs_period_us")
        found += _quota(read(folder / "cpu.cfs_quota_us"), period, folder / "cpu.cfs_quota_us")
    return found


def tightest_quota(root: Path = Path("/")) -> Quota | None:
    """The one of the quotas that gives the fewest CPUs; None where there is none."""
    return min(quotas(root), key=lambda quota: quota.cpus, default=None)


def cpu_sets(root: Path = Path("/")) -> list[CpuSet]:
    """The CPU sets of this process's cgroup and all its parents, of both versions."""
    files = [folder / "cpuset.cpus.effective" for folder in _folders(root, "")]
    files += [folder / "cpuset.effective_cpus" for folder in _folders(root, "cpuset")]
    return [one for path in files for one in _cpu_set(path)]


def memory_limits(root: Path = Path("/")) -> list[MemoryLimit]:
    """The memory limits of this process's cgroup and all its parents, of both versions.

    Version 1: Documentation/admin-guide/cgroup-v1/memory.rst. Where there is no limit it says a
    number that no machine has.
    """
    found = []
    for folder in _folders(root, ""):
        found += _memory_limit(folder, "memory.max", "memory.current", "inactive_file")
    for folder in _folders(root, "memory"):
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        found += _memory_limit(folder, *names)
    return found


def _memory_limit(folder: Path, limit: str, usage: str, idle: str) -> list[MemoryLimit]:
    allowed, used = read(folder / limit), read(folder / usage)
    if not (allowed.isdecimal() and used.isdecimal()):  # "max", or no such file
        return []
    lines = (line.partition(" ") for line in read(folder / "memory.stat").splitlines())
    reclaimable = next((int(size) for name, _, size in lines if name == idle), 0)
    return [MemoryLimit(int(allowed), int(used), reclaimable)]


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """This process's cgroup folder and its parents, nearest first.

    Args:
        root: Where `proc` and `sys` are found.
        controller: A version 1 controller, or `""` for version 2.
    """
    mount = root / "sys/fs/cgroup" / (controller or "unified")
    if not controller and not mount.is_dir():  # "unified" is where systemd mounts 2 beside 1
        mount = mount.parent
    for line in read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            relative = Path(path.lstrip("/"))
            # Inside a container the path can be the host's, and only the mount's root is visible.
            for part in (relative, *relative.parents):
                if (mount / part).is_dir():
                    yield mount / part
            return


def _quota(quota: str, period: str, path: Path) -> list[Quota]:
    try:
        allowed, each = int(quota), int(period)
    except ValueError:  # "max", or no such file
        return []
    if allowed <= 0 or each <= 0:  # version 1 says -1 for no limit
        return []
    return [Quota(allowed * 1e-6, each * 1e-6, path)]


def _cpu_set(path: Path) -> list[CpuSet]:
    text = read(path)
    try:
        count = sum(_range_length(part) for part in text.split(",")) if text else 0
    except ValueError:
        return []
    return [CpuSet(count, text, path)] if count > 0 else []


def _range_length(part: str) -> int:
    first, _, last = part.partition("-")
    return int(last or first) - int(first) + 1


def read(path: Path) -> str:
    """What a small file of the kernel holds; empty where it cannot be read."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
