"""Machines to measure on that are not idle: with busy neighbours, or with a CPU quota.

Both are made by real means, processes and cgroups, and gone with the block that asks for them.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PERIOD_US = 100_000
"""The kernel's usual period of a quota."""

CGROUPS = Path("/sys/fs/cgroup")

# It leaves its parent, so that it is nobody's child, and ends by itself when it is forgotten.
BUSY = """
import os, time
if (pid := os.fork()):
    print(pid, flush=True)
    os._exit(0)
os.setsid()
os.close(1)  # whoever has asked reads until the end
end = time.monotonic() + 3600
while time.monotonic() < end:
    sum(range(10_000))
"""


class UnavailableError(Exception):
    """This machine does not let us make what is asked for; it says why."""


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[list[int]]:
    """So many processes, not of our own family, each of which keeps a CPU busy."""
    pids: list[int] = []
    try:
        for _ in range(count):
            started = subprocess.run(
                [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True, check=True
            )
            pids.append(int(started.stdout))
        yield pids
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def cgroup(cpus: float) -> Iterator[Path]:
    """The `cgroup.procs` of a new cgroup, whose processes together get so many CPUs.

    Raises:
        UnavailableError: No such cgroup can be made.
    """
    try:
        folder = _made(round(cpus * PERIOD_US))
    except OSError as error:
        raise UnavailableError(f"no cgroup with a CPU quota can be made here: {error}") from error
    try:
        yield folder / "cgroup.procs"
    finally:
        _remove(folder)


def _made(quota_us: int) -> Path:
    version_1 = CGROUPS / "cpu"
    if (version_1 / "cpu.cfs_quota_us").exists() or (version_1 / "cgroup.procs").exists():
        folder = Path(tempfile.mkdtemp(prefix="kamerton-", dir=version_1))
        (folder / "cpu.cfs_period_us").write_text(f"{PERIOD_US}\n", encoding="ascii")
        (folder / "cpu.cfs_quota_us").write_text(f"{quota_us}\n", encoding="ascii")
        return folder
    (CGROUPS / "cgroup.subtree_control").write_text("+cpu\n", encoding="ascii")
    folder = Path(tempfile.mkdtemp(prefix="kamerton-", dir=CGROUPS))
    (folder / "cpu.max").write_text(f"{quota_us} {PERIOD_US}\n", encoding="ascii")
    return folder


def _remove(folder: Path) -> None:
    """Remove a cgroup, when the last of its processes is gone."""
    procs, end = folder / "cgroup.procs", time.monotonic() + 10
    while procs.read_text(encoding="ascii") and time.monotonic() < end:
        time.sleep(0.1)
    folder.rmdir()
