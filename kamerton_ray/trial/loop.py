"""Kamerton's loop: `for attempt in kamerton(...)` runs its body once per attempt, each in a fork.

The script is forked once, into a keeper, before the first attempt. Each attempt is a child that the
keeper forks; there the iteration yields, the body runs, and what it prints comes back to the
script, which searches. The last iteration alone runs in the script's own process, with the best
vertex.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import math
import operator
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from kamerton_ray.errors import InvalidInputError, LoopError, RuntimeStartedError
from kamerton_ray.machine.cpus import usable_cpus
from kamerton_ray.machine.threads import THREADS, runtime_started, set_threading, thread_bounds
from kamerton_ray.process.forker import ForkedChild, Forker
from kamerton_ray.process.isolation import Attempt, AttemptError, Keeper, Outcome
from kamerton_ray.process.launcher import REPORT_FD
from kamerton_ray.search.nelder_mead import NelderMead, Suggestion
from kamerton_ray.search.space import IntegerSpace
from kamerton_ray.trial.body import LEFT, Body

LEAST_UPPER = 64
"""Without bounds an axis that is no thread count goes from 1 to this, or to four times the vertex's
value if that is more."""

ORDER = "KAMERTON_RAY_ORDER"
"""The variable by which `kamerton-ray run` tells the loop in a script what to do."""

DESCRIBE, ATTEMPT, FINAL = "describe", "attempt", "final"
"""To say what it searches, to run its body with a vertex and end, or with the best and go on."""

POLL_S = 0.005
"""How often the keeper's end is looked for; it comes within milliseconds of the order."""

Callback = Callable[[list[tuple[Any, float]]], object]

_log = logging.getLogger(__name__)


class Vertex(list[int]):
    """What an attempt is to try: Kamerton's `[intra, inter]`, or any list of integers."""

    @property
    def intra_op(self) -> int:
        """The first of two values: the threads within one operation."""
        return self._of_two(0)

    @property
    def inter_op(self) -> int:
        """The second of two values: the operations at once."""
        return self._of_two(1)

    def _of_two(self, index: int) -> int:
        if len(self) != 2:  # noqa: PLR2004 - intra and inter
            raise AttributeError(f"only a pair is [intra, inter], but this is {list(self)}")
        return self[index]


def kamerton(
    cb: Callable[[Any], object] | None = None,
    vertex: Sequence[int] | None = None,
    *,
    step_sizes: Sequence[int] | None = None,
    bounds: Sequence[tuple[int, int]] | None = None,
    iterations: int | None = None,
    repeats: int = 1,
    timeout: float = 3600.0,
    seed: int = 0,
    callback: Callback | None = None,
) -> Loop:
    """Run a loop's body once per attempt, each in a process of its own, and end at the best.

    In each attempt `cb(attempt)` is called and then the body runs, in a child of the script; the
    last line that it prints is what is minimised, and nothing that it prints is seen. The last
    iteration runs in the script's own process with the best vertex, and its output is seen. After
    the loop `attempt` is the best, and what the body has built has its thread counts.

    A `break` in an attempt ends the search; its attempt counts if it has printed a number. An
    attempt that fails is logged as a warning and is worse than every number, but the first one has
    to work.

    Args:
        cb: Called with the attempt before the body, `set_threading` for example.
        vertex: Where to begin: `[intra, inter]`, or any integers. A named tuple keeps its type.
            Without it, TensorFlow's default: as many threads as usable CPUs for both.
        step_sizes: How far along each axis the points that are tried next lie, one for each axis;
            without it the search chooses them.
        bounds: The lowest and the highest value of each axis. By default those of thread counts on
            this machine, and at least the vertex's, where `cb` is `set_threading` or the vertex's
            fields begin with `intra` and `inter`; otherwise 1 and the larger of 64 and four times
            the vertex's value.
        iterations: At most so many attempts; without it the search ends by itself.
        repeats: How often each attempt is run; the median counts.
        timeout: How many seconds an attempt may take; then it is killed, and has failed.
        seed: Settles what the search leaves open.
        callback: Called after each attempt with the simplex, best first: pairs of vertex and value.

    Returns:
        What a `for` statement iterates over, as often as it likes.

    Raises:
        InvalidInputError: An argument breaks its rule.

    The iteration itself raises `LoopError` where the loop cannot run (in a notebook or an
    interactive session) or nothing works, and `RuntimeStartedError` where TensorFlow's runtime has
    started before it, whose threads do not survive a fork.

    Example:
        >>> for attempt in kamerton(cb=set_threading, vertex=[22, 2]):  # doctest: +SKIP
        ...     model = build_model()
        ...     print(timeit.timeit(lambda: model.predict(data), number=1))
    """
    for name, count in (("repeats", repeats), ("iterations", iterations)):
        if count is not None and (not isinstance(count, int) or count < 1):
            raise InvalidInputError(f"{name} must be an integer from 1 up, but got {count!r}")
    start: Sequence[int] = [usable_cpus().count] * 2 if vertex is None else vertex
    if bounds is None:
        bounds = _usual_bounds(start, counts=vertex is None or cb is set_threading)
    space, points = _space(start, bounds), [start, *_steps(start, step_sizes)]
    search = NelderMead(
        space, start=[_config(space, p) for p in points], budget=iterations, seed=seed
    )
    if not timeout > 0:
        raise InvalidInputError(f"timeout must be above 0 seconds, but got {timeout!r}")
    return Loop(cb or _nothing, start, search.to_json(), repeats, timeout, callback)


@dataclass(frozen=True)
class Loop:
    """What `kamerton` returns: each iteration over it is a search of its own."""

    cb: Callable[[Any], object]
    start: Sequence[int]
    search: dict[str, Any]
    repeats: int
    timeout: float
    callback: Callback | None

    def __iter__(self) -> Iterator[Any]:
        """Search in forked processes, then yield the best vertex in this one."""
        order = json.loads(os.environ.pop(ORDER, "null"))
        if order is not None:
            yield from self._ordered(order)
            return
        _check_place()
        here = _fork_keeper()
        if isinstance(here, ForkedChild):
            yield from self._attempt(here)
            return
        with contextlib.closing(here):
            best = self._searched(here)
        self.cb(best)
        yield best

    def _attempt(self, child: ForkedChild) -> Iterator[Any]:
        """In an attempt's own process: let the body run once, and end."""
        connection = child.enter()
        yield from self._last(Body(connection), child.request["vertex"])

    def _ordered(self, order: dict[str, Any]) -> Iterator[Any]:
        """In a process that `kamerton-ray run` has started: do as it orders."""
        if order["kind"] == FINAL:
            best = self._typed(order["vertex"])
            self.cb(best)
            yield best
            return
        body = Body(Connection(int(os.environ.pop(REPORT_FD))))
        if order["kind"] == DESCRIBE:
            body.answer({"search": self.search, "repeats": self.repeats, "timeout": self.timeout})
        yield from self._last(body, order["vertex"])

    def _last(self, body: Body, vertex: list[int]) -> Iterator[Any]:
        """Let the body run once; then this process ends."""
        try:
            attempt = self._typed(vertex)
            self.cb(attempt)
            yield attempt
        except GeneratorExit:
            body.end_at_the_next_step(_script_frame())
            return
        except BaseException as error:  # noqa: BLE001 - it is the answer
            body.raised(error)
        body.done()

    def _searched(self, keeper: Keeper) -> Any:  # noqa: ANN401 - the vertex's own type
        search = NelderMead.from_json(self.search)
        while isinstance(trial := search.ask(), Suggestion):
            vertex = self._typed(trial.config.values())
            value, left = self._value(keeper, vertex, first=not search.measured)
            if left and value is None:
                break
            search.tell(trial.id, value)
            if self.callback is not None:
                self.callback([(self._typed(b.config.values()), b.value) for b in search.simplex])
            if left:
                break
        if search.best is None:
            raise LoopError("no attempt has printed a number, so there is no best one")
        return self._typed(search.best.config.values())

    def _value(self, keeper: Keeper, vertex: object, *, first: bool) -> tuple[float | None, bool]:
        """The median of what the body printed last, and whether it left its loop."""
        values = []
        try:
            for _ in range(self.repeats):
                value, left = _run(keeper, vertex, self.timeout)
                if left or value is None:
                    return value, left
                values.append(value)
        except AttemptError as error:
            if first or error.outcome is Outcome.SERVER_LOST:
                raise LoopError(
                    f"the attempt {vertex} failed, and with it the loop: {error}"
                ) from None
            _log.warning("The attempt %s failed: %s", vertex, error)
            return None, False
        return statistics.median(values), False

    def _typed(self, values: Iterable[int]) -> Any:  # noqa: ANN401 - the vertex's own type
        make = getattr(type(self.start), "_make", Vertex)
        return make(values)


def _run(keeper: Keeper, vertex: Any, timeout: float) -> tuple[float | None, bool]:  # noqa: ANN401
    """Run the body once: the number it printed last, and whether it left its loop.

    Raises:
        AttemptError: It failed, or printed no number last and did not leave its loop.
    """
    with Attempt(keeper, keeper.forked({"vertex": list(vertex)}), timeout) as attempt:
        return outcome_of(attempt, timeout)


def outcome_of(attempt: Attempt, timeout: float) -> tuple[float | None, bool]:
    """What the body in a process comes to: the number it printed last, and whether it left.

    Raises:
        AttemptError: It failed, or printed no number last and did not leave its loop.
    """
    left = LEFT in attempt.answer(timeout)
    lines = [line for line in attempt.printed.replace("\r", "\n").splitlines() if line.strip()]
    with contextlib.suppress(ValueError, IndexError):
        if math.isfinite(value := float(lines[-1])):
            return value, left
    if left:
        return None, True
    said = f"but the last line is {lines[-1]!r}" if lines else "but it has printed nothing"
    raise attempt.failed(Outcome.NO_NUMBER, said)


class _ForkedProcess:
    """A child of this process, by its id."""

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


def _fork_keeper() -> Keeper | ForkedChild:
    """Fork the process that forks the attempts; this returns in the script and in each attempt."""
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid:
        theirs.close()
        return Keeper(_ForkedProcess(pid), ours)
    child = None
    try:
        ours.close()
        os.setsid()  # Ctrl-C is for the script alone
        before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
        child = Forker(theirs).serve()
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
    finally:
        if child is None:
            os._exit(0)
    return child


def _script_frame() -> FrameType | None:
    """The innermost frame that is not of this module: it holds the loop."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back
    return frame


def _check_place() -> None:
    if not hasattr(os, "fork"):
        raise LoopError("kamerton's loop forks, which this system cannot; use benchmark(build)")
    if hasattr(sys, "ps1") or "ipykernel" in sys.modules:
        raise LoopError(
            "kamerton's loop runs its body in forks of a script, and neither a notebook nor an "
            "interactive session is one; make the body a function and use benchmark(build) there"
        )
    if runtime_started():
        raise RuntimeStartedError(
            "TensorFlow's runtime has already started, and its threads do not survive the fork of "
            "an attempt; move what makes the first tensor or model into the loop's body"
        )


def _usual_bounds(start: Sequence[int], *, counts: bool) -> list[tuple[int, int]]:
    """The lowest and the highest value of each axis, where nobody has said them.

    Args:
        start: The vertex. Fields of a named tuple tell which of its values are thread counts.
        counts: Whether it is `[intra, inter]` anyway.
    """
    values = _integers("vertex", start)
    of_counts = thread_bounds(usable_cpus().count)
    fields = THREADS if counts else getattr(start, "_fields", ())
    bounds = []
    for place, value in enumerate(values):
        field = fields[place] if place < len(fields) else ""
        name = next((name for name in THREADS if field.startswith(name[:5])), None)
        low, high = of_counts[name] if name else (1, max(LEAST_UPPER, 4 * value))
        bounds.append((low, max(high, value)))
    return bounds


def _space(start: Sequence[int], bounds: Sequence[tuple[int, int]]) -> IntegerSpace:
    values = _integers("vertex", start)
    if not values:
        raise InvalidInputError("vertex must hold at least one integer, but got none")
    if len(bounds) != len(values) or any(len(pair) != 2 for pair in bounds):  # noqa: PLR2004
        raise InvalidInputError(
            f"bounds must be a pair (low, high) for each of {len(values)} axes, but got {bounds!r}"
        )
    ends = [_integers("bounds", pair) for pair in bounds]
    for value, (low, high) in zip(values, ends, strict=True):
        if not low <= value <= high:
            raise InvalidInputError(
                f"vertex must lie within its bounds, but {value} is not from {low} to {high}"
            )
    names = [f"x{i}" for i in range(len(values))]
    return IntegerSpace(
        {n: range(low, high + 1) for n, (low, high) in zip(names, ends, strict=True)}
    )


def _steps(start: Sequence[int], sizes: Sequence[int] | None) -> list[list[int]]:
    """The vertices beside the first: one step along each axis."""
    if sizes is None:
        return []
    steps = _integers("step_sizes", sizes)
    if len(steps) != len(start):
        raise InvalidInputError(f"step_sizes must be one for each axis, but got {sizes!r}")
    return [[v + step * (i == j) for j, v in enumerate(start)] for i, step in enumerate(steps)]


def _config(space: IntegerSpace, values: Sequence[int]) -> dict[str, int]:
    """The configuration, moved onto the bounds."""
    return {
        axis.name: min(max(value, axis.values[0]), axis.values[-1])
        for axis, value in zip(space.axes, values, strict=True)
    }


def _integers(name: str, values: Sequence[int]) -> list[int]:
    try:
        return [operator.index(value) for value in values]
    except TypeError:
        raise InvalidInputError(f"{name} must be integers, but got {values!r}") from None


def _nothing(_: object) -> None:
    """The callback of a loop that has none."""
