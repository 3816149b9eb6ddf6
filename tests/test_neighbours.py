"""Other work on the machine: seen, named, waited for, and never taken for our own."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kamerton_ray.machine import neighbours
from kamerton_ray.machine.neighbours import Gauges, Reading, Watch
from kamerton_ray.machine.threads import Threading
from kamerton_ray.process.model_nest import ModelNest
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.command import CommandOptions, Runner
from kamerton_ray.trial.model_instances import Instances
from kamerton_ray.trial.timing import Timer, TimingOptions

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PROC_STAT = """\
cpu  300 30 60 1000 5 6 9 40 0 0
cpu0 100 10 20 500 5 1 4 0 0 0
cpu1 200 20 40 500 0 5 5 40 0 0
intr 1 2 3
"""


@pytest.fixture
def machines(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import machines

    return machines


@pytest.fixture
def neighbour(machines, monkeypatch):
    """A busy process that nobody here has started; it is named, however many others there are."""
    monkeypatch.setattr(neighbours, "NAMED", sys.maxsize)
    with machines.neighbours(1) as (pid,):
        yield pid


def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def spinning_build():
    return lambda: spin(0.005)


def test_a_busy_neighbour_is_seen_and_named(neighbour):
    reading, names = neighbours.look(1.0)
    assert reading.disturbed
    assert reading.cpus > 0.2
    assert f"(process {neighbour})" in names


def test_what_we_start_is_no_neighbour():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as ours:
        _, names = neighbours.look(1.0)
        ours.kill()
    assert str(ours.pid) not in names


def test_a_neighbour_that_began_during_the_look_is_named(machines, monkeypatch):
    monkeypatch.setattr(neighbours, "NAMED", sys.maxsize)
    with contextlib.ExitStack() as begun:
        pids = []
        begin = threading.Timer(
            0.1, lambda: pids.append(*begun.enter_context(machines.neighbours(1)))
        )
        begin.start()
        names = neighbours.busiest(1.5)
        begin.join()
        assert f"(process {pids[0]})" in names


# It leaves its parent; its child works, and then waits for its end.
PARENT = """
import os, time
if os.fork():
    os._exit(0)
if (child := os.fork()):
    os.waitpid(child, 0)
    time.sleep(30)
    os._exit(0)
while time.process_time() < 0.6:
    pass
print(os.getppid(), os.getpid(), flush=True)
time.sleep(30)
"""


def test_what_an_ended_child_ever_took_is_not_its_parents_work_now(monkeypatch):
    monkeypatch.setattr(neighbours, "NAMED", sys.maxsize)
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as one:
        parent, child = map(int, one.stdout.readline().split())
        try:
            end = threading.Timer(0.1, os.kill, (child, signal.SIGKILL))
            end.start()
            names = neighbours.busiest(0.6)
            end.join()
            assert f"(process {parent})" not in names
        finally:
            os.kill(parent, signal.SIGKILL)


def test_what_has_ended_was_ours_all_the_same():
    before = neighbours.own_cpu_seconds()
    code = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert neighbours.own_cpu_seconds() - before >= 0.45


def test_the_kernels_counts_are_added_up_over_the_cpus_we_may_use(tmp_path, monkeypatch):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text(PROC_STAT)
    tick = 1 / os.sysconf("SC_CLK_TCK")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert neighbours.busy_cpu_seconds(tmp_path) == pytest.approx((135 + 270) * tick)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1})
    assert neighbours.busy_cpu_seconds(tmp_path) == pytest.approx(270 * tick)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {7})
    assert math.isnan(neighbours.busy_cpu_seconds(tmp_path))
    assert math.isnan(neighbours.busy_cpu_seconds(tmp_path / "nowhere"))


def test_a_short_span_needs_more_to_be_disturbed():
    assert not Reading(0.09, 10.0).disturbed
    assert Reading(0.11, 10.0).disturbed
    assert not Reading(0.11, 0.1).disturbed
    assert not Reading(math.nan, 1.0).disturbed
    assert not Reading(1.0, 0.0).disturbed


def test_what_a_quota_leaves_over_is_others_to_take():
    moments = iter([(0.0, 0.0), (1.0, 3.0)])
    now = [0.0]

    def others():
        now[0], taken = next(moments)
        return taken

    # The clock is read first, so it is a step behind what others have taken.
    clock = iter([0.0, 1.0])
    watch = Watch(Gauges(clock=lambda: next(clock), others=others, room=2.5), patience_s=0)
    assert watch.since(watch.start()).cpus == pytest.approx(0.5)


def test_a_trial_beside_other_work_says_so(neighbour):
    nest = ModelNest(_pickled(spinning_build), env=dict(os.environ), tensorflow=False)
    with contextlib.closing(nest), Instances([nest.attempt(Threading(), timeout=60)]) as child:
        child.build()
        timing = Timer(TimingOptions(warmup_s=0.2, budget_s=1.0, patience_s=0.5)).alone(child)
    assert timing.others > 0.2
    assert f"(process {neighbour})" in timing.beside


def test_a_command_beside_other_work_is_run_again_and_says_so(neighbour, tmp_path):
    runs = tmp_path / "runs"
    code = f"open({str(runs)!r}, 'a').write('x')\nimport time\nwhile time.process_time() < 0.3: 1"
    runner = Runner(CommandOptions(argv=(sys.executable, "-c", code), patience_s=1.5))
    with contextlib.closing(runner):
        result = runner.measure({"intra_op": 1, "inter_op": 1})
        waited = len(runs.read_text())
        runner.measure({"intra_op": 1, "inter_op": 1})
    assert result.outcome is Outcome.OK
    assert result.others > 0.2
    assert f"(process {neighbour})" in result.beside
    assert waited >= 2  # patience was left
    assert len(runs.read_text()) == waited + 1  # none was left


def test_a_command_that_fails_is_not_run_again(neighbour, tmp_path):  # noqa: ARG001
    runs = tmp_path / "runs"
    code = f"open({str(runs)!r}, 'a').write('x'); import time; time.sleep(0.5); raise SystemExit(3)"
    runner = Runner(CommandOptions(argv=(sys.executable, "-c", code), patience_s=5))
    with contextlib.closing(runner):
        assert runner.measure({"intra_op": 1}).outcome is Outcome.EXITED
    assert runs.read_text() == "x"


def test_under_a_real_quota_the_speed_up_is_the_ratio_of_each_alone(machines):
    """A third of a CPU, of which one thread and two get the same amount of work done."""
    script = Path(__file__).parent / "scripts" / "under_quota.py"
    try:
        with machines.cgroup(0.3) as procs:
            ran = subprocess.run(
                [sys.executable, str(script), str(procs)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
    except machines.UnavailableError as error:
        pytest.skip(str(error))
    found = json.loads(ran.stdout)
    assert found["quota"] == pytest.approx(0.3)
    # Beside other tests; benchmarks/quota.py shows it within 10 %. By medians of short blocks the
    # two would lie two times apart.
    assert found["speedup"] == pytest.approx(found["ratio"], rel=0.4)
    assert found["default_throttled"] > 0.6
    assert found["throttled"] > 0.6


def _pickled(build):
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return cloudpickle.dumps(build)
