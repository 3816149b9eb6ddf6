"""Locks that the kernel frees when their process ends, however it ends.

A lock is a file, in a folder that nobody else can write to: in one that all can write to, another
user could hold it for ever, or have put a pipe in its place, whose opening waits for a reader.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from kamerton_ray.errors import KamertonError


class LockedError(KamertonError, RuntimeError):
    """Another process holds a lock that is not waited for."""


def own_folder() -> Path:
    """A folder for this user's locks, the same for all processes of this user on this machine.

    Raises:
        PermissionError: Its name is taken by something that others can write to.
    """
    path = Path(tempfile.gettempdir(), f"kamerton_ray-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=stat.S_IRWXU)
    found = path.lstat()
    others = stat.S_IRWXG | stat.S_IRWXO
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & others:
        raise PermissionError(f"{path} must be a folder that its user alone can open")
    return path


@contextlib.contextmanager
def locked(path: Path, *, wait: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold a lock; its file is removed when it is freed.

    Args:
        path: The file.
        wait: Called before waiting for another process that holds it; without it that is an error.

    Raises:
        LockedError: Another process holds it, and is not waited for.
        OSError: The file cannot be made.
    """
    file = _held(path, wait)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _held(path: Path, wait: Callable[[], object] | None) -> int:
    """The open file of a lock that is held and still has its name."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            _lock(file, path, wait)
            if _is(file, path):  # or else it was removed meanwhile, and others lock a new one
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _lock(file: int, path: Path, wait: Callable[[], object] | None) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if wait is None:
            raise LockedError(f"another process holds {path}") from None
        wait()
        fcntl.flock(file, fcntl.LOCK_EX)


def _is(file: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False
