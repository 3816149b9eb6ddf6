"""Where configurations lie beside each other: those with like numbers tell of one another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kamerton_ray.search.arrays import Matrix, Vector
from kamerton_ray.trial.config import Config, flat


def places(configs: Sequence[Config]) -> Matrix:
    """A row for each configuration, with columns for its numbers, their product and its words.

    Numbers lie from 0 to 1 between the lowest and the highest, by their logarithms where all are
    positive. Threads that run at once are a product, of instances and of both pools.
    """
    told = [dict(flat(config)) for config in configs]
    names = sorted({name for one in told for name in one})
    rows = [[one.get(name) for one in told] for name in names]
    numbers = [np.array(row, float) for row in rows if _are_numbers(row)]
    counts = [np.log2(row) for row in numbers if row.min() > 0]
    others = [row for row in numbers if row.min() <= 0]
    words = [column for row in rows if not _are_numbers(row) for column in _words(row)]
    product = [np.sum(counts, axis=0)] if counts else []
    columns = [*map(_from_0_to_1, [*counts, *product, *others]), *words]
    return np.column_stack(columns) if columns else np.zeros((len(configs), 1))


def _are_numbers(row: Sequence[object]) -> bool:
    return all(isinstance(one, int | float) and math.isfinite(one) for one in row)


def _words(row: Sequence[object]) -> list[Vector]:
    """A column for each word but one; none where all say the same."""
    said = [repr(one) for one in row]
    return [np.array([float(one == word) for one in said]) for word in sorted(set(said))[1:]]


def _from_0_to_1(column: Vector) -> Vector:
    span = float(np.ptp(column))
    return np.asarray((column - column.min()) / (span or 1.0))
