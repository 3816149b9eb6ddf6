"""Knobs beside the threads: what each sets, where it binds, and whether it is to be had here.

A knob adds words to a parameter of the configuration, of which the first is `STOCK`: nothing is
set. The allocators and the settings of malloc share one parameter, since only one of them serves a
process. That a word took effect is seen in the trial's process; see `process/effects.py`.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.hardware import CPU_INFO, cpu_model
from kamerton_ray.machine.libraries import find_library

Variables = dict[str, str]

STOCK = "stock"
"""The word of every knob that sets nothing: what the user's environment has."""

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
ONEDNN_MALLOC = "TF_ONEDNN_USE_SYSTEM_ALLOCATOR"
FPMATH = "DNNL_DEFAULT_FPMATH_MODE"
PRELOAD = "LD_PRELOAD"
TUNABLES = "GLIBC_TUNABLES"
XLA = "TF_XLA_FLAGS"

BFLOAT16 = "KAMERTON_RAY_BFLOAT16"
"""Not TensorFlow's: the trial's process makes the call that TensorFlow has no variable for."""

BFLOAT16_CALL = (
    'tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})'
)

JOINT = {PRELOAD: ":", TUNABLES: ":", XLA: " "}
"""Between what a knob sets and what the user's environment says, in variables that hold lists."""

ENOUGH = str(1 << 32)
"""Of so many bytes malloc gives nothing back, and maps nothing by itself."""

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

HUGETLB_SINCE = (2, 35)
"""The version of glibc from which on it has `glibc.malloc.hugetlb`."""

ONEDNN_FLAGS = frozenset(
    {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}
)
"""With one of these TensorFlow has oneDNN on by default (tensorflow/core/util/port.cc)."""

UNSURE_DEFAULT = "Neoverse V1"
"""Here it may be: port.cc asks for this CPU, which some versions of cpu_info.cc never recognize."""

BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})

AARCH64 = "aarch64"


class Binds(Enum):
    """Where a knob binds; each value says it."""

    EXEC = "when the program starts"
    IMPORT = "when TensorFlow is imported"
    CALL = "by a call before the first function is traced"


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word of a knob.

    Attributes:
        binds: Where it binds.
        variables: What it sets.
        libraries: Of these the first that is found is preloaded.
        lacks: Says why it is not to be had here; empty where it is.
    """

    binds: Binds
    variables: Mapping[str, str] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()
    lacks: Callable[[], str] = lambda: ""

    def missing(self) -> str:
        """Why it is not to be had on this machine; empty where it is."""
        if self.libraries and self._library() is None:
            return f"no {' or '.join(self.libraries)} is where the loader looks"
        return self.lacks()

    def exported(self) -> Variables:
        """What it sets, for another machine: a library by its name, which the loader looks for."""
        preload = {PRELOAD: self.libraries[0]} if self.libraries else {}
        return {**preload, **self.variables}

    def set_here(self) -> Variables:
        """What it sets on this machine, a library by its file."""
        found = self._library()
        return {**self.exported(), **({PRELOAD: str(found)} if found else {})}

    def _library(self) -> Path | None:
        found = (find_library(name) for name in self.libraries)
        return next((path for path in found if path is not None), None)


@dataclass(frozen=True, kw_only=True)
class Knob:
    """A knob.

    Attributes:
        parameter: The parameter that it adds its words to.
        words: The words, beside `STOCK`.
        warning: What else it changes than the time; empty for nothing.
    """

    parameter: str
    words: Mapping[str, Word]
    warning: str = ""


def _glibc() -> tuple[int, ...]:
    """The version of glibc; empty where the C library is another one."""
    said = ""
    with contextlib.suppress(OSError, ValueError):
        said = os.confstr("CS_GNU_LIBC_VERSION") or ""
    name, _, version = said.partition(" ")
    return tuple(map(int, version.split("."))) if name == "glibc" else ()


def _no_glibc() -> str:
    return "" if _glibc() else "the C library is not glibc"


def _no_huge_pages() -> str:
    if _glibc() < HUGETLB_SINCE:
        return "it needs glibc 2.35 or later"
    try:
        said = HUGE_PAGES.read_text(encoding="ascii")
    except OSError:
        return "this kernel has no transparent huge pages"
    # Where they are "always" malloc has them anyway, and asks for none (malloc/malloc.c).
    return "" if "[madvise]" in said else f"{HUGE_PAGES} says {said.strip()}, not madvise"


def _flags() -> Collection[str]:
    """What the first CPU can do."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    return next((one.split() for one in lines if one.startswith(("flags", "Features"))), ())


def wants_onednn(value: str) -> bool:
    """Whether a value of its variable switches oneDNN on."""
    return value.lower() not in {"0", "false"}


def wants_xla(value: str) -> bool:
    """Whether a value of its variable has XLA compile by itself (compiler/jit/flags.cc)."""
    found = re.search(r"tf_xla_auto_jit=(\S+)", value)
    return found is not None and found[1] not in {"0", "-1"}


def onednn_default() -> str:
    """Whether TensorFlow has oneDNN on by default here: `on`, `off`, or `unsure`."""
    if platform.machine() == AARCH64:
        return "unsure" if cpu_model(CPU_INFO) == UNSURE_DEFAULT else "off"
    return "on" if ONEDNN_FLAGS.intersection(_flags()) else "off"


def _onednn_is_on() -> str:
    return "it is on by default" if onednn_default() == "on" else ""


def _no_bfloat16() -> str:
    return "" if BFLOAT16_FLAGS.intersection(_flags()) else "the CPU has no such instructions"


def _no_rewrite() -> str:
    return "fast-math is there for aarch64" if platform.machine() == AARCH64 else _no_bfloat16()


def _no_fast_math() -> str:
    return _no_bfloat16() if platform.machine() == AARCH64 else "it is for aarch64"


KNOBS = {
    "onednn": Knob(
        parameter="onednn",
        words={
            "off": Word(binds=Binds.IMPORT, variables={ONEDNN: "0"}),
            "on": Word(binds=Binds.IMPORT, variables={ONEDNN: "1"}, lacks=_onednn_is_on),
            "system-malloc": Word(binds=Binds.IMPORT, variables={ONEDNN: "1", ONEDNN_MALLOC: "1"}),
        },
    ),
    "allocator": Knob(
        parameter="allocator",
        words={
            "tcmalloc": Word(
                binds=Binds.EXEC, libraries=("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")
            ),
            "jemalloc": Word(binds=Binds.EXEC, libraries=("libjemalloc.so.2",)),
        },
    ),
    "malloc": Knob(
        parameter="allocator",
        words={
            "one-arena": Word(
                binds=Binds.EXEC, variables={"MALLOC_ARENA_MAX": "1"}, lacks=_no_glibc
            ),
            "keep": Word(
                binds=Binds.EXEC,
                variables={"MALLOC_TRIM_THRESHOLD_": ENOUGH, "MALLOC_MMAP_THRESHOLD_": ENOUGH},
                lacks=_no_glibc,
            ),
        },
    ),
    "thp": Knob(
        parameter="allocator",
        words={
            "huge-pages": Word(
                binds=Binds.EXEC,
                variables={TUNABLES: "glibc.malloc.hugetlb=1"},
                lacks=_no_huge_pages,
            )
        },
    ),
    "xla": Knob(
        parameter="xla",
        words={
            "on": Word(
                binds=Binds.IMPORT,
                variables={XLA: "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"},
            ),
        },
    ),
    "bfloat16": Knob(
        parameter="bfloat16",
        words={
            "on": Word(binds=Binds.CALL, variables={BFLOAT16: "1"}, lacks=_no_rewrite),
            "fast-math": Word(
                binds=Binds.IMPORT, variables={ONEDNN: "1", FPMATH: "BF16"}, lacks=_no_fast_math
            ),
        },
        warning="bfloat16 changes results: it keeps 8 bits of each number's 24.",
    ),
}
"""Every knob, by the name that the user asks for."""


@dataclass(frozen=True)
class Offer:
    """What is to be had of some knobs on this machine.

    Attributes:
        words: The words of each parameter, `STOCK` first.
        said: What is left out, and what else the user should know, in sentences.
    """

    words: Mapping[str, tuple[str, ...]]
    said: tuple[str, ...]


def check_names(names: Iterable[str]) -> None:
    """Raise `InvalidInputError` unless all of these are knobs."""
    for name in names:
        if name not in KNOBS:
            raise InvalidInputError(f"a knob must be one of {sorted(KNOBS)}, but got {name!r}")


def offered(names: Iterable[str]) -> Offer:
    """What is to be had of some knobs on this machine.

    Raises:
        InvalidInputError: One of them is none.
    """
    names = list(names)
    check_names(names)
    words: dict[str, list[str]] = {}
    said = []
    for name in names:
        knob = KNOBS[name]
        for word, one in knob.words.items():
            if missing := one.missing():
                said.append(f"Left out of {name}: {word}, since {missing}.")
            else:
                words.setdefault(knob.parameter, [STOCK]).append(word)
        if knob.warning and knob.parameter in words:
            said.append(knob.warning)
    return Offer({name: tuple(some) for name, some in words.items()}, tuple(said))


def word_of(parameter: str, said: object) -> Word | None:
    """What a parameter of a configuration says, if that is a word of a knob."""
    for knob in KNOBS.values():
        if knob.parameter == parameter and isinstance(said, str) and said in knob.words:
            return knob.words[said]
    return None


def is_stock(name: str, said: object) -> bool:
    """Whether this is a knob's parameter that is left as it is."""
    return said == STOCK and any(knob.parameter == name for knob in KNOBS.values())


def exported(config: Mapping[str, object]) -> Variables:
    """What the words in a configuration set, for any machine; without what only a call sets."""
    found: Variables = {}
    for parameter, said in config.items():
        word = word_of(parameter, said)
        found.update({} if word is None else word.exported())
    found.pop(BFLOAT16, None)
    return found


def calls(config: Mapping[str, object]) -> list[str]:
    """The calls that a program has to make for the words in a configuration, as Python."""
    words = (word_of(parameter, said) for parameter, said in config.items())
    return [BFLOAT16_CALL for word in words if word is not None and BFLOAT16 in word.variables]


def warnings(config: Mapping[str, object]) -> list[str]:
    """What the words in a configuration change beside the time, in sentences."""
    return [
        knob.warning
        for knob in KNOBS.values()
        if knob.warning and config.get(knob.parameter) in knob.words
    ]


def binds_at_exec(variable: str) -> bool:
    """Whether a variable is read as a program starts, so that one in Python comes too late."""
    return variable in {PRELOAD, TUNABLES} or variable.startswith("MALLOC_")


def joined(env: Mapping[str, str], own: Mapping[str, str]) -> Variables:
    """An environment with what knobs set; a list is put before the user's own."""
    lists = {
        name: f"{value}{JOINT[name]}{env[name]}"
        for name, value in own.items()
        if name in JOINT and env.get(name)
    }
    return {**env, **own, **lists}
