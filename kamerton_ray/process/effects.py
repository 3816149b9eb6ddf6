"""In an attempt: whether what knobs have set took effect; said of nothing that only was asked for.

What nobody here knows how to see, as another variable of the user's own, is taken on trust.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import mmap
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from kamerton_ray.machine.knobs import (
    BFLOAT16,
    FPMATH,
    ONEDNN,
    ONEDNN_MALLOC,
    PRELOAD,
    TUNABLES,
    XLA,
    wants_onednn,
    wants_xla,
)
from kamerton_ray.machine.libraries import DOLLAR, preloaded

SELF = Path("/proc/self")

BLOCK = 64 << 20
"""Whatever is larger than half of this malloc maps by itself, unless it is told otherwise
(malloc/malloc.c, DEFAULT_MMAP_THRESHOLD_MAX)."""

HEAP = b"<heap nr="
"""Before each arena in what malloc_info(3) writes."""

XLA_THREADS = "XLAEigen"
"""In the name of the threads that XLA starts when it first compiles something."""

NAMED_SINCE = (2, 21)
"""The first TensorFlow whose threads have names. Those of older ones have Python's."""


def prepare() -> None:
    """Make the calls that TensorFlow has no variables for; before the user's code runs."""
    if BFLOAT16 in os.environ:
        tf = importlib.import_module("tensorflow")
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})


def without_effect(variables: Mapping[str, str]) -> str:
    """Which of the variables that were set took no effect, and how that is seen; empty for none.

    Args:
        variables: Those that the trial has for its configuration. A first step has been run.
    """
    for name, value in variables.items():
        if os.environ.get(name) is None:
            return f"{name}={value} is not in the environment"
        if reason := _reason(name, value):
            return f"{name}={value}: {reason}"
    return ""


def _reason(name: str, value: str) -> str:
    check = _CHECKS.get(name)
    try:
        return "" if check is None else check(value)
    except ValueError:  # a number was wanted
        return "that is no number"


def onednn() -> str:
    """Whether TensorFlow's oneDNN kernels are on; tensorflow/core/util/port.cc decides it."""
    if "tensorflow" not in sys.modules:
        return "unknown"
    try:
        port = importlib.import_module("tensorflow.python.util._pywrap_util_port")
        return "on" if port.IsMklEnabled() else "off"
    except (ImportError, AttributeError):
        return "unknown"


# --- TensorFlow ----------------------------------------------------------------------------------


def _no_onednn(value: str) -> str:
    wanted = "on" if wants_onednn(value) else "off"
    found = onednn()
    return "" if found == wanted else f"TensorFlow says that oneDNN is {found}"


def _no_system_malloc(_: str) -> str:
    if (found := onednn()) != "on":
        return f"oneDNN is {found}"
    files = [path for path in _mapped() if path.name.startswith("libtensorflow")]
    by_size = sorted(files, key=lambda path: path.stat().st_size)
    known = any(_holds(path, ONEDNN_MALLOC.encode()) for path in by_size)
    return "" if known else "this TensorFlow does not know the variable"


def _no_xla(value: str) -> str:
    if not wants_xla(value) or any(XLA_THREADS in name for name in _thread_names()):
        return ""
    if not _names_its_threads():
        return ""  # nothing here shows whether it has, so it is taken on trust
    return "XLA has compiled nothing of the first step"


def _names_its_threads() -> bool:
    """Whether TensorFlow does; where it is not imported, nothing has been compiled either way."""
    version = getattr(sys.modules.get("tensorflow"), "__version__", "")
    known = re.match(r"(\d+)\.(\d+)", version)
    return known is None or tuple(map(int, known.groups())) >= NAMED_SINCE


def _no_bfloat16(_: str) -> str:
    """What a product shows: 1 + 1/1024 is 1 in bfloat16, and every sum of such is exact."""
    tf = importlib.import_module("tensorflow")
    size, place = 512, 1 + 2.0**-10
    multiply = tf.function(tf.matmul)
    numbers = tf.fill((size, size), place)
    found = float(multiply(numbers, numbers)[0, 0])
    return "" if found == size else f"a product is {found}, as if nothing were rounded to it"


# --- malloc --------------------------------------------------------------------------------------


def _not_preloaded(value: str) -> str:
    mapped = list(_mapped())
    for entry in preloaded(value):
        if DOLLAR not in entry and not any(_is(path, entry) for path in mapped):
            return f"{entry} is not mapped into the process"
    return ""


def _is(path: Path, entry: str) -> bool:
    if "/" in entry:
        return path == Path(entry).resolve()
    return path.name.startswith(entry)


def _no_huge_pages(value: str) -> str:
    if "glibc.malloc.hugetlb=1" not in value:
        return ""
    if other := _other_malloc():
        return other
    with _large_block() as place:
        flags = _flags_at(place)
    # In others NumPy may have asked for them (numpy/_core/src/multiarray/alloc.c).
    return "" if "hg" in flags else "a large block of malloc does not ask for huge pages"


def _flags_at(place: int) -> list[str]:
    """What the kernel knows of the memory at an address (proc_pid_smaps(5), `VmFlags`)."""
    inside = False
    for line in (SELF / "smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        if ends := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(ends[1], 16) <= place < int(ends[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return line.split()[1:]
    return []


def _too_many_arenas(value: str) -> str:
    """Have one thread more than arenas take memory at the same time, and count the arenas."""
    if other := _other_malloc():
        return other
    most = int(value)
    with _threads_with_memory(most + 1):
        found = _malloc_info().count(HEAP)
    return "" if found <= most else f"malloc has {found} arenas"


@contextlib.contextmanager
def _threads_with_memory(count: int) -> Iterator[None]:
    ready, done = threading.Barrier(count + 1), threading.Event()

    def take() -> None:
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        place = libc.malloc(1 << 10)
        ready.wait()
        done.wait()
        libc.free(place)

    threads = [threading.Thread(target=take) for _ in range(count)]
    for thread in threads:
        thread.start()
    ready.wait()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def _malloc_info() -> bytes:
    """What glibc's malloc says of its arenas; malloc_info(3) writes it to a stream."""
    libc = ctypes.CDLL(None)
    libc.open_memstream.restype = ctypes.c_void_p
    libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.fclose.argtypes, libc.free.argtypes = [ctypes.c_void_p], [ctypes.c_void_p]
    text, size = ctypes.c_void_p(), ctypes.c_size_t()
    stream = libc.open_memstream(ctypes.byref(text), ctypes.byref(size))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    found = ctypes.string_at(text.value, size.value) if text.value else b""
    libc.free(text)
    return found


def _maps_large_blocks(value: str) -> str:
    """Take a large block, which malloc maps by itself where the threshold is below it."""
    if other := _other_malloc():
        return other
    if int(value) <= BLOCK:
        return ""
    before = _mapped_bytes()
    with _large_block():
        after = _mapped_bytes()
    return "malloc has mapped a large block by itself" if after - before >= BLOCK else ""


@contextlib.contextmanager
def _large_block() -> Iterator[int]:
    """The address of a block that malloc gives, and whose pages nobody touches."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    place = libc.malloc(BLOCK)
    try:
        yield place
    finally:
        libc.free(place)


class _MallInfo(ctypes.Structure):
    """What mallinfo2(3) returns."""

    _fields_ = (
        *(("arena", ctypes.c_size_t), ("ordblks", ctypes.c_size_t), ("smblks", ctypes.c_size_t)),
        *(("hblks", ctypes.c_size_t), ("hblkhd", ctypes.c_size_t), ("usmblks", ctypes.c_size_t)),
        *(("fsmblks", ctypes.c_size_t), ("uordblks", ctypes.c_size_t)),
        *(("fordblks", ctypes.c_size_t), ("keepcost", ctypes.c_size_t)),
    )


def _mapped_bytes() -> int:
    """How many bytes malloc has mapped by themselves; 0 where glibc is before 2.33."""
    with contextlib.suppress(AttributeError):
        mallinfo = ctypes.CDLL(None).mallinfo2
        mallinfo.restype = _MallInfo
        return int(mallinfo().hblkhd)
    return 0


def _other_malloc() -> str:
    """Whose malloc it is where it is not that of glibc, which alone reads these variables."""
    place = ctypes.cast(ctypes.CDLL(None).malloc, ctypes.c_void_p).value or 0
    for line in (SELF / "maps").read_text(encoding="utf-8", errors="replace").splitlines():
        low, high = (int(end, 16) for end in line.split(" ")[0].split("-"))
        if low <= place < high:
            name = line.rpartition("/")[2]
            return "" if name.startswith("libc") else f"malloc is that of {name}"
    return ""


# --- this process --------------------------------------------------------------------------------


def _mapped() -> Iterator[Path]:
    """The files that are mapped into this process, each once."""
    lines = (SELF / "maps").read_text(encoding="utf-8", errors="replace").splitlines()
    yield from dict.fromkeys(Path(line[line.index("/") :]) for line in lines if "/" in line)


def _holds(path: Path, text: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(text) >= 0


def _thread_names() -> set[str]:
    names = set()
    for path in SELF.glob("task/*/comm"):
        with contextlib.suppress(OSError):
            names.add(path.read_text(encoding="utf-8").strip())
    return names


_CHECKS: dict[str, Callable[[str], str]] = {
    PRELOAD: _not_preloaded,
    TUNABLES: _no_huge_pages,
    "MALLOC_ARENA_MAX": _too_many_arenas,
    "MALLOC_MMAP_THRESHOLD_": _maps_large_blocks,
    ONEDNN: _no_onednn,
    ONEDNN_MALLOC: _no_system_malloc,
    XLA: _no_xla,
    BFLOAT16: _no_bfloat16,
    FPMATH: _no_bfloat16,
}
"""How each variable is seen to have taken effect: why it has not, or nothing."""
