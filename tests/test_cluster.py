"""Searches on a real cluster: a head without CPUs, and nodes in processes of their own."""

import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from cluster import Cluster
from ray import cloudpickle
from ray.tune.search import Searcher

from kamerton_ray import usable_cpus
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.pace import LEAST_PACE
from kamerton_ray.tune.session import Session
from kamerton_ray.tune.trainable import one_step

pytestmark = pytest.mark.cluster

# Ray's workers cannot import a test file: they get what is in it by value.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

EXEC = [sys.executable, "-m", "kamerton_ray.cli", "exec"]
TOKEN = "for-this-test-alone" * 2


class Sleeper:
    """Measures by sleeping."""

    def __init__(self, seconds=1.0):
        self.seconds = seconds

    def measure(self, config):
        time.sleep(self.seconds)
        return Result.of({"loss": float(config["x"])})

    def close(self):
        pass


class Endless(Searcher):
    """Always has another configuration."""

    def suggest(self, trial_id):  # noqa: ARG002 - Ray's signature
        return {"x": 1}

    def on_trial_complete(self, trial_id, result=None, error=False):  # noqa: FBT002 - the same
        pass

    def save(self, path):
        Path(path).touch()

    def restore(self, path):
        pass


def build_that_some_nodes_run_slowly():
    seconds = float(os.environ.get("SLOW", "0.002"))
    return lambda: time.sleep(seconds)


def build(_config):
    return lambda: time.sleep(0.001)


# --- what runs in the drivers' processes ----------------------------------------------------------


def connect():
    import ray

    logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stderr)
    ray.init(os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level="ERROR")


def told(trials):
    """What the trials say of where and when they ran, for the test."""
    keys = ("began", "ended", "node_ip", "pid", "outcome", "machine", "config")
    print(json.dumps([{key: trial.last_result.get(key) for key in keys} for trial in trials]))


def search_until_a_joined_node_is_used():
    from ray import tune

    from kamerton_ray import every_node

    connect()
    seen = Counter()

    class Watch(tune.Callback):
        def on_trial_complete(self, *, trial, **_):
            seen[trial.last_result["node_ip"]] += 1
            if sum(seen.values()) == 8:
                print("on its way", flush=True)

    class UsedFour(tune.Stopper):
        def __call__(self, *_):
            return False

        def stop_all(self):
            return sum(count >= 3 for count in seen.values()) == 4

    found = tune.run(
        one_step("Sleeper", Sleeper),
        **every_node(Endless("loss", "min")),
        num_samples=-1,
        callbacks=[Watch()],
        stop=UsedFour(),
        storage_path=os.environ["STORAGE"],
        verbose=0,
    )
    told([trial for trial in found.trials if "ended" in trial.last_result])


def benchmark_on_every_node():
    from ray import tune

    from kamerton_ray import NelderMeadSearcher, benchmark, every_node, thread_space

    connect()
    found = tune.run(
        benchmark(build, warmup_s=0.2, budget_s=0.4),
        config=thread_space(8),
        metric="seconds",
        mode="min",
        num_samples=14,
        **every_node(NelderMeadSearcher()),
        storage_path=os.environ["STORAGE"],
        verbose=0,
    )
    told(found.trials)


def benchmark_with_a_slow_node():
    from ray import tune

    from kamerton_ray import NelderMeadSearcher, benchmark, every_node

    connect()
    found = tune.run(
        benchmark(build_that_some_nodes_run_slowly, warmup_s=0.1, budget_s=0.3),
        config={"intra_op": tune.randint(1, 9), "inter_op": tune.randint(1, 9)},
        metric="speedup",
        mode="max",
        num_samples=30,
        **every_node(NelderMeadSearcher(patience=30)),
        storage_path=os.environ["STORAGE"],
        verbose=0,
    )
    told(found.trials)


def share_a_node():
    from ray import tune

    connect()
    half = tune.PlacementGroupFactory([{"CPU": 1}])
    found = tune.run(
        tune.with_resources(one_step("Sleeper", Sleeper), half),
        config={"x": 1},
        num_samples=8,
        storage_path=os.environ["STORAGE"],
        verbose=0,
    )
    told(found.trials)


def place():
    """Reserve nodes as trials would, for as many trials as are asked for, and say where that is."""
    import ray
    from ray.util.placement_group import placement_group_table, remove_placement_group

    from kamerton_ray import InvalidInputError, one_per_node, thread_space, trial_nodes

    connect()
    addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}

    def where(kind=None):
        groups = [one_per_node(kind).to_placement_group() for _ in range(6)]
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            tables = [placement_group_table(group) for group in groups]
            placed = [one for one in tables if one["state"] == "CREATED"]
            if len(placed) == trial_nodes(kind):
                break
            time.sleep(0.1)
        time.sleep(1)  # for one too many, if there is one
        placed = [one for one in map(placement_group_table, groups) if one["state"] == "CREATED"]
        for group in groups:
            remove_placement_group(group)
        time.sleep(1)
        return sorted(addresses[one["bundles_to_node_id"][0]] for one in placed)

    try:
        one_per_node({"cpu_model": "Z80"})
    except InvalidInputError as error:
        refused = str(error)
    print(
        json.dumps(
            {
                "most": where(),
                "one": where({"usable_cpus": 1}),
                "refused": refused,
                "highest": thread_space()["intra_op"].upper - 1,
            }
        )
    )


# --- the tests ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs and three nodes."""
    with Cluster() as it:
        nodes = [it.add_node(cpus=2, wait=False) for _ in range(3)]
        for node in nodes:
            node.started()
        yield it


@contextmanager
def driver(cluster, name, storage=""):
    """A process that runs a function of this file as a driver."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", f"import test_cluster; test_cluster.{name}()"],
        env={**cluster.env, "PYTHONPATH": path, "STORAGE": storage, "RAY_AIR_NEW_OUTPUT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def answer(process):
    """What it prints last, and its log."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1]), err


def told_by(cluster, name, storage=""):
    """What such a driver prints last, and its log."""
    with driver(cluster, name, storage) as process:
        return answer(process)


def by_node(results):
    """The results of each node, in time."""
    groups = defaultdict(list)
    for result in sorted(results, key=lambda result: result["began"]):
        groups[result["node_ip"]].append(result)
    return groups


def alone(results):
    """Whether no two of a node's timings overlap."""
    return all(
        before["ended"] <= after["began"]
        for group in by_node(results).values()
        for before, after in pairwise(group)
    )


def test_every_node_is_used_one_that_joins_too_and_each_keeps_its_process(cluster, storage):
    with driver(cluster, "search_until_a_joined_node_is_used", storage) as searching:
        while searching.stdout.readline() not in ("on its way\n", ""):
            pass
        joined = cluster.add_node(cpus=2)
        results, _ = answer(searching)
    groups = by_node(results)
    assert set(groups) == {node.ip for node in cluster.nodes} - {cluster.head.ip}
    assert joined.ip in groups
    assert alone(results)
    assert {
        ip: len({one["pid"] for one in group}) for ip, group in groups.items()
    } == dict.fromkeys(groups, 1)


def test_a_benchmark_keeps_one_server_on_every_node(cluster, storage):
    results, _ = told_by(cluster, "benchmark_on_every_node", storage)
    groups = by_node(results)
    assert {one["outcome"] for one in results} == {"ok"}
    assert len(groups) == len(cluster.nodes) - 1
    assert alone(results)
    assert all(len({one["pid"] for one in group}) == 1 for group in groups.values())


def test_a_slow_node_is_left_and_its_trials_are_run_again_elsewhere(cluster, storage):
    slow = cluster.add_node(cpus=2, env={"SLOW": "0.01"})
    try:
        results, said = told_by(cluster, "benchmark_with_a_slow_node", storage)
    finally:
        cluster.kill_node(slow)
    assert f"The node {slow.ip} is out of pace with the others of its kind" in said
    groups = by_node(results)
    there = groups.pop(slow.ip)
    elsewhere = [one["config"] for group in groups.values() for one in group]
    assert len(there) <= LEAST_PACE + 1  # one may have been asked for by then
    assert all(one["config"] in elsewhere for one in there)


def test_trials_whose_resources_let_two_on_a_node_still_take_turns(cluster, storage):
    results, _ = told_by(cluster, "share_a_node", storage)
    assert alone(results)
    assert max(len({one["pid"] for one in group}) for group in by_node(results).values()) > 1


@pytest.mark.skipif(usable_cpus().count == 1, reason="kinds differ by CPUs, so it takes two")
def test_trials_run_on_one_kind_of_node_which_can_be_chosen(cluster, tmp_path):
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(every)})  # which a node started now takes over
    odd = cluster.add_node(cpus=2, wait=False)
    large = cluster.add_node(cpus=5, wait=False)
    os.sched_setaffinity(0, every)
    odd.started()
    large.started()
    try:
        found, said = told_by(cluster, "place")
        options = ["--kind", "usable_cpus=1", "--trials", "3", "--no-compare", "--json", "--quiet"]
        argv = [*EXEC, "--address", cluster.address, *options, "--", sys.executable, "-c", ""]
        chosen = cluster.run(*argv, cwd=tmp_path)
    finally:
        cluster.kill_node(odd)
        cluster.kill_node(large)
    assert chosen.returncode == 0, chosen.stderr
    ran = Session(tmp_path / json.loads(chosen.stdout)["folder"]).results()
    assert len(ran) == 3
    assert {one.node_ip for one in ran} in ({odd.ip}, {large.ip})
    same = sorted(node.ip for node in cluster.nodes if node is not cluster.head)
    assert found["most"] == same
    assert found["one"] in ([odd.ip], [large.ip])
    assert found["highest"] == max(4, usable_cpus().count)
    assert "Z80" in found["refused"]
    assert all(ip in found["refused"] for ip in (*same, odd.ip, large.ip))
    warning = next(line for line in said.splitlines() if "cannot be compared" in line)
    runs, _, left_out = warning.partition("; not on")
    assert all(ip in runs for ip in same)
    assert odd.ip in left_out
    assert large.ip in left_out


def test_a_cluster_with_tokens_is_searched_by_who_has_the_token(tmp_path):
    options = ["--trials", "3", "--no-compare", "--json", "--quiet", "--", sys.executable, "-c", ""]
    with Cluster("--num-cpus=2", token=TOKEN) as cluster:
        argv = [*EXEC, "--address", cluster.address, *options]
        found = cluster.run(*argv, cwd=tmp_path)
        without = {name: value for name, value in cluster.env.items() if "AUTH" not in name}
        refused = cluster.run(*argv, cwd=tmp_path, env={**without, "RAY_AUTH_MODE": "disabled"})
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["trials"] == 3
    assert refused.returncode != 0
