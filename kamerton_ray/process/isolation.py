"""Isolation: attempts as children of a clean, warm process, and every way that one can fail.

`Server` is the handle on a process of `worker.py` and `Child` on one attempt in it. Such a child
costs a tenth of a second where a new process that imports TensorFlow costs six to ten. `Keeper` and
`Attempt` are what these have in common with those of Kamerton's loop.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from enum import Enum
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import cloudpickle

from kamerton_ray.errors import KamertonError
from kamerton_ray.machine.environment import user_niceness
from kamerton_ray.machine.hardware import UNKNOWN, Machine
from kamerton_ray.machine.threads import Threading
from kamerton_ray.process.forker import PACKET

OUTPUT_LIMIT = 64 << 20
"""A child that prints more bytes than this is stopped: reading them disturbs the timing."""

TAIL = 4096
"""How many of the last bytes of an output are kept."""

START_TIMEOUT_S = 300.0
"""How long the imports may take; TensorFlow's own takes 6 to 10 s on a slow machine."""

KILL_TIMEOUT_S = 30.0
"""How long a killed process may take to be gone."""

HEAD, CHUNK = 4, 1 << 16
"""So many bytes before a message say how long it is; so many are read of it at once."""

LONGEST_MESSAGE = 1 << 24
"""No child has more to say at once, in bytes: what claims to be longer is no message."""

# The child's modules must be found as they are here, whatever its working directory holds. Ray has
# its processes block SIGINT (ray/_private/services.py, `start_ray_process`), which they inherit.
_BOOT = (
    "import sys; sys.path.pop(0); import json; sys.path[:] = json.loads(sys.argv[2]); "
    "import signal; signal.pthread_sigmask(signal.SIG_SETMASK, ()); "
    "import importlib; importlib.import_module(sys.argv[3]).main(int(sys.argv[1]))"
)


TRACEBACK = "Traceback (most recent call last):"
"""With this Python begins to tell of an exception."""


class Outcome(Enum):
    """How an attempt ended; each value says it in words."""

    OK = "measured"
    BUILD_RAISED = "build raised an exception"
    STEP_RAISED = "step raised an exception"
    BODY_RAISED = "the loop's body raised an exception"
    NO_NUMBER = "the last line that the loop's body prints must be a number"
    NO_OBJECTIVE = "its output does not hold the number that is asked for"
    WRONG_RETURN = "build must return a callable without arguments"
    EXITED = "the process exited"
    SIGNALLED = "the process was ended by a signal"
    OUT_OF_MEMORY = "out of memory"
    TIMEOUT = "it took longer than the timeout"
    OUTPUT_FLOOD = "it printed too much"
    TOO_FAST = "a step is too short to be timed"
    MALFORMED = "the process sent something that is no result"
    SERVER_LOST = "the process that forks the attempts ended"
    LOST = "lost"
    UNKNOWN = "it ended in another way"


_RAISED = {
    "build": Outcome.BUILD_RAISED,
    "step": Outcome.STEP_RAISED,
    "body": Outcome.BODY_RAISED,
}


class AttemptError(KamertonError):
    """An attempt failed.

    Attributes:
        outcome: How.
        detail: The traceback, the exit code or the signal.
        stderr: The last lines that the attempt wrote there.
    """

    def __init__(self, outcome: Outcome, detail: str = "", stderr: str = "") -> None:
        self.outcome, self.detail, self.stderr = outcome, detail.strip(), stderr.strip()
        said = f"Its last lines of stderr:\n{self.stderr}" if self.stderr else ""
        # The last line is the one that is read: an exception's, where there is one.
        parts = (said, self.detail) if TRACEBACK in self.detail else (self.detail, said)
        super().__init__("\n".join(part for part in (outcome.value, *parts) if part))


class Forked(NamedTuple):
    """A forked child: its id, its connection, its standard output and error."""

    pid: int
    connection: Connection
    outputs: tuple[int, int]


class Process(Protocol):
    """What `Keeper` needs of the process that forks: a `subprocess.Popen`, say."""

    pid: int

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit code, or minus the signal."""

    def kill(self) -> None:
        """End it."""


class Keeper:
    """The handle on a process that forks attempts on request, reaps them and says how they ended.

    Args:
        process: The process.
        control: Our end of the control socket of its `Forker`.
    """

    def __init__(self, process: Process, control: socket.socket) -> None:
        self.control = control
        self._process = process
        self._ended: dict[int, dict[str, Any]] = {}
        self._asked = 0
        self._unwanted: set[int] = set()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def forked(self, request: Mapping[str, Any], timeout: float = START_TIMEOUT_S) -> Forked:
        """Have a child forked, which gets to know `request`.

        Raises:
            AttemptError: The process was lost, or did not answer within `timeout` seconds. A child
                that it forks later is ended.
        """
        self._asked += 1
        ours, theirs = socket.socketpair()
        out, their_out = os.pipe()
        err, their_err = os.pipe()
        try:
            packet = json.dumps({**request, "fork": self._asked}).encode()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(self.control, [packet], [theirs.fileno(), their_out, their_err])
            while (notice := self.notice(timeout)).get("fork") != self._asked:
                self._note(notice)
        except BaseException:
            ours.close()
            os.close(out)
            os.close(err)
            raise
        finally:
            theirs.close()
            os.close(their_out)
            os.close(their_err)
        return Forked(notice["forked"], Connection(ours.detach()), (out, err))

    def kill(self, pid: int) -> None:
        """End a child and all of its process group."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.control.send(json.dumps({"kill": pid}).encode())

    def ended(self, pid: int, timeout: float) -> dict[str, Any] | None:
        """How a child ended, or None if it has not within `timeout` seconds.

        Raises:
            AttemptError: The process was lost, and its children with it.
        """
        deadline = time.monotonic() + timeout
        while pid not in self._ended:
            left = deadline - time.monotonic()
            if not wait([self.control], max(left, 0)):
                return None
            self._note(self.notice(0))
        return self._ended[pid]

    def forget(self, pid: int) -> None:
        """Keep no more of a child that has ended."""
        self._ended.pop(pid, None)

    def notice(self, timeout: float) -> dict[str, Any]:
        """The process's next message.

        Raises:
            AttemptError: It is lost, or has sent none within `timeout` seconds.
        """
        if not wait([self.control], timeout):
            raise AttemptError(Outcome.TIMEOUT, f"no answer in {timeout:g} s", self.log())
        try:
            packet = self.control.recv(PACKET)
        except ConnectionResetError:
            packet = b""
        if not packet:
            raise AttemptError(Outcome.SERVER_LOST, self._how_ended(), self.log())
        message: dict[str, Any] = json.loads(packet)
        return message

    def log(self) -> str:
        """The last lines that the process itself printed, where they are kept."""
        return ""

    def close(self) -> None:
        """End the process and all its children, and wait until they are gone."""
        self.control.close()  # the process takes that as the order to end
        try:
            self._process.wait(KILL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(KILL_TIMEOUT_S)

    def _note(self, notice: dict[str, Any]) -> None:
        if "fork" in notice:  # for a request that was given up
            self._unwanted.add(notice["forked"])
            self.kill(notice["forked"])
        elif notice["exited"] in self._unwanted:
            self._unwanted.remove(notice["exited"])
        else:
            self._ended[notice["exited"]] = notice

    def _how_ended(self) -> str:
        try:
            return _how(self._process.wait(KILL_TIMEOUT_S))
        except subprocess.TimeoutExpired:
            return "it closed its connection"


class Spawned(Keeper):
    """The handle on a clean such process, started by exec: it holds nothing of this one.

    Args:
        module: Whose `main` it runs, with the file descriptor of its control socket.
        setup: What it reads from its standard input.
        env: Its whole environment.
        cwd: The working directory.
    """

    def __init__(
        self, module: str, setup: bytes, *, env: Mapping[str, str], cwd: str | None = None
    ) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = [entry or str(Path.cwd()) for entry in sys.path]
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, str(theirs.fileno()), json.dumps(path), module],
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
                env=dict(env),
                cwd=cwd,
                start_new_session=True,  # Ctrl-C is for whoever started us
            )
        super().__init__(process, ours)
        # Ray's workers are nicer than the user's program; only root may take that back.
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, process.pid, user_niceness())
        with contextlib.suppress(BrokenPipeError), process.stdin or io.BytesIO() as stdin:
            stdin.write(setup)

    def log(self) -> str:
        """The last lines that the process itself printed."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - TAIL))
        return self._log.read().decode(errors="replace")

    def close(self) -> None:
        """End the process and all its children, and wait until they are gone."""
        super().close()
        self._log.close()


class Server(Spawned):
    """A clean process that has imported TensorFlow and `build`, and forks attempts on request.

    Args:
        build: The pickled function to build steps with.
        env: Its whole environment, and that of every attempt. What binds when TensorFlow is
            imported (`TF_ENABLE_ONEDNN_OPTS`, `OMP_*`) therefore needs a server of its own.
        preload: Whether it imports TensorFlow and unpickles `build` itself. Otherwise each child
            does, which costs seconds, but works where that starts TensorFlow's runtime.
        tensorflow: Whether to import TensorFlow and to set thread counts.
        cwd: The working directory.
        source: The file of `build`, for tracebacks.

    Its temporary folder, in Python, is one of its own, which goes with it.

    Attributes:
        started: What the imports started, in words, whose threads do not survive a fork, so that
            the attempts need a server that does not preload; empty where that is nothing.

    Raises:
        AttemptError: The imports failed.
    """

    def __init__(
        self,
        build: bytes,
        *,
        env: Mapping[str, str],
        preload: bool = True,
        tensorflow: bool = True,
        cwd: str | None = None,
        source: str = "",
    ) -> None:
        self.preload = preload
        self._folder = tempfile.mkdtemp(prefix="kamerton_ray-")
        setup = {
            "build": build,
            "preload": preload,
            "tensorflow": tensorflow,
            "folder": self._folder,
            "source": source,
        }
        super().__init__("kamerton_ray.process.worker", pickle.dumps(setup), env=env, cwd=cwd)
        try:
            first = self._first_notice()
        except BaseException:
            self.close()
            raise
        self.started: str = first["started"]

    def close(self) -> None:
        """End the process and all its children, and wait until they are gone."""
        super().close()
        shutil.rmtree(self._folder, ignore_errors=True)  # where it could not do so itself

    def fork(self, threads: Threading, config: object = None, *, timeout: float) -> Child:
        """Start an attempt.

        Args:
            threads: The thread counts to set first.
            config: What a `build` with a parameter gets.
            timeout: How many seconds building, or a block of steps, may take.

        Raises:
            AttemptError: The server was lost.
        """
        child = Child(self, self.forked({"threads": list(threads)}), timeout)
        child.give(cloudpickle.dumps(config))
        return child

    def _first_notice(self) -> dict[str, Any]:
        notice = self.notice(START_TIMEOUT_S)
        if "error" in notice:
            raise AttemptError(Outcome.BUILD_RAISED, "on import:\n" + notice["error"])
        return notice


class _Inbox:
    """What a child has sent. To wait for the rest of a message might be for ever; nothing does.

    Four bytes before each say how long it is (multiprocessing/connection.py, `_send_bytes`).
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._come = bytearray()

    def fill(self) -> bool:
        """Take what has come of the next message; whether more can come."""
        while not self.whole and self._connection.poll():
            try:
                chunk = os.read(self._connection.fileno(), CHUNK)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                return False
            self._come += chunk
        return True

    @property
    def whole(self) -> bool:
        """Whether there is a message to take, or what has come can never be one."""
        begun = len(self._come) >= HEAD
        return begun and (not self._possible or len(self._come) >= HEAD + self._size)

    def take(self) -> bytes:
        """The next message.

        Raises:
            ValueError: What has come is none.
        """
        end = HEAD + self._size
        if not self._possible:
            raise ValueError(f"it said that its message has {self._size} bytes")
        message = bytes(self._come[HEAD:end])
        del self._come[:end]
        return message

    @property
    def _size(self) -> int:
        return int.from_bytes(self._come[:HEAD], "big", signed=True)

    @property
    def _possible(self) -> bool:
        return 0 <= self._size <= LONGEST_MESSAGE


AnAttempt = TypeVar("AnAttempt", bound="Attempt")


class Attempt:
    """One attempt: a forked process that answers over its connection, and whose outputs are read.

    Attributes:
        pid: Its id, which is that of its process group, too.
        error: How it failed, or None.
        strays: How many processes it left behind in other groups; they were killed.
    """

    def __init__(self, keeper: Keeper, forked: Forked, timeout: float, *, keep: int = TAIL) -> None:
        self.pid, self._connection, outputs = forked
        self.error: AttemptError | None = None
        self.strays = 0
        self._keeper = keeper
        self._tails = dict.fromkeys(outputs, b"")
        self._stdout, self._stderr = outputs
        self._open = set(outputs)
        self._printed = 0
        self._timeout = timeout
        self._keep = keep
        self._oom_kills = _oom_kills()
        self._inbox = _Inbox(self._connection)

    def __enter__(self: AnAttempt) -> AnAttempt:  # noqa: PYI019 - Self is of Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def printed(self) -> str:
        """The end of what it has printed to its standard output."""
        return self._tails[self._stdout].decode(errors="replace")

    @property
    def complained(self) -> str:
        """The end of what it has printed to its standard error."""
        return self._tails[self._stderr].decode(errors="replace")

    def give(self, message: bytes) -> None:
        """Send it a message."""
        # One that is gone cannot be written to; waiting for its answer then says how it ended.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send_bytes(message)

    def close(self) -> None:
        """End the process with all it started, and wait until it is gone."""
        with contextlib.suppress(AttemptError):  # gone with the server
            self._keeper.kill(self.pid)
            notice = self._keeper.ended(self.pid, KILL_TIMEOUT_S)
            self.strays = notice["strays"] if notice else 0
        self._keeper.forget(self.pid)
        self._connection.close()
        for fd in self._tails:
            os.close(fd)

    def answer(self, timeout: float) -> dict[str, Any]:
        """Its next message, while its outputs are read and its end is watched for.

        Raises:
            AttemptError: It sent none in time, or one that says that it failed.
        """
        deadline = time.monotonic() + timeout
        while not self._inbox.whole:
            left = max(deadline - time.monotonic(), 0)
            ready = wait([self._connection, self._keeper.control, *self._open], left)
            self._drain()
            ended = self._keeper.control in ready and self._keeper.ended(self.pid, 0)
            # What was sent last may have come between the two looks.
            if self._connection in ready or (ended and self._connection.poll()):
                if not self._inbox.fill():
                    raise self._end()
            elif ended:
                raise self._end()
            if not self._inbox.whole:
                self._check(ready, left, timeout)
        return self._understood()

    def finish(self, timeout: float) -> None:
        """Wait until it has exited with code 0, while its outputs are read.

        Raises:
            AttemptError: It ended in another way, or not in time.
        """
        deadline = time.monotonic() + timeout
        while (notice := self._keeper.ended(self.pid, 0)) is None:
            left = max(deadline - time.monotonic(), 0)
            ready = wait([self._keeper.control, *self._open], left)
            self._check(ready, left, timeout)
        self._drain()
        if notice["code"]:
            raise self._end()

    def _check(self, ready: list[Any], left: float, timeout: float) -> None:
        self._drain()
        if self._printed > OUTPUT_LIMIT:
            raise self.failed(Outcome.OUTPUT_FLOOD, f"more than {OUTPUT_LIMIT} bytes")
        if not ready or left == 0:
            raise self.failed(Outcome.TIMEOUT, f"of {timeout:g} s")

    def _understood(self) -> dict[str, Any]:
        """What its next message says, unless that is a failure."""
        try:
            message = json.loads(self._inbox.take())
        except (ValueError, RecursionError) as error:
            raise self.failed(Outcome.MALFORMED, repr(error)) from None
        if not isinstance(message, dict):
            raise self.failed(Outcome.MALFORMED, repr(message)[:TAIL])
        if "raised" in message:
            raised = _RAISED.get(str(message["raised"]), Outcome.MALFORMED)
            outcome = Outcome.OUT_OF_MEMORY if message.get("memory") else raised
            raise self.failed(outcome, str(message.get("traceback")))
        if "wrong_return" in message:
            raise self.failed(Outcome.WRONG_RETURN, f"but it returned {message['wrong_return']}")
        return message

    def _end(self) -> AttemptError:
        """How a child ended that sent no answer."""
        notice = self._keeper.ended(self.pid, KILL_TIMEOUT_S)
        if notice is None:
            return self.failed(Outcome.MALFORMED, "it closed its connection")
        code = notice["code"]
        if code == -signal.SIGKILL and _oom_kills() > self._oom_kills:
            return self.failed(Outcome.OUT_OF_MEMORY, "the kernel killed it")
        return self.failed(Outcome.SIGNALLED if code < 0 else Outcome.EXITED, _how(code))

    def failed(self, outcome: Outcome, detail: str) -> AttemptError:
        """The error that says how it failed, which is kept."""
        self._drain()
        stderr = self._tails[self._stderr][-TAIL:].decode(errors="replace")
        self.error = AttemptError(outcome, detail, stderr)
        return self.error

    def _drain(self) -> None:
        """Read what the child has printed, and keep the end of it."""
        for fd in [fd for fd in wait(list(self._open), 0) if isinstance(fd, int)]:
            chunk = os.read(fd, 1 << 20)
            if not chunk:
                self._open.remove(fd)
            self._printed += len(chunk)
            self._tails[fd] = (self._tails[fd] + chunk)[-self._keep :]


class Child(Attempt):
    """An attempt that builds a step and runs blocks of it on request.

    Attributes:
        machine: What it runs on.
        cpu_s: How many CPU seconds they have taken so far.
    """

    def __init__(self, server: Server, forked: Forked, timeout: float) -> None:
        super().__init__(server, forked, timeout)
        self.machine = UNKNOWN
        self.cpu_s = 0.0
        self._imports_s = 0.0 if server.preload else START_TIMEOUT_S

    def build(self) -> None:
        """Wait until the step is built.

        Raises:
            AttemptError: It was not, or not in time.
        """
        self.machine = Machine.of(self.answer(self._timeout + self._imports_s).get("machine"))

    def run(self, steps: int) -> list[float]:
        """Run steps one after the other.

        Returns:
            The seconds of each step; in a long block, of runs of several steps, per step.

        Raises:
            AttemptError: A step failed, or they took too long.
        """
        self.give(json.dumps({"steps": steps}).encode())
        answer = self.answer(self._timeout)
        seconds, cpu_s = answer.get("seconds"), answer.get("cpu_s")
        if (
            not isinstance(seconds, list)
            or not all(isinstance(s, float) for s in seconds)
            or not isinstance(cpu_s, float)
        ):
            raise self.failed(Outcome.MALFORMED, repr(answer)[:TAIL])
        self.cpu_s += cpu_s
        return seconds


def _how(code: int) -> str:
    if code >= 0:
        return f"with code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def _oom_kills(path: Path = Path("/proc/vmstat")) -> int:
    """How many processes the kernel has killed for memory (Linux 4.13 and later)."""
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
