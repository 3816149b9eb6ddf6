"""The verdict: what it says of simulated machines, with and without Ray."""

import functools
import json
import math
import os
import random
import sys
import time

import cloudpickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import cloudpickle as rays

from kamerton_ray import Decision, InvalidInputError, Objective, verdict
from kamerton_ray.head_to_head import (
    DEFAULT,
    LEAST_FINAL,
    LEAST_RACE,
    Stage,
    hodges_lehmann,
    signed_rank_interval,
)
from kamerton_ray.rounds import AT_ONCE, Contest, Course, groups
from kamerton_ray.trainable import one_step
from kamerton_ray.verdict import (
    affordable,
    contestants,
    decide,
    kinds_of,
    screen,
)

for pickler in (cloudpickle, rays):
    pickler.register_pickle_by_value(sys.modules[__name__])

MACHINE = {"cpu_model": "simulated", "usable_cpus": 4}


class Simulated:
    """A machine on which intra_op divides the step time; it slows down with every round."""

    def __init__(self, *, drift=0.0, noise=0.01, machine=MACHINE, seed=0, **odd):
        self.drift, self.noise, self.machine, self.odd = drift, noise, machine, odd
        self.rounds = 0
        self.random = random.Random(seed)  # noqa: S311 - noise

    def measure(self, config):
        return self.measure_round([config])[0]

    def measure_round(self, configs):
        self.rounds += 1
        return [self._result(config) for config in configs]

    def close(self):
        """Nothing is open."""

    def _result(self, config):
        speed = 1.0 if config is None else config["speed"]
        pace = math.exp(self.drift * self.rounds + self.noise * self.random.gauss(0, 1))
        seconds = pace / speed
        broken = "default" if config is None else str(speed)
        if broken in self.odd.get("failing", ()):
            return {"seconds": math.nan, "outcome": "exited", "error": "sorry"}
        return {
            "seconds": seconds,
            "seconds_p99": seconds * (3 if broken in self.odd.get("jittery", ()) else 1.1),
            "outcome": "ok",
            "machine": self.machine,
            "stolen": self.odd.get("stolen", 0.0),
        }


def searched(*speeds, machine=MACHINE, **more):
    """What a search over configurations of these speeds would have found."""
    return [
        {
            "config": {"intra_op": 2, "inter_op": number + 1, "speed": speed},
            "seconds": 1 / speed,
            "default_seconds": 1.0,
            "machine": machine,
            "outcome": "ok",
            "time_total_s": 1.0,
            **more,
        }
        for number, speed in enumerate(speeds)
    ]


SECONDS = Objective(metric="seconds")


def judged(results, objective=SECONDS, **machine):
    """The verdict on these results without Ray."""
    (kind,) = kinds_of(results)
    chosen = screen(contestants(kind, objective), objective, most=12)
    contest = Contest(Simulated(**machine), [one.config for one in chosen], objective)
    while not contest.step():
        continue
    return decide(contest.course, objective, searched=kind)


def test_a_faster_configuration_is_used_and_the_sentence_says_by_how_much():
    found = judged(searched(1.0, 1.3, 1.1))
    assert found.decision is Decision.USE
    assert found.config["speed"] == 1.3
    assert found.low < 1.3 < found.high
    assert found.sentence == (
        f"intra_op=2 inter_op=2 speed=1.3 is {found.speedup:.2f}x [{found.low:.2f}, "
        f"{found.high:.2f}] faster than TensorFlow's default (95 %, {found.runs} fresh runs each)."
    )
    assert found.runs == len(found.rounds) - found.race_rounds >= LEAST_FINAL


@pytest.mark.parametrize("speeds", [(1.0, 1.0), (0.9, 0.8), (1.01, 1.0)])
def test_where_nothing_is_faster_the_default_is_kept(speeds):
    found = judged(searched(*speeds))
    assert found.decision is Decision.KEEP
    assert found.sentence.endswith("keep the default.")


def told(gains, *, levels=None, objective=SECONDS, correlation=0.0, undecided=False):
    """The verdict on a final with these log gains, and log speeds of the configuration."""
    own = {"intra_op": 2, "inter_op": 1}
    levels = [0.0] * len(gains) if levels is None else levels
    course = Course(
        finalists=[own],
        rounds=[
            [
                {"config": None, "seconds": math.exp(gain - level), "outcome": "ok"},
                {"config": own, "seconds": math.exp(-level), "outcome": "ok"},
            ]
            for gain, level in zip(gains, levels, strict=True)
        ],
        stage=Stage.DONE,
        chosen=own,
        left=[own],
        undecided=undecided,
        final_rounds=len(gains),
        correlation=correlation,
        interval=signed_rank_interval(gains, correlation=correlation),
    )
    (kind,) = kinds_of(searched(1.0))
    return decide(course, objective, searched=kind)


FEW_AND_MANY = [math.log(0.98)] * 5 + [math.log(1.22)] * 11
HALVED = [math.log(1.3)] * 13 + [math.log(0.65)] * 3


@pytest.mark.parametrize("gains", [FEW_AND_MANY, HALVED, [0.03] * 16, [0.0] * 16])
def test_the_decision_is_that_of_the_interval(gains):
    found = told(gains)
    assert (found.decision is Decision.USE) == (found.low > 1.02)
    assert found.low <= found.speedup <= found.high


@given(
    gains=st.lists(st.floats(-1, 1) | st.sampled_from([0.0, 0.02, math.log(1.02)]), min_size=1),
    correlation=st.floats(-1, 1),
    within=st.floats(0.001, 0.5),
)
@settings(max_examples=300, deadline=None)
def test_no_rounds_make_the_decision_contradict_the_interval(gains, correlation, within):
    objective = Objective(metric="seconds", within=within)
    found = told(gains, objective=objective, correlation=correlation)
    interval = signed_rank_interval(gains, correlation=correlation)
    assert found.decision in {Decision.USE, Decision.KEEP}
    assert (found.decision is Decision.USE) == (interval.low > math.log1p(within))
    assert found.low == math.exp(interval.low)
    assert interval.low <= interval.middle <= interval.high
    assert found.high == math.exp(interval.high)


def test_the_same_middle_is_told_everywhere():
    found = told([*FEW_AND_MANY, 0.5])
    assert found.speedup == pytest.approx(math.exp(hodges_lehmann([*FEW_AND_MANY, 0.5])))
    assert found.table[0].gain == pytest.approx(found.speedup)
    assert f"{found.speedup:.2f}x" in found.sentence


def test_rounds_in_two_groups_are_said_with_whose_doing_it_is():
    def reason(**levels):
        (said,) = [one for one in told(FEW_AND_MANY, **levels).reasons if "two groups" in one]
        return said

    assert reason().startswith(
        "The rounds fall into two groups, 1.22x (11) and 0.98x (5): the default is fast"
    )
    assert "intra_op=2 inter_op=1 is fast in some" in reason(levels=FEW_AND_MANY)
    half = [gain / 2 for gain in FEW_AND_MANY]
    assert "the default, or this configuration, is fast in some" in reason(levels=half)
    noise = 0.05 * np.random.default_rng(0).standard_normal(16)
    assert not any("two groups" in one for one in told(noise).reasons)


def test_rounds_that_are_alike_are_said_and_cost_certainty():
    gains = list(0.08 + 0.05 * np.random.default_rng(0).standard_normal(20))
    plain, correlated = told(gains), told(gains, correlation=0.6)
    assert plain.decision is Decision.USE
    assert correlated.decision is Decision.KEEP
    assert correlated.low < plain.low
    assert any("correlation 0.6" in one for one in correlated.reasons)
    assert not any("correlation" in one for one in plain.reasons)


def test_a_race_that_was_not_decided_is_said():
    assert any("was not decided" in one for one in told([0.1] * 20, undecided=True).reasons)
    assert not any("was not decided" in one for one in told([0.1] * 20).reasons)
    found = judged(searched(1.0, 1.3))
    assert not any("was not decided" in one for one in found.reasons)


def test_none_of_the_searchs_own_numbers_counts():
    lucky = searched(1.0, 1.05)
    lucky[0]["seconds"] = 0.5
    found = judged(lucky)
    assert found.speedup < 1.1


def test_a_drift_favours_nobody_and_is_said():
    found = judged(searched(1.0, 1.3), drift=0.05)
    assert found.low < 1.3 < found.high
    assert any("not steady" in reason for reason in found.reasons)
    assert not any("not steady" in reason for reason in judged(searched(1.0, 1.3)).reasons)


def test_a_machine_that_has_changed_since_the_search_is_said():
    found = judged(searched(1.0, 1.3, default_seconds=0.5))
    assert any("changed since the search" in reason for reason in found.reasons)
    other = {**MACHINE, "cpu_model": "another"}
    found = judged(searched(1.0, 1.3, machine=other))
    assert any("another kind of machine" in reason for reason in found.reasons)
    assert found.machine == MACHINE


def test_what_the_hypervisor_takes_is_said():
    found = judged(searched(1.0, 1.3), stolen=0.2)
    assert any("20%" in reason for reason in found.reasons)


def test_the_tied_are_named_and_the_fewest_threads_preferred():
    results = searched(1.3, 1.3, 1.29)
    for result, intra in zip(results, (4, 1, 3), strict=True):
        result["config"]["intra_op"] = intra
    found = judged(results, Objective(metric="seconds", within=0.05))
    assert found.config["intra_op"] == 1
    assert len(found.tied) > 1
    assert any("Not told apart" in reason for reason in found.reasons)


def test_the_fewest_threads_within_a_share_of_the_default_are_used_on_demand():
    results = searched(0.98, 0.99)
    results[0]["config"]["inter_op"], results[1]["config"]["inter_op"] = 1, 5
    wanted = Objective(metric="seconds", within=0.1, fewest=True)
    found = judged(results, wanted)
    assert found.decision is Decision.USE
    assert found.config["inter_op"] == 1
    assert "fewest threads within 10%" in found.sentence


def test_a_limit_is_kept_before_anything_else():
    results = searched(2.0, 1.3)
    results[0]["seconds_p99"], results[1]["seconds_p99"] = 1.5, 0.8
    strict = Objective(metric="seconds", at_most={"seconds_p99": 1.0})
    found = judged(results, strict)
    assert found.config["speed"] == 1.3
    assert "which TensorFlow's default does not" in found.sentence
    # In the search it kept the limit, in the fresh runs it does not.
    found = judged(results, strict, jittery=("1.3",))
    assert found.decision is Decision.KEEP
    assert "No configuration kept seconds_p99 at most 1" in found.sentence


def test_where_none_keeps_the_limit_the_closest_is_compared():
    results = searched(2.0, 1.3)
    results[0]["seconds_p99"], results[1]["seconds_p99"] = 0.3, 0.2
    (kind,) = kinds_of(results)
    strict = Objective(metric="seconds", at_most={"seconds_p99": 0.1})
    assert [one.config["speed"] for one in screen(contestants(kind, strict), strict, most=9)] == [
        1.3
    ]


def test_one_that_fails_when_run_again_is_named_and_the_next_is_chosen():
    found = judged(searched(1.5, 1.45), failing=("1.5",))
    assert found.config["speed"] == 1.45
    assert any("failed when it was run again" in reason for reason in found.reasons)


def test_without_the_default_there_is_no_comparison():
    found = judged(searched(1.5), failing=("default",))
    assert found.decision is Decision.UNSURE
    assert "could not be compared: sorry" in found.sentence


def test_the_best_of_the_search_are_the_finalists():
    (kind,) = kinds_of(searched(1.0, 1.5, 1.45))
    chosen = screen(contestants(kind, SECONDS), SECONDS, most=2)
    assert [one.config["speed"] for one in chosen] == [1.5, 1.45]


def test_many_are_measured_in_groups_with_a_default_of_their_own():
    assert groups([1, DEFAULT, 0]) == [[1, DEFAULT, 0]]
    asked = [*range(AT_ONCE), DEFAULT, AT_ONCE]
    first, second = groups(asked)
    assert sorted(first + second) == sorted([*asked, DEFAULT])
    assert abs(len(first) - len(second)) <= 1
    found = judged(searched(*(1.0 + 0.01 * n for n in range(AT_ONCE)), 1.5))
    assert [len(one) for one in found.rounds[:2]] == [len(first), len(second)]
    assert all(sum(one["config"] is None for one in group) == 1 for group in found.rounds)
    assert found.config["speed"] == 1.5


def test_the_defaults_own_counts_do_not_meet_the_default():
    results = searched(1.0, 1.0)
    for result, counts in zip(results, ((4, 4), (1, 1)), strict=True):
        result["config"] = dict(zip(("intra_op", "inter_op"), counts, strict=True))
    (kind,) = kinds_of(results)
    assert [one.config["intra_op"] for one in contestants(kind, SECONDS)] == [1]
    (alone,) = kinds_of(results[:1])
    assert [one.config["intra_op"] for one in contestants(alone, SECONDS)] == [4]


def test_the_time_says_how_many_can_be_compared():
    results = searched(1.0, time_total_s=2.0)
    assert affordable(results, None) == 16
    assert affordable(results, 100.0) == 6
    assert affordable(results, 1.0) == 4


def test_results_of_different_machines_are_never_ranked_together():
    small, large = ({"cpu_model": name} for name in ("small", "large"))
    results = [
        *searched(1.3, 1.2, 1.1, machine=small, node_ip="1"),
        *searched(5.0, 4.0, machine=large, node_ip="2"),
        {"config": {}, "machine": {}, "node_ip": "2"},
    ]
    kinds = kinds_of(results)
    assert [kind.machine for kind in kinds] == [small, large]
    assert [len(kind.results) for kind in kinds] == [3, 3]
    assert [kind.nodes for kind in kinds] == [["1"], ["2"]]


def test_a_verdict_is_json_without_nan():
    found = judged(searched(1.5), failing=("default",)).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["decision"] == "unsure"
    assert found["speedup"] is None
    assert "rounds" not in found


@pytest.mark.usefixtures("ray_cluster")
def test_it_runs_as_a_trial_of_ray_and_watches():
    trainable = one_step("Simulated", Simulated)
    seen = []
    watched = lambda course: seen.append((course.stage, len(course.rounds)))  # noqa: E731
    found = verdict(searched(1.0, 1.3), trainable, objective=SECONDS, watch=watched)
    assert found.decision is Decision.USE
    assert found.config["speed"] == 1.3
    assert [number for _, number in seen] == list(range(1, len(found.rounds) + 1))
    assert seen[-1][0] is Stage.DONE


class LostOnce(Simulated):
    """A noisy machine that is lost in its first round, when all the time has been used."""

    def measure_round(self, configs):
        if not self.odd["before"].exists():
            self.odd["before"].touch()
            time.sleep(2 * LOST_BUDGET_S)
            os._exit(1)
        return super().measure_round(configs)


LOST_BUDGET_S = 3.0


@pytest.mark.usefixtures("ray_cluster")
def test_the_time_that_went_with_a_lost_node_is_not_spent_again(tmp_path):
    before = tmp_path / "lost"
    trainable = one_step("LostOnce", functools.partial(LostOnce, noise=0.5, before=before))
    found = verdict(searched(1.0, 1.0), trainable, objective=SECONDS, budget_s=LOST_BUDGET_S)
    assert before.exists()
    assert found.race_rounds == LEAST_RACE
    assert found.runs == LEAST_FINAL


def test_a_kind_of_machine_whose_nodes_are_gone_is_said(ray_cluster):
    (node,) = ray_cluster.nodes()
    gone = {**MACHINE, "cpu_model": "gone"}
    results = [
        *searched(1.0, 1.3, node_ip=node["NodeManagerAddress"]),
        *searched(2.0, machine=gone, node_ip="192.0.2.1"),
    ]
    found = verdict(results, one_step("Simulated", Simulated), objective=SECONDS)
    assert found.decision is Decision.USE
    assert [one.decision for one in found.elsewhere] == [Decision.UNSURE]
    assert "no node of its kind" in found.elsewhere[0].sentence


@pytest.mark.usefixtures("ray_cluster")
def test_where_nothing_worked_it_says_why():
    results = [{"config": {"intra_op": 1}, "outcome": "exited", "error": "sorry"}]
    found = verdict(results, one_step("Simulated", Simulated))
    assert found.decision is Decision.NONE
    assert found.sentence == "No trial worked. sorry"


def test_a_mistake_is_named():
    with pytest.raises(InvalidInputError, match="made by benchmark"):
        verdict(searched(1.0), object)
    with pytest.raises(InvalidInputError, match="finalists"):
        verdict(searched(1.0), one_step("Simulated", Simulated), finalists=0)
