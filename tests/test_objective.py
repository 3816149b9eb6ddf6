"""What configurations are judged by, and the limits that they keep to."""

import math

import pytest

from kamerton_ray import InvalidInputError
from kamerton_ray.objective import INFEASIBLE, Objective


@pytest.mark.parametrize(
    ("metric", "mode"), [("speedup", "max"), ("throughput", "max"), ("seconds_p99", "min")]
)
def test_the_mode_is_what_the_metric_means(metric, mode):
    assert Objective(metric=metric).mode == mode


def test_a_gain_is_the_log_of_how_many_times_better():
    twice = {"seconds": 1.0, "throughput": 8.0}
    once = {"seconds": 2.0, "throughput": 4.0}
    for metric in ("seconds", "throughput"):
        assert Objective(metric=metric).gain(twice, once) == pytest.approx(math.log(2))


@pytest.mark.parametrize("value", [math.nan, None, 0.0, -1.0, math.inf, "fast"])
def test_what_is_no_positive_number_has_no_level(value):
    assert math.isnan(Objective(metric="seconds").level({"seconds": value}))
    assert math.isnan(Objective(metric="seconds").level({}))


def test_a_machine_at_half_its_pace_scores_the_same():
    now = {"throughput": 10.0, "default_seconds": 0.1}
    slow = {"throughput": 5.0, "default_seconds": 0.2}
    objective = Objective(metric="throughput")
    assert objective.score(now) == pytest.approx(objective.score(slow)) == pytest.approx(1)


def test_those_that_break_a_limit_rank_below_all_others_and_by_how_far():
    objective = Objective(metric="throughput", at_most={"seconds_p99": 0.02})
    p99s = (0.01, 0.021, 0.03, 0.3)
    results = [{"throughput": 1.0, "default_seconds": 0.1, "seconds_p99": p99} for p99 in p99s]
    scores = [objective.score(result) for result in results]
    assert scores == sorted(scores, reverse=True)
    assert scores[1] < INFEASIBLE < scores[0]
    assert objective.miss(results[0]) == 0
    assert objective.miss(results[3]) == pytest.approx(math.log(15))


@pytest.mark.parametrize(
    ("metric", "mode", "comparative"),
    [
        ("speedup", "", "faster than"),
        ("seconds_p99", "", "faster than"),
        ("objective", "min", "lower than"),
        ("objective", "max", "higher than"),
        ("throughput", "", "higher in throughput than"),
        ("rows_per_second", "min", "lower in rows_per_second than"),
        ("seconds", "max", "higher in seconds than"),
    ],
)
def test_only_what_is_a_time_is_said_to_be_faster(metric, mode, comparative):
    assert Objective(metric=metric, mode=mode).comparative == comparative


def test_a_failed_trial_has_no_score():
    objective = Objective(metric="throughput", at_most={"seconds_p99": 0.02})
    assert math.isnan(objective.score({"throughput": math.nan, "seconds_p99": 1.0}))


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"mode": "least"}, "mode must be"),
        ({"at_most": {"seconds_p99": 0}}, "seconds_p99"),
        ({"within": 0}, "within"),
        ({"within": 1.0}, "within"),
    ],
)
def test_a_bad_option_is_refused(options, rule):
    with pytest.raises(InvalidInputError, match=rule):
        Objective(**options)
