"""In a command nest: starting commands, and ending what they leave behind.

`command_nest.CommandNest` starts it by exec. Each of its attempts is replaced by its command.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from multiprocessing.connection import Connection
from typing import NoReturn

from kamerton_ray.process.messages import StartCommand
from kamerton_ray.process.nest import Channel, Nest

NO_COMMAND = 127
"""The exit code of a command that could not be started, as in a shell."""

REPORT_FD = "KAMERTON_RAY_REPORT_FD"
"""The variable that tells a command where Kamerton's loop in it is to report."""

IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores these signals (Python/pylifecycle.c, `init_signals`); a program inherits that."""


def main(control_fd: int) -> None:
    """Start commands on request until the other end closes."""
    channel = Nest(socket.socket(fileno=control_fd)).serve()
    if channel is not None:
        _become(channel.receive(StartCommand), channel)


def inherited_channel() -> Channel:
    """In a command that is to report: the channel of its attempt."""
    return Channel(Connection(int(os.environ.pop(REPORT_FD))))


def _become(command: StartCommand, channel: Channel) -> NoReturn:
    env = dict(command.env)
    if command.reports:
        fcntl.fcntl(channel.fileno(), fcntl.F_SETFD, 0)  # the command is to inherit it
        env[REPORT_FD] = str(channel.fileno())
    for number in IGNORED:
        signal.signal(number, signal.SIG_DFL)
    try:
        if command.cwd is not None:
            os.chdir(command.cwd)
        os.execvpe(command.argv[0], command.argv, env)  # noqa: S606 - no shell is wanted
    except OSError as error:
        os.write(2, f"{command.argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(NO_COMMAND)
