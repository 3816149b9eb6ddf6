"""What is believed of points whose values are noisy, and what one more value is worth."""

import numpy as np
import pytest

from kamerton_ray.search.belief import Beliefs, beliefs

PLACES = np.array([[0.0], [0.3], [0.7], [1.0]])
HEIGHTS = np.array([0.0, 0.1, 0.3, 0.5])


def usual_noise(found):
    return found.weights @ found.noises[:, 0]


def believed(mean, covariance, noise=0.1):
    """One roughness and noise alone."""
    return Beliefs(np.ones(1), mean[None], covariance[None], np.full((1, len(mean)), noise))


def test_a_point_is_expected_between_its_values_and_what_the_others_say():
    found = beliefs(PLACES, [0, 1, 2, 3], HEIGHTS)
    assert found.weights.sum() == pytest.approx(1.0)
    assert np.all(np.diff(found.expected) > 0)
    assert np.abs(found.expected - HEIGHTS).max() < 0.02


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
    variances = found.weights @ np.diagonal(found.covariances, axis1=1, axis2=2)
    assert variances[2] > 4 * variances[1]


def test_repeated_values_make_a_point_surer():
    once, often = ([0, 1, 2, 3], [0, 1, 2, 3, 0, 0, 0, 0])
    heights = HEIGHTS[often] + 0.01 * np.array([0, 0, 0, 0, 1, -1, 1, -1])
    found = [beliefs(PLACES, at, heights[: len(at)]) for at in (once, often)]
    before, after = (one.weights @ one.covariances[:, 0, 0] for one in found)
    assert after < before / 2


def test_the_knowledge_gradient_is_what_drawing_the_next_value_gives():
    covariance = np.array([[0.04, 0.01, 0.0], [0.01, 0.09, 0.0], [0.0, 0.0, 0.01]])
    mean = np.array([0.0, 0.1, 0.9])
    drawn = np.random.default_rng(0).standard_normal(200_000)
    for i, found in enumerate(believed(mean, covariance).knowledge_gradients()):
        slopes = covariance[:, i] / np.sqrt(covariance[i, i] + 0.01)
        after = (mean[:, None] + slopes[:, None] * drawn).min(0).mean()
        assert found == pytest.approx(-after, abs=2e-3)


def test_nothing_is_worth_measuring_where_all_is_known():
    known = believed(np.array([0.0, 0.001]), np.zeros((2, 2)))
    assert known.knowledge_gradients() == pytest.approx([0.0, 0.0])


def test_what_is_believed_for_several_noises_is_weighed():
    one, other = (believed(np.zeros(2), variance * np.eye(2)) for variance in (0.1, 0.4))
    both = Beliefs(
        np.array([0.25, 0.75]),
        np.vstack([one.means, other.means]),
        np.vstack([one.covariances, other.covariances]),
        np.vstack([one.noises, other.noises]),
    )
    parts = 0.25 * one.knowledge_gradients() + 0.75 * other.knowledge_gradients()
    assert both.knowledge_gradients() == pytest.approx(parts)


def test_the_first_points_alone_keep_what_is_believed_of_them():
    first = believed(np.arange(3.0), np.arange(9.0).reshape(3, 3)).of_first(2)
    assert first.means.tolist() == [[0.0, 1.0]]
    assert first.covariances.tolist() == [[[0.0, 1.0], [3.0, 4.0]]]
    assert first.noises.tolist() == [[0.1, 0.1]]
