"""The clean process that forks one child per attempt, and what runs in such a child.

`kamerton_ray.isolation` starts it by exec, so it holds nothing of Ray's process. It imports
TensorFlow and what `build` needs once, stays single-threaded itself, and then forks: a child pays
neither import. It ends, and takes its children along, when the process that started it ends.

Messages are JSON. Requests and notices pass over a socket of packets; each child has a connection
and two pipes of its own, so nothing that it prints can be taken for a result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import itertools
import json
import os
import pickle
import shutil
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from kamerton_ray.machine.hardware import Machine, this_machine
from kamerton_ray.machine.threads import Threading, runtime_started, set_threading
from kamerton_ray.process.forker import ForkedChild, Forker, end_of, send

BY_VALUE = "<dynamic-code>"
"""The file's name in a function that was pickled by value (cloudpickle, `_code_reduce`)."""

Step = Callable[[], object]

MAX_TICKS = 2000
"""No block reports more step times than this; of a longer one every n-th is a sum of n steps."""


def main(control_fd: int) -> None:
    """Load what `build` needs, then fork children on request until the other end closes."""
    control = socket.socket(fileno=control_fd)
    setup = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - from the process that started us
    # AutoGraph leaves a file for each function in there, as a forked child runs no exit handlers.
    tempfile.tempdir = setup["folder"]
    try:
        _serve(control, _Loader(setup), preload=setup["preload"])
    finally:
        shutil.rmtree(setup["folder"], ignore_errors=True)


def _serve(control: socket.socket, loader: _Loader, *, preload: bool) -> None:
    threads: list[threading.Thread] = []
    try:
        if preload:
            loader.load(lambda: threads.extend(threading.enumerate()))
    except BaseException:  # noqa: BLE001 - whatever the user's module raises on import
        send(control, {"error": end_of(traceback.format_exc())})
        return
    send(control, {"started": _started(threads) if preload else ""})
    if (child := Forker(control).serve()) is not None:
        _run_child(child, loader)


def _started(before: list[threading.Thread]) -> str:
    """What the user's modules have started that does not survive a fork; empty for nothing."""
    if runtime_started():
        return "TensorFlow's runtime"
    names = [thread.name for thread in threading.enumerate() if thread not in before]
    return f"threads ({', '.join(names)})" if names else ""


class _Loader:
    """Imports TensorFlow, if it is wanted, and unpickles `build`: in the server or in a child."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._pickled: bytes = setup["build"]
        self.tensorflow: bool = setup["tensorflow"]
        self.source: str = setup["source"]
        self._build: Callable[..., Step] | None = None

    def load(self, before: Callable[[], object] = lambda: None) -> Callable[..., Step]:
        """`build`; `before` is called when TensorFlow is there and the user's modules are not."""
        if self.tensorflow:
            import tensorflow  # noqa: F401, ICN001, PLC0415 - once, for all the children
        before()
        if self._build is None:
            self._build = pickle.loads(self._pickled)  # noqa: S301 - from our own parent
        return self._build


def _run_child(child: ForkedChild, loader: _Loader) -> NoReturn:
    """The child's whole life: build the step, run blocks of it on request, and end."""
    code = 1
    try:
        _answer(child.enter(), loader, Threading(*child.request["threads"]))
        code = 0
    except EOFError:  # the parent is done with us
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001 - the exit code has to say it
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # the server's own exit handlers are not ours to run


def _answer(connection: Connection, loader: _Loader, threads: Threading) -> None:
    pid = os.getpid()
    config = connection.recv_bytes()

    def reply(message: dict[str, Any]) -> None:
        if os.getpid() != pid:  # a process that the user's code forked has come back here
            os._exit(0)
        connection.send_bytes(json.dumps(message).encode())

    try:
        step = _built(loader, threads, config)
    except Exception as error:  # noqa: BLE001 - it is the answer
        reply(_raised("build", error, loader.source))
        return
    if not callable(step):
        reply({"wrong_return": f"{step!r} of type {type(step).__name__}"})
        return
    reply({"machine": _machine().to_json()})
    while True:
        count = json.loads(connection.recv_bytes())["steps"]
        cpu_s = time.process_time()
        try:
            seconds = _block(step, count)
        except Exception as error:  # noqa: BLE001 - it is the answer
            reply(_raised("step", error, loader.source))
            return
        reply({"seconds": seconds, "cpu_s": time.process_time() - cpu_s})


def _raised(where: str, error: Exception, source: str) -> dict[str, Any]:
    memory = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
    text = "".join(traceback.format_exception(error))
    if source:
        text = text.replace(f'File "{BY_VALUE}"', f'File "{source}"')
    return {"raised": where, "traceback": text, "memory": memory}


def _built(loader: _Loader, threads: Threading, config: bytes) -> Step:
    """Set the threads, then build: nothing of the user's runs before the threads are set."""

    def before() -> None:
        if loader.tensorflow:
            set_threading(threads)

    build = loader.load(before)
    if takes_config(build):
        return build(pickle.loads(config))  # noqa: S301 - from our own parent
    return build()


def takes_config(build: Callable[..., object]) -> bool:
    """Whether `build` wants the trial's configuration: it has a positional parameter to fill."""
    try:
        parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in positional and p.default is p.empty for p in parameters)


def _block(step: Step, count: int) -> list[float]:
    """The seconds of each of `count` steps one after the other, or of runs of n in a long block."""
    clock = time.perf_counter
    run = -(-count // MAX_TICKS)
    ticks = [clock()]
    for _ in range(count // run):
        for _ in range(run):
            step()
        ticks.append(clock())
    return [(after - before) / run for before, after in itertools.pairwise(ticks)]


def _machine() -> Machine:
    """What identifies the hardware and the build, so that results of two are not mixed."""
    return dataclasses.replace(
        this_machine(),
        tensorflow=getattr(sys.modules.get("tensorflow"), "__version__", ""),
        onednn=_onednn(),
    )


def _onednn() -> str:
    """Whether TensorFlow's oneDNN kernels are on; tensorflow/core/util/port.cc decides it."""
    if "tensorflow" not in sys.modules:
        return "unknown"
    try:
        from tensorflow.python.util import _pywrap_util_port  # noqa: PLC0415

        return "on" if _pywrap_util_port.IsMklEnabled() else "off"
    except (ImportError, AttributeError):
        return "unknown"
