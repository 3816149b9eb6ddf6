"""Options: what a search is told beside its space, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.numeric import as_float

USUAL_REPEATS = 6
"""How often each of the last few is measured again at most, where the caller does not say."""

MOST_REPEATS = 1000
"""Nothing is measured again more often than this; a larger number is a mistake."""


@dataclass(frozen=True)
class Options:
    """How to search; `NelderMead` says what each option means."""

    mode: str
    seed: int
    budget: int | None
    patience: int
    repeats: int

    @classmethod
    def checked(
        cls,
        dimension: int,
        *,
        mode: str,
        seed: int,
        budget: int | None,
        patience: int | None,
        repeats: int,
    ) -> Options:
        """The options, with the usual patience for that many axes where none is given.

        Raises:
            InvalidInputError: One of them breaks its rule.
        """
        if mode not in ("min", "max"):
            raise InvalidInputError(f"mode must be 'min' or 'max', but got {mode!r}")
        if patience is None:
            patience = usual_patience(dimension)
        return cls(
            mode=mode,
            seed=count("seed", seed, least=0),
            budget=None if budget is None else count("budget", budget, least=1),
            patience=count("patience", patience, least=1),
            repeats=count("repeats", repeats, least=0, most=MOST_REPEATS),
        )

    def signed(self, value: float) -> float:
        """A value as it is minimised, or a minimised one as the caller sees it."""
        return -value if self.mode == "max" else value

    def minimised(self, value: float | None) -> float:
        """What was told, signed; NaN or an infinity for a failure.

        Raises:
            InvalidInputError: It is no number.
        """
        found = math.nan if value is None else as_float(value)
        if found is None:
            raise InvalidInputError(
                f"a value must be a number, or None for a failure, but got {value!r}"
            )
        return self.signed(found)


def usual_patience(dimension: int) -> int:
    """How many points in a row may pass without an improvement where the caller does not say."""
    return 3 * (dimension + 1)


def count(name: str, value: object, *, least: int, most: float = math.inf) -> int:
    """`value`, which must be an integer between bounds.

    Raises:
        InvalidInputError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        upper = "" if most == math.inf else f" and at most {most}"
        raise InvalidInputError(
            f"{name} must be an integer of at least {least}{upper}, but got {value!r}"
        )
    return value
