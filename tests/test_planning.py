"""What the options of the command line make of a search."""

import numpy as np
import pytest

from kamerton_ray import AtMost, InvalidInputError, usable_cpus
from kamerton_ray.cli.checking import task_of
from kamerton_ray.cli.options import SearchOptions, constraint, instances, knob
from kamerton_ray.cli.planning import ProgramTask
from kamerton_ray.cli.timing import total_s
from kamerton_ray.machine import knobs as records
from kamerton_ray.trial.command import CommandOptions
from kamerton_ray.trial.instances import Combine
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.reading import Direction
from kamerton_ray.tune.run import searcher_of

CPUS = usable_cpus().count
PRODUCT = ("instances", "intra_op")


def goal(**said):
    """What is searched for where the user says so."""
    names = ("intra", "inter", "trials", "time_budget", "address", "resume", "page", "form")
    usual = dict.fromkeys(names) | dict.fromkeys(("shared", "as_json", "quiet"), False)
    options = SearchOptions(**(usual | {"kinds": (), "storage": None, "seed": 0} | said))
    task = ProgramTask(
        command=CommandOptions(argv=("true",), combine=Combine.PER_PROGRAM),
        direction=Direction.LOWER,
        objective=Objective(metric="objective"),
        knobs=options.knobs,
        also=options.also,
    )
    return task.plan(options).goal


def asked(*, is_compared):
    """What a search for times that hardly differ asks for, until it ends by itself."""
    wanted, noise = goal(intra=(1, 8), inter=(1, 4)), np.random.default_rng(0)
    searcher = searcher_of(wanted, seed=0, budget=None, is_compared=is_compared)
    configs = []
    while (config := searcher.suggest(f"t{len(configs)}")) != searcher.FINISHED:
        configs.append(tuple(config.values()))
        took = 1 + 0.02 * noise.random()
        searcher.on_trial_complete(f"t{len(configs) - 1}", {wanted.metric: took})
    return configs


def test_a_search_leaves_measuring_again_to_the_comparison_that_follows():
    compared, alone = asked(is_compared=True), asked(is_compared=False)
    assert len(set(compared)) == len(compared)
    assert len(set(alone)) < len(alone)


def test_without_instances_nothing_is_constrained():
    found = goal()
    assert list(found.space) == ["intra_op", "inter_op"]
    assert found.constraints == ()
    assert found.starts == [{"intra_op": CPUS, "inter_op": CPUS}]


def test_instances_come_first_and_their_threads_are_limited():
    found = goal(instances=instances("auto"))
    assert list(found.space) == ["instances", "intra_op", "inter_op"]
    assert found.space["instances"] == (1, max(2, CPUS))
    assert found.constraints == (AtMost(PRODUCT, 2 * CPUS),)
    assert found.starts == [{"instances": 1, "intra_op": CPUS, "inter_op": CPUS}]


def test_several_instances_begin_with_the_cpus_shared_out():
    (start,) = goal(instances=(CPUS, CPUS)).starts
    assert start == {"instances": CPUS, "intra_op": 1, "inter_op": CPUS}


def test_what_the_user_fixes_is_tried_whatever_it_loads():
    found = goal(instances=(CPUS, CPUS), intra=(9, 9))
    assert found.constraints == (AtMost(PRODUCT, 9 * CPUS),)
    assert found.starts == [{"instances": CPUS, "intra_op": 9, "inter_op": CPUS}]


def test_a_constraint_of_the_users_takes_the_place_of_the_usual_one():
    own = constraint("intra_op * instances <= 3")
    assert own == AtMost(("intra_op", "instances"), 3)
    assert goal(instances=(1, CPUS), constraints=(own,)).constraints == (own,)


def test_a_start_that_breaks_a_constraint_is_left_out():
    own = constraint(f"intra_op*inter_op<={CPUS * CPUS - 1}")
    assert goal(constraints=(own,)).starts == []


def test_words_begin_with_the_one_that_the_environment_has(monkeypatch):
    knobs = (knob("A=x,y,z"), knob("B=x,y"), knob("C=2:5"))
    monkeypatch.setenv("A", "y")
    monkeypatch.setenv("B", "other")
    found = goal(knobs=knobs)
    assert dict(found.space, intra_op=0, inter_op=0) == {
        **dict.fromkeys(("intra_op", "inter_op"), 0),
        "A": ("x", "y", "z"),
        "B": ("x", "y"),
        "C": (2, 5),
    }
    (start,) = found.starts
    assert (start["A"], start["B"], start["C"]) == ("y", "x", 2)


def test_a_knob_is_a_parameter_that_begins_stock_and_what_is_missing_is_said(monkeypatch, capsys):
    monkeypatch.setattr(records, "find_library", lambda _: None)
    found = goal(also=("allocator", "xla"))
    assert found.space["xla"] == ("stock", "on")
    assert "allocator" not in found.space
    assert found.starts[0]["xla"] == "stock"
    assert "Left out of allocator: jemalloc, since no libjemalloc.so.2" in capsys.readouterr().err


def test_a_check_applies_the_knobs_that_the_session_has_tuned():
    described = {"kind": "tune", "target": "json:dumps", "objective": "speedup", "also": ["xla"]}
    assert task_of(described, SearchOptions()).knobs == ("xla",)
    described = {"kind": "exec", "argv": ["true"], "objective": "time", "maximize": False}
    described |= {"timeout": 9.0, "also": ["allocator"]}
    assert task_of(described, SearchOptions()).also == ("allocator",)


def test_knobs_have_more_time_unless_the_user_says_how_much():
    assert total_s(SearchOptions(also=("xla",))) > total_s(SearchOptions())
    assert total_s(SearchOptions(also=("xla",), time_budget=30.0)) == 30.0


def test_words_are_no_factor_of_a_constraint():
    with pytest.raises(InvalidInputError, match="--constraint must be of numbers, but A has words"):
        goal(knobs=(knob("A=1,2"),), constraints=(constraint("A*intra_op<=8"),))


@pytest.mark.parametrize("text", ["instances*intra_op", "<=3", "a<=b", "a<3"])
def test_a_text_that_is_no_constraint_is_refused(text):
    with pytest.raises(Exception, match="is not of the form"):
        constraint(text)
