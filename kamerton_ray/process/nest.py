"""In a nest: forking attempts on request, reaping them, and leaving nothing behind.

Each attempt is a process group of its own. `handle.NestHandle` holds the other end of the nest's
control socket, and `attempt.Attempt` that of an attempt's channel.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from kamerton_ray.process.messages import (
    PACKET,
    Ended,
    Fork,
    Forked,
    Kill,
    Kind,
    Message,
    from_json,
)

KIB = 1024
"""In so many bytes Linux counts `ru_maxrss` (getrusage(2))."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


class Channel:
    """An attempt's own end of the connection with its handle.

    Args:
        connection: That end.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pid = os.getpid()

    def fileno(self) -> int:
        """Its file descriptor."""
        return self._connection.fileno()

    def receive(self, kind: type[Kind]) -> Kind:
        """The next order; this process ends where nobody will send one."""
        return from_json(self.receive_bytes(), kind)

    def receive_bytes(self) -> bytes:
        """The same, of an order that is no JSON."""
        try:
            return self._connection.recv_bytes()
        except EOFError:
            end(0)

    def send(self, answer: Message) -> None:
        """Send an answer; a process that the user's code has forked ends here instead."""
        if os.getpid() != self._pid:
            os._exit(0)
        self._connection.send_bytes(answer.to_json())


class Nest:
    """Forks attempts on request, reaps them, and says how each ended.

    Args:
        control: The nest's end of its control socket.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._attempts: set[int] = set()
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # so that what a dead attempt has left is found
        # A handler, or the wake-up is not written.
        self._before = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker)

    def serve(self) -> Channel | None:
        """Do what is asked until the other end of the control socket is closed.

        Returns:
            None at the end. Like `os.fork` it returns in each attempt, too: the attempt's channel.
        """
        sources = select.poll()  # select.select knows no descriptor above 1,023
        sources.register(self._control, select.POLLIN)
        sources.register(self._woken, select.POLLIN)
        while True:
            ready = {fd for fd, _ in sources.poll()}
            if self._woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, PACKET)
                self._reap()
            if self._control.fileno() in ready:
                packet, fds, _, _ = socket.recv_fds(self._control, PACKET, 3)
                if not packet:
                    break
                if (channel := self._do(from_json(packet, Fork, Kill), fds)) is not None:
                    return channel
        self._end_all()
        return None

    def _do(self, request: Fork | Kill, fds: list[int]) -> Channel | None:
        if isinstance(request, Fork):
            return self._fork(request.number, fds)
        if request.pid in self._attempts:
            _kill_group(request.pid)
        return None

    def _fork(self, number: int, fds: list[int]) -> Channel | None:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            return self._begun(fds)
        self._attempts.add(pid)
        for fd in fds:
            os.close(fd)
        self._tell(Forked(number, pid))
        return None

    def _begun(self, fds: list[int]) -> Channel:
        """In an attempt: its channel. Where it cannot begin it ends: it must not act as a nest."""
        channel = None
        try:
            self._leave()
            channel = _begin(*fds)
        finally:
            if channel is None:
                os._exit(1)
        return channel

    def _leave(self) -> None:
        """In an attempt: give up all that is the nest's."""
        self._control.close()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, self._before or signal.SIG_DFL)
        os.close(self._woken)
        os.close(self._waker)

    def _reap(self) -> None:
        for pid in list(self._attempts):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            _kill_group(pid)  # while the zombie still holds the group's id
            _, status, usage = os.wait4(pid, 0)
            self._attempts.remove(pid)
            code, peak = os.waitstatus_to_exitcode(status), usage.ru_maxrss * KIB
            taken = usage.ru_utime + usage.ru_stime
            notice = Ended(pid, code, self._kill_strays(), peak, taken)
            with contextlib.suppress(OSError):
                self._tell(notice)

    def _end_all(self) -> None:
        for pid in self._attempts:
            _kill_group(pid)
            os.waitpid(pid, 0)
        self._attempts.clear()
        self._kill_strays()

    def _kill_strays(self) -> int:
        """Kill what a dead attempt left in another group: it has become a child of the nest.

        Returns:
            How many processes that were.
        """
        killed: set[int] = set()
        spared: set[int] = set()
        while strays := _child_pids() - self._attempts - spared:
            for pid in strays:
                (killed if _killed(pid) else spared).add(pid)
        return len(killed)

    def _tell(self, notice: Message) -> None:
        self._control.send(notice.to_json())


def end(code: int) -> NoReturn:
    """End an attempt; the exit handlers of the process that it is a fork of are not its to run."""
    flush()
    os._exit(code)


def flush() -> None:
    """Have an attempt print what it has kept back, as far as that works."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()


def exit_code(stop: SystemExit) -> int:
    """The code that the user's code exits with."""
    return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def _begin(connection: int, stdout: int, stderr: int) -> Channel:
    """Make an attempt a process group of its own, with outputs of its own.

    What it leaves behind goes to it as long as it lives, so that nobody takes it for what another
    attempt has left.
    """
    os.setsid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # Or a command would inherit it, as all that comes over a socket.
    fcntl.fcntl(connection, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    for fd in (stdout, stderr, devnull):
        os.close(fd)
    return Channel(Connection(connection))


def _child_pids() -> set[int]:
    pids: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            pids.update(int(pid) for pid in listing.read_text(encoding="ascii").split())
    return pids


def _killed(pid: int) -> bool:
    """Kill a child; False where it has become another user's, which is not allowed."""
    try:
        os.kill(pid, signal.SIGKILL)
    except PermissionError:
        with contextlib.suppress(OSError):
            os.waitpid(pid, os.WNOHANG)
        return False
    except ProcessLookupError:  # it has gone by itself
        return True
    with contextlib.suppress(OSError):
        os.waitpid(pid, 0)
    return True


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # killed before it could make its group
        os.kill(pid, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # Linux alone has it
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
