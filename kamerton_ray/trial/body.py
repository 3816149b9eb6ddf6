"""The loop's body in an attempt's process: it reports once, and no line after the loop ever runs.

A generator learns that its `for` loop was left, by `break`, `return` or an exception, when it is
closed; which of them it was shows only in what the interpreter does next. So a trace function ends
the process there, before the next line of the script. No exit handler runs, so what TensorFlow's
would remove is removed here.
"""

from __future__ import annotations

import atexit
import contextlib
import dis
import io
import os
import sys
from collections.abc import Collection
from pathlib import Path
from types import FrameType
from typing import NoReturn

from kamerton_ray.process.messages import Failed, Message
from kamerton_ray.process.nest import Channel, end, exit_code, flush
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.loop_messages import BodyEnded

GENERATED = "__autograph_generated_file"
"""So TensorFlow names the module that it writes for each function that it converts."""


class Body:
    """This process, while it runs the loop's body.

    Args:
        channel: Takes the one answer that says how the body ended.
        inherited: The files in `generated_files` that another process removes.
    """

    def __init__(self, channel: Channel, inherited: Collection[Path] = ()) -> None:
        self._channel = channel
        self._inherited = inherited
        # Whatever the script has put there, its prints are to reach our pipes.
        sys.stdout, sys.stderr = _writer(1), _writer(2)

    def done(self) -> NoReturn:
        """The body has come to its end."""
        self.answer(BodyEnded(left=False))

    def raised(self, error: BaseException) -> NoReturn:
        """The body has raised an exception."""
        if isinstance(error, SystemExit):
            self._tidy()
            end(exit_code(error))
        self.answer(Failed.by(error, Outcome.BODY_RAISED))

    def left(self) -> NoReturn:
        """The body has left its loop by `break` or `return`: the search is to end."""
        self.answer(BodyEnded(left=True))

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

    def _at_step(self, frame: FrameType, event: str, arg: object) -> object:
        if event == "exception" and isinstance(arg, tuple):  # its type, itself, its traceback
            self.raised(arg[1])
        if event == "opcode" and not _enters_handler(frame):
            error = sys.exc_info()[1]
            if error is None:
                self.left()
            self.raised(error)
        return self._at_step

    def answer(self, answer: Message) -> NoReturn:
        """Send an answer, and end."""
        flush()
        self._tidy()  # first: whoever has the answer ends this process
        with contextlib.suppress(OSError):
            self._channel.send(answer)
        end(0)

    def _tidy(self) -> None:
        for path in generated_files().difference(self._inherited):
            with contextlib.suppress(OSError):
                path.unlink()


def generated_files() -> set[Path]:
    """What TensorFlow has written in this process, and an exit handler is to remove.

    It lies in the folder for temporary files (autograph/pyct/loader.py, `load_source`).
    """
    modules = [one for name, one in sys.modules.copy().items() if name.startswith(GENERATED)]
    return {Path(one.__file__) for one in modules if one.__file__}


def _writer(fd: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(os.fdopen(os.dup(fd), "wb"), write_through=True)


def _enters_handler(frame: FrameType) -> bool:
    """Whether an exception is about to become the one that is handled (Python 3.11 and later)."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] == "PUSH_EXC_INFO"
