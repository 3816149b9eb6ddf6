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
from steady import Steady, config_of

from kamerton_ray import Decision, InvalidInputError, Objective, verdict
from kamerton_ray.answer.candidates import kinds_of
from kamerton_ray.answer.deciding import decide
from kamerton_ray.answer.final import LEAST_FINAL
from kamerton_ray.answer.finalists import affordable, contestants, has_time, screen
from kamerton_ray.answer.head_to_head import Stage
from kamerton_ray.answer.race import AT_ONCE, DEFAULT
from kamerton_ray.answer.rounds import Contest, Course, groups
from kamerton_ray.answer.signed_rank import signed_rank_interval
from kamerton_ray.machine.hardware import Machine
from kamerton_ray.trial.estimate import hodges_lehmann
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.results import trial_results
from kamerton_ray.tune.trainable import one_step

for pickler in (cloudpickle, rays):
    pickler.register_pickle_by_value(sys.modules[__name__])

MACHINE = {"cpu_model": "simulated", "usable_cpus": 4}


class Simulated:
    """A machine on which intra_op divides the step time; it slows down with every round."""

    def __init__(self, *, drift=0.0, noise=0.01, machine=MACHINE, seed=0, **odd):
        self.drift, self.noise, self.machine, self.odd = drift, noise, machine, odd
        self.room = odd.get("room", math.inf)
        self.rounds = 0
        self.random = random.Random(seed)  # noqa: S311 - noise

    def measure(self, config):
        return self.measure_round([config])[0]

    def fits(self, configs):
        return len(configs) <= self.room

    def measure_round(self, configs):
        self.rounds += 1
        return [Result.of(self._result(config)) for config in configs]

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
            "seconds_p99": seconds * self._tail(broken),
            "outcome": "ok",
            "machine": self.machine,
            "stolen": self.odd.get("stolen", 0.0),
            "others": self.odd.get("others", 0.0),
            "beside": self.odd.get("beside", ""),
            "held_back": self.odd.get("held_back", {}).get(broken, math.nan),
            "unchecked": self.odd.get("unchecked", {}).get(broken, ()),
        }

    def _tail(self, name):
        if name in self.odd.get("silent", ()):
            return math.nan
        return 3 if name in self.odd.get("jittery", ()) else 1.1


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


class Trained(Simulated):
    """A machine whose programs report NumPy's numbers: a loss, which may be 0 or less."""

    def __init__(self, *, default=0.5, noise=0.01, **odd):
        super().__init__(noise=noise, **odd)
        self.default = default

    def _result(self, config):
        target = self.default if config is None else config["target"]
        return {
            "loss": np.float32(target + self.noise * self.random.gauss(0, 1)),
            "rank": np.int64(1),
            "outcome": "ok",
            "machine": self.machine,
        }


def trained(*targets, kind=np.float32):
    """What a search over configurations of these losses would have found."""
    return [
        {
            "config": {"intra_op": 2, "inter_op": number + 1, "target": target},
            "loss": kind(target),
            "machine": MACHINE,
        }
        for number, target in enumerate(targets)
    ]


SECONDS = Objective(metric="seconds")
LOSS = Objective(metric="loss")


def judged(results, objective=SECONDS, by=Simulated, *, shared=False, **machine):
    """The verdict on these results without Ray."""
    (kind,) = kinds_of(trial_results(results))
    chosen = screen(contestants(kind, objective), objective, most=12)
    contest = Contest(
        by(**machine),
        [one.config for one in chosen],
        objective,
        searched=[one.results for one in chosen],
    )
    while not contest.step():
        continue
    return decide(contest.course, objective, searched=kind, shared=shared)


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
                Result(config=None, seconds=math.exp(gain - level)),
                Result(config=own, seconds=math.exp(-level)),
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
    (kind,) = kinds_of(trial_results(searched(1.0)))
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


def test_what_the_search_has_found_helps_to_choose():
    """Not much is told by two that are close: the trials of the search tell who is measured on."""
    results = trial_results(searched(1.30, 1.27, 1.24, 1.21))

    def processes(trials):
        finalists = [one.config for one in results]
        contest = Contest(Simulated(noise=0.05), finalists, SECONDS, searched=trials)
        while not contest.step():
            continue
        return sum(len(one) for one in contest.course.rounds[: contest.course.race_rounds])

    assert processes([[one] * 3 for one in results]) < processes([])


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
    assert found.machine == Machine.of(MACHINE)


def test_what_the_hypervisor_takes_is_said():
    found = judged(searched(1.0, 1.3), stolen=0.2)
    assert any("20%" in reason for reason in found.reasons)


BUSY = {"others": 1.0, "beside": "stress (process 7) 1.0"}


@pytest.mark.parametrize("speed", [1.41, 1.0])
def test_beside_other_work_there_is_neither_a_win_nor_a_reason_to_keep_the_default(speed):
    """One thread looked 1.41 times faster beside a busy process, and was not."""
    found = judged(searched(1.0, speed), **BUSY)
    assert found.decision is Decision.BUSY
    assert found.sentence.startswith("The machine was busy. Beside other work that took 1.0 CPUs")
    assert "stress (process 7) 1.0" in found.sentence
    assert "end the other work" in found.sentence
    assert found.low <= speed <= found.high


def test_the_answer_of_a_shared_machine_is_given_to_who_asks_for_it_and_says_so():
    found = judged(searched(1.0, 1.41), shared=True, **BUSY)
    assert found.decision is Decision.USE
    assert found.sentence.startswith("Beside other work that took 1.0 CPUs, last seen: stress")
    kept = judged(searched(1.0, 1.0), shared=True, **BUSY)
    assert kept.decision is Decision.KEEP


def test_what_runs_on_every_machine_is_no_other_work():
    assert judged(searched(1.0, 1.41), others=0.05).decision is Decision.USE
    assert judged(searched(1.0, 1.41), others=math.nan).decision is Decision.USE


def test_a_quota_that_stops_the_default_is_said():
    found = judged(searched(1.0, 1.3), held_back={"default": 0.43, "1.3": 0.0})
    said = [reason for reason in found.reasons if "quota" in reason]
    assert said == [
        (
            "The CPU quota made TensorFlow's default wait for 43% and intra_op=2 inter_op=2 "
            "speed=1.3 wait for 0% of the CPU time that was asked for."
        )
    ]


def test_a_quota_that_stops_many_periods_for_no_time_is_not_said():
    found = judged(searched(1.0, 1.3), held_back={"default": 0.001, "1.3": 0.002})
    assert not [reason for reason in found.reasons if "quota" in reason]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("MALLOC_ARENA_MAX",), "that MALLOC_ARENA_MAX took effect."),
        (("TF_XLA_FLAGS",), "TF_XLA_FLAGS took effect. TensorFlow's log shows it where TF_CPP_MIN"),
    ],
)
def test_what_nothing_shows_of_a_programs_knobs_is_said(names, said):
    chosen, another = (
        [one for one in judged(searched(1.0, 1.3), unchecked=told).reasons if "Not checked" in one]
        for told in ({"1.3": names}, {"1.0": names})
    )
    assert said in chosen[0]
    assert ("TF_CPP_MIN_LOG_LEVEL" in chosen[0]) is ("TF_XLA_FLAGS" in names)
    assert another == []


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
    (kind,) = kinds_of(trial_results(results))
    strict = Objective(metric="seconds", at_most={"seconds_p99": 0.1})
    assert [one.config["speed"] for one in screen(contestants(kind, strict), strict, most=9)] == [
        1.3
    ]


def test_what_is_unknown_keeps_no_limit():
    results = searched(2.0, 1.3)
    results[0]["seconds_p99"], results[1]["seconds_p99"] = math.nan, 0.8
    strict = Objective(metric="seconds", at_most={"seconds_p99": 1.0})
    (kind,) = kinds_of(trial_results(results))
    chosen = screen(contestants(kind, strict), strict, most=9)
    assert [one.config["speed"] for one in chosen] == [1.3]
    results[1]["seconds_p99"] = 1.5  # not even one that is known to break it comes after it
    (kind,) = kinds_of(trial_results(results))
    chosen = screen(contestants(kind, strict), strict, most=9)
    assert [one.config["speed"] for one in chosen] == [1.3]


def test_fresh_runs_that_do_not_say_it_do_not_show_that_a_limit_is_kept():
    results = searched(1.3, 1.2, seconds_p99=0.5)
    strict = Objective(metric="seconds", at_most={"seconds_p99": 2.0})
    assert judged(results, strict).decision is Decision.USE
    found = judged(results, strict, silent=("1.3", "1.2"))
    assert found.decision is Decision.KEEP
    assert "No configuration kept seconds_p99 at most 2" in found.sentence


@pytest.mark.parametrize(
    ("options", "unknown"),
    [({"metric": "loss"}, "loss"), ({"metric": "seconds", "at_most": {"p99": 1}}, "p99")],
)
def test_what_no_result_reports_is_named_with_what_they_do_report(options, unknown):
    trainable = one_step("Simulated", Simulated)
    with pytest.raises(InvalidInputError, match=rf"report '{unknown}' .* report \['default_sec"):
        verdict(searched(1.0), trainable, objective=Objective(**options))


def test_one_that_fails_when_run_again_is_named_and_the_next_is_chosen():
    found = judged(searched(1.5, 1.45), failing=("1.5",))
    assert found.config["speed"] == 1.45
    assert any("failed when it was run again" in reason for reason in found.reasons)


def test_without_the_default_there_is_no_comparison():
    found = judged(searched(1.5), failing=("default",))
    assert found.decision is Decision.UNSURE
    assert "could not be compared: sorry" in found.sentence


def test_the_best_of_the_search_are_the_finalists():
    (kind,) = kinds_of(trial_results(searched(1.0, 1.5, 1.45)))
    chosen = screen(contestants(kind, SECONDS), SECONDS, most=2)
    assert [one.config["speed"] for one in chosen] == [1.5, 1.45]


QUOTA = {**MACHINE, "usable_cpus": 1, "default_intra_op": 2, "default_inter_op": 2}
"""A container that may use one of two CPUs: TensorFlow counts two."""


def test_under_a_quota_the_counts_that_it_allows_are_not_the_default():
    results = [
        {**one, "config": {"intra_op": intra, "inter_op": inter}}
        for one, (intra, inter) in zip(
            searched(1.8, 1.7, 1.0, machine=QUOTA), [(1, 1), (1, 2), (2, 2)], strict=True
        )
    ]
    (kind,) = kinds_of(trial_results(results))
    compared = [
        (one.config["intra_op"], one.config["inter_op"]) for one in contestants(kind, SECONDS)
    ]
    assert compared == [(1, 1), (1, 2)]


def test_what_the_default_was_is_said_where_nobody_expects_it():
    found = judged(searched(1.3, machine=QUOTA), machine=QUOTA)
    (said,) = [one for one in found.reasons if "usable CPUs" in one]
    assert said.startswith(
        "TensorFlow's default was intra_op=2 inter_op=2 here (usable CPUs: 1), since "
    )
    assert not [one for one in judged(searched(1.3)).reasons if "usable CPUs" in one]


def test_many_are_measured_in_groups_with_a_default_of_their_own():
    assert groups([1, DEFAULT, 0]) == [[1, DEFAULT, 0]]
    asked = [*range(AT_ONCE), DEFAULT, AT_ONCE]
    first, second = groups(asked)
    assert sorted(first + second) == sorted([*asked, DEFAULT])
    assert abs(len(first) - len(second)) <= 1
    found = judged(searched(*(1.5 - 0.001 * n for n in range(AT_ONCE + 1))))
    assert [len(one) for one in found.rounds[:2]] == [len(first), len(second)]
    assert all(sum(one.config is None for one in group) == 1 for group in found.rounds[:2])
    assert found.config["speed"] >= 1.48
    clear = judged(searched(*(1.0 + 0.01 * n for n in range(AT_ONCE)), 1.5))
    assert clear.config["speed"] == 1.5


def test_without_a_default_they_are_measured_in_one_group_if_there_is_memory_for_it():
    assert groups([1, 0]) == [[1, 0]]
    for found in (groups([*range(AT_ONCE + 1)]), groups([2, 0], lambda group: len(group) <= 1)):
        assert len(found) == 2
        assert all(group.count(DEFAULT) == 1 for group in found)


def test_where_the_default_takes_no_part_their_own_times_choose():
    """Without it there are no speed-ups."""
    speeds = {(2, 1): 2.0, (2, 2): 1.97, (1, 2): 1.9}
    configs = [config_of(*key) for key in speeds]
    contest = Contest(Steady(speeds, noise=0.03), configs, Objective())
    while not contest.step():
        continue
    without = [found for found in contest.course.rounds if all(one.config for one in found)]
    assert without
    assert all(math.isnan(one.speedup) for found in without for one in found)
    assert contest.course.chosen in configs[:2]
    assert contest.course.interval.low <= math.log(2) <= contest.course.interval.high


def test_what_does_not_fit_into_memory_at_once_is_measured_in_smaller_groups():
    assert groups([0, DEFAULT, 1, 2], lambda group: len(group) <= 2) == [
        [0, DEFAULT],
        [DEFAULT, 1],
        [DEFAULT, 2],
    ]
    assert groups([0, DEFAULT], lambda _: False) == [[0, DEFAULT]]  # it is for the measurer to say
    found = judged(searched(1.0, 1.1, 1.5), room=3)
    assert max(map(len, found.rounds)) <= 3
    assert found.config["speed"] == 1.5


def test_the_defaults_own_counts_do_not_meet_the_default():
    results = searched(1.0, 1.0)
    for result, counts in zip(results, ((4, 4), (1, 1)), strict=True):
        result["config"] = dict(zip(("intra_op", "inter_op"), counts, strict=True))
    (kind,) = kinds_of(trial_results(results))
    assert [one.config["intra_op"] for one in contestants(kind, SECONDS)] == [1]
    (alone,) = kinds_of(trial_results(results[:1]))
    assert [one.config["intra_op"] for one in contestants(alone, SECONDS)] == [4]


def own_counts(config, *, others):
    """Whether a configuration takes part beside these."""
    results = searched(*[1.0] * (1 + len(others)))
    for result, one in zip(results, (config, *others), strict=True):
        result["config"] = one
    (kind,) = kinds_of(trial_results(results))
    return config in [one.config for one in contestants(kind, SECONDS)]


@pytest.mark.parametrize(
    ("config", "other", "takes_part"),
    [
        ({"intra_op": 4, "inter_op": 4}, {"intra_op": 1, "inter_op": 1}, False),
        ({"intra_op": np.int64(4)}, {"intra_op": 1}, False),
        ({"intra_op": 0, "inter_op": 0}, {"intra_op": 1, "inter_op": 1}, False),
        ({"intra_op": 4, "batch": 32}, {"intra_op": 1, "batch": 32}, False),
        # With another batch it is another model, and the default runs without the variable.
        ({"intra_op": 4, "batch": 32}, {"intra_op": 4, "batch": 8}, True),
        ({"intra_op": 4, "OMP_NUM_THREADS": 2}, {"intra_op": 1, "OMP_NUM_THREADS": 2}, True),
        ({"batch": 32}, {"batch": 8}, True),
    ],
)
def test_only_what_is_the_default_itself_does_not_meet_it(config, other, takes_part):
    assert own_counts(config, others=[other]) == takes_part


# --- values of 0 or less -------------------------------------------------------------------------


def test_a_loss_below_zero_wins_by_a_difference_and_the_sentence_says_so():
    found = judged(trained(0.3, -0.2, -0.1), LOSS, Trained)
    assert found.decision is Decision.USE
    assert found.config["target"] == -0.2
    assert not found.ratios
    assert math.isnan(found.speedup)
    assert found.low < 0.7 < found.high
    assert found.sentence == (
        f"intra_op=2 inter_op=2 target=-0.2 is {found.difference:.3g} [{found.low:.3g}, "
        f"{found.high:.3g}] lower in loss than TensorFlow's default (95 %, {found.runs} fresh "
        "runs each)."
    )


def test_its_table_says_differences_too():
    best, *_, default = judged(trained(0.3, -0.2), LOSS, Trained).table
    assert best.gain == pytest.approx(0.7, abs=0.02)
    assert best.value == pytest.approx(-0.2, abs=0.02)
    assert (default.config, default.gain) == (None, 0)
    assert default.value == pytest.approx(0.5, abs=0.02)


def test_zero_is_the_best_loss_and_not_a_failure():
    found = judged(trained(0.4, 0.0), LOSS, Trained, noise=0.0)
    assert (found.decision, found.config["target"]) == (Decision.USE, 0.0)
    assert found.difference == 0.5


@pytest.mark.parametrize(
    ("options", "targets", "default", "decision"),
    [
        ({}, (-95.9,), -95.0, Decision.KEEP),  # within 2 % of the default's absolute value
        ({"within": 0.005}, (-95.9,), -95.0, Decision.USE),
        ({"within": 0.5}, (-5.5,), -4.0, Decision.KEEP),
        ({"within": 0.5}, (-6.5,), -4.0, Decision.USE),
        ({}, (0.0, 0.2), 0.0, Decision.KEEP),
        ({}, (-0.1, 0.2), 0.0, Decision.USE),  # where that is 0 every difference counts
        ({"mode": "max"}, (-0.1, -0.2), -0.3, Decision.USE),
        ({"mode": "max"}, (-0.4, -0.5), -0.3, Decision.KEEP),
    ],
)
def test_the_tolerance_is_a_share_of_the_defaults_absolute_value(
    options, targets, default, decision
):
    objective = Objective(metric="loss", **options)
    found = judged(trained(*targets), objective, Trained, default=default)
    assert found.decision is decision


def test_where_a_value_turns_out_to_have_no_ratio_it_begins_anew_with_differences():
    class Later(Trained):
        def _result(self, config):
            # Until the final every loss is above 0.
            found = super()._result(config)
            return {**found, "loss": found["loss"] - (self.rounds > 6)}

    found = judged(trained(0.2, 0.3), LOSS, Later, noise=0.001)
    assert found.decision is Decision.USE
    assert found.race_rounds > 6
    assert found.difference == pytest.approx(0.3, abs=0.01)


def test_losses_above_zero_have_ratios():
    found = judged(trained(0.2, 0.3), LOSS, Trained, noise=0.001)
    assert found.ratios
    assert found.speedup == pytest.approx(2.5, rel=0.05)
    assert math.isnan(found.difference)


@pytest.mark.usefixtures("ray_cluster")
def test_numpys_numbers_below_zero_are_judged_in_a_trial_of_ray():
    trainable = one_step("Trained", Trained)
    found = verdict(trained(0.3, -0.2), trainable, objective=LOSS)
    assert found.decision is Decision.USE
    assert "lower in loss than TensorFlow's default" in found.sentence
    told = json.loads(json.dumps(found.to_json(rounds=True), allow_nan=False))
    assert told["difference"] == pytest.approx(0.7, abs=0.02)
    assert told["speedup"] is None
    assert {type(one["loss"]) for results in told["rounds"] for one in results} == {float}
    assert told["rounds"][0][0]["rank"] == 1


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("kind", [str, bool, lambda _: math.inf, lambda _: None])
def test_what_is_no_number_did_not_work(kind):
    found = verdict(trained(0.3, -0.2, kind=kind), one_step("Trained", Trained), objective=LOSS)
    assert found.decision is Decision.NONE


# --- how many, and on which machines -------------------------------------------------------------


def test_the_time_says_how_many_can_be_compared():
    results = trial_results(searched(1.0, time_total_s=2.0))
    assert affordable(results, None) == 40
    assert affordable(results, 20.0) == 3
    assert affordable(results, 1.0) == 1


def timed(speeds, *, budget_s):
    """The verdict of a comparison that may take so long; each look at the clock is a second."""
    clock = iter(range(1000))  # it is looked at four times a round
    (kind,) = kinds_of(trial_results(searched(*speeds)))
    contest = Contest(
        Simulated(noise=0.05),
        [{"intra_op": 2, "inter_op": 1, "speed": speed} for speed in speeds],
        SECONDS,
        budget_s=budget_s,
        clock=lambda: float(next(clock)),
    )
    while not contest.step():
        continue
    return decide(contest.course, SECONDS, searched=kind)


@pytest.mark.parametrize(
    ("speed", "rounds", "decision", "said"),
    [
        (
            *(1.05, 6, Decision.UNSURE),
            "Undecided so far: intra_op=2 inter_op=1 speed=1.05 against TensorFlow's default, 1.",
        ),
        (2.0, 6, Decision.USE, "intra_op=2 inter_op=1 speed=2.0 is 2."),
        (0.5, 6, Decision.KEEP, "No configuration beat TensorFlow's default"),
        (2.0, 1, Decision.UNSURE, "intra_op=2 inter_op=1 speed=2.0 is the best so far"),
    ],
)
def test_when_its_time_is_over_a_comparison_says_what_is_known_by_then(
    speed, rounds, decision, said
):
    found = timed([speed], budget_s=4.0 * rounds)
    assert found.decision is decision
    assert found.sentence.startswith(said)
    assert len(found.rounds) == rounds


@pytest.mark.parametrize(("other", "is_tied"), [(1.0, False), (1.97, True)])
def test_what_is_far_behind_is_told_apart_though_the_race_was_cut_short(other, is_tied):
    found = timed([2.0, other], budget_s=30.0)
    assert (len(found.tied) == 2) is is_tied
    assert any(one.startswith("Not told apart from the best") for one in found.reasons) is is_tied


def test_where_there_is_no_time_for_a_round_nothing_is_compared():
    results = trial_results(searched(1.0, time_total_s=2.0))
    assert has_time(results, None)
    assert has_time(results, 4.0)
    assert not has_time(results, 3.9)
    unknown = trial_results(searched(1.0, time_total_s=math.nan))
    assert has_time(unknown, 0.1)


def test_results_of_different_machines_are_never_ranked_together():
    small, large = ({"cpu_model": name} for name in ("small", "large"))
    results = [
        *searched(1.3, 1.2, 1.1, machine=small, node_ip="1"),
        *searched(5.0, 4.0, machine=large, node_ip="2"),
        {"config": {}, "machine": {}, "node_ip": "2"},
    ]
    kinds = kinds_of(trial_results(results))
    assert [kind.machine for kind in kinds] == [Machine.of(small), Machine.of(large)]
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


LOST_BUDGET_S = 1.5


@pytest.mark.usefixtures("ray_cluster")
def test_the_time_that_went_with_a_lost_node_is_not_spent_again(tmp_path):
    before = tmp_path / "lost"
    trainable = one_step("LostOnce", functools.partial(LostOnce, noise=0.5, before=before))
    results = searched(1.0, 1.0, time_total_s=0.1)
    found = verdict(results, trainable, objective=SECONDS, budget_s=LOST_BUDGET_S)
    assert before.exists()
    assert len(found.rounds) == 1  # there is no time for more
    assert found.decision is Decision.UNSURE


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


def test_several_kinds_of_machines_share_the_time(ray_cluster):
    """Six seconds are enough for a round of two trials of two seconds, but not for two rounds."""
    (node,) = ray_cluster.nodes()
    usual = {"node_ip": node["NodeManagerAddress"], "time_total_s": 2.0}
    results = searched(1.0, 1.3, **usual)
    trainable = one_step("Simulated", Simulated)
    alone = verdict(results, trainable, objective=SECONDS, budget_s=6.0)
    assert alone.rounds
    results += searched(2.0, machine={**MACHINE, "cpu_model": "other"}, **usual)
    both = verdict(results, trainable, objective=SECONDS, budget_s=6.0)
    for found in (both, *both.elsewhere):
        assert "there was no time to compare the two" in found.sentence


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


@pytest.mark.parametrize(
    "options", [{"metric": "foo"}, {"metric": "seconds", "at_most": {"foo": 1}}]
)
def test_an_objective_of_which_no_result_knows_is_refused(options):
    trainable = one_step("Simulated", Simulated)
    with pytest.raises(InvalidInputError, match=r"must report 'foo' .* but report \['default_sec"):
        verdict(searched(1.0), trainable, objective=Objective(**options))
