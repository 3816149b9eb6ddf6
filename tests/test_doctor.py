"""What the doctor sees on this machine, and on machines of files."""

import math
import os
import platform
import subprocess

import pytest

from kamerton_ray.cli.doctor import examine
from kamerton_ray.machine import knobs
from kamerton_ray.machine.neighbours import Reading, command_lines


def found(findings):
    return {finding.name: finding for finding in findings}


@pytest.fixture
def machine(tmp_path):
    """A machine of files: two sockets of two cores with two threads each, idle."""
    cpus = tmp_path / "sys/devices/system/cpu"
    for number in range(8):
        folder = cpus / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text(f"{number % 4 // 2}\n")
        (folder / "core_id").write_text(f"{number % 2}\n")
    for node in range(2):
        (tmp_path / f"sys/devices/system/node/node{node}").mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    return tmp_path


def test_this_machine_is_examined():
    findings = found(examine())
    assert "usable CPUs" in findings["usable CPUs"].found
    assert "tensorflow 2." in findings["versions"].found
    assert "ray 2." in findings["versions"].found
    assert "CPUs" in findings["other work"].found


def test_the_topology_is_counted(machine):
    finding = found(examine(root=machine, env={}))["topology"]
    assert finding.found == "8 logical CPUs on 4 cores, 2 sockets, 2 NUMA nodes, SMT on"
    assert "numactl" in finding.advice


def test_slower_cpus_are_counted(machine):
    (machine / "sys/devices/cpu_atom").mkdir()
    (machine / "sys/devices/cpu_atom/cpus").write_text("6-7\n")
    finding = found(examine(root=machine, env={}))["topology"]
    assert finding.found.endswith("SMT on; 2 of the CPUs are slower ones")


def other_work(machine, cpus, names=""):
    look = lambda: (Reading(cpus, 0.5), names)  # noqa: E731
    return found(examine(root=machine, env={}, look=look))["other work"]


def test_an_idle_machine_has_nothing_against_it(machine):
    finding = other_work(machine, 0.02)
    assert finding.found == "0.02 CPUs"
    assert not finding.advice


def test_a_busy_machine_and_who_makes_it_so_are_named(machine):
    finding = other_work(machine, 1.0, "stress (process 7) 1.0")
    assert finding.found == "1.00 CPUs: stress (process 7) 1.0"
    assert "Other work takes 1.0 CPUs" in finding.advice


def test_a_machine_that_does_not_count_says_so(machine):
    finding = other_work(machine, math.nan)
    assert "does not count" in finding.found
    assert not finding.advice


def test_a_quota_below_the_affinity_is_named(machine):
    (machine / "proc/self").mkdir()
    (machine / "proc/self/cgroup").write_text("0::/\n")
    (machine / "sys/fs/cgroup").mkdir(parents=True)
    (machine / "sys/fs/cgroup/cpu.max").write_text("50000 100000\n")
    findings = found(examine(root=machine, env={}))
    assert "quota" in findings["TensorFlow's default"].advice
    assert findings["CPU quota"].found.startswith("0.5 CPUs, in periods of 100 ms, 0% of which")
    assert findings["Ray believes in"].found == "1 CPUs on this machine"


def test_cpus_that_ray_counts_and_the_affinity_denies_are_named(machine, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    finding = found(examine(root=machine, env={}))["Ray believes in"]
    assert "64 CPUs, of which 2" in finding.advice
    told = found(examine(root=machine, env={"RAY_ADDRESS": "10.0.0.1:6379"}))["Ray believes in"]
    assert "10.0.0.1:6379 is used with --address auto alone" in told.found


@pytest.mark.parametrize(
    ("env", "advice"),
    [
        ({}, ""),
        ({"TF_NUM_INTRAOP_THREADS": "3"}, "Unset TF_NUM_INTRAOP_THREADS"),
        ({"OMP_NUM_THREADS": "3"}, "OMP_NUM_THREADS limits"),
        ({"DNNL_DEFAULT_FPMATH_MODE": "BF16"}, "DNNL_DEFAULT_FPMATH_MODE=BF16 changes results"),
        ({"ONEDNN_DEFAULT_FPMATH_MODE": "any"}, "ONEDNN_DEFAULT_FPMATH_MODE=any changes results"),
        ({"DNNL_DEFAULT_FPMATH_MODE": "STRICT"}, ""),
    ],
)
def test_thread_variables_are_shown_and_named(machine, env, advice):
    finding = found(examine(root=machine, env=env))["thread variables"]
    assert all(f"{name}={value}" in finding.found for name, value in env.items())
    assert advice in finding.advice
    assert bool(advice) == bool(finding.advice)


@pytest.mark.parametrize(
    ("kind", "cpu", "env", "said"),
    [
        ("x86_64", "flags : fpu avx512_vnni", {}, "on by default"),
        ("x86_64", "flags : fpu avx2", {}, "off by default on this CPU; --also onednn tries it"),
        ("aarch64", "CPU part : 0xd4f", {}, "off by default on this CPU; --also onednn tries it"),
        ("aarch64", "CPU part : 0xd40", {}, "on by default in some versions on this CPU"),
        ("aarch64", "CPU part : 0xd40", {"TF_ENABLE_ONEDNN_OPTS": "1"}, "switched on"),
        ("x86_64", "flags : avx512_vnni", {"TF_ENABLE_ONEDNN_OPTS": "false"}, "switched off"),
    ],
)
def test_whether_onednn_is_on_is_said(kind, cpu, env, said, machine, monkeypatch):
    info = machine / "proc/cpuinfo"
    info.write_text(f"processor : 0\nCPU implementer : 0x41\n{cpu}\n")
    monkeypatch.setattr(knobs, "CPU_INFO", info)
    monkeypatch.setattr(platform, "machine", lambda: kind)
    assert f"; oneDNN {said}" in found(examine(root=machine, env=env))["versions"].found
    variables = found(examine(root=machine, env={"OMP_NUM_THREADS": "4"}))["thread variables"]
    assert ("Graviton" in variables.advice) is (kind == "aarch64")


def test_what_the_variables_say_is_tensorflows_default(machine):
    env = {"TF_NUM_INTRAOP_THREADS": "3", "TF_NUM_INTEROP_THREADS": "5"}
    finding = found(examine(root=machine, env=env))["TensorFlow's default"]
    assert finding.found == "intra_op=3 inter_op=5"


def test_what_a_quota_stops_is_named_with_what_helps(machine):
    (machine / "proc/self").mkdir()
    (machine / "proc/self/cgroup").write_text("0::/\n")
    (machine / "sys/fs/cgroup").mkdir(parents=True)
    (machine / "sys/fs/cgroup/cpu.max").write_text("50000 100000\n")
    stat = machine / "sys/fs/cgroup/cpu.stat"

    def tell(periods, waited_ms):
        stat.write_text(
            f"nr_periods {periods}\nnr_throttled 300\nthrottled_usec {1000 * waited_ms}\n"
        )

    def advice(before, after):
        tell(1000, before)

        def look():
            tell(1005, after)
            return Reading(0.0, 0.5), ""

        return found(examine(root=machine, env={}, look=look))["CPU quota"].advice

    # 30 % of the periods were stopped in each case; what counts is for how long.
    assert advice(0, 0) == advice(20, 20) == advice(20, 21) == ""
    assert "The CPU quota stops what runs here" in advice(20, 60)
    assert "has often stopped" in advice(5000, 5000)
    assert "kamerton-ray exec --no-search -- PROGRAM" in advice(5000, 5000)


def test_several_variables_have_their_advice_each(machine):
    env = {"OMP_NUM_THREADS": "3", "MALLOC_ARENA_MAX": "4", "TF_NUM_INTEROP_THREADS": "2"}
    advice = found(examine(root=machine, env=env))["thread variables"].advice
    assert [one.split()[0] for one in advice.split("\n- ")] == [
        "Unset",
        "OMP_NUM_THREADS",
        "MALLOC_ARENA_MAX",
    ]


def test_a_server_that_starts_threads_for_cpus_it_has_not_is_named(machine, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})

    def served(*options):
        servers = lambda: {7: ["tensorflow_model_server", *options]}  # noqa: E731
        return found(examine(root=machine, env={}, servers=servers))["TensorFlow Serving"]

    assert served().found == "process 7"
    assert "starts 256 threads for HTTP where 4 CPUs can be used" in served().advice
    assert "say --rest_api_num_threads=16" in served().advice
    assert served("--rest_api_num_threads=16").advice == ""
    assert "TensorFlow Serving" not in found(examine(root=machine, env={}, servers=dict))


def test_processes_are_found_by_their_program(tmp_path):
    program = tmp_path / "tensorflow_model_server"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "999"]) as process:
        assert command_lines("tensorflow_model_server") == {process.pid: [str(program), "999"]}
        process.kill()
