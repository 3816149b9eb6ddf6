"""benchmark(build) with real TensorFlow, in forked processes, with and without Ray."""

import contextlib
import importlib.metadata
import logging
import math
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import cloudpickle
import pytest
from ray import tune

from kamerton_ray import InvalidInputError, NelderMeadSearcher, benchmark
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.bench import Bench, BenchOptions, Isolation
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.timing import TimingOptions

cloudpickle.register_pickle_by_value(sys.modules[__name__])

QUICK = {"warmup_s": 0.1, "budget_s": 0.2}
STARTS_A_THREAD = """
from threading import Thread
from time import sleep
Thread(target=sleep, args=[99], name="mine", daemon=True).start()
"""
LIMITS = {"timeout_s": 60.0, "pair": True, "env": {}, "isolation": Isolation.FORK}


@contextlib.contextmanager
def bench(build, **options):
    made = Bench(build, BenchOptions(timing=TimingOptions(**QUICK), **(LIMITS | options)))
    try:
        yield made
    finally:
        made.close()


def children():
    return {
        int(p) for t in Path("/proc/self/task").glob("*/children") for p in t.read_text().split()
    }


def models(config):
    """Every way to run TensorFlow that users have, by name."""
    import numpy as np
    import tensorflow as tf

    inputs = np.random.default_rng(0).random((4, 8), np.float32)
    model = tf.keras.Sequential([tf.keras.Input((8,)), tf.keras.layers.Dense(4)])

    def keras_call():
        return model(inputs)

    def keras_predict():
        return model.predict(inputs, verbose=0)

    def saved_model(folder=config["folder"]):
        tf.saved_model.save(model, folder)
        served = tf.saved_model.load(folder).signatures["serving_default"]
        return lambda: served(tf.constant(inputs))

    def plain_graph():
        graph = tf.Graph()
        with graph.as_default():
            fed = tf.compat.v1.placeholder(tf.float32, (4, 8))
            doubled = tf.matmul(fed, tf.ones((8, 2)))
        session = tf.compat.v1.Session(graph=graph)
        return lambda: session.run(doubled, {fed: inputs})

    def training_step():
        optimizer = tf.keras.optimizers.Adam()

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(model(inputs, training=True)))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

        return step

    def thread_counts():
        get = tf.config.threading
        found = (get.get_intra_op_parallelism_threads(), get.get_inter_op_parallelism_threads())
        if found != (config["intra_op"], config["inter_op"]):
            raise AssertionError(found)
        return keras_call

    steps = {
        "keras call": lambda: keras_call,
        "tf.function": lambda: tf.function(model).get_concrete_function(tf.constant(inputs)),
        "keras predict": lambda: keras_predict,
        "saved model": saved_model,
        "plain graph": plain_graph,
        "training step": training_step,
        "thread counts": thread_counts,
    }
    made = steps[config["kind"]]()
    if config["kind"] == "tf.function":
        return lambda: made(tf.constant(inputs))
    return made


def test_every_way_to_run_tensorflow_works_in_a_forked_process(tmp_path):
    kinds = ["keras call", "tf.function", "keras predict", "saved model", "plain graph"]
    kinds += ["training step", "thread counts"]
    before = children()
    with bench(models) as made:
        for kind in kinds:
            folder = str(tmp_path / kind)
            config = {"kind": kind, "folder": folder, "intra_op": 3, "inter_op": 2}
            result = made.measure(config)
            assert (kind, result.outcome, result.error) == (kind, Outcome.OK, "")
            assert result.speedup_low <= result.speedup <= result.speedup_high
            # The step time is a median of means, which a few slow steps lift.
            assert result.seconds <= result.seconds_p99
            assert result.seconds_p90 <= result.seconds_p99
            assert result.isolation == "fork"
        assert result.machine.tensorflow == importlib.metadata.version("tensorflow")
        assert result.machine.onednn in {"on", "off"}
        assert result.machine.usable_cpus >= 1
        assert result.machine.cpu_model
    assert children() <= before


def test_a_variable_that_binds_on_import_takes_effect_for_each_configuration():
    def build(config):
        if os.environ["TF_ENABLE_ONEDNN_OPTS"] != config["onednn"]:
            raise AssertionError(os.environ["TF_ENABLE_ONEDNN_OPTS"])
        return lambda: time.sleep(0.01)

    def env(config):
        return {"TF_ENABLE_ONEDNN_OPTS": config["onednn"]}

    before = children()
    with bench(build, env=env, pair=False) as made:
        found = [made.measure({"onednn": value}).machine.onednn for value in ("0", "1", "0")]
        assert found == ["off", "on", "off"]
        assert len(children() - before) == 2  # a nest for each environment, kept


def test_a_module_that_starts_the_runtime_on_import_is_spawned(tmp_path, monkeypatch, caplog):
    (tmp_path / "eager_module.py").write_text(
        "import tensorflow as tf\n"
        "TABLE = tf.constant([1.0])\n"
        "def build():\n"
        "    if tf.config.threading.get_intra_op_parallelism_threads() not in (0, 3):\n"
        "        raise AssertionError\n"
        "    return lambda: tf.reduce_sum(TABLE)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with bench(_by_name("eager_module"), pair=False) as made, caplog.at_level(logging.WARNING):
        result = made.measure({"intra_op": 3, "inter_op": 1})
    assert (result.outcome, result.error, result.isolation) == (Outcome.OK, "", "spawn")
    assert "starts TensorFlow's runtime" in caplog.text


def test_a_module_that_starts_a_thread_on_import_is_spawned(tmp_path, monkeypatch, caplog):
    text = f"{STARTS_A_THREAD}def build():\n    return lambda: sum(range(20000))\n"
    (tmp_path / "threaded_module.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"pair": False, "tensorflow": False}
    with bench(_by_name("threaded_module"), **own) as made, caplog.at_level(logging.WARNING):
        result = made.measure({"intra_op": 1, "inter_op": 1})
    assert (result.outcome, result.error, result.isolation) == (Outcome.OK, "", "spawn")
    assert "starts threads (mine)" in caplog.text


def test_no_file_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    def build():
        import tensorflow as tf

        model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(2)])
        step = tf.function(model)  # AutoGraph writes a file for it
        return lambda: step(tf.ones((1, 4)))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with bench(build, pair=False) as made:
        result = made.measure({"intra_op": 1, "inter_op": 1})
        assert list(tmp_path.glob("*/*.py"))
    assert result.outcome is Outcome.OK, result.error
    assert list(tmp_path.iterdir()) == []


class _Named:
    """Pickled as a module's `build`, without this process importing the module."""

    def __init__(self, module):
        self.module = module

    def __call__(self):
        raise AssertionError("it is unpickled as the module's own function")

    def __reduce__(self):
        return (_import_build, (self.module,))


def _import_build(module):
    import importlib

    return importlib.import_module(module).build


def _by_name(module):
    return _Named(module)


def test_a_default_that_fails_leaves_the_candidates_timed_alone(caplog):
    def build(config):
        if config["intra_op"] == 0:
            raise RuntimeError("only explicit threads here")
        return lambda: time.sleep(0.01)

    with bench(build, tensorflow=False) as made:
        results = [made.measure({"intra_op": 1, "inter_op": n}) for n in (1, 2)]
    for result in results:
        assert result.outcome is Outcome.OK
        assert result.seconds > 0.01
        assert math.isnan(result.speedup)
        assert "only explicit threads here" in result.error
    assert caplog.text.count("default could not be measured") == 1


def test_a_lost_nest_is_replaced_and_the_configuration_measured_once_more():
    def build():
        def step():
            if os.path.exists(flag):  # noqa: PTH110 - the child has no pathlib
                os.remove(flag)  # noqa: PTH107
                os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(0.01)

        return step

    flag = os.path.abspath(f"kill-the-nest-{os.getpid()}")  # noqa: PTH100
    Path(flag).touch()
    try:
        with bench(build, pair=False, tensorflow=False) as made:
            lost, after = (made.measure({"intra_op": 1}) for _ in range(2))
    finally:
        Path(flag).unlink(missing_ok=True)
    assert lost.outcome is after.outcome is Outcome.OK
    assert "SIGKILL" in lost.restarted
    assert after.restarted == ""


def test_a_step_that_does_nothing_is_too_fast():
    with bench(lambda: lambda: None, pair=False, tensorflow=False) as made:
        result = made.measure({"intra_op": 1})
    assert result.outcome is Outcome.TOO_FAST
    assert math.isnan(result.seconds)


def test_build_must_be_a_function_that_can_be_pickled():
    with pytest.raises(InvalidInputError, match=r"must be a function that returns .* but got 42"):
        benchmark(42)
    lock = threading.Lock()
    with pytest.raises(InvalidInputError, match="picklable"):
        benchmark(lambda: lock.acquire)


@pytest.mark.parametrize(
    ("option", "value"),
    [("timeout_s", 0), ("budget_s", -1), ("precision", "x"), ("isolation", "thread")],
)
def test_options_are_checked_at_once(option, value):
    with pytest.raises(InvalidInputError, match=option):
        benchmark(lambda: lambda: None, **{option: value})


@pytest.mark.usefixtures("ray_cluster")
def test_tune_run_goes_on_over_every_kind_of_failure(storage):
    folder = Path(storage)
    folder.mkdir()

    def build(config):
        with open(folder / "nests", "a") as seen:  # noqa: PTH123 - appended by each trial
            seen.write(f"{os.getppid()}\n")
        for variable in ("OMP_NUM_THREADS", "PL_DISABLE_FORK"):
            if variable in os.environ and variable not in asked:
                raise AssertionError(variable)
        intra = config["intra_op"]
        if intra == 1:
            raise ValueError("not with one thread")
        if intra == 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        if intra == 3:
            return lambda: time.sleep(1000)
        if intra == 4:
            return "no step"
        # Each half as slow again as the one before: a busy machine keeps the order.
        return lambda: time.sleep(0.005 * 1.5**intra)

    asked = set(os.environ)
    searcher = NelderMeadSearcher(patience=6)
    analysis = tune.run(
        benchmark(build, timeout_s=2.0, **QUICK),
        config={"intra_op": tune.randint(1, 9)},
        metric="seconds",
        mode="min",
        search_alg=searcher,
        num_samples=-1,
        reuse_actors=True,
        storage_path=storage,
        verbose=0,
    )
    outcomes = {t.config["intra_op"]: t.last_result["outcome"] for t in analysis.trials}
    expected = {1: "build_raised", 2: "signalled", 3: "timeout", 4: "wrong_return"}
    assert outcomes == {n: expected.get(n, "ok") for n in outcomes}
    assert set(expected) & set(outcomes)
    assert searcher.best.config == {"intra_op": 5}
    assert analysis.best_config == {"intra_op": 5}
    # One nest for all the trials: it outlives them.
    assert len(set((folder / "nests").read_text().split())) == 1


def test_a_round_times_each_in_a_fresh_process_and_the_default_as_one(tmp_path):
    def build(config):
        import time
        from pathlib import Path

        with Path(config["log"]).open("a") as file:
            file.write(f"{os.getpid()} ")
        return lambda: time.sleep(0.004 if config["intra_op"] else 0.008)

    log = str(tmp_path / "log")
    configs = [{"intra_op": n, "inter_op": 1, "log": log} for n in (1, 2, 3, 4)]
    order = [*configs[:2], None, *configs[2:]]
    with bench(build, tensorflow=False) as made:
        first = made.measure_round(order)
        second = made.measure_round([None, configs[0]])
    assert [result.outcome for result in first + second] == [Outcome.OK] * 7
    speedups = [result.speedup for result in first]
    assert speedups[2] == 1
    assert all(1.5 < speedup < 2.5 for speedup in speedups[:2] + speedups[3:])
    pids = Path(log).read_text().split()
    assert len(pids) == len(set(pids)) == 7


def test_a_round_goes_on_without_the_one_that_fails():
    def build(config):
        import os
        import signal
        import time

        if config["intra_op"] == 1:
            raise ValueError("no")

        def step():
            if config["intra_op"] == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.004)

        return step

    order = [{"intra_op": n, "inter_op": 1} for n in (1, 2, 3)]
    with bench(build, tensorflow=False) as made:
        found = made.measure_round([*order, None])
        no_default = made.measure_round(order)
    outcomes = [Outcome.BUILD_RAISED, Outcome.SIGNALLED, Outcome.OK, Outcome.OK]
    assert [r.outcome for r in found] == outcomes
    assert [r.outcome for r in no_default] == outcomes[:3]
    assert found[2].speedup > 0
    assert math.isnan(no_default[2].speedup)
    assert no_default[2].seconds > 0.003


def test_a_round_without_the_default_says_why():
    def build(config):
        assert config["intra_op"]
        return lambda: time.sleep(0.004)

    with bench(build, tensorflow=False) as made:
        found = made.measure_round([None, {"intra_op": 1, "inter_op": 1}])
    assert [r.outcome for r in found] == [Outcome.BUILD_RAISED] * 2
    assert math.isnan(found[1].speedup)


def test_an_objective_adds_the_score_that_a_search_maximises():
    def build():
        return lambda: time.sleep(0.004)

    strict = Objective(metric="throughput", at_most={"seconds_p99": 0.001})
    for objective, feasible in ((Objective(metric="throughput"), True), (strict, False)):
        with bench(build, objective=objective, tensorflow=False) as made:
            score = made.measure({"intra_op": 1, "inter_op": 1}).score
        assert (0.5 < score < 2) if feasible else (0 < score < 0.001)


@pytest.mark.parametrize(
    "options", [{"at_most": {"foo": 1}}, {"at_most": {"throughput": 1}}, {"metric": "foo"}]
)
def test_an_objective_of_numbers_that_no_trial_has_is_refused(options):
    with pytest.raises(InvalidInputError, match="'seconds_p99', 'cpu_seconds'"):
        benchmark(lambda: None, objective=Objective(**options))
