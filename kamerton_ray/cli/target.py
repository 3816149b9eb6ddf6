"""From `module:function` or `path.py:function` to the function."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import cast

from kamerton_ray.errors import InvalidInputError

Build = Callable[..., Callable[[], object]]
"""A user's function: it builds a model, and returns a step of it."""

FILE = ".py"
"""How the name of a file ends; any other place is a module's name."""

NOT_THE_USERS = (__file__, "<frozen ", str(Path(importlib.__file__).parent))
"""How the file names begin that an import passes through before it comes to the user's own."""


def load_function(target: str) -> Build:
    """The function that a target names.

    Raises:
        InvalidInputError: It is not of this form, or there is no such function.
    """
    place, _, name = target.rpartition(":")
    if not place or not name.isidentifier():
        raise InvalidInputError(f"a target is module:function or path.py:function, got {target!r}")
    function = getattr(_imported(place), name, None)
    if not callable(function):
        raise InvalidInputError(f"{place!r} has no function {name!r}")
    return cast("Build", function)


def _imported(place: str) -> ModuleType:
    """The module of this name, from the current folder too, or the one in this file."""
    is_file = place.endswith(FILE)
    sys.path.insert(0, str(Path(place).resolve().parent if is_file else Path.cwd()))
    try:
        with redirect_stdout(sys.stderr):  # standard output is for the answer
            return importlib.import_module(Path(place).stem if is_file else place)
    except (Exception, SystemExit) as error:
        raise InvalidInputError(f"{place!r} cannot be imported: {_own_lines(error)}") from error


def _own_lines(error: BaseException) -> str:
    """What an exception says, with the lines of the user's own files."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(NOT_THE_USERS):
        frame = frame.tb_next
    if frame is None and not isinstance(error, SyntaxError):
        return str(error)
    return "\n" + "".join(traceback.format_exception(type(error), error, frame)).rstrip()
