"""The clean process that forks one child per attempt, and what runs in such a child.

`kamerton_ray.isolation` starts it by exec, so it holds nothing of Ray's process. It imports
TensorFlow and what `build` needs once, stays single-threaded itself, and then forks: a child pays
neither import. It ends, and takes its children along, when the process that started it ends.

Messages are JSON. Requests and notices pass over a socket of packets; each child has a connection
and two pipes of its own, so nothing that it prints can be taken for a result.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import itertools
import json
import os
import pickle
import platform
import resource
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from kamerton_ray.threads import Threading, set_threading, usable_cpus

Step = Callable[[], object]

PACKET = 1 << 16
"""The largest request or notice, in bytes."""

MAX_TICKS = 2000
"""No block reports more step times than this; of a longer one every n-th is a sum of n steps."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


def main(control_fd: int) -> None:
    """Load what `build` needs, then fork children on request until the other end closes."""
    control = socket.socket(fileno=control_fd)
    setup = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - from the process that started us
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # so that a child's orphans are found
    loader = _Loader(setup)
    try:
        if setup["preload"]:
            loader.load()
    except BaseException:  # noqa: BLE001 - whatever the user's module raises on import
        _send(control, {"error": traceback.format_exc()[-PACKET // 4 :]})
        return
    _send(control, {"runtime_started": loader.runtime_started()})
    _Forker(control, loader).serve()


class _Loader:
    """Imports TensorFlow, if it is wanted, and unpickles `build`: in the server or in a child."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._pickled: bytes = setup["build"]
        self.tensorflow: bool = setup["tensorflow"]
        self._build: Callable[..., Step] | None = None

    def load(self, before: Callable[[], object] = lambda: None) -> Callable[..., Step]:
        """`build`; `before` is called when TensorFlow is there and the user's modules are not."""
        if self.tensorflow:
            import tensorflow  # noqa: F401, ICN001, PLC0415 - once, for all the children
        before()
        if self._build is None:
            self._build = pickle.loads(self._pickled)  # noqa: S301 - from our own parent
        return self._build

    def runtime_started(self) -> bool:
        """Whether TensorFlow's runtime runs: then its threads exist, and a fork loses them."""
        context = sys.modules.get("tensorflow.python.eager.context")
        # Asking for the context itself would create it.
        current = getattr(context, "_context", None)
        return getattr(current, "_context_handle", None) is not None


class _Forker:
    """Forks children on request, reaps them, and says how each ended."""

    def __init__(self, control: socket.socket, loader: _Loader) -> None:
        self._control = control
        self._loader = loader
        self._children: set[int] = set()
        self._woken, waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(waker, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler, or the wake-up is not written
        signal.set_wakeup_fd(waker)

    def serve(self) -> None:
        """Go on until the other end of the control socket is closed."""
        while True:
            sources: list[Any] = [self._control, self._woken]
            ready, _, _ = select.select(sources, [], [])
            if self._woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, PACKET)
                self._reap()
            if self._control in ready and not self._handle_request():
                break
        for pid in self._children:
            _kill_group(pid)

    def _handle_request(self) -> bool:
        packet, fds, _, _ = socket.recv_fds(self._control, PACKET, 3)
        if not packet:
            return False
        request = json.loads(packet)
        if "kill" in request:
            if request["kill"] in self._children:
                _kill_group(request["kill"])
        else:
            self._fork(request, fds)
        return True

    def _fork(self, request: dict[str, Any], fds: list[int]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._control.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _run_child(self._loader, request, fds)
        self._children.add(pid)
        for fd in fds:
            os.close(fd)
        _send(self._control, {"forked": pid})

    def _reap(self) -> None:
        for pid in list(self._children):
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                continue
            _kill_group(pid)  # while the zombie still holds the group's id
            _, status = os.waitpid(pid, 0)
            self._children.remove(pid)
            notice = {
                "exited": pid,
                "code": os.waitstatus_to_exitcode(status),
                "strays": self._kill_strays(),
            }
            with contextlib.suppress(OSError):
                _send(self._control, notice)

    def _kill_strays(self) -> int:
        """Kill what a dead child left behind in another group; it has become a child of ours."""
        count = 0
        while strays := _child_pids() - self._children:
            for pid in strays:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(OSError):
                    os.waitpid(pid, 0)
                count += 1
        return count


def _run_child(loader: _Loader, request: dict[str, Any], fds: list[int]) -> NoReturn:
    """The child's whole life: build the step, run blocks of it on request, and end."""
    code = 1
    try:
        os.setsid()  # its own process group, which can be killed as a whole
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        connection_fd, stdout, stderr = fds
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        devnull = os.open(os.devnull, os.O_RDONLY)
        os.dup2(devnull, 0)
        for fd in (stdout, stderr, devnull):
            os.close(fd)
        _answer(Connection(connection_fd), loader, Threading(*request["fork"]))
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
        reply(_raised("build", error))
        return
    if not callable(step):
        reply({"wrong_return": f"{step!r} of type {type(step).__name__}"})
        return
    reply({"machine": _machine()})
    while True:
        count = json.loads(connection.recv_bytes())["steps"]
        faults, cpu_s = _usage()
        try:
            seconds = _block(step, count)
        except Exception as error:  # noqa: BLE001 - it is the answer
            reply(_raised("step", error))
            return
        now = _usage()
        reply({"seconds": seconds, "faults": now[0] - faults, "cpu_s": now[1] - cpu_s})


def _raised(where: str, error: Exception) -> dict[str, Any]:
    memory = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
    text = "".join(traceback.format_exception(error))
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


def _usage() -> tuple[int, float]:
    """The page faults and the CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_minflt, usage.ru_utime + usage.ru_stime


def _machine() -> dict[str, Any]:
    """What identifies the hardware and the build, so that results of two are not mixed."""
    return {
        "cpu_model": _cpu_model(),
        "usable_cpus": usable_cpus().count,
        "tensorflow": getattr(sys.modules.get("tensorflow"), "__version__", ""),
        "onednn": _onednn(),
    }


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _onednn() -> str:
    """Whether TensorFlow's oneDNN kernels are on; tensorflow/core/util/port.cc decides it."""
    if "tensorflow" not in sys.modules:
        return "unknown"
    try:
        from tensorflow.python.util import _pywrap_util_port  # noqa: PLC0415

        return "on" if _pywrap_util_port.IsMklEnabled() else "off"
    except (ImportError, AttributeError):
        return "unknown"


def _child_pids() -> set[int]:
    pids: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            pids.update(int(pid) for pid in listing.read_text(encoding="ascii").split())
    return pids


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # killed before it could make its group
        os.kill(pid, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # Linux alone has it
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _send(control: socket.socket, message: dict[str, Any]) -> None:
    control.send(json.dumps(message).encode())
