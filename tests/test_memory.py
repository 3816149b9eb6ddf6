"""How much memory is left and held, from files that are made and from real processes."""

import os
import subprocess
import sys

import pytest

from kamerton_ray.machine.memory import available_memory, held_memory, in_words

MB = 1 << 20


def cgroup(root, version, *, limit, used, idle):
    """A root with a memory cgroup of a version."""
    v1 = version == 1
    folder = root / "sys/fs/cgroup" / ("memory/box" if v1 else "box")
    folder.mkdir(parents=True)
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("3:memory:/box\n" if v1 else "0::/box\n")
    names = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes")
        if v1
        else ("memory.max", "memory.current")
    )
    for name, value in zip(names, (limit, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    stat = "total_inactive_file" if v1 else "inactive_file"
    (folder / "memory.stat").write_text(f"anon 7\n{stat} {idle}\n")
    return root


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_limit_counts_and_files_that_can_go_do_not(version, tmp_path):
    root = cgroup(tmp_path, version, limit=100 * MB, used=70 * MB, idle=20 * MB)
    assert available_memory(root) == 50 * MB


@pytest.mark.parametrize("version", [1, 2])
def test_nothing_is_left_where_the_limit_is_reached(version, tmp_path):
    assert available_memory(cgroup(tmp_path, version, limit=10, used=50, idle=0)) == 0


@pytest.mark.parametrize(("version", "limit"), [(1, 9223372036854771712), (2, "max")])
def test_without_a_limit_it_is_what_the_machine_has_left(version, limit, tmp_path):
    root = cgroup(tmp_path, version, limit=limit, used=1, idle=0)
    assert available_memory(root) == pytest.approx(available_memory(), rel=0.1)


def test_a_process_holds_what_it_has_taken():
    program = f"held = bytearray({200 * MB}); held[::4096] = b'x' * len(held[::4096]); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{program[:-7]}print('there', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        process.stdout.readline()
        assert 200 * MB <= held_memory(process.pid) < 400 * MB
        process.stdin.close()
    assert held_memory(process.pid) == 0


def test_before_linux_4_14_what_is_shared_counts_in_full(tmp_path):
    assert held_memory(os.getpid(), tmp_path) > 10 * MB


@pytest.mark.parametrize(("size", "said"), [(1.5e9, "1.5 GB"), (2e8, "200 MB")])
def test_a_size_in_words(size, said):
    assert in_words(size) == said
