"""A look inside of a step: what of its time passes in TensorFlow, and what before its door.

A profile tells it, call by call. It slows down Python alone: what TensorFlow does in a call takes
as long as ever. So that is what is counted, and what Python takes is for the reader to find, as the
rest of a step's usual time.

It is not `cProfile`. Python 3.12 says of a compiled method which another package binds itself, as
pybind11 does, that it returns, but not that it was called. `cProfile`, up to 3.13 at least, takes
that for the return of its caller, and so loses whole callers. Here such a return is passed over.
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, CodeType, FrameType
from typing import Any

from kamerton_ray.process.messages import Inside

OF_A_FUNCTION = re.compile(r"TFE_Py_Execute")
"""In the name of the compiled function that calls a `tf.function`; others call operations."""

OF_TENSORFLOW = re.compile(r"TFE_|tensorflow|pywrap")
"""The names of the compiled functions by which Python calls TensorFlow
(tensorflow/python/tfe_wrapper.cc)."""

WAITING = re.compile(r"time\.sleep|\.acquire|\.wait|select\.|posix\.|\.(read|recv)")
"""Compiled functions that wait for something else."""

NEXT_BATCH = ("iterator_get_next", "gen_dataset_ops.py")
"""The function in which Python waits for a tf.data.Dataset, and its file."""

KERAS_LOOPS = ("predict", "fit", "evaluate", "predict_on_batch", "train_on_batch", "test_on_batch")
"""Keras's functions that do much around the call of a model."""

MOSTLY = 0.5
"""A loop of Keras's is named that takes at least this share of the time."""


def look_inside(step: Callable[[], object], count: int) -> Inside:
    """Run so many steps under Python's profiler.

    Args:
        step: The step.
        count: How many.

    Raises:
        ValueError: Another profiler is at work.
    """
    profile = _Profile()
    begin = time.perf_counter()
    profile.run(step, count)
    seconds = time.perf_counter() - begin
    return Inside(
        count,
        seconds,
        tensorflow_s=profile.compiled_s(OF_TENSORFLOW),
        functions_s=profile.compiled_s(OF_A_FUNCTION),
        waiting_s=profile.compiled_s(WAITING),
        input_s=math.fsum(took for code, took in profile.python.items() if _is_next_batch(code)),
        loop=_loop(profile.python, MOSTLY * seconds),
    )


class _Profile:
    """Where the time of this thread's calls passes.

    Attributes:
        python: The seconds in each function of Python, what it calls included.
        compiled: The seconds in each compiled function, without what that calls.
    """

    def __init__(self) -> None:
        self.python: defaultdict[CodeType, float] = defaultdict(float)
        self.compiled: defaultdict[str, float] = defaultdict(float)
        self._calls: list[_Call] = []

    def run(self, step: Callable[[], object], count: int) -> None:
        """Run so many steps.

        Raises:
            ValueError: Another profiler is at work, or a step has brought one.
        """
        if sys.getprofile() is not None:
            raise ValueError("another profiler is at work")
        note = self._note
        sys.setprofile(note)
        try:
            for _ in range(count):
                step()
            if sys.getprofile() is not note:
                raise ValueError("a step has brought a profiler of its own")
        finally:
            sys.setprofile(None)

    def compiled_s(self, names: re.Pattern[str]) -> float:
        """The seconds in the compiled functions with such names."""
        return math.fsum(took for name, took in self.compiled.items() if names.search(name))

    def _note(self, frame: FrameType, event: str, function: Any) -> None:  # noqa: ANN401 - of c_call
        """A call begins or ends."""
        now = time.perf_counter()
        if event == "call":
            self._calls.append(_Call(frame.f_code, now))
        elif event == "c_call":
            self._calls.append(_Call(_name(function), now))
        elif self._calls:
            last = self._calls[-1].called
            if last is frame.f_code if event == "return" else last == _name(function):
                self._ended(self._calls.pop(), now)

    def _ended(self, call: _Call, now: float) -> None:
        took = now - call.began
        if self._calls:
            self._calls[-1].within += took
        if isinstance(call.called, CodeType):
            self.python[call.called] += took
        else:
            self.compiled[call.called] += took - call.within


@dataclass(slots=True)
class _Call:
    """A call that has not ended.

    Attributes:
        called: The code of the function, or the name of a compiled one.
        began: When it began.
        within: How many seconds passed in the calls that it made.
    """

    called: CodeType | str
    began: float
    within: float = 0.0


def _name(function: BuiltinFunctionType) -> str:
    """A compiled function's name, after that of its module or, of a method, of its class."""
    owner = function.__module__ or type(function.__self__).__name__
    return f"{owner}.{function.__name__}"


def _is_next_batch(code: CodeType) -> bool:
    name, file = NEXT_BATCH
    return code.co_name == name and code.co_filename.endswith(file)


def _loop(python: Mapping[CodeType, float], least_s: float) -> str:
    """Keras's function in which most of the time passes; empty where it is none of them."""
    found = {
        code.co_name: took
        for code, took in python.items()
        if code.co_name in KERAS_LOOPS and "keras" in code.co_filename and took >= least_s
    }
    return max(found, key=lambda name: found[name], default="")
