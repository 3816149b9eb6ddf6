"""Configurations that are in the space and must not be tried."""

import copy
import itertools
import json
import math

import numpy as np
import pytest
from ray import cloudpickle, tune

from kamerton_ray import (
    AtMost,
    IntegerSpace,
    InvalidInputError,
    NelderMead,
    NelderMeadSearcher,
    Signal,
    StateError,
    StopRule,
    Suggestion,
)
from kamerton_ray.search import opening
from kamerton_ray.search.constraints import Constraint, checked
from kamerton_ray.search.feasible import MOST_REFUSED
from kamerton_ray.search.lattice import Lattice, lattice_of
from kamerton_ray.search.spread import middle

SMALL = {"x": range(1, 9), "y": range(1, 9)}
LIMIT = AtMost(("x", "y"), 8)
MOST_STEPS = 300
"""No search below takes half as many."""


def below(config):
    return config["x"] * config["y"] <= 8


def of_few(config):
    return config["x"] in {3, 700} and config["y"] == 5


def run(search, objective=lambda config: float(sum(config.values()))):
    """Drive a search to its end; the configurations asked, in order."""
    asked = []
    while isinstance(trial := search.ask(), Suggestion):
        asked.append(trial.config)
        search.tell(trial.id, objective(trial.config))
        assert len(asked) < MOST_STEPS
    assert trial is Signal.DONE
    return asked


def machine(cpus):
    counts = range(1, cpus + 1)
    return {"instances": counts, "intra_op": counts, "inter_op": range(1, min(cpus, 16) + 1)}


def default(cpus):
    return {"instances": 1, "intra_op": cpus, "inter_op": min(cpus, 16)}


def fits(cpus):
    return AtMost(("instances", "intra_op"), 2 * cpus)


def restored(search, constraints=()):
    state = json.loads(json.dumps(search.to_json()))
    return NelderMead.from_json(state, constraints=constraints)


# --- what a constraint is -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "most", "said"),
    [
        ("xy", 4, "sequence of parameters' names, but got 'xy'"),
        ((), 4, r"sequence of parameters' names, but got \(\)"),
        ((1,), 4, r"sequence of parameters' names, but got \(1,\)"),
        (("x", "x"), 4, r"name a parameter once, but got \('x', 'x'\)"),
        (("x",), 4.5, "most must be an integer, but got 4.5"),
        (("x",), True, "most must be an integer, but got True"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(product, most, said):
    with pytest.raises(InvalidInputError, match=said):
        AtMost(product, most)


def test_a_limit_is_a_value():
    assert AtMost(product=["x", "y"], most=8) == LIMIT
    assert len({AtMost(("x", "y"), 8), LIMIT}) == 1
    assert str(LIMIT) == "x x y <= 8"


@pytest.mark.parametrize("constraints", [3, [3], "x", [LIMIT, None]])
def test_what_is_neither_a_limit_nor_a_function_is_refused(constraints):
    with pytest.raises(InvalidInputError, match="must be an AtMost or a function"):
        NelderMead(SMALL, constraints=constraints)


def test_an_unknown_name_is_refused():
    with pytest.raises(InvalidInputError, match=r"names 'z', but the tuned .* \['x', 'y'\]"):
        NelderMead(SMALL, constraints=AtMost(("x", "z"), 4))


def test_a_product_of_values_below_0_is_refused():
    with pytest.raises(InvalidInputError, match="0 or above, but the lowest 'x' is -3"):
        NelderMead({"x": range(-3, 4)}, constraints=AtMost(("x",), 2))


@pytest.mark.parametrize("constraints", [LIMIT, [LIMIT], below, (below, LIMIT), iter([below])])
def test_one_or_several_are_kept_from_the_first_point_to_the_last(constraints):
    search = NelderMead(SMALL, mode="max", constraints=constraints)
    asked = run(search)
    assert all(map(below, asked))
    assert search.best.config in ({"x": 1, "y": 8}, {"x": 8, "y": 1})


def test_a_nested_name_is_joined_as_ray_does():
    space = {"threads": {"intra": range(1, 9), "inter": range(1, 9)}}
    search = NelderMead(space, constraints=AtMost(("threads/intra", "threads/inter"), 4))
    products = [math.prod(c["threads"].values()) for c in run(search, lambda _: 1.0)]
    assert max(products) <= 4


def test_a_function_gets_the_whole_configuration_of_its_own():
    def changes(config):
        assert config.pop("c") == [1, 2]
        return config["nested"]["x"] <= 3

    search = NelderMead({"nested": {"x": range(1, 9)}, "c": [1, 2]}, constraints=changes)
    asked = run(search, lambda config: -config["nested"]["x"])
    assert sorted(config["nested"]["x"] for config in asked) == [1, 2, 3]
    assert all(config["c"] == [1, 2] for config in asked)


def test_numpys_booleans_are_booleans():
    asked = run(NelderMead(SMALL, constraints=lambda c: np.prod([*c.values()]) <= 8))
    assert all(map(below, asked))


def test_a_function_that_raises_or_says_neither_is_named():
    def broken(config):
        return config["z"] < 3

    with pytest.raises(InvalidInputError, match=r"broken must return .* raised KeyError\('z'\)"):
        NelderMead(SMALL, constraints=broken)
    with pytest.raises(InvalidInputError, match="lambda> must return True or False, but got 1 for"):
        NelderMead(SMALL, start=[{"x": 1, "y": 1}], constraints=lambda _: 1)


def test_a_function_that_raises_later_ends_no_search_by_itself():
    wrong = [True]

    def moody(config):
        if config["y"] == 1 and wrong:
            raise OSError("gone")
        return below(config)

    search = NelderMead(SMALL, start=[{"x": 1, "y": 8}], constraints=moody)
    with pytest.raises(InvalidInputError, match="gone"):
        search.ask()
    wrong.clear()
    assert all(map(below, run(search)))


# --- where nothing may be tried, or little --------------------------------------------------------


def test_a_start_that_breaks_one_is_refused_and_said_why():
    said = r"a start point .* got \{'x': 3, 'y': 3\}, which breaks x x y <= 8"
    with pytest.raises(InvalidInputError, match=said):
        NelderMead(SMALL, start=[{"x": 1, "y": 1}, {"x": 3, "y": 3}], constraints=[below, LIMIT])
    with pytest.raises(InvalidInputError, match="which breaks below"):
        NelderMead(SMALL, start=[{"x": 3, "y": 3}], constraints=below)


@pytest.mark.parametrize(
    ("constraint", "said"),
    [
        (AtMost(("x", "y"), 0), "no configuration of this space keeps x x y <= 0"),
        (lambda _: False, "no configuration was found that keeps all constraints$"),
    ],
)
def test_constraints_that_nothing_keeps_are_refused(constraint, said):
    with pytest.raises(InvalidInputError, match=said):
        NelderMead(SMALL, constraints=constraint)


@pytest.mark.parametrize("constraint", [LIMIT, below])
def test_a_search_is_exhausted_when_all_that_keep_them_are_measured(constraint):
    search = NelderMead(SMALL, patience=100, repeats=0, constraints=constraint)
    asked = run(search, lambda _: 1.0)
    every = [{"x": x, "y": y} for x, y in itertools.product(range(1, 9), repeat=2) if x * y <= 8]
    assert sorted(map(str, asked)) == sorted(map(str, every))
    assert search.stopped_by is StopRule.EXHAUSTED


@pytest.mark.parametrize("axes", [1, 2, 4])
def test_a_few_points_of_a_huge_lattice_are_found_and_the_search_ends(axes):
    space = {f"x{i}": range(1, 2**53 + 1) for i in range(axes)}
    search = NelderMead(space, patience=200, repeats=0, constraints=AtMost(tuple(space), 3))
    assert len(run(search, lambda _: 1.0)) == 1 + 2 * axes  # all 1, or one of them 2 or 3
    assert search.stopped_by is StopRule.EXHAUSTED


def test_zero_times_anything_is_within_every_limit():
    search = NelderMead({"x": range(3), "y": range(10**9)}, constraints=AtMost(("x", "y"), 3))
    asked = run(search, lambda config: abs(config["y"] - 10**6) + config["x"])
    assert all(config["x"] * config["y"] <= 3 for config in asked)
    assert search.best.config["x"] == 0
    assert search.best.config["y"] > 1000


def test_a_function_that_refuses_nearly_all_of_a_huge_lattice_is_not_asked_for_ever():
    called = []

    def rare(config):
        called.append(config)
        return 5 * 10**8 <= config["x"] < 5 * 10**8 + 4

    huge = {"x": range(10**9), "y": range(1)}
    with pytest.raises(InvalidInputError, match="; give one as a start point"):
        NelderMead(huge, constraints=lambda config: config["x"] == 123456789)
    search = NelderMead(huge, start=[{"x": 5 * 10**8, "y": 0}], patience=50, constraints=rare)
    assert {config["x"] - 5 * 10**8 for config in run(search, lambda _: 1.0)} == {0, 1, 2, 3}
    assert search.stopped_by is StopRule.EXHAUSTED
    assert len(called) < MOST_REFUSED + 5000


def test_where_points_that_keep_a_function_stand_alone_all_are_found():
    search = NelderMead({"x": range(1000), "y": range(10)}, patience=30, constraints=of_few)
    assert {config["x"] for config in run(search, lambda _: 1.0)} == {3, 700}


def test_where_nothing_works_the_search_ends():
    search = NelderMead(machine(16), start=[default(16)], constraints=fits(16))
    run(search, lambda _: None)
    assert search.stopped_by is StopRule.FAILED
    assert search.best is None


# --- where the search goes ------------------------------------------------------------------------


@pytest.mark.parametrize("cpus", [4, 8, 16, 48, 128])
@pytest.mark.parametrize(
    "constraint", [fits, lambda cpus: lambda c: c["instances"] * c["intra_op"] <= 2 * cpus]
)
def test_one_process_with_all_threads_is_exchanged_for_as_many_with_one_each(cpus, constraint):
    search = NelderMead(machine(cpus), start=[default(cpus)], constraints=constraint(cpus))
    asked = run(search, lambda c: c["instances"] + c["intra_op"] + c["inter_op"])
    assert [tuple(config.values()) for config in asked[:3]] == [
        (1, cpus, min(cpus, 16)),
        (1, cpus, 1),
        (cpus, 1, 1),
    ]


@pytest.mark.parametrize("cpus", [2, 4, 8, 16, 48, 128])
@pytest.mark.parametrize("share", [1, 2])
def test_the_best_on_the_ridge_is_found(cpus, share):
    wanted = (cpus // share, share, 1)

    def seconds(config):
        return sum(abs(math.log2(v / w)) for v, w in zip(config.values(), wanted, strict=True))

    search = NelderMead(machine(cpus), start=[default(cpus)], budget=40, constraints=fits(cpus))
    run(search, seconds)
    assert tuple(search.best.config.values()) == wanted


def test_there_is_nothing_to_exchange_without_a_constraint_or_within_one():
    end = (0, 7, 0)
    free = Lattice(IntegerSpace(machine(8)).axes)
    wide = lattice_of(IntegerSpace(machine(8)), checked(AtMost(("instances", "intra_op"), 64)))
    tight = lattice_of(IntegerSpace(machine(8)), checked(fits(8)))
    assert [opening.exchanges(lattice, end) for lattice in (free, wide, tight)] == [
        [],
        [],
        [(7, 0, 0)],
    ]


def test_the_middle_is_the_nearest_point_that_may_be_tried():
    linear = IntegerSpace(SMALL, scale={"x": "linear", "y": "linear"})
    for bound in (2, 5, 9):
        lattice = lattice_of(linear, checked(lambda c, bound=bound: sum(c.values()) <= bound))
        found = middle(lattice)
        assert lattice.allows(found)
        assert abs(found[0] - found[1]) <= 1
        assert sum(found) + 2 >= bound - 1


def test_a_new_simplex_turns_where_its_step_would_break_a_constraint():
    axes = IntegerSpace(SMALL, scale={"x": "linear", "y": "linear"})
    assert Lattice(axes.axes).steps_from((3, 0), 0.5) == [(7, 0), (3, 4)]
    assert lattice_of(axes, (LIMIT,)).steps_from((3, 0), 0.5) == [(7, 0), (3, 4)]  # no other way
    assert lattice_of(axes, (AtMost(("x",), 6),)).steps_from((3, 0), 0.5)[0] == (0, 0)


def test_points_asked_ahead_keep_the_constraint_too():
    search = NelderMead(machine(16), start=[default(16)], constraints=fits(16))
    live = [search.ask() for _ in range(12)]
    assert all(t.config["instances"] * t.config["intra_op"] <= 32 for t in live)
    assert (16, 1, 1) in [tuple(t.config.values()) for t in live[:3]]


# --- what comes from outside ----------------------------------------------------------------------


def test_a_value_beyond_a_constraint_is_left_out():
    search = NelderMead(SMALL, constraints=LIMIT)
    search.add({"x": 8, "y": 8}, -100.0)
    assert (search.best, search.measured) == (None, 0)
    search.add({"x": 2, "y": 4}, 3.0)
    assert search.best.config == {"x": 2, "y": 4}
    search.forget({"x": 8, "y": 8})
    assert all(map(below, run(search)))


# --- saving ---------------------------------------------------------------------------------------


def test_a_saved_search_has_one_key_more_and_only_with_constraints():
    plain, limited = NelderMead(SMALL).to_json(), NelderMead(SMALL, constraints=LIMIT).to_json()
    assert set(limited) - set(plain) == {"constraints"}
    assert limited["constraints"] == [{"product": ["x", "y"], "most": 8}]
    assert limited["format"] == plain["format"]


@pytest.mark.parametrize("given", [(), LIMIT, [LIMIT]])
def test_limits_are_saved_with_the_search(given):
    search = NelderMead(SMALL, mode="max", constraints=LIMIT)
    for _ in range(3):
        search.tell(search.ask().id, 1.0)
    again = restored(search, given)
    assert run(again) == run(search)
    assert again.to_json() == search.to_json()


def test_functions_have_to_be_given_again():
    search = NelderMead(SMALL, constraints=[LIMIT, below])
    search.tell(search.ask().id, 1.0)
    with pytest.raises(StateError, match=r"needs them once more .* they were x x y <= 8, below"):
        restored(search)
    assert run(restored(search, [LIMIT, below])) == run(search)


@pytest.mark.parametrize(
    "given", [below, [below, LIMIT], [LIMIT, below, below], [AtMost(("x", "y"), 9), below]]
)
def test_other_constraints_than_those_saved_are_refused(given):
    search = NelderMead(SMALL, constraints=[LIMIT, below])
    with pytest.raises(StateError, match="keeps its constraints, x x y <= 8, below, but got"):
        restored(search, given)
    with pytest.raises(StateError, match="keeps its constraints, none, but got"):
        restored(NelderMead(SMALL), given)


@pytest.mark.parametrize("told", [True, False])
def test_a_function_that_says_otherwise_than_when_it_was_saved_is_found_out(told):
    search = NelderMead(SMALL, start=[{"x": 1, "y": 8}], constraints=below)
    if told:
        search.tell(search.ask().id, 1.0)
    with pytest.raises(StateError, match=r"other constraints.*\{'x': 1, 'y': 8\}"):
        restored(search, lambda config: config["y"] < 3)


@pytest.mark.parametrize(
    "damaged", [None, 3, [3], [{}], [{"product": ["x"]}], [{"product": ["z"], "most": 1}]]
)
def test_damaged_constraints_are_a_damaged_state(damaged):
    state = {**NelderMead(SMALL, constraints=LIMIT).to_json(), "constraints": damaged}
    with pytest.raises(StateError):
        NelderMead.from_json(state)


def test_a_search_with_constraints_can_be_copied():
    search = NelderMead(SMALL, constraints=[LIMIT, below])
    search.tell(search.ask().id, 1.0)
    assert run(copy.deepcopy(search)) == run(search)


# --- for Ray Tune ---------------------------------------------------------------------------------

DOMAINS = {"x": tune.randint(1, 9), "y": tune.randint(1, 9)}


def searcher(constraints: Constraint, **options):
    return NelderMeadSearcher(DOMAINS, "loss", "min", constraints=constraints, **options)


def tuned(search, most=MOST_STEPS):
    """Drive a searcher; the configurations it suggested."""
    asked = []
    for number in range(most):
        config = search.suggest(str(number))
        if config == NelderMeadSearcher.FINISHED:
            break
        asked.append({name: config[name] for name in ("x", "y")})
        search.on_trial_complete(str(number), {"loss": -float(config["x"] + config["y"])})
    return asked


@pytest.mark.parametrize("constraints", [LIMIT, [below]])
def test_the_searcher_keeps_constraints(constraints):
    search = searcher(constraints)
    asked = tuned(search)
    assert asked
    assert all(map(below, asked))
    assert below(search.best.config)
    with pytest.raises(InvalidInputError, match="must be an AtMost"):
        searcher(3)


def test_points_to_evaluate_are_refused_unless_their_values_are_known():
    points = [{"x": 8, "y": 8}, {"x": 2, "y": 2}]
    with pytest.raises(InvalidInputError, match="a start point must keep all constraints"):
        searcher(LIMIT, points_to_evaluate=points)
    search = searcher(LIMIT, points_to_evaluate=points, evaluated_rewards=[-100.0, -4.0])
    assert search.best.config == points[1]
    assert all(map(below, tuned(search)))


def test_a_function_sees_the_constants_of_rays_space():
    seen = []

    def limited(config):
        seen.append(config["model"])
        return config["x"] * config["y"] <= config["model"]["most"]

    search = NelderMeadSearcher(constraints=limited)
    assert search.set_search_properties("loss", "min", {**DOMAINS, "model": {"most": 8}})
    assert all(map(below, tuned(search)))
    assert seen


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize(("constraints", "again"), [(LIMIT, ()), (LIMIT, LIMIT), (below, below)])
def test_a_saved_searcher_goes_on_with_its_constraints(constraints, again, begun, tmp_path):
    domains = {**DOMAINS, "c": 1}
    search = NelderMeadSearcher(metric="loss", mode="min", constraints=constraints)
    if begun:
        search.set_search_properties(None, None, domains)
        tuned(search, 3)
    search.save(tmp_path / "state")
    resumed = NelderMeadSearcher(constraints=again)
    resumed.restore(tmp_path / "state")
    for one in (search, resumed):
        assert one.set_search_properties("loss", "min", domains)
    asked = tuned(search)
    assert tuned(resumed) == asked
    assert all(map(below, asked))


def test_a_searcher_that_was_saved_with_functions_asks_for_them(tmp_path):
    search = searcher(below)
    search.save(tmp_path / "state")
    with pytest.raises(StateError, match="needs them once more as constraints"):
        NelderMeadSearcher().restore(tmp_path / "state")
    with pytest.raises(StateError, match="keeps its constraints, below, but got"):
        searcher(LIMIT).restore(tmp_path / "state")


def test_a_searchers_pickle_for_a_tuner_holds_its_functions():
    search = searcher(lambda config: config["x"] * config["y"] <= 8)
    tuned(search, 3)
    again = cloudpickle.loads(cloudpickle.dumps(search))
    assert tuned(again) == tuned(copy.deepcopy(search))
