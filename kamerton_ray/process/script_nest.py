"""A nest that is a fork of this process: each of its attempts goes on where this one stands."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import time

from kamerton_ray.process.handle import NestHandle
from kamerton_ray.process.nest import Channel, Nest

POLL_S = 0.005
"""How often the nest's end is looked for; it comes within milliseconds of the order."""


def fork_nest() -> NestHandle | Channel:
    """Fork a nest from this process.

    Returns:
        The handle on it. Like `os.fork` it returns in each attempt, too: the attempt's channel.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid:
        theirs.close()
        return NestHandle(_ForkedProcess(pid), ours)
    ours.close()
    return _in_nest(theirs)


def _in_nest(control: socket.socket) -> Channel:
    """Fork attempts until the other end closes; this returns in each of them, and only there."""
    channel = None
    try:
        os.setsid()  # Ctrl-C is for the script alone
        before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
        channel = Nest(control).serve()
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
    finally:
        if channel is None:
            os._exit(0)
    return channel


class _ForkedProcess:
    """A child of this process, by its id; `handle.Process` says what it has to do."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while self._code is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # the script ignores SIGCHLD, so the kernel kept nothing
                pid, status = self.pid, 0
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            else:
                time.sleep(POLL_S)
        return self._code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
