"""What steps have cost: CPU time, and memory that the kernel had to give."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Spent:
    """What some steps have cost.

    Attributes:
        cpu_s: CPU seconds, over all threads.
        system_s: Those of them that went to the kernel.
        faults: Pages of memory that the kernel had to give (minor page faults, getrusage(2)).
    """

    cpu_s: float = 0.0
    system_s: float = 0.0
    faults: float = 0.0

    def __add__(self, more: Spent) -> Spent:
        return Spent(
            self.cpu_s + more.cpu_s, self.system_s + more.system_s, self.faults + more.faults
        )

    def since(self, before: Spent, steps: int) -> Spent:
        """What has come since then, for each of so many steps."""
        return Spent(
            (self.cpu_s - before.cpu_s) / steps,
            (self.system_s - before.system_s) / steps,
            (self.faults - before.faults) / steps,
        )
