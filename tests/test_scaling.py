"""The simulator of many nodes runs Tune's own loop, and shows what they bring."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kamerton_ray import NelderMead, NelderMeadSearcher, Suggestion

pytestmark = pytest.mark.cluster

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SPACE = {"x": range(1, 17), "y": range(1, 17)}


@pytest.fixture
def scaling(monkeypatch, ray_cluster):  # noqa: ARG001 - Tune asks Ray for its resources
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import scaling

    return scaling


def value(config):
    return 1.0 + (config["x"] - 5) ** 2 + (config["y"] - 7) ** 2


def simulated(scaling, nodes):
    """The points in the order of their start, the searcher and the nodes."""
    started, searcher = [], NelderMeadSearcher(SPACE, "seconds", "min")

    def trial(config):
        started.append((config["x"], config["y"]))
        return 5.0 + len(started) % 3, scaling.result(value(config))

    fleet = scaling.simulated(searcher, nodes, trial)
    assert fleet.trials == len(started)
    return started, searcher, fleet


def test_on_one_node_tunes_loop_asks_what_the_search_alone_asks(scaling):
    alone, asked = NelderMead(SPACE), []
    while isinstance(trial := alone.ask(), Suggestion):
        asked.append((trial.config["x"], trial.config["y"]))
        alone.tell(trial.id, value(trial.config))
    started, searcher, fleet = simulated(scaling, 1)
    assert started == asked
    assert searcher.stopped_by is alone.stopped_by
    assert fleet.ended_s > 5 * len(started)  # one after the other
    assert fleet.actors == 1


def test_many_nodes_end_at_the_same_answer_sooner(scaling):
    one, many = simulated(scaling, 1), simulated(scaling, 64)
    assert one[1].best.config == many[1].best.config == {"x": 5, "y": 7}
    assert many[2].ended_s < one[2].ended_s / 2


def test_the_table_has_a_row_for_each_number_of_nodes_and_the_driver_keeps_up(tmp_path):
    few = ("--searches", "1", "--load", "40", "--memory", "40", "--nodes", "1", "8")
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "scaling.py"), *few],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| (\d+) \|.*\| ([\d.]+)% \|$", done.stdout, re.MULTILINE)
    assert [nodes for nodes, _ in rows] == ["1", "8"]
    assert all(0 < float(utilisation) < 100 for _, utilisation in rows)
    assert (
        len(
            re.findall(
                r"^(?:searcher alone|within Tune's loop), 40 trials: grows",
                done.stdout,
                re.MULTILINE,
            )
        )
        == 2
    )
    assert list(tmp_path.iterdir()) == []
