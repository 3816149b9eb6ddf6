"""The handle on one attempt: its answers, its outputs, and how it ended."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TypeVar

from kamerton_ray.process.handle import KILL_TIMEOUT_S, TAIL, NestHandle
from kamerton_ray.process.messages import Ended, Failed, Kind, Message, from_json
from kamerton_ray.process.outcome import AttemptError, Outcome, how_ended

OUTPUT_LIMIT = 64 << 20
"""An attempt that prints more bytes than this is stopped: reading them disturbs the timing."""

HEAD, CHUNK = 4, 1 << 16
"""So many bytes before a message say how long it is; so many are read of it at once."""

LONGEST_MESSAGE = 1 << 24
"""No attempt has more to say at once, in bytes: what claims to be longer is no message."""


class _Inbox:
    """What an attempt has sent. To wait for the rest of a message might be for ever; nothing does.

    Four bytes before each say how long it is (multiprocessing/connection.py, `_send_bytes`).

    Attributes:
        closed: Whether no more can come.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._come = bytearray()
        self.closed = False

    def fill(self) -> None:
        """Take what has come of the next message."""
        while not (self.whole or self.closed) and self._connection.poll():
            try:
                chunk = os.read(self._connection.fileno(), CHUNK)
            except ConnectionResetError:
                chunk = b""
            self._come += chunk
            self.closed = not chunk

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


class _Outputs:
    """What an attempt prints to its two pipes, of each of which the end is kept.

    Attributes:
        open: The pipes that it may still print to.
        keep: How many of the last bytes of each are kept.
        printed: How many bytes it has printed.
    """

    def __init__(self, stdout: int, stderr: int, keep: int) -> None:
        self._stdout, self._stderr = stdout, stderr
        self._ends = {stdout: b"", stderr: b""}
        self.keep = keep
        self.open = {stdout, stderr}
        self.printed = 0

    @property
    def stdout(self) -> str:
        """The end of what it has printed to its standard output."""
        return self._ends[self._stdout].decode(errors="replace")

    @property
    def stderr(self) -> str:
        """The end of what it has printed to its standard error."""
        return self._ends[self._stderr].decode(errors="replace")

    @property
    def tail(self) -> str:
        """The last of its standard error, as an error shows it."""
        return self._ends[self._stderr][-TAIL:].decode(errors="replace")

    def drain(self) -> None:
        """Take what has been printed."""
        for fd in [fd for fd in wait(list(self.open), 0) if isinstance(fd, int)]:
            chunk = os.read(fd, 1 << 20)
            if not chunk:
                self.open.remove(fd)
            self.printed += len(chunk)
            self._ends[fd] = (self._ends[fd] + chunk)[-self.keep :]

    def close(self) -> None:
        """Give up the pipes."""
        for fd in self._ends:
            os.close(fd)


AnAttempt = TypeVar("AnAttempt", bound="Attempt")
Found = TypeVar("Found")


class Attempt:
    """One attempt: a process that a nest forks, that answers, and whose outputs are read.

    Args:
        nest: What forks it.
        keep: How many of the last bytes of each output are kept.

    Attributes:
        pid: Its id, which is that of its process group, too.
        error: How it failed, or None.
        strays: How many processes it left behind in other groups; they were killed.
        peak: The most bytes that it held; 0 until it is closed.
        cpu_s: The CPU seconds that it and what it waited for have taken; NaN until it is finished.

    Raises:
        AttemptError: The nest was lost, or did not fork it.
    """

    def __init__(self, nest: NestHandle, *, keep: int = TAIL) -> None:
        self.pid, self._connection, stdout, stderr = nest.fork()
        self.error: AttemptError | None = None
        self.strays = self.peak = 0
        self.cpu_s = math.nan
        self._nest = nest
        self._inbox = _Inbox(self._connection)
        self._outputs = _Outputs(stdout, stderr, keep)
        self._oom_kills = oom_kills()

    def __enter__(self: AnAttempt) -> AnAttempt:  # noqa: PYI019 - Self is of Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def printed(self) -> str:
        """The end of what it has printed to its standard output."""
        return self._outputs.stdout

    @property
    def complained(self) -> str:
        """The end of what it has printed to its standard error."""
        return self._outputs.stderr

    @property
    def is_whole(self) -> bool:
        """Whether all that it has printed is still there."""
        return self._outputs.printed <= self._outputs.keep

    def give(self, order: Message) -> None:
        """Send it an order."""
        self.give_bytes(order.to_json())

    def give_bytes(self, order: bytes) -> None:
        """Send it an order that is no JSON."""
        # One that is gone cannot be written to; waiting for its answer then says how it ended.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send_bytes(order)

    def answer(self, kind: type[Kind], timeout: float) -> Kind:
        """Its next answer, while its outputs are read and its end is watched for.

        Raises:
            AttemptError: It sent none in time, another one, or one that says that it failed.
        """
        ((_, answer),) = each_found([self], lambda one: one.answered(kind), timeout)
        return answer

    def answered(self, kind: type[Kind]) -> Kind | None:
        """Its next answer, if that has come; its outputs are read meanwhile.

        Raises:
            AttemptError: It sent another one, or one that says that it failed, or has ended.
        """
        ended = self._looked_at()
        if self._inbox.whole:
            return self._understood(kind)
        if ended is not None or self._inbox.closed:
            raise self._end()
        return None

    def finished(self) -> bool:
        """Whether it has exited with code 0; its outputs are read meanwhile.

        Raises:
            AttemptError: It ended in another way.
        """
        ended = self._looked_at()
        if ended is not None and ended.code:
            raise self._end()
        if ended is not None:
            self.cpu_s = ended.cpu_s
        return ended is not None

    @property
    def has_ended(self) -> bool:
        """Whether it is known to have ended, as by a notice that came while another was asked."""
        return self._nest.has_said(self.pid)

    @property
    def sources(self) -> set[socket.socket | Connection | int]:
        """What has something to read where there is news of it."""
        connection = set() if self._inbox.closed else {self._connection}
        return {self._nest.control, *connection, *self._outputs.open}

    def failed(self, outcome: Outcome, detail: str) -> AttemptError:
        """The error that says how it failed, which is kept."""
        self._outputs.drain()
        self.error = AttemptError(outcome, detail, self._outputs.tail)
        return self.error

    def close(self) -> None:
        """End the process with all it started, and wait until it is gone."""
        with contextlib.suppress(AttemptError):  # gone with the nest
            self._nest.kill(self.pid)
            ended = self._nest.ended(self.pid, KILL_TIMEOUT_S)
            self.strays, self.peak = (ended.strays, ended.peak) if ended else (0, 0)
        self._nest.forget(self.pid)
        self._connection.close()
        self._outputs.close()

    def _looked_at(self) -> Ended | None:
        """How it ended, if it has; what it had sent and printed by then is read."""
        ended = self._nest.ended(self.pid, 0)
        self._inbox.fill()
        self._outputs.drain()  # last: what it prints before it answers belongs to the answer
        if self._outputs.printed > OUTPUT_LIMIT:
            raise self.failed(Outcome.OUTPUT_FLOOD, f"more than {OUTPUT_LIMIT} bytes")
        return ended

    def _understood(self, kind: type[Kind]) -> Kind:
        """What its next message says, unless that is a failure."""
        try:
            answer = from_json(self._inbox.take(), kind, Failed)
        except ValueError as error:
            raise self.failed(Outcome.MALFORMED, str(error)) from None
        if isinstance(answer, Failed):
            raise self.failed(answer.how(), answer.detail)
        return answer

    def _end(self) -> AttemptError:
        """How an attempt ended that sent no answer."""
        ended = self._nest.ended(self.pid, KILL_TIMEOUT_S)
        if ended is None:
            return self.failed(Outcome.MALFORMED, "it closed its connection")
        code = ended.code
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            return self.failed(Outcome.OUT_OF_MEMORY, "the kernel killed it")
        return self.failed(Outcome.SIGNALLED if code < 0 else Outcome.EXITED, how_ended(code))


def each_found(
    attempts: Sequence[AnAttempt],
    look: Callable[[AnAttempt], Found | None],
    timeout: float,
    *,
    every_s: float = math.inf,
) -> Iterator[tuple[AnAttempt, Found]]:
    """What is found of each of several attempts, as soon as it is.

    The outputs of all that are still waited for are read meanwhile, so that none stands still.

    Args:
        attempts: The attempts.
        look: What is found of an attempt by now; None as long as nothing is. It does not wait.
        timeout: How many seconds there are for all of them.
        every_s: It is called after so many seconds at the latest, though there is no news.

    Raises:
        AttemptError: One failed, and keeps it as its `error`; or the nest was lost.
    """
    deadline = time.monotonic() + timeout
    waited = list(attempts)
    while True:
        for attempt in tuple(waited):
            if (found := look(attempt)) is not None:
                waited.remove(attempt)
                yield attempt, found
        if not waited:
            return
        if any(attempt.has_ended for attempt in waited):
            continue  # its notice was read for another one, so no source has news of it
        if (left := deadline - time.monotonic()) <= 0:
            raise waited[0].failed(Outcome.TIMEOUT, f"of {timeout:g} s")
        wait(list(set().union(*(attempt.sources for attempt in waited))), min(left, every_s))


def oom_kills(path: Path = Path("/proc/vmstat")) -> int:
    """How many processes the kernel has killed for memory (Linux 4.13 and later)."""
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
