"""What fresh runs say with their intervals, and who trades what for what beyond these."""

import math
from dataclasses import replace

import pytest
from findings import ALONE, BEST, MANY, lower, together, verdict

from kamerton_ray import Objective
from kamerton_ray.answer.fresh import Span, gain_of, number_of, pareto

COSTS = {"seconds": -1, "cpu_seconds": -1}


def rows(*pairs, width=0.0):
    """Rows of so many seconds and CPU seconds, known to so much to each side."""
    return [
        {
            name: Span(value, value - width, value + width)
            for name, value in zip(COSTS, pair, strict=True)
        }
        for pair in pairs
    ]


PAIRS = ((1.0, 4.0), (2.0, 1.0), (2.0, 4.0), (1.5, 2.0), (math.nan, 0.1))


def test_the_pareto_set_holds_those_that_no_other_beats_in_all():
    assert pareto(rows(*PAIRS), COSTS) == [0, 1, 3]


def test_what_overlaps_is_no_trade_off():
    assert pareto(rows((1.0, 2.0), (2.0, 1.0), width=0.4), COSTS) == [0, 1]
    assert pareto(rows((1.0, 2.0), (2.0, 1.0), width=0.6), COSTS) == []
    # Of the first and the last the seconds overlap, so the last one has but the better other.
    close = rows((1.0, 2.0), (1.1, 1.0), width=0.2)
    assert pareto(close, COSTS) == []
    assert pareto([*close, *rows((3.0, 0.2), width=0.2)], COSTS) == [1, 2]


def test_one_that_is_hardly_known_is_not_beaten_for_that():
    """It may be as much better in the other number as it looks."""
    hardly, surely, third = rows((2.0, 1.0), (1.0, 4.0), (1.5, 2.0), width=0.1)
    assert pareto([hardly, surely], COSTS) == [0, 1]
    hardly["cpu_seconds"] = Span(1.0, 0.2, 5.0)
    assert pareto([hardly, surely, third], COSTS) == []  # the first stands for all of them
    hardly["cpu_seconds"] = Span(4.05, 0.2, 5.0)
    assert pareto([hardly, surely, third], COSTS) == [1, 2]  # now it is beaten


def test_of_those_that_are_not_told_apart_the_first_stands_for_all():
    same = rows((1.0, 2.0), (1.01, 1.99), (2.0, 1.0), width=0.1)
    assert pareto(same, COSTS) == [0, 2]
    assert pareto([same[1], same[0], same[2]], COSTS) == [0, 2]


def test_more_is_better_where_it_is_said_to_be():
    assert pareto(rows((1.0, 1.0), (2.0, 2.0)), {"seconds": -1, "cpu_seconds": 1}) == [0, 1]
    assert pareto(rows((1.0, 2.0), (2.0, 1.0)), {"seconds": -1, "cpu_seconds": 1}) == []


def test_a_number_without_an_interval_trades_nothing():
    assert pareto(rows((1.0, 2.0), (2.0, 1.0), width=math.nan), COSTS) == []


@pytest.mark.parametrize("key", ["seconds", "seconds_p99", "throughput", "cpu_seconds"])
def test_a_number_is_the_tables_and_its_interval_that_of_the_rounds(key):
    told = together()
    for row in told.table:
        value, low, high = number_of(key, row, told)
        assert value == getattr(row, key)
        assert low <= value <= high
        assert high / low < 1.05
        assert (low == high) is (row.config is None)


def test_the_default_has_no_width_and_the_chosen_one_that_of_the_final():
    told = together()
    many, alone, default = (gain_of(row, told, Objective()) for row in told.table)
    assert [row.config for row in told.table] == [MANY, ALONE, None]
    assert many == (2.02, 1.98, 2.06)
    assert default == (1.0, 1.0, 1.0)
    assert not alone.is_known  # the rounds hold no speed-up
    by_steps = gain_of(told.table[1], told, Objective(metric="throughput"))
    assert 1.02 < by_steps.low <= 1.03 <= by_steps.high < 1.05


def test_gains_that_are_differences_have_intervals_in_the_metrics_unit():
    told = replace(lower(), low=math.nan)
    best = gain_of(told.table[0], told, Objective(metric="loss"))
    assert told.table[0].config == BEST
    assert best.value == 0.7
    assert 0.68 < best.low <= 0.7 <= best.high < 0.73


def test_without_rounds_nothing_has_an_interval():
    told = verdict(rounds=[], low=math.nan)
    assert not gain_of(told.table[0], told, Objective()).is_known
    assert not number_of("seconds", told.table[0], told).is_known
