"""What identifies a machine, so that results of two kinds are not mixed."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kamerton_ray.machine.cpus import affinity, usable_cpus
from kamerton_ray.machine.threads import default_counts

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
        default_intra_op: How many intra-op threads TensorFlow's default has, where these are not as
            many as the usable CPUs: the environment says others, or a quota gives fewer CPUs than
            there are, which TensorFlow does not know. Else 0.
        default_inter_op: Likewise of inter-op threads.
    """

    cpu_model: str = ""
    usable_cpus: int = 0
    tensorflow: str = ""
    onednn: str = ""
    default_intra_op: int = 0
    default_inter_op: int = 0

    @property
    def default_threads(self) -> dict[str, int]:
        """What TensorFlow's default has there of both counts; 0 where nobody knows."""
        return {
            "intra_op": self.default_intra_op or self.usable_cpus,
            "inter_op": self.default_inter_op or self.usable_cpus,
        }

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


def machine_with_default(env: Mapping[str, str]) -> Machine:
    """This machine, and what TensorFlow's default is there in a process with these variables."""
    machine = this_machine()
    counts = default_counts(env, affinity())
    intra, inter = (0 if count == machine.usable_cpus else count for count in counts)
    return dataclasses.replace(machine, default_intra_op=intra, default_inter_op=inter)


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
