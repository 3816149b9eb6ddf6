"""The clean process that starts a command for each attempt, and ends what it leaves behind.

`kamerton_ray.command` starts it by exec in a Ray worker. Its children are replaced by the command.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket

from kamerton_ray.forker import Forker

NO_COMMAND = 127
"""The exit code of a command that could not be started, as in a shell."""

REPORT_FD = "KAMERTON_RAY_REPORT_FD"
"""The variable that tells a command where Kamerton's loop in it is to report."""


def main(control_fd: int) -> None:
    """Start commands on request until the other end closes."""
    child = Forker(socket.socket(fileno=control_fd)).serve()
    if child is None:
        return
    connection = child.enter()
    order = json.loads(connection.recv_bytes())
    fcntl.fcntl(connection.fileno(), fcntl.F_SETFD, 0)  # the command is to inherit it
    env = {**order["env"], REPORT_FD: str(connection.fileno())}
    try:
        if order["cwd"] is not None:
            os.chdir(order["cwd"])
        os.execvpe(order["argv"][0], order["argv"], env)  # noqa: S606 - no shell is wanted
    except OSError as error:
        os.write(2, f"{order['argv'][0]}: {error.strerror}\n".encode())
    finally:
        os._exit(NO_COMMAND)
