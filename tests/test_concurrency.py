"""What every_node makes of a node that does not keep pace."""

import pytest
from ray import cloudpickle

from kamerton_ray import NelderMeadSearcher, every_node

SPACE = {"intra_op": range(1, 17), "inter_op": range(1, 17)}
SLOW, USUAL = 3.0, 1.0


@pytest.fixture
def here(ray_cluster):
    """The address of the only node."""
    (node,) = ray_cluster.nodes()
    return node["NodeManagerAddress"]


def ran(searching, ip, default_seconds):
    """Three trials on a node; their configurations."""
    configs = []
    for number in range(3):
        trial = f"{ip}-{default_seconds}-{number}"
        configs.append(searching.suggest(trial))
        result = {"loss": 5.0 - number, "node_ip": ip, "default_seconds": default_seconds}
        searching.on_trial_complete(trial, result)
    return configs


def searcher():
    return NelderMeadSearcher(SPACE, "loss", "min")


def test_what_a_slow_node_ran_is_run_again_once(here, caplog):
    searching = every_node(searcher())["search_alg"]
    ran(searching, here, USUAL)
    there = ran(searching, "10.9.9.9", SLOW)
    assert "The node 10.9.9.9 is out of pace with the others of its kind" in caplog.text
    assert "takes 3.00 times as long there" in caplog.text
    assert ran(searching, here, USUAL) == there
    later = ran(searching, here, USUAL)
    assert not [config for config in later if config in there]
    assert caplog.text.count("out of pace") == 1


def test_the_last_node_counts_however_slow_it_is(here):
    searching = every_node(searcher())["search_alg"]
    ran(searching, "10.9.9.9", USUAL)
    there = ran(searching, here, SLOW)
    later = ran(searching, here, SLOW)
    assert not [config for config in later if config in there]


def test_trials_without_a_default_say_nothing_of_the_pace(here, caplog):
    searching = every_node(searcher())["search_alg"]
    for number in range(4):
        searching.suggest(f"{number}")
        searching.on_trial_complete(f"{number}", {"loss": 1.0, "node_ip": here})
    assert "out of pace" not in caplog.text


def test_it_can_be_pickled_in_the_middle_of_a_search(here):
    searching = every_node(searcher())["search_alg"]
    ran(searching, here, USUAL)
    again = cloudpickle.loads(cloudpickle.dumps(searching))
    assert again.suggest("next") == searching.suggest("next")
