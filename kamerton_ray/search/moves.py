"""The moves of Nelder and Mead's simplex, as Lagarias, Reeds, Wright & Wright write them.

J. C. Lagarias, J. A. Reeds, M. H. Wright & P. E. Wright (1998), "Convergence properties of the
Nelder-Mead simplex method in low dimensions", SIAM Journal on Optimization 9:112, section 2. Each
move of theirs is a function here, in their order. The letters are theirs, too: `x_1` is the best
vertex, `x_{n+1}` the worst, and `x` with a bar the centroid of all but the worst.
"""

from __future__ import annotations

from collections.abc import Callable

from kamerton_ray.search.arrays import Matrix, Vector

REFLECT = 1.0
"""Their rho. All four are the usual values, those of Nelder & Mead (1965, p. 309)."""

EXPAND = 2.0
"""Their chi."""

CONTRACT = 0.5
"""Their gamma."""

SHRINK = 0.5
"""Their sigma."""

Move = Callable[[Vector, Vector], Vector]
"""Where the worst vertex goes, from the centroid and the worst vertex."""


def centroid(others: Matrix) -> Vector:
    """The mean of the vertices, a row for each; the worst is not among them."""
    total: Vector = others.sum(axis=0)  # `mean` takes longer, and this is called all the time
    return total / len(others)


def reflect(middle: Vector, worst: Vector) -> Vector:
    """Step 2: through the centroid to as far beyond it."""
    return middle + REFLECT * (middle - worst)


def expand(middle: Vector, worst: Vector) -> Vector:
    """Step 3: twice as far as the reflection."""
    return middle + REFLECT * EXPAND * (middle - worst)


def contract_outside(middle: Vector, worst: Vector) -> Vector:
    """Step 4a: half as far as the reflection."""
    return middle + REFLECT * CONTRACT * (middle - worst)


def contract_inside(middle: Vector, worst: Vector) -> Vector:
    """Step 4b: half the way to the centroid."""
    return middle - CONTRACT * (middle - worst)


def shrink(best: Vector, vertex: Vector) -> Vector:
    """Step 5: half the way to the best vertex."""
    return best + SHRINK * (vertex - best)


MOVES: tuple[Move, ...] = (reflect, expand, contract_outside, contract_inside)
"""What may become of the worst vertex, in their order."""
