"""The files of a search's folder: read as what may come from anyone, written whole or not at all.

A folder is only data. Whatever it holds, nothing of it is executed or unpickled, and what does not
have the shape that this package writes is named with its file and place.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kamerton_ray.errors import InvalidInputError

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

Json = dict[str, Any]
"""An object in JSON, whose values are what a shape says."""

RESULTS, DESCRIPTION, ANSWER = "results.jsonl", "session.json", "answer.json"
"""A line per finished trial; what was searched for, and how; and what came of it."""

_TEXT, _COUNT, _OBJECT = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "object"}
_NUMBER = {"type": "number"}
_OBJECT_OR_NONE = {"type": ["object", "null"]}
_MACHINE = {
    "type": ["object", "null"],
    "properties": {"usable_cpus": {"type": "integer", "minimum": 1, "maximum": 1 << 20}},
}
_GOAL = {
    "type": "object",
    "required": ["space", "starts", "metric", "mode"],
    "properties": {
        "space": {
            "type": "object",
            "additionalProperties": {
                "type": "array",
                "anyOf": [
                    {"items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
                    {"items": _TEXT, "minItems": 1},
                ],
            },
        },
        "starts": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": {"type": ["integer", "string"]},
            },
        },
        "metric": _TEXT,
        "mode": {"enum": ["min", "max"]},
    },
}

_LIMITS: Json = {
    "type": "array",
    "items": {
        "type": "array",
        "prefixItems": [_TEXT, {"type": "number"}],
        "minItems": 2,
        "maxItems": 2,
    },
}

_WORK: Json = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("command", "system", "python", "ray", "tensorflow"), _TEXT),
        **dict.fromkeys(("load", "seconds", "load_after"), _NUMBER),
        "began": {**_NUMBER, "minimum": 0, "maximum": 1e11},
    },
}

SESSION_SHAPE: Json = {
    "type": "object",
    "required": ["kind"],
    "properties": {
        "kind": {"enum": ["exec", "run", "tune"]},
        "goal": _GOAL,
        "objective": _TEXT,
        "maximize": {"type": "boolean"},
        "limits": _LIMITS,
        "least": _LIMITS,
        "work": {"type": "array", "items": _WORK},
        "also": {"type": "array", "items": _TEXT},
    },
}
"""What `session.json` holds, at the least."""

RESULT_SHAPE: Json = {
    "type": "object",
    "required": ["config"],
    "properties": {
        "config": _OBJECT,
        "machine": _MACHINE,
        "node_ip": _TEXT,
        "outcome": _TEXT,
        "error": _TEXT,
        "beside": _TEXT,
        "line": _TEXT,
        "other_lines": {"type": "array", "items": _TEXT},
    },
}
"""What a trial's result holds."""

ANSWER_SHAPE: Json = {
    "type": "object",
    "required": ["decision", "sentence"],
    "properties": {
        "decision": {"enum": ["use", "keep", "unsure", "busy", "none"]},
        "sentence": _TEXT,
        "config": _OBJECT_OR_NONE,
        **{name: {"type": ["number", "null"]} for name in ("speedup", "difference", "low", "high")},
        "runs": _COUNT,
        "race_rounds": _COUNT,
        "ratios": {"type": "boolean"},
        "interrupted": {"type": "boolean"},
        "tied": {"type": "array", "items": _OBJECT},
        "reasons": {"type": "array", "items": _TEXT},
        "machine": _OBJECT,
        "stopped_by": _TEXT,
        "table": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["config"],
                "properties": {"config": _OBJECT_OR_NONE},
            },
        },
        "rounds": {
            "type": "array",
            "items": {
                "type": "array",
                "items": {
                    **RESULT_SHAPE,
                    "properties": {**RESULT_SHAPE["properties"], "config": _OBJECT_OR_NONE},
                },
            },
        },
        "elsewhere": {"type": "array", "items": {"$ref": "#"}},
    },
}
"""What `answer.json` holds."""


def read_object(path: Path, shape: Json | None = None) -> Json:
    """The JSON object in a file.

    Args:
        path: The file.
        shape: What it has to look like, as a JSON schema.

    Raises:
        InvalidInputError: It cannot be read, or holds something else; where, is said.
    """
    return _checked(_text(path), shape, str(path))


def read_lines(path: Path, shape: Json | None = None) -> list[Json]:
    """The JSON objects in a file, one a line; a last line that was cut off is left out.

    Raises:
        InvalidInputError: It cannot be read, or holds something else; where, is said.
    """
    *lines, last = _text(path).split("\n")
    if _is_json(last.encode()):
        lines.append(last)
    return [
        _checked(line, shape, f"{path}, line {place}")
        for place, line in enumerate(lines, 1)
        if line.strip()
    ]


def add_line(path: Path, line: str) -> None:
    """Add a line to those in a file, so that not even a loss of power loses it.

    A last line that was cut off is removed; one that lacks its line break alone gets it.

    Raises:
        OSError: It could not be written.
    """
    with path.open("ab+") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - 1))
        if size and file.read(1) != b"\n":
            file.seek(0)
            rest = file.read(size).rpartition(b"\n")[2]
            if _is_json(rest):
                line = f"\n{line}"
            else:
                file.truncate(size - len(rest))
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole, or leave what was there as it is, whatever happens meanwhile.

    Raises:
        OSError: It could not be written.
    """
    data = content.encode() if isinstance(content, str) else content
    # Not of the tempfile module: its files have other permissions than new ones.
    new = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        with new.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _is_json(data: bytes) -> bool:
    with contextlib.suppress(ValueError, RecursionError):
        json.loads(data)
        return True
    return False


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} must hold text in UTF-8: {error}") from error


def _checked(text: str, shape: Json | None, place: str) -> Json:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{place} must hold JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidInputError(f"{place} must hold a JSON object, but holds {_short(found)}")
    if shape is not None:
        check(found, shape, place)
    return found


def check(found: Json, shape: Json, place: str) -> None:
    """See to it that an object has a shape.

    Raises:
        InvalidInputError: It has not; what stands where, is said.
    """
    try:
        error = min(_validator()(shape).iter_errors(found), key=_depth, default=None)
    except RecursionError:
        raise InvalidInputError(f"{place} is nested too deeply") from None
    if error is not None:
        raise InvalidInputError(f"{place}, {error.json_path}: {error.message[:LONGEST]}")


LONGEST = 200
"""So many characters of what is wrong are shown."""


def _depth(error: ValidationError) -> int:
    return len(error.absolute_path)


def _short(value: object) -> str:
    return repr(value)[:LONGEST]


@functools.cache
def _validator() -> type[Validator]:
    """The class that checks; of a number with a point it says that it is no integer."""
    from jsonschema import validators  # noqa: PLC0415 - a quarter of a second

    base = validators.Draft202012Validator
    integer = base.TYPE_CHECKER.redefine(
        "integer", lambda _, one: isinstance(one, int) and not isinstance(one, bool)
    )
    found: type[Validator] = validators.extend(base, type_checker=integer)  # type: ignore[no-untyped-call]
    return found
