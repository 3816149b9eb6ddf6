"""The contract of a Ray Tune searcher, without a cluster.

T1 to T15 are the traps that Ray sets its searchers: `# T3` marks what guards against the third.
T15 (thread counts) concerns trainables and is tested in test_threads.py; T12 (one warm actor) is
for test_tune.py.
"""

import copy
import inspect
import json
import os
import pickle
import threading
from contextlib import nullcontext

import numpy as np
import pytest
from json_tree import places
from ray import cloudpickle, tune
from ray.tune.search import ConcurrencyLimiter, Repeater, Searcher
from ray.tune.search.search_generator import SearchGenerator

from kamerton_ray import (
    IntegerSpace,
    InvalidInputError,
    NelderMeadSearcher,
    StateError,
    StopRule,
    UndefinedSearchError,
    instance_limit,
    instance_space,
)

FINISHED = Searcher.FINISHED
SPACE = {"x": tune.randint(1, 17), "y": tune.randint(1, 17)}
OTHER_SPACE = {"x": tune.randint(1, 17), "y": tune.randint(1, 9)}
LOWEST = {"x": 5, "y": 7}
STATE_KEYS = (
    *("format", "metric", "mode", "points", "rewards", "options"),
    *("scale", "space", "search", "live", "lost", "failed"),
)
NO_NUMBERS = {
    "no result": None,
    "an empty result": {},
    "another metric": {"other": 1.0},
    "None": {"loss": None},
    "NaN": {"loss": float("nan")},
    "inf": {"loss": float("inf")},
    "-inf": {"loss": float("-inf")},
    "NumPy NaN": {"loss": np.float32("nan")},
    "a word": {"loss": "fast"},
    "a list": {"loss": [1.0]},
    "an array": {"loss": np.array([1.0, 2.0])},
    "beyond a float": {"loss": 10**400},
}
NUMBERS = {
    "int": 3,
    "NumPy float": np.float32(3.0),
    "NumPy int": np.int64(3),
    "array of one": np.array([3.0]),
    "array of no dimension": np.array(3.0),
}


class FakeClock:
    """A clock that goes on by `tick` seconds whenever it is read."""

    def __init__(self, tick):
        self.now, self.tick = 0.0, tick

    def __call__(self):
        self.now += self.tick
        return self.now


class Payload:
    """Unpickling it creates a directory."""

    def __init__(self, directory):
        self.directory = directory

    def __reduce__(self):
        return os.mkdir, (str(self.directory),)


def bowl(config):
    return (config["x"] - 5) ** 2 + (config["y"] - 7) ** 2


def rough(config):
    """Many local minima."""
    return bowl(config) + 40 * ((3 * config["x"] + 5 * config["y"]) % 7)


def make(space=SPACE, metric="loss", mode="min", **options):
    return NelderMeadSearcher(space, metric, mode, **options)


def drive(searcher, trials=None, value=bowl, names="t"):
    """Run one trial after the other to the end, or so many; their configurations in order."""
    configs = []
    while trials is None or len(configs) < trials:
        trial = f"{names}{len(configs)}"
        config = searcher.suggest(trial)
        if config == FINISHED:
            break
        assert config is not None
        configs.append(config)
        searcher.on_trial_complete(trial, {"loss": value(config)})
    return configs


def drive_at_random(searcher, rng, failing=0.2):
    """Open and complete trials in random order, some as failures; the configurations in order."""
    configs, live = [], {}
    while True:
        suggested = searcher.suggest(f"t{len(configs)}")
        if suggested == FINISHED:
            assert not live, "FINISHED while trials are live"
            return configs
        if suggested is None:
            assert live, "None while no trial is live"
        else:
            live[f"t{len(configs)}"] = suggested
            configs.append(suggested)
        while live and (suggested is None or rng.random() < 0.4):
            suggested = ...
            trial = rng.choice(list(live))
            loss = bowl(live.pop(trial))
            if rng.random() < failing:
                searcher.on_trial_complete(trial, error=True)
            else:
                searcher.on_trial_complete(trial, {"loss": loss})


def fill(searcher, names="open"):
    """Open trials until the searcher wants to wait; their configurations by id."""
    live = {}
    while (config := searcher.suggest(f"{names}{len(live)}")) is not None:
        assert config != FINISHED
        live[f"{names}{len(live)}"] = config
        assert len(live) < 100, "no end of open trials"
    return live


def distinct(configs):
    return {json.dumps(config, sort_keys=True) for config in configs}


def saved(searcher, tmp_path):
    searcher.save(str(tmp_path / "state"))
    return json.loads((tmp_path / "state").read_text())


def restored(path):
    searcher = NelderMeadSearcher()
    searcher.restore(str(path))
    return searcher


def through_file(searcher, tmp_path):
    searcher.save(str(tmp_path / "state"))
    return restored(tmp_path / "state")


COPIES = {
    "pickle": lambda searcher, _: pickle.loads(pickle.dumps(searcher)),  # noqa: S301 - our own
    "cloudpickle": lambda searcher, _: cloudpickle.loads(cloudpickle.dumps(searcher)),
    "deepcopy": lambda searcher, _: copy.deepcopy(searcher),
    "save and restore": through_file,
}


# --- what must be known before a suggestion ------------------------------------------------------


def test_suggest_without_a_space_says_so():
    with pytest.raises(UndefinedSearchError, match="no search space has been defined"):
        NelderMeadSearcher(metric="loss", mode="min").suggest("t")


@pytest.mark.parametrize(("metric", "mode"), [(None, None), ("loss", None)])
def test_suggest_without_metric_and_mode_says_so(metric, mode):
    with pytest.raises(UndefinedSearchError, match=r"`metric`.*`mode`.*have not been set"):
        make(metric=metric, mode=mode).suggest("t")


def test_an_undefined_search_is_the_runtime_error_that_rays_searchers_raise():
    assert issubclass(UndefinedSearchError, RuntimeError)


@pytest.mark.parametrize("mode", ["maximise", "MIN", "", ["min"], 1])
def test_a_wrong_mode_is_refused_though_the_metric_is_missing(mode):
    with pytest.raises(InvalidInputError, match="mode must be 'min' or 'max'"):
        NelderMeadSearcher(SPACE, mode=mode)


def test_several_metrics_are_refused():
    with pytest.raises(InvalidInputError, match="metric must be the name of one result"):
        NelderMeadSearcher(SPACE, metric=["a", "b"], mode="min")


@pytest.mark.parametrize(
    "options",
    [
        *({"seed": -1}, {"seed": 1.5}, {"budget": 0}, {"patience": 0}),
        *({"retries": -1}, {"scale": {"x": "cubic"}}),
    ],
)
def test_a_wrong_option_is_refused_before_the_space_is_known(options):
    with pytest.raises(InvalidInputError, match=r"seed|budget|patience|retries|scale"):
        NelderMeadSearcher(**options)


def test_a_space_with_nothing_to_tune_is_refused():
    with pytest.raises(InvalidInputError, match="nothing to tune"):
        make({"batch": 8})


# --- set_search_properties -----------------------------------------------------------------------


def test_space_metric_and_mode_may_come_from_ray():
    searcher = NelderMeadSearcher()
    assert searcher.set_search_properties("loss", "min", SPACE)
    drive(searcher)
    assert searcher.best.config == LOWEST


def test_rays_metric_and_mode_replace_those_of_the_constructor():
    searcher = NelderMeadSearcher(metric="other", mode="max")
    assert searcher.set_search_properties("loss", "min", SPACE)
    assert (searcher.metric, searcher.mode) == ("loss", "min")
    drive(searcher)
    assert searcher.best.config == LOWEST


def test_metric_and_mode_of_the_constructor_stay_where_ray_has_none():
    searcher = NelderMeadSearcher(metric="loss", mode="max")
    assert searcher.set_search_properties(None, None, SPACE)
    assert (searcher.metric, searcher.mode) == ("loss", "max")


def test_the_metric_is_what_a_returned_number_is_reported_as_unless_named():
    searcher = NelderMeadSearcher()
    searcher.set_search_properties(None, "min", SPACE)
    assert searcher.metric == "_metric"
    config = searcher.suggest("t")
    searcher.on_trial_complete("t", {"_metric": 4})
    assert (searcher.best.config, searcher.best.value) == (config, 4.0)


def test_max_looks_for_the_highest_value():
    searcher = make(mode="max")
    drive(searcher, value=lambda config: 100 - bowl(config))
    assert (searcher.best.config, searcher.best.value) == (LOWEST, 100.0)


def test_the_same_space_again_is_accepted():
    assert make().set_search_properties("loss", "min", SPACE)


def test_the_same_space_again_keeps_what_was_measured():
    searcher = make()
    drive(searcher, trials=5)
    best = searcher.best
    assert searcher.set_search_properties("loss", "min", SPACE)
    assert searcher.best == best


def test_a_different_space_is_refused():
    assert make().set_search_properties("loss", "min", OTHER_SPACE) is False


def test_a_second_different_space_from_ray_is_refused():
    searcher = NelderMeadSearcher()
    assert searcher.set_search_properties("loss", "min", SPACE)
    assert searcher.set_search_properties("loss", "min", OTHER_SPACE) is False


def test_the_same_space_under_another_scale_is_the_searchers_own():
    searcher = make(scale={"x": "linear"})
    assert searcher.set_search_properties("loss", "min", SPACE)


def test_constants_alone_leave_the_constructors_space():
    searcher = NelderMeadSearcher(SPACE)
    assert searcher.set_search_properties("loss", "min", {"batch": 8})
    assert set(searcher.suggest("t")) == {"x", "y"}


def test_the_constructors_constants_stay_where_rays_space_has_none():
    searcher = NelderMeadSearcher({**SPACE, "batch": 8})
    assert searcher.set_search_properties("loss", "min", SPACE)
    assert searcher.suggest("t")["batch"] == 8


def test_nothing_to_tune_anywhere_is_an_error():
    with pytest.raises(InvalidInputError, match="nothing to tune"):
        NelderMeadSearcher().set_search_properties("loss", "min", {"batch": 8})


def test_the_mode_may_change_before_the_first_trial():
    searcher = make(mode="max")
    assert searcher.set_search_properties("loss", "min", SPACE)
    drive(searcher)
    assert searcher.best.config == LOWEST


@pytest.mark.parametrize("trials", [0, 1])
def test_the_mode_cannot_change_after_the_first_trial(trials):
    searcher = make(mode="max")
    drive(searcher, trials)
    searcher.suggest("open")
    with pytest.raises(InvalidInputError, match=r"has begun with mode='max'.* mode='min'"):
        searcher.set_search_properties("loss", "min", SPACE)


@pytest.mark.parametrize("before", [True, False])
def test_the_cap_may_be_set_before_or_after_the_space_and_twice(before):
    searcher = NelderMeadSearcher()
    steps = [
        lambda: searcher.set_max_concurrency(2),
        lambda: searcher.set_search_properties("loss", "min", SPACE),
    ]
    assert all(step() for step in (*(steps if before else reversed(steps)), *steps))
    assert [searcher.suggest(str(i)) is None for i in range(3)] == [False, False, True]
    searcher.on_trial_complete("0", {"loss": 1})
    assert len(fill(searcher)) == 1


# --- spaces: T8, T9, T10 -------------------------------------------------------------------------

NESTED = {
    "threads": {"inter": tune.randint(1, 4), "intra": tune.randint(1, 4)},
    "batch": 8,
    "list": [1, 2],
    "deep": {"name": "net", "x": tune.choice([1, 2, 4])},
}


def test_a_constructors_space_gives_its_constants_too():
    config = make(NESTED).suggest("t")
    assert config["batch"] == 8
    assert config["list"] == [1, 2]
    assert config["deep"]["name"] == "net"
    assert set(config["threads"]) == {"inter", "intra"}


def test_a_param_space_gets_back_its_tuned_keys_alone():
    # Ray merges them into param_space, where its placeholders for objects must survive.
    searcher = NelderMeadSearcher()
    placeholder = ("__ref_ph", "0123abcd")
    searcher.set_search_properties("loss", "min", {**NESTED, "object": placeholder})
    config = searcher.suggest("t")
    assert {key: set(config[key]) for key in config} == {
        "threads": {"inter", "intra"},
        "deep": {"x"},
    }


def test_a_list_with_domains_comes_back_whole_since_ray_replaces_it():  # T8
    searcher = NelderMeadSearcher()
    placeholder = ("__ref_ph", "0123abcd")
    layers = [tune.randint(1, 17), (tune.randint(1, 17), 5), placeholder]
    searcher.set_search_properties("loss", "min", {"layers": layers, "batch": 8})
    configs = drive(searcher, value=lambda c: bowl({"x": c["layers"][0], "y": c["layers"][1][0]}))
    assert searcher.best.config == {"layers": [5, (7, 5), placeholder]}
    assert all(repr(config["layers"][1])[0] == "(" for config in configs)
    assert searcher.set_search_properties("loss", "min", {"layers": layers, "batch": 8})


def test_a_functions_constants_are_rays_placeholders_still():
    searcher = NelderMeadSearcher(constraints=lambda config: config["batch"] == 8)
    constants = {"batch": 8, "object": ("__ref_ph", "0123abcd")}
    searcher.set_search_properties("loss", "min", {**SPACE, **constants})
    config = searcher.suggest("t")
    assert config == {"x": config["x"], "y": config["y"], **constants}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_with_domains_in_lists_goes_on_alike(copied, tmp_path):
    space = {"layers": [tune.randint(1, 17), (tune.randint(1, 17), 5)], "batch": 8}
    searcher = make(space, points_to_evaluate=[{"layers": [3]}])

    def value(config):
        return bowl({"x": config["layers"][0], "y": config["layers"][1][0]})

    assert drive(searcher, trials=6, value=value)[0]["layers"][0] == 3
    again = copied(searcher, tmp_path)
    assert repr(drive(again, value=value)) == repr(drive(searcher, value=value))
    assert again.best.config == {"layers": [5, (7, 5)], "batch": 8}


def test_every_domain_is_resolved():  # T8
    searcher = NelderMeadSearcher()
    searcher.set_search_properties("loss", "min", NESTED)
    config = searcher.suggest("t")
    assert all(
        type(value) is int for value in (*config["threads"].values(), *config["deep"].values())
    )


@pytest.mark.parametrize(
    "domain",
    [
        tune.uniform(0, 1),
        tune.choice(["a", 1]),
        tune.grid_search([1, 2]),
        tune.sample_from(lambda: 1),
        [tune.uniform(0, 1)],
        [{"deep": tune.grid_search([1, 2])}],
        [1, ("__fn_ph", "0123abcd")],
    ],
)
def test_a_domain_that_cannot_be_resolved_is_refused(domain):  # T8
    with pytest.raises(InvalidInputError, match=r"'odd[/0-9a-z]*'"):
        NelderMeadSearcher().set_search_properties("loss", "min", {**SPACE, "odd": domain})


@pytest.mark.parametrize(
    ("domain", "values"),
    [
        (tune.randint(1, 4), {1, 2, 3}),
        (tune.randint(-2, 1), {-2, -1, 0}),
        (tune.qrandint(1, 10, 3), {3, 6, 9}),
        (tune.qrandint(2, 4, 1), {2, 3}),
        (tune.qrandint(2, 4, 2), {2, 4}),
        (tune.lograndint(1, 6), {1, 2, 3, 4, 5}),
        (tune.qlograndint(2, 9, 4), {4, 8}),
        (tune.choice([1, 2, 8]), {1, 2, 8}),
        (tune.randint(3, 4), {3}),
    ],
)
def test_exactly_the_values_of_a_domain_are_suggested_as_ints(domain, values):  # T9
    searcher = make({"x": domain}, patience=10**6, repeats=0)
    rng = np.random.default_rng(0)
    configs = drive(searcher, value=lambda _: rng.random())
    assert {config["x"] for config in configs} == values
    assert len(configs) == len(values)
    assert all(type(config["x"]) is int for config in configs)
    assert searcher.stopped_by is StopRule.EXHAUSTED


def test_a_choice_of_numpy_integers_is_refused_with_a_remedy():  # T10
    references = [("__ref_ph", str(number)) for number in range(4)]
    with pytest.raises(InvalidInputError, match=r"array\.tolist"):
        NelderMeadSearcher().set_search_properties("loss", "min", {"x": tune.choice(references)})


def test_convert_search_space_needs_no_instance():
    space = NelderMeadSearcher.convert_search_space({**SPACE, "batch": 8})
    assert isinstance(space, IntegerSpace)
    assert space.size == 256


@pytest.mark.parametrize("spec", [{}, {"batch": 8}])
def test_convert_search_space_gives_nothing_where_nothing_is_tuned(spec):
    assert NelderMeadSearcher.convert_search_space(spec) == {}


def test_convert_search_space_refuses_a_grid():
    with pytest.raises(ValueError, match="grid_search"):
        NelderMeadSearcher.convert_search_space({"x": tune.grid_search([1, 2])})


# --- given points --------------------------------------------------------------------------------


def test_given_points_come_first_and_in_order():
    points = [{"x": 16, "y": 1}, {"x": 2, "y": 9}, {"x": 8, "y": 8}]
    assert drive(make(points_to_evaluate=points), trials=3) == points


def test_given_points_are_open_side_by_side():
    points = [{"x": 16, "y": 1}, {"x": 2, "y": 9}]
    assert list(fill(make(points_to_evaluate=points)).values())[:2] == points


def test_given_points_wait_for_a_space_from_ray():
    searcher = NelderMeadSearcher(points_to_evaluate=[{"x": 16, "y": 1}])
    searcher.set_search_properties("loss", "min", SPACE)
    assert searcher.suggest("t") == {"x": 16, "y": 1}


def test_the_callers_list_of_points_is_left_alone():
    points = [{"x": 16, "y": 1}, {"x": 2, "y": 9}]
    before = copy.deepcopy(points)
    drive(make(points_to_evaluate=points))
    assert points == before


def test_changing_the_list_of_points_later_changes_nothing():
    points = [{"x": 16, "y": 1}]
    searcher = NelderMeadSearcher(points_to_evaluate=points)
    points[0]["x"] = 3
    searcher.set_search_properties("loss", "min", SPACE)
    assert searcher.suggest("t") == {"x": 16, "y": 1}


def test_numpy_integers_in_given_points_come_back_as_ints():
    config = make(points_to_evaluate=[{"x": np.int64(16), "y": np.int32(1)}]).suggest("t")
    assert config == {"x": 16, "y": 1}
    assert all(type(value) is int for value in config.values())


@pytest.mark.parametrize("from_ray", [True, False])
def test_what_a_given_point_leaves_out_is_in_the_middle(from_ray):  # as Ray's BasicVariantGenerator
    points = [{"y": 16}, {}, {"x": 3, "y": 4}, {"threads": {"a": 3}, "batch": 8}]
    space = {**SPACE, "threads": {"a": tune.randint(1, 4), "b": range(1, 4)}, "batch": 8}
    searcher = make(None if from_ray else space, points_to_evaluate=points)
    if from_ray:
        searcher.set_search_properties("loss", "min", space)
    configs = drive(searcher, trials=4)
    found = [(c["x"], c["y"], c["threads"]["a"], c["threads"]["b"]) for c in configs]
    assert found == [(4, 16, 2, 2), (4, 4, 2, 2), (3, 4, 2, 2), (4, 4, 3, 2)]


def test_what_a_given_point_leaves_out_is_tensorflows_default(monkeypatch):
    monkeypatch.setattr("kamerton_ray.tune.thread_space.trial_cpus", lambda: 32)
    space = {**instance_space(32, pinned=True), "batch": tune.randint(1, 100)}
    points = [{}, {"intra_op": 4}, {"batch": 7, "inter_op": 3}]
    configs = drive(make(space, points_to_evaluate=points), trials=3, value=lambda _: 1.0)
    usual = {"instances": 1, "intra_op": 32, "inter_op": 16, "pinned": 0, "batch": 10}
    assert configs == [usual | point for point in points]


def test_what_a_given_point_leaves_out_keeps_the_constraints(monkeypatch):
    monkeypatch.setattr("kamerton_ray.tune.thread_space.trial_cpus", lambda: 32)
    points = [{"instances": 8}]
    options = {"points_to_evaluate": points, "constraints": instance_limit(32)}
    config = make(instance_space(32, pinned=False), **options).suggest("t")
    assert config["instances"] == 8
    assert config["intra_op"] == 8


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"x": 99}, "'x' takes"),
        ({"x": 1.5}, "'x' takes integers"),
        ({"X": 1}, r"name no others than \['x', 'y'\], but got 'X'"),
        ({"x": {"deep": 1}}, "no others.*'x/deep'"),
        ({"x": 1, "deep": {"z": 2}}, "no others.*'deep/z'"),
        ({"x": 16}, "start point must keep all constraints.*'y'.*'x': 16"),
    ],
)
def test_a_given_point_that_cannot_be_completed_is_refused(point, said):
    with pytest.raises(InvalidInputError, match=said):
        make(points_to_evaluate=[point], constraints=lambda config: config["x"] < 16)


def test_a_given_point_with_a_reward_has_to_be_whole():
    with pytest.raises(InvalidInputError, match="'y' is missing"):
        make(points_to_evaluate=[{"x": 1}], evaluated_rewards=[1.0])


@pytest.mark.parametrize("point", [{"x": 17, "y": 1}, {"x": 1.5, "y": 1}, {"x": 17}])
def test_a_given_point_off_the_lattice_is_refused(point):
    with pytest.raises(InvalidInputError, match=r"'[xy]'"):
        make(points_to_evaluate=[point])


@pytest.mark.parametrize("points", [{"x": 1, "y": 1}, "x", [1, 2]])
def test_given_points_that_are_no_list_of_configurations_are_refused(points):
    with pytest.raises(InvalidInputError, match="list of configurations"):
        make(points_to_evaluate=points)


def test_points_with_given_rewards_are_not_run():
    points = [{"x": 16, "y": 1}, {"x": 5, "y": 8}]
    searcher = make(points_to_evaluate=points, evaluated_rewards=[bowl(p) for p in points])
    assert (searcher.best.config, searcher.best.value) == ({"x": 5, "y": 8}, 1.0)
    configs = drive(searcher)
    assert not any(config in points for config in configs)
    assert searcher.best.config == LOWEST


def test_as_many_rewards_as_points_are_needed():
    with pytest.raises(InvalidInputError, match="2 values for 1 points"):
        make(points_to_evaluate=[{"x": 1, "y": 1}], evaluated_rewards=[1, 2])


# --- add_evaluated_point: Ray's AddEvaluatedPointTest ---------------------------------------------


def test_an_added_point_counts_in_a_copy_and_the_search_goes_on():
    original = make()
    searcher = copy.deepcopy(original)
    searcher.add_evaluated_point({"x": 5, "y": 8}, 1.0, intermediate_values=[3.0, 2.0])
    assert (searcher.best.config, searcher.best.value) == ({"x": 5, "y": 8}, 1.0)
    assert original.best is None
    assert {"x": 5, "y": 8} not in drive(searcher)
    assert searcher.best.config == LOWEST


def test_an_added_value_is_the_metric_itself_when_maximising():
    searcher = make(mode="max")
    searcher.add_evaluated_point({"x": 5, "y": 8}, 12.0)
    searcher.add_evaluated_point({"x": 5, "y": 9}, 10.0)
    assert (searcher.best.config, searcher.best.value) == ({"x": 5, "y": 8}, 12.0)


def test_an_added_standard_error_is_kept(tmp_path):
    searcher = make()
    searcher.add_evaluated_point({"x": 5, "y": 8}, np.float32(1.0), sem=0.5)
    assert saved(searcher, tmp_path)["search"]["noises"] == [[[4, 7], 0.5]]


def test_given_rewards_take_the_search_where_the_same_results_took_it():
    points = [{"x": 16, "y": 16}, {"x": 3, "y": 9}, {"x": 9, "y": 2}]
    cold = make(points_to_evaluate=points)
    assert drive(cold, trials=3, value=rough) == points
    warm = make(points_to_evaluate=points, evaluated_rewards=[rough(point) for point in points])
    assert drive(warm, value=rough) == drive(cold, value=rough)


@pytest.mark.parametrize("points", [None, [{"x": 16, "y": 16}]])
@pytest.mark.parametrize("trials", [9, 11, 13, 30])
def test_results_added_in_their_order_take_the_search_where_they_took_the_earlier_one(
    trials, points
):
    earlier, later = (make(points_to_evaluate=points, patience=40) for _ in range(2))
    for config in drive(earlier, trials=trials, value=rough):
        later.add_evaluated_point(config, rough(config))
    assert drive(later, value=rough) == drive(earlier, value=rough)


def test_an_added_configuration_may_hold_more_than_is_tuned():
    searcher = make(NESTED)
    config = {"threads": {"inter": 1, "intra": 2}, "deep": {"x": 4}, "batch": 9, "other": object()}
    searcher.add_evaluated_point(config, 1.0)
    assert searcher.best.value == 1.0


@pytest.mark.parametrize(
    ("value", "error"), [(1.0, True), (None, True), (None, False), (float("nan"), False)]
)
def test_an_added_failure_is_not_tried_again_and_never_best(value, error):
    searcher = make()
    searcher.add_evaluated_point(LOWEST, value, error=error)
    assert searcher.best is None
    assert LOWEST not in drive(searcher)


def test_an_added_pruned_point_is_no_result():
    searcher = make()
    searcher.add_evaluated_point(LOWEST, 50.0, pruned=True)
    assert searcher.best is None
    assert LOWEST in drive(searcher)


def test_a_point_added_before_the_space_is_known_is_refused():
    with pytest.raises(UndefinedSearchError, match="no search space"):
        NelderMeadSearcher().add_evaluated_point(LOWEST, 1.0)


def test_an_added_point_off_the_lattice_is_refused():
    with pytest.raises(InvalidInputError, match="'x'"):
        make().add_evaluated_point({"x": 99, "y": 1}, 1.0)


def test_a_limiter_passes_added_points_on():
    searcher = make()
    ConcurrencyLimiter(searcher, 2).add_evaluated_point({"x": 5, "y": 8}, 1.0)
    assert searcher.best.value == 1.0


# --- completions: T2, T7 -------------------------------------------------------------------------


def test_an_unknown_trial_is_ignored():  # T2
    searcher = make()
    searcher.on_trial_complete("never seen", {"loss": -1.0})
    searcher.on_trial_complete("never seen", error=True)
    searcher.on_trial_result("never seen", {"loss": -1.0})
    assert searcher.best is None


def test_a_trial_of_a_searcher_without_a_space_is_ignored():  # T2
    searcher = NelderMeadSearcher()
    searcher.on_trial_result("t", {"loss": -1.0})
    searcher.on_trial_complete("t", {"loss": -1.0})
    assert searcher.best is None


def test_reports_after_the_completion_are_ignored():  # T2, Ray's testOptunaReportTooOften
    searcher = make()
    searcher.suggest("t")
    searcher.on_trial_result("t", {"loss": 9.0})
    searcher.on_trial_complete("t", {"loss": 8.0})
    searcher.on_trial_result("t", {"loss": -1.0})
    searcher.on_trial_complete("t", {"loss": -1.0})
    searcher.on_trial_complete("t", error=True)
    assert searcher.best.value == 8.0


def test_an_intermediate_result_is_not_the_value():
    searcher = make()
    searcher.suggest("t")
    searcher.on_trial_result("t", {"loss": -1.0})
    assert searcher.best is None
    searcher.on_trial_complete("t", {"loss": 8.0})
    assert searcher.best.value == 8.0


def test_a_failed_trial_that_is_resumed_under_its_id_may_report_a_number():
    searcher = make()
    config = searcher.suggest("t")
    searcher.on_trial_complete("t", error=True)
    assert searcher.best is None
    searcher.on_trial_complete("t", {"loss": 8.0})
    assert (searcher.best.config, searcher.best.value) == (config, 8.0)


def test_a_failed_trial_may_report_its_number_after_save_and_restore(tmp_path):
    searcher = make()
    config = searcher.suggest("t")
    searcher.on_trial_complete("t", error=True)
    again = through_file(searcher, tmp_path)
    again.on_trial_complete("t", {"loss": 8.0})
    assert (again.best.config, again.best.value) == (config, 8.0)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("result", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_a_result_without_a_number_is_a_failure(result, mode):  # T7
    searcher = make(mode=mode)
    first = searcher.suggest("t")
    searcher.on_trial_complete("t", result)
    assert searcher.best is None
    assert first not in drive(searcher)


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_every_kind_of_number_is_taken_as_a_float(number):  # T7
    searcher = make()
    searcher.suggest("t")
    searcher.on_trial_complete("t", {"loss": number})
    assert searcher.best.value == 3.0
    assert type(searcher.best.value) is float


def test_an_error_outweighs_the_number_beside_it():  # T7
    searcher = make()
    searcher.suggest("t")
    searcher.on_trial_complete("t", {"loss": 1.0}, error=True)
    assert searcher.best is None


def test_a_nested_metric_is_read_by_its_flat_name():
    searcher = make(metric="eval/loss")
    searcher.suggest("t")
    searcher.on_trial_complete("t", {"eval/loss": 8.0, "loss": 1.0})
    assert searcher.best.value == 8.0


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan"), None])
def test_the_best_is_among_the_numbers_where_some_values_are_not(bad):  # Ray's InvalidValuesTest
    searcher = make({"x": tune.randint(0, 50), "list": [1, 2, 3], "num": 4}, mode="max")
    drive(searcher, value=lambda config: bad if config["x"] % 3 == 0 else config["x"])
    assert searcher.best.config["x"] % 3 != 0
    assert searcher.best.config["list"] == [1, 2, 3]
    assert searcher.best.config["num"] == 4


def test_failures_do_not_hide_the_lowest_point():
    searcher = make()
    drive(searcher, value=lambda config: None if config["x"] > 10 else bowl(config))
    assert searcher.best.config == LOWEST


@pytest.mark.parametrize(
    ("sure", "repeats"),
    [
        (lambda _: {"loss_sem": 1e-6}, False),
        (lambda loss: {"loss_low": loss - 1e-6, "loss_high": loss + 1e-6}, False),
        (lambda _: {"loss_sem": 1.0}, True),
        (lambda loss: {"loss_low": loss - 2.0, "loss_high": loss + 2.0}, True),
        (lambda loss: {"loss_low": loss - 2.0, "loss_high": None}, False),
        (lambda _: {"other_sem": 1.0}, False),
    ],
    ids=["sem", "interval", "large sem", "wide interval", "half an interval", "another's"],
)
def test_what_a_result_says_of_its_error_decides_what_is_run_again(sure, repeats):
    searcher, configs = make(), []
    while (config := searcher.suggest(f"t{len(configs)}")) != FINISHED:
        # The repeats differ a little, or the function would be known to have no noise.
        loss = bowl(config) + 1.0 + 1e-9 * len(configs)
        searcher.on_trial_complete(f"t{len(configs)}", {"loss": loss, **sure(loss)})
        configs.append(config)
    assert (len(distinct(configs)) < len(configs)) == repeats
    assert (searcher.best.measurements > 1) == repeats


@pytest.mark.parametrize("value", [None, float("nan"), "fast"])
def test_a_search_whose_trials_all_fail_ends_and_says_so(value, caplog):
    searcher = make()
    configs = drive(searcher, value=lambda _: value)
    assert searcher.stopped_by is StopRule.FAILED
    assert searcher.best is None
    assert len(configs) < 256
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert f"all of its {len(configs)} trials failed or reported no number as 'loss'" in caplog.text


# --- None and FINISHED: T1, T11, T14 -------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_none_only_while_a_trial_is_live_and_finished_only_at_the_end(seed):  # T1, T11
    searcher = make(repeats=0)
    configs = drive_at_random(searcher, np.random.default_rng(seed))
    assert len(distinct(configs)) == len(configs)
    assert searcher.stopped_by is not None
    assert [searcher.suggest(f"late {i}") for i in range(3)] == [FINISHED] * 3


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_lattice_of_few_points_is_measured_whole_and_then_finished(size):  # T1
    searcher = make({"x": tune.randint(0, size)})
    assert {config["x"] for config in drive(searcher, value=lambda _: 1.0)} == set(range(size))
    assert searcher.suggest("more") == FINISHED


def test_a_search_asked_ahead_still_ends_at_the_lowest_point():  # T11
    searcher = make()
    live, trials = [], 0
    while True:
        config = searcher.suggest(str(trials))
        if config == FINISHED:
            break
        if config is not None:
            live.append((str(trials), config))
            trials += 1
        if config is None or len(live) == 2:
            trial, done = live.pop(0)
            searcher.on_trial_complete(trial, {"loss": bowl(done)})
    assert searcher.best.config == LOWEST


def test_the_budget_ends_the_search():
    searcher = make(budget=7)
    assert len(drive(searcher)) == 7
    assert searcher.stopped_by is StopRule.BUDGET


def test_no_state_is_kept_for_an_id_that_was_told_to_wait():
    searcher = make()
    live = fill(searcher)
    assert set(searcher._state.trials.live) == set(live)
    for trial, config in live.items():
        searcher.on_trial_complete(trial, {"loss": bowl(config)})
    searcher.on_trial_complete(f"open{len(live)}", {"loss": -1.0})
    assert searcher.best.value >= 0


def test_a_trainable_that_returns_zero_and_so_reports_nothing_is_a_failure():  # T14
    searcher = NelderMeadSearcher(SPACE, mode="min")
    searcher.suggest("t")
    searcher.on_trial_complete("t", {"config/x": 8, "config/y": 8, "done": True})
    assert searcher.best is None


# --- trials that never report back: T3 -----------------------------------------------------------


def test_a_trial_that_never_reports_is_given_out_again_when_ray_polls_slowly():  # T3
    searcher = make()
    searcher._clock = FakeClock(1.0)
    lost = fill(searcher)
    again = [config for i in range(60) if (config := searcher.suggest(f"again{i}")) is not None]
    assert set(map(str, lost.values())) <= set(map(str, again))


def test_the_search_ends_at_the_lowest_point_though_trials_get_lost():  # T3
    searcher = make()
    searcher._clock = FakeClock(1.0)
    for i in range(1000):
        config = searcher.suggest(str(i))
        if config == FINISHED:
            break
        if config is not None and i % 5:
            searcher.on_trial_complete(str(i), {"loss": bowl(config)})
    assert searcher.suggest("more") == FINISHED
    assert searcher.best.config == LOWEST


def test_a_lost_trial_frees_its_slot():  # T3
    searcher = make()
    searcher._clock = FakeClock(1.0)
    searcher.set_max_concurrency(1)
    lost = searcher.suggest("lost")
    assert [config for i in range(6) if (config := searcher.suggest(str(i)))] == [lost]


def test_waiting_is_not_given_up_while_ray_polls_fast():  # T3
    searcher = make()
    searcher._clock = FakeClock(0.1)
    fill(searcher)
    assert all(searcher.suggest(f"more{i}") is None for i in range(1000))


@pytest.mark.parametrize(
    "report",
    [
        lambda searcher: searcher.on_trial_result("open0", {"loss": 1.0}),
        lambda searcher: searcher.on_trial_complete("of another life", {"loss": 1.0}),
    ],
    ids=["a result", "a completion"],
)
def test_waiting_is_not_given_up_while_trials_report(report):  # T3
    searcher = make()
    searcher._clock = FakeClock(1.0)
    fill(searcher)
    for i in range(100):
        assert searcher.suggest(f"more{i}") is None
        report(searcher)


def test_polls_that_were_given_a_trial_do_not_count():  # T3
    searcher = make(points_to_evaluate=[{"x": x, "y": 1} for x in range(1, 9)])
    searcher._clock = FakeClock(1.0)
    assert len(fill(searcher)) >= 8
    assert [searcher.suggest(f"more{i}") for i in range(3)] == [None] * 3


def test_one_fast_poll_begins_the_count_anew():  # T3
    searcher = make()
    searcher._clock = clock = FakeClock(0.0)
    fill(searcher)
    for i in range(100):
        clock.now += 1.0 if i % 3 else 0.1
        assert searcher.suggest(f"more{i}") is None


def test_a_trial_given_up_that_reports_after_all_is_ignored():  # T3
    searcher = make()
    searcher._clock = FakeClock(1.0)
    lost = fill(searcher)
    while searcher.suggest("again") is None:
        pass
    for trial in lost:
        searcher.on_trial_complete(trial, {"loss": -1.0})
    assert searcher.best is None


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_restored_searcher_gives_lost_trials_up_too(copied, tmp_path):  # T3
    searcher = make()
    lost = fill(searcher)
    again = copied(searcher, tmp_path)
    again._clock = FakeClock(1.0)
    given = [config for i in range(60) if (config := again.suggest(f"again{i}")) is not None]
    assert set(map(str, lost.values())) <= set(map(str, given))


# --- trials that end with an error ---------------------------------------------------------------


def test_a_lost_trial_is_tried_again_before_anything_else_and_costs_no_budget():
    searcher, plain = (make(budget=9, retries=retries) for retries in (2, 0))
    configs = drive(plain)
    found = []
    while (config := searcher.suggest(f"t{len(found)}")) != FINISHED:
        lost = len(found) % 3 < 2
        searcher.on_trial_complete(f"t{len(found)}", None if lost else {"loss": bowl(config)}, lost)
        found.append(config)
    assert found == [config for config in configs for _ in range(3)]
    assert searcher.best == plain.best


def test_a_configuration_that_loses_each_of_its_trials_fails():
    searcher = make(retries=2)
    config = searcher.suggest("a")
    for trial, again in ("a", "b"), ("b", "c"), ("c", "d"):
        assert not searcher.has_failed(trial)
        searcher.on_trial_complete(trial, error=True)
        assert (searcher.suggest(again) == config) is (trial != "c")
    assert searcher.has_failed("c")
    assert not searcher.has_failed("b")


def test_a_trial_that_ends_without_a_number_is_not_lost():
    searcher = make(retries=2)
    config = searcher.suggest("a")
    searcher.on_trial_complete("a", {"loss": float("nan")})
    assert searcher.has_failed("a")
    assert searcher.suggest("b") != config


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_tries_what_was_lost_again(copied, tmp_path):
    searcher = make(retries=1)
    config = searcher.suggest("a")
    searcher.on_trial_complete("a", error=True)
    again = copied(searcher, tmp_path)
    assert again.suggest("b") == config
    again.on_trial_complete("b", error=True)
    assert again.has_failed("b")


# --- Ray's wrappers: T5, T13 ---------------------------------------------------------------------


RAYS_METHODS = {
    *("add_evaluated_point", "add_evaluated_trials", "get_state", "on_trial_complete"),
    *("on_trial_result", "restore", "restore_from_dir", "save", "save_to_dir"),
    *("set_max_concurrency", "set_search_properties", "set_state", "suggest"),
}


def test_ray_asks_a_searcher_for_nothing_that_was_not_thought_of():
    found = {name for name, _ in inspect.getmembers(Searcher, inspect.isfunction)}
    assert {name for name in found if not name.startswith("_")} <= RAYS_METHODS


@pytest.mark.parametrize("name", sorted(RAYS_METHODS & vars(NelderMeadSearcher).keys()))
def test_a_method_takes_what_that_of_rays_takes(name):
    ours, theirs = (
        list(inspect.signature(vars(of)[name]).parameters.values())
        for of in (NelderMeadSearcher, Searcher)
    )
    own, more = ours[: len(theirs)], ours[len(theirs) :]
    assert [(one.name, one.kind) for one in own] == [(one.name, one.kind) for one in theirs]
    assert all(one.default is not one.empty or one.kind is one.VAR_KEYWORD for one in more)


def test_it_is_no_wrapper_to_ray():  # T5
    assert not hasattr(make(), "searcher")


def test_a_search_generator_saves_and_restores_it_through_both_wrappers(tmp_path):  # T5
    def wrapped():
        return SearchGenerator(ConcurrencyLimiter(Repeater(make(), repeat=2), max_concurrent=4))

    generator = wrapped()
    for i in range(2):
        generator.searcher.suggest(f"t{i}")
    for i in range(2):
        generator.on_trial_complete(f"t{i}", {"loss": 8.0 + 2 * i})
    generator.save_to_dir(str(tmp_path), "session")
    again = wrapped()
    again.restore_from_dir(str(tmp_path))
    assert again.searcher.searcher.searcher.best.value == 9.0


@pytest.mark.parametrize("end", ["result", "error", "no result"])
def test_its_own_cap_frees_a_slot_at_every_end_of_a_trial(end):
    searcher = make(points_to_evaluate=[{"x": 16, "y": 1}, {"x": 2, "y": 9}])
    limiter = ConcurrencyLimiter(searcher, 1)
    assert limiter.suggest("a") is not None
    assert limiter.suggest("b") is None
    ends = {
        "result": {"result": {"loss": 1.0}},
        "error": {"error": True},
        "no result": {"result": None},
    }
    limiter.on_trial_complete("unknown", {"loss": 1.0})
    assert limiter.suggest("c") is None
    limiter.on_trial_complete("a", **ends[end])
    assert limiter.suggest("d") == {"x": 2, "y": 9}


def test_under_a_limiter_a_resumed_trial_is_heard():
    searcher = make()
    limiter = ConcurrencyLimiter(searcher, 2)
    limiter.suggest("t")
    limiter.on_trial_complete("t", error=True)
    limiter.on_trial_complete("t", {"loss": 8.0})
    assert searcher.best.value == 8.0


def test_the_cap_survives_copies_but_is_not_taken_from_a_file(tmp_path):
    # On restore Ray sets the cap first, from the arguments of the run that is to come.
    searcher = make(points_to_evaluate=[{"x": 16, "y": 1}, {"x": 2, "y": 9}])
    searcher.set_max_concurrency(1)
    assert len(fill(copy.deepcopy(searcher))) == 1
    searcher.save(str(tmp_path / "state"))
    again = NelderMeadSearcher()
    again.set_max_concurrency(2)
    again.restore(str(tmp_path / "state"))
    assert len(fill(again)) == 2


def test_a_batching_limiter_does_not_stop_the_search():
    searcher = make()
    limiter = ConcurrencyLimiter(searcher, 3, batch=True)
    for i in range(200):
        if limiter.suggest(str(i)) == FINISHED:
            break
        for trial, number in list(searcher._state.trials.live.items()):
            config = searcher._state.search.space.config(searcher._state.search.open[number])
            limiter.on_trial_complete(trial, {"loss": bowl(config)})
    assert searcher.best.config == LOWEST


def test_a_repeater_gives_the_mean_of_the_repeats():  # T13
    searcher = make()
    repeater = Repeater(ConcurrencyLimiter(searcher, 4), repeat=2)
    configs = [repeater.suggest(str(i)) for i in range(2)]
    assert [config.pop("__trial_index__") for config in configs] == [0, 1]
    assert configs[0] == configs[1]
    repeater.on_trial_complete("0", {"loss": 6.0})
    assert searcher.best is None
    repeater.on_trial_complete("1", {"loss": 8.0})
    assert (searcher.best.config, searcher.best.value) == (configs[0], 7.0)


@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
def test_a_repeater_that_loses_the_metric_ends_in_a_clear_failure():  # T13
    # Ray's Repeater around its ConcurrencyLimiter never learns a metric that only TuneConfig has.
    searcher = NelderMeadSearcher()
    repeater = Repeater(ConcurrencyLimiter(searcher, 4), repeat=2)
    repeater.set_search_properties("loss", "min", SPACE)
    # Before 2.60 a Repeater does not learn that a search ends, and shows what it was given.
    old = "FINISHED" not in inspect.getsource(Repeater.suggest)
    with pytest.raises(AssertionError, match="num_samples") if old else nullcontext():
        drive(repeater)
    assert searcher.stopped_by is StopRule.FAILED


# --- copies and saved files: T4, T6 --------------------------------------------------------------


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("trials", [0, 1, 4, 9, 20])
def test_a_copy_taken_in_the_middle_goes_on_alike(copied, trials, tmp_path):  # T6
    searcher = make(points_to_evaluate=[{"x": 16, "y": 1}, {"x": 2, "y": 9}], seed=3)
    drive(searcher, trials)
    live = fill(searcher)
    again = copied(searcher, tmp_path)
    for one in (searcher, again):
        for trial, config in live.items():
            one.on_trial_complete(trial, {"loss": bowl(config)})
    rest = drive(searcher, names="rest")
    assert drive(again, names="rest") == rest
    assert (again.best, again.stopped_by) == (searcher.best, searcher.stopped_by)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_without_a_space_can_be_given_one(copied, tmp_path):  # T6
    searcher = NelderMeadSearcher(
        points_to_evaluate=[{"x": 16, "y": 1}], scale={"x": "log"}, budget=9, seed=2, patience=4
    )
    again = copied(searcher, tmp_path)
    for one in (searcher, again):
        assert one.set_search_properties("loss", "min", SPACE)
    assert drive(again) == drive(searcher)
    assert again.stopped_by is searcher.stopped_by is StopRule.BUDGET


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_shares_nothing_with_the_original(copied, tmp_path):  # T6
    searcher = make()
    fill(searcher)
    again = copied(searcher, tmp_path)
    again.on_trial_complete("open0", {"loss": 1.0})
    assert searcher.best is None
    assert "open0" in searcher._state.trials.live


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_a_pickle_names_the_public_place_of_the_class(pickler):  # T6
    pickled = pickler.dumps(make())
    assert b"kamerton_ray.tune" not in pickled
    assert type(pickle.loads(pickled)) is NelderMeadSearcher  # noqa: S301 - our own


def test_a_pickle_of_an_earlier_version_finds_the_class():  # T6
    named = (b"ckamerton_ray\n", b"ckamerton_ray.searcher\n")
    assert named[0] in pickle.dumps(make(), 2)
    older = pickle.dumps(make(), 2).replace(*named)
    assert type(pickle.loads(older)) is NelderMeadSearcher  # noqa: S301 - our own


def test_what_cannot_be_pickled_is_refused_as_a_constant():  # T6
    with pytest.raises(InvalidInputError, match=r"'lock'.*with_parameters"):
        make({**SPACE, "lock": threading.Lock()})


def test_the_seed_alone_settles_the_sequence():
    assert drive(make(seed=5)) == drive(make(seed=5))


def test_save_writes_json_to_exactly_the_given_path(tmp_path):
    searcher = make()
    drive(searcher, trials=3)
    searcher.save(str(tmp_path / "a name without suffix"))
    assert [path.name for path in tmp_path.iterdir()] == ["a name without suffix"]
    assert set(json.loads((tmp_path / "a name without suffix").read_text())) == set(STATE_KEYS)


def test_a_blank_searcher_is_restored_whole(tmp_path):  # T4, Ray's SaveRestoreCheckpointTest
    searcher = NelderMeadSearcher()
    searcher.set_search_properties("loss", "min", SPACE)
    opened = [searcher.suggest(trial) for trial in ("1", "2", "not_completed")]
    searcher.on_trial_complete("1", {"loss": 8.0})
    searcher.save(str(tmp_path / "state"))
    again = restored(tmp_path / "state")
    assert (again.metric, again.mode) == ("loss", "min")
    again.on_trial_complete("2", {"loss": 7.0})
    assert again.suggest("3") != FINISHED
    assert again.best.value == (8.0 if opened[1] is None else 7.0)
    again.on_trial_complete("not_completed", {"loss": 6.0})
    assert set(again._state.trials.live) <= {"3"}


def test_open_trials_are_restored_with_their_configurations(tmp_path):
    points = [{"x": 16, "y": 1}, {"x": 2, "y": 9}]
    searcher = make(points_to_evaluate=points)
    fill(searcher)
    again = through_file(searcher, tmp_path)
    again.on_trial_complete("open1", {"loss": 7.0})
    assert again.best.config == points[1]
    assert "open0" in again._state.trials.live
    assert "open1" not in again._state.trials.live


def test_a_param_space_with_constants_is_restored(tmp_path):  # T4
    searcher = NelderMeadSearcher()
    searcher.set_search_properties("loss", "min", NESTED)
    config = searcher.suggest("t")
    again = through_file(searcher, tmp_path)
    again.on_trial_complete("t", {"loss": 7.0})
    assert again.best.config == config


def test_a_restored_searcher_may_be_given_its_space_again(tmp_path):  # T4
    searcher = make()
    drive(searcher, trials=4)
    again = through_file(searcher, tmp_path)
    assert again.set_search_properties("loss", "min", SPACE)
    assert drive(again, names="rest") == drive(searcher, names="rest")


def test_a_searcher_saved_before_ranges_from_zero_were_logarithmic_is_given_its_space(tmp_path):
    space = {"x": tune.randint(0, 65), "y": tune.randint(1, 17)}
    state = saved(make(space), tmp_path)
    for described in (state["space"], state["search"]["space"]):
        described["axes"][0]["scale"] = "linear"
    (tmp_path / "old").write_text(json.dumps(state))
    searcher = restored(tmp_path / "old")
    assert searcher.set_search_properties("loss", "min", space)
    drive(searcher)
    assert searcher.best.config == LOWEST


def test_the_newest_file_of_a_directory_is_restored(tmp_path):
    searcher = make()
    drive(searcher, trials=2)
    searcher.save_to_dir(str(tmp_path), "2026-01-01_00-00-00")
    drive(searcher, trials=3, names="more")
    searcher.save_to_dir(str(tmp_path), "2026-01-02_00-00-00")
    again = NelderMeadSearcher()
    again.restore_from_dir(str(tmp_path))
    assert drive(again, names="rest") == drive(searcher, names="rest")


def test_a_warm_start_in_two_halves_gives_the_trials_of_one_run(tmp_path):
    # Ray's AbstractWarmStartTest; test_tune.py does the same on a cluster.
    whole = drive(ConcurrencyLimiter(make(), 1), trials=10)
    first = make()
    configs = drive(ConcurrencyLimiter(first, 1), trials=5)
    first.save(str(tmp_path / "state"))
    second = ConcurrencyLimiter(NelderMeadSearcher(), 1)
    second.restore(str(tmp_path / "state"))
    assert configs + drive(second, trials=5, names="second") == whole


# --- damaged and foreign files -------------------------------------------------------------------


@pytest.fixture
def state(tmp_path):
    """The saved state of a search that has failures, open trials and given points."""
    space = {"x": tune.randint(1, 17), "y": tune.lograndint(1, 17), "batch": 8}
    start = [{"x": 16, "y": 1}]
    searcher = make(space, points_to_evaluate=start, scale={"x": "linear"}, retries=1)
    drive(searcher, trials=6, value=lambda config: None if config["x"] == 16 else bowl(config))
    for trial in ("lost", "open"):
        searcher.suggest(trial)
    searcher.on_trial_complete("lost", error=True)
    return saved(searcher, tmp_path)


def restore_json(state, tmp_path):
    (tmp_path / "changed").write_text(json.dumps(state))
    return restored(tmp_path / "changed")


def test_the_saved_state_that_is_damaged_below_is_sound(state, tmp_path):
    assert set(state) == set(STATE_KEYS)
    assert all(state[key] for key in set(STATE_KEYS) - {"rewards"})
    again = restore_json(state, tmp_path)
    for trial in state["live"]:
        again.on_trial_complete(trial, error=True)
    drive(again, names="rest")
    assert {key: again.best.config[key] for key in LOWEST} == LOWEST


@pytest.mark.parametrize("key", STATE_KEYS)
def test_a_state_that_lacks_a_key_is_refused(key, state, tmp_path):
    del state[key]
    with pytest.raises(StateError, match="saved searcher"):
        restore_json(state, tmp_path)


@pytest.mark.parametrize("junk", [3.5, True, ["junk", "junk"]])
@pytest.mark.parametrize("key", STATE_KEYS)
def test_a_state_with_junk_for_a_value_is_refused(key, junk, state, tmp_path):
    state[key] = junk
    with pytest.raises(StateError, match="saved searcher"):
        restore_json(state, tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mode", "max"),
        ("metric", None),
        ("space", None),
        ("search", None),
        ("live", {}),
        ("failed", {"t": {"x": 99, "y": 1}}),
        ("options", {"seed": -1, "budget": None, "patience": None}),
        ("format", "kamerton_ray.NelderMeadSearcher/2"),
    ],
)
def test_a_state_whose_parts_do_not_fit_together_is_refused(key, value, state, tmp_path):
    assert state[key] != value
    state[key] = value
    with pytest.raises(StateError, match="saved searcher"):
        restore_json(state, tmp_path)


@pytest.mark.parametrize("junk", [None, "junk", -1, 10**400, [[1]], {"a": 1}])
def test_junk_anywhere_is_refused_or_harmless(junk, state, tmp_path):
    refused = 0
    for *parents, last in list(places(state)):
        changed = copy.deepcopy(state)
        node = changed
        for key in parents:
            node = node[key]
        node[last] = junk
        try:
            searcher = restore_json(changed, tmp_path)
        except StateError:
            refused += 1
            continue
        for trial in (*searcher._state.trials.live, *searcher._state.trials.failed):
            searcher.on_trial_complete(trial, {searcher.metric: 3.0})
        drive(searcher, names="rest", value=lambda _: 3.0)
    assert refused > 30


def test_a_pickle_is_refused_and_not_run(tmp_path):
    marker = tmp_path / "was run"
    (tmp_path / "state").write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(StateError, match="holds no JSON"):
        restored(tmp_path / "state")
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\x9c\x01",
        np.random.default_rng(0).bytes(1000),
        b"[" * 100_000,
        b"9" * 5000,
        b'{"format": ',
    ],
    ids=["empty", "binary", "random", "deep", "long number", "cut off"],
)
def test_a_file_without_json_is_refused(content, tmp_path):
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(StateError, match="holds no JSON"):
        restored(tmp_path / "state")


@pytest.mark.parametrize("text", ["null", "3", "[]", '"text"', "{}", '{"format": "other"}'])
def test_json_of_another_kind_is_refused(text, tmp_path):
    (tmp_path / "state").write_text(text)
    with pytest.raises(StateError, match="has the format"):
        restored(tmp_path / "state")


def test_a_state_cut_off_anywhere_is_refused(state, tmp_path):
    text = json.dumps(state)
    for length in range(0, len(text), 97):
        (tmp_path / "state").write_text(text[:length])
        with pytest.raises(StateError, match="holds no JSON"):
            restored(tmp_path / "state")


def test_a_missing_file_is_rays_to_report(tmp_path):
    with pytest.raises(FileNotFoundError):
        restored(tmp_path / "nowhere")


def test_a_refused_file_leaves_the_searcher_as_it_was(state, tmp_path):
    searcher = make()
    drive(searcher, trials=4)
    before = saved(searcher, tmp_path)
    state["failed"] = "junk"
    (tmp_path / "changed").write_text(json.dumps(state))
    with pytest.raises(StateError):
        searcher.restore(str(tmp_path / "changed"))
    assert saved(searcher, tmp_path) == before
