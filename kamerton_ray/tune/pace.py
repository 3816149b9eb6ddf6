"""Which nodes are slow, and how many times as slow as the others: the one place that says so.

Nodes are compared by what the same thing takes on each. That is TensorFlow's default, where trials
time it beside their configuration, and else the trials themselves.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kamerton_ray.machine.threads import THREADS
from kamerton_ray.trial.config import key_of
from kamerton_ray.trial.result import Result

SLOWER = 1.25
"""A node is out of pace on which the default takes so many times as long as on the others."""

TOO_SLOW = 1.5
"""A node on which the default takes so many times as long runs no more trials. It is more than
`SLOWER`: a node keeps one process of the default, which can be a fifth slower than the next by
chance."""

MUCH_SLOWER = 3.0
"""A node is named on which the trials themselves take so many times as long. It is more, since the
time of a trial depends on its configuration."""

LEAST_PACE = 3
"""A node's pace is known from so many trials on, by what the default took in them."""

LEAST_TRIALS = 2
"""A node's pace is known from so many trials on, by what they took themselves."""

LAST_TRIALS = 256
"""The pace of the nodes of a search is that of so many trials, the last ones."""


@dataclass(frozen=True)
class Measure:
    """What is compared from node to node.

    Attributes:
        seconds: What a result says that it took; 0 or NaN where it does not say it.
        least: A node's pace is known from so many results on.
    """

    seconds: Callable[[Result], float]
    least: int


def _default_seconds(result: Result) -> float:
    return result.default_seconds


def _own_seconds(result: Result) -> float:
    return math.nan if "default_seconds" in result.names else result.time_total_s


BY_DEFAULT = Measure(_default_seconds, LEAST_PACE)
"""By how long a step of TensorFlow's default took."""

BY_TRIAL = Measure(_own_seconds, LEAST_TRIALS)
"""By how long trials took that do not time the default, as those of a command or of a loop."""


def out_of_pace(
    results: Iterable[Result], *, least: float = SLOWER, by: Measure = BY_DEFAULT
) -> dict[str, float]:
    """The slow nodes, and how many times as long as on the others it takes there.

    Such a node is throttled, say, or not alone on its machine.

    Args:
        results: What trials reported, all on nodes of one kind.
        least: A node is slow from so many times on.
        by: What is compared.
    """
    shares = _shares(results, by)
    pace = {ip: statistics.median(own) for ip, own in shares.items() if len(own) >= by.least}
    others = {ip: [pace[other] for other in pace if other != ip] for ip in pace}
    slower = {ip: pace[ip] / statistics.median(rest) for ip, rest in others.items() if rest}
    return {ip: times for ip, times in slower.items() if times > least}


def in_pace(results: Sequence[Result]) -> list[Result]:
    """The results, without those of slow nodes whose configuration was run elsewhere."""
    slow = out_of_pace(results)
    elsewhere = {key_of(one.tuned) for one in results if one.node_ip not in slow}
    return [one for one in results if one.node_ip not in slow or key_of(one.tuned) not in elsewhere]


class SlowNodes:
    """Learns the results of a search one by one, and says once of each node that it is slow.

    Args:
        least: A node is slow from so many times on.
        by: What is compared.
    """

    def __init__(self, *, least: float, by: Measure) -> None:
        self._least, self._by = least, by
        self._learnt: deque[_Learnt] = deque(maxlen=LAST_TRIALS)
        self.ips: set[str] = set()
        """The addresses of the nodes that were found to be slow."""

    def learn(self, result: Result) -> dict[str, float]:
        """Learn a result.

        Returns:
            The nodes that are found to be slow by it, and how many times as slow.
        """
        self._learnt.append(_Learnt(result))
        results = [one.result for one in self._learnt]
        slow = out_of_pace(results, least=self._least, by=self._by)
        new = {ip: times for ip, times in slow.items() if ip not in self.ips}
        self.ips |= new.keys()
        return new

    def take_back(self) -> list[Result]:
        """The results of slow nodes, each once: they are to be measured again elsewhere."""
        found = [one for one in self._learnt if one.result.node_ip in self.ips and not one.taken]
        for one in found:
            one.taken = True
        return [one.result for one in found]


@dataclass
class _Learnt:
    """A result, and whether it was taken back."""

    result: Result
    taken: bool = False


def _shares(results: Iterable[Result], by: Measure) -> dict[str, list[float]]:
    """How long it took on each node, as shares of the usual for the same model."""
    models: dict[str, list[tuple[str, float]]] = {}
    for result in results:
        seconds = by.seconds(result)
        if seconds > 0 and result.node_ip:
            # What else is tuned, as a batch size, makes another model.
            rest = {k: v for k, v in result.tuned.items() if k not in THREADS}
            models.setdefault(key_of(rest), []).append((result.node_ip, seconds))
    shares: dict[str, list[float]] = {}
    for timed in models.values():
        usual = statistics.median(seconds for _, seconds in timed)
        for ip, seconds in timed:
            shares.setdefault(ip, []).append(seconds / usual)
    return shares
