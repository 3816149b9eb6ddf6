"""A look inside of a step: what of its time passes in TensorFlow, and what before its door.

Python's own profiler tells it, call by call. It slows down Python alone: what TensorFlow does in a
call takes as long as ever. So that is what is counted, and what Python takes is for the reader to
find, as the rest of a step's usual time.
"""

from __future__ import annotations

import cProfile
import math
import re
import time
from collections.abc import Callable
from types import CodeType

from kamerton_ray.process.messages import Inside

OF_A_FUNCTION = "TFE_Py_Execute"
"""In the name of the compiled function that calls a `tf.function`; others call operations."""

OF_TENSORFLOW = re.compile(r"TFE_|tensorflow|pywrap")
"""The names of the compiled functions by which Python calls TensorFlow
(tensorflow/python/tfe_wrapper.cc)."""

WAITING = re.compile(
    r"built-in method time\.sleep|'acquire' of|'wait' of|select\.|posix\.|'re(ad|cv)"
)
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
    profile = cProfile.Profile()
    begin = time.perf_counter()
    for _ in range(count):
        profile.runcall(step)
    seconds = time.perf_counter() - begin
    entries = profile.getstats()
    compiled = {one.code: one.inlinetime for one in entries if isinstance(one.code, str)}
    python = {one.code: one.totaltime for one in entries if isinstance(one.code, CodeType)}
    return Inside(
        count,
        seconds,
        tensorflow_s=math.fsum(t for name, t in compiled.items() if OF_TENSORFLOW.search(name)),
        functions_s=math.fsum(t for name, t in compiled.items() if OF_A_FUNCTION in name),
        waiting_s=math.fsum(t for name, t in compiled.items() if WAITING.search(name)),
        input_s=math.fsum(took for code, took in python.items() if _is_next_batch(code)),
        loop=_loop(python, MOSTLY * seconds),
    )


def _is_next_batch(code: CodeType) -> bool:
    name, file = NEXT_BATCH
    return code.co_name == name and code.co_filename.endswith(file)


def _loop(python: dict[CodeType, float], least_s: float) -> str:
    """Keras's function in which most of the time passes; empty where it is none of them."""
    found = {
        code.co_name: took
        for code, took in python.items()
        if code.co_name in KERAS_LOOPS and "keras" in code.co_filename and took >= least_s
    }
    return max(found, key=lambda name: found[name], default="")
