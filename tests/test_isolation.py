"""Attempts in real processes: what each kind of failure is called, and that nothing is left."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cloudpickle
import pytest

from kamerton_ray.machine.threads import Threading
from kamerton_ray.process.attempt import OUTPUT_LIMIT, oom_kills
from kamerton_ray.process.messages import StepSeconds
from kamerton_ray.process.model_nest import ModelAttempt, ModelNest
from kamerton_ray.process.outcome import AttemptError, Outcome
from kamerton_ray.trial.instances import all_found

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@contextlib.contextmanager
def an_attempt(build, *, config=None, timeout=30.0, tensorflow=False, **options):
    """An attempt in a nest that knows nothing of TensorFlow, unless it is told."""
    nest = ModelNest(
        cloudpickle.dumps(build), env=options.pop("env", dict(os.environ)), tensorflow=tensorflow
    )
    try:
        with nest.attempt(Threading(1, 1), config, timeout=timeout) as attempt:
            yield attempt
    finally:
        nest.close()


def built(attempt):
    """Wait until it has built its step and run a first one."""
    all_found([attempt], ModelAttempt.built, attempt.build_timeout)
    all_found([attempt], ModelAttempt.done, attempt.timeout)


def run(attempt, steps):
    """The seconds of so many steps."""
    attempt.start(steps)
    return attempt.answer(StepSeconds, attempt.timeout).seconds


def failure(build, *, steps=1, **options):
    """The error that an attempt ends with, and its standard error."""
    with an_attempt(build, **options) as attempt, pytest.raises(AttemptError) as caught:
        built(attempt)
        run(attempt, steps)
    return caught.value


def descendants():
    return {
        int(p) for t in Path("/proc/self/task").glob("*/children") for p in t.read_text().split()
    }


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_steps_are_run_and_timed_in_the_attempt():
    def build():
        return lambda: time.sleep(0.01)

    with an_attempt(build) as attempt:
        built(attempt)
        seconds = run(attempt, 5)
    assert len(seconds) == 5
    assert all(second >= 0.01 for second in seconds)


def test_a_long_block_reports_runs_of_steps():
    with an_attempt(lambda: lambda: None) as attempt:
        built(attempt)
        assert 1000 <= len(run(attempt, 1_000_000)) <= 2000


def test_build_with_a_parameter_gets_the_configuration():
    def build(config):
        if config != {"batch": 8, "object": {1, 2}}:
            raise AssertionError(config)
        return lambda: None

    with an_attempt(build, config={"batch": 8, "object": {1, 2}}) as attempt:
        built(attempt)


def test_each_attempt_is_a_process_group_of_its_own():
    with an_attempt(lambda: lambda: None) as attempt:
        built(attempt)
        assert os.getpgid(attempt.pid) == attempt.pid != os.getpgid(0)


def test_the_attempt_has_the_given_environment_alone():
    def build():
        if os.environ.get("ASKED") != "yes" or "HOME" in os.environ:
            raise AssertionError(dict(os.environ))
        return lambda: None

    with an_attempt(build, env={"ASKED": "yes"}) as attempt:
        built(attempt)


def test_an_exception_in_build_comes_with_its_traceback():
    def build():
        print("said before", file=sys.stderr)
        raise ValueError("no such layer")

    error = failure(build)
    assert error.outcome is Outcome.BUILD_RAISED
    assert "ValueError: no such layer" in error.detail
    assert "in build" in error.detail
    assert error.stderr == "said before"


def test_an_exception_in_step_comes_with_its_traceback():
    def build():
        def step():
            raise ZeroDivisionError("in the middle")

        return step

    error = failure(build)
    assert error.outcome is Outcome.STEP_RAISED
    assert "ZeroDivisionError: in the middle" in error.detail


def test_a_model_that_sets_other_threads_than_the_trial_fails():
    def build(config):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(config["intra_op"])
        return lambda: tf.constant(1)

    with an_attempt(build, config={"intra_op": 1}, tensorflow=True) as attempt:
        built(attempt)  # the trial has set one thread, too
    error = failure(build, config={"intra_op": 3}, tensorflow=True)
    assert error.outcome is Outcome.NO_EFFECT
    assert error.detail == (
        "the model sets intra_op=3 inter_op=1 in place of the trial's intra_op=1 inter_op=1: leave "
        "tf.config.threading out of it"
    )


def test_build_must_return_a_callable():
    error = failure(lambda: 42)
    assert error.outcome is Outcome.WRONG_RETURN
    assert "42 of type int" in error.detail


@pytest.mark.parametrize("code", [0, 3])
def test_an_exit_is_named_with_its_code(code):
    error = failure(lambda: sys.exit(code))
    assert error.outcome is Outcome.EXITED
    assert error.detail == f"with code {code}"


def test_a_hard_exit_in_step_is_named_with_its_code():
    error = failure(lambda: lambda: os._exit(7))
    assert (error.outcome, error.detail) == (Outcome.EXITED, "with code 7")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM])
def test_a_signal_is_named(number):
    error = failure(lambda: lambda: os.kill(os.getpid(), number))
    assert (error.outcome, error.detail) == (Outcome.SIGNALLED, f"by {number.name}")


def test_running_out_of_memory_is_named():
    def build():
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        return lambda: bytearray(4 << 30)

    assert failure(build).outcome is Outcome.OUT_OF_MEMORY


def test_the_kernels_memory_kills_are_counted(tmp_path):
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("nr_free_pages 5\noom_kill 17\noom_kill_other 3\n")
    assert oom_kills(vmstat) == 17
    assert oom_kills(tmp_path / "missing") == 0


def test_a_hang_ends_at_the_timeout_with_the_whole_process_group():
    def build():
        def step():
            subprocess.Popen(["sleep", "1000"])
            time.sleep(1000)

        return step

    error = failure(build, timeout=1.0)
    assert (error.outcome, error.detail) == (Outcome.TIMEOUT, "of 1 s")
    assert wait_until(lambda: not _sleepers())


def _sleepers():
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes() == b"sleep\x001000\x00":
                found.append(path)
    return found


def test_a_flood_of_output_is_stopped():
    def build():
        def step():
            while True:
                os.write(1, b"x" * 65536)

        return step

    error = failure(build, timeout=120.0)
    assert error.outcome is Outcome.OUTPUT_FLOOD
    assert str(OUTPUT_LIMIT) in error.detail


def test_output_that_is_no_flood_does_not_disturb():
    def build():
        def step():
            os.write(1, b"{}\n" * 10000)
            os.write(2, b"[1, 2]\n" * 10000)

        return step

    with an_attempt(build) as attempt:
        built(attempt)
        assert len(run(attempt, 20)) == 20


def test_a_result_written_by_hand_is_malformed():
    def build():
        def step():
            for fd in range(3, 64):
                with contextlib.suppress(OSError):
                    os.write(fd, b"\x00\x00\x00\x05hello")

        return step

    assert failure(build).outcome in {Outcome.MALFORMED, Outcome.EXITED}


def test_a_step_that_forks_does_not_answer_twice():
    def build():
        def step():
            os.fork()

        return step

    with an_attempt(build) as attempt:
        built(attempt)
        assert len(run(attempt, 3)) == 3
        assert len(run(attempt, 1)) == 1


def test_processes_in_another_session_are_ended_with_the_attempt():
    def build():
        pid = os.fork()
        if pid == 0:
            os.setsid()
            time.sleep(1000)
        return lambda: None

    with an_attempt(build) as attempt:
        built(attempt)
    assert attempt.strays == 1


def test_the_module_that_cannot_be_imported_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('half installed')\n")
    good = tmp_path / "good"
    good.mkdir()
    (good / "broken_module.py").write_text("def build():\n    return lambda: None\n")
    monkeypatch.syspath_prepend(str(good))
    import broken_module

    pickled = cloudpickle.dumps(broken_module.build)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(AttemptError, match="half installed") as caught:
        ModelNest(pickled, env=dict(os.environ), tensorflow=False)
    assert caught.value.outcome is Outcome.BUILD_RAISED


def test_a_killed_nest_is_named_and_takes_its_attempts_along():
    nest = ModelNest(
        cloudpickle.dumps(lambda: lambda: None), env=dict(os.environ), tensorflow=False
    )
    attempt = nest.attempt(Threading(1, 1), timeout=30.0)
    built(attempt)
    os.kill(nest.pid, signal.SIGKILL)
    assert wait_until(lambda: gone(attempt.pid))
    with pytest.raises(AttemptError) as caught:
        run(attempt, 1)
    assert caught.value.outcome in {Outcome.SERVER_LOST, Outcome.SIGNALLED}
    with pytest.raises(AttemptError) as caught:
        nest.attempt(Threading(1, 1), timeout=30.0)
    assert caught.value.outcome is Outcome.SERVER_LOST
    assert "SIGKILL" in caught.value.detail
    attempt.close()
    nest.close()


def test_a_nest_and_its_attempts_end_with_the_process_that_started_them():
    script = """
import os, sys, time, cloudpickle
from kamerton_ray.machine.threads import Threading
from kamerton_ray.process.messages import Built
from kamerton_ray.process.model_nest import ModelNest
nest = ModelNest(cloudpickle.dumps(lambda: (lambda: time.sleep(1000))), env=dict(os.environ),
                tensorflow=False)
attempt = nest.attempt(Threading(1, 1), timeout=1000.0)
attempt.answer(Built, 30)
print(nest.pid, attempt.pid, flush=True)
time.sleep(1000)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as owner:
        nest, attempt = map(int, owner.stdout.readline().split())
        assert not gone(nest)
        assert not gone(attempt)
        owner.kill()
    assert wait_until(lambda: gone(nest) and gone(attempt))


def test_200_attempts_leave_no_process_no_descriptor_and_no_zombie():
    def build():
        if os.getpid() % 3 == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        subprocess.Popen(["sleep", "1000"])
        return lambda: None

    nest = ModelNest(cloudpickle.dumps(build), env=dict(os.environ), tensorflow=False)
    nest.attempt(Threading(1, 1), timeout=30.0).close()  # now the nest has set itself up
    before, fds = descendants(), len(os.listdir("/proc/self/fd"))
    in_nest = len(os.listdir(f"/proc/{nest.pid}/fd"))
    for _ in range(200):
        with (
            nest.attempt(Threading(1, 1), timeout=30.0) as attempt,
            contextlib.suppress(AttemptError),
        ):
            built(attempt)
            run(attempt, 1)
    assert len(os.listdir("/proc/self/fd")) < fds + 20  # Ray opens and closes some, too
    assert len(os.listdir(f"/proc/{nest.pid}/fd")) == in_nest
    assert descendants() == before
    listing = Path(f"/proc/{nest.pid}/task/{nest.pid}/children").read_text()
    assert listing.split() == []
    nest.close()
    assert nest.pid not in descendants()
    assert not _sleepers()


# --- a trial is the user's program ---------------------------------------------------------------


def test_no_signal_is_blocked_that_the_caller_blocks():
    def build():
        if blocked := signal.pthread_sigmask(signal.SIG_BLOCK, ()):
            raise AssertionError(blocked)
        return lambda: None

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # as in Ray's workers
    try:
        with an_attempt(build) as attempt:
            built(attempt)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_the_helper_of_a_living_attempt_outlives_other_attempts(tmp_path):
    def build(config):
        if config is not None and os.fork() == 0:  # a helper, which its parent does not wait for
            if os.fork() == 0:
                os.setsid()
                Path(config).write_text(str(os.getpid()))
                time.sleep(1000)
            os._exit(0)
        return lambda: None

    written = tmp_path / "helper"
    nest = ModelNest(cloudpickle.dumps(build), env=dict(os.environ), tensorflow=False)
    with nest.attempt(Threading(1, 1), str(written), timeout=30.0) as attempt:
        built(attempt)
        assert wait_until(lambda: written.exists() and written.read_text())
        helper = int(written.read_text())
        with nest.attempt(Threading(1, 1), timeout=30.0) as other:
            built(other)
        assert other.strays == 0
        assert not gone(helper)
    assert wait_until(lambda: gone(helper))
    nest.close()


def test_after_a_timeout_while_forking_the_next_attempt_is_its_own():
    nest = ModelNest(cloudpickle.dumps(lambda: os.getpid), env=dict(os.environ), tensorflow=False)
    os.kill(nest.pid, signal.SIGSTOP)
    with pytest.raises(AttemptError) as caught:
        nest.fork(timeout=0.2)
    assert caught.value.outcome is Outcome.TIMEOUT
    os.kill(nest.pid, signal.SIGCONT)
    for _ in range(3):
        with nest.attempt(Threading(1, 1), timeout=30.0) as attempt:
            built(attempt)
            assert len(run(attempt, 1)) == 1
    listing = Path(f"/proc/{nest.pid}/task/{nest.pid}/children")
    assert wait_until(lambda: not listing.read_text().split())
    nest.close()


@pytest.mark.parametrize(
    ("sent", "outcome"),
    [
        (b"\x00\x00\x01\x00", Outcome.TIMEOUT),  # the rest never comes
        (b"\x7f\xff\xff\xff", Outcome.MALFORMED),
        (b"\xff\xff\xff\xff", Outcome.MALFORMED),
        (b"\x00\x00\x20\x00" + b"[" * 0x2000, Outcome.MALFORMED),
        (b"\x00\x00\x00\x0e" + b'{"Failed": []}', Outcome.MALFORMED),
    ],
)
def test_what_is_no_message_neither_hangs_nor_harms(sent, outcome):
    def build():
        def step():
            for fd in range(3, 64):
                with contextlib.suppress(OSError):
                    if stat.S_ISSOCK(os.fstat(fd).st_mode):
                        os.write(fd, sent)
            time.sleep(1000)

        return step

    assert failure(build, timeout=2.0).outcome is outcome


def test_a_long_error_in_any_letters_fits_into_its_message(tmp_path, monkeypatch):
    good, bad = tmp_path / "good", tmp_path / "bad"
    works, fails = "def build():\n    return None\n", "raise OSError('ж' * 99999)"
    for folder, code in ((good, works), (bad, fails)):
        folder.mkdir()
        (folder / "wordy_module.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(good))
    import wordy_module

    pickled = cloudpickle.dumps(wordy_module.build)
    monkeypatch.syspath_prepend(str(bad))
    with pytest.raises(AttemptError) as caught:
        ModelNest(pickled, env=dict(os.environ), tensorflow=False)
    assert caught.value.outcome is Outcome.BUILD_RAISED
    assert caught.value.detail.endswith("ж")


def test_a_nests_temporary_folder_goes_with_it(tmp_path, monkeypatch):
    def build():
        tempfile.mkstemp()
        return lambda: None

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with an_attempt(build) as attempt:
        built(attempt)
        assert len(list(tmp_path.glob("*/*"))) == 1
    assert list(tmp_path.iterdir()) == []


# A process of another user, whose helper has stayed root.
UNKILLABLE = """
import encodings.ascii, os, signal, socket, time  # what another user may not read is read now
from kamerton_ray.process.nest import Nest
nest = Nest(socket.socketpair()[0])
if (helper := os.fork()) == 0:
    os.close(1)
    time.sleep(1000)
os.setgid(65534)
os.setuid(65534)
print(helper, nest._kill_strays(), flush=True)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_what_may_not_be_killed_is_not_waited_for():
    done = subprocess.run(
        [sys.executable, "-c", UNKILLABLE], stdout=subprocess.PIPE, timeout=30, check=True
    )
    helper, killed = map(int, done.stdout.split())
    os.kill(helper, signal.SIGKILL)
    assert killed == 0
