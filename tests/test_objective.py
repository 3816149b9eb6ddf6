"""What configurations are judged by, and the limits that they keep to."""

import math

import numpy as np
import pytest

from kamerton_ray import InvalidInputError
from kamerton_ray.trial.comparison import DIFFERENCE, RATIO, Comparison
from kamerton_ray.trial.objective import INFEASIBLE, Objective
from kamerton_ray.trial.result import Result


def loss(value):
    """What a trial reported that has a loss of a user's own."""
    return Result.of({"loss": value})


@pytest.mark.parametrize(
    ("metric", "mode"), [("speedup", "max"), ("throughput", "max"), ("seconds_p99", "min")]
)
def test_the_mode_is_what_the_metric_means(metric, mode):
    assert Objective(metric=metric).mode == mode


def test_a_gain_is_the_log_of_how_many_times_better():
    twice = Result(seconds=1.0, throughput=8.0)
    once = Result(seconds=2.0, throughput=4.0)
    for metric in ("seconds", "throughput"):
        assert Objective(metric=metric).gain(twice, once) == pytest.approx(math.log(2))


@pytest.mark.parametrize("value", [math.nan, None, math.inf, -math.inf, "1.0", True])
def test_what_is_no_number_has_no_value_and_no_level(value):
    for objective in (Objective(metric="loss"), Objective(metric="loss", mode="max")):
        for by in (RATIO, DIFFERENCE):
            assert math.isnan(objective.value(loss(value)))
            assert math.isnan(objective.level(loss(value), by))
            assert math.isnan(objective.gain(loss(1.0), loss(value), by))
            assert math.isnan(objective.own_level(Result(), by))


@pytest.mark.parametrize("kind", [float, int, np.float32, np.int64, np.array])
def test_a_number_is_one_whatever_its_type(kind):
    objective = Objective(metric="loss", mode="max")
    assert type(objective.value(loss(kind(2)))) is float
    assert objective.gain(loss(kind(4)), loss(kind(2))) == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("values", "default", "unit"),
    [
        ([3.0, 2.0], [1.0], None),
        ([3.0, math.nan], [], None),
        ([], [], None),
        ([3.0, 0.0], [5.0], 5.0),
        ([3.0, 2.0], [-4.0, -8.0, math.nan], 6.0),
        ([-3.0, 2.0, 0.0], [0.0], 2.0),
        ([-3.0, 2.0], [], 2.0),
        ([0.0, 0.0], [0.0], 1.0),
    ],
)
def test_where_a_value_is_zero_or_less_differences_are_shares_of_the_default(values, default, unit):
    assert Comparison.of(values, default).unit == unit


@pytest.mark.parametrize(("by", "amount"), [(RATIO, 1.5), (Comparison(2.0), 1.0)])
def test_a_gain_is_told_as_it_is_meant(by, amount):
    gain = Objective(metric="throughput").gain(Result(throughput=3.0), Result(throughput=2.0), by)
    assert by.amount(gain) == pytest.approx(amount)
    assert by.moved(2.0, gain) == pytest.approx(3.0)
    assert by.moved(2.0, by.tolerance(0.1)) == pytest.approx(2.2)


def test_less_is_a_gain_where_less_is_better():
    assert Objective(metric="loss").gain(loss(-3.0), loss(-2.0), DIFFERENCE) == 1.0
    assert Objective(metric="loss", mode="max").gain(loss(-3.0), loss(-2.0), DIFFERENCE) < 0


@pytest.mark.parametrize(
    ("metric", "mode", "ratio", "difference"),
    [
        ("speedup", "", "faster", "higher in speedup"),
        ("seconds_p99", "", "faster", "lower in seconds_p99"),
        ("seconds_per_program", "", "faster per program", "lower in seconds_per_program"),
        ("objective", "min", "lower", "lower"),
        ("throughput", "", "higher in throughput", "higher in throughput"),
        ("seconds", "max", "higher in seconds", "higher in seconds"),
    ],
)
def test_only_a_ratio_of_times_is_said_to_be_faster(metric, mode, ratio, difference):
    objective = Objective(metric=metric, mode=mode)
    assert objective.better() == ratio
    assert objective.better(DIFFERENCE) == difference


def test_a_machine_at_half_its_pace_scores_the_same():
    now = Result(throughput=10.0, default_seconds=0.1)
    slow = Result(throughput=5.0, default_seconds=0.2)
    objective = Objective(metric="throughput")
    assert objective.score(now) == pytest.approx(objective.score(slow)) == pytest.approx(1)


def test_those_that_break_a_limit_rank_below_all_others_and_by_how_far():
    objective = Objective(metric="throughput", at_most={"seconds_p99": 0.02})
    p99s = (0.01, 0.021, 0.03, 0.3)
    results = [Result(throughput=1.0, default_seconds=0.1, seconds_p99=p99) for p99 in p99s]
    scores = [objective.score(result) for result in results]
    assert scores == sorted(scores, reverse=True)
    assert scores[1] < INFEASIBLE < scores[0]
    assert objective.miss(results[0]) == 0
    assert objective.miss(results[3]) == pytest.approx(math.log(15))


@pytest.mark.parametrize("unknown", [math.nan, math.inf, None, "0.01", False])
def test_what_is_unknown_has_not_kept_its_limit(unknown):
    objective = Objective(metric="throughput", at_most={"seconds_p99": 0.02, "cpu_seconds": 1.0})
    known = {"throughput": 1.0, "seconds_p99": 5.0, "cpu_seconds": 0.0}
    result = Result.of({**known, "seconds_p99": unknown})
    assert objective.miss(result) == objective.miss(Result()) == math.inf
    assert objective.score(result) < objective.score(Result.of(known)) < INFEASIBLE


def test_limits_are_kept_by_numbers_of_any_type():
    objective = Objective(metric="throughput", at_most={"seconds_p99": 2})
    kept, broken = ({"seconds_p99": number} for number in (np.float32(2.0), np.int64(4)))
    assert objective.miss(Result.of(kept)) == 0
    assert objective.miss(Result.of(broken)) == pytest.approx(math.log(2))
    assert objective.miss(Result(seconds_p99=-1.0)) == 0


def test_a_failed_trial_has_no_score():
    objective = Objective(metric="throughput", at_most={"seconds_p99": 0.02})
    assert math.isnan(objective.score(Result(seconds_p99=1.0)))


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
