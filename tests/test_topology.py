"""Places for instances on machines that are made of files, and on this one."""

import os
from pathlib import Path

import pytest

from kamerton_ray import InvalidInputError
from kamerton_ray.machine.topology import cpu_sets, prefer_node, topology, worth_pinning


def machine(root, *, nodes, cores, threads):
    """The CPUs of a machine whose hyperthreads are numbered after all its cores."""
    count = nodes * cores
    for number in range(count * threads):
        folder = root / f"sys/devices/system/cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        core = number % count
        (folder / "core_id").write_text(f"{core % cores}\n")
        (folder / "physical_package_id").write_text(f"{core // cores}\n")
    for node in range(nodes):
        folder = root / f"sys/devices/system/node/node{node}"
        folder.mkdir(parents=True)
        lists = [
            f"{first}-{first + cores - 1}" for first in range(node * cores, count * threads, count)
        ]
        (folder / "cpulist").write_text(",".join(lists) + "\n")
    return topology(root, among=range(count * threads))


def test_the_hyperthreads_of_a_core_lie_side_by_side(tmp_path):
    cpus = machine(tmp_path, nodes=2, cores=2, threads=2)
    assert [cpu.number for cpu in cpus] == [0, 4, 1, 5, 2, 6, 3, 7]
    assert [cpu.node for cpu in cpus] == [0] * 4 + [1] * 4


@pytest.mark.parametrize(
    ("instances", "sets"),
    [
        (1, [(0, 1, 2, 3, 4, 5, 6, 7)]),
        (2, [(0, 1, 4, 5), (2, 3, 6, 7)]),
        (3, [(0, 4), (1, 5), (2, 3, 6, 7)]),
        (4, [(0, 4), (1, 5), (2, 6), (3, 7)]),
        (8, [(0,), (4,), (1,), (5,), (2,), (6,), (3,), (7,)]),
    ],
)
def test_sets_keep_cores_and_nodes_together(instances, sets, tmp_path):
    assert cpu_sets(instances, machine(tmp_path, nodes=2, cores=2, threads=2)) == sets


def test_the_efficiency_cores_of_a_hybrid_cpu_stay_together(tmp_path):
    """Two performance cores of two hyperthreads each, numbered first, and four small ones."""
    folder = tmp_path / "sys/devices/cpu_atom"
    folder.mkdir(parents=True)
    (folder / "cpus").write_text("0-1,6-7\n")
    for number, core in enumerate([8, 9, 0, 0, 1, 1, 10, 11]):
        place = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology"
        place.mkdir(parents=True)
        (place / "core_id").write_text(f"{core}\n")
    cpus = topology(tmp_path, among=range(8))
    assert [cpu.number for cpu in cpus] == [2, 3, 4, 5, 0, 1, 6, 7]
    assert [cpu.slower for cpu in cpus] == [0] * 4 + [1] * 4
    assert cpu_sets(2, cpus) == [(2, 3, 4, 5), (0, 1, 6, 7)]
    assert worth_pinning(cpus[2:6:2] + cpus[6:])
    assert not worth_pinning(cpus[4:])


def test_what_arms_kernels_say_of_each_cpu_counts(tmp_path):
    for number, capacity in enumerate([446, 1024, 446, 1024]):
        place = tmp_path / f"sys/devices/system/cpu/cpu{number}"
        place.mkdir(parents=True)
        (place / "cpu_capacity").write_text(f"{capacity}\n")
    cpus = topology(tmp_path, among=range(4))
    assert [(cpu.number, cpu.slower) for cpu in cpus] == [(1, 0), (3, 0), (0, 578), (2, 578)]
    assert worth_pinning(cpus)


@pytest.mark.parametrize("instances", range(1, 13))
def test_sets_have_nothing_in_common_and_leave_nothing_out(instances, tmp_path):
    cpus = machine(tmp_path, nodes=3, cores=2, threads=2)
    sets = cpu_sets(instances, cpus)
    assert len(sets) == instances
    assert sorted(number for one in sets for number in one) == list(range(12))
    nodes = {cpu.number: cpu.node for cpu in cpus}
    if instances >= 3:
        assert all(len({nodes[number] for number in one}) == 1 for one in sets)


def test_more_instances_than_cpus_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="at most the 2 CPUs, but got 3"):
        cpu_sets(3, machine(tmp_path, nodes=1, cores=2, threads=1))


@pytest.mark.parametrize(
    ("shape", "worth"), [((1, 4, 1), False), ((1, 2, 2), True), ((2, 2, 1), True)]
)
def test_a_place_can_matter_where_cores_or_nodes_are_shared(shape, worth, tmp_path):
    nodes, cores, threads = shape
    assert worth_pinning(machine(tmp_path, nodes=nodes, cores=cores, threads=threads)) is worth


def test_what_no_file_says_is_a_machine_of_single_cores(tmp_path):
    cpus = topology(tmp_path, among=[0, 1])
    assert cpu_sets(2, cpus) == [(0,), (1,)]
    assert not worth_pinning(cpus)


def test_this_machine_has_its_cpus():
    assert {cpu.number for cpu in topology()} == os.sched_getaffinity(0)


def test_memory_is_taken_from_a_node_where_the_system_allows_it():
    """In a process of its own, whose policy stays with it."""
    pid = os.fork()
    if pid == 0:
        allowed = prefer_node(0)
        said = Path("/proc/self/numa_maps").read_text()
        os._exit(0 if not allowed or "prefer:0" in said else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
