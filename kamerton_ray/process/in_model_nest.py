"""In a model nest: importing once what `build` needs, and what an attempt does there.

`model_nest.ModelNest` starts it by exec, so it holds nothing of Ray's process. It imports
TensorFlow and what `build` needs once, stays single-threaded itself, and then forks: an attempt
pays neither import. It ends, and takes its attempts along, when the process that started it ends.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import os
import pickle
import resource
import shutil
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn, cast

from kamerton_ray.machine.hardware import Machine, machine_with_default
from kamerton_ray.machine.threads import Threading, overruled, runtime_started, set_threading
from kamerton_ray.machine.topology import pin
from kamerton_ray.process.effects import onednn, prepare, without_effect
from kamerton_ray.process.inside import look_inside
from kamerton_ray.process.messages import (
    BuildStep,
    Built,
    Failed,
    ImportsFailed,
    LookInside,
    ModelSetup,
    Ready,
    RunSteps,
    StepSeconds,
    end_of,
    from_json,
)
from kamerton_ray.process.nest import Channel, Nest, end, exit_code
from kamerton_ray.process.outcome import Outcome

BY_VALUE = "<dynamic-code>"
"""The file's name in a function that was pickled by value (cloudpickle, `_code_reduce`)."""

Step = Callable[[], object]

MAX_TICKS = 2000
"""No block reports more step times than this; of a longer one every n-th is a sum of n steps."""


# --- the nest ------------------------------------------------------------------------------------


def main(control_fd: int) -> None:
    """Load what `build` needs, then fork attempts on request until the other end closes."""
    control = socket.socket(fileno=control_fd)
    setup = cast("ModelSetup", _unpickled(sys.stdin.buffer.read()))
    # AutoGraph leaves a file for each function in there, as an attempt runs no exit handlers.
    tempfile.tempdir = setup.folder
    try:
        _serve(control, _Loader(setup), preload=setup.preload)
    finally:
        shutil.rmtree(setup.folder, ignore_errors=True)


def _serve(control: socket.socket, loader: _Loader, *, preload: bool) -> None:
    threads: list[threading.Thread] = []
    try:
        if preload:
            loader.load(lambda: threads.extend(threading.enumerate()))
    except BaseException:  # noqa: BLE001 - whatever the user's module raises on import
        control.send(ImportsFailed(end_of(traceback.format_exc())).to_json())
        return
    control.send(Ready(_started(threads) if preload else "").to_json())
    if (channel := Nest(control).serve()) is not None:
        _attempt(channel, loader)


def _started(before: list[threading.Thread]) -> str:
    """What the user's modules have started that does not survive a fork; empty for nothing."""
    if runtime_started():
        return "TensorFlow's runtime"
    names = [thread.name for thread in threading.enumerate() if thread not in before]
    return f"threads ({', '.join(names)})" if names else ""


class _Loader:
    """Imports TensorFlow, if it is wanted, and unpickles `build`: in the nest or in an attempt.

    Attributes:
        tensorflow: Whether TensorFlow is wanted.
        source: The file of `build`, for tracebacks.
    """

    def __init__(self, setup: ModelSetup) -> None:
        self.tensorflow = setup.tensorflow
        self.source = setup.source
        self._pickled = setup.build
        self._build: Callable[..., Step] | None = None

    def load(self, before: Callable[[], object] = lambda: None) -> Callable[..., Step]:
        """`build`; `before` is called when TensorFlow is there and the user's modules are not."""
        if self.tensorflow:
            importlib.import_module("tensorflow")  # once, for all the attempts
        before()
        if self._build is None:
            self._build = cast("Callable[..., Step]", _unpickled(self._pickled))
        return self._build


def _unpickled(data: bytes) -> object:
    return pickle.loads(data)  # noqa: S301 - from the process that started us


# --- an attempt ----------------------------------------------------------------------------------


def _attempt(channel: Channel, loader: _Loader) -> NoReturn:
    """An attempt's whole life: build the step, run one, then blocks of it on request, and end."""
    code = 1
    try:
        _answer(channel, loader)
        code = 0
    except SystemExit as stop:
        code = exit_code(stop)
    except BaseException:  # noqa: BLE001 - the exit code has to say it
        traceback.print_exc()
    finally:
        end(code)


def _answer(channel: Channel, loader: _Loader) -> None:
    building = channel.receive(BuildStep)
    config = channel.receive_bytes()
    hardware = machine_with_default(os.environ)  # before it gets a place, which is a part of it
    try:
        _settle(building)
        step = _built(loader, Threading(*building.threads), config)
    except Exception as error:  # noqa: BLE001 - it is the answer
        channel.send(_failed(error, Outcome.BUILD_RAISED, loader.source))
        return
    if not callable(step):
        returned = f"but it returned {step!r} of type {type(step).__name__}"
        channel.send(Failed(Outcome.WRONG_RETURN.name, returned))
        return
    channel.send(Built(_machine(hardware).to_json()))
    # What the first step alone does, tracing and allocating, is part of building.
    order: RunSteps | LookInside = RunSteps(1)
    is_first = True
    while True:
        run = look_inside if isinstance(order, LookInside) else _block
        try:
            done = run(step, order.count)
        except Exception as error:  # noqa: BLE001 - it is the answer
            channel.send(_failed(error, Outcome.STEP_RAISED, loader.source))
            return
        # What took effect once stays.
        if is_first and (reason := _without_effect(building, loader)):
            channel.send(Failed(Outcome.NO_EFFECT.name, reason))
            return
        is_first = False
        channel.send(done)
        order = from_json(channel.receive_bytes(), RunSteps, LookInside)


def _settle(order: BuildStep) -> None:
    """Take the place that was given, before TensorFlow counts its CPUs (`NumSchedulableCPUs`)."""
    os.environ.update(order.variables)
    if order.cpus:
        pin(order.cpus)


def _failed(error: Exception, outcome: Outcome, source: str) -> Failed:
    """What the user's code raised; a function that was pickled by value does not know its file."""
    failed = Failed.by(error, outcome)
    if not source:
        return failed
    return replace(failed, detail=failed.detail.replace(f'File "{BY_VALUE}"', f'File "{source}"'))


def _built(loader: _Loader, threads: Threading, config: bytes) -> Step:
    """Set the threads, then build: nothing of the user's runs before the threads are set."""

    def before() -> None:
        if loader.tensorflow:
            set_threading(threads)
            prepare()

    build = loader.load(before)
    return build(_unpickled(config)) if takes_config(build) else build()


def _without_effect(order: BuildStep, loader: _Loader) -> str:
    """What of an order took no effect, and how that is seen; empty for none."""
    if loader.tensorflow and (reason := overruled(Threading(*order.threads))):
        return reason
    return without_effect(order.knobs)


def takes_config(build: Callable[..., object]) -> bool:
    """Whether `build` wants the trial's configuration: it has a positional parameter to fill."""
    try:
        parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in positional and p.default is p.empty for p in parameters)


def _block(step: Step, count: int) -> StepSeconds:
    """Run `count` steps one after the other, in a long block in runs of several."""
    clock, before = time.perf_counter, resource.getrusage(resource.RUSAGE_SELF)
    run = -(-count // MAX_TICKS)
    ticks = [clock()]
    for _ in range(count // run):
        for _ in range(run):
            step()
        ticks.append(clock())
    after = resource.getrusage(resource.RUSAGE_SELF)
    system_s = after.ru_stime - before.ru_stime
    return StepSeconds(
        ticks[0],
        [(end - begin) / run for begin, end in itertools.pairwise(ticks)],
        run,
        cpu_s=after.ru_utime - before.ru_utime + system_s,
        system_s=system_s,
        faults=after.ru_minflt - before.ru_minflt,
    )


def _machine(hardware: Machine) -> Machine:
    """What identifies the hardware and the build, so that results of two are not mixed."""
    return replace(
        hardware,
        tensorflow=getattr(sys.modules.get("tensorflow"), "__version__", ""),
        onednn=onednn(),
    )
