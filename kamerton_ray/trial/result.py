"""What a trial reported, as one typed record from where it enters to where it is written down.

It enters as a dict: from a trial of Ray, a line of a session, a file of Ray Tune or a user's list.
It leaves as one: to Ray, into a session's line, an answer or a table. `Result.of` and
`Result.to_json` are these two doors, and the only places that know the keys.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kamerton_ray.machine.hardware import UNKNOWN, Machine
from kamerton_ray.numeric import NORMAL_95, number
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.config import Config
from kamerton_ray.trial.timing import Timing


@dataclass(frozen=True, kw_only=True, eq=False)
class Result(Timing):
    """What a trial reported: what was timed, and all else that is known of it.

    Attributes:
        config: The trial's configuration; None for TensorFlow's default in a comparison.
        outcome: How the trial ended.
        error: Why it failed; of one that worked, why the default beside it could not be measured.
        restarted: Why it was begun anew; empty where it was not.
        isolation: How its process came to be.
        strays: How many processes it left behind; they were killed.
        first_step_seconds: How long the first step took, compiling included; it is in no other
            number, and told where XLA is tuned.
        score: What an objective makes of it.
        objective: The number that a program printed, or its time.
        read: That number as it was printed; empty for a time, as the next.
        line: What it was read from: its line, or the middle of a long one.
        other_lines: The last of the other lines that hold numbers.
        threads: The most threads that a program, with what it has started, was seen to have, or the
            first of its instances; 0 where nobody looked.
        left: Whether the body of Kamerton's loop left its loop.
        unchecked: The variables that knobs set in a program of which nothing shows that they took
            effect.
        machine: What it ran on.
        node_ip: The address of that node, as Ray says it.
        began: When its measuring began, in seconds since 1970.
        ended: When that ended.
        time_total_s: How many seconds it took in all, as Ray says it.
        timestamp: When it was reported, in seconds since 1970, as Ray says it.
        more: What else was reported, by name: a user's own metrics, and what Ray adds.
        names: Under which names something was reported, in order.
    """

    config: Config | None = None
    outcome: Outcome = Outcome.OK
    error: str = ""
    restarted: str = ""
    isolation: str = ""
    strays: int = 0
    first_step_seconds: float = math.nan
    score: float = math.nan
    objective: float = math.nan
    read: str = ""
    line: str = ""
    other_lines: tuple[str, ...] = ()
    threads: int = 0
    left: bool = False
    unchecked: tuple[str, ...] = ()
    machine: Machine = UNKNOWN
    node_ip: str = ""
    began: float = math.nan
    ended: float = math.nan
    time_total_s: float = math.nan
    timestamp: float = math.nan
    more: Mapping[str, object] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, report: Mapping[str, object]) -> Result:
        """The record of what was reported, its `config` included.

        What has no number where one belongs is NaN, as None and the infinities are.
        """
        names = tuple(name for name in report if name != "config")
        known = {name: _READ[name](report[name]) for name in names if name in _READ}
        config = report.get("config")
        return cls(
            **known,  # type: ignore[arg-type]  # each is read by its field's own reader
            config=dict(config) if isinstance(config, Mapping) else None,
            more={name: report[name] for name in names if name not in _READ},
            names=names,
        )

    def report(self) -> dict[str, object]:
        """It as it is reported to Ray: by name, without the configuration, which Ray knows."""
        return {name: self._written(name) for name in self.names}

    def to_json(self) -> dict[str, object]:
        """It as it is written down: by name, and the configuration."""
        return {**self.report(), "config": self.config}

    def _written(self, name: str) -> object:
        if name not in _READ:
            return self.more[name]
        value = getattr(self, name)
        if isinstance(value, Outcome):
            return value.name.lower()
        return value.to_json() if isinstance(value, Machine) else value

    @property
    def worked(self) -> bool:
        """Whether the trial came to its end and reported a number."""
        return self.outcome is Outcome.OK and bool(self.numbers())

    @property
    def tuned(self) -> Config:
        """The configuration; empty for TensorFlow's default."""
        return self.config or {}

    def number(self, name: str) -> float:
        """What was reported under a name; NaN where that is no number."""
        return number(getattr(self, name) if name in _READ else self.more.get(name))

    def numbers(self) -> list[str]:
        """The names under which it has numbers."""
        return [name for name in self.names if not math.isnan(self.number(name))]

    def interval(self, name: str) -> tuple[float, float]:
        """The 95 % interval of a number; NaN where it is not reported."""
        return self.number(f"{name}_low"), self.number(f"{name}_high")

    def standard_error(self, name: str) -> float:
        """A number's standard error, where that or a 95 % interval is reported; else NaN."""
        low, high = self.interval(name)
        told = self.number(f"{name}_sem")
        return (high - low) / (2 * NORMAL_95) if math.isnan(told) else told


def _outcome(told: object) -> Outcome:
    """How a trial ended; whoever does not say it has ended well."""
    return Outcome.__members__.get(str(told).upper(), Outcome.UNKNOWN)


def _text(told: object) -> str:
    return told if isinstance(told, str) else ""


def _texts(told: object) -> tuple[str, ...]:
    return tuple(map(_text, told)) if isinstance(told, Sequence) and told != _text(told) else ()


def _count(told: object) -> int:
    return 0 if math.isnan(found := number(told)) else int(found)


_READERS: dict[str, Callable[[object], object]] = {
    "float": number,
    "int": _count,
    "bool": lambda told: told is True,
    "str": _text,
    "tuple[str, ...]": _texts,
    "Outcome": _outcome,
    "Machine": Machine.of,
}
"""How a field is read, by its type."""

_READ: dict[str, Callable[[object], object]] = {
    one.name: _READERS[str(one.type)]
    for one in dataclasses.fields(Result)
    if str(one.type) in _READERS and one.name != "names"
}


def numbers_in(results: Iterable[Result]) -> list[str]:
    """The names under which results have numbers."""
    return sorted({name for one in results for name in one.numbers()})


def median_of(results: Iterable[Result], name: str) -> float:
    """The median of a number; NaN where no result has it."""
    values = [value for one in results if not math.isnan(value := one.number(name))]
    return statistics.median(values) if values else math.nan
