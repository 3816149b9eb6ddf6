"""Heights: the scale on which measured values are compared."""

from __future__ import annotations

import math

import numpy as np

from kamerton_ray.search.arrays import Vector

LARGEST = float(np.finfo(float).max)


class Heights:
    """A scale on which equal ratios are equal distances.

    The height of a value is its logarithm where all have one sign. Where the signs are mixed it is
    log(1 + x): x says how far the value lies above the lowest, in multiples of the usual distance.

    Args:
        values: The values it is made for; infinite where a point failed.
        least: The logarithm does not stretch what lies within so much of zero.
    """

    def __init__(self, values: Vector, *, least: float = 0.0) -> None:
        self._least = least
        self._floor = math.log(least) if least else -math.inf
        worked = values[np.isfinite(values)]
        self._lowest = float(worked.min()) if len(worked) else 0.0
        self._highest = float(worked.max()) if len(worked) else 0.0
        self._sign = float(np.sign(self._lowest)) if self._lowest > 0 or self._highest < 0 else 0.0
        self._usual = 1.0
        if not self._sign and len(worked):
            excess = self._excess(worked)
            self._usual = float(np.median(excess)) or float(excess.max()) or 1.0

    def of(self, values: Vector) -> Vector:
        """The heights of some values; beyond an end of the scale, the end's."""
        inside = np.clip(values, self._lowest, self._highest)
        if self._sign:
            return np.asarray(self._sign * np.logaddexp(np.log(np.abs(inside)), self._floor))
        with np.errstate(over="ignore"):
            return np.asarray(np.log1p(np.minimum(self._excess(inside) / self._usual, LARGEST)))

    def slopes(self, values: Vector) -> Vector:
        """By how much the height changes with each value."""
        inside = np.clip(values, self._lowest, self._highest)
        with np.errstate(over="ignore"):
            if self._sign:
                return np.asarray(1 / (np.abs(inside) + self._least))
            return np.asarray(0.25 / (self._usual + self._excess(inside)))

    def _excess(self, values: Vector) -> Vector:
        """How far above the lowest, as a quarter: the whole of the largest would overflow."""
        return np.asarray(values / 4 - self._lowest / 4)
