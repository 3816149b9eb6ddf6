"""Estimates that outliers do not move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def hodges_lehmann(values: Sequence[float] | Floats) -> float:
    """The middle that the interval is around: the median of the means of any two values."""
    return float(np.median(walsh_means(values)))


def walsh_means(values: Sequence[float] | Floats) -> Floats:
    """The means of any two values and of each by itself, in order (Walsh 1949)."""
    found = np.asarray(values, float)
    one, other = np.triu_indices(len(found))
    means: Floats = np.sort((found[one] + found[other]) / 2)
    return means
