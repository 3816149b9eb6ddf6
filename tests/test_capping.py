"""exec --no-search: a program as it is, with no more threads than its CPUs can run."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kamerton_ray import InvalidInputError, usable_cpus
from kamerton_ray.cli.capping import POOLS, capped

COMMAND = [sys.executable, "-m", "kamerton_ray.cli", "exec", "--no-search"]
COUNTS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
WITHOUT = {name: value for name, value in os.environ.items() if name not in {*COUNTS, *POOLS}}


@pytest.fixture
def machines(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    import machines

    return machines


@pytest.fixture
def started():
    """Start the command; what of it is there at the end of the test is ended."""
    processes = []

    def go(*args, **env):
        process = subprocess.Popen(
            [*COMMAND, *args],
            env={**WITHOUT, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield go
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize(
    ("said", "cpus", "counts"),
    [
        ({}, 3, "3 3"),
        ({COUNTS[0]: "8"}, 3, "3 3"),
        ({COUNTS[0]: "2", COUNTS[1]: "1"}, 3, "2 1"),
        ({COUNTS[0]: "0", COUNTS[1]: "-1"}, 3, "3 3"),
    ],
)
def test_both_counts_are_what_is_said_but_no_more_than_cpus(said, cpus, counts):
    assert " ".join(capped(said, cpus).values()) == counts


@pytest.mark.parametrize("said", [{}, {POOLS[1]: "7", POOLS[0]: "4,3"}], ids=["nothing", "some"])
def test_numpys_own_threads_are_as_few_unless_the_environment_says_otherwise(started, said):
    process = started("--", "sh", "-c", f"echo ${' $'.join(POOLS)}", **said)
    out, _ = process.communicate(timeout=60)
    cpus = str(usable_cpus().count)
    assert out.split() == [said.get(name, cpus) for name in POOLS]


def test_what_is_no_count_is_named():
    with pytest.raises(InvalidInputError, match=r"TF_NUM_INTRAOP_THREADS must be a number .*'all'"):
        capped({COUNTS[0]: "all"}, 2)


def test_the_program_takes_the_place_of_the_command(started):
    """Its process id, its exit code and its outputs are the command's."""
    show = f"echo $$ ${COUNTS[0]} ${COUNTS[1]}; exit 7"
    process = started("--", "sh", "-c", show, **{COUNTS[1]: "1"})
    out, err = process.communicate(timeout=60)
    cpus = usable_cpus().count
    assert out.split() == [str(process.pid), str(cpus), "1"]
    assert process.returncode == 7
    assert err.startswith(f"1 process with TF_NUM_INTRAOP_THREADS={cpus} TF_NUM_INTEROP_THREADS=1")


def test_a_program_that_there_is_not_is_said_in_a_sentence(started):
    _, err = (process := started("no-such-program")).communicate(timeout=60)
    assert process.returncode == 2
    assert "Error: no-such-program cannot be run: No such file or directory" in err
    assert "Traceback" not in err


def test_copies_share_the_cpus_and_the_first_that_fails_is_the_exit_code(started):
    show = "echo $KAMERTON_RAY_INSTANCE $TF_NUM_INTRAOP_THREADS; exit $KAMERTON_RAY_INSTANCE"
    process = started("--instances", "auto", "--quiet", "--", "sh", "-c", show)
    out, err = process.communicate(timeout=60)
    cpus = usable_cpus().count
    assert sorted(out.splitlines()) == sorted(f"{number} 1" for number in range(cpus))
    assert process.returncode == (1 if cpus > 1 else 0)
    assert err == ""


@pytest.mark.skipif(usable_cpus().count < 2, reason="two copies need two CPUs")
def test_copies_get_the_signals_that_the_command_gets(started):
    wait = "trap 'echo ended; exit 3' TERM; echo ready; while true; do sleep 0.05; done"
    process = started("--instances", "2", "--", "sh", "-c", wait)
    for _ in range(2):
        assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert out == "ended\nended\n"
    assert process.returncode == 3


def test_under_a_quota_it_gives_what_the_quota_allows(machines):
    show = [*COMMAND, "--", "sh", "-c", f"echo ${COUNTS[0]} ${COUNTS[1]}"]
    try:
        with machines.cgroup(1.0) as procs:
            done = subprocess.run(
                ["/bin/sh", "-c", f'echo $$ > {procs} && exec "$@"', "sh", *show],
                capture_output=True,
                text=True,
                env=WITHOUT,
                check=True,
            )
    except machines.UnavailableError as error:
        pytest.skip(str(error))
    assert done.stdout == "1 1\n"
    assert "since 1 CPU can be used" in done.stderr
