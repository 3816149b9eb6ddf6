"""Who wins a head-to-head, by rounds that are drawn at random around a known truth."""

import itertools
import math

import numpy as np
import pytest
from correlated import alike

from kamerton_ray.answer.correlation import Likeness, correlation, independent
from kamerton_ray.answer.final import (
    LEAST_FINAL,
    LEAST_RANKED,
    MOST_FINAL,
    ORDERS,
    Final,
    FinalEnd,
)
from kamerton_ray.answer.head_to_head import HeadToHead, Stage
from kamerton_ray.answer.race import DEFAULT, HURRIED, LEAST_RACE, MOST_RACE, Entrant
from kamerton_ray.answer.signed_rank import signed_rank_interval, signed_rank_tails
from kamerton_ray.answer.two_groups import two_groups
from kamerton_ray.answer.widening import widening
from kamerton_ray.trial.estimate import hodges_lehmann, walsh_means


def head_of(*threads, within=0.02):
    """A head-to-head of configurations that start so many threads."""
    return HeadToHead([Entrant(count) for count in threads], within=within)


def play(gains, *, threads=None, noise=0.02, seed=0, failing=(), within=0.02):
    """A head-to-head whose arms have these true speed-ups, to its end."""
    rng = np.random.default_rng(seed)
    head = head_of(*(threads or [2] * len(gains)), within=within)
    true = {DEFAULT: 0.0, **{arm: math.log(gain) for arm, gain in enumerate(gains)}}
    true.update(dict.fromkeys(failing, math.nan))
    while asked := head.ask():
        head.tell({arm: true[arm] + noise * rng.standard_normal() for arm in asked})
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
    least = math.log(1.02)
    wins = sum(play([0.9, 1.0, 0.97], seed=seed).interval().low > least for seed in range(100))
    assert wins <= 2


def test_a_clear_race_is_short_and_a_close_one_ends():
    assert play([1.0, 2.0]).race_rounds <= 5
    assert play([1.03] * 6, noise=0.2).race_rounds <= MOST_RACE


def test_those_far_behind_drop_out_after_two_rounds():
    head = head_of(*[1] * 5)
    assert len(head.ask()) == 6
    for number in range(HURRIED):
        rest = 0.01 * (-1) ** number
        found = {DEFAULT: 0.0, 0: rest, 1: 0.005 - rest, 2: -0.5, 3: -0.2, 4: 0.02}
        head.tell({arm: found[arm] for arm in head.ask()})
    assert head.left == [0, 1, 4]
    assert set(head.ask()) <= {DEFAULT, 0, 1, 4}


def test_one_disturbed_round_does_not_cost_a_place():
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        head = head_of(*[1] * 12)
        for number in range(HURRIED):
            gains = dict(enumerate(0.03 * rng.standard_normal(12)))
            gains[0] += 0.1 - 0.6 * (number == 0)
            head.tell({DEFAULT: 0.0, **gains})
        held += 0 in head.left
    assert held >= 90


def test_among_equals_the_fewest_threads_win():
    heads = [
        play([1.3, 1.3, 1.0], threads=[8, 2, 1], noise=0.005, within=0.1, seed=s) for s in range(8)
    ]
    assert {head.chosen for head in heads} == {1}
    assert {head.preferred for head in heads} == {True, False}  # it may lead by itself
    assert not play([1.5, 1.2], threads=[8, 2]).preferred


def test_the_final_takes_rounds_of_its_own():
    head = head_of(2, 2)
    while head.stage is Stage.RACE:
        head.tell({arm: (1 + arm) * 9.0 for arm in head.ask()})
    assert head.stage is Stage.FINAL
    while head.stage is Stage.FINAL:
        assert sorted(head.ask()) == [DEFAULT, 1]
        head.tell({DEFAULT: 0.0, 1: 0.5})
    assert head.interval().high == 0.5
    assert head.final_rounds >= LEAST_FINAL


def test_everyone_is_measured_in_every_place():
    head = head_of(1, 1, 1)
    places = {arm: set() for arm in (DEFAULT, 0, 1, 2)}
    for number in range(9):
        for place, arm in enumerate(head.ask()):
            places[arm].add(place)
        head.tell({DEFAULT: 0.0, **{arm: 0.3 * ((number + arm) % 3 - 1) for arm in (0, 1, 2)}})
    assert all(where >= {0, 3} for where in places.values())


def test_one_that_fails_drops_out_and_the_next_takes_its_place():
    head = play([1.5, 1.3], failing={0})
    assert head.failed == [0]
    assert head.chosen == 1


def test_the_chosen_one_may_fail_in_the_final():
    head = head_of(1, 1)
    for number in range(MOST_RACE):
        if head.stage is Stage.RACE:
            head.tell({DEFAULT: 0.0, 0: 0.5, 1: 0.5 + 0.0005 * (-1) ** number})
    assert head.stage is Stage.FINAL
    first = head.chosen
    head.tell({DEFAULT: 0.0, first: 0.5})
    head.tell({DEFAULT: 0.0, first: math.nan})
    assert head.failed == [first]
    assert head.chosen == 1 - first
    assert head.final_rounds == 0


def test_where_the_only_one_left_fails_the_others_are_in_the_race_again():
    head = head_of(1, 1)
    while head.stage is Stage.RACE:
        head.tell({arm: {DEFAULT: 0.0, 0: 0.5, 1: 0.2}[arm] for arm in head.ask()})
    assert (head.chosen, head.left) == (0, [0])
    head.tell({DEFAULT: 0.0, 0: math.nan})
    assert head.stage is not Stage.DONE
    assert head.chosen == 1


def test_without_any_left_there_is_no_answer():
    head = play([1.5, 1.3], failing={0, 1})
    assert head.interval() is None
    assert head.chosen is None


def test_in_a_hurry_the_race_ends_as_it_stands_and_in_the_end_all():
    slow, fast = head_of(1, 1), head_of(1, 1)
    rng = np.random.default_rng(1)
    for head in (slow, fast):
        while asked := head.ask():
            head.tell({arm: 0.15 * rng.standard_normal() for arm in asked})
            if head is fast:
                head.hurry()
                if head.final_rounds == 2:
                    head.stop()
    assert fast.race_rounds == HURRIED < slow.race_rounds
    assert fast.ended is FinalEnd.STOPPED
    assert fast.interval().low < 0 < fast.interval().high
    assert slow.ended is FinalEnd.PRECISE


def test_a_race_that_is_stopped_has_no_answer():
    head = head_of(1, 1)
    head.tell({DEFAULT: 0.0, 0: 0.1, 1: 0.1})
    head.stop()
    assert head.stage is Stage.DONE
    assert head.interval() is None


def test_one_alone_needs_no_race():
    head = play([1.3])
    assert head.race_rounds == 0
    assert head.chosen == 0


@pytest.mark.parametrize("count", [6, 9, 12, 20, 40])
def test_the_interval_covers_the_middle_of_any_symmetric_noise(count):
    rng = np.random.default_rng(count)
    held = 0
    for _ in range(2000):
        interval = signed_rank_interval(rng.standard_t(2, count) + 3)
        held += interval.low <= 3 <= interval.high
    assert 0.925 <= held / 2000 <= 0.965


def test_the_interval_is_that_of_hollander_and_wolfe():
    # Their examples 3.3 and 3.4, Hamilton's depression scale: the estimate is -0.46, and the 6th
    # and the 40th of the 45 means are the interval for 1 - alpha = 0.961.
    change = [-0.952, 0.147, -1.022, -0.430, -0.620, -0.590, -0.490, 0.080, -0.010]
    assert hodges_lehmann(change) == pytest.approx(-0.46)
    assert 1 - 2 * signed_rank_tails(9)[5] == pytest.approx(0.961, abs=1e-3)
    assert walsh_means(change)[[5, 39]] == pytest.approx([-0.786, -0.010])
    # The next pair covers 0.945, which is nearer to what is wanted.
    interval = signed_rank_interval(change)
    assert interval.middle == pytest.approx(-0.46)
    assert interval.low == walsh_means(change)[6]


def test_the_interval_of_few_values_goes_from_one_end_to_the_other():
    one = signed_rank_interval([1.0])
    assert (one.middle, one.low, one.high) == (1.0, 1.0, 1.0)
    four = signed_rank_interval([1.0, 2.0, 3.0, 5.0])
    assert (four.low, four.high) == (1.0, 5.0)


@pytest.mark.parametrize("by", [0.0, 0.3, 0.6])
def test_the_interval_of_a_final_holds_the_truth_though_neighbouring_rounds_are_alike(by):
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(600):
        final = Final(0.5)
        for gain in alike(rng, (MOST_FINAL,), by):
            if not final.ended:
                final.tell(gain)
        interval = final.interval()
        held += interval.low <= 0 <= interval.high
    assert 0.92 <= held / 600 <= 0.98


def test_the_correlation_of_neighbours_is_found_without_bias_and_despite_outliers():
    rng = np.random.default_rng(0)
    for by in (0.0, 0.3, 0.6):
        rounds = alike(rng, (20, 2000), by).T
        found = np.mean([correlation(one) for one in rounds])
        assert found == pytest.approx(by, abs=0.07)
        rounds[rng.random(rounds.shape) < 0.02] += 20
        found = np.mean([correlation(one) for one in rounds])
        assert found == pytest.approx(by, abs=0.12)
    assert correlation(np.ones(16)) == 0.0
    assert correlation(np.array([1.0, 2.0, 3.0])) == 0.0


def test_correlated_rounds_are_worth_fewer_and_never_narrow_the_interval():
    assert independent(40, 0.6) == pytest.approx(10)
    assert widening(40, 0.6) > math.sqrt(4)
    assert widening(40, 0.0) == widening(40, -0.5) == widening(1, 0.9) == 1.0


def a_final(gains, *, tolerance=0.02):
    """A final that is told these gains until it ends."""
    final = Final(tolerance)
    for gain in gains:
        if not final.ended:
            final.tell(gain)
    return final


def test_the_race_says_for_the_interval_how_much_rounds_are_alike():
    """Eight rounds say little of it: by themselves they mislead in either direction."""
    gains = 0.1 + 0.02 * np.random.default_rng(4).standard_normal(LEAST_FINAL)
    widths = []
    for by in (0.0, 0.6):
        final = Final(0.02, raced=Likeness(by, 20))
        for gain in gains:
            final.tell(gain)
        final.stop()
        assert abs(final.correlation - by) < 0.2
        widths.append(final.interval().high - final.interval().low)
    alone = a_final(gains).interval()
    assert widths[0] <= alone.high - alone.low < widths[1]


@pytest.mark.parametrize("count", [LEAST_RANKED, LEAST_FINAL - 1, LEAST_FINAL + 1])
def test_a_final_that_is_stopped_before_a_look_knows_that_rounds_are_alike(count):
    final = Final(0.02, raced=Likeness(0.7, 20))
    for number in range(count):
        final.tell(0.1 + 0.02 * (-1) ** number)
    final.stop()
    assert final.ended is FinalEnd.STOPPED
    told, plain = final.interval(), signed_rank_interval(final.gains)
    assert told.high - told.low > 1.2 * (plain.high - plain.low)


@pytest.mark.parametrize("gain", [-0.3, 0.3, 0.7])
def test_a_final_ends_as_soon_as_it_is_decided(gain):
    rng = np.random.default_rng(2)
    final = a_final(gain + 0.03 * rng.standard_normal(MOST_FINAL))
    assert final.ended in {FinalEnd.DECIDED, FinalEnd.PRECISE}
    assert len(final.gains) <= LEAST_FINAL + ORDERS


@pytest.mark.parametrize("by", [0.0, 0.6])
def test_a_final_ends_sooner_after_a_race_whose_rounds_were_not_alike(by):
    """Of the rounds themselves, few may hide how alike they are."""
    sooner, later = [], []
    for seed in range(40):
        levels = 0.08 * alike(np.random.default_rng(seed), (200, 3), by) + [1.0, 1.0, 0.0]
        rounds = iter(levels)
        head = head_of(2, 2)
        while asked := head.ask():
            row = next(rounds)
            head.tell({arm: row[arm] for arm in asked})
        if head.race_rounds >= 10:
            sooner.append(head.final_rounds)
            used = levels[head.race_rounds :]
            later.append(len(a_final(used[:, head.chosen] - used[:, DEFAULT]).gains))
    assert len(sooner) >= 10
    if by:
        assert np.mean(sooner) > 0.9 * np.mean(later)
    else:
        assert np.mean(sooner) < 0.9 * np.mean(later)


def test_a_win_has_to_be_known_well_before_a_final_ends():
    """A gain of 0.5 that may as well be 0.1 is sure to be one, and says little."""
    rng = np.random.default_rng(1)
    final = a_final(0.5 + 0.35 * rng.standard_normal(MOST_FINAL))
    found = final.interval()
    assert final.ended is FinalEnd.DECIDED
    assert found.low > found.middle / 2


def test_what_is_close_to_the_tolerance_takes_all_the_rounds():
    rng = np.random.default_rng(1)
    final = a_final(0.02 + 0.2 * rng.standard_normal(MOST_FINAL))
    assert final.ended is FinalEnd.PRECISE
    assert len(final.gains) == MOST_FINAL


def test_a_final_that_is_looked_at_again_and_again_claims_hardly_any_win_that_is_none():
    rng = np.random.default_rng(4)
    noise = 0.1 * rng.standard_normal((400, MOST_FINAL))
    found = [a_final(row).interval() for row in noise]
    assert np.mean([one.low > 0.02 for one in found]) <= 0.01
    assert np.mean([one.low <= 0 <= one.high for one in found]) >= 0.93


def test_where_rounds_are_alike_a_final_takes_more():
    rng = np.random.default_rng(3)
    plain, correlated = (
        [len(a_final(0.1 + 0.05 * alike(rng, (MOST_FINAL,), by)).gains) for _ in range(50)]
        for by in (0.0, 0.8)
    )
    assert np.mean(correlated) > 1.5 * np.mean(plain)


@pytest.mark.parametrize("count", range(2, LEAST_FINAL))
def test_the_interval_of_a_final_that_is_stopped_early_holds_the_truth(count):
    rng = np.random.default_rng(count)
    held = 0
    for gains in 0.1 * rng.standard_normal((400, count)):
        final = a_final(gains)
        final.stop()
        assert final.ended is FinalEnd.STOPPED
        found = final.interval()
        held += found.low <= 0 <= found.high
    assert held / 400 >= 0.93


def test_a_single_round_says_nothing():
    final = a_final([0.5])
    final.stop()
    assert final.ended is None


def test_rounds_in_two_groups_are_told_from_those_with_outliers():
    rng = np.random.default_rng(0)
    slow, fast = -0.02 + 0.01 * rng.standard_normal(5), 0.2 + 0.01 * rng.standard_normal(11)
    upper, lower = two_groups([*slow, *fast])
    assert (upper, lower) == (list(range(5, 16)), list(range(5)))
    assert two_groups([*slow, *fast], least=0.5) is None
    assert two_groups([*fast, -0.6, -0.7]) is None  # two outliers
    assert two_groups([0.0] * 16) is None
    assert two_groups([1.0, 2.0]) is None


@pytest.mark.parametrize("count", [16, 20, 40, 60])
def test_chance_rarely_makes_two_groups(count):
    rng = np.random.default_rng(count)
    shape = (1000, count)
    slow, slower = (np.log(rng.uniform(1.3, 2, shape)) * (rng.random(shape) < 0.02) for _ in "ab")
    noises = [
        rng.standard_normal(shape),
        rng.standard_t(2, shape),
        0.02 * rng.standard_normal(shape) + slow - slower,
    ]
    for noise in noises:
        assert np.mean([two_groups(one) is not None for one in noise]) <= 0.01


def raced(gains, seed, *, noise, by):
    """A head-to-head of such gains whose neighbouring rounds are alike."""
    rng = np.random.default_rng(seed)
    gains = rng.permutation(gains) if isinstance(gains, list) else gains(rng)
    levels = noise * alike(rng, (200, len(gains) + 1), by) + [*gains, 0.0]
    head = head_of(*rng.integers(1, 9, len(gains)))
    for row in levels:
        if head.stage is Stage.RACE:
            head.tell({arm: row[arm] for arm in head.ask()})  # the default's is the last
    return head, gains


@pytest.mark.parametrize(("by", "noise"), [(0.0, 0.02), (0.6, 0.02), (0.0, 0.08)])
def test_the_race_chooses_well_as_often_as_it_promises(by, noise):
    good = []
    for seed in range(60):
        head, gains = raced(lambda rng: rng.normal(0.1, 0.05, 6), seed, noise=noise, by=by)
        good.append(gains[head.chosen] > gains.max() - math.log(1.02) or head.undecided)
    assert np.mean(good) >= 0.95


def test_where_all_but_the_best_are_just_beyond_the_tolerance_it_chooses_well_too():
    good = []
    for seed in range(100):
        head, gains = raced([0.1, *[0.075] * 5], seed, noise=0.02, by=0.0)
        good.append(gains[head.chosen] == 0.1 or head.undecided)
    assert np.mean(good) >= 0.95


def test_a_race_that_is_cut_short_is_undecided():
    assert play([1.03] * 6, noise=0.4, seed=1).undecided  # some seeds are decided, rightly
    assert not play([1.0, 2.0]).undecided
    head = head_of(1, 1)
    for number in range(HURRIED):
        head.tell({DEFAULT: 0.0, 0: 0.2 * (-1) ** number, 1: 0.1})
    head.hurry()
    assert head.undecided


def test_the_effort_goes_to_those_that_are_close():
    measured = np.zeros(8)
    for seed in range(20):
        rng, head = np.random.default_rng(seed), head_of(*[1] * 8)
        while head.stage is Stage.RACE:
            arms = [arm for arm in head.ask() if arm != DEFAULT]
            measured[arms] += 1
            found = {arm: 0.3 - 0.03 * arm + 0.06 * rng.standard_normal() for arm in arms}
            head.tell({DEFAULT: 0.0, **found})
        assert set(head.left) < set(range(8))
    assert measured[:2].min() > 2 * measured[5:].max()


def test_while_a_gain_is_likely_the_default_takes_no_part():
    for seed, (gain, takes_part) in itertools.product(range(5), ((0.3, False), (-0.03, True))):
        rng, head = np.random.default_rng(seed), head_of(1, 1)
        for number in range(2 * LEAST_RACE):
            assert (DEFAULT in head.ask()) == (takes_part or number < LEAST_RACE)
            levels = {DEFAULT: 0.0, 0: gain, 1: gain - 0.01}
            head.tell({arm: levels[arm] + 0.04 * rng.standard_normal() for arm in head.ask()})


def test_the_default_takes_part_again_where_a_gain_seems_likely_no_more():
    returned = 0
    for seed in range(4):
        rng, head, parts = np.random.default_rng(seed), head_of(1, 1, 1), []
        while head.stage is Stage.RACE:
            parts.append(DEFAULT in head.ask())
            head.tell({arm: 0.1 * rng.standard_normal() for arm in head.ask()})
        returned += any(not one and two for one, two in itertools.pairwise(parts))
    assert returned


def test_those_that_the_search_has_found_far_behind_are_not_measured():
    searched = [0.5, 0.48, 0.1, 0.1, 0.1]
    head = HeadToHead([Entrant(1, searched=[one]) for one in searched])
    assert sorted(head.ask()) == [DEFAULT, 0, 1]
    assert len(head_of(*[1] * 5).ask()) == 6  # without a search all may be good


def test_one_as_good_as_the_leader_is_left_alone_and_one_that_may_be_better_is_measured():
    noise = 0.04 * np.random.default_rng(0).standard_normal((3, 100))
    as_good, unknown = [Entrant(1, searched=0.3 + some) for some in noise], [0.28, 0.32]
    head = HeadToHead([*as_good, Entrant(1, searched=unknown)])
    for _ in range(LEAST_RACE):
        assert 3 in head.ask()
        levels = {DEFAULT: 0.0, 0: 0.3, 1: 0.3, 2: 0.3, 3: 0.3 + 0.05 * (-1) ** head.race_rounds}
        head.tell({arm: levels[arm] for arm in head.ask()})


def test_each_of_the_two_in_the_final_is_first_as_often_as_the_other():
    for noise in (0.02, 0.2):
        head, first = head_of(2), []
        rng = np.random.default_rng(1)
        while asked := head.ask():
            if head.stage is Stage.FINAL:
                first.append(asked[0])
            head.tell({DEFAULT: 0.0, 0: noise * rng.standard_normal()})
        assert first.count(DEFAULT) == first.count(0) == len(first) / 2


def test_a_gain_within_the_tolerance_is_no_win():
    rng = np.random.default_rng(0)
    gains = 0.001 * rng.standard_normal(16)
    assert signed_rank_interval(0.015 + gains).low < 0.02 < signed_rank_interval(0.025 + gains).low


def test_two_disturbed_rounds_do_not_deny_a_clear_win():
    rng = np.random.default_rng(0)
    gains = 0.1 + 0.02 * rng.standard_normal(18)
    assert signed_rank_interval([*gains, -0.6, -0.5]).low > 0.02
