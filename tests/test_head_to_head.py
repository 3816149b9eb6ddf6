"""Who wins a head-to-head, by rounds that are drawn at random around a known truth."""

import math

import numpy as np
import pytest

from kamerton_ray.head_to_head import (
    COVERAGE,
    DEFAULT,
    LEAST_FINAL,
    LEAST_RACE,
    MOST_RACE,
    SCREEN_RACE,
    SURE,
    HeadToHead,
    Stage,
    coverages,
    sign_interval,
)


def play(gains, *, threads=None, noise=0.02, seed=0, failing=(), within=0.02):
    """A head-to-head whose arms have these true speed-ups, to its end."""
    rng = np.random.default_rng(seed)
    head = HeadToHead(threads or [2] * len(gains), within=within)
    while asked := head.ask():
        assert asked.count(DEFAULT) == 1
        default = noise * rng.standard_normal()
        head.tell(
            {
                arm: math.nan
                if arm in failing
                else math.log(gains[arm]) + default + noise * rng.standard_normal()
                for arm in asked
                if arm != DEFAULT
            }
        )
    assert head.stage is Stage.DONE
    return head


def test_the_best_is_chosen_and_its_interval_holds_the_truth():
    held = 0
    for seed in range(100):
        head = play([1.05, 1.3, 1.2, 0.9], seed=seed)
        assert head.chosen == 1
        interval = head.interval()
        held += interval.low <= math.log(1.3) <= interval.high
    assert held >= 90


def test_where_nothing_beats_the_default_hardly_any_win_is_claimed():
    wins = sum(play([0.9, 1.0, 0.97], seed=seed).interval().sure >= SURE for seed in range(100))
    assert wins <= 2


def test_a_clear_race_is_short_and_a_close_one_ends():
    assert play([1.0, 2.0]).race_rounds == LEAST_RACE
    assert play([1.03] * 6, noise=0.2).race_rounds <= MOST_RACE


def test_those_far_behind_drop_out_after_two_rounds():
    head = HeadToHead([1] * 5)
    for number in range(SCREEN_RACE):
        assert len(head.ask()) == 6
        rest = 0.01 * (-1) ** number
        head.tell({0: rest, 1: 0.005 - rest, 2: -0.5, 3: -0.2, 4: 0.02})
    assert head.left == [0, 1, 4]


def test_one_disturbed_round_does_not_cost_a_place():
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        head = HeadToHead([1] * 12)
        for number in range(SCREEN_RACE):
            gains = dict(enumerate(0.03 * rng.standard_normal(12)))
            gains[0] += 0.1 - 0.6 * (number == 0)
            head.tell(gains)
        held += 0 in head.left
    assert held >= 90


def test_among_equals_the_fewest_threads_win():
    heads = [play([1.3, 1.3, 1.0], threads=[8, 2, 1], within=0.1, seed=s) for s in range(8)]
    assert {head.chosen for head in heads} == {1}
    assert {head.preferred for head in heads} == {True, False}  # it may lead by itself
    assert not play([1.5, 1.2], threads=[8, 2]).preferred


def test_the_final_takes_rounds_of_its_own():
    head = HeadToHead([2, 2])
    for _ in range(LEAST_RACE):
        head.tell({arm: 9.0 + arm for arm in head.ask() if arm != DEFAULT})
    assert head.stage is Stage.FINAL
    while head.stage is Stage.FINAL:
        assert sorted(head.ask()) == [DEFAULT, 1]
        head.tell({1: 0.5})
    assert head.interval().high == 0.5
    assert head.final_rounds >= LEAST_FINAL


def test_everyone_is_measured_in_every_place():
    head = HeadToHead([1, 1, 1])
    places = {arm: set() for arm in (DEFAULT, 0, 1, 2)}
    rng = np.random.default_rng(0)
    for _ in range(8):
        for place, arm in enumerate(head.ask()):
            places[arm].add(place)
        head.tell({arm: 0.3 * rng.standard_normal() for arm in (0, 1, 2)})
    assert all(where >= {0, 3} for where in places.values())


def test_one_that_fails_drops_out_and_the_next_takes_its_place():
    head = play([1.5, 1.3], failing={0})
    assert head.failed == [0]
    assert head.chosen == 1


def test_the_chosen_one_may_fail_in_the_final():
    head = HeadToHead([1, 1])
    for number in range(LEAST_RACE):
        head.tell({0: 0.5, 1: 0.5 + 0.005 * (-1) ** number})
    assert head.stage is Stage.FINAL
    first = head.chosen
    head.tell({first: 0.5})
    head.tell({first: math.nan})
    assert head.failed == [first]
    assert head.chosen == 1 - first
    assert head.final_rounds == 0


def test_without_any_left_there_is_no_answer():
    head = play([1.5, 1.3], failing={0, 1})
    assert head.interval() is None
    assert head.chosen is None


def test_in_a_hurry_it_ends_early():
    slow, fast = HeadToHead([1, 1]), HeadToHead([1, 1])
    rng = np.random.default_rng(1)
    for head in (slow, fast):
        while asked := head.ask():
            head.tell({arm: 0.2 * rng.standard_normal() for arm in asked if arm != DEFAULT})
            if head is fast:
                head.hurry()
    assert fast.race_rounds == LEAST_RACE
    assert fast.final_rounds == LEAST_FINAL
    assert slow.race_rounds > LEAST_RACE


@pytest.mark.parametrize("count", [6, 9, 12, 20, 40])
def test_the_sign_tests_interval_covers_the_median_whatever_the_noise(count):
    rng = np.random.default_rng(count)
    held = 0
    for _ in range(2000):
        interval = sign_interval(rng.standard_t(2, count) + 3)
        held += interval.low <= 3 <= interval.high
    assert 0.93 <= held / 2000 <= 0.98


def test_the_interval_leaves_out_what_is_outermost():
    interval = sign_interval(list(range(16)))
    assert coverages(16)[4] == pytest.approx(0.9787, abs=1e-4)
    assert coverages(16)[5] == pytest.approx(0.9232, abs=1e-4)
    assert 3 < interval.low < 4
    assert (interval.middle, interval.high) == (7.5, pytest.approx(15 - interval.low))
    one = sign_interval([1.0])
    assert (one.low, one.high, one.sure) == (1.0, 1.0, 0.0)


def test_the_interval_is_interpolated_as_hettmansperger_and_sheather_do():
    # Their equation for n = 16, between the fourth and the fifth ordered value.
    share = (0.97873 - COVERAGE) / (0.97873 - 0.92319)
    between = (16 - 4) * share / (4 + (16 - 2 * 4) * share)
    assert sign_interval(list(range(16))).low == pytest.approx(3 + between, abs=1e-3)


def test_each_of_the_two_in_the_final_is_first_as_often_as_the_other():
    for noise in (0.02, 0.2):
        head, first = HeadToHead([2]), []
        rng = np.random.default_rng(1)
        while asked := head.ask():
            if head.stage is Stage.FINAL:
                first.append(asked[0])
            head.tell({0: noise * rng.standard_normal()})
            if len(first) == 17:
                head.hurry()
        assert first.count(DEFAULT) == first.count(0) == len(first) / 2


def test_a_gain_within_the_tolerance_is_no_win():
    rng = np.random.default_rng(0)
    gains = 0.001 * rng.standard_normal(16)
    assert sign_interval(0.015 + gains, tolerance=0.02).sure < 1 - SURE
    assert sign_interval(0.025 + gains, tolerance=0.02).sure > SURE


def test_neither_two_disturbed_rounds_nor_a_few_below_none_deny_a_clear_win():
    rng = np.random.default_rng(0)
    gains = 0.1 + 0.02 * rng.standard_normal(15)
    assert sign_interval([*gains[:13], -0.6, -0.5]).sure >= SURE
    spread = [*(0.36 + 0.2 * rng.standard_normal(12)), -0.02, -0.01, 0.0]
    assert sign_interval(spread).sure >= SURE
    assert sign_interval([one - 0.36 for one in spread]).sure < SURE
