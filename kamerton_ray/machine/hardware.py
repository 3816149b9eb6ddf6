"""What identifies a machine, so that results of two kinds are not mixed."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kamerton_ray.machine.cpus import usable_cpus

CPU_INFO = Path("/proc/cpuinfo")

ARM = "0x41"
"""Arm's own number among those who make CPUs for aarch64."""

NEOVERSE = {"0xd0c": "N1", "0xd40": "V1", "0xd49": "N2", "0xd4f": "V2"}
"""Arm's server CPUs, by their part numbers; Graviton 2, 3 and 4 are N1, V1 and V2."""


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


def cpu_model(info: Path = CPU_INFO) -> str:
    """The CPU's name, as the kernel gives it; on aarch64 it gives numbers.

    Args:
        info: The kernel's file.
    """
    told: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in info.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            told.setdefault(name.strip(), value.strip())
    maker, part = told.get("CPU implementer", ""), told.get("CPU part", "")
    if maker == ARM and part in NEOVERSE:
        return f"Neoverse {NEOVERSE[part]}"
    numbers = f"{platform.machine()} {maker}:{part}" if part else ""
    return told.get("model name") or numbers or platform.processor() or platform.machine()
