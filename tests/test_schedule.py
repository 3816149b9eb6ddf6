"""How a command's time is shared out, on a clock that stands still unless it is moved."""

import math

import click
import pytest

from kamerton_ray.cli.options import SearchOptions
from kamerton_ray.cli.timing import comparison_s, say_how_long, schedule_of, total_s
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.schedule import (
    ENDING_S,
    LEAST_MEASURED_S,
    MOST_MEASURED_S,
    QUICK_S,
    USUAL_S,
    WORTH_TRIALS,
    Schedule,
    measured_s,
)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def scheduled(total=60.0, **options):
    clock = Clock()
    return Schedule(total, clock=clock, **options), clock


def test_the_search_ends_before_a_trial_that_would_take_the_comparisons_time():
    schedule, clock = scheduled()
    for _ in range(5):
        clock.now += 4
        schedule.note(4.0)
        assert not schedule.search_is_over
    clock.now += 6
    assert schedule.search_is_over
    assert not schedule.is_over
    assert schedule.left_s == 60 - 26 - ENDING_S


def test_two_trials_are_run_however_short_the_time_is():
    schedule, clock = scheduled(20.0)
    clock.now += 12
    schedule.note(9.0)
    assert not schedule.search_is_over
    schedule.note(3.0)
    assert schedule.search_is_over


def test_without_a_comparison_the_search_has_all_the_time():
    schedule, clock = scheduled(compares=False)
    clock.now += 50
    for _ in range(2):
        schedule.note(5.0)
    assert not schedule.search_is_over
    clock.now += 5
    assert schedule.search_is_over


def test_a_trial_that_runs_is_given_up_when_the_time_is_over():
    schedule, clock = scheduled()
    clock.now += 60 - ENDING_S
    assert not schedule.is_over
    clock.now += 1
    assert schedule.is_over
    assert schedule.left_s == 0


def test_a_slow_model_has_more_time_unless_the_user_says_how_much():
    for grows in (True, False):
        schedule, clock = scheduled(grows=grows)
        clock.now += 100
        assert schedule.is_over is not grows  # nobody knows yet how long a trial takes
        schedule.note(80.0)
        schedule.note(20.0)
        assert schedule.total_s == (WORTH_TRIALS * 20 if grows else 60)
        assert schedule.is_over is not grows


def test_a_lost_trial_says_nothing_of_how_long_one_takes():
    schedule, _ = scheduled(grows=True)
    for _ in range(2):
        schedule.note(math.nan)
    assert schedule.total_s == 60
    assert schedule.trials_left == math.inf


def test_what_is_run_once_more_at_the_end_has_its_time():
    schedule, clock = scheduled(compares=False, repeats=True, begin=990.0)
    for _ in range(2):
        schedule.note(8.0)
    clock.now = 990.0 + 60 - ENDING_S - 8 - 8
    assert not schedule.search_is_over
    clock.now += 1
    assert schedule.search_is_over
    assert schedule.left_s == 7


def test_without_a_time_nothing_is_over():
    schedule, clock = scheduled(math.inf)
    clock.now += 1e6
    for _ in range(2):
        schedule.note(1e5)
    assert not schedule.search_is_over
    assert not schedule.is_over
    assert schedule.left_s is None


def test_a_trial_measures_for_a_share_of_the_time():
    assert measured_s(60.0) == pytest.approx(1.0)
    assert measured_s(1.0) == LEAST_MEASURED_S
    assert measured_s(math.inf) == MOST_MEASURED_S


@pytest.mark.parametrize(
    ("said", "total", "grows"),
    [
        ({}, USUAL_S, True),
        ({"time_budget": 20.0}, 20.0, False),
        ({"quick": True}, QUICK_S, False),
        ({"sure": True}, math.inf, True),
        ({"trials": 5}, math.inf, True),
        ({"trials": 5, "time_budget": 20.0}, 20.0, False),
    ],
)
def test_the_user_says_how_long_it_takes(said, total, grows):
    options = SearchOptions(**said)
    assert total_s(options) == total
    schedule = schedule_of(options, compares=True)
    assert (schedule.total_s, schedule.grows) == (total, grows)


def test_a_search_without_a_comparison_takes_what_it_needs_unless_the_user_says_how_much():
    assert schedule_of(SearchOptions(), compares=False).total_s == math.inf
    assert schedule_of(SearchOptions(time_budget=9.0), compares=False).total_s == 9.0


@pytest.mark.parametrize(
    "said", [{"quick": True, "sure": True}, {"quick": True, "time_budget": 5.0}]
)
def test_how_long_it_takes_is_said_once(said):
    with pytest.raises(click.UsageError, match="exclude each other"):
        total_s(SearchOptions(**said))


def test_it_is_said_before_the_first_trial(capsys):
    for said in ({}, {"time_budget": 300.0}, {"sure": True}, {"quiet": True}):
        options = SearchOptions(**said)
        say_how_long(options, schedule_of(options, compares=True))
    usual, asked = capsys.readouterr().err.splitlines()
    assert usual.startswith("This takes about 60 s, more where the model is slow: up to 29 s")
    assert asked.startswith("This takes about 300 s: up to 149 s of it to search")


def test_the_comparison_has_what_is_left_or_as_long_as_the_search_took():
    results = [Result(config={}, time_total_s=50.0)] * 2
    sure, counted = SearchOptions(sure=True), SearchOptions(trials=2)
    assert comparison_s(results, sure, Schedule()) is None
    assert comparison_s(results, counted, Schedule()) == 100.0
    assert comparison_s(results[:1], counted, Schedule()) == 60.0
    assert comparison_s(results, SearchOptions(), scheduled()[0]) == 60 - ENDING_S
