"""Surrogate: a Gaussian process through the measured points, to rank candidates by."""

from __future__ import annotations

import math

import numpy as np

from kamerton_ray.search.arrays import Matrix, Vector

LENGTHS = np.array([0.15, 0.3, 0.6, 1.2])
"""The length scales that are compared, as shares of an axis."""

NOISES = np.array([1e-5, 1e-3, 1e-2, 1e-1])
"""The shares of noise in the variance that are compared."""

ALONE = 0.5
"""The share of the variance from the axes one by one; the rest comes from all together."""

USUAL_SD = 0.5
"""The prior's standard deviation of the values (logarithms), worth `WEIGHT` measurements."""

WEIGHT = 2.0

USUAL_LENGTH, LENGTH_SPREAD = 0.6, 0.8
"""The prior of the length scale, log-normal: its median, and its spread as a natural logarithm."""

USUAL_NOISE, NOISE_SPREAD = 0.02, 1.2
"""The prior of a measurement's standard deviation, likewise."""

KNOWN_NOISE_SPREAD = 0.3
"""The spread where the standard deviation was told."""

LEAST_NOISE, MOST_NOISE = 1e-6, 1e6
"""Between these a told standard deviation is taken seriously."""

ENORMOUS = 1e14
"""Keeps the bordered matrix positive definite; it does not enter what is read off it."""


class Surrogate:
    """A Gaussian process (Rasmussen & Williams 2006, "Gaussian Processes for Machine Learning").

    The kernel is the sum of one Matérn-5/2 on each axis and their product, so that what an axis
    does by itself is learnt from few points (Duvenaud, Nickisch & Rasmussen 2011, "Additive
    Gaussian processes"). Its length scale and share of noise are the likeliest of a small grid, its
    mean and variance follow from them (Rasmussen & Williams, section 2.7 and equation 5.8).

    Args:
        places: Where was measured, a row for each measurement, from 0 to 1 on each axis.
        heights: What was measured, in logarithmic units.
        noise: The standard deviation of a measurement where it is known.

    Attributes:
        noise: The standard deviation of a measurement, as estimated.
    """

    def __init__(self, places: Matrix, heights: Vector, noise: float | None = None) -> None:
        count = len(heights)
        at = np.arange(count)
        kernels = correlations(places, places, LENGTHS)
        factors = factored(kernels, NOISES[:, None], np.array([np.ones(count), heights]))
        ones, solved = factors[..., count, :count], factors[..., count + 1, :count]
        weight = (ones * ones).sum(-1)
        mean = (ones * solved).sum(-1) / weight
        misfit = ((solved - mean[..., None] * ones) ** 2).sum(-1)
        freedom = count - 1 + WEIGHT
        variance = (misfit + WEIGHT * USUAL_SD**2) / freedom
        noises = np.sqrt(NOISES * variance)
        likelihood = (
            -0.5 * freedom * np.log(variance)
            - np.log(factors[..., at, at]).sum(-1)
            - 0.5 * np.log(weight)
            + log_normal(LENGTHS, USUAL_LENGTH, LENGTH_SPREAD)[:, None]
            + log_normal(noises, *noise_prior(noise))
        )
        best = np.unravel_index(np.argmax(likelihood), likelihood.shape)
        self.noise = float(noises[best])
        self._places = places
        self._lengths = LENGTHS[best[0] : best[0] + 1]
        self._factor = factors[best][:count, :count]
        self._ones, self._weight = ones[best], weight[best]
        self._mean, self._variance = mean[best], variance[best]
        self._residual = solved[best] - self._mean * self._ones

    def predict(self, places: Matrix) -> tuple[Vector, Vector]:
        """The mean and the standard deviation at some places, without the noise."""
        solved = np.linalg.solve(self._factor, correlations(self._places, places, self._lengths)[0])
        mean = self._mean + self._residual @ solved
        unknown_mean = (1.0 - self._ones @ solved) ** 2 / self._weight
        left = 1.0 - (solved * solved).sum(0) + unknown_mean
        return mean, np.sqrt(self._variance * np.maximum(left, 1e-12))


def expected_improvement(mean: Vector, sd: Vector, best: float) -> Vector:
    """By how much each place is expected to be below `best` (Jones, Schonlau & Welch 1998)."""
    z = (best - mean) / sd
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    share = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in z])
    improvement: Vector = sd * (z * share + density)
    return improvement


def factored(covariances: Vector, variances: Matrix, rows: Matrix) -> Vector:
    """Cholesky's factors of some covariances, with each of some noises, bordered by some rows.

    Their last rows hold what forward substitution makes of these: one call solves a whole grid.

    Args:
        covariances: Of the measurements, without the noise.
        variances: The noise's; a row for each noise, a column for each measurement, or one for all.
        rows: A column for each measurement.
    """
    size, count = len(rows), covariances.shape[-1]
    at, border = np.arange(count), np.arange(count, count + size)
    bordered = np.zeros((len(covariances), len(variances), count + size, count + size))
    bordered[..., :count, :count] = covariances[:, None]
    bordered[..., at, at] += variances
    bordered[..., count:, :count] = rows
    bordered[..., border, border] = ENORMOUS
    return np.asarray(np.linalg.cholesky(bordered))


def correlations(one: Matrix, other: Matrix, lengths: Vector) -> Vector:
    """The correlations of two lists of places, for each length scale."""
    apart = np.abs(one[:, None, :] - other[None, :, :])
    scaled = math.sqrt(5) * apart[None] / lengths[:, None, None, None]
    matern = (1 + scaled + scaled * scaled / 3) * np.exp(-scaled)
    return np.asarray(ALONE * matern.mean(-1) + (1 - ALONE) * matern.prod(-1))


def log_normal(values: Vector, usual: float, spread: float) -> Vector:
    """The logarithm of a log-normal density, but for what is the same for all values."""
    return -0.5 * (np.log(values / usual) / spread) ** 2


def noise_prior(noise: float | None) -> tuple[float, float]:
    """The prior of a measurement's standard deviation: the median, and the logarithm's spread."""
    if noise is None:
        return USUAL_NOISE, NOISE_SPREAD
    return min(max(noise, LEAST_NOISE), MOST_NOISE), KNOWN_NOISE_SPREAD
