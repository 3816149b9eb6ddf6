"""What is known, what is asked for, and who is measured again."""

import math

import pytest

from kamerton_ray import IntegerSpace, InvalidInputError
from kamerton_ray.search.candidates import expected_values, most_promising
from kamerton_ray.search.finalists import (
    contenders,
    fresh_means,
    is_exact,
    recommended,
    undecided,
)
from kamerton_ray.search.lattice import Lattice
from kamerton_ray.search.ledger import Ledger
from kamerton_ray.search.measurements import MOST_AHEAD, LackingError, Measurements

LATTICE = Lattice(IntegerSpace({"x": range(1, 65)}).axes)


def known_of(*values, sem=None):
    """The values of the points (0,), (1,), ... in this order."""
    known = Measurements()
    for index, value in enumerate(values):
        known.learn((index,), value, sem)
    return known


# --- the values -----------------------------------------------------------------------------------


def test_the_best_is_the_lowest_and_of_equals_the_first_told():
    known = known_of(3.0, math.inf, 1.0, 2.0, 1.0)
    assert known.best == (2,)
    assert known.stalled == 2
    assert list(known.ranked()) == [(2,), (4,), (3,), (0,), (1,)]
    assert known.worked() == [(2,), (4,), (3,), (0,)]


def test_of_equals_the_best_comes_first_though_another_has_a_lower_place():
    known = Measurements()
    known.learn((5,), 1.0)
    known.learn((4,), 1.0)
    assert list(known.ranked()) == [(5,), (4,)]


def test_a_first_value_is_taken_in_and_a_second_is_not():
    known = known_of(2.0)
    assert known.learn((1,), 3.0)
    assert not known.learn((1,), 1.0)
    assert known.values == {(0,): 2.0, (1,): 3.0}


def test_a_number_takes_the_place_of_a_failure_as_if_it_were_told_last():
    known = known_of(math.inf, 2.0)
    assert known.learn((0,), 1.0)
    assert list(known.values.items()) == [((1,), 2.0), ((0,), 1.0)]
    assert (known.best, known.stalled) == ((0,), 0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_failed(value):
    known = known_of(value)
    assert known.values == {(0,): math.inf}
    assert known.best is None
    known.learn_again((0,), value)
    assert known.fresh == {(0,): [math.inf]}


def test_what_is_forgotten_is_unknown_in_every_way():
    known = known_of(1.0, 2.0, sem=0.1)
    known.learn_again((0,), 1.5)
    known.forget((0,))
    assert (0,) not in {**known.values, **known.noises, **known.fresh}
    assert known.best == (1,)
    assert known.forgotten == [(0,)]
    with pytest.raises(LackingError):
        known.at((0,))


def test_what_is_lacking_is_named_once_and_then_what_is_likely():
    known = known_of(1.0)
    known.need([(0,)], ahead=[(9,)])
    likely = [(i,) for i in range(100)]
    with pytest.raises(LackingError) as lacking:
        known.need([(7,), (0,), (2,), (7,)], ahead=likely)
    assert lacking.value.points[:3] == [(7,), (2,), (1,)]
    assert set(lacking.value.points) == {(i,) for i in range(1, MOST_AHEAD + 1)}


def test_a_copy_is_told_without_the_original():
    known = known_of(2.0, 3.0)
    known.learn_again((0,), 2.5)
    copied = known.copy()
    copied.learn((7,), 1.0, 0.1)
    copied.learn_again((0,), 2.6)
    copied.forget((1,))
    assert known.values == {(0,): 2.0, (1,): 3.0}
    assert (known.noises, known.fresh, known.forgotten) == ({}, {(0,): [2.5]}, [])
    assert (known.best, known.order) == ((0,), [(0,), (1,)])


# --- the ledger -----------------------------------------------------------------------------------


def test_an_id_is_given_once():
    ledger = Ledger()
    assert [ledger.enter((5,)), ledger.enter((6,))] == [0, 1]
    assert ledger.close(0) == (5,)
    assert [ledger.enter((5,)), ledger.enter((7,))] == [2, 3]
    assert ledger.opened == {1: (6,), 2: (5,), 3: (7,)}
    with pytest.raises(InvalidInputError, match=r"which are \[1, 2, 3\], but got 0"):
        ledger.close(0)


# --- the finalists --------------------------------------------------------------------------------


def test_contenders_are_those_within_two_standard_errors_of_a_difference():
    # 2 * sqrt(2) * 0.1 = 0.283
    assert contenders(known_of(1.0, 1.28, 1.29, sem=0.1), LATTICE) == [(0,), (1,)]
    assert contenders(known_of(1.0, 1.1, 1.2, 1.25, sem=0.1), LATTICE) == [(0,), (1,), (2,)]
    assert contenders(known_of(1.0, 1.29, sem=0.1), LATTICE) == []
    assert contenders(known_of(1.0), LATTICE) == []


def test_there_are_no_contenders_without_noise():
    known = known_of(1.0, 1.1, sem=0.1)
    known.learn_again((0,), 1.0)
    assert is_exact(known)
    assert contenders(known, LATTICE) == []
    known.learn_again((1,), 1.11)
    assert not is_exact(known)
    assert contenders(known, LATTICE) == [(0,), (1,)]


def test_fresh_means_are_there_once_each_finalist_has_a_value():
    known = known_of(1.0, 1.1, 1.2)
    finalists = [(0,), (1,), (2,)]
    for point, value in [((0,), 3.0), ((0,), math.inf), ((0,), 5.0), ((1,), math.inf)]:
        known.learn_again(point, value)
    assert fresh_means(known, finalists) == {}
    assert recommended(known, finalists) == ((0,), 1.0)
    known.learn_again((2,), 6.0)
    assert fresh_means(known, finalists) == {(0,): 4.0, (1,): math.inf, (2,): 6.0}
    assert recommended(known, finalists) == ((0,), 4.0)


def test_finalists_that_all_fail_come_behind_what_has_not():
    known = known_of(1.0, 1.1, 1.2)
    for point in [(0,), (1,)]:
        known.learn_again(point, math.inf)
    assert recommended(known, [(0,), (1,)]) == ((2,), 1.2)
    assert recommended(known_of(math.inf), []) is None


def test_a_finalist_more_than_one_standard_error_behind_has_no_chance_left():
    # sqrt(2) * 0.1 = 0.141
    known = known_of(1.0, 1.1, 1.2, sem=0.1)
    finalists = [(0,), (1,), (2,)]
    assert undecided(known, LATTICE, finalists) == finalists
    for point, value in zip(finalists, [2.0, 2.14, 2.15], strict=True):
        known.learn_again(point, value)
    assert undecided(known, LATTICE, finalists) == [(0,), (1,)]


# --- the candidates -------------------------------------------------------------------------------


def promising(known, *opened):
    return most_promising(known, LATTICE, opened=opened, start=None)


def test_half_and_double_the_best_come_first():
    known = Measurements()
    known.learn((15,), 1.0)  # the value 16
    found = promising(known)
    assert found in {(7,), (31,)}
    assert {found, promising(known, found)} == {(7,), (31,)}
    assert promising(known, (7,), (31,)) not in {None, (7,), (31,)}


def test_nothing_is_promising_where_every_candidate_is_known():
    few = Lattice(IntegerSpace({"x": range(1, 4)}).axes)
    known = known_of(1.0, 2.0, 3.0)
    assert most_promising(known, few, opened=[], start=(2,)) is None


def test_open_points_are_expected_within_what_is_known():
    known = known_of(8.0, 4.0, 2.0, 1.0)
    first, between, beyond = expected_values(known, LATTICE, [(0,), (2,), (63,)])
    assert first > between
    assert all(1.0 <= value <= 8.0 for value in (first, between, beyond))
    assert between == pytest.approx(2.0, rel=0.2)
