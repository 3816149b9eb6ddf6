"""Results from every place that they are kept in."""

import math

import numpy as np
import pytest
from ray import tune

from kamerton_ray import InvalidInputError
from kamerton_ray.answer.candidates import candidates, check_reported
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.report.measured import Measured
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.results import trial_results
from kamerton_ray.tune.session import Session

SPEED = Objective()


def result(intra, speedup=1.0, **more):
    return Result.of({"config": {"intra_op": intra}, "speedup": speedup, **more})


@pytest.mark.usefixtures("ray_cluster")
def test_ray_tunes_own_results_and_their_folder_are_read(storage):
    def trainable(config):
        return {"seconds": config["intra_op"] / 10}

    tuner = tune.Tuner(
        trainable,
        param_space={"intra_op": tune.grid_search([1, 2])},
        tune_config=tune.TuneConfig(max_concurrent_trials=1),
        run_config=tune.RunConfig(storage_path=storage, name="run", verbose=0),
    )
    grid = tuner.fit()
    analysis = tune.ExperimentAnalysis(f"{storage}/run")
    for given in (grid, analysis, f"{storage}/run"):
        found = trial_results(given)
        assert {r.tuned["intra_op"]: r.seconds for r in found} == {1: 0.1, 2: 0.2}


def test_a_sessions_folder_is_read(tmp_path):
    session = Session.create(tmp_path, "exec", {})
    session.add(result(1))
    assert trial_results(session.folder) == [result(1)]
    assert trial_results(str(session.folder)) == [result(1)]


@pytest.mark.parametrize(
    ("given", "rule"),
    [(3, "must be an ExperimentAnalysis"), ([], "at least one"), (".", "neither")],
)
def test_anything_else_is_refused(given, rule):
    with pytest.raises(InvalidInputError, match=rule):
        trial_results(given)


def test_repeats_count_as_one_candidate_and_failures_as_none():
    found = candidates([result(1, 2.0), result(2, 1.5), result(1, 8.0), result(3, math.nan)], SPEED)
    assert [one.config["intra_op"] for one in found] == [1, 2]
    assert found[0].value == 5.0


def test_a_lucky_trial_is_not_the_value_of_a_configuration():
    found = [result(1, 9.0), result(1, 1.0), result(1, 1.1), result(2, 1.2)]
    assert [one.config["intra_op"] for one in candidates(found, SPEED)] == [2, 1]
    rows = Measured(found, SPEED).rows
    assert [(row.config["intra_op"], row.value) for row in rows] == [(2, 1.2), (1, 1.1)]
    assert [row.value for row in rows] == [one.value for one in candidates(found, SPEED)]


@pytest.mark.parametrize("kind", [float, np.float32])
@pytest.mark.parametrize(("mode", "order"), [("min", [3, 2, 1, 4]), ("max", [4, 1, 2, 3])])
def test_values_of_zero_or_less_have_their_place(kind, mode, order):
    losses = [0.5, 0.0, -1.0, 2.0]
    found = [
        Result.of({"config": {"intra_op": n}, "loss": kind(v)}) for n, v in enumerate(losses, 1)
    ]
    rows = candidates(found, Objective(metric="loss", mode=mode))
    assert [one.config["intra_op"] for one in rows] == order


def test_results_must_have_what_they_are_judged_by():
    found = [result(1), Result(config={"intra_op": 2}, outcome=Outcome.EXITED)]
    check_reported(found, SPEED)
    check_reported(found[1:], SPEED)  # nothing worked, which is said elsewhere
    for objective in (Objective(metric="p99"), Objective(at_most={"p99": 1.0})):
        with pytest.raises(InvalidInputError, match=r"must report 'p99' .* report \['speedup'\]"):
            check_reported(found, objective)
