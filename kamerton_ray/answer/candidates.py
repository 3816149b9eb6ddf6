"""Results by kind of machine and by configuration: who could be the best."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.hardware import UNKNOWN, Machine
from kamerton_ray.trial.config import Config, key_of
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result, median_of, numbers_in


@dataclass(frozen=True)
class Candidate:
    """A configuration as the search saw it.

    Attributes:
        config: The configuration.
        value: Its value.
        results: What its trials reported.
    """

    config: Config
    value: float
    results: list[Result]

    def median(self, key: str) -> float:
        """The median of a key over its trials; NaN where none has it."""
        return median_of(self.results, key)


@dataclass(frozen=True)
class Kind:
    """A kind of machine, and what it measured.

    Attributes:
        machine: What identifies it.
        nodes: The addresses of the nodes of this kind that took part.
        results: What was measured on them.
    """

    machine: Machine
    nodes: list[str]
    results: list[Result]


def kinds_of(results: Sequence[Result]) -> list[Kind]:
    """The results by kind of machine, the kind with the most first; never mixed.

    Those of which nobody knows it count with the first.
    """
    usual = next((one.machine for one in results if one.machine), UNKNOWN)
    of_node = {one.node_ip: one.machine for one in results if one.machine and one.node_ip}
    groups: dict[Machine, Kind] = {}
    for result in results:
        # An attempt that failed early does not know its machine, but its node may.
        machine = result.machine or of_node.get(result.node_ip, usual)
        kind = groups.setdefault(machine, Kind(machine, [], []))
        kind.results.append(result)
        if result.node_ip and result.node_ip not in kind.nodes:
            kind.nodes.append(result.node_ip)
    return sorted(groups.values(), key=lambda kind: -len(kind.results))


def candidates(results: Iterable[Result], objective: Objective) -> list[Candidate]:
    """Every configuration that worked, the best first."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if not math.isnan(objective.value(result)):
            groups.setdefault(key_of(result.tuned), []).append(result)
    found = [
        Candidate(group[0].tuned, value_of(group, objective), group) for group in groups.values()
    ]
    return sorted(found, key=lambda one: -objective.sign * one.value)


def value_of(results: Iterable[Result], objective: Objective) -> float:
    """The value of a configuration: the median over its trials; NaN where none worked.

    It is the same wherever a configuration is ranked, told or drawn.
    """
    return median_of(results, objective.metric)


def miss_of(results: Sequence[Result], objective: Objective) -> float:
    """By how much a configuration breaks the limits, by the medians over its trials."""
    return objective.miss_of({key: median_of(results, key) for key in objective.limited})


def check_reported(results: Sequence[Result], objective: Objective) -> None:
    """See to it that the results say what they are judged by.

    Raises:
        InvalidInputError: None of those that worked has it.
    """
    working = [one for one in results if one.worked]
    for key in (objective.metric, *objective.limited):
        if working and not any(key in one.names for one in working):
            raise InvalidInputError(
                f"results must report {key!r} to be judged by it, but report {numbers_in(working)}"
            )


def nothing_worked(results: Sequence[Result]) -> str:
    """That no trial worked, and what the last error was; or that none has ended."""
    if not results:
        return "No trial ended."
    last = next((one.error for one in reversed(results) if one.error), "")
    return f"No trial worked. {last}".strip()
