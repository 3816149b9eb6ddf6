"""Several instances of a program at the same time: what they come to, and how one of them fails."""

import math
import os
import re
import sys
import time
from multiprocessing.connection import wait
from pathlib import Path

import psutil
import pytest

from kamerton_ray import InvalidInputError
from kamerton_ray.process import attempt as attempt_module
from kamerton_ray.process.attempt import each_found
from kamerton_ray.process.command_nest import CommandNest
from kamerton_ray.process.messages import StartCommand
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.command import CommandOptions, Runner
from kamerton_ray.trial.instances import SHARED, Combine
from kamerton_ray.trial.result import Result
from kamerton_ray.trial.script import Script, ScriptRunner
from kamerton_ray.tune.ending import why_stop
from kamerton_ray.tune.goal import Goal

TWO = {"instances": 2, "intra_op": 1, "inter_op": 1}
FIRST = 'test "$KAMERTON_RAY_INSTANCE" = 0'
UNTIL = "while ! test -e {}; do sleep 0.01; done"
"""In a shell: wait for a file."""

LOOP = """
import os, sys
from kamerton_ray import kamerton
number = int(os.environ["KAMERTON_RAY_INSTANCE"])
for attempt in kamerton(vertex=[2, 1], bounds=[(1, 4), (1, 4)], timeout=20):
    {body}
"""


@pytest.fixture
def measure(tmp_path):
    """Run instances of a shell's command once; their result."""
    runners = []

    def go(code, config=TWO, **options):
        usual = {"objective": "last", "combine": Combine.SUM, "timeout_s": 20, "patience_s": 0}
        command = CommandOptions(argv=("sh", "-c", code), **{**usual, **options})
        runners.append(runner := Runner(command, str(tmp_path)))
        return runner.measure(config)

    yield go
    for runner in runners:
        runner.close()


@pytest.fixture
def loop(tmp_path):
    """Run instances of a loop's body once; their result."""
    runners = []

    def go(body, config=TWO, **options):
        path = tmp_path / "script.py"
        path.write_text(LOOP.format(body=body))
        names = ("intra_op", "inter_op")
        runner = ScriptRunner(Script(path=str(path)), names=names, timeout_s=20, **options)
        runners.append(runner)
        return runner.measure(config)

    yield go
    for runner in runners:
        runner.close()


@pytest.fixture
def _nothing_left():
    """No process that was not there before stays, but the nests, which are closed later."""
    before = set(psutil.Process().children(recursive=True))
    yield
    added = set(psutil.Process().children(recursive=True)) - before
    # A nest is our own child; what it has started is not.
    assert [one for one in added if one.ppid() != os.getpid()] == []


@pytest.mark.parametrize(
    ("combine", "number"),
    [(Combine.SUM, 7), (Combine.SLOWEST, 4), (Combine.PER_PROGRAM, 2)],
)
def test_what_the_instances_print_comes_to_one_number(measure, loop, combine, number):
    result = measure("echo $((KAMERTON_RAY_INSTANCE + 3))", combine=combine)
    assert result.objective == number
    assert (result.read, result.line) == ("3", "3")
    assert loop("print(number + 3)", combine=combine).objective == number


def test_nothing_comes_of_numbers_of_which_one_is_missing():
    assert all(math.isnan(one.of([1.0, math.nan])) for one in Combine)


def test_of_a_time_the_slowests_share_counts(measure):
    result = measure(f"{FIRST} || sleep 0.3", objective="time", combine=None)
    assert result.seconds >= 0.3
    assert result.objective == result.number("seconds_per_program") == result.seconds / 2
    slowest = measure("true", objective="time", combine=Combine.SLOWEST)
    assert slowest.objective == slowest.seconds


@pytest.mark.parametrize(
    ("config", "seen"),
    [
        (TWO, ["0 of 2", "1 of 2"]),
        ({**TWO, "instances": 1}, ["0 of 1"]),
        ({"intra_op": 1, "inter_op": 1}, ["none of none"]),
    ],
)
def test_each_is_told_its_number_where_instances_are_tuned(measure, tmp_path, config, seen):
    code = "echo ${KAMERTON_RAY_INSTANCE-none} of ${KAMERTON_RAY_INSTANCES-none} >> seen; echo 1"
    assert measure(code, config).outcome is Outcome.OK
    assert sorted((tmp_path / "seen").read_text().splitlines()) == seen


def test_the_default_is_told_that_it_is_one_where_the_others_are_more(tmp_path):
    code = "echo $KAMERTON_RAY_INSTANCE ${TF_NUM_INTRAOP_THREADS-none} >> seen; echo 5"
    options = CommandOptions(argv=("sh", "-c", code), objective="last", combine=Combine.SUM)
    runner = Runner(options, str(tmp_path))
    try:
        found = runner.measure_round([None, TWO])
    finally:
        runner.close()
    assert [one.objective for one in found] == [5, 10]
    assert sorted((tmp_path / "seen").read_text().splitlines()) == ["0 1", "0 none", "1 1"]


def test_they_run_at_the_same_time(measure, loop):
    others = "$((1 - KAMERTON_RAY_INSTANCE))"
    code = f"touch $KAMERTON_RAY_INSTANCE; {UNTIL.format(others)}; echo 1"
    assert measure(code).objective == 2
    body = (
        "import pathlib, time; here = pathlib.Path(__file__).parent; (here / f'l{number}').touch()"
        "\n    while not (here / f'l{1 - number}').exists(): time.sleep(0.01)\n    print(1)"
    )
    assert loop(body).objective == 1


@pytest.mark.parametrize("first", [0, 1])
def test_what_one_prints_is_read_while_another_is_waited_for(measure, first):
    much = "yes 'some text' | head -c 3000000; echo; touch done"
    mine = f'test "$KAMERTON_RAY_INSTANCE" = {first}'
    result = measure(f"if {mine}; then {much}; else {UNTIL.format('done')}; {much}; fi; echo 7")
    assert result.objective == 14


@pytest.mark.usefixtures("_nothing_left")
@pytest.mark.parametrize(
    ("code", "outcome", "named", "hint"),
    [
        (f"{FIRST} && sleep 990; echo sorry >&2; exit 3", Outcome.EXITED, "sorry", True),
        (f"{FIRST} || {{ echo sorry >&2; exit 3; }}; echo 5", Outcome.EXITED, "sorry", True),
        (f"{FIRST} && sleep 991; echo none", Outcome.NO_OBJECTIVE, "no number is matched", True),
        (f"{FIRST} && sleep 992; kill -SEGV $$", Outcome.SIGNALLED, "SIGSEGV", False),
        (f"{FIRST} && sleep 993; yes", Outcome.OUTPUT_FLOOD, "more than", False),
    ],
)
def test_one_that_fails_ends_them_all_and_is_named(measure, code, outcome, named, hint):
    result = measure(code, timeout_s=200)
    assert result.outcome is outcome
    assert result.error.startswith(f"instance 2 of 2: {outcome.value}\n")
    assert named in result.error
    assert result.error.endswith(SHARED) is hint
    assert math.isnan(result.objective)
    assert math.isnan(result.seconds)


def test_where_all_fail_it_is_not_said_that_they_share(measure):
    for config in (TWO, {**TWO, "instances": 3}):
        result = measure("exit 3", config)
        assert "instance " in result.error
        assert SHARED not in result.error
    assert measure("exit 3", {**TWO, "instances": 1}).error.startswith("the process exited")


@pytest.mark.usefixtures("_nothing_left")
@pytest.mark.parametrize(
    ("code", "which", "hint"),
    [(f"{FIRST} || sleep 994; echo 5", 2, True), ("sleep 995", 1, False)],
)
def test_one_that_hangs_is_ended(measure, code, which, hint):
    result = measure(code, timeout_s=1.0)
    assert result.outcome is Outcome.TIMEOUT
    assert result.error.startswith(f"instance {which} of 2: ")
    assert (SHARED in result.error) is hint


@pytest.mark.usefixtures("_nothing_left")
def test_one_that_is_killed_from_outside_is_named(measure):
    kills = f"{UNTIL.format('pid')}; kill -KILL $(cat pid); sleep 996"
    result = measure(f"if {FIRST}; then {kills}; else echo $$ > new; mv new pid; sleep 997; fi")
    assert result.outcome is Outcome.SIGNALLED
    assert result.error == "instance 2 of 2: the process was ended by a signal\nby SIGKILL"


def test_a_lost_nest_is_replaced(measure, tmp_path):
    lives = f"{FIRST} && ! test -e killed && {{ touch killed; kill -KILL $PPID; exec sleep 998; }}"
    result = measure(f"{lives}; echo 5")
    assert (tmp_path / "killed").exists()
    assert result.objective == 10
    assert "the process that forks the attempts ended" in result.restarted


@pytest.mark.usefixtures("_nothing_left")
def test_a_body_that_fails_is_named_too(loop):
    result = loop("import time; number or time.sleep(998); raise OSError('in use')")
    assert result.outcome is Outcome.BODY_RAISED
    assert result.error.startswith("instance 2 of 2: ")
    assert result.error.endswith(f"OSError: in use\n{SHARED}")


def test_a_body_that_leaves_its_loop_ends_the_search(loop):
    result = loop("print(1)\n    if number: break")
    assert result.left
    assert result.objective == 1


def test_a_constant_is_seen_though_its_sum_grows_with_the_instances():
    goal = Goal(space={}, starts=[], metric="objective", mode="max")

    def stop(*counts):
        found = [
            Result(config={"instances": n, "intra_op": i}, objective=32.0 * n, line="32", read="32")
            for i, n in enumerate(counts)
        ]
        return why_stop(found[-1], found, goal, lambda _: "")

    assert "with every one it is 32" in stop(1, 2, 2, 1, 1).reason
    assert stop(1, 2, 1, 2) is None


def test_copies_that_would_not_fit_into_memory_are_not_started(tmp_path):
    """What one copy holds is known once one has run; of several whose first it is, nothing is."""
    log = tmp_path / "log"
    code = f"open({str(log)!r}, 'a').write('x'); held = b'x' * (100 << 20); print(len(held))"
    argv = (sys.executable, "-IS", "-c", code)
    runner = Runner(CommandOptions(argv=argv, combine=Combine.SUM, objective="last", patience_s=0))
    try:
        assert runner.measure({**TWO, "instances": 1}).outcome is Outcome.OK
        found = runner.measure({**TWO, "instances": 4000})
    finally:
        runner.close()
    assert found.outcome is Outcome.NO_ROOM
    assert re.search(r"4000 instances may need \d+\.\d GB, and \d+\.\d GB are left", found.error)
    assert log.read_text() == "x"


def test_an_end_that_is_read_while_another_one_is_asked_is_not_waited_for(monkeypatch):
    """All that the first says is read but its end, which is read when the other one is asked."""
    nest, asked = CommandNest(), []

    def look(attempt):
        asked.append(attempt)
        time.sleep(0.3)
        if len(asked) == 1:
            attempt._inbox.fill()
            attempt._outputs.drain()
            return None
        while not all(one._nest.ended(one.pid, 0.05) for one in attempts):
            continue
        return attempt.finished() or None

    def waits(sources, timeout):
        assert timeout == 0, "there is nothing left to wait for"
        return wait(sources, timeout)

    monkeypatch.setattr(attempt_module, "wait", waits)
    commands = [StartCommand(["true"], dict(os.environ), None)] * 2
    try:
        with nest.started(commands) as attempts:
            assert dict(each_found(attempts, look, 5)) == dict.fromkeys(attempts, True)
    finally:
        nest.close()


def test_a_hundred_pairs_leave_no_process_and_no_descriptor():
    runner = Runner(CommandOptions(argv=("true",), patience_s=0))
    try:
        runner.measure(TWO)
        files = len(os.listdir("/proc/self/fd"))
        assert all(runner.measure(TWO).outcome is Outcome.OK for _ in range(100))
        assert len(os.listdir("/proc/self/fd")) == files
        nest = runner._nest._nest.pid
        assert psutil.Process(nest).children() == []
    finally:
        runner.close()
    deadline = time.monotonic() + 10
    while Path("/proc", str(nest)).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True, None])
def test_what_is_no_number_of_instances_is_refused(measure, loop, count):
    rule = "instances must be an integer from 1 to 4096, but got"
    with pytest.raises(InvalidInputError, match=rule):
        measure("echo 5", {"instances": count})
    with pytest.raises(InvalidInputError, match=rule):
        loop("print(1)", {**TWO, "instances": count})


def test_of_printed_numbers_it_must_be_said_what_they_come_to(measure):
    with pytest.raises(InvalidInputError, match="combine must say"):
        measure("echo 5", {**TWO, "instances": 1}, combine=None)
    assert measure("echo 5", {"intra_op": 1}, combine=None).objective == 5


@pytest.mark.parametrize("combine", ["sum", Combine.SUM])
def test_a_way_to_combine_that_there_is_not_is_refused(combine):
    with pytest.raises(InvalidInputError, match="combine must"):
        CommandOptions(argv=("true",), combine=combine)
