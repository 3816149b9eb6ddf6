"""The clean process that starts a command for each attempt, and ends what it leaves behind.

`kamerton_ray.command` starts it by exec in a Ray worker. Its children are replaced by the command.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket

from kamerton_ray.process.forker import Forker

NO_COMMAND = 127
"""The exit code of a command that could not be started, as in a shell."""

REPORT_FD = "KAMERTON_RAY_REPORT_FD"
"""The variable that tells a command where Kamerton's loop in it is to report."""


IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores these signals (Python/pylifecycle.c, `init_signals`); a program inherits that."""


def main(control_fd: int) -> None:
    """Start commands on request until the other end closes."""
    child = Forker(socket.socket(fileno=control_fd)).serve()
    if child is None:
        return
    connection = child.enter()
    order = json.loads(connection.recv_bytes())
    env = order["env"]
    if order["reports"]:
        fcntl.fcntl(connection.fileno(), fcntl.F_SETFD, 0)  # the command is to inherit it
        env[REPORT_FD] = str(connection.fileno())
    for number in IGNORED:
        signal.signal(number, signal.SIG_DFL)
    try:
        if order["cwd"] is not None:
            os.chdir(order["cwd"])
        os.execvpe(order["argv"][0], order["argv"], env)  # noqa: S606 - no shell is wanted
    except OSError as error:
        os.write(2, f"{order['argv'][0]}: {error.strerror}\n".encode())
    finally:
        os._exit(NO_COMMAND)
