"""Shared libraries: where the loader of a process would find one."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

USUAL = ("/lib", "/usr/lib", "/usr/local/lib")
"""Where libraries lie if nobody says another place, each with the folders of architectures."""

CACHE_TIMEOUT_S = 10.0

DOLLAR = "$"
"""Begins what the loader itself replaces, as $LIB (ld.so(8)): where that leads only it knows."""


def find_library(name: str) -> Path | None:
    """The file of a shared library that a process like this one would load, such as `libm.so.6`.

    It is looked for in LD_LIBRARY_PATH, in the loader's cache, beside this Python, and in the usual
    folders. Nothing is downloaded.
    """
    found = (path for path in _places(name) if path.is_file() and _is_ours(path))
    return next(found, None)


def preloaded(said: str) -> list[str]:
    """The entries of LD_PRELOAD, which spaces or colons part."""
    return [entry for entry in re.split(r"[\s:]+", said) if entry]


def missing_preload(said: str) -> str:
    """The first entry of LD_PRELOAD that is not there, of which the loader only warns; or empty."""
    for entry in preloaded(said):
        there = Path(entry).is_file() if "/" in entry else find_library(entry) is not None
        if not there and DOLLAR not in entry:
            return entry
    return ""


def _places(name: str) -> Iterator[Path]:
    for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":"):
        if folder:
            yield Path(folder, name)
    yield from (Path(path) for entry, path in _cache() if entry == name)
    yield Path(sys.prefix, "lib", name)
    for folder in USUAL:
        yield Path(folder, name)
        yield Path(folder, f"{platform.machine()}-linux-gnu", name)


@functools.cache
def _cache() -> tuple[tuple[str, str], ...]:
    """The libraries in the loader's cache with their files (ldconfig(8))."""
    program = shutil.which("ldconfig", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    if program is None:
        return ()
    try:
        listed = subprocess.run(
            [program, "-p"], capture_output=True, text=True, timeout=CACHE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    pairs = (line.strip().partition(" => ") for line in listed.stdout.splitlines())
    return tuple((entry.split(" ")[0], path) for entry, _, path in pairs if path)


def _is_ours(path: Path) -> bool:
    """Whether a library is for the same kind of machine as this Python, by its ELF header."""
    return _kind_of(path) == _kind_of(Path(sys.executable))


def _kind_of(path: Path) -> tuple[bytes, bytes]:
    """An ELF file's class and machine (elf(5))."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(20)
        return head[:6], head[18:20]
    return b"", b""
