"""Points around points, and the first of them."""

import pytest

from kamerton_ray import IntegerSpace
from kamerton_ray.search import opening
from kamerton_ray.search.lattice import Lattice
from kamerton_ray.search.points import along, distinct


def lattice(**axes):
    return Lattice(IntegerSpace(axes).axes)


def axis(values):
    return IntegerSpace({"x": values}).axes[0]


def test_along_an_axis_only_its_index_changes():
    assert along((5, 6, 7), 1, [0, 9]) == [(5, 0, 7), (5, 9, 7)]
    assert along((5, 6, 7), 2, []) == []


def test_distinct_items_stand_where_they_come_first():
    assert distinct([3, 1, 3, 2, 1]) == [3, 1, 2]


@pytest.mark.parametrize(
    ("values", "index", "expected"),
    [
        (range(1, 65), 63, [64, 32, 16, 8, 4, 2, 1]),
        (range(1, 65), 11, [12, 6, 3, 1]),
        (range(65), 5, [5, 2, 1, 0]),
        (range(10, 65), 54, [64, 32, 16, 10]),
        (range(-4, 5), 8, [4, 0, -2, -3, -4]),
    ],
)
def test_halvings_end_at_the_lowest_value(values, index, expected):
    found = axis(values)
    assert [found.values[i] for i in found.halvings(index)] == expected


def test_half_and_double_are_the_closest_values():
    tens = axis(range(10, 101, 10))
    assert [tens.values[tens.half(i)] for i in (0, 3, 6)] == [10, 20, 40]
    assert [tens.values[tens.double(i)] for i in (0, 4, 9)] == [20, 100, 100]


def test_zero_is_half_of_the_next_value_which_is_twice_zero():
    tens = axis(range(0, 101, 10))
    assert [tens.half(i) for i in (0, 1, 2)] == [0, 0, 1]
    assert [tens.double(i) for i in (0, 1)] == [1, 2]


def test_neighbours_and_strides_stay_within_the_bounds():
    small = lattice(x=range(1, 9), y=range(2))
    assert small.neighbours((0, 1)) == [(1, 1), (0, 0)]
    assert set(small.strides((2, 0))) == {(i, 0) for i in (0, 1, 3, 4, 6, 7)} | {(2, 0), (2, 1)}


def test_a_leap_goes_twice_as_far_ahead_as_the_last_known_point_is_behind():
    long = lattice(x=range(1000), y=range(9))
    assert long.leaps((100, 3), [(100, 3), (90, 3), (95, 4)]) == [(120, 3)]
    assert long.leaps((100, 3), [(100, 3), (96, 3), (115, 3)]) == [(108, 3)]


def test_a_leap_does_not_go_beyond_a_known_point():
    long = lattice(x=range(1000), y=range(9))
    assert long.leaps((100, 3), [(100, 3), (90, 3), (115, 3)]) == []


# --- the opening ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("short", "index", "end"),
    [(range(1, 9), 7, 0), (range(1, 9), 0, 7), (range(9), 8, 1), (range(3), 2, 0)],
    ids=["low", "high", "0 is no number", "0 is a number"],
)
def test_the_far_end_is_that_of_the_shortest_axis(short, index, end):
    assert opening.far_end(lattice(x=range(1, 65), y=short), (5, index)) == (5, end)


def test_the_first_steps_halve_the_longer_axes():
    counts = lattice(x=range(1, 65), y=range(1, 17), z=range(1, 33))
    assert opening.first_steps(counts, (63, 15, 31)) == [(31, 15, 31), (63, 15, 15)]


def test_a_trade_is_twice_the_low_end_for_half_of_another():
    counts = lattice(x=range(1, 65), y=range(1, 17))
    assert opening.trades(counts, (63, 0)) == [(31, 1)]
    assert opening.trades(counts, (63, 15)) == opening.first_steps(counts, (63, 15))


def test_the_survey_begins_with_the_end_and_the_trades_and_names_each_point_once():
    counts = lattice(x=range(1, 65), y=range(1, 17))
    found = opening.survey(counts, (63, 15))
    assert found[:2] == [(63, 0), (31, 1)]
    assert len(found) == len(set(found))


def test_a_lattice_of_one_point_has_no_end():
    assert opening.far_end(lattice(), ()) == ()
