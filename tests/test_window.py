"""What processes did at the same time, by hand-made ticks."""

import numpy as np
import pytest

from kamerton_ray.trial.window import Run, Window


def run(begin, *seconds, each=1):
    return Run(begin + np.cumsum([0.0, *seconds]), each)


def test_of_one_process_it_is_all_that_it_ran():
    window = Window.of([run(5.0, 1.0, 2.0, 1.0)])
    assert (window.begin_s, window.end_s, window.steps) == (5.0, 9.0, pytest.approx(3))
    assert list(window.step_times) == [1.0, 2.0, 1.0]


def test_of_several_it_is_the_time_in_which_all_of_them_run():
    """From 1 to 3: of the first a half, one and a half; of the second two."""
    window = Window.of([run(0.0, 2.0, 1.0, 2.0), run(1.0, 1.0, 1.0)])
    assert (window.begin_s, window.end_s) == (1.0, 3.0)
    assert window.steps == pytest.approx(0.5 + 1 + 2)
    assert sorted(window.step_times) == [1.0, 1.0, 1.0, 2.0]


def test_a_step_that_outlasts_the_window_counts_as_its_share():
    window = Window.of([run(0.0, 10.0), run(4.0, 1.0)])
    assert window.steps == pytest.approx(0.1 + 1)


def test_where_they_never_run_together_all_counts():
    window = Window.of([run(0.0, 1.0), run(2.0, 1.0)])
    assert (window.seconds, window.steps) == (3.0, pytest.approx(2))


def test_ticks_of_several_steps_count_so_many():
    window = Window.of([run(0.0, 0.5, 0.5, each=100)])
    assert window.steps == pytest.approx(200)
    assert list(window.step_times) == [0.005, 0.005]


def test_a_part_of_it_is_no_longer_than_it():
    window = Window.of([run(0.0, *[1.0] * 10)])
    part = window.part(2.5, 4.0)
    assert (part.begin_s, part.end_s, part.steps) == (2.5, 6.5, pytest.approx(4))
    assert window.part(8.0, 4.0).end_s == 10.0


def test_a_part_within_a_step_knows_at_least_how_long_the_step_takes():
    part = Window.of([run(0.0, 10.0)]).part(0.1, 0.3)
    assert part.seconds / part.steps == pytest.approx(10.0)
    assert list(part.step_times) == [10.0]
