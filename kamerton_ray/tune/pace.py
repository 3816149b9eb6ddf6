"""Which nodes keep pace with the others of their kind, by how long TensorFlow's default takes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from kamerton_ray.machine.threads import THREADS
from kamerton_ray.trial.config import key_of
from kamerton_ray.trial.result import Result

SLOWER = 1.25
"""A node is out of pace on which the default takes so many times as long as on the others."""

TOO_SLOW = 1.5
"""One where it takes so many times as long runs no more trials; a node keeps one process of the
default, and that can be a fifth slower than the next by chance."""

LEAST_PACE = 3
"""A node's pace is known from so many trials on."""


def out_of_pace(results: Iterable[Result], *, least: float = SLOWER) -> dict[str, float]:
    """The nodes on which the default took much longer than on the others, and how many times.

    Such a node is throttled, say, or not alone on its machine.

    Args:
        results: What trials reported, all on nodes of one kind.
        least: From how many times on.
    """
    by_node = _paces(results)
    pace = {ip: statistics.median(own) for ip, own in by_node.items() if len(own) >= LEAST_PACE}
    others = {ip: [pace[other] for other in pace if other != ip] for ip in pace}
    slower = {ip: pace[ip] / statistics.median(rest) for ip, rest in others.items() if rest}
    return {ip: times for ip, times in slower.items() if times > least}


def in_pace(results: Sequence[Result]) -> list[Result]:
    """The results, without those of nodes out of pace whose configuration was run elsewhere."""
    slow = out_of_pace(results)
    elsewhere = {key_of(one.tuned) for one in results if one.node_ip not in slow}
    return [one for one in results if one.node_ip not in slow or key_of(one.tuned) not in elsewhere]


def _paces(results: Iterable[Result]) -> dict[str, list[float]]:
    """How long the default took on each node, as shares of the usual for the same model."""
    models: dict[str, list[tuple[str, float]]] = {}
    for result in results:
        if result.default_seconds > 0 and result.node_ip:
            # What else is tuned, as a batch size, makes another model.
            rest = {k: v for k, v in result.tuned.items() if k not in THREADS}
            models.setdefault(key_of(rest), []).append((result.node_ip, result.default_seconds))
    paces: dict[str, list[float]] = {}
    for timed in models.values():
        usual = statistics.median(seconds for _, seconds in timed)
        for ip, seconds in timed:
            paces.setdefault(ip, []).append(seconds / usual)
    return paces
