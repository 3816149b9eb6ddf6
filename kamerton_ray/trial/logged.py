"""Whether the knobs of a program took effect, as far as its output says: nobody looks into it.

TensorFlow says on standard error that oneDNN is on, and that XLA has compiled something, unless
TF_CPP_MIN_LOG_LEVEL hides it. The loader says there which library it has passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from kamerton_ray.machine.knobs import (
    FPMATH,
    ONEDNN,
    ONEDNN_MALLOC,
    PRELOAD,
    TUNABLES,
    XLA,
    wants_onednn,
    wants_xla,
)
from kamerton_ray.process.attempt import Attempt
from kamerton_ray.process.outcome import Outcome

KEPT = 1 << 20
"""How many of the last bytes of each output of a program are kept."""

UNCHECKED = "unchecked"
"""The key of what `check_effects` returns, in a result that has any."""

IGNORED = re.compile(r"ERROR: ld\.so: object .* from LD_PRELOAD cannot be preloaded.*")
"""What the loader says of a library that it passes over (elf/rtld.c, `do_preload`)."""

TALKS = "This TensorFlow binary is optimized"
"""TensorFlow says this first where its log is shown (core/platform/cpu_feature_guard.cc)."""

ONEDNN_IS_ON = "oneDNN custom operations are on"
"""It says this where they are (core/util/port.cc)."""

COMPILED = "Compiled cluster using XLA"
"""It says this when XLA compiles for the first time (compiler/jit/device_compiler.h)."""

NEVER_SAID = (
    *("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"),
    *(TUNABLES, ONEDNN_MALLOC, FPMATH),
)
"""Of these no program says whether they took effect; in a function's own process it is seen."""


def check_effects(attempt: Attempt, variables: Mapping[str, str]) -> tuple[str, ...]:
    """See to it that what knobs have set in a program took effect.

    Args:
        attempt: That of the program, when it has ended.
        variables: What they have set.

    Returns:
        Those variables of which nothing shows that.

    Raises:
        AttemptError: One took no effect.
    """
    _check_loaded(attempt, variables)
    silent = [name for name in variables if name in NEVER_SAID]
    for name, value in variables.items():
        if (sign := _sign(name, value)) is None:
            continue
        text, belongs = sign
        is_there = text in attempt.complained
        # What is there is sure; what is not may be hidden.
        if not is_there and not _is_shown(attempt):
            silent.append(name)
        elif is_there is not belongs:
            said = "says" if is_there else "does not say"
            reason = f"{name}={value}: TensorFlow's log {said} '{text}'"
            raise attempt.failed(Outcome.NO_EFFECT, reason)
    return tuple(silent)


def _sign(name: str, value: str) -> tuple[str, bool] | None:
    """What TensorFlow's log says of a variable, and whether it should; None for nothing."""
    if name == ONEDNN:
        return ONEDNN_IS_ON, wants_onednn(value)
    return (COMPILED, True) if name == XLA and wants_xla(value) else None


def _is_shown(attempt: Attempt) -> bool:
    """Whether the program shows TensorFlow's log, all of which is still there."""
    return TALKS in attempt.complained and attempt.is_whole


def _check_loaded(attempt: Attempt, variables: Mapping[str, str]) -> None:
    """See to it that the loader of a program passed nothing over.

    Raises:
        AttemptError: It did.
    """
    if PRELOAD in variables and (found := IGNORED.search(attempt.complained)):
        raise attempt.failed(Outcome.NO_EFFECT, found[0])
