"""The handle on a nest, in the process that asks for attempts."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple, Protocol

from kamerton_ray.machine.environment import user_niceness
from kamerton_ray.process.messages import PACKET, Ended, Fork, Forked, Kill, Kind, Other, from_json
from kamerton_ray.process.outcome import AttemptError, Outcome, how_ended

TAIL = 4096
"""How many of the last bytes of an output are kept."""

START_TIMEOUT_S = 300.0
"""How long the imports may take; TensorFlow's own takes 6 to 10 s on a slow machine."""

KILL_TIMEOUT_S = 30.0
"""How long a killed process may take to be gone."""

# The nest's modules must be found as they are here, whatever its working directory holds. Ray has
# its processes block SIGINT (ray/_private/services.py, `start_ray_process`), which they inherit.
_BOOT = (
    "import sys; sys.path.pop(0); import json; sys.path[:] = json.loads(sys.argv[2]); "
    "import signal; signal.pthread_sigmask(signal.SIG_SETMASK, ()); "
    "import importlib; importlib.import_module(sys.argv[3]).main(int(sys.argv[1]))"
)


class Ends(NamedTuple):
    """What an attempt is held by: its id, and our ends of its connection and its two outputs."""

    pid: int
    connection: Connection
    stdout: int
    stderr: int


class Process(Protocol):
    """What `NestHandle` needs of a nest's process; a `subprocess.Popen` has it."""

    pid: int

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit code, or minus the signal."""

    def kill(self) -> None:
        """End it."""


class NestHandle:
    """The handle on a nest: it asks for attempts and hears how they ended.

    Args:
        process: The nest's process.
        control: Our end of its control socket.

    Attributes:
        control: The same; it is ready where the nest has something to tell.
        lost: Whether the nest has turned out to be gone.
    """

    def __init__(self, process: Process, control: socket.socket) -> None:
        self.control = control
        self.lost = False
        self._process = process
        self._ended: dict[int, Ended] = {}
        self._asked = 0
        self._unwanted: set[int] = set()

    @property
    def pid(self) -> int:
        """The id of the nest's process."""
        return self._process.pid

    def fork(self, timeout: float = START_TIMEOUT_S) -> Ends:
        """Have an attempt forked.

        Raises:
            AttemptError: The nest was lost, or did not answer within `timeout` seconds. An attempt
                that it forks later is ended.
        """
        self._asked += 1
        ours, theirs = socket.socketpair()
        out, their_out = os.pipe()
        err, their_err = os.pipe()
        try:
            pid = self._forked([theirs.fileno(), their_out, their_err], timeout)
        except BaseException:
            ours.close()
            os.close(out)
            os.close(err)
            raise
        finally:
            theirs.close()
            os.close(their_out)
            os.close(their_err)
        return Ends(pid, Connection(ours.detach()), out, err)

    def kill(self, pid: int) -> None:
        """End an attempt and all of its process group."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.control.send(Kill(pid).to_json())

    def ended(self, pid: int, timeout: float) -> Ended | None:
        """How an attempt ended, or None if it has not within `timeout` seconds.

        Raises:
            AttemptError: The nest was lost, and its attempts with it.
        """
        deadline = time.monotonic() + timeout
        while pid not in self._ended:
            left = deadline - time.monotonic()
            if not wait([self.control], max(left, 0)):
                return None
            self._note(self.notice(0, Forked, Ended))
        return self._ended[pid]

    def has_said(self, pid: int) -> bool:
        """Whether it has already said how an attempt ended."""
        return pid in self._ended

    def forget(self, pid: int) -> None:
        """Keep no more of an attempt that has ended."""
        self._ended.pop(pid, None)

    def notice(self, timeout: float, kind: type[Kind], other: type[Other]) -> Kind | Other:
        """The next notice, of one of two kinds.

        Raises:
            AttemptError: The nest is lost, or has sent none within `timeout` seconds.
        """
        if not wait([self.control], timeout):
            raise AttemptError(Outcome.TIMEOUT, f"no answer in {timeout:g} s", self.log())
        try:
            packet = self.control.recv(PACKET)
        except ConnectionResetError:
            packet = b""
        if not packet:
            self.lost = True
            raise AttemptError(Outcome.SERVER_LOST, self._how_ended(), self.log())
        return from_json(packet, kind, other)

    def log(self) -> str:
        """The last lines that the nest itself printed, where they are kept."""
        return ""

    def close(self) -> None:
        """End the nest and all its attempts, and wait until they are gone."""
        self.control.close()  # the nest takes that as the order to end
        try:
            self._process.wait(KILL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(KILL_TIMEOUT_S)

    def _forked(self, theirs: list[int], timeout: float) -> int:
        """Ask for an attempt that gets these descriptors; its id."""
        request = Fork(self._asked)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self.control, [request.to_json()], theirs)
        while True:
            notice = self.notice(timeout, Forked, Ended)
            if isinstance(notice, Forked) and notice.number == request.number:
                return notice.pid
            self._note(notice)

    def _note(self, notice: Forked | Ended) -> None:
        if isinstance(notice, Forked):  # for a request that was given up
            self._unwanted.add(notice.pid)
            self.kill(notice.pid)
        elif notice.pid in self._unwanted:
            self._unwanted.remove(notice.pid)
        else:
            self._ended[notice.pid] = notice

    def _how_ended(self) -> str:
        try:
            return how_ended(self._process.wait(KILL_TIMEOUT_S))
        except subprocess.TimeoutExpired:
            return "it closed its connection"


class CleanNest(NestHandle):
    """The handle on a nest that is started by exec: it holds nothing of this process.

    Args:
        module: Whose `main` the nest runs, with the file descriptor of its control socket.
        setup: What `main` reads from its standard input.
        env: The nest's whole environment.
        cwd: Its working directory.
    """

    def __init__(
        self, module: str, setup: bytes, *, env: Mapping[str, str], cwd: str | None = None
    ) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the nest
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
        """The last lines that the nest itself printed."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - TAIL))
        return self._log.read().decode(errors="replace")

    def close(self) -> None:
        """End the nest and all its attempts, and wait until they are gone."""
        super().close()
        self._log.close()
