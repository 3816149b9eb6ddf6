"""What a trial of `benchmark` can be judged by."""

from __future__ import annotations

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.trial.objective import Objective

LOWER = ("seconds", "seconds_p90", "seconds_p99", "cpu_seconds", "cpus", "memory")
"""The numbers of a trial that are better the lower they are: they can be limited."""

HIGHER = ("speedup", "throughput")
"""Those that are better the higher they are: a least can be asked of them."""

JUDGED = (*HIGHER, *LOWER)
"""What a trial can be judged by."""


def check_keys(objective: Objective) -> None:
    """Check that an objective asks for numbers that a trial of `benchmark` has.

    Raises:
        InvalidInputError: It does not.
    """
    if objective.metric not in JUDGED:
        raise InvalidInputError(
            f"a benchmark is judged by one of {list(JUDGED)}, but got {objective.metric!r}"
        )
    for name, keys, known, better in (
        ("at_most", objective.at_most, LOWER, "lower"),
        ("at_least", objective.at_least, HIGHER, "higher"),
    ):
        if unknown := [key for key in keys if key not in known]:
            raise InvalidInputError(
                f"{name} must limit one of {list(known)}, which are better the {better} they are, "
                f"but got {unknown[0]!r}"
            )
