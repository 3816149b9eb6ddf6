"""Belief: how high the measured points truly lie, where the noise of a measurement is not known.

A height is that of a smooth surface, plus a roughness of each point's own, of which no neighbour
tells. A measurement adds noise. How rough and how noisy it all is has to be told from the same
values; each pair of a few is believed as far as it makes them likely (Rasmussen & Williams 2006,
"Gaussian Processes for Machine Learning", sections 2.2 and 5.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kamerton_ray.search.arrays import Matrix, Vector
from kamerton_ray.search.surrogate import (
    KNOWN_NOISE_SPREAD,
    NOISE_SPREAD,
    USUAL_LENGTH,
    USUAL_NOISE,
    USUAL_SD,
    correlations,
    factored,
    log_normal,
)

ROUGHNESSES = np.array([0.02, 0.05, 0.15, 0.5])
"""The standard deviations of a point's own part that are compared."""

USUAL_ROUGHNESS, ROUGHNESS_SPREAD = 0.05, 0.7
"""Their prior, log-normal: its median, and its spread as a natural logarithm."""

NOISES = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0])
"""The standard deviations of a measurement that are compared, as multiples of what is usual."""

LEVEL_VARIANCE = 4.0
"""The prior variance of the level that all heights share: it is known from the values alone."""

NODES, SHARES = np.polynomial.hermite_e.hermegauss(41)
SHARES /= SHARES.sum()


@dataclass(frozen=True)
class Beliefs:
    """What is believed for each roughness and noise that are compared; a row for each pair.

    Attributes:
        weights: How likely each pair is; together 1.
        means: How high each point is expected to lie.
        covariances: Of these heights.
        noises: The standard deviation of a measurement of each point.
    """

    weights: Vector
    means: Matrix
    covariances: Vector
    noises: Matrix

    def of_first(self, count: int) -> Beliefs:
        """The same of the first so many points alone."""
        of_few = self.means[:, :count], self.covariances[:, :count, :count], self.noises[:, :count]
        return Beliefs(self.weights, *of_few)

    @property
    def expected(self) -> Vector:
        """How high each point is expected to lie."""
        return self.weights @ self.means

    @property
    def noise(self) -> Vector:
        """The standard deviation of a measurement of each point, as is expected."""
        return self.weights @ self.noises

    def knowledge_gradients(self) -> Vector:
        """By how much lower the chosen point is expected to lie if each is measured once more.

        The knowledge gradient for correlated beliefs (Frazier, Powell & Dayanik 2009, INFORMS
        Journal on Computing 21:599), its expectation by Gauss-Hermite quadrature.
        """
        variances = np.diagonal(self.covariances, axis1=1, axis2=2) + self.noises**2
        slopes = self.covariances / np.sqrt(variances)[:, None, :]
        lowest = (self.means[:, :, None, None] + slopes[..., None] * NODES).min(axis=1) @ SHARES
        return np.asarray(self.weights @ (self.means.min(axis=1, keepdims=True) - lowest))


def beliefs(
    places: Matrix, measured: Sequence[int], heights: Vector, errors: Vector | None = None
) -> Beliefs:
    """What is believed of some points.

    Args:
        places: Where they are, a row for each, from 0 to 1 on each axis.
        measured: Which of them each measurement is of.
        heights: What was measured, in logarithmic units.
        errors: The standard deviation of a measurement of each point, where it is known.
    """
    unknown = errors is None
    spread = NOISE_SPREAD if unknown else KNOWN_NOISE_SPREAD
    noises = NOISES[:, None] * (np.full(len(places), USUAL_NOISE) if unknown else errors)
    level = heights.mean()
    rows = np.asarray(measured)
    smooth = USUAL_SD**2 * correlations(places, places, np.array([USUAL_LENGTH]))[0]
    own = ROUGHNESSES[:, None, None] ** 2 * np.eye(len(places))
    prior = smooth + LEVEL_VARIANCE + own
    covariances = prior[:, rows][:, :, rows]
    factors = factored(covariances, noises[:, rows] ** 2, (heights - level)[None])
    solved = np.linalg.solve(factors[..., :-1, :-1], prior[:, None, rows])
    means = level + (factors[..., -1:, :-1] @ solved)[..., 0, :]
    posterior = prior[:, None] - solved.swapaxes(-1, -2) @ solved
    weights = _weights(factors, spread)
    pairs, count = weights.size, len(places)
    return Beliefs(
        weights.ravel(),
        means.reshape(pairs, count),
        posterior.reshape(pairs, count, count),
        np.broadcast_to(noises, means.shape).reshape(pairs, count),
    )


def _weights(factors: Vector, spread: float) -> Vector:
    """How likely each roughness and noise are, by their priors and what was measured."""
    at = np.arange(factors.shape[-1] - 1)
    likelihood = (
        -0.5 * (factors[..., -1, :-1] ** 2).sum(-1)
        - np.log(factors[..., at, at]).sum(-1)
        + log_normal(ROUGHNESSES, USUAL_ROUGHNESS, ROUGHNESS_SPREAD)[:, None]
        + log_normal(NOISES, 1.0, spread)
    )
    weights = np.exp(likelihood - likelihood.max())
    return np.asarray(weights / weights.sum())
