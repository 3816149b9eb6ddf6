"""Running commands: what they see, what is taken from them, and every way that one can fail."""

import math
import shlex
import sys
import time
from pathlib import Path

import pytest

from kamerton_ray import InvalidInputError
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.command import CommandOptions, Runner
from kamerton_ray.trial.reading import Direction, read_as
from kamerton_ray.trial.result import Result

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
    assert result.objective == 2137
    assert result.outcome is Outcome.OK


def test_it_runs_where_it_is_told_to(measure, tmp_path):
    measure(*shell("touch here"))
    assert (tmp_path / "here").exists()


SPIN = "import time\nwhile time.process_time() < 0.4: pass"


def test_what_a_program_takes_of_the_cpus_is_counted_with_those_that_it_waits_for(measure):
    result = measure(sys.executable, "-c", SPIN)
    assert result.cpu_seconds >= 0.4
    assert result.cpus == pytest.approx(result.cpu_seconds / result.seconds)
    assert measure(*shell(f"{sys.executable} -c '{SPIN}'; echo 1"), objective="last").cpus > 0.1
    assert measure("sleep", "0.5").cpus < 0.1


def test_of_instances_it_is_what_each_takes(measure):
    two = measure(sys.executable, "-c", SPIN, config={**CONFIG, "instances": 2})
    assert 0.4 <= two.cpu_seconds < 0.8
    assert two.cpus == pytest.approx(2 * two.cpu_seconds / two.seconds)


def test_the_time_is_from_start_to_end(measure):
    result = measure("sleep", "0.3")
    assert result.objective == result.seconds >= 0.3


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
    assert measure(*shell(f"printf -- '{printed}\\n'"), objective=objective).objective == number


@pytest.mark.parametrize(
    ("printed", "objective", "read", "line", "others"),
    [
        (
            "v 2\\nrows: 204.50/s\\nno number\\nn 3",
            r"rows: (\S+)/s",
            "204.50",
            "rows: 204.50/s",
            "v 2,n 3",
        ),
        ("took 1e1 s in 7", "last", "7", "took 1e1 s in 7", ""),
        ("1\\n2", r"^1$", "1", "1", "2"),
        ("10 %%\\r20 %%\\n5", "last", "5", "5", "10 %,20 %"),
    ],
)
def test_where_the_number_was_read_is_kept_as_it_was_printed(
    measure, printed, objective, read, line, others
):
    result = measure(*shell(f"printf '{printed}\n'"), objective=objective)
    assert (result.read, result.line) == (read, line)
    assert ",".join(result.other_lines) == others


def test_of_a_long_line_the_part_around_the_number_is_kept(measure):
    result = measure(*shell("printf 'x%.0s' $(seq 9000); echo ' p99 5'"), objective="last")
    assert result.line.endswith("xx p99 5")
    assert len(result.line) < 100


def test_a_time_is_read_from_no_line(measure):
    result = measure("true")
    assert read_as(result, Direction.ASSUMED) == result.line == ""


@pytest.mark.parametrize(
    ("line", "pattern", "number"),
    [
        ("Throughput: 60.2 images/sec", "'Throughput: ([0-9.]+)'", 60.2),
        ("p50 12 ms, 30 req/s", "'ms, ([0-9.]+) req/s'", 30),
        ("3 of 4: QPS=99.5", "': QPS=([0-9.]+)'", 99.5),
        ("100%|##| 60/60 [00:03<00:00, 15.28it/s]", "', ([0-9.]+)it/s'", 15.28),
        ("images per second (mean): 12.3 [x]", r"'images per second \(mean\): ([0-9.]+)'", 12.3),
    ],
)
def test_a_rate_that_is_printed_may_count_instead_of_the_time(measure, line, pattern, number):
    result = measure("printf", "%s\n", "epoch 1", line, "done 1")
    said = read_as(result, Direction.ASSUMED)
    assert result.objective == result.seconds
    assert said.endswith(f'--objective {pattern} --maximize counts its "{line}" instead')
    again = measure("printf", "%s\n", line, objective=shlex.split(pattern)[0])
    assert again.objective == number


@pytest.mark.parametrize(
    "line",
    ["loss 0.3", "Throughput: 1,234.5 images/sec", "throughput: 1,234", "QPS 1e3", "Throughput:"],
)
def test_what_may_be_no_rate_is_not_offered(measure, line):
    assert read_as(measure("echo", line), Direction.ASSUMED) == ""


def test_the_threads_of_a_program_and_what_it_starts_are_counted(measure):
    wait = "import threading, time; [threading.Timer(3, print).start() for _ in range(KNOB)]"
    python = shlex.quote(sys.executable)
    code = f"{python} -c '{wait}' & {python} -c '{wait}'; wait; true".replace("KNOB", "$KNOB")
    result = measure(*shell(code.replace("'", '"')))
    assert result.threads == 1 + 2 * (1 + CONFIG["KNOB"])
    assert measure("true").threads == 0


def test_what_the_default_is_in_the_programs_environment_is_in_the_result(measure):
    machine = measure("true", env={"TF_NUM_INTRAOP_THREADS": "1000"}).machine
    assert machine.default_intra_op == machine.default_threads["intra_op"] == 1000
    assert machine.default_inter_op == 0


def test_what_is_no_finite_number_is_passed_over(measure):
    assert measure(*shell("echo loss 5; echo loss nan"), objective="loss (.*)").objective == 5


def test_an_output_without_the_number_is_shown(measure):
    error = measure(*shell("echo one; echo two 2"), objective="p99 (.*)").error
    assert "no number is matched by 'p99 (.*)'" in error
    assert error.endswith("Its last lines of stdout:\none\ntwo 2")
    error = measure("true", objective="last").error
    assert error.endswith("It printed nothing to stdout.")


@pytest.mark.parametrize(
    "text",
    [
        "rows per second: 204",
        "204 images/s",
        "204 img / sec",
        "words_per_second=204",
        "Throughput 204",
        "avg_fps: 204",
        "QPS 204",
        "it/s 3",
        "MB/min 3",
    ],
)
def test_of_a_rate_it_must_be_said_which_numbers_are_better(text):
    doubt = Direction.ASSUMED.doubt(text)
    assert text in doubt
    assert "--maximize" in doubt
    assert "--minimize" in doubt
    assert Direction.LOWER.doubt(text) == Direction.HIGHER.doubt(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "took 12 s",
        "p99: 3 ms/step",
        "loss 0.3",
        "1.2 s/it",
        "s3://bucket/s3/x 4",
        "offset 3",
        "per step 4",
    ],
)
def test_what_is_no_rate_is_not_asked_about(text):
    assert Direction.ASSUMED.doubt(text) == ""


@pytest.mark.parametrize(
    ("line", "direction", "meant"),
    [
        ("took 204 s", Direction.ASSUMED, "no (--maximize)"),
        ("204 rows/s", Direction.ASSUMED, "? (--maximize or --minimize)"),
        ("204 rows/s", Direction.LOWER, "no (--minimize)"),
        ("204 rows/s", Direction.HIGHER, "yes (--maximize)"),
    ],
)
def test_what_was_read_and_how_it_is_meant_is_said(line, direction, meant):
    said = read_as(Result(read="204", line=line), direction)
    assert said == f'reading 204 from "{line}"; higher is better: {meant}'


def test_the_standard_error_is_looked_at_second(measure):
    assert measure(*shell("echo 5 >&2"), objective="last").objective == 5
    assert measure(*shell("echo 5 >&2; echo 4"), objective="last").objective == 4


@pytest.mark.parametrize(
    ("code", "outcome", "named"),
    [
        ("echo sorry >&2; exit 3", Outcome.EXITED, "sorry"),
        ("kill -SEGV $$", Outcome.SIGNALLED, "SIGSEGV"),
        ("kill -KILL $$", Outcome.SIGNALLED, "SIGKILL"),
        ("sleep 998", Outcome.TIMEOUT, "2 s"),
        ("yes", Outcome.OUTPUT_FLOOD, "more than"),
        ("echo no number", Outcome.NO_OBJECTIVE, "no number is matched"),
    ],
)
def test_a_failure_is_named(measure, code, outcome, named):
    result = measure(*shell(code), objective="last", timeout_s=2.0)
    assert result.outcome is outcome
    assert named in result.error
    assert math.isnan(result.objective)


def test_a_command_that_does_not_exist_is_named(measure):
    result = measure("no-such-command")
    assert result.outcome is Outcome.EXITED
    assert "no-such-command: No such file or directory" in result.error


def test_nothing_that_a_command_starts_outlives_it(measure, tmp_path):
    measure(*shell("setsid sleep 998 & echo $! > pid; sleep 0.2; exit 0"))
    pid = (tmp_path / "pid").read_text().strip()
    deadline = time.monotonic() + 10
    while Path("/proc", pid).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("times", [1, 2])
def test_a_lost_nest_is_replaced_once(measure, times, tmp_path):
    lives = "".join(
        f"test -e {n} || {{ touch {n}; kill -KILL $PPID; sleep 9; }};" for n in range(times)
    )
    result = measure(*shell(f"{lives} echo 5"), objective="last")
    assert len(list(tmp_path.iterdir())) == times
    assert result.outcome is (Outcome.OK if times == 1 else Outcome.SERVER_LOST)
    assert "the process that forks the attempts ended" in result.restarted


def test_after_a_failure_the_next_run_works():
    runner = Runner(CommandOptions(argv=shell("test $KNOB = 1 && echo 5"), objective="last"))
    try:
        found = [runner.measure({"KNOB": knob}).outcome for knob in (2, 1, 2, 1)]
    finally:
        runner.close()
    assert found == [Outcome.EXITED, Outcome.OK] * 2


def test_a_round_runs_in_the_order_asked_and_the_default_without_any_variable(tmp_path):
    code = "echo ${KNOB-none} >> log; echo ${TF_NUM_INTRAOP_THREADS-none} >> log; echo 5"
    runner = Runner(CommandOptions(argv=shell(code), objective="last"), str(tmp_path))
    try:
        found = runner.measure_round([CONFIG, None, {"KNOB": 4}])
    finally:
        runner.close()
    assert (tmp_path / "log").read_text().split() == ["3", "2", "none", "none", "4", "none"]
    assert [result.objective for result in found] == [5, 5, 5]


def test_the_machine_is_named(measure):
    machine = measure("true").machine
    assert machine.usable_cpus >= 1
    assert machine.cpu_model


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
