"""Which nodes keep pace, by what the default took on each."""

import math
from dataclasses import replace

import pytest

from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.pace import BY_TRIAL, MUCH_SLOWER, SlowNodes, in_pace, out_of_pace


def ran(ip, default_seconds, times=3, **config):
    return [Result(node_ip=ip, default_seconds=default_seconds, config=config)] * times


def test_a_node_that_is_out_of_pace_with_the_others_of_its_kind_is_named():
    steady = [*ran("1", 1.0), *ran("2", 1.1), *ran("3", 0.9)]
    assert out_of_pace(steady) == {}
    assert out_of_pace([*steady, *ran("4", 2.0)]) == {"4": pytest.approx(2.0)}
    assert out_of_pace([*steady, *ran("4", 2.0)], least=2.5) == {}
    assert out_of_pace([*steady, *ran("4", 2.0, times=2)]) == {}
    assert out_of_pace([*ran("1", 1.0), *ran("2", 3.0)]) == {"2": pytest.approx(3.0)}
    assert out_of_pace([*ran("1", 5.0), *ran("2", math.nan), Result(outcome=Outcome.LOST)]) == {}


def test_another_model_on_a_node_does_not_make_it_slow():
    large = [*ran("1", 8.0, batch=64), *ran("2", 8.0, batch=64, times=1)]
    assert out_of_pace([*large, *ran("1", 1.0, batch=8, times=1), *ran("2", 1.0, batch=8)]) == {}


def test_the_thread_counts_do_not_make_another_model():
    assert out_of_pace([*ran("1", 1.0, intra_op=1), *ran("2", 2.0, intra_op=2)]) == {
        "2": pytest.approx(2.0)
    }


def test_what_ran_on_a_slow_node_does_not_count_where_it_was_run_elsewhere():
    results = [*ran("1", 1.0, x=1), *ran("2", 2.0, x=1, times=2), *ran("2", 2.0, x=2, times=1)]
    kept = in_pace([replace(one, config={"intra_op": one.tuned["x"]}) for one in results])
    assert [(one.node_ip, one.tuned["intra_op"]) for one in kept] == [
        *[("1", 1)] * 3,
        ("2", 2),
    ]
    assert in_pace(ran("1", 1.0)) == ran("1", 1.0)


def test_trials_that_do_not_time_the_default_are_compared_themselves_and_a_node_is_named_once():
    slow = SlowNodes(least=MUCH_SLOWER, by=BY_TRIAL)
    timed = [("1", 1.0), ("2", 4.0), ("1", 1.0), ("2", 4.0), ("2", 4.0)]
    found = [slow.learn(Result(node_ip=ip, time_total_s=seconds)) for ip, seconds in timed]
    assert found == [{}, {}, {}, {"2": pytest.approx(4.0)}, {}]
    assert [len(slow.take_back()) for _ in range(2)] == [3, 0]
    default = {"default_seconds": 1.0}
    paired = [Result.of({"node_ip": ip, "time_total_s": s, **default}) for ip, s in timed]
    assert out_of_pace(paired, by=BY_TRIAL) == {}
