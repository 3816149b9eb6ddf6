"""What is believed of points whose values are noisy, and what one more value is worth."""

import numpy as np
import pytest

from kamerton_ray.search.belief import Belief, beliefs, expected, knowledge_gradients

PLACES = np.array([[0.0], [0.3], [0.7], [1.0]])
HEIGHTS = np.array([0.0, 0.1, 0.3, 0.5])


def usual_noise(found):
    return sum(one.weight * one.noises[0] for one in found)


def test_a_point_is_expected_between_its_values_and_what_the_others_say():
    found = beliefs(PLACES, [0, 1, 2, 3], HEIGHTS)
    assert sum(one.weight for one in found) == pytest.approx(1.0)
    assert np.all(np.diff(expected(found)) > 0)
    assert np.abs(expected(found) - HEIGHTS).max() < 0.02


def test_the_noise_is_learnt_from_points_that_were_measured_again():
    again, heights = [0, 1, 2, 3] * 2, np.concatenate([HEIGHTS, HEIGHTS])
    quiet = beliefs(PLACES, again, heights + 0.002 * np.array([1, -1, 1, -1, -1, 1, -1, 1]))
    loud = beliefs(PLACES, again, heights + 0.1 * np.array([1, -1, 1, -1, -1, 1, -1, 1]))
    assert usual_noise(quiet) < 0.012
    assert usual_noise(loud) > 0.08


def test_a_told_noise_is_believed():
    for noise in (0.001, 0.3):
        found = beliefs(PLACES, [0, 1, 2, 3], HEIGHTS, np.full(4, noise))
        assert usual_noise(found) == pytest.approx(noise, rel=0.5)


def test_a_value_of_its_own_tells_more_than_a_neighbours():
    found = beliefs(PLACES, [0, 1, 3], HEIGHTS[[0, 1, 3]])
    sds = np.sqrt([one.weight * np.diag(one.covariance) for one in found]).sum(0)
    assert sds[2] > 2 * sds[1]


def test_repeated_values_make_a_point_surer():
    once, often = ([0, 1, 2, 3], [0, 1, 2, 3, 0, 0, 0, 0])
    heights = HEIGHTS[often] + 0.01 * np.array([0, 0, 0, 0, 1, -1, 1, -1])
    (before, after) = (
        sum(one.weight * one.covariance[0, 0] for one in beliefs(PLACES, at, heights[: len(at)]))
        for at in (once, often)
    )
    assert after < before / 2


def test_the_knowledge_gradient_is_what_drawing_the_next_value_gives():
    covariance = np.array([[0.04, 0.01, 0.0], [0.01, 0.09, 0.0], [0.0, 0.0, 0.01]])
    belief = Belief(1.0, np.array([0.0, 0.1, 0.9]), covariance, np.full(3, 0.1))
    drawn = np.random.default_rng(0).standard_normal(200_000)
    for i, found in enumerate(knowledge_gradients([belief])):
        slopes = covariance[:, i] / np.sqrt(covariance[i, i] + 0.01)
        after = (belief.mean[:, None] + slopes[:, None] * drawn).min(0).mean()
        assert found == pytest.approx(-after, abs=2e-3)


def test_nothing_is_worth_measuring_where_all_is_known():
    known = Belief(1.0, np.array([0.0, 0.001]), np.zeros((2, 2)), np.full(2, 0.1))
    assert knowledge_gradients([known]) == pytest.approx([0.0, 0.0])


def test_the_gradients_of_several_beliefs_are_weighed():
    noises = np.full(2, 0.1)
    one = Belief(0.25, np.zeros(2), 0.1 * np.eye(2), noises)
    other = Belief(0.75, np.zeros(2), 0.4 * np.eye(2), noises)
    parts = [knowledge_gradients([one]), knowledge_gradients([other])]
    assert knowledge_gradients([one, other]) == pytest.approx(np.sum(parts, axis=0))


def test_the_first_points_alone_keep_what_is_believed_of_them():
    belief = Belief(1.0, np.arange(3.0), np.arange(9.0).reshape(3, 3), np.full(3, 0.1))
    first = belief.of_first(2)
    assert first.mean.tolist() == [0.0, 1.0]
    assert first.covariance.tolist() == [[0.0, 1.0], [3.0, 4.0]]
