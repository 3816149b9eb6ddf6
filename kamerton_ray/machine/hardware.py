"""What identifies a machine, so that results of two kinds are not mixed."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path
from typing import Any

from kamerton_ray.machine.cpus import usable_cpus


def hardware() -> dict[str, Any]:
    """The CPU's model, and how many of them this process can use."""
    return {"cpu_model": cpu_model(), "usable_cpus": usable_cpus().count}


def cpu_model() -> str:
    """The CPU's name, as the kernel gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
