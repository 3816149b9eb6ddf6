"""Several processes of a model at the same time: real ones, most of them without TensorFlow."""

import contextlib
import importlib
import os
import re
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import cloudpickle
import pytest

from kamerton_ray import InvalidInputError, usable_cpus
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.bench import Bench, BenchOptions, Isolation
from kamerton_ray.trial.building import at_once
from kamerton_ray.trial.timing import TimingOptions

cloudpickle.register_pickle_by_value(sys.modules[__name__])

TWO = {"instances": 2, "intra_op": 1, "inter_op": 1}
NUMBER = "KAMERTON_RAY_INSTANCE"


@contextlib.contextmanager
def bench(build, **options):
    usual = {"timeout_s": 30.0, "pair": False, "env": {}, "isolation": Isolation.FORK}
    timing = TimingOptions(warmup_s=0.1, budget_s=0.2)
    made = Bench(build, BenchOptions(timing=timing, tensorflow=False, **(usual | options)))
    try:
        yield made
    finally:
        made.close()


def measured(build, config=None, **options):
    with bench(build, **options) as made:
        return made.measure(TWO if config is None else config)


def sleeper(seconds=0.01):
    return lambda: time.sleep(seconds)


def test_their_steps_are_added_up_and_a_step_of_each_takes_as_long_as_before():
    found = measured(sleeper, pair=True)
    assert found.outcome is Outcome.OK
    assert found.speedup == pytest.approx(2, rel=0.2)
    assert found.speedup_low < found.speedup < found.speedup_high
    assert found.throughput == pytest.approx(2 / found.seconds, rel=0.1)
    assert found.machine_seconds == pytest.approx(found.seconds / 2, rel=0.1)
    assert found.default_seconds == pytest.approx(found.seconds, rel=0.2)


def test_a_step_that_is_longer_than_a_block_counts_as_well():
    found = measured(lambda: sleeper(0.15), pair=True)
    assert found.speedup == pytest.approx(2, rel=0.1)


def test_what_they_cost_is_told():
    def build():
        held = b"x" * (100 << 20)
        return lambda: sum(range(20000 + 0 * len(held)))

    found = measured(build)
    assert found.memory > 100 << 20
    assert 0 < found.cpus <= 1.05 * os.cpu_count()
    assert found.cpus == pytest.approx(found.cpu_seconds * found.throughput)


def test_each_is_told_its_number_and_the_default_runs_alone(tmp_path):
    def build(config):
        said = [os.environ[NUMBER], os.environ["KAMERTON_RAY_INSTANCES"], config["instances"]]
        (tmp_path / "-".join(map(str, said))).touch()
        return sleeper()

    measured(build, pair=True)
    assert {path.name for path in tmp_path.iterdir()} == {"0-1-1", "0-2-2", "1-2-2"}


def test_where_instances_are_not_tuned_nothing_is_told():
    def build():
        if NUMBER in os.environ:
            raise AssertionError
        return sleeper()

    assert measured(build, {"intra_op": 1, "inter_op": 1}).outcome is Outcome.OK


def test_all_of_them_run_before_any_of_them_is_done(tmp_path):
    """Each waits in its first step for the other's file, so one alone would never end."""

    def build():
        mine = int(os.environ[NUMBER])

        def step():
            (tmp_path / str(mine)).touch()
            while not (tmp_path / str(1 - mine)).exists():
                time.sleep(0.001)
            time.sleep(0.01)

        return step

    # What one holds is seen from one that runs alone first; here that would wait for ever.
    (tmp_path / "1").touch()
    assert measured(build).outcome is Outcome.OK


@pytest.mark.parametrize("pinned", [1, 0])
def test_pinned_instances_share_no_cpu(pinned, tmp_path):
    def build():
        cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        (tmp_path / os.environ[NUMBER]).write_text(cpus)
        return sleeper()

    count = min(2, len(os.sched_getaffinity(0)))
    found = measured(build, {**TWO, "instances": count, "pinned": pinned})
    assert found.outcome is Outcome.OK
    assert found.machine.usable_cpus == usable_cpus().count  # the machine's, not an instance's
    assert found.machine.default_intra_op == 0
    sets = [set(path.read_text().split(",")) for path in tmp_path.iterdir()]
    assert sum(map(len, sets)) == (1 if pinned else count) * len(os.sched_getaffinity(0))


# --- what goes wrong ------------------------------------------------------------------------------


def binds_a_port(port):
    def build():
        taken = socket.socket()
        taken.bind(("127.0.0.1", port))
        return lambda: time.sleep(0.01 + 0 * taken.fileno())

    return build


def takes_a_lock(path):
    def build():
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        return sleeper()

    return build


@pytest.mark.parametrize("kind", ["port", "lock"])
def test_instances_that_are_in_each_others_way_are_told_so(kind, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    build = binds_a_port(port) if kind == "port" else takes_a_lock(str(tmp_path / "lock"))
    with bench(build) as made:
        made._room.note(1)  # or one alone would be built first, and leave its lock
        found = made.measure(TWO)
    assert found.outcome is Outcome.BUILD_RAISED
    assert "of 2: " in found.error
    assert "Instances share the files, ports and locks" in found.error
    assert ("Address already in use" if kind == "port" else "FileExistsError") in found.error


def test_a_build_that_fails_in_all_of_them_is_no_matter_of_sharing():
    def build():
        raise RuntimeError("broken")

    found = measured(build)
    assert found.outcome is Outcome.BUILD_RAISED
    assert "Instances share" not in found.error


def second(act):
    """A build whose second instance does something else in its tenth step."""

    def build():
        steps = iter(range(10**9))

        def step():
            time.sleep(0.01)
            if os.environ[NUMBER] == "1" and next(steps) == 9:
                act()

        return step

    return build


@pytest.mark.parametrize(
    ("act", "outcome", "said"),
    [
        (lambda: time.sleep(999), Outcome.TIMEOUT, "of 2 s"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), Outcome.SIGNALLED, "SIGKILL"),
        (lambda: os._exit(3), Outcome.EXITED, "with code 3"),
        (lambda: 1 / 0, Outcome.STEP_RAISED, "ZeroDivisionError"),
    ],
)
def test_one_that_fails_ends_the_trial_and_is_named(act, outcome, said):
    with bench(second(act), timeout_s=2.0) as made:
        found = made.measure(TWO)
        assert made.measure({**TWO, "instances": 1}).outcome is Outcome.OK  # and nothing else
    assert found.outcome is outcome
    assert "instance 2 of 2: " in found.error
    assert said in found.error


def test_what_does_not_fit_into_memory_is_not_started(tmp_path):
    def build():
        tempfile.mkstemp(dir=tmp_path)
        held = b"x" * (50 << 20)
        return lambda: time.sleep(0.01 + 0 * len(held))

    with bench(build) as made:
        found = made.measure({**TWO, "instances": 4000})
        assert not made.fits([{**TWO, "instances": 4000}, None])
        assert made.fits([TWO, None])
    assert found.outcome is Outcome.NO_ROOM
    assert "4000 instances may need " in found.error
    assert len(list(tmp_path.iterdir())) == 1  # one alone, to see what it holds


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True, None])
def test_a_number_of_instances_that_is_none_is_refused(count):
    with pytest.raises(InvalidInputError, match="instances must be an integer from 1 to 4096"):
        measured(sleeper, {**TWO, "instances": count})


def test_spawned_instances_import_by_themselves():
    found = measured(sleeper, isolation=Isolation.SPAWN)
    assert (found.outcome, found.isolation) == (Outcome.OK, "spawn")
    assert found.throughput == pytest.approx(2 / found.seconds, rel=0.1)


def test_no_process_and_no_memory_is_left():
    def left():
        lists = Path("/proc/self/task").glob("*/children")
        return {int(pid) for one in lists for pid in one.read_text().split()}

    before = left()
    with bench(lambda: sleeper(0.001), pair=True) as made:
        for _ in range(5):
            assert made.measure(TWO).outcome is Outcome.OK
        nest = next(iter(left() - before))
        of_nest = Path(f"/proc/{nest}/task/{nest}/children").read_text().split()
        assert len(of_nest) == 1  # the default's process, which is kept
    assert not left() - before


# --- benchmarks/instances.py and leaks.py ---------------------------------------------------------


def script_of(name, monkeypatch):
    """A benchmark as a module, of which the trials' processes need nothing else."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    module = importlib.import_module(name)
    cloudpickle.register_pickle_by_value(module)
    return module


def test_the_benchmark_finds_the_best_point_and_compares_it_afresh(monkeypatch):
    script = script_of("instances", monkeypatch)
    points = [{"instances": n, "intra_op": t, "inter_op": 1} for n in (1, 2) for t in (1, 2)]
    best, single = TWO, {**TWO, "instances": 1}
    with bench(lambda config: sleeper(0.005 * (config["intra_op"] or 2))) as made:
        sweeps = script.Sweeps(made, points)
        sweeps.sweep()
        rounds = script.together(made, [None, best, single], 2)
    assert sweeps.ranked()[0] == best
    found = script.Found(
        model="sleeper", points=4, best=best, single=single, tool=single, rounds=rounds
    )
    assert not found.near
    cells = found.row().split(" | ")
    assert cells[2] == cells[8] == "1 x (1, 1)"
    assert cells[5] == "2 x (1, 1)"
    ratios = [float(cells[number].partition("x")[0]) for number in (3, 6, 11)]
    assert ratios == pytest.approx([2, 4, 0.5], rel=0.2)


def test_every_point_of_the_benchmark_keeps_the_limit(monkeypatch):
    script = script_of("instances", monkeypatch)
    points = script.lattice()
    assert len({str(point) for point in points}) == len(points)
    cpus = usable_cpus().count
    assert {point["instances"] * point["intra_op"] <= 2 * cpus for point in points} == {True}
    assert {"instances": cpus, "intra_op": 2, "inter_op": 1} in [
        {name: point[name] for name in TWO} for point in points
    ]
    assert {point["inter_op"] for point in script.lattice([1, 4])} == {1, 4}


def test_the_benchmark_counts_what_trials_leave_behind(monkeypatch, capsys):
    script_of("leaks", monkeypatch).leaks(1)
    during, after = re.findall(r"after .*?  +(\d+) ", capsys.readouterr().out)
    assert (during, after) == ("2", "0")


def test_configurations_build_at_once_in_groups_of_so_many_processes():
    two, four = {"instances": 2}, {"instances": 4}
    assert list(at_once([None, two, {}, four, {}], 3)) == [[None, two], [{}], [four], [{}]]
    assert list(at_once([None, {}, two], 1)) == [[None], [{}], [two]]
    assert list(at_once([], 1)) == []


def test_where_memory_is_scarce_the_models_of_a_round_are_built_one_after_the_other(
    monkeypatch, tmp_path
):
    log = tmp_path / "log"

    def build():
        with log.open("a") as file:
            file.write("begin ")
        time.sleep(0.3)
        with log.open("a") as file:
            file.write("end ")
        return lambda: time.sleep(0.001)

    for fits, order in ((True, "begin begin end end"), (False, "begin end begin end")):
        log.write_text("")
        with bench(build) as measurer:
            monkeypatch.setattr(measurer, "fits", lambda _, fits=fits: fits)
            found = measurer.measure_round([None, {"intra_op": 1}])
        assert [one.outcome for one in found] == [Outcome.OK] * 2
        assert log.read_text().strip() == order


def test_models_that_are_in_each_others_way_build_once_more_by_themselves(tmp_path):
    def build():
        only_one = tmp_path / "building"
        only_one.mkdir()
        time.sleep(0.3)
        only_one.rmdir()
        return lambda: time.sleep(0.001)

    one = {"intra_op": 1, "inter_op": 1}
    with bench(build, pair=True) as measurer:
        trial = measurer.measure(one)  # the default builds beside it
        found = measurer.measure_round([None, one, {**one, "inter_op": 2}])
    assert (trial.outcome, trial.error) == (Outcome.OK, "")
    assert trial.default_seconds > 0
    assert [result.outcome for result in found] == [Outcome.OK] * 3


def test_a_model_that_cannot_be_built_is_built_once_more_and_no_oftener(tmp_path):
    def build(config):
        with (tmp_path / "log").open("a") as file:
            file.write("x" if config["intra_op"] else "")
        if config["intra_op"]:
            raise ValueError("never")
        return lambda: time.sleep(0.001)

    with bench(build, pair=True) as measurer:
        found = [measurer.measure({"intra_op": count}) for count in (1, 2)]
        assert [one.outcome for one in found] == [Outcome.BUILD_RAISED] * 2
        assert (tmp_path / "log").read_text() == "xx" + "x"
        _, failed = measurer.measure_round([None, {"intra_op": 1}])
    assert failed.outcome is Outcome.BUILD_RAISED
    assert (tmp_path / "log").read_text() == "xxx" + "xx"
