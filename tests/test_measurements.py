"""What is known, what is asked for, and who is measured again."""

import math

import pytest

from kamerton_ray import IntegerSpace, InvalidInputError
from kamerton_ray.search.candidates import expected_values, most_promising
from kamerton_ray.search.finalists import (
    MOST_FINALISTS,
    contenders,
    is_exact,
    recommended,
    worth_repeating,
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


@pytest.mark.parametrize(
    ("far", "first", "little", "more"),
    [(200.0, 100.0, 99.0, 97.9), (-0.5, -1.0, -1.01, -1.03), (1e5 + 100, 1e5, 1e5 - 1, 1e5 - 3)],
    ids=["lower", "higher is better", "a range of a thousandth"],
)
def test_what_noise_may_better_the_best_by_is_no_improvement(far, first, little, more):
    known = known_of(far, first, little)
    assert (known.best, known.stalled) == ((2,), 1)
    known.learn((3,), more)
    assert (known.best, known.stalled) == ((3,), 0)


def test_many_small_steps_are_an_improvement_and_failures_are_not():
    known = known_of(200.0, 100.0, 99.0, 98.5, math.inf)
    assert (known.best, known.stalled) == ((3,), 3)
    known.learn((5,), 97.9)
    assert known.stalled == 0


def test_any_lower_value_is_an_improvement_on_a_failure_and_on_the_only_value():
    known = known_of(math.inf, 1.0)
    assert known.stalled == 0
    known.learn((2,), 1.0 - 1e-9)
    assert (known.best, known.stalled) == ((2,), 0)


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


def again(known, **values):
    """Tell fresh values of points, by name: `p0` is (0,)."""
    for name, fresh in values.items():
        for value in fresh:
            known.learn_again((int(name[1:]),), value)
    return known


def test_contenders_are_the_best_few_that_worked():
    known = known_of(*(1.0 + number for number in range(MOST_FINALISTS + 3)), math.inf)
    assert contenders(known) == [(number,) for number in range(MOST_FINALISTS)]
    assert contenders(known_of(2.0, math.inf, 1.0)) == [(2,), (0,)]
    assert contenders(known_of(1.0, math.inf)) == []


def test_there_are_no_contenders_without_noise():
    known = again(known_of(1.0, 1.1), p0=[1.0])
    assert is_exact(known)
    assert contenders(known) == []
    assert worth_repeating(known, LATTICE, [(0,), (1,)], 9) == []
    again(known, p1=[1.11])
    assert not is_exact(known)
    assert contenders(known) == [(0,), (1,)]


def test_what_may_be_the_best_is_worth_repeating_and_what_cannot_be_is_not():
    finalists = [(0,), (1,), (2,)]
    known = known_of(1.0, 1.02, 3.0, sem=0.03)
    (first,) = worth_repeating(known, LATTICE, finalists, 9)
    assert first in {(0,), (1,)}
    known.learn_again(first, 1.01)
    assert sorted(worth_repeating(known, LATTICE, finalists, 9)) == [(0,), (1,)]
    assert worth_repeating(known_of(1.0, 1.02, 3.0, sem=1e-4), LATTICE, finalists, 9) == []


def test_more_values_of_a_point_make_another_one_worth_less():
    finalists = [(0,), (1,)]
    known = again(known_of(1.0, 1.05, sem=0.05), p0=[1.06])
    assert sorted(worth_repeating(known, LATTICE, finalists, 9)) == finalists
    again(known, p0=[1.0, 1.01, 0.99, 1.0], p1=[1.06, 1.05, 1.04, 1.05])
    assert worth_repeating(known, LATTICE, finalists, 9) == []


def test_a_point_that_was_measured_less_often_tells_more():
    known = again(known_of(1.0, 1.0, sem=0.05), p0=[1.0, 1.0, 1.001])
    assert worth_repeating(known, LATTICE, [(0,), (1,)], 9)[0] == (1,)


def test_what_was_measured_again_often_enough_is_what_the_others_are_held_against():
    finalists = [(0,), (1,), (2,)]
    known = again(known_of(1.0, 1.01, 1.6, sem=0.05), p0=[1.02], p1=[0.99])
    assert set(worth_repeating(known, LATTICE, finalists, 2)) == {(0,), (1,)}
    assert worth_repeating(known, LATTICE, finalists, 1) == []


def test_without_fresh_values_the_lowest_is_recommended():
    assert recommended(known_of(1.2, 1.0, 1.1), LATTICE, [(1,), (2,)]) == ((1,), 1.0)
    assert recommended(known_of(math.inf), LATTICE, []) is None


def test_all_values_decide_and_the_fresh_ones_are_told():
    known = again(known_of(1.0, 1.02, 1.3), p0=[1.2, 1.2], p1=[1.0, 1.04])
    assert recommended(known, LATTICE, [(0,), (1,), (2,)]) == ((1,), 1.02)


def test_one_value_that_something_has_disturbed_does_not_decide():
    known = again(known_of(1.0, 1.06), p0=[1.01, 1.6], p1=[1.05, 1.06])
    point, _ = recommended(known, LATTICE, [(0,), (1,)])
    assert point == (0,)


def test_a_lucky_first_value_is_not_what_the_others_are_held_against():
    known = again(known_of(0.5, 1.0), p0=[1.1, 1.1, 1.1], p1=[1.0, 1.0, 1.0])
    assert recommended(known, LATTICE, [(0,), (1,)])[1] == pytest.approx(1.1)
    again(known, p0=[1.1] * 8)
    assert recommended(known, LATTICE, [(0,), (1,)]) == ((1,), 1.0)


def test_a_finalist_that_failed_each_time_again_comes_behind_what_has_not():
    known = again(known_of(1.0, 1.1, 1.2), p0=[math.inf], p1=[math.inf])
    assert recommended(known, LATTICE, [(0,), (1,)]) == ((2,), 1.2)
    again(known, p1=[1.12])
    assert recommended(known, LATTICE, [(0,), (1,)]) == ((1,), 1.12)
    assert worth_repeating(known, LATTICE, [(0,)], 9) == []


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
