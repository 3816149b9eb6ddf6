"""What is believed of the configurations of a race."""

import math

import numpy as np
import pytest
from correlated import alike
from hypothesis import given, settings
from hypothesis import strategies as st

from kamerton_ray.answer.chances import SEARCHED, Chances, Value
from kamerton_ray.answer.places import places
from kamerton_ray.answer.race import FAR

TOLERANCE = math.log(1.02)


def apart(count):
    """Places of which none tells of another."""
    return FAR * np.arange(count)[:, None]


def of_rounds(rounds, *, trials=()):
    """The values of such rounds, a gain for each configuration, after such trials."""
    return [
        *(Value(arm, SEARCHED, level) for arm, level in enumerate(trials)),
        *(
            Value(arm, turn, gain)
            for turn, gains in enumerate(rounds, SEARCHED + 1)
            for arm, gain in enumerate([*gains, 0.0])
        ),
    ]


def test_who_is_faster_round_by_round_is_likelier_the_best():
    rng = np.random.default_rng(0)
    found = Chances(of_rounds([0.1, 0.2, 0.0] + 0.02 * rng.standard_normal((6, 3))), apart(3))
    assert found.best()[1] > 0.99
    assert found.best().sum() == pytest.approx(1)
    assert found.good(TOLERANCE)[1] > 0.99
    assert found.good(TOLERANCE)[0] < 0.01
    assert found.expected[1] - found.expected[2] == pytest.approx(0.2, abs=0.05)
    assert found.gains(TOLERANCE) > 0.99
    assert found.gains(0.4) < 0.01


def test_of_equals_each_is_good_once_that_is_known():
    rounds = [[0.03, -0.03, 0.0], [-0.03, 0.0, 0.03], [0.0, 0.03, -0.03]]
    few, many = (Chances(of_rounds(rounds * times), apart(3)).good(TOLERANCE) for times in (1, 20))
    assert few.max() < 0.8
    assert many.min() > 0.95


@given(seed=st.integers(0, 99), pace=st.floats(-3, 3))
@settings(max_examples=20, deadline=None)
def test_the_pace_of_a_turn_favours_nobody(seed, pace):
    rng = np.random.default_rng(seed)
    values = of_rounds(0.03 * rng.standard_normal((4, 3)), trials=rng.normal(0, 0.05, 3))
    moved = [one._replace(level=one.level + pace * math.sin(one.turn + 1)) for one in values]
    plain, paced = (Chances(some, apart(3)).best() for some in (values, moved))
    assert plain == pytest.approx(paced, abs=0.01)


def test_what_the_search_has_found_counts_for_less_than_a_fresh_value():
    rounds = [[0.02, -0.02], [-0.02, 0.02]]
    found = [
        Chances(of_rounds(some, trials=trials), apart(2)).best()[0]
        for some, trials in ((rounds, []), (rounds, [0.03, 0]), ([*rounds, [0.03, 0]], []))
    ]
    assert found == sorted(found)
    assert found[0] == pytest.approx(0.5, abs=0.05)
    assert found[1] > found[0] + 0.05


def test_neighbours_tell_of_each_other():
    line = np.linspace(0, 1, 6)[:, None]
    trials = [0.0, 0.1, 0.2, 0.3, 0.2, 0.1]
    rounds = [[0.0, 0.1, 0.2, 0.3, 0.2, 0.1]] * 2
    values = [one for one in of_rounds(rounds, trials=trials) if one.arm != 3]
    alone, near = Chances(values, apart(6)).expected, Chances(values, line).expected
    assert abs(near[3] - near[2]) < 0.15
    assert abs(alone[3] - alone[2]) > abs(near[3] - near[2])


@pytest.mark.parametrize("turn", [0, 4])
def test_a_disturbed_value_is_left_out(turn):
    rng = np.random.default_rng(0)
    gains = [0.1, 0.0, 0.0] + 0.01 * rng.standard_normal((5, 3))
    gains[turn, 0] -= 0.6
    assert Chances(of_rounds(gains), apart(3)).best()[0] > 0.95


def test_a_trial_beside_a_disturbed_default_is_left_out():
    rng = np.random.default_rng(0)
    gains = [0.1, 0.0, 0.0] + 0.01 * rng.standard_normal((3, 3))
    assert Chances(of_rounds(gains, trials=[0.1, 0.0, 0.6]), apart(3)).best()[0] > 0.95


def test_turns_that_are_alike_say_less():
    rng = np.random.default_rng(3)
    noise = alike(rng, (20, 2), 0.6)
    level = [0.03, 0.0] + 0.05 * (noise - noise.mean(axis=0))
    in_order = Chances(of_rounds(level), apart(2)).best()[0]
    mixed = Chances(of_rounds(rng.permutation(level)), apart(2)).best()[0]
    assert in_order < mixed


@pytest.mark.parametrize("by", [0.0, 0.6])
def test_how_alike_neighbouring_turns_are_is_told_by_many_of_them(by):
    few, many = [], []
    for seed in range(10):
        noise = 0.05 * alike(np.random.default_rng(seed), (30, 4), by)
        gains = noise[:, :3] - noise[:, 3:]
        few.append(Chances(of_rounds(gains[:3]), apart(3)).alike)
        many.append(Chances(of_rounds(gains), apart(3)).alike)
    (said, sure), (at_last, surer) = np.mean(few, axis=0), np.mean(many, axis=0)
    assert abs(at_last - by) < abs(said - by)
    assert surer > 1.5 * sure
    assert at_last == pytest.approx(by, abs=0.1)


@given(
    rounds=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1, max_size=6)
)
@settings(max_examples=60, deadline=None)
def test_any_values_have_chances(rounds):
    found = Chances(of_rounds(rounds), apart(3))
    assert found.best().sum() == pytest.approx(1)
    assert np.isfinite(found.expected).all()
    assert ((found.good(TOLERANCE) >= 0) & (found.good(TOLERANCE) <= 1)).all()


def test_configurations_lie_by_the_logarithms_of_their_counts_and_their_product():
    found = places([{"intra_op": 1, "inter_op": 4}, {"intra_op": 4, "inter_op": 1}])
    assert found.tolist() == [[1, 0, 0], [0, 1, 0]]  # by name: inter_op, intra_op; the same product
    three = places([{"a": one} for one in (1, 2, 8)])
    assert three[:, 0] == pytest.approx([0, 1 / 3, 1])


def test_words_and_what_is_not_said_are_places_too():
    found = places([{"n": 0, "word": "a"}, {"n": 2, "word": "b"}, {"n": 1}])
    assert found[:, 0].tolist() == [0, 1, 0.5]
    assert len({tuple(row) for row in found[:, 1:].tolist()}) == 3
    assert places([{}, {}]).shape == (2, 1)
    assert places([{"nested": {"n": 1}}, {"nested": {"n": 2}}])[:, 0].tolist() == [0, 1]
