"""The points that may be measured next, and what the surrogate expects of them.

Open points count as measured, at what the surrogate expects of them: the kriging believer of
Ginsbourger, Le Riche & Carraro (2010).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from kamerton_ray.search.arrays import Matrix, Vector
from kamerton_ray.search.heights import Heights
from kamerton_ray.search.lattice import Lattice
from kamerton_ray.search.measurements import Measurements
from kamerton_ray.search.points import Point, distinct
from kamerton_ray.search.simplex import every_move
from kamerton_ray.search.surrogate import Surrogate, expected_improvement

TOLERANCE = 0.002
"""Improvements expected to be smaller, as a share of the value, are not sought."""


def most_promising(
    known: Measurements, lattice: Lattice, *, opened: Collection[Point], start: Point | None
) -> Point | None:
    """The candidate to measure next, or None where no improvement is expected.

    Half and double the best point's values come first, whatever is expected of them. Step times
    rise and fall over factors of two, and have ridges that no smooth surrogate foresees. With them
    come the words that no point has had yet, of which a surrogate knows nothing.

    Args:
        known: What was measured.
        lattice: Where the points lie.
        opened: The open points, which are no candidates.
        start: The first of the start points, if there is one.
    """
    ranked = known.leading()
    taken = {*opened}
    words = lattice.words
    untried = words.untried(ranked[0], [*known.values, *taken]) if words else []
    first = _unknown([*lattice.octaves(ranked[0]), *untried], known, lattice, taken)
    others = distinct(
        [
            *every_move(lattice.simplex(ranked), lattice),
            *lattice.strides(ranked[0]),
            *lattice.halvings(ranked[0], start or ranked[0]),
            *words.others(ranked[0]),
        ]
    )
    candidates = first + _unknown(others, known, lattice, taken)
    if not candidates:
        return None
    gain = _expected_gain(known, lattice, opened, candidates)
    if first:
        return first[int(gain[: len(first)].argmax())]
    most = int(gain.argmax())
    return candidates[most] if gain[most] >= TOLERANCE else None


def expected_values(
    known: Measurements, lattice: Lattice, opened: Collection[Point]
) -> list[float]:
    """What the surrogate expects at the open points, within the range of the values known."""
    ranked = known.worked()
    places, heights, noise = _data(known, lattice, ranked)
    expected, _ = Surrogate(places, heights, noise).predict(lattice.features(opened))
    # Of a quarter of the values: the difference of the largest would overflow.
    return [4 * float(value) for value in np.interp(expected, heights, known.of(ranked) / 4)]


def _unknown(
    points: list[Point], known: Measurements, lattice: Lattice, taken: set[Point]
) -> list[Point]:
    unknown = (point for point in points if point not in known.values and point not in taken)
    return list(filter(lattice.allows, unknown))


def _expected_gain(
    known: Measurements, lattice: Lattice, opened: Collection[Point], candidates: list[Point]
) -> Vector:
    """By how much each candidate is expected to be below the best."""
    places, heights, noise = _data(known, lattice, known.leading())
    surrogate = Surrogate(places, heights, noise)
    best = min(surrogate.predict(places)[0].min(), heights.min())
    if waiting := [point for point in opened if point not in known.values]:
        believed = lattice.features(waiting)
        expected, _ = surrogate.predict(believed)
        surrogate = Surrogate(
            np.vstack([places, believed]), np.concatenate([heights, expected]), noise
        )
    return expected_improvement(*surrogate.predict(lattice.features(candidates)), float(best))


def _data(
    known: Measurements, lattice: Lattice, points: list[Point]
) -> tuple[Matrix, Vector, float | None]:
    """What a surrogate is fitted to: the points' places, their heights, and the known noise."""
    values = known.of(points)
    scale = Heights(values)
    return lattice.features(points), scale.of(values), _known_noise(known, scale, points)


def _known_noise(known: Measurements, scale: Heights, points: list[Point]) -> float | None:
    """The usual standard error that was told, as a difference of heights."""
    told = [point for point in points if point in known.noises]
    if not told:
        return None
    slopes = scale.slopes(known.of(told))
    with np.errstate(over="ignore"):
        return float(np.median(slopes * [known.noises[point] for point in told]))
