"""The moves of Lagarias et al. (1998, section 2), and one iteration of them, on triangles."""

import numpy as np
import pytest

from kamerton_ray import IntegerSpace
from kamerton_ray.search import moves
from kamerton_ray.search.lattice import Lattice
from kamerton_ray.search.simplex import every_move, iterated, landed, shrunk

# The centroid of all but the worst vertex is (3, 1).
TRIANGLE = np.array([[1.0, 1.0], [5.0, 1.0], [1.0, 5.0]])
BEST, OTHER, WORST = TRIANGLE
CENTROID = np.array([3.0, 1.0])


def test_the_centroid_is_the_mean_of_the_vertices_it_is_given():
    assert moves.centroid(TRIANGLE[:-1]).tolist() == CENTROID.tolist()


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        (moves.reflect, [5, -3]),
        (moves.expand, [7, -7]),
        (moves.contract_outside, [4, -1]),
        (moves.contract_inside, [2, 3]),
    ],
)
def test_a_move_takes_the_worst_vertex_along_the_line_through_the_centroid(move, expected):
    assert move(CENTROID, WORST).tolist() == expected


@pytest.mark.parametrize(("vertex", "expected"), [(BEST, [1, 1]), (OTHER, [3, 1]), (WORST, [1, 3])])
def test_a_vertex_shrinks_half_the_way_to_the_best(vertex, expected):
    assert moves.shrink(BEST, vertex).tolist() == expected


# --- on the lattice -------------------------------------------------------------------------------

LATTICE = Lattice(
    IntegerSpace({"x": range(101), "y": range(101)}, scale={"x": "linear", "y": "linear"}).axes
)
A, B, C = (40, 40), (60, 40), (40, 60)


def iteration(**values):
    """One iteration from A, B, C with the values 1, 2, 3, given those at other points."""
    named = {"reflected": (60, 20), "expanded": (70, 0), "outside": (55, 30), "inside": (45, 50)}
    known = {A: 1.0, B: 2.0, C: 3.0} | {named[name]: value for name, value in values.items()}
    return iterated([C, A, B], known.__getitem__, LATTICE)


@pytest.mark.parametrize(
    ("values", "simplex"),
    [
        ({"reflected": 1.0}, (A, B, (60, 20))),
        ({"reflected": 1.5}, (A, B, (60, 20))),
        ({"reflected": 0.5, "expanded": 0.4}, (A, B, (70, 0))),
        ({"reflected": 0.5, "expanded": 0.5}, (A, B, (60, 20))),
        ({"reflected": 2.0, "outside": 1.9}, (A, B, (55, 30))),
        ({"reflected": 2.5, "outside": 2.5}, (A, B, (55, 30))),
        ({"reflected": 3.0, "inside": 2.9}, (A, B, (45, 50))),
        ({"reflected": 2.5, "outside": 2.6}, (A, (50, 40), (40, 50))),
        ({"reflected": 3.0, "inside": 3.0}, (A, (50, 40), (40, 50))),
    ],
)
def test_an_iteration_looks_up_the_values_it_needs_and_no_others(values, simplex):
    assert iteration(**values) == simplex


def test_a_step_that_lacks_a_value_is_not_taken():
    with pytest.raises(KeyError):
        iteration(reflected=0.5)


@pytest.mark.parametrize(
    ("place", "point"),
    [
        ([0.096, 0.454], (10, 45)),
        ([0.5, 1.3], (50, 100)),
        ([-0.2, 0.6], (20, 40)),  # the bound makes it a vertex
        ([-0.2, 0.3], (20, 40)),  # the bound puts it in line with the others
    ],
    ids=["rounded", "bound", "vertex", "flat"],
)
def test_a_move_lands_on_the_nearest_point_unless_it_is_void(place, point):
    simplex = [(0, 40), (0, 60), (20, 40)]
    assert landed(simplex, np.array(place), LATTICE) == point


def test_a_simplex_that_cannot_shrink_has_collapsed():
    assert shrunk([(40, 40), (44, 40), (40, 44)], LATTICE) == ((40, 40), (42, 40), (40, 42))
    assert shrunk([(40, 40), (41, 40), (40, 41)], LATTICE) is None
    assert (
        iterated([(0, 0), (1, 0), (0, 1)], {(0, 0): 0, (1, 0): 1, (0, 1): 2}.get, LATTICE) is None
    )


def test_every_vertex_but_the_best_may_make_every_move():
    assert every_move([A, B, C], LATTICE) == [
        *[(20, 60), (0, 70), (30, 55), (50, 45), (50, 40)],
        *[(60, 20), (70, 0), (55, 30), (45, 50), (40, 50)],
    ]
    assert every_move([A, B], LATTICE) == []
