"""Forking children on request: each in a process group of its own, reaped, and nothing left behind.

`Forker` runs in the process that is forked: the worker's clean one, or one that Kamerton's loop
forks from the script. `kamerton_ray.isolation` holds the other end of its control socket.

Messages are JSON. Requests and notices pass over a socket of packets; each child has a connection
and two pipes of its own, so nothing that it prints can be taken for a result.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

PACKET = 1 << 16
"""The largest request or notice, in bytes."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class ForkedChild:
    """What a forked child begins with.

    Attributes:
        request: What was asked for.
    """

    request: dict[str, Any]
    fds: list[int]

    def enter(self) -> Connection:
        """Make this process a group of its own, with its own outputs; returns its connection.

        What it leaves behind goes to it as long as it lives, so that nobody takes it for what
        another child has left.
        """
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        connection, stdout, stderr = self.fds
        # Or a command would inherit it, as all that comes over a socket.
        fcntl.fcntl(connection, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        devnull = os.open(os.devnull, os.O_RDONLY)
        os.dup2(devnull, 0)
        for fd in (stdout, stderr, devnull):
            os.close(fd)
        return Connection(connection)


class Forker:
    """Forks children on request, reaps them, and says how each ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: set[int] = set()
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # so that what a dead child has left is found
        # A handler, or the wake-up is not written.
        self._before = signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker)

    def serve(self) -> ForkedChild | None:
        """Go on until the other end of the control socket is closed.

        A request is `{"kill": pid}`, or `{"fork": number, ...}`, which is answered with
        `{"forked": pid, "fork": number}`.

        Returns:
            None at the end; and, like `os.fork`, it returns in each child, too.
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
                if (child := self._handle(json.loads(packet), fds)) is not None:
                    return child
        for pid in self._children:
            _kill_group(pid)
            os.waitpid(pid, 0)
        self._children.clear()
        self._kill_strays()
        return None

    def _handle(self, request: dict[str, Any], fds: list[int]) -> ForkedChild | None:
        if "kill" not in request:
            return self._fork(request, fds)
        if request["kill"] in self._children:
            _kill_group(request["kill"])
        return None

    def _fork(self, request: dict[str, Any], fds: list[int]) -> ForkedChild | None:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._control.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, self._before or signal.SIG_DFL)
            os.close(self._woken)
            os.close(self._waker)
            return ForkedChild(request, fds)
        self._children.add(pid)
        for fd in fds:
            os.close(fd)
        send(self._control, {"forked": pid, "fork": request["fork"]})
        return None

    def _reap(self) -> None:
        for pid in list(self._children):
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                continue
            _kill_group(pid)  # while the zombie still holds the group's id
            _, status = os.waitpid(pid, 0)
            self._children.remove(pid)
            notice = {
                "exited": pid,
                "code": os.waitstatus_to_exitcode(status),
                "strays": self._kill_strays(),
            }
            with contextlib.suppress(OSError):
                send(self._control, notice)

    def _kill_strays(self) -> int:
        """Kill what a dead child left behind in another group; it has become a child of ours."""
        killed: set[int] = set()
        spared: set[int] = set()
        while strays := _child_pids() - self._children - spared:
            for pid in strays:
                (killed if _killed(pid) else spared).add(pid)
        return len(killed)


def send(control: socket.socket, message: dict[str, Any]) -> None:
    """Send a request or a notice."""
    control.send(json.dumps(message).encode())


def end_of(text: str, size: int = PACKET // 2) -> str:
    """As much of a text's end as fits: JSON takes up to twelve bytes for a character."""
    while len(json.dumps(text)) > size:
        text = text[len(text) // 8 + 1 :]
    return text


def _child_pids() -> set[int]:
    pids: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            pids.update(int(pid) for pid in listing.read_text(encoding="ascii").split())
    return pids


def _killed(pid: int) -> bool:
    """Kill a child; whether that was allowed, which it is not where it has become another user."""
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
