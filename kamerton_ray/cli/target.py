"""From `module:function`, `path.py:function` or the place of a saved model to what builds it."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import cast

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.trial.saved_model import FILES, SavedModel, is_saved_model

Build = Callable[..., Callable[[], object]]
"""A user's function: it builds a model, and returns a step of it."""

FILE = ".py"
"""How the name of a file ends; any other place is a module's name."""

NOT_THE_USERS = (__file__, "<frozen ", str(Path(importlib.__file__).parent))
"""How the file names begin that an import passes through before it comes to the user's own."""


def what_builds(target: str, *, batch: int | None, shapes: Mapping[str, tuple[int, ...]]) -> Build:
    """What builds the model that a target names, and returns a step of it.

    Args:
        target: A function, or where a saved model lies.
        batch: How many examples a step of a saved model takes; one where that is None.
        shapes: The whole shapes of its inputs, by their names.

    Raises:
        InvalidInputError: There is none; or a function is told what to put in.
    """
    if is_saved_model(Path(target)):
        return SavedModel(target, batch=batch or 1, shapes=shapes)
    if batch or shapes:
        raise InvalidInputError(
            f"--batch and --shape must be of a saved model, but {target!r} is none: a function "
            "says itself what it puts in"
        )
    return _function(target)


def _function(target: str) -> Build:
    place, _, name = target.rpartition(":")
    if not place or not name.isidentifier():
        raise InvalidInputError(
            "a target is module:function, path.py:function, a file of Keras's "
            f"({', '.join(FILES)}) or the folder of a SavedModel, got {target!r}"
        )
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
