import os
import subprocess
import sys

import numpy as np
import pytest

from kamerton_ray import (
    AtMost,
    InvalidInputError,
    NelderMeadSearcher,
    Threading,
    instance_limit,
    instance_space,
    thread_space,
    usable_cpus,
)
from kamerton_ray.machine import hardware, threads
from kamerton_ray.tune.thread_space import trial_cpus

# --- the two counts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"intra_op": 3, "inter_op": 2},
        {"inter_op": 2, "batch": 8, "intra_op": 3, "name": "a"},
        {"intra_op": np.int64(3), "inter_op": np.int32(2)},
        Threading(3, 2),
        [3, 2],
        (np.int64(3), 2),
    ],
)
def test_the_counts_are_taken_from_a_dict_a_threading_or_a_pair(config):
    threading = Threading.of(config)
    assert threading == Threading(intra_op=3, inter_op=2)
    assert {type(count) for count in threading} == {int}


@pytest.mark.parametrize(
    ("config", "expected"), [({"intra_op": 3}, (3, 0)), ({"inter_op": 2}, (0, 2))]
)
def test_a_missing_count_is_zero(config, expected):
    assert Threading.of(config) == expected


@pytest.mark.parametrize("count", [0, 1, threads.MAX_THREADS])
def test_the_counts_at_the_bounds_are_accepted(count):
    assert Threading.of([count, count]) == (count, count)


@pytest.mark.parametrize(
    "count", [-1, threads.MAX_THREADS + 1, 2.0, np.float64(2), True, np.True_, "2", None, [2]]
)
@pytest.mark.parametrize("name", ["intra_op", "inter_op"])
def test_a_bad_count_is_named_with_what_was_received(name, count):
    with pytest.raises(InvalidInputError, match=f"{name} must be an integer from 0 to 4096") as got:
        Threading.of({"intra_op": 1, "inter_op": 1} | {name: count})
    assert repr(count) in str(got.value)
    assert type(count).__name__ in str(got.value)


@pytest.mark.parametrize("config", [{}, {"intra": 2}, [], [1], [1, 2, 3], "12", 4, None, {1, 2}])
def test_what_holds_no_two_counts_is_refused(config):
    with pytest.raises(InvalidInputError, match="intra_op") as refusal:
        Threading.of(config)
    assert repr(config) in str(refusal.value)


def test_a_bad_count_is_refused_before_tensorflow_is_imported():
    program = (
        "import sys, kamerton_ray\n"
        "try: kamerton_ray.set_threading([-1, 1])\n"
        "except kamerton_ray.InvalidInputError: print('tensorflow' in sys.modules)"
    )
    assert python(program) == ["False"]


def test_the_environment_holds_tensorflows_two_variables():
    assert Threading(intra_op=3, inter_op=2).environment() == {
        "TF_NUM_INTRAOP_THREADS": "3",
        "TF_NUM_INTEROP_THREADS": "2",
    }


def python(program):
    """What a program prints, line by line."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# --- setting them in a real TensorFlow, each time in a process of its own -------------------------


TOLD = """
import tensorflow as tf
from kamerton_ray import RuntimeStartedError, set_threading

def told():
    threading = tf.config.threading
    return [
        threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads()
    ]

def refused(counts):
    try:
        set_threading(counts)
    except RuntimeStartedError as error:
        return str(error)
"""


@pytest.mark.parametrize(
    ("env", "affinity", "expected"),
    [
        ({}, None, (0, 0)),
        ({}, 1000, (1000, 1000)),
        ({"TF_NUM_INTRAOP_THREADS": "999"}, None, (999, 0)),
        ({"TF_NUM_INTEROP_THREADS": "999", "TF_NUM_INTRAOP_THREADS": "0"}, 1000, (1000, 999)),
        ({"TF_NUM_INTRAOP_THREADS": "-1", "TF_NUM_INTEROP_THREADS": "many"}, None, (0, 0)),
    ],
)
def test_the_default_of_a_machine_is_what_the_environment_or_the_affinity_says(
    env, affinity, expected, monkeypatch
):
    """A quota leaves fewer usable CPUs than the affinity, of which TensorFlow knows nothing."""
    if affinity:
        monkeypatch.setattr(hardware, "affinity", lambda: affinity)
    found = hardware.machine_with_default(env)
    assert (found.default_intra_op, found.default_inter_op) == expected
    cpus = usable_cpus().count
    assert list(found.default_threads.values()) == [count or cpus for count in expected]


def test_tensorflow_runs_with_the_counts_until_it_has_started_and_then_refuses_others(
    in_tensorflow,
):
    """Either way of starting it is noticed; a session of TensorFlow 1 is in a fork of its own."""
    before, in_session, *lines, after = in_tensorflow(f"""{TOLD}
import os
from kamerton_ray.machine.threads import runtime_started
print(runtime_started(), flush=True)
if os.fork() == 0:
    session = tf.compat.v1.Session(graph=tf.Graph())
    print(runtime_started(), flush=True)
    os._exit(0)
os.wait()
print(tuple(set_threading([1, 1])))
print(tuple(set_threading({{"intra_op": 3, "inter_op": 2, "batch": 8}})), told())
tf.constant(1) + 1
print(told())
print(tuple(set_threading([3, 2])))
for counts in ([4, 2], [3, 1], [0, 0]):
    print(refused(counts))
print(told())
print(runtime_started())
""")
    assert (before, in_session, after) == ("False", "True", "True")
    assert lines[:4] == ["(1, 1)", "(3, 2) [3, 2]", "[3, 2]", "(3, 2)"]
    for line, asked in zip(lines[4:7], [(4, 2), (3, 1), (0, 0)], strict=True):
        assert "already started with Threading(intra_op=3, inter_op=2)" in line
        assert f"Threading(intra_op={asked[0]}, inter_op={asked[1]}) cannot be set" in line
        assert "in a process of its own for each configuration" in line
        assert "reuse_actors" in line
    assert lines[7] == "[3, 2]"


def test_zero_leaves_the_counts_to_tensorflow(in_tensorflow):
    lines = in_tensorflow(f"""{TOLD}
print(tuple(set_threading([5, 5])), tuple(set_threading([0, 0])), told())
tf.constant(1) + 1
print(tuple(set_threading([0, 0])))
print(refused([1, 0]) is not None)
""")
    assert lines == ["(5, 5) (0, 0) [0, 0]", "(0, 0)", "True"]


def test_the_count_is_how_many_threads_really_run(in_tensorflow):
    program = f"""{TOLD}
import os
for count in (2, 12):
    if os.fork() == 0:
        before = set(os.listdir("/proc/self/task"))
        set_threading([count, 1])
        x = tf.random.uniform((700, 700))
        for _ in range(20):
            x = tf.matmul(x, x) / 700.0
        print(len(set(os.listdir("/proc/self/task")) - before), flush=True)
        os._exit(0)
    os.wait()
"""
    few, many = map(int, in_tensorflow(program))
    assert many - few == 10


# --- how many CPUs can be used --------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Build a machine with 64 CPUs out of `{path: text}`; what it has to say of its CPUs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)

    def build(files):
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return usable_cpus(root=tmp_path)

    return build


V2 = {"proc/self/cgroup": "0::/a/b\n"}
V1 = {"proc/self/cgroup": "5:cpuset:/a\n4:cpu,cpuacct:/a/b\n1:name=systemd:/x\n"}


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 64),
        (V2, 64),
        (V2 | {"sys/fs/cgroup/a/b/cpu.max": "400000 100000\n"}, 4),
        (V2 | {"sys/fs/cgroup/a/b/cpu.max": "250000 100000\n"}, 3),
        (V2 | {"sys/fs/cgroup/a/b/cpu.max": "1000 100000\n"}, 1),
        (V2 | {"sys/fs/cgroup/a/b/cpu.max": "75000 25000\n"}, 3),
        (V2 | {"sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 64),
        (V2 | {"sys/fs/cgroup/a/b/cpu.max": "9999900 100000\n"}, 64),
        (V2 | {"sys/fs/cgroup/a/b/cpuset.cpus.effective": "0-2,8,10-11\n"}, 6),
        (V2 | {"sys/fs/cgroup/a/b/cpuset.cpus.effective": "\n"}, 64),
        (V1 | {"sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "-1\n"}, 64),
        (V1 | {"sys/fs/cgroup/cpuset/a/cpuset.effective_cpus": "4-7\n"}, 4),
    ],
)
def test_one_source_at_a_time(machine, files, count):
    assert machine(files).count == count


def test_a_smaller_quota_of_a_parent_counts(machine):
    usable = machine(
        V2
        | {
            "sys/fs/cgroup/a/b/cpu.max": "800000 100000",
            "sys/fs/cgroup/a/cpu.max": "200000 100000",
            "sys/fs/cgroup/cpu.max": "max 100000",
        }
    )
    assert usable.count == 2
    assert [limit.cpus for limit in usable.limits] == [64, 8, 2]


@pytest.mark.parametrize(
    "files",
    [
        {"sys/fs/cgroup/cpu.max": "300000 100000"},
        {"sys/fs/cgroup/unified/a/b/cpu.max": "300000 100000"},
    ],
    ids=["the path is the host's", "version 2 beside version 1"],
)
def test_the_quota_is_found_where_the_path_is_not_plain(machine, files):
    assert machine(V2 | files).count == 3


def test_a_version_1_quota_is_found_with_its_period(machine):
    directory = "sys/fs/cgroup/cpu/a/b"
    usable = machine(
        V1 | {f"{directory}/cpu.cfs_quota_us": "350000", f"{directory}/cpu.cfs_period_us": "50000"}
    )
    assert usable.count == 7


@pytest.mark.parametrize("quota", ["-1", "0", ""])
def test_version_1_without_a_quota_has_no_limit(machine, quota):
    directory = "sys/fs/cgroup/cpu/a/b"
    usable = machine(
        V1 | {f"{directory}/cpu.cfs_quota_us": quota, f"{directory}/cpu.cfs_period_us": "100000"}
    )
    assert [limit.source for limit in usable.limits] == ["affinity"]


def test_a_version_1_path_that_is_not_visible_falls_back_to_the_mount(machine):
    directory = "sys/fs/cgroup/cpu"
    usable = machine(
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/docker/0123\n5:cpuset:/docker/0123\n",
            f"{directory}/cpu.cfs_quota_us": "150000",
            f"{directory}/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpuset/cpuset.effective_cpus": "0-3",
        }
    )
    assert usable.count == 2
    assert [limit.cpus for limit in usable.limits] == [64, 1.5, 4]


GARBAGE = ["", "0", "0 0", "-5 100000", "100000", "x y", "1-", "7-2", "\x00", b"\xff\xfe", ",,,"]


@pytest.mark.parametrize("text", GARBAGE, ids=repr)
def test_garbage_limits_nothing(machine, text):
    usable = machine(
        {
            "proc/self/cgroup": "0::/a\n4:cpu:/a\n5:cpuset:/a\nnonsense\n::::\n",
            "sys/fs/cgroup/a/cpu.max": text,
            "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": text,
            "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
        }
        | (
            {}
            if text in {"0", "1-", "100000"}  # these do name a CPU
            else {
                "sys/fs/cgroup/a/cpuset.cpus.effective": text,
                "sys/fs/cgroup/cpuset/a/cpuset.effective_cpus": text,
            }
        )
    )
    expected = 1 if text == "100000" else 64  # a version 1 quota of one CPU
    assert usable.count == expected


@pytest.mark.parametrize("text", GARBAGE, ids=repr)
def test_a_garbled_list_of_cgroups_limits_nothing(machine, text):
    assert machine({"proc/self/cgroup": text}).count == 64


def test_every_source_is_explained(machine):
    usable = machine(
        V2
        | {
            "sys/fs/cgroup/a/b/cpu.max": "250000 100000",
            "sys/fs/cgroup/a/cpuset.cpus.effective": "0-15",
        }
    )
    first, *lines = str(usable).splitlines()
    assert first == "3 usable CPUs, the least of:"
    assert [line.split()[:3] for line in lines] == [
        ["affinity", "64", "(the"],
        ["cgroup", "quota", "2.5"],
        ["cgroup", "cpuset", "16"],
    ]
    assert "250000 of each 100000 microseconds" in lines[1]
    assert lines[1].endswith("sys/fs/cgroup/a/b/cpu.max)")
    assert "CPUs 0-15" in lines[2]


def test_a_reduced_affinity_counts():
    lines = python(
        "import os, kamerton_ray\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "usable = kamerton_ray.usable_cpus()\n"
        "print(usable.count, usable.limits[0].source, usable.limits[0].cpus)"
    )
    assert lines == ["1 affinity 1.0"]


def test_this_machine_has_at_least_one_usable_cpu():
    assert 1 <= usable_cpus().count <= os.cpu_count()


# --- the space of thread counts -------------------------------------------------------------------


def bounds(space):
    return {name: (domain.lower, domain.upper - 1) for name, domain in space.items()}


@pytest.mark.parametrize(
    ("cpus", "intra_op", "inter_op"),
    [(1, 4, 4), (2, 4, 4), (5, 5, 5), (56, 56, 16), (threads.MAX_THREADS, 4096, 16)],
)
def test_the_ranges_reach_the_cpus_and_at_least_four(cpus, intra_op, inter_op):
    assert bounds(thread_space(cpus)) == {"intra_op": (1, intra_op), "inter_op": (1, inter_op)}


@pytest.mark.parametrize("cpus", [0, -1, threads.MAX_THREADS + 1, 2.0, True, "2"])
def test_a_bad_number_of_cpus_is_refused(cpus):
    with pytest.raises(InvalidInputError, match="cpus must be an integer from 1") as refusal:
        thread_space(cpus)
    assert repr(cpus) in str(refusal.value)


def test_without_a_cluster_it_asks_this_machine():
    program = (
        "import os, kamerton_ray\n"
        "from kamerton_ray.machine import cpus\n"
        "cpus.affinity = lambda: 7\n"
        "cpus.Path = lambda _: __import__('pathlib').Path('/nonexistent')\n"
        "print({k: (d.lower, d.upper) for k, d in kamerton_ray.thread_space().items()})"
    )
    assert python(program) == ["{'intra_op': (1, 8), 'inter_op': (1, 8)}"]


@pytest.mark.usefixtures("ray_cluster")
def test_on_a_cluster_it_asks_the_node_and_not_rays_number_of_slots():
    assert trial_cpus() == usable_cpus().count
    expected = max(threads.LEAST_RANGE, usable_cpus().count)
    assert bounds(thread_space())["intra_op"] == (1, expected)


@pytest.mark.parametrize(("cpus", "most"), [(1, 2), (2, 2), (16, 16)])
def test_the_space_of_instances_is_that_of_the_threads_and_one_more(cpus, most):
    space = instance_space(cpus, pinned=False)
    assert list(space) == ["instances", "intra_op", "inter_op"]
    assert bounds(space) == {"instances": (1, most), **bounds(thread_space(cpus))}
    assert instance_limit(cpus) == AtMost(("instances", "intra_op"), 2 * cpus)
    assert bounds(instance_space(cpus, pinned=True))["pinned"] == (0, 1)
    searcher = NelderMeadSearcher(space, metric="m", mode="max", constraints=instance_limit(cpus))
    config = searcher.suggest("one")
    assert config["instances"] * config["intra_op"] <= 2 * cpus
