"""Running commands: what they see, what is taken from them, and every way that one can fail."""

import math
import time
from pathlib import Path

import pytest

from kamerton_ray import InvalidInputError
from kamerton_ray.command import CommandOptions, Runner

CONFIG = {"intra_op": 2, "inter_op": 1, "KNOB": 3}


@pytest.fixture
def measure(tmp_path):
    """Run a command once; its result."""
    runners = []

    def go(*argv, config=CONFIG, **options):
        runner = Runner(CommandOptions(argv=argv, **options), str(tmp_path))
        runners.append(runner)
        return runner.measure(config)

    yield go
    for runner in runners:
        runner.close()


def shell(code):
    return "sh", "-c", code


def test_the_configuration_is_in_the_environment(measure):
    code = "echo $TF_NUM_INTRAOP_THREADS$TF_NUM_INTEROP_THREADS$KNOB$MINE"
    result = measure(*shell(code), objective="last", env={"MINE": "7"})
    assert result["objective"] == 2137
    assert result["outcome"] == "ok"


def test_it_runs_where_it_is_told_to(measure, tmp_path):
    measure(*shell("touch here"))
    assert (tmp_path / "here").exists()


def test_the_time_is_from_start_to_end(measure):
    result = measure("sleep", "0.3")
    assert result["objective"] == result["seconds"] >= 0.3


@pytest.mark.parametrize(
    ("printed", "objective", "number"),
    [
        ("a 1 b 2.5 c", "last", 2.5),
        ("-3e-2 s", "last", -0.03),
        ("5\\nand no number", "last", 5),
        ("rate: 7/s\\nrate: 8/s", r"rate: (\d+)", 8),
        ("x=1.5", r"[\d.]+$", 1.5),
        ("p99 4 ms\\nrest 5", r"^p99 (\d+)", 4),
    ],
)
def test_the_objective_is_found_in_what_is_printed(measure, printed, objective, number):
    assert measure(*shell(f"printf -- '{printed}\\n'"), objective=objective)["objective"] == number


def test_the_standard_error_is_looked_at_second(measure):
    assert measure(*shell("echo 5 >&2"), objective="last")["objective"] == 5
    assert measure(*shell("echo 5 >&2; echo 4"), objective="last")["objective"] == 4


@pytest.mark.parametrize(
    ("code", "outcome", "named"),
    [
        ("echo sorry >&2; exit 3", "exited", "sorry"),
        ("kill -SEGV $$", "signalled", "SIGSEGV"),
        ("kill -KILL $$", "signalled", "SIGKILL"),
        ("sleep 1000", "timeout", "2 s"),
        ("yes", "output_flood", "more than"),
        ("echo no number", "no_objective", "no number is matched"),
    ],
)
def test_a_failure_is_named(measure, code, outcome, named):
    result = measure(*shell(code), objective="last", timeout_s=2.0)
    assert result["outcome"] == outcome
    assert named in result["error"]
    assert math.isnan(result["objective"])


def test_a_command_that_does_not_exist_is_named(measure):
    result = measure("no-such-command")
    assert result["outcome"] == "exited"
    assert "no-such-command: No such file or directory" in result["error"]


def test_nothing_that_a_command_starts_outlives_it(measure, tmp_path):
    measure(*shell("setsid sleep 1000 & echo $! > pid; sleep 0.2; exit 0"))
    pid = (tmp_path / "pid").read_text().strip()
    deadline = time.monotonic() + 10
    while Path("/proc", pid).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("times", [1, 2])
def test_a_lost_launcher_is_replaced_once(measure, times, tmp_path):
    lives = "".join(
        f"test -e {n} || {{ touch {n}; kill -KILL $PPID; sleep 9; }};" for n in range(times)
    )
    result = measure(*shell(f"{lives} echo 5"), objective="last")
    assert len(list(tmp_path.iterdir())) == times
    assert result["outcome"] == ("ok" if times == 1 else "server_lost")
    assert "the process that forks the attempts ended" in result["restarted"]


def test_after_a_failure_the_next_run_works():
    runner = Runner(CommandOptions(argv=shell("test $KNOB = 1 && echo 5"), objective="last"))
    try:
        found = [runner.measure({"KNOB": knob})["outcome"] for knob in (2, 1, 2, 1)]
    finally:
        runner.close()
    assert found == ["exited", "ok", "exited", "ok"]


def test_a_round_runs_in_the_order_asked_and_the_default_without_any_variable(tmp_path):
    code = "echo ${KNOB-none} >> log; echo ${TF_NUM_INTRAOP_THREADS-none} >> log; echo 5"
    runner = Runner(CommandOptions(argv=shell(code), objective="last"), str(tmp_path))
    try:
        found = runner.measure_round([CONFIG, None, {"KNOB": 4}])
    finally:
        runner.close()
    assert (tmp_path / "log").read_text().split() == ["3", "2", "none", "none", "4", "none"]
    assert [result["objective"] for result in found] == [5, 5, 5]


def test_the_machine_is_named(measure):
    machine = measure("true")["machine"]
    assert machine["usable_cpus"] >= 1
    assert machine["cpu_model"]


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"argv": ()}, "a command must be"),
        ({"argv": ("a", 1)}, "a command must be"),
        ({"argv": ("a",), "timeout_s": 0}, "timeout_s"),
        ({"argv": ("a",), "objective": "("}, "regular expression"),
        ({"argv": ("a",), "objective": "(a)(b)"}, "at most one group"),
    ],
)
def test_a_bad_option_is_refused(options, rule):
    with pytest.raises(InvalidInputError, match=rule):
        CommandOptions(**options)
