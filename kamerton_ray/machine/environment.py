"""What a user's program would find outside Ray's worker process: its environment, its niceness.

Ray sets `OMP_NUM_THREADS` in a worker (ray/_private/utils.py, `set_omp_num_threads_if_unset`) and
makes it nicer by 15 (`RAY_worker_niceness`), Tune sets `PL_DISABLE_FORK`
(ray/tune/execution/class_cache.py), and all of them change what is measured.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

_OF_THE_WORKER = ("PATH", "PYTHONPATH", "VIRTUAL_ENV")
"""What a runtime_env changes so that its packages are found; it is the worker's to say."""

_OF_TUNE = ("PL_DISABLE_FORK",)

_OF_THE_RAYLET = ("LD_PRELOAD", "RAY_LD_PRELOAD_ON_WORKERS", "MALLOC_CONF")
"""What Ray adds to a node's own process, where the user preloads nothing: jemalloc, an allocator
with which other thread counts may be the best (ray/_private/services.py, `start_ray_process`)."""


def user_environment() -> dict[str, str]:
    """The variables that Ray was started with on this node, and those of the `runtime_env`.

    Outside a Ray worker it is this process's own environment.
    """
    raylet = _raylet()
    started_with = None if raylet is None else _environment_of(raylet.pid)
    if started_with is None:
        return dict(os.environ)
    # Ray has put the values into the worker with their ${NAMES} replaced (ray/_private/utils.py,
    # `update_envs`).
    asked = {
        name: os.environ.get(name, value)
        for name, value in _runtime_env().items()
        if name not in _OF_TUNE
    }
    found = {name: os.environ[name] for name in _OF_THE_WORKER if name in os.environ}
    return {**started_with, **found, **asked}


def user_niceness() -> int:
    """The niceness that Ray was started with on this node, or this process's own outside Ray."""
    raylet = _raylet()
    try:
        return os.getpriority(os.PRIO_PROCESS, 0 if raylet is None else raylet.pid)
    except ProcessLookupError:
        return os.getpriority(os.PRIO_PROCESS, 0)


def working_directory() -> str | None:
    """Where the user's program would run: Tune has moved its trials into folders of their own."""
    original = os.environ.get("TUNE_ORIG_WORKING_DIR")
    return original if original and Path(original).is_dir() else None


def _raylet() -> psutil.Process | None:
    """The process that has started this one, if that is a node's of Ray.

    The number that Ray gives is another process's where this one is in a container of its own.
    """
    said = os.environ.get("RAY_RAYLET_PID", "")
    return next((one for one in psutil.Process().parents() if str(one.pid) == said), None)


def _environment_of(pid: int) -> dict[str, str] | None:
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="surrogateescape")
    except OSError:
        return None
    pairs = (entry.partition("=") for entry in text.split("\0") if entry)
    found = {name: value for name, _, value in pairs if name}
    return {name: found[name] for name in found if name not in _added_by_ray(found)}


def _added_by_ray(env: Mapping[str, str]) -> tuple[str, ...]:
    """The variables of a node's own process that are not the user's."""
    path = Path(env.get("LD_PRELOAD", ""))
    chosen = env.get("RAY_JEMALLOC_LIB_PATH")
    own = str(path) == chosen if chosen else path.parts[-3:] == ("ray", "core", "libjemalloc.so")
    return _OF_THE_RAYLET if own else ()


def _runtime_env() -> Mapping[str, str]:
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return {}
    variables: Mapping[str, str] = ray.get_runtime_context().runtime_env.get("env_vars") or {}
    return variables
