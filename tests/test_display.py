"""What is shown of a trial: what was measured, in its unit."""

import math

import pytest

from kamerton_ray.cli.display import Display, headline, in_unit
from kamerton_ray.trial.instances import SHARED
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.goal import Goal, Limits

SPACE = {"intra_op": (1, 4), "inter_op": (1, 4)}
DEFAULT, OTHER = {"intra_op": 2, "inter_op": 2}, {"intra_op": 1, "inter_op": 2}
MACHINE = {"usable_cpus": 2}


@pytest.fixture
def shown(capsys):
    """The lines that are shown of some results."""

    def go(objective, *results, metric="score", **options):
        goal = Goal(space=SPACE, starts=[DEFAULT], metric=metric, mode="max")
        display = Display(goal, Limits(), objective, quiet=False, **options)
        for result in results:
            display.show(Result.of({metric: 1.0, "machine": MACHINE, **result}))
        return [line.partition("inter_op=2  ")[2] for line in capsys.readouterr().err.splitlines()]

    return go


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("speedup", 0.968757, "0.97x"),
        ("seconds", 12.34, "12.3 s"),
        ("seconds_p99", 0.0123, "12.3 ms"),
        ("cpu_seconds", 20.5e-6, "20.5 us"),
        ("seconds", 0.0, "0 us"),
        ("throughput", 210.4, "210 steps/s"),
        ("throughput", 2.104, "2.1 steps/s"),
        ("objective", 3.0, "3"),
    ],
)
def test_a_value_has_its_unit(metric, value, text):
    assert in_unit(metric, value) == text


def test_a_speedup_has_its_interval(shown):
    result = {"config": OTHER, "speedup": 1.0321, "speedup_low": 0.98, "speedup_high": 1.08}
    assert shown(Objective(), result, metric="speedup") == ["1.03x [0.98, 1.08]"]


def test_what_was_measured_is_shown_whatever_the_search_goes_by(shown):
    results = [
        {"config": DEFAULT, "score": 0.518, "seconds_p99": 0.0121},
        {"config": OTHER, "score": 0.6, "seconds_p99": 0.0123},
    ]
    assert shown(Objective(metric="seconds_p99"), *results) == [
        "seconds_p99 12.1 ms",
        "seconds_p99 12.3 ms (default 12.1 ms)",
    ]


def test_what_is_not_the_default_is_not_called_so(shown):
    results = [{"config": OTHER, "throughput": 9.0}, {"config": DEFAULT, "throughput": 8.0}]
    assert shown(Objective(metric="throughput"), *results)[1] == "throughput 8 steps/s"


def test_a_limit_that_is_broken_is_named(shown):
    objective = Objective(at_most={"seconds_p99": 0.02, "cpu_seconds": 1.0})
    results = [
        {"config": OTHER, "speedup": 1.0, "seconds_p99": p99, "cpu_seconds": 0.5}
        for p99 in (0.02, 0.0251)
    ]
    kept, broken = shown(objective, *results)
    assert kept == "1.00x"
    assert broken == "1.00x; over the limit: seconds_p99 25.1 ms, at most 20 ms"


def test_what_nobody_checked_is_named(shown):
    result = {"config": OTHER, "speedup": 1.0, "unchecked": ["TF_XLA_FLAGS", "MALLOC_ARENA_MAX"]}
    assert shown(Objective(), result) == ["1.00x; not checked: TF_XLA_FLAGS, MALLOC_ARENA_MAX"]


def test_a_number_is_shown_as_it_was_printed_and_once_where_it_was_read(shown):
    results = [{"config": OTHER, "objective": 204.5, "read": "204.50"}] * 2
    found = shown(
        Objective(metric="objective"), *results, metric="objective", note=lambda r: r.read
    )
    assert found == ["204.50", "", "204.50"]


def test_of_several_instances_what_they_come_to_is_shown(shown):
    several = {"config": {"instances": 2, **OTHER}, "objective": 409.0, "read": "204.50"}
    alone = {**several, "config": {"instances": 1, **OTHER}, "objective": 204.5}
    assert shown(Objective(metric="objective"), several, alone, metric="objective") == [
        "409",
        "204.50",
    ]


def test_one_instance_with_the_defaults_counts_is_the_default(shown):
    results = [
        {"config": {"instances": count, **config}, "throughput": 9.0}
        for count, config in ((1, DEFAULT), (2, OTHER))
    ]
    assert shown(Objective(metric="throughput"), *results)[1].endswith("(default 9 steps/s)")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            f"instance 2 of 2: a\nb\nIts last lines of stderr:\nc\n{SHARED}",
            "instance 2 of 2: a, b, c",
        ),
        ("the process exited\nwith code 2", "the process exited, with code 2"),
        ("it failed\nTraceback\n  file\nError: x", "it failed, Error: x"),
        ("a\nb\nIts last lines of stdout:\nc\nd", "a, b, d"),
        ("a\nIts last lines of stderr:\nc", "a, c"),
        ("", ""),
    ],
)
def test_a_failure_is_told_in_a_line(shown, error, line):
    assert headline(error) == line
    result = {"config": OTHER, "error": error, "score": math.nan}
    assert shown(Objective(), result) == [f"failed: {line}"]
