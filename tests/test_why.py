"""Why: what is said of a model's traits, by what was measured; and the look inside of a step."""

import math
import statistics
import sys
import time

import cloudpickle
import pytest

from kamerton_ray.answer.candidates import Kind
from kamerton_ray.answer.rounds import Course
from kamerton_ray.answer.why import why
from kamerton_ray.machine.hardware import UNKNOWN
from kamerton_ray.process.inside import look_inside
from kamerton_ray.process.outcome import AttemptError, Outcome
from kamerton_ray.trial.bench import Bench, BenchOptions, Isolation
from kamerton_ray.trial.looking import looked_inside
from kamerton_ray.trial.result import Result
from kamerton_ray.trial.timing import Timing, TimingOptions

cloudpickle.register_pickle_by_value(sys.modules[__name__])

MACHINE = {"cpu_model": "simulated", "usable_cpus": 4}
USUAL = {
    "seconds": 0.02,
    "cpu_seconds": 0.06,
    "system_seconds": 0.002,
    "faults": 10.0,
    "cpus": 3.0,
    "python_seconds": 0.001,
    "input_seconds": 0.0,
    "outcome": "ok",
    "machine": MACHINE,
}
"""A default that four threads serve well."""

ONE = {"instances": 1, "intra_op": 1, "inter_op": 1}
TWO = {**ONE, "instances": 2}
ALONE = {"config": ONE, "seconds": 0.05, "cpu_seconds": 0.05, "speedup": 0.4, "outcome": "ok"}
BOTH = {"config": TWO, "seconds": 0.05, "cpu_seconds": 0.052, "speedup": 0.8, "outcome": "ok"}


def said(*others, searched=(), **default):
    """What is said of a comparison of two rounds."""
    results = [Result.of({**USUAL, **default}), *map(Result.of, others)]
    finalists = [dict(one.config) for one in results[1:]]
    course = Course(finalists=finalists, rounds=[results, results])
    return why(course, Kind(UNKNOWN, [], [Result.of(one) for one in searched]))


def test_of_a_model_that_its_threads_serve_well_nothing_is_said():
    assert said(ALONE, BOTH) == []


def test_where_nothing_was_measured_nothing_is_said():
    nothing = dict.fromkeys((n for n in USUAL if n not in {"outcome", "machine"}), None)
    assert said(**nothing) == []
    assert said({"config": ONE}, {"config": TWO}, **nothing) == []
    assert said({**ALONE, "cpu_seconds": 0.0}, {**BOTH, "speedup": 0.0}, cpu_seconds=0.0) == []


@pytest.mark.parametrize(
    ("default", "begins", "holds"),
    [
        ({"python_seconds": 0.018}, "Python: 18 ms of the default's 20 ms a step", "a tf.function"),
        (
            {"python_seconds": 0.018, "loop": "predict"},
            "Python: ",
            "in what predict() does around the model",
        ),
        ({"input_seconds": 0.012}, "Input: 12 ms of the default's 20 ms a step", ".prefetch("),
        (
            {"faults": 3000.0, "system_seconds": 0.02},
            "Memory: a step of the default takes 3000 pages anew from the kernel, where 33% of",
            "MALLOC_TRIM_THRESHOLD_=",
        ),
        ({"cpus": 1.0}, "One thread does nearly all: the default keeps 1.0 of 4 CPUs busy", "auto"),
    ],
)
def test_a_trait_of_the_default_is_said_alone_with_its_evidence(default, begins, holds):
    (sentence,) = said(**default)
    assert sentence.startswith(begins)
    assert holds in sentence


def runs(threads):
    """Runs of a program with one to three threads of each kind, which had so many in all."""
    return [
        {
            "config": {"intra_op": intra, "inter_op": inter},
            "objective": 3.0,
            "threads": threads(intra, inter),
            "outcome": "ok",
        }
        for intra, inter in [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)]
    ]


@pytest.mark.parametrize(
    ("threads", "in_all", "names"),
    [
        (lambda _, __: 5, "5", "intra_op and inter_op"),
        (lambda _, inter: 4 + inter, "5 to 7", "intra_op"),
        (lambda intra, _: 4 + intra, "5 to 7", "inter_op"),
    ],
)
def test_counts_that_change_nothing_in_a_program_are_said(threads, in_all, names):
    (sentence,) = said(searched=runs(threads))
    assert sentence.startswith(
        f"No effect: the program had as many threads, {in_all}, whatever {names} said."
    )


def test_counts_that_change_something_are_not_said_to_be_without_effect():
    assert said(searched=runs(lambda intra, inter: intra + inter)) == []
    chance = iter(range(9))
    assert said(searched=runs(lambda _, __: next(chance))) == []
    assert said(searched=runs(lambda _, __: 0)) == []
    assert said(searched=runs(lambda _, __: 5)[:2]) == []
    several = [one | {"config": one["config"] | {"instances": 2}} for one in runs(lambda *_: 5)]
    assert said(searched=several) == []


def test_what_has_one_thread_and_sets_it_itself_is_not_advised_more_processes():
    (sentence,) = said(searched=runs(lambda _, __: 5), cpus=1.0)
    assert sentence.startswith("No effect: ")


def test_more_processes_are_advised_only_where_none_were_tried():
    assert "--instances auto" in said(ALONE, cpus=1.0)[0]
    assert "--instances" not in said(ALONE, BOTH, cpus=1.0)[0]


def test_one_busy_cpu_has_its_reason_where_python_or_the_input_takes_the_time():
    paging = {"faults": 3000.0, "system_seconds": 0.02}
    for default in ({"python_seconds": 0.018}, {"input_seconds": 0.012}, paging):
        (sentence,) = said(cpus=1.0, **default)
        assert not sentence.startswith("One thread")
    (sentence,) = said(python_seconds=0.018, **paging)
    assert sentence.startswith("Memory: ")


def test_of_a_program_it_is_a_run_that_is_spoken_of():
    crowded = {**BOTH, "cpu_seconds": 0.08}
    one, other = said(ALONE, crowded, cpus=1.0, objective=1.0)
    assert "keeps 1.0 of 4 CPUs busy, as Python does, and what is imported" in one
    assert other.startswith("Instances in each other's way: a run takes each of 2 instances")


def test_beside_other_work_busy_cpus_say_nothing_of_the_model():
    idle, crowded = {**ALONE, "cpu_seconds": 0.03, "speedup": 0.97}, {**BOTH, "cpu_seconds": 0.08}
    assert len(said(idle, crowded)) == 2
    assert said(idle, crowded, cpus=1.0, others=0.9) == []
    assert said(python_seconds=0.018, others=0.9) != []


def test_a_step_that_waits_for_something_else_is_no_busy_thread():
    assert said(cpus=0.3) == []


def test_on_one_cpu_one_thread_is_no_news():
    assert said(cpus=1.0, machine={**MACHINE, "usable_cpus": 1}) == []


def test_threads_that_cost_more_and_gain_nothing_are_said():
    (sentence,) = said({**ALONE, "cpu_seconds": 0.03, "speedup": 0.97})
    assert sentence.startswith("Threads that wait: the default takes 2.0 times the CPU seconds of ")
    assert "for 1.03x its speed" in sentence
    assert said({**ALONE, "cpu_seconds": 0.03, "speedup": 0.8}) == []  # they gain a quarter
    assert said({**ALONE, "cpu_seconds": 0.05, "speedup": 0.97}) == []  # they cost little


def test_instances_that_slow_each_other_down_are_said_with_the_worst():
    many = {**BOTH, "config": {**ONE, "instances": 4}, "cpu_seconds": 0.1}
    (sentence,) = said(ALONE, {**BOTH, "cpu_seconds": 0.08}, many)
    assert "takes each of 4 instances of intra_op=1 inter_op=1 2.0 times the CPU" in sentence
    (sentence,) = said({**BOTH, "cpu_seconds": 0.08}, searched=[ALONE, ALONE])
    assert "takes each of 2 instances of intra_op=1 inter_op=1 1.6 times" in sentence


def test_where_that_is_not_sure_nothing_is_said():
    slow = {**BOTH, "cpu_seconds": 0.08}
    assert said(slow) == []  # one alone was not measured
    assert said(slow, searched=[ALONE]) == []  # or once
    assert said(slow, searched=[ALONE, ALONE, ALONE, {**ALONE, "cpu_seconds": 0.09}]) == []


# --- the look inside -----------------------------------------------------------------------------


def test_waiting_is_neither_python_nor_tensorflow():
    inside = look_inside(lambda: time.sleep(0.02), 3)
    assert inside.count == 3
    assert inside.waiting_s == pytest.approx(inside.seconds, abs=0.01)
    assert inside.tensorflow_s == inside.input_s == 0.0
    assert inside.loop == ""


def test_time_is_counted_where_it_passes():
    def predict(rounds):
        time.sleep(0.01)
        return [sorted(range(9999)) for _ in range(rounds)]

    inside = look_inside(lambda: predict(20), 2)
    assert 0.02 <= inside.waiting_s < inside.seconds
    assert inside.loop == ""  # it is none of Keras's


def test_the_caller_of_a_method_that_pybind_has_bound_is_not_lost():
    optree = pytest.importorskip("optree")  # Keras brings it
    names = {"optree": optree}
    lines = "def predict():\n    return [optree.tree_map(abs, [1, 2]) for _ in range(999)]\n"
    exec(compile(lines, "keras/of_the_test.py", "exec"), names)  # noqa: S102 - of this test
    assert look_inside(names["predict"], 3).loop == "predict"


def test_beside_another_profiler_nothing_is_seen():
    other = lambda *_: None  # noqa: E731 - two of the same are told apart
    sys.setprofile(other)
    try:
        with pytest.raises(ValueError, match="another profiler is at work"):
            look_inside(list, 1)
        assert sys.getprofile() is other
    finally:
        sys.setprofile(None)
    with pytest.raises(ValueError, match="a profiler of its own"):
        look_inside(lambda: sys.setprofile(None), 1)
    assert sys.getprofile() is None


def predicting():
    import tensorflow as tf

    model = tf.keras.Sequential([tf.keras.Input((64,)), tf.keras.layers.Dense(64)])
    x = tf.random.uniform((8, 64)).numpy()
    return lambda: model.predict(x, verbose=0)


def multiplying():
    import tensorflow as tf

    x = tf.random.uniform((600, 600))
    return tf.function(lambda: tf.matmul(tf.matmul(x, x), x))


def waiting():
    import tensorflow as tf

    x = tf.random.uniform((256, 256))
    batches = iter(tf.data.Dataset.range(1 << 40).map(lambda _: tf.linalg.expm(x)))
    return lambda: tf.reduce_sum(next(batches))


def paging():
    import numpy as np

    x = np.ones(24 << 20, np.float32)
    return lambda: x + 1


def profiling():
    import cProfile

    return lambda: cProfile.Profile().runcall(sum, range(10_000))


SHARED = pytest.mark.xdist_group("one bench")
"""Tests that look inside are run by the same worker, which imports TensorFlow once."""


@pytest.fixture(scope="module")
def bench():
    """It imports TensorFlow once, whatever is built."""
    options = BenchOptions(
        timing=TimingOptions(warmup_s=0.3, budget_s=0.2, patience_s=0.0),
        timeout_s=60.0,
        pair=True,
        env={},
        isolation=Isolation.FORK,
    )
    made = Bench(lambda config: config["build"](), options)
    yield made
    made.close()


@pytest.fixture
def looked(bench, monkeypatch):
    """What a first round finds of the default of what is built."""

    def go(build):
        # Another environment would be another nest.
        monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
        bench._has_looked = False
        _, default = bench.measure_round([{"build": build, "intra_op": 1, "inter_op": 1}, None])
        assert default.outcome is Outcome.OK, default.error
        return default

    return go


def pythons_share(found):
    """How much of a step is Python's: the median, since other work may double a timing."""
    return statistics.median(one.python_seconds / one.seconds for one in found)


@SHARED
def test_what_keras_does_around_a_small_model_is_pythons(looked):
    found = [looked(predicting) for _ in range(3)]
    assert pythons_share(found) > 0.5
    assert {one.loop for one in found} == {"predict"}


@SHARED
def test_what_a_function_of_tensorflows_does_is_not_pythons(looked, bench):
    found = [looked(multiplying) for _ in range(3)]
    assert pythons_share(found) < 0.2
    default = found[-1]
    assert (default.input_seconds, default.loop) == (0.0, "")
    assert default.faults < 200
    again = bench.measure_round([{"build": multiplying, "intra_op": 1, "inter_op": 1}, None])
    assert math.isnan(again[1].python_seconds)  # it is looked inside once


@SHARED
def test_the_wait_for_a_dataset_is_counted(looked):
    default = looked(waiting)
    assert default.input_seconds > 0.5 * default.seconds


@SHARED
def test_memory_that_is_taken_anew_shows_as_pages(looked):
    default = looked(paging)
    assert default.faults > 200
    assert default.system_seconds > 0.15 * default.cpu_seconds


@SHARED
def test_a_step_that_brings_its_own_profiler_is_timed_all_the_same(looked):
    assert looked(profiling).seconds > 0


def test_where_the_look_fails_what_was_timed_stands():
    class Lost:
        def look_inside(self, _steps):
            raise AttemptError(Outcome.SERVER_LOST, "gone")

    timing = Timing(seconds=0.01)
    assert looked_inside(Lost(), timing) is timing
