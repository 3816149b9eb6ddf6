"""A command's work on a session: what was typed, on what it ran, and how long it took."""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from kamerton_ray.machine.software import system, version
from kamerton_ray.numeric import number


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a command did on a session. What an older session does not say is empty, or NaN.

    Attributes:
        command: The command, as it was typed.
        began: When its process began, in seconds since 1970.
        system: The operating system.
        python: Python's version.
        ray: Ray's.
        tensorflow: TensorFlow's; empty where it is not installed.
        load: The load average of the last minute before (getloadavg(3)).
        seconds: How long it took in all; NaN where it did not come to its end, as the next.
        load_after: The load average of its last minute.
    """

    command: str = ""
    began: float = math.nan
    system: str = ""
    python: str = ""
    ray: str = ""
    tensorflow: str = ""
    load: float = math.nan
    seconds: float = math.nan
    load_after: float = math.nan

    @classmethod
    def now(cls, command: str) -> Work:
        """That of this process, which has just begun."""
        return cls(
            command=command,
            began=psutil.Process().create_time(),
            system=system(),
            python=platform.python_version(),
            ray=version("ray"),
            tensorflow=version("tensorflow"),
            load=os.getloadavg()[0],
        )

    def ended(self) -> Work:
        """The same at its end, which is now."""
        seconds = time.time() - self.began
        return dataclasses.replace(self, seconds=seconds, load_after=os.getloadavg()[0])

    @classmethod
    def of(cls, told: Mapping[str, object]) -> Work:
        """What a session says of it."""
        read = {one.name: str if one.type == "str" else number for one in dataclasses.fields(cls)}
        known = {name: read[name](told[name]) for name in read.keys() & told.keys()}
        return cls(**known)  # type: ignore[arg-type]  # each is read by its field's own reader

    def to_json(self) -> dict[str, object]:
        """It as plain JSON values, without what is unknown."""
        told = dataclasses.asdict(self)
        return {name: one for name, one in told.items() if one != "" and not _is_unknown(one)}


def _is_unknown(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
