"""How many threads a program has: what shows whether its thread counts reach TensorFlow.

TensorFlow makes all threads of its pools when the first tensor exists, and keeps them. So a program
to which the counts get through has more of them where the counts are higher.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

PROC = Path("/proc")

EVERY_S = 0.5
"""The time from look to look: each reads a file for every thread, a hundredth of a millisecond."""


class ThreadsSeen:
    """The most threads that a process, with all that it has started, was seen to have at once.

    Attributes:
        most: So many; 0 where nobody has looked while it ran.
    """

    def __init__(self) -> None:
        self.most = 0
        self._next = time.monotonic() + EVERY_S

    def look(self, pid: int) -> None:
        """Look again, if it is time to."""
        if time.monotonic() >= self._next:
            self.most = max(self.most, threads_of(pid))
            self._next = time.monotonic() + EVERY_S


def threads_of(pid: int) -> int:
    """How many threads a process and all that it has started have now; 0 where it is gone.

    What has started a process is found in its threads' `children` (proc_pid_task(5)). Where the
    kernel has no such files the process counts alone.
    """
    count = 0
    with contextlib.suppress(OSError):
        for thread in (PROC / str(pid) / "task").iterdir():
            count += 1
            with contextlib.suppress(OSError):
                children = (thread / "children").read_text(encoding="ascii").split()
                count += sum(threads_of(int(child)) for child in children)
    return count
