"""Which nodes trials are placed on, by whichever Ray is installed."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from ray.util import placement_group

from kamerton_ray.cli import connecting
from kamerton_ray.machine.hardware import this_machine
from kamerton_ray.tune import placement, ray_api

PLACED = Path(__file__).parent / "scripts" / "placed.py"
ALONE = "This Ray cannot keep trials off single nodes"


def test_trials_run_on_one_kind_of_node_each_on_a_node_of_its_own():
    done = subprocess.run([sys.executable, PLACED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    small = ["127.0.0.2", "127.0.0.3"]
    # Before 2.47 Ray knows no labels: one node runs all trials, and it is said.
    if knows_labels := "bundle_label_selector" in inspect.signature(placement_group).parameters:
        assert found["small"] == small
    else:
        assert found["small"] in ([one] for one in small)
    assert (ALONE in done.stderr) is not knows_labels
    assert found["nodes"] == len(found["small"])
    assert found["large"] == ["127.0.0.4"]
    assert found["named"] == ["127.0.0.3"]


@pytest.mark.usefixtures("ray_cluster")
def test_a_node_that_is_this_process_own_is_not_asked_what_it_is(monkeypatch):
    monkeypatch.setattr(placement, "_KNOWN", placement._Known())
    monkeypatch.setattr(ray_api, "run_on", lambda *_: pytest.fail("it was asked"))
    placement.note_own_node()
    (kind,) = placement.node_kinds()
    assert kind.machine == this_machine()
    assert [node.id for node in kind.nodes] == [ray_api.this_node()]


@pytest.mark.parametrize(("address", "noted"), [(None, 1), ("auto", 0)])
def test_a_node_is_ones_own_where_no_cluster_was_asked_for(address, noted, monkeypatch, tmp_path):
    """One of a cluster may have other CPUs, as in a container beside this process."""
    calls = []
    monkeypatch.setattr(ray, "init", lambda *_, **__: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(connecting, "note_own_node", lambda: calls.append(1))
    for name in connecting.OUR_OWN_OUTPUT:
        monkeypatch.setenv(name, "1")
    with connecting.connected(address, tmp_path):
        assert len(calls) == noted
