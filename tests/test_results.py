"""Results from every place that they are kept in."""

import math

import pytest
from ray import tune

from kamerton_ray import InvalidInputError
from kamerton_ray.objective import Objective
from kamerton_ray.results import candidates, pareto, trial_results
from kamerton_ray.session import Session

SPEED = Objective()


def result(intra, speedup=1.0, **more):
    return {"config": {"intra_op": intra}, "speedup": speedup, **more}


@pytest.mark.usefixtures("ray_cluster")
def test_ray_tunes_own_results_and_their_folder_are_read(storage):
    def trainable(config):
        return {"seconds": config["intra_op"] / 10}

    tuner = tune.Tuner(
        trainable,
        param_space={"intra_op": tune.grid_search([1, 2])},
        run_config=tune.RunConfig(storage_path=storage, name="run", verbose=0),
    )
    grid = tuner.fit()
    analysis = tune.ExperimentAnalysis(f"{storage}/run")
    for given in (grid, analysis, f"{storage}/run"):
        found = trial_results(given)
        assert {r["config"]["intra_op"]: r["seconds"] for r in found} == {1: 0.1, 2: 0.2}


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


def test_the_pareto_set_holds_those_that_no_other_beats_in_all():
    rows = candidates(
        [
            result(1, seconds=1.0, cpu_seconds=4.0),
            result(2, seconds=2.0, cpu_seconds=1.0),
            result(3, seconds=2.0, cpu_seconds=4.0),
            result(4, seconds=1.5, cpu_seconds=2.0),
            result(5, seconds=math.nan, cpu_seconds=0.1),
        ],
        SPEED,
    )
    found = pareto(rows, {"seconds": -1, "cpu_seconds": -1})
    assert sorted(one.config["intra_op"] for one in found) == [1, 2, 4]
