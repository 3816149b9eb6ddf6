"""Who takes part in the comparison: the best of the search, as many as there is time for."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from kamerton_ray.answer.candidates import Candidate, Kind, candidates, miss_of
from kamerton_ray.answer.rounds import RACE_SHARE
from kamerton_ray.machine.knobs import is_stock, word_of
from kamerton_ray.trial.config import INSTANCES_KEY, PINNED, Config, instances_of, is_variable
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result, median_of
from kamerton_ray.tune.pace import in_pace

MOST_FINALISTS = 40
"""So many of the search's best may take part. Fewer would leave the choice to the search's noise;
whom the search has found far behind is not measured again."""

RACE_ROUNDS, FINAL_ROUNDS = 2, 4
"""Where time is short, a race and a final have so many rounds at the least. The best of the search
alone may be there by chance, so it is rather compared with another one than known more precisely.
"""

FEW = 3
"""Among so many finalists there is no place for the best single process."""

ROUND, EACH = 0.6, 0.6
"""A round takes so many times as long as a trial, and so many times for each configuration: several
are built at once."""


def contestants(kind: Kind, objective: Objective) -> list[Candidate]:
    """The candidates without the one that has the default's own thread counts, if there are more.

    That one would meet itself, which shows nothing.
    """
    found = candidates(in_pace(kind.results), objective)
    fixed = {
        name
        for name in {name for one in found for name in one.config}
        if len({repr(one.config.get(name)) for one in found}) == 1
    }
    usual = kind.machine.default_threads
    return [one for one in found if not _is_default(one.config, usual, fixed)] or found


def _is_default(config: Config, usual: Mapping[str, int], fixed: Collection[str]) -> bool:
    """Whether a configuration runs what the default does, which has the same fixed values.

    The default runs without variables, whose names are in capitals, and without knobs.
    """
    counts = {name: value for name, value in config.items() if name in usual}
    others = {
        name: said
        for name, said in config.items()
        if name not in {*usual, INSTANCES_KEY, PINNED} and not is_stock(name, said)
    }
    return (
        bool(counts)
        and instances_of(config) == 1  # one has all the CPUs for its own, pinned or not
        and all(value in (0, usual[name]) for name, value in counts.items())
        and not any(
            is_variable(name) or name not in fixed or word_of(name, said)
            for name, said in others.items()
        )
    )


def affordable(results: Sequence[Result], budget_s: float | None) -> int:
    """How many finalists the time allows, by how long the trials of the search took; 1 or more."""
    seconds = median_of(results, "time_total_s")
    if budget_s is None or not seconds > 0:
        return MOST_FINALISTS
    left = min(budget_s - FINAL_ROUNDS * (ROUND + EACH) * seconds, RACE_SHARE * budget_s)
    return max(1, int((left / (RACE_ROUNDS * seconds) - ROUND) / EACH))


def has_time(results: Sequence[Result], budget_s: float | None) -> bool:
    """Whether there is time for a round of a configuration and the default, one after the other."""
    seconds = median_of(results, "time_total_s")
    return budget_s is None or math.isnan(seconds) or 2 * seconds <= budget_s


def screen(found: Sequence[Candidate], objective: Objective, *, most: int) -> list[Candidate]:
    """The best of the candidates: the search's noise is no reason to leave one of them out.

    Where limits are to be kept, these are the ones that keep them. Where none does, these are the
    ones that miss them least. The best single process is among them, since the answer names it,
    unless they are few.
    """
    if not found:
        return []
    misses = [miss_of(one.results, objective) for one in found]
    least = min(misses)
    feasible = [one for one, miss in zip(found, misses, strict=True) if miss <= least]
    chosen = feasible[:most]
    single = next((one for one in feasible if instances_of(one.config) == 1), None)
    if single is None or single in chosen:
        return chosen
    return [*chosen[: most - 1], single] if most > FEW else chosen
