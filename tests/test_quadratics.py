"""200 random convex integer quadratics: is the end point the true minimum, and at what cost?"""

import math

import numpy as np
import pytest

from kamerton_ray import IntegerSpace, NelderMead, StopRule, Suggestion

COUNT = 100  # of each kind
REQUIRED = 0.95


def random_quadratic(rng, *, rotated):
    """The lengths of 2 to 4 axes, a matrix of condition up to 100, and a centre inside."""
    dimension = int(rng.integers(2, 5))
    lengths = [int(n) for n in rng.integers(4, 65, size=dimension)]
    eigenvalues = 10 ** rng.uniform(0, 2, size=dimension)
    axes = (
        np.linalg.qr(rng.normal(size=(dimension, dimension)))[0] if rotated else np.eye(dimension)
    )
    matrix = axes @ np.diag(eigenvalues) @ axes.T
    return lengths, matrix, rng.uniform(0, np.array(lengths) - 1)


def quadratic(matrix, away):
    """The values at offsets from the centre, for each axis one array; their shapes broadcast."""
    dimension = range(len(matrix))
    return sum(matrix[i, j] * away[i] * away[j] for i in dimension for j in dimension)


def true_minimum(lengths, matrix, centre, reached):
    """The lowest value on the lattice.

    Where the value is at most `reached`, the distance from the centre is at most the root of
    `reached` over the smallest eigenvalue: the lattice is looked at as far as that.
    """
    radius = math.sqrt(reached / np.linalg.eigvalsh(matrix)[0]) + 1e-6
    box = np.ogrid[
        tuple(
            slice(max(0, math.ceil(c - radius)), min(n, math.floor(c + radius) + 1))
            for n, c in zip(lengths, centre, strict=True)
        )
    ]
    return quadratic(matrix, [x - c for x, c in zip(box, centre, strict=True)]).min()


def solve(lengths, matrix, centre):
    axes = {f"x{i}": range(n) for i, n in enumerate(lengths)}
    search = NelderMead(IntegerSpace(axes, scale=dict.fromkeys(axes, "linear")))
    while isinstance(trial := search.ask(), Suggestion):
        search.tell(trial.id, float(quadratic(matrix, np.array(trial.point) - centre)))
    return search


@pytest.mark.parametrize("kind", ["separable", "rotated"])
def test_convex_quadratics_end_at_the_true_minimum_by_themselves(kind, capsys):
    rng = np.random.default_rng(10 if kind == "separable" else 20)
    found, measured, shares = [], [], []
    for _ in range(COUNT):
        case = random_quadratic(rng, rotated=kind == "rotated")
        search = solve(*case)
        assert search.stopped_by in {StopRule.CONVERGED, StopRule.EXHAUSTED}
        lowest = true_minimum(*case, search.best.value)
        found.append(search.best.value <= lowest * (1 + 1e-9))
        measured.append(search.measured)
        shares.append(search.measured / search.space.size)
    with capsys.disabled():
        print(
            f"\n{kind}: {sum(found)} of {COUNT} end at the true minimum; measured points: "
            f"median {np.median(measured):.0f}, most {max(measured)}; share of the lattice: "
            f"median {np.median(shares):.3%}, most {max(shares):.1%}"
        )
    assert np.mean(found) >= REQUIRED
