"""What identifies a machine, so that results of two kinds are not mixed."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kamerton_ray.machine.cpus import usable_cpus


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A kind of machine, as far as it is known.

    Attributes:
        cpu_model: The CPU's name, as the kernel gives it.
        usable_cpus: How many CPUs a process there can use; 0 where nobody knows.
        tensorflow: TensorFlow's version.
        onednn: Whether TensorFlow's oneDNN kernels are `"on"`; `"unknown"` where it does not say,
            and `"tuned"` where a search tries both.
    """

    cpu_model: str = ""
    usable_cpus: int = 0
    tensorflow: str = ""
    onednn: str = ""

    @classmethod
    def of(cls, told: object) -> Machine:
        """What a result or a file says of a machine; what is no such word is left out."""
        if isinstance(told, Machine):
            return told
        if not isinstance(told, Mapping):
            return UNKNOWN
        usual = {one.name: type(one.default) for one in dataclasses.fields(cls)}
        known = {n: told[n] for n in usual if type(told.get(n)) is usual[n]}
        return cls(**known)

    def to_json(self) -> dict[str, object]:
        """It as plain JSON values, without what is unknown."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value}

    def __bool__(self) -> bool:
        """Whether anything is known of it."""
        return self != UNKNOWN

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.to_json().items())


UNKNOWN = Machine()


def this_machine() -> Machine:
    """The CPU's model, and how many of them this process can use."""
    return Machine(cpu_model=cpu_model(), usable_cpus=usable_cpus().count)


def cpu_model() -> str:
    """The CPU's name, as the kernel gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
