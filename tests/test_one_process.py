"""What is said of several instances: against the default, and against the best single process."""

import math
import re
from dataclasses import replace

import pytest
from steady import Steady, searched

from kamerton_ray import Objective
from kamerton_ray.answer.candidates import kinds_of
from kamerton_ray.answer.deciding import decide
from kamerton_ray.answer.finalists import contestants, screen
from kamerton_ray.answer.race import LEAST_RACE
from kamerton_ray.answer.rounds import Contest
from kamerton_ray.answer.verdict import Decision
from kamerton_ray.trial.config import in_words, instances_of, pinned
from kamerton_ray.tune.results import trial_results

STEPS = Objective()


def judged(speeds, objective=STEPS, *, more=(), **machine):
    """The verdict on configurations of (instances, intra_op) with these speed-ups."""
    kind = kinds_of(trial_results([*searched(speeds), *more]))[0]
    chosen = screen(contestants(kind, objective), objective, most=16)
    contest = Contest(Steady(speeds, **machine), [one.config for one in chosen], objective)
    while not contest.step():
        continue
    return decide(contest.course, objective, searched=kind)


def test_the_sentence_says_how_many_times_the_steps_the_latency_and_the_best_single_process():
    found = judged({(2, 1): 2.02, (1, 1): 1.03, (1, 2): 0.8}, p99={(2, 1): 0.026, None: 0.029})
    assert found.decision is Decision.USE
    assert re.fullmatch(
        r"2 instances of intra_op=1 inter_op=1 do 2\.0\dx \[[\d., ]+\] the steps of TensorFlow's "
        r"default \(95 %, \d+ fresh runs each\); p99 26 ms instead of 29; the best single process, "
        r"intra_op=1 inter_op=1, does 1\.0\dx\.",
        found.sentence,
    )


def test_the_table_says_how_many_cpus_each_keeps_busy():
    found = judged({(2, 1): 2.0, (1, 1): 1.0}, cpu={(2, 1): 0.02, None: 0.03})
    cpus = {one.config and one.config["instances"]: one.cpus for one in found.table}
    assert cpus == pytest.approx({2: 0.04, 1: 0.03, None: 0.03}, rel=0.02)
    assert all(math.isnan(one.memory) for one in found.table)  # nobody looked


def test_a_single_process_that_wins_is_said_as_one():
    found = judged({(2, 1): 1.1, (1, 3): 1.5})
    assert found.sentence.startswith("1 instance of intra_op=3 inter_op=1 does 1.")
    assert "best single process" not in found.sentence


def test_where_every_single_process_is_the_default_that_is_said():
    found = judged({(2, 1): 1.5, (1, 4): 1.0})  # four CPUs, so the default's own counts
    assert found.sentence.endswith("the best single process of the search is TensorFlow's default.")


def test_where_there_was_no_time_for_a_single_process_none_is_spoken_of():
    kind = kinds_of(trial_results(searched({(2, 1): 1.5, (1, 1): 1.2, (2, 2): 1.1})))[0]
    (best,) = screen(contestants(kind, STEPS), STEPS, most=1)
    contest = Contest(Steady({(2, 1): 1.5}), [best.config], STEPS)
    while not contest.step():
        continue
    found = decide(replace(contest.course, left_out=2), STEPS, searched=kind)
    assert "best single process" not in found.sentence
    assert "its best alone was compared, not with 2 others" in found.reasons[0]


def test_the_best_single_process_is_measured_a_few_times_however_far_behind_it_is():
    found = judged({(4, 1): 2.0, (2, 1): 1.9, (1, 1): 0.5})
    assert "the best single process, intra_op=1 inter_op=1, does 0.5" in found.sentence
    single = next(row for row in found.table if row.config and instances_of(row.config) == 1)
    assert single.runs >= LEAST_RACE


def test_the_best_single_process_takes_part_whatever_the_search_thinks_of_it():
    speeds = {(2, number): 1.2 + 0.01 * number for number in range(1, 21)} | {(1, 1): 0.6}
    kind = kinds_of(trial_results(searched(speeds)))[0]
    chosen = screen(contestants(kind, STEPS), STEPS, most=4)
    assert len(chosen) == 4
    assert [instances_of(one.config) for one in chosen] == [2, 2, 2, 1]
    assert [instances_of(one.config) for one in screen(chosen, STEPS, most=1)] == [2]


def test_a_limit_that_only_instances_keep_is_said_of_them():
    objective = Objective(metric="cpus", at_least={"throughput": 1.5})
    found = judged({(2, 1): 2.0, (1, 1): 1.0}, objective)
    assert found.decision is Decision.USE
    assert found.sentence.startswith(
        "2 instances of intra_op=1 inter_op=1 keep throughput at least 1.5, which TensorFlow's "
        "default does not; they are "
    )


def test_one_that_does_as_much_with_less_cpu_is_worth_a_sentence():
    found = judged({(1, 1): 1.0, (1, 2): 0.9}, cpu={(1, 1): 0.0205, None: 0.031})
    assert found.decision is Decision.KEEP
    (said,) = [one for one in found.reasons if one.startswith("CPU: ")]
    assert re.match(
        r"CPU: 1 instance of intra_op=1 inter_op=1 took 34% less CPU a step than TensorFlow's "
        r"default \(20.5 instead of 31 ms\), for (0\.99|1\.0[01])x its steps in \d+ runs\.",
        said,
    )


def test_the_same_is_said_of_times():
    found = judged({(1, 1): 1.0}, Objective(metric="seconds"), cpu={(1, 1): 1.2, None: 3.1})
    (said,) = [one for one in found.reasons if one.startswith("CPU: ")]
    assert "took 61% less CPU a step than TensorFlow's default (1.2 instead of 3.1 s)" in said
    assert re.search(r"for 1\.0\dx its speed in \d+ runs\.$|for 0\.9\dx its speed in", said)


def test_what_a_cheaper_one_has_gained_is_said_as_in_the_answer():
    found = judged({(2, 1): 2.0, (1, 1): 1.0}, cpu={(2, 1): 0.02, None: 0.03})
    assert found.runs < len(found.rounds)
    (said,) = [one for one in found.reasons if one.startswith("CPU: ")]
    assert said.endswith(f"for {found.speedup:.2f}x its steps in {found.runs} runs.")


@pytest.mark.parametrize("speed", [0.9, 1.0])
def test_one_that_does_less_or_takes_as_much_is_not(speed):
    cpu = {(1, 1): 0.02 if speed < 1 else 0.03, None: 0.031}
    assert not any("CPU: " in one for one in judged({(1, 1): speed}, cpu=cpu).reasons)


def test_what_was_not_started_for_want_of_memory_is_said():
    config = {"instances": 4, "intra_op": 1, "inter_op": 1}
    error = "it would not fit\n4 instances may need 9.6 GB, and 3.0 GB are left"
    failed = {"config": config, "outcome": "no_room", "error": error}
    found = judged({(2, 1): 1.5, (1, 1): 1.0}, more=[failed])
    assert (
        "1 trial was not started for want of memory (4 instances of intra_op=1 inter_op=1: "
        "4 instances may need 9.6 GB, and 3.0 GB are left)."
    ) in found.reasons


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"instances": 2, "intra_op": 1}, "2 instances of intra_op=1"),
        ({"instances": 1, "intra_op": 3}, "1 instance of intra_op=3"),
        ({"instances": 2}, "2 instances"),
        ({"intra_op": 3}, "intra_op=3"),
    ],
)
def test_a_configuration_in_words(config, said):
    assert in_words(config) == said


@pytest.mark.parametrize(("said", "is_so"), [(1, True), (0, False), (True, True)])
def test_pinned_is_yes_or_no(said, is_so):
    assert pinned({"pinned": said}) is is_so


@pytest.mark.parametrize("said", [2, -1, "1", None, 0.5])
def test_anything_else_is_refused(said):
    with pytest.raises(ValueError, match="pinned must be 0 or 1, but got"):
        pinned({"pinned": said})


def test_instances_that_do_the_steps_of_the_default_are_no_win():
    found = judged({(2, 1): 1.0, (1, 1): 0.9})
    assert found.decision is Decision.KEEP
    assert "chosen for the final: 2 instances of intra_op=1 inter_op=1, " in found.sentence
