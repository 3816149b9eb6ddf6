"""What tests share: a Ray cluster, an import of TensorFlow, and storage that goes with the test."""

import json
import os
import signal
import subprocess
import sys

import pytest

HANG_S = 400  # no test takes half of it

# Tests look at results, not at CSV files and TensorBoard.
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
# A test's driver needs a worker or two, not one for each CPU at once.
os.environ.update(RAY_prestart_worker_first_driver="0", RAY_enable_worker_prestart="0")
# Tests run beside each other: waiting for a quiet machine would be waiting for the other tests.
os.environ["KAMERTON_RAY_PATIENCE_S"] = "0"


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(items):
    """Tests with Ray last longest: they come first, so that all workers end at the same time."""
    for item in items:
        if "in_tensorflow" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("in TensorFlow"))
    items.sort(key=lambda item: "ray_cluster" not in item.fixturenames)


@pytest.fixture(scope="session")
def ray_cluster():
    """A local Ray with two CPU slots, shared by every test that asks for it.

    It does without the processes that add nodes and collect logs.
    """
    import ray
    from ray.cluster_utils import Cluster

    lean = {"include_dashboard": False, "no_monitor": True, "include_log_monitor": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **lean})
    ray.init(cluster.address, log_to_driver=False)
    yield ray
    ray.shutdown()
    cluster.shutdown()


FORKING = """
import json, os, sys, tensorflow
for line in sys.stdin:
    program, path = json.loads(line)
    if (pid := os.fork()) == 0:
        for output in (1, 2):
            os.dup2(os.open(f"{path}{output}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), output)
        exec(program, {"__name__": "__main__"})
        sys.stdout.flush()
        os._exit(0)
    print(os.waitpid(pid, 0)[1], flush=True)
"""
"""Runs each program that it reads in a fork; its two outputs go to files."""


@pytest.fixture(scope="session")
def in_tensorflow(tmp_path_factory):
    """Run a program where TensorFlow is imported, and has not started: what it prints, by line.

    Each is in a process of its own, a fork of one that imports TensorFlow once. Tests that ask for
    this are run by the same worker.
    """
    folder = tmp_path_factory.mktemp("tensorflow")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen([sys.executable, "-c", FORKING], env=env, text=True, **pipes) as process:

        def go(program):
            print(json.dumps([program, f"{folder}/"]), file=process.stdin, flush=True)
            assert process.stdout.readline() == "0\n", (folder / "2").read_text()
            return (folder / "1").read_text().splitlines()

        yield go
        process.stdin.close()


@pytest.fixture
def storage(tmp_path):
    """Where a run writes its results; it is removed with the test."""
    return str(tmp_path / "results")


@pytest.fixture(autouse=True)
def no_hang():
    """Fail a test that hangs: Ray asks a searcher that has nothing to say for ever."""

    def give_up(*_):
        raise TimeoutError(f"the test did not end within {HANG_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(HANG_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
