"""The loop's body in an attempt's process: it reports once, and no line after the loop ever runs.

A generator learns that its `for` loop was left, by `break`, `return` or an exception, when it is
closed; which of them it was shows only in what the interpreter does next. So a trace function ends
the process there, before the next line of the script.
"""

from __future__ import annotations

import atexit
import contextlib
import dis
import io
import json
import os
import sys
import traceback
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, NoReturn

LEFT = "left"
"""The message of a body that left its loop by `break` or `return`: the search is to end."""


class Body:
    """This process, while it runs the loop's body.

    Args:
        connection: Takes the one message that says how the body ended.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pid = os.getpid()
        # Whatever the script has put there, its prints are to reach our pipes.
        sys.stdout, sys.stderr = _writer(1), _writer(2)

    def done(self) -> NoReturn:
        """The body has come to its end."""
        self.answer({})

    def raised(self, error: BaseException) -> NoReturn:
        """The body has raised an exception."""
        if isinstance(error, SystemExit):
            self._exit(error.code if isinstance(error.code, int) else int(error.code is not None))
        memory = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
        text = "".join(traceback.format_exception(error))
        self.answer({"raised": "body", "traceback": text, "memory": memory})

    def left(self) -> NoReturn:
        """The body has left its loop."""
        self.answer({LEFT: True})

    def end_at_the_next_step(self, script: FrameType | None) -> None:
        """End this process before the script's next step, whichever way the loop was left.

        Args:
            script: The frame that holds the loop.
        """
        while script is not None:
            script.f_trace = self._at_step
            script.f_trace_opcodes = True
            script = script.f_back
        # Where no frame is left to trace: an exception that nobody catches, or the script's end.
        sys.excepthook = lambda _, error, __: self.raised(error)
        atexit.register(self.left)
        sys.settrace(lambda *_: None)  # what is called meanwhile is not traced

    def _at_step(self, frame: FrameType, event: str, arg: Any) -> object:  # noqa: ANN401 - sys.settrace's
        if event == "exception":
            self.raised(arg[1])
        if event == "opcode" and not _enters_handler(frame):
            error = sys.exc_info()[1]
            if error is None:
                self.left()
            self.raised(error)
        return self._at_step

    def answer(self, message: dict[str, Any]) -> NoReturn:
        """Send a message, and end."""
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        if os.getpid() == self._pid:  # not a process that the body has forked
            with contextlib.suppress(OSError):
                self._connection.send_bytes(json.dumps(message).encode())
        self._exit(0)

    def _exit(self, code: int) -> NoReturn:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _writer(fd: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(os.fdopen(os.dup(fd), "wb"), write_through=True)


def _enters_handler(frame: FrameType) -> bool:
    """Whether an exception is about to become the one that is handled (Python 3.11 and later)."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] == "PUSH_EXC_INFO"
