"""Kamerton's loop: `for attempt in kamerton(...)` runs its body once per attempt, each in a fork.

Before the first attempt the script forks a nest. In each attempt that the nest forks the iteration
yields, the body runs, and what it prints comes back to the script, which searches. The last
iteration alone runs in the script's own process, with the best vertex.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, NamedTuple, TypeAlias

from kamerton_ray.errors import InvalidInputError, LoopError, RuntimeStartedError
from kamerton_ray.machine.cpus import usable_cpus
from kamerton_ray.machine.threads import THREADS, runtime_started, set_threading
from kamerton_ray.process.attempt import Attempt
from kamerton_ray.process.handle import NestHandle
from kamerton_ray.process.in_command_nest import inherited_channel
from kamerton_ray.process.nest import Channel
from kamerton_ray.process.outcome import AttemptError, Outcome
from kamerton_ray.process.script_nest import fork_nest
from kamerton_ray.search.nelder_mead import NelderMead, Suggestion
from kamerton_ray.search.space import IntegerSpace
from kamerton_ray.trial.body import Body, generated_files
from kamerton_ray.trial.loop_messages import BodyEnded, Describe, RunBody, Search, order
from kamerton_ray.trial.loop_space import Bounds, first_vertices, space_within, usual_bounds

AnyVertex: TypeAlias = Any
"""A vertex in its caller's own type: a named tuple stays one, with its fields."""

Callback = Callable[[list[tuple[AnyVertex, float]]], object]

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
        if len(self) != len(THREADS):
            raise AttributeError(f"only a pair is [intra, inter], but this is {list(self)}")
        return self[index]


def kamerton(
    cb: Callable[[AnyVertex], object] | None = None,
    vertex: Sequence[int] | None = None,
    *,
    step_sizes: Sequence[int] | None = None,
    bounds: Bounds | None = None,
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

    Examples:
        >>> for attempt in kamerton(cb=set_threading, vertex=[22, 2]):  # doctest: +SKIP
        ...     model = build_model()
        ...     print(timeit.timeit(lambda: model.predict(data), number=1))
    """
    for name, count in (("repeats", repeats), ("iterations", iterations)):
        if count is not None and (not isinstance(count, int) or count < 1):
            raise InvalidInputError(f"{name} must be an integer from 1 up, but got {count!r}")
    start: Sequence[int] = [usable_cpus().count] * 2 if vertex is None else vertex
    if bounds is None:
        bounds = usual_bounds(start, counts=vertex is None or cb is set_threading)
    space = space_within(bounds, start)
    loop = Loop(
        cb=cb or _nothing,
        start=start,
        space=space,
        first=first_vertices(space, start, step_sizes),
        iterations=iterations,
        repeats=repeats,
        timeout=timeout,
        seed=seed,
        callback=callback,
    )
    loop.search()  # what is wrong with it is said here
    if not timeout > 0:
        raise InvalidInputError(f"timeout must be above 0 seconds, but got {timeout!r}")
    return loop


@dataclass(frozen=True, kw_only=True)
class Loop:
    """What `kamerton` returns, which documents its options.

    Attributes:
        space: What is searched.
        first: The vertices to try first.
    """

    cb: Callable[[AnyVertex], object]
    start: Sequence[int]
    space: IntegerSpace
    first: list[list[int]]
    iterations: int | None
    repeats: int
    timeout: float
    seed: int
    callback: Callback | None

    def __iter__(self) -> Iterator[AnyVertex]:
        """Search in forked processes, then yield the best vertex in this one.

        Each iteration over a loop is a search of its own.
        """
        told = order()
        if told is not None:
            yield from self._ordered(told)
            return
        _check_place()
        nest = fork_nest()
        if isinstance(nest, Channel):
            told = nest.receive(RunBody)
            yield from self._attempt(Body(nest, inherited=generated_files()), told)
            return
        with contextlib.closing(nest):
            best = self._searched(nest)
        self.cb(best)
        yield best

    def search(self) -> NelderMead:
        """The search from its beginning."""
        names = [axis.name for axis in self.space.axes]
        start = [dict(zip(names, vertex, strict=True)) for vertex in self.first]
        return NelderMead(self.space, start=start, budget=self.iterations, seed=self.seed)

    # --- in a process that runs the script ------------------------------------------------------

    def _ordered(self, told: Describe | RunBody) -> Iterator[AnyVertex]:
        """In a process that `kamerton-ray run` has started: do as it orders."""
        if isinstance(told, Describe):
            Body(inherited_channel()).answer(self._described())
        if not told.goes_on:
            yield from self._attempt(Body(inherited_channel()), told)
            return
        best = self._typed(told.vertex)
        self.cb(best)
        yield best

    def _described(self) -> Search:
        return Search(
            bounds=[[axis.values[0], axis.values[-1]] for axis in self.space.axes],
            starts=self.first,
            iterations=self.iterations,
            repeats=self.repeats,
            timeout=float(self.timeout),
        )

    def _attempt(self, body: Body, told: RunBody) -> Iterator[AnyVertex]:
        """In an attempt: let the body run once; then this process ends."""
        try:
            attempt = self._typed(told.vertex)
            self.cb(attempt)
            yield attempt
        except GeneratorExit:
            body.end_at_the_next_step(_script_frame())
            return
        except BaseException as error:  # noqa: BLE001 - it is the answer
            body.raised(error)
        body.done()

    # --- in the script's own process ------------------------------------------------------------

    def _searched(self, nest: NestHandle) -> AnyVertex:
        """The best vertex."""
        search = self.search()
        while isinstance(trial := search.ask(), Suggestion):
            vertex = self._typed(trial.config.values())
            value, left = self._tried(nest, vertex, first=not search.measured)
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

    def _tried(self, nest: NestHandle, vertex: AnyVertex, *, first: bool) -> BodyResult:
        """The median of what the body printed last, and whether it left its loop."""
        values = []
        try:
            for _ in range(self.repeats):
                result = _run(nest, vertex, self.timeout)
                if result.left or result.value is None:
                    return result
                values.append(result.value)
        except AttemptError as error:
            if first or error.outcome is Outcome.SERVER_LOST:
                raise LoopError(
                    f"the attempt {vertex} failed, and with it the loop: {error}"
                ) from None
            _log.warning("The attempt %s failed: %s", vertex, error)
            return BodyResult(None, left=False)
        return BodyResult(statistics.median(values), left=False)

    def _typed(self, values: Iterable[int]) -> AnyVertex:
        make = getattr(type(self.start), "_make", Vertex)
        return make(values)


class BodyResult(NamedTuple):
    """What the body of a loop comes to.

    Attributes:
        value: The number that it printed last, if it did.
        left: Whether it left its loop.
    """

    value: float | None
    left: bool


def body_result(attempt: Attempt, timeout: float) -> BodyResult:
    """What the body that runs in an attempt comes to.

    Raises:
        AttemptError: It failed, or printed no number last and did not leave its loop.
    """
    return what_ended(attempt, attempt.answer(BodyEnded, timeout))


def what_ended(attempt: Attempt, ended: BodyEnded) -> BodyResult:
    """What a body that has ended comes to.

    Raises:
        AttemptError: It printed no number last and did not leave its loop.
    """
    left = ended.left
    lines = [line for line in attempt.printed.replace("\r", "\n").splitlines() if line.strip()]
    with contextlib.suppress(ValueError, IndexError):
        if math.isfinite(value := float(lines[-1])):
            return BodyResult(value, left)
    if left:
        return BodyResult(None, left)
    said = f"but the last line is {lines[-1]!r}" if lines else "but it has printed nothing"
    raise attempt.failed(Outcome.NO_NUMBER, said)


def _run(nest: NestHandle, vertex: AnyVertex, timeout: float) -> BodyResult:
    with Attempt(nest) as attempt:
        attempt.give(RunBody(list(vertex)))
        return body_result(attempt, timeout)


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


def _nothing(_: object) -> None:
    """The callback of a loop that has none."""
