"""Runs of Ray Tune on a real local cluster."""

import inspect
import os
import signal
import sys
import time

import numpy as np
import pytest
from ray import cloudpickle, tune
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule
from ray.tune.search import ConcurrencyLimiter, Repeater
from ray.tune.stopper import ExperimentPlateauStopper

from kamerton_ray import InvalidInputError, NelderMeadSearcher, StopRule

# Ray's workers cannot import a test file: they get what is in it by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

LEARNS_THE_END = "FINISHED" in inspect.getsource(Repeater.suggest)
"""Whether a repeater goes by the end of the search that it repeats, as from Ray 2.60 on."""

SPACE = {"x": tune.randint(1, 9), "y": tune.randint(1, 9)}
LOWEST = {"x": 3, "y": 4}
ODD = {"x": 5, "y": 3}  # where the trainables below misbehave; the searches begin here


class Thing:
    """Something that only a pickle can hold."""

    number = 7


def bowl(config):
    return (config["x"] - 3) ** 2 + (config["y"] - 4) ** 2


def report_bowl(config):
    tune.report({"loss": bowl(config)})


class BowlTrainable(tune.Trainable):
    def setup(self, config):
        self.config = config

    def step(self):
        return {"loss": bowl(self.config), "done": True}

    def reset_config(self, new_config):
        self.config = new_config
        return True


class OddResetTrainable(BowlTrainable):
    """An actor that cannot be reset for one configuration."""

    def reset_config(self, new_config):
        super().reset_config(new_config)
        return new_config != ODD


class ListeningSearcher(NelderMeadSearcher):
    """Notes what Ray asks and tells."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.asked, self.told = [], []

    def suggest(self, trial_id):
        answer = super().suggest(trial_id)
        self.asked.append((trial_id, answer))
        return answer

    def on_trial_result(self, trial_id, result):
        self.told.append(("result", trial_id))
        super().on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id, result=None, error=False):  # noqa: FBT002 - Ray's
        self.told.append(("error" if error else "end", trial_id))
        super().on_trial_complete(trial_id, result, error)


class LiveTrials(tune.Callback):
    """Counts the trials that are not finished."""

    def __init__(self):
        self.most = 0

    def on_step_end(self, iteration, trials, **info):  # noqa: ARG002 - Ray's signature
        self.most = max(self.most, sum(not trial.is_finished() for trial in trials))


@pytest.fixture
def run(ray_cluster, storage):  # noqa: ARG001 - the cluster has to be there
    """`tune.run`, one trial at a time unless told otherwise; the analysis and the searcher."""

    def go(trainable=report_bowl, searcher=None, search_alg=None, config=SPACE, **options):
        searcher = searcher or NelderMeadSearcher(points_to_evaluate=[ODD])
        analysis = tune.run(
            trainable,
            config=config,
            search_alg=search_alg or searcher,
            storage_path=storage,
            **{
                "metric": "loss",
                "mode": "min",
                "num_samples": -1,
                "max_concurrent_trials": 1,
                "reuse_actors": True,
                "verbose": 0,
                **options,
            },
        )
        return analysis, searcher

    return go


def configs(analysis):
    return [trial.config for trial in analysis.trials]


def odd(config):
    return {"x": config["x"], "y": config["y"]} == ODD


# --- the end of a run ----------------------------------------------------------------------------


def test_tune_run_ends_by_itself_at_the_lowest_point(run):
    analysis, searcher = run(max_concurrent_trials=None)
    assert analysis.best_config == LOWEST
    assert searcher.best.config == LOWEST
    assert searcher.stopped_by is StopRule.CONVERGED
    tried = {(config["x"], config["y"]) for config in configs(analysis)}
    assert len(tried) == len(analysis.trials) < 64


def test_a_tuner_ends_by_itself_where_the_bare_number_that_is_returned_is_lowest(
    ray_cluster,  # noqa: ARG001 - the cluster has to be there
    storage,
):
    searcher = NelderMeadSearcher(points_to_evaluate=[ODD])
    tuner = tune.Tuner(
        lambda config: 1 + bowl(config),
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            mode="min",
            search_alg=searcher,
            num_samples=-1,
            max_concurrent_trials=1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=storage, verbose=0),
    )
    results = tuner.fit()
    assert results.get_best_result("_metric").config == LOWEST
    assert (searcher.best.config, searcher.best.value) == (LOWEST, 1.0)
    assert searcher.stopped_by is StopRule.CONVERGED
    assert len(results) < 64


def test_mode_max_finds_the_highest_point_in_a_space_of_the_constructor(run):
    searcher = NelderMeadSearcher(SPACE, "score", "max", [ODD])
    analysis, _ = run(
        lambda config: {"score": 100 - bowl(config)}, searcher, config={}, metric=None, mode=None
    )
    assert analysis.get_best_config("score", "max") == LOWEST
    assert (searcher.best.config, searcher.best.value) == (LOWEST, 100.0)
    assert len(analysis.trials) < 64


def test_given_points_are_the_first_trials_in_order_and_num_samples_ends_the_run(run):
    """After that the searcher is for no other space."""
    points = [{"x": 8, "y": 1}, {"x": 2, "y": 7}, {"x": 8, "y": 8}]
    analysis, searcher = run(searcher=NelderMeadSearcher(points_to_evaluate=points), num_samples=4)
    assert configs(analysis)[:3] == points
    assert len(analysis.trials) == 4
    assert searcher.stopped_by is None
    with pytest.raises(ValueError, match="already instantiated with a search space"):
        run(searcher=searcher, config={"x": tune.randint(1, 5)})


def test_one_trial_at_a_time_gives_the_configurations_of_a_search_without_ray(run):
    analysis, _ = run(searcher=NelderMeadSearcher(seed=3), num_samples=12)
    alone, without_ray = NelderMeadSearcher(SPACE, "loss", "min", seed=3), []
    for trial in map(str, range(12)):
        without_ray.append(alone.suggest(trial))
        alone.on_trial_complete(trial, {"loss": bowl(without_ray[-1])})
    assert configs(analysis) == without_ray


def test_every_trial_ends_once_to_the_searcher_and_waiting_stops_no_run(run):
    # Ray's test_controller_search_alg_integration.
    searcher = ListeningSearcher(points_to_evaluate=[ODD])
    analysis, _ = run(raise_error, searcher, max_concurrent_trials=2, raise_on_failed_trial=False)
    answers = [answer for _, answer in searcher.asked]
    assert answers.index(None) < answers.index("FINISHED") == len(answers) - 1
    if LEARNS_THE_END:  # Ray 2.44 asks so late that the search has to wait at its end alone
        assert any(isinstance(answer, dict) for answer in answers[answers.index(None) :])
    given = {trial for trial, answer in searcher.asked if isinstance(answer, dict)}
    ends = [trial for kind, trial in searcher.told if kind != "result"]
    assert sorted(ends) == sorted(given) == sorted(trial.trial_id for trial in analysis.trials)
    assert [kind for kind, _ in searcher.told].count("error") == 1


def test_a_trial_that_ends_with_its_first_result_is_heard_at_its_end_alone(run):
    searcher = ListeningSearcher(points_to_evaluate=[ODD])
    analysis, _ = run(BowlTrainable, searcher=searcher, num_samples=8, max_concurrent_trials=2)
    assert [kind for kind, _ in searcher.told] == ["end"] * 8
    assert_reused(analysis)


def test_a_plateau_stopper_ends_a_run_near_the_lowest_point(run):
    # Ray's test_convergence.
    analysis, _ = run(
        lambda config: {"loss": (config["x"] - 7) ** 2},
        searcher=NelderMeadSearcher(),
        config={"x": tune.randint(0, 201)},
        stop=ExperimentPlateauStopper("loss", top=3, patience=5, mode="min"),
        num_samples=100,
    )
    assert len(analysis.trials) < 100
    assert analysis.best_result["loss"] <= 4


# --- concurrency, wrappers, schedulers, actors ---------------------------------------------------


def test_max_concurrent_trials_caps_the_live_trials_and_actors_are_reused(run):  # T12
    live = LiveTrials()
    analysis, _ = run(max_concurrent_trials=2, callbacks=[live])
    assert live.most == 2
    assert analysis.best_config == LOWEST
    assert_reused(analysis)


def assert_reused(analysis):
    """Trials have shared their processes, and each has reported of its own configuration."""
    assert all(trial.last_result["loss"] == bowl(trial.config) for trial in analysis.trials)
    pids = {trial.last_result["pid"] for trial in analysis.trials}
    assert len(pids) < min(8, len(analysis.trials))


def test_it_works_in_a_concurrency_limiter(run):
    live, searcher = LiveTrials(), NelderMeadSearcher(points_to_evaluate=[ODD])
    analysis, _ = run(
        searcher=searcher,
        search_alg=ConcurrencyLimiter(searcher, 2),
        max_concurrent_trials=None,
        num_samples=8,
        callbacks=[live],
    )
    assert live.most == 2
    assert len(analysis.trials) == searcher._state.search.measured == 8


@pytest.mark.parametrize(
    "wrap",
    [
        lambda searcher: ConcurrencyLimiter(Repeater(searcher, repeat=2), 2),
        lambda searcher: Repeater(ConcurrencyLimiter(searcher, 1), repeat=2),
    ],
    ids=["limiter around repeater", "repeater around limiter"],
)
def test_it_works_in_a_repeater(run, wrap):
    # The metric is the searcher's own because Ray's wrappers do not learn TuneConfig's.
    searcher = NelderMeadSearcher(None, "loss", "min", [LOWEST], patience=3)
    analysis, _ = run(
        lambda config: {"loss": bowl(config) + config["__trial_index__"]},
        searcher=searcher,
        search_alg=wrap(searcher),
        max_concurrent_trials=None,
        metric=None,
        mode=None,
        num_samples=-1 if LEARNS_THE_END else 6,
    )
    assert (searcher.best.config, searcher.best.value) == (LOWEST, 0.5)
    assert len(analysis.trials) % 2 == 0


@pytest.mark.parametrize(
    "scheduler",
    [
        ASHAScheduler(max_t=3, grace_period=1, reduction_factor=2),
        MedianStoppingRule(time_attr="training_iteration", grace_period=1, min_samples_required=2),
    ],
    ids=["asha", "median"],
)
def test_trials_that_a_scheduler_stops_count_with_their_last_value(run, scheduler):
    def report_three_times(config):
        for step in range(3):
            tune.report({"loss": 4 * bowl(config) + 2 - step})

    analysis, searcher = run(
        report_three_times, NelderMeadSearcher(patience=3), scheduler=scheduler
    )
    iterations = {trial.last_result["training_iteration"] for trial in analysis.trials}
    assert min(iterations) < 3, "no trial was stopped"
    assert searcher.stopped_by is StopRule.CONVERGED
    assert searcher.best.value == min(trial.last_result["loss"] for trial in analysis.trials)


# --- spaces --------------------------------------------------------------------------------------


def test_nested_domains_lists_constants_and_objects_reach_the_trainable(run):
    space = {
        "threads": {"inter": tune.randint(1, 5), "name": "pool"},
        "list": [1, {"two": 2}],
        "pools": [(tune.randint(1, 5), "intra"), Thing()],
        "thing": Thing(),
    }

    def check_and_report(config):
        assert config["threads"]["name"] == "pool"
        assert config["list"] == [1, {"two": 2}]
        ((intra, name), thing) = config["pools"]
        assert isinstance(config["pools"][0], tuple)
        assert (name, thing.number) == ("intra", 7)
        loss = (config["threads"]["inter"] - 2) ** 2 + (intra - 3) ** 2
        tune.report({"loss": loss, "number": config["thing"].number})

    analysis, searcher = run(check_and_report, searcher=NelderMeadSearcher(), config=space)
    best = searcher.best.config
    assert (best["threads"], best["pools"][0]) == ({"inter": 2}, (3, "intra"))
    assert {trial.last_result["number"] for trial in analysis.trials} == {7}
    assert all(type(trial.config["threads"]["inter"]) is int for trial in analysis.trials)


def test_a_choice_of_numpy_integers_is_refused_before_the_first_trial(run):  # T10
    with pytest.raises(InvalidInputError, match=r"array\.tolist"):
        run(config={"x": tune.choice(np.arange(4))})


# --- trials that go wrong ------------------------------------------------------------------------


def raise_error(config):
    if odd(config):
        raise ValueError("not this one")
    return {"loss": bowl(config)}


def go_wrong(config):
    """Fail in one way or another, at the lowest point as well."""
    wrong = WRONG.get((config["x"], config["y"]), "")
    if wrong == "raises":
        raise ValueError("not this one")
    if wrong == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if wrong != "says nothing":
        said = {"says NaN": float("nan"), "says None": None}
        tune.report({"loss": said[wrong] if wrong else bowl(config)})


WRONG = {
    (5, 3): "raises",
    (8, 8): "is killed",
    (1, 8): "says nothing",
    (8, 1): "says NaN",
    (3, 4): "says None",
}


def test_the_run_goes_on_past_trials_that_go_wrong_to_the_best_of_the_others(
    run, monkeypatch
):  # T7
    # Ray itself ends a run at the first missing metric, unless it is told not to.
    monkeypatch.setenv("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    points = [{"x": x, "y": y} for x, y in WRONG]
    searcher = NelderMeadSearcher(points_to_evaluate=points)
    analysis, _ = run(go_wrong, searcher, raise_on_failed_trial=False)
    assert all(configs(analysis).count(point) == 1 for point in points)
    assert searcher.best.value == 1.0
    assert searcher.stopped_by is StopRule.CONVERGED


def test_a_trial_whose_actor_cannot_be_reset_does_not_stop_the_run(run):  # T3
    # Ray gives such a trial up without a word to the searcher.
    searcher = NelderMeadSearcher(points_to_evaluate=[{"x": 8, "y": 8}, ODD])
    analysis, _ = run(OddResetTrainable, searcher=searcher, raise_on_failed_trial=False)
    assert next(trial.status for trial in analysis.trials if trial.config == ODD) == "ERROR"
    assert searcher.best.config == LOWEST
    assert searcher.stopped_by is StopRule.CONVERGED


def test_a_retried_trial_counts_once(run, tmp_path):
    def fail_at_first(config):
        if odd(config) and not (tmp_path / "tried").exists():
            (tmp_path / "tried").touch()
            raise ValueError("only now")
        return {"loss": bowl(config)}

    analysis, searcher = run(fail_at_first, max_failures=1)
    assert (tmp_path / "tried").exists()
    assert all(trial.status == "TERMINATED" for trial in analysis.trials)
    assert searcher.best.config == LOWEST


class KillsIdleActor(tune.Callback):
    """Kills the process of the third trial when that has ended, before the next trial is in it."""

    def __init__(self):
        self.ended = 0

    def on_trial_complete(self, *, trial, **_):
        self.ended += 1
        if self.ended == 3:
            os.kill(trial.last_result["pid"], signal.SIGKILL)


@pytest.mark.parametrize("idle", [False, True], ids=["in the middle", "while idle"])
def test_a_trial_whose_process_was_lost_is_tried_again(run, idle, tmp_path):
    class KilledOnce(BowlTrainable):
        def step(self):
            if odd(self.config) and not idle and not (tmp_path / "killed").exists():
                (tmp_path / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().step()

    searcher = ListeningSearcher(points_to_evaluate=[ODD], retries=1)
    analysis, _ = run(
        KilledOnce,
        searcher,
        callbacks=[KillsIdleActor()] if idle else [],
        raise_on_failed_trial=False,
    )
    (lost,) = [trial for trial in analysis.trials if trial.status == "ERROR"]
    assert configs(analysis).count(lost.config) == 2
    assert ("error", lost.trial_id) in searcher.told
    assert not searcher.has_failed(lost.trial_id)
    assert searcher.best.config == LOWEST


def test_a_run_whose_trials_all_fail_ends_and_says_so(run, caplog):
    def fail(config):
        raise ValueError(config)

    searcher = NelderMeadSearcher(patience=2)
    analysis, _ = run(fail, searcher=searcher, raise_on_failed_trial=False)
    assert searcher.stopped_by is StopRule.FAILED
    assert len(analysis.trials) == 4
    (record,) = [r for r in caplog.records if r.name.startswith("kamerton_ray")]
    assert (record.levelname, "all of its 4 trials failed" in record.message) == ("ERROR", True)


def test_a_time_budget_ends_a_run(run):
    def sleep(config):
        time.sleep(0.2)
        return {"loss": bowl(config)}

    analysis, searcher = run(sleep, time_budget_s=2, raise_on_failed_trial=False)
    assert searcher.stopped_by is None
    assert len(analysis.trials) < 64


def test_odd_values_leave_constants_and_checkpoints_sound(run, caplog):
    # Ray's InvalidValuesTest.
    bad = {0: float("inf"), 1: float("-inf"), 2: float("nan")}
    space = {"report": tune.randint(0, 21), "list": [1, 2, 3], "num": 4}
    analysis, searcher = run(
        lambda config: bad.get(config["report"] % 4, config["report"]),
        searcher=NelderMeadSearcher(),
        config=space,
        metric="_metric",
        mode="max",
        num_samples=16,
    )
    best = searcher.best.config["report"]
    assert best % 4 == 3
    assert searcher.best.value == best
    assert all(trial.config["list"] == [1, 2, 3] for trial in analysis.trials)
    assert all(trial.config["num"] == 4 for trial in analysis.trials)
    assert "Can't pickle" not in caplog.text


# --- what earlier runs found ---------------------------------------------------------------------


def test_trials_of_an_earlier_run_are_taken_in_and_not_repeated(run):
    """As Ray's AddEvaluatedPointTest: all of a run, the list of its trials, or one of them."""
    earlier, _ = run(searcher=NelderMeadSearcher(points_to_evaluate=[ODD, LOWEST]), num_samples=5)
    for taken, known in ((earlier, 5), (earlier.trials, 5), (earlier.trials[1], 1)):
        searcher = NelderMeadSearcher(SPACE, "loss", "min")
        searcher.add_evaluated_trials(taken, "loss")
        assert searcher._state.search.measured == known
        assert (searcher.best.config, searcher.best.value) == (LOWEST, 0.0)
        assert searcher.suggest("t") not in configs(earlier)[:known] or known == 1
    searcher = NelderMeadSearcher(SPACE, "loss", "min")
    searcher.add_evaluated_trials(earlier, "loss")
    analysis, _ = run(searcher=searcher)
    assert not any(config in configs(earlier) for config in configs(analysis))
    assert searcher.best.config == LOWEST


def test_a_warm_start_in_two_halves_gives_the_trials_of_one_run(run, tmp_path):
    # Ray's AbstractWarmStartTest.
    def limited(searcher, **options):
        limiter = ConcurrencyLimiter(searcher, 1)
        return configs(run(search_alg=limiter, max_concurrent_trials=None, **options)[0])

    whole = limited(NelderMeadSearcher(points_to_evaluate=[ODD]), num_samples=10)
    halves = limited(NelderMeadSearcher(points_to_evaluate=[ODD]), num_samples=5, name="first")
    second = NelderMeadSearcher()
    second.restore_from_dir(str(tmp_path / "results" / "first"))
    assert halves + limited(second, num_samples=5) == whole
