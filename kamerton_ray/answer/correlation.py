"""How much neighbouring rounds are alike, and how many independent rounds they are worth.

Rounds are alike where a machine's pace changes slowly. Such rounds say less than independent ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kamerton_ray.trial.estimate import Floats

LEAST_ROUNDS = 4
"""Fewer rounds say nothing of their correlation: it counts as 0."""

MOST_CORRELATED = 0.9
"""A correlation above this counts as this."""

MOST_SAID = 20
"""What was known before weighs as much as so many rounds at the most: the machine's pace may have
become another."""

LEAST_EFFECTIVE = 2.5
"""Rounds are worth no fewer independent ones than this, however alike they are."""


class Likeness(NamedTuple):
    """How much neighbouring rounds are alike, as far as it is known.

    Attributes:
        correlation: By how much they correlate.
        rounds: So many rounds would say it as surely.
    """

    correlation: float
    rounds: float


SUPPOSED = Likeness(0.6, MOST_SAID)
"""What is supposed before any rounds have said it."""

UNSAID = Likeness(0.0, 0)
"""Where only the rounds themselves are to say it."""


def correlation(values: Floats) -> float:
    """The correlation of neighbouring values, estimated from their ranks.

    Ranks are taken because the final's interval is one of ranks, and because outliers would hide a
    correlation of the values themselves (Wald & Wolfowitz 1943, "An exact test for randomness in
    the non-parametric case", Annals of Mathematical Statistics 14:378-388). The estimate r from n
    values is too low by (1 + 3 r) / n (Kendall 1954, "Note on bias in the estimation of
    autocorrelation", Biometrika 41:403-404); this is corrected.
    """
    count = len(values)
    ranked = ranks(values)
    ranked -= ranked.mean()
    square = float(ranked @ ranked)
    if count < LEAST_ROUNDS or square == 0.0:
        return 0.0
    found = float(ranked[1:] @ ranked[:-1]) / square
    return (count * found + 1) / (count - 3)


def supposed(found: float, said: int, *, before: Likeness = SUPPOSED) -> float:
    """The correlation to reckon with, where few rounds say little of it.

    Args:
        found: What they say.
        said: By how many pairs of neighbours.
        before: What was known or supposed before them.
    """
    known = (said * found + before.rounds * before.correlation) / (said + before.rounds)
    return min(max(known, 0.0), MOST_CORRELATED)


def ranks(values: Floats) -> Floats:
    """The rank of each value, from 0; equal values share theirs."""
    ordered = np.sort(values)
    sides = [np.searchsorted(ordered, values, side) for side in ("left", "right")]
    shared: Floats = np.mean(sides, axis=0)
    return shared


def worth(correlation: float) -> float:
    """What a round is worth beside an independent one (Bayley & Hammersley 1946)."""
    bounded = min(max(correlation, 0.0), MOST_CORRELATED)
    return (1.0 - bounded) / (1.0 + bounded)


def independent(count: int, correlation: float) -> float:
    """How many independent rounds say as much as `count` correlated ones."""
    return max(count * worth(correlation), min(count, LEAST_EFFECTIVE))
