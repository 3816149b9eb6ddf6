"""Axes of words, which have no order."""

import itertools
import json

import numpy as np
import pytest
from ray import tune

from kamerton_ray import (
    AtMost,
    IntegerSpace,
    InvalidInputError,
    NelderMead,
    NelderMeadSearcher,
    Signal,
    StateError,
    StopRule,
)
from kamerton_ray.search.lattice import Lattice
from kamerton_ray.search.quadratic import lowest_nearby
from kamerton_ray.search.simplex import every_move
from kamerton_ray.search.spread import emptiest

MALLOCS = ["glibc", "tcmalloc", "jemalloc"]
DOMAINS = {
    "intra_op": range(1, 9),
    "malloc": tune.choice(MALLOCS),
    "inter_op": range(1, 5),
    "xla": {"on", "off"},
}


def lattice(domains=DOMAINS):
    return Lattice(IntegerSpace(domains).axes)


def searched(search, value):
    """Every configuration that a search asks for, in order."""
    asked = []
    while not isinstance(trial := search.ask(), Signal):
        asked.append(trial.config)
        search.tell(trial.id, value(trial.config))
    return asked


def test_a_choice_keeps_the_words_as_they_come_and_a_set_has_them_in_theirs():
    space = IntegerSpace(DOMAINS)
    assert [list(axis.choices) for axis in space.axes if axis.words] == [MALLOCS, ["off", "on"]]
    assert space.config((0, 2, 3, 1)) == {
        "intra_op": 1,
        "malloc": "jemalloc",
        "inter_op": 4,
        "xla": "on",
    }
    assert space.point({"intra_op": 1, "malloc": "jemalloc", "inter_op": 4, "xla": "on"}) == (
        *(0, 2),
        *(3, 1),
    )


@pytest.mark.parametrize("word", ["mimalloc", 0, None])
def test_what_is_no_word_of_the_axis_is_refused(word):
    with pytest.raises(InvalidInputError, match=r"takes one of \['glibc', .* but got"):
        IntegerSpace({"malloc": tune.choice(MALLOCS)}).point({"malloc": word})


def test_words_have_no_scale_and_are_no_factor_of_a_product():
    with pytest.raises(InvalidInputError, match="words have no scale, but got 'log'"):
        IntegerSpace(DOMAINS, scale={"malloc": "log"})
    with pytest.raises(InvalidInputError, match="must be numbers, but 'malloc' takes"):
        NelderMead(DOMAINS, constraints=AtMost(("intra_op", "malloc"), 8))


def test_a_space_of_words_survives_json_and_one_without_looks_as_ever():
    space = IntegerSpace(DOMAINS)
    saved = json.loads(json.dumps(space.to_json()))
    assert IntegerSpace.from_json(saved) == space
    assert saved["axes"][1] == {"path": ["malloc"], "words": MALLOCS}
    assert set(saved["axes"][0]) == {"path", "values", "scale"}
    assert IntegerSpace({"malloc": tune.choice(MALLOCS[::-1])}) != IntegerSpace(
        {"malloc": tune.choice(MALLOCS)}
    )


@pytest.mark.parametrize("words", [[], "ab", ["a", 1], ["a", "a"], None])
def test_a_damaged_axis_of_words_is_refused(words):
    saved = IntegerSpace({"malloc": tune.choice(MALLOCS)}).to_json()
    saved["axes"][0]["words"] = words
    with pytest.raises(StateError):
        IntegerSpace.from_json(saved)


def test_for_the_surrogate_all_pairs_of_words_are_equally_far():
    points = [(3, word, 1, 0) for word in range(3)]
    places = lattice().features(points)
    apart = {float(np.linalg.norm(one - other)) for one, other in itertools.combinations(places, 2)}
    assert len(apart) == 1
    assert apart.pop() > 0
    assert len(set(places[:, -1])) == 1  # the product knows no words


def test_the_emptiest_point_has_words_that_nothing_measured_has():
    empty = lattice({"malloc": tune.choice(MALLOCS), "x": range(2)})
    known = {(word, x) for word in (0, 2) for x in (0, 1)}
    assert emptiest(empty, known, seed=(0,))[0] == 1


def test_the_simplex_and_its_moves_keep_the_words_of_the_best_point():
    ranked = [(4, 2, 1, 1), (4, 0, 3, 1), (2, 2, 1, 1), (1, 2, 3, 0), (4, 2, 3, 1)]
    found = lattice().simplex(ranked)
    assert found == [(4, 2, 1, 1), (2, 2, 1, 1), (4, 2, 3, 1)]
    moves = every_move(found, lattice())
    assert moves
    assert {(point[1], point[3]) for point in moves} == {(2, 1)}


def test_the_quadratic_is_fitted_to_points_with_the_same_words():
    def height(point):
        return (point[0] - 3) ** 2 + (0 if point[1] else 1000 * (point[0] - 6))

    places = [(x, word) for x in (1, 2, 5, 6) for word in (0, 1)]
    found = lowest_nearby((2, 1), {point: height(point) for point in places}, [9, 2], free=[0])
    assert found == (3, 1)


def test_a_search_begins_with_the_first_words_and_tries_every_other_early():
    asked = searched(
        NelderMead(DOMAINS, budget=12),
        lambda config: (config["intra_op"] - 3) ** 2 + config["inter_op"] + 10,
    )
    assert (asked[0]["malloc"], asked[0]["xla"]) == ("glibc", "off")
    assert {config["malloc"] for config in asked} == set(MALLOCS)
    assert {config["xla"] for config in asked} == {"on", "off"}


def test_a_search_that_has_converged_has_seen_all_other_words_of_its_best():
    worth = {"glibc": 1.0, "tcmalloc": 0.9, "jemalloc": 1.1, "on": 5.0, "off": 1.0}

    def seconds(config):
        counts = 1 + 0.1 * (config["intra_op"] - 3) ** 2 + 0.05 * config["inter_op"]
        return counts * worth[config["malloc"]] * worth[config["xla"]]

    search = NelderMead(DOMAINS)
    asked = searched(search, seconds)
    assert search.stopped_by is StopRule.CONVERGED
    best = {"intra_op": 3, "malloc": "tcmalloc", "inter_op": 1, "xla": "off"}
    assert search.best.config == best
    others = [{**best, "malloc": word} for word in ("glibc", "jemalloc")]
    assert all(config in asked for config in [*others, {**best, "xla": "on"}])


def test_words_alone_are_searched_to_the_last():
    domains = {"a": {"x", "y", "z"}, "b": {"x", "y"}}
    search = NelderMead(domains)
    asked = searched(search, lambda config: "xyz".index(config["a"]) - (config["b"] == "y"))
    assert search.stopped_by in {StopRule.EXHAUSTED, StopRule.CONVERGED}
    assert search.best.config == {"a": "x", "b": "y"}
    assert len(asked) == len({tuple(config.values()) for config in asked})


def test_a_constraint_may_forbid_words_and_the_start_moves_to_others():
    search = NelderMead(
        DOMAINS,
        constraints=lambda config: config["malloc"] == "jemalloc" or config["xla"] == "on",
    )
    asked = searched(search, lambda config: config["intra_op"])
    assert all(config["malloc"] == "jemalloc" or config["xla"] == "on" for config in asked)


def test_the_searcher_takes_a_choice_of_words_and_goes_on_from_a_file(tmp_path):
    searcher = NelderMeadSearcher(DOMAINS, "loss", "min", budget=8)
    for number in range(5):
        config = searcher.suggest(f"{number}")
        searcher.on_trial_complete(f"{number}", {"loss": config["intra_op"]})
    searcher.save(tmp_path / "state.json")
    again = NelderMeadSearcher()
    again.restore(tmp_path / "state.json")
    assert again.suggest("next") == searcher.suggest("next")
    assert again.set_search_properties("loss", "min", DOMAINS)
    other = {**DOMAINS, "malloc": tune.choice(["glibc", "mimalloc"])}
    assert not again.set_search_properties("loss", "min", other)
