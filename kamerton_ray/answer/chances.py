"""Chances: how likely each configuration of a race is the best, by all that was measured of it.

How fast a configuration is, is that of a smooth surface, plus a roughness of its own, of which no
neighbour tells. A value adds the pace of its turn, which those measured in turn share, and noise.
The noise may be alike from turn to turn, where a process or the machine's pace changes slowly.
How rough, how noisy and how alike it all is has to be told from the same values: each combination
of a few is believed as far as it makes them likely (Rasmussen & Williams 2006, "Gaussian Processes
for Machine Learning", sections 2.7 and 5.2).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kamerton_ray.answer.correlation import MOST_SAID, Likeness
from kamerton_ray.search.arrays import Indices, Matrix, Vector
from kamerton_ray.search.belief import ROUGHNESS_SPREAD, ROUGHNESSES, USUAL_ROUGHNESS
from kamerton_ray.search.surrogate import (
    NOISE_SPREAD,
    USUAL_LENGTH,
    USUAL_NOISE,
    USUAL_SD,
    correlations,
    log_normal,
)

NOISES = np.array([0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28])
"""The standard deviations of a fresh value that are compared."""

ALIKE, ALIKE_PRIOR = (0.0, 0.7), (0.1, 0.9)
"""What a configuration's values in neighbouring turns may correlate by, and how likely that is
before anything is known."""

TRIAL = 1.5
"""A trial's value is so many times as noisy: its default, beside it, is so too."""

DISTURBED, MOST_DISTURBED = 2.7, 0.1
"""A fresh value that is so many standard deviations too slow is left out, and a trial's that is so
far off; at most this share of them."""

DRAWS = 4000
"""So many levels that may be the true ones are drawn: a probability is then known to 0.3 %, and the
looks do not end a race by chance (with 1000, 95.6 instead of 96.6 % chose well)."""


class Value(NamedTuple):
    """What was measured of a configuration, the higher the better.

    Attributes:
        arm: Of which one.
        turn: Those measured in turn share a number: the pace at that time is theirs alone. It is
            `SEARCHED` for a trial of the search.
        level: What was found.
    """

    arm: int
    turn: int
    level: float


SEARCHED = 0
"""The turn of all that the search has measured; its levels have no pace in common with others."""


class Chances:
    """What is believed of some configurations, and of the default behind them.

    Args:
        values: What was measured; the last arm is the default.
        places: Where the configurations lie, a row for each; the default lies nowhere.
    """

    def __init__(self, values: Sequence[Value], places: Matrix) -> None:
        posterior = _posterior(values, _surfaces(places))
        drawn = posterior.drawn()
        self._levels, self._default = drawn[:, :-1], drawn[:, -1]
        self._highest, self._winners = self._levels.max(axis=1), self._levels.argmax(axis=1)
        self.expected: Vector = self._levels.mean(axis=0)
        """The level of each."""
        self.alike = posterior.alike
        """How much a configuration's values in neighbouring turns are alike."""

    def best(self) -> Vector:
        """The probability that each is the best."""
        return self._shares(self._winners)

    def beating(self, row: int, tolerance: float) -> Vector:
        """The probability that each is the best, and faster than one by more than the tolerance."""
        beaten = self._highest > self._levels[:, row] + tolerance
        return self._shares(self._winners[beaten])

    def good(self, tolerance: float) -> Vector:
        """The probability that none is faster than each by more than the tolerance."""
        return np.asarray((self._levels >= self._highest[:, None] - tolerance).mean(axis=0))

    def gains(self, tolerance: float) -> float:
        """The probability that the best beats the default by more than the tolerance."""
        return float((self._highest > self._default + tolerance).mean())

    def _shares(self, winners: Indices) -> Vector:
        """In which share of the draws each is among some winners."""
        return np.bincount(winners, minlength=self._levels.shape[1]) / DRAWS


@dataclass(frozen=True)
class _Posterior:
    """What is believed for each combination that is compared.

    Attributes:
        weights: How likely each is; together 1.
        means: The expected levels, a row for each.
        factors: Their covariance is a factor times itself transposed.
        alike: How much neighbouring turns are alike, by all of them.
    """

    weights: Vector
    means: Matrix
    factors: Vector
    alike: Likeness

    def drawn(self) -> Matrix:
        """Levels that may be the true ones, a row for each draw."""
        places = (np.arange(DRAWS) + 0.5) / DRAWS
        which = np.searchsorted(np.cumsum(self.weights), places).clip(max=len(self.weights) - 1)
        noise = _normal(DRAWS, self.means.shape[1])
        return np.asarray(self.means[which] + np.einsum("dij,dj->di", self.factors[which], noise))


@functools.cache
def _normal(rows: int, columns: int) -> Matrix:
    """Standard normal values, the same at every look: chance is no reason to go on."""
    return np.random.default_rng(0).standard_normal((rows, columns))


def _surfaces(places: Matrix) -> Vector:
    """A factor of the prior covariance of the levels for each roughness, the default's the last."""
    count = len(places)
    covariances = np.zeros((len(ROUGHNESSES), count + 1, count + 1))
    covariances[:, :count, :count] = correlations(places, places, np.array([USUAL_LENGTH]))[0]
    covariances[:, count, count] = 1.0
    covariances *= USUAL_SD**2
    at = np.arange(count + 1)
    covariances[:, at, at] += ROUGHNESSES[:, None] ** 2
    return np.asarray(np.linalg.cholesky(covariances))


def _posterior(values: Sequence[Value], surfaces: Vector) -> _Posterior:
    """What is believed, by the values that nothing has disturbed."""
    left = list(values)
    most = len(values) - max(1, int(MOST_DISTURBED * len(values)))
    while True:
        fit = _Fit(left, surfaces)
        worst = fit.most_disturbed()
        if worst is None or len(left) <= most:
            return fit.posterior()
        del left[worst]


class _Fit:
    """What some values say for each roughness, noise and likeness of turns.

    Args:
        values: What was measured.
        surfaces: A factor of the prior covariance for each roughness.
    """

    def __init__(self, values: Sequence[Value], surfaces: Vector) -> None:
        arms, turns = (np.array([one[place] for one in values]) for place in (0, 1))
        self._levels = np.array([one.level for one in values])
        self._is_trial = turns == SEARCHED
        self._surfaces = surfaces
        self._of_arm = np.eye(surfaces.shape[-1])[arms]
        of_turn = np.eye(turns.max() + 1)[turns]
        self._of_turn = of_turn[:, of_turn.any(axis=0)]
        alone = [self._without_pace(*one) for one in _precisions(arms, turns)]
        self._precisions = np.array([precision for precision, _ in alone])
        self._solve(np.array([log for _, log in alone]))

    def _without_pace(self, precision: Matrix, log: float) -> tuple[Matrix, float]:
        """The precision where nothing is known of the turns' paces, and its log determinant."""
        of_turn = precision @ self._of_turn
        turns = self._of_turn.T @ of_turn
        rest = precision - of_turn @ np.linalg.solve(turns, of_turn.T)
        return rest, log - float(np.linalg.slogdet(turns)[1])

    def _solve(self, known: Vector) -> None:
        """Find the means, the factors and the likelihood; alike, rough, noisy are their axes.

        With the factor of the prior covariance taken out, what is left to solve for has a prior
        covariance of 1.
        """
        variances = NOISES[:, None, None] ** 2
        across = self._surfaces.swapaxes(-1, -2)
        told = self._of_arm.T @ self._precisions @ self._of_arm
        pulls = self._of_arm.T @ self._precisions @ self._levels
        inner = (across @ told[:, None] @ self._surfaces)[:, :, None] / variances
        right = (across @ pulls[:, None, :, None])[:, :, None] / variances
        roots = np.linalg.cholesky(np.eye(inner.shape[-1]) + inner)
        solved = np.linalg.solve(roots, right)
        self._factors = self._surfaces[:, None] @ np.linalg.inv(roots).swapaxes(-1, -2)
        self._means = (self._factors @ solved)[..., 0]
        self._likelihood = self._likelihoods(known, roots, solved[..., 0])

    def _likelihoods(self, known: Vector, roots: Vector, solved: Vector) -> Vector:
        """The logarithm of how likely each combination is, by its prior and the values."""
        square = np.einsum("i,aij,j->a", self._levels, self._precisions, self._levels)
        freedom = len(self._levels) - self._of_turn.shape[1]
        return np.asarray(
            (0.5 * known + np.log(ALIKE_PRIOR))[:, None, None]
            - 0.5 * square[:, None, None] / NOISES**2
            + 0.5 * (solved**2).sum(-1)
            - freedom * np.log(NOISES)
            - np.log(np.diagonal(roots, axis1=-2, axis2=-1)).sum(-1)
            + log_normal(ROUGHNESSES, USUAL_ROUGHNESS, ROUGHNESS_SPREAD)[:, None]
            + log_normal(NOISES, USUAL_NOISE, NOISE_SPREAD)
        )

    def most_disturbed(self) -> int | None:
        """The place of the value that fits the others least, if it is too far from them."""
        alike, rough, noisy = np.unravel_index(self._likelihood.argmax(), self._likelihood.shape)
        precision = self._precisions[alike] / NOISES[noisy] ** 2
        spread = precision @ self._of_arm @ self._factors[alike, rough, noisy]
        precision = precision - spread @ spread.T
        off = precision @ self._levels / np.sqrt(np.maximum(np.diagonal(precision), 1e-12))
        # A disturbance slows a process down; a trial's may also have slowed its default.
        off = np.where(self._is_trial, np.abs(off), -off)
        worst = int(off.argmax())
        return worst if off[worst] > DISTURBED else None

    def posterior(self) -> _Posterior:
        """What they say."""
        weights = np.exp(self._likelihood - self._likelihood.max())
        weights /= weights.sum()
        size = self._means.shape[-1]
        return _Posterior(
            weights.ravel(),
            self._means.reshape(-1, size),
            self._factors.reshape(-1, size, size),
            alike=_likeness(weights.sum(axis=(1, 2))),
        )


def _likeness(weights: Vector) -> Likeness:
    """How much turns are alike, by the values alone: what was believed before is taken out.

    It counts for the more rounds the surer it is that they are, or that they are not.
    """
    said = weights / ALIKE_PRIOR
    said /= said.sum()
    return Likeness(float(said @ ALIKE), MOST_SAID * (2 * float(said.max()) - 1))


def _precisions(arms: Indices, turns: Indices) -> list[tuple[Matrix, float]]:
    """The inverse covariance of the values' noise, where that is 1, for each likeness of turns.

    With each comes the logarithm of its determinant. What a value's noise has in common with others
    is all in the one before it of the same configuration.
    """
    is_trial = turns == SEARCHED
    order = np.lexsort((turns, arms))
    last, this = order[:-1], order[1:]
    follows = (arms[last] == arms[this]) & ~is_trial[last]
    last, this = last[follows], this[follows]
    found = []
    for alike in ALIKE:
        common = alike ** (turns[this] - turns[last])
        rates = np.where(is_trial, TRIAL**-2, 1.0)
        rates[this] = 1 / (1 - common**2)
        precision = np.diag(rates)
        precision[last, last] += common**2 * rates[this]
        precision[last, this] = precision[this, last] = -common * rates[this]
        found.append((precision, float(np.log(rates).sum())))
    return found
