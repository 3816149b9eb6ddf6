"""Faults: what a search loses when processes, nodes, the driver or the disk are taken from it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import faults
from cluster import Cluster

from kamerton_ray import InvalidInputError
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.pace import LEAST_TRIALS
from kamerton_ray.tune.recorder import Log, why_lost
from kamerton_ray.tune.session import RESULTS, Session

pytestmark = pytest.mark.cluster

LOWEST = {"intra_op": 3, "inter_op": 2}
HOG = """
import contextlib, numpy, ray, sys
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

@ray.remote(num_cpus=0)
class Hog:
    def fill(self):
        refs = [ray.put(numpy.ones(1 << 20)) for _ in range(16)]  # 128 MB, of 100
        self.kept = refs, [ray.get(ref) for ref in refs]  # in use, they cannot be spilled

ray.init(log_to_driver=False)
nodes = [On(node["NodeID"], soft=False) for node in ray.nodes() if node["Alive"]]
hogs = [Hog.options(scheduling_strategy=node).remote() for node in nodes]
full = 0
for fill in [hog.fill.remote() for hog in hogs]:
    with contextlib.suppress(ray.exceptions.RayActorError):  # its node stood still in a test before
        ray.get(fill)
        full += 1
if full:
    print("full", file=sys.stderr, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cluster():
    """A head and two nodes, of which some are lost and replaced."""
    with Cluster() as made:
        for _ in range(faults.NODES):
            made.add_node(1)
        yield made


@pytest.fixture(scope="module")
def driver(cluster, tmp_path_factory):
    """A process that searches on the cluster."""
    with closing(faults.Driver(cluster, tmp_path_factory.mktemp("driver"))) as made:
        yield made


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("node lost", "was lost"),
        ("actor killed", "is run again: its actor, a process on"),
        ("command nest killed", "was begun anew: the process that forks the attempts ended"),
        ("driver killed", ""),
        ("node stood still", ""),
        ("disk full", ""),
    ],
)
def test_a_fault_changes_neither_the_results_nor_the_answer(fault, told, cluster, driver, tmp_path):
    # The head notices the loss of a node after some five seconds; shorter searches end before.
    seconds = 1.0 if fault == "node lost" else faults.TRIAL_S
    done = faults.run(cluster, driver, tmp_path / "run", 4, [fault], seconds)
    assert done.wrong == []
    assert set(done.faults) == {fault}
    assert told in "\n".join(done.said)


def test_a_slow_node_is_waited_for(cluster, driver, tmp_path):
    slow = cluster.add_node(1, env={"SLOW": "4"})
    search = faults.Search(cluster, driver, tmp_path / "run", seed=0, lowest=LOWEST, seconds=0.8)
    before = len(driver.said())
    search.begin()
    ending = search.ending()
    cluster.kill_node(slow)
    assert faults.complaints(search, [], ending) == []
    # How many trials it gets depends on how soon its process has started.
    ran = [one.node_ip for one in search.results()].count(slow.ip)
    told = f"A trial on {slow.ip} takes " in driver.said()[before:]
    assert told or ran < LEAST_TRIALS


def test_a_slow_node_is_named_once(tmp_path, caplog):
    log = Log(Session(tmp_path), [], lambda _: None)
    for node, seconds in ("a", 1), ("b", 4), ("a", 1.2), ("b", 5), ("b", 5), ("c", 1), ("c", 2):
        log.note_pace(Result(node_ip=node, time_total_s=seconds))
    assert [record.getMessage() for record in caplog.records] == [
        "A trial on b takes 4.1 times as long as elsewhere."
    ]


def test_a_full_object_store_does_not_matter(cluster, driver, tmp_path):
    hog = subprocess.Popen(
        [sys.executable, "-c", HOG],
        env=cluster.env,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert any(line == "full\n" for line in iter(hog.stderr.readline, ""))
    search = faults.Search(cluster, driver, tmp_path / "run", seed=0, lowest=LOWEST)
    search.begin()
    assert faults.complaints(search, [], search.ending()) == []
    hog.communicate()


@pytest.fixture
def redis(tmp_path):
    """A Redis of its own; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = ["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    yield f"127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.mark.skipif(not shutil.which("redis-server"), reason="Ray restarts a GCS from Redis alone")
def test_a_restarted_gcs_changes_nothing(redis, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = {"env": {"RAY_REDIS_ADDRESS": redis}}
    with Cluster(f"--port={port}", **options) as made:
        made.add_node(1)
        made.add_node(1)
        with closing(faults.Driver(made, tmp_path)) as driver:
            search = faults.Search(made, driver, tmp_path / "run", seed=0, lowest=LOWEST)
            search.begin()
            assert search.wait_for(3)
            kept = search.results()
            made.restart_gcs()
            assert faults.complaints(search, kept, search.ending()) == []
            assert len(search.results()) > len(kept)


# --- the command line ----------------------------------------------------------------------------


def members(leader):
    """The processes in the session that `leader` began, by id with their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(ValueError, OSError):
            if os.getsid(int(entry.name)) == leader:
                line = (entry / "cmdline").read_bytes()
                found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace")
    return found


@pytest.fixture
def start(tmp_path):
    """Start `kamerton-ray exec` with a Ray of its own; nothing of it is left at the end."""
    started = []

    def go(*options):
        code = faults.PROGRAM.format(**LOWEST, seconds=0.5, log=tmp_path / "executions")
        search = ["--intra", "1:4", "--inter", "1:4", "--objective", "last", "--no-compare"]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "kamerton_ray.cli", "exec"),
                *(*search, *options, "--", "sh", "-c", code),
            ],
            cwd=tmp_path,
            env={
                **os.environ,
                "RAY_gcs_rpc_server_reconnect_timeout_s": "3",
                "RAY_raylet_start_wait_time_s": "120",  # on a busy machine
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield go
    for process in started:
        while left := members(process.pid):
            faults.signal_all(left, signal.SIGKILL)
            process.poll()
            time.sleep(0.05)


def kill_driver(process, _):
    process.kill()


def kill_gcs(process, _):
    servers = [pid for pid, line in members(process.pid).items() if "gcs_server" in line]
    assert len(servers) == 1
    faults.signal_all(servers, signal.SIGKILL)


def fill_disk(_, file):
    faults.fill(file)


@pytest.mark.parametrize(
    ("fault", "said", "code"),
    [
        (kill_driver, "The results go to ", -signal.SIGKILL),
        (kill_gcs, "GCS may have been killed", 1),
        (fill_disk, "No space left on device", 1),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_command_line_says_what_ended_it_and_resumes(fault, said, code, start, tmp_path):
    process = start()
    while not (files := list(tmp_path.glob(f"kamerton-ray/*/{RESULTS}"))):
        assert process.poll() is None
        time.sleep(0.05)
    session, file = Session(files[0].parent), files[0]
    while len(session.results()) < 3:
        time.sleep(0.05)
    fault(process, file)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert said in err
    assert "Traceback" not in err
    if file.is_symlink():
        faults.empty(file)
    kept = session.results()
    again = start("--resume", str(session.folder))
    out, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    assert out.startswith("intra_op=3 inter_op=2 is the best")
    tried = [tuple(one.tuned.values()) for one in session.results()]
    assert session.results()[: len(kept)] == kept
    assert len(set(tried)) == len(tried)


# --- what is written down ------------------------------------------------------------------------


def test_a_line_that_was_cut_off_costs_no_other(tmp_path):
    session = Session(tmp_path)
    session.add(Result(config={"number": 1}))
    with (tmp_path / RESULTS).open("a") as file:
        file.write('{"config": {"number": 2')
    session.add(Result(config={"number": 3}))
    session.add(Result(config={"number": 4}))
    assert [result.tuned["number"] for result in session.results()] == [1, 3, 4]


def test_a_line_that_lacks_its_end_alone_is_kept(tmp_path):
    (tmp_path / RESULTS).write_text('{"config": {"number": 1}}')
    session = Session(tmp_path)
    session.add(Result(config={"number": 2}))
    assert [result.tuned["number"] for result in session.results()] == [1, 2]


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match="must be written down, but"):
        Session.create(tmp_path / "file", "exec", {})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "its actor was lost"),
        (
            "\tip: 10.0.0.3\nThe actor died because its node has died. Node",
            "its node 10.0.0.3 was lost",
        ),
        ("\tip: 10.0.0.3\nThe actor is dead", "its actor, a process on 10.0.0.3, was lost"),
        ("The actor 1ab is unavailable: Socket closed. Maybe restarting.", "its actor was lost"),
        ("Traceback ...\nValueError: no", "ValueError: no"),
    ],
)
def test_why_a_trial_was_lost(text, why, tmp_path):
    (tmp_path / "error").write_text(text)
    assert why_lost(tmp_path / "error") == why
