"""The folder of a search from the command line: what was searched for, and every result."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.locks import LockedError, locked
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.folders import (
    ANSWER,
    ANSWER_SHAPE,
    DESCRIPTION,
    RESULT_SHAPE,
    RESULTS,
    SESSION_SHAPE,
    Json,
    add_line,
    read_lines,
    read_object,
    write,
)
from kamerton_ray.tune.work import Work

LOCK = ".lock"
"""The file that is there as long as a process searches."""


class Session:
    """A folder with what was searched for and every result.

    Args:
        folder: An existing one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, storage: Path, kind: str, description: Mapping[str, object]) -> Session:
        """A new one below `storage`, named after its kind and the time.

        Raises:
            InvalidInputError: Nothing can be written there.
        """
        name = f"{kind}-{dt.datetime.now().astimezone():%Y%m%d-%H%M%S}"
        try:
            storage.mkdir(parents=True, exist_ok=True)
            made = tempfile.mkdtemp(prefix=f"{name}-", dir=storage)
        except OSError as error:
            raise _unwritable(error) from error
        session = cls(storage / Path(made).name)  # from Python 3.12 on `made` is absolute
        session.describe({"kind": kind, **description})
        return session

    @classmethod
    def open(cls, folder: Path) -> Session:
        """An earlier one.

        Raises:
            InvalidInputError: The folder holds none.
        """
        if not cls.is_one(folder):
            raise InvalidInputError(
                f"a session's folder holds {DESCRIPTION}, but {folder} does not"
            )
        return cls(folder)

    @staticmethod
    def is_one(folder: Path) -> bool:
        """Whether the folder holds a session."""
        return (folder / DESCRIPTION).is_file()

    def description(self) -> Json:
        """What it searches for, and how.

        Raises:
            InvalidInputError: The file that says it holds something else.
        """
        return read_object(self.folder / DESCRIPTION, SESSION_SHAPE)

    def describe(self, more: Mapping[str, object]) -> None:
        """Write down more of what it searches for.

        Raises:
            InvalidInputError: Nothing can be written there.
        """
        known = self.description() if self.is_one(self.folder) else {}
        text = json.dumps({**known, **more}, indent=1)
        try:
            write(self.folder / DESCRIPTION, text + "\n")
        except OSError as error:
            raise _unwritable(error) from error

    def work(self) -> list[Work]:
        """The commands that have worked on it; none where it is older than this."""
        return [Work.of(one) for one in self.description().get("work", ())]

    def begin(self, work: Work) -> None:
        """Write down that a command works on it.

        Raises:
            InvalidInputError: Nothing can be written there.
        """
        self._keep([*self.work(), work])

    def end(self) -> None:
        """Write down that the last of them has come to its end.

        Raises:
            InvalidInputError: Nothing can be written there.
        """
        *others, last = self.work()
        self._keep([*others, last.ended()])

    def _keep(self, work: Sequence[Work]) -> None:
        self.describe({"work": [one.to_json() for one in work]})

    def results(self) -> list[Result]:
        """What was measured so far; a last line that was cut off is left out.

        Raises:
            InvalidInputError: A line is no result.
        """
        path = self.folder / RESULTS
        lines = read_lines(path, RESULT_SHAPE) if path.exists() else []
        return [Result.of(line) for line in lines]

    def conclude(self, answer: Mapping[str, object]) -> None:
        """Write down what came of it.

        Raises:
            OSError: It could not be written.
        """
        write(self.folder / ANSWER, json.dumps(answer, default=repr) + "\n")

    def answer(self) -> Json | None:
        """What came of it; None before the end.

        Raises:
            InvalidInputError: The file that says it holds something else.
        """
        path = self.folder / ANSWER
        return read_object(path, ANSWER_SHAPE) if path.exists() else None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from going on with it meanwhile.

        Raises:
            InvalidInputError: Another one does already, or nothing can be written there.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder / LOCK))
            except LockedError:
                raise InvalidInputError(
                    f"a session must not be in use by another search, but {self.folder} is"
                ) from None
            except OSError as error:
                raise _unwritable(error) from error
            yield

    def add(self, result: Result) -> None:
        """Write a result down, so that not even a loss of power loses it.

        Raises:
            OSError: It could not be written.
        """
        add_line(self.folder / RESULTS, json.dumps(result.to_json(), default=str))


def _unwritable(error: OSError) -> InvalidInputError:
    return InvalidInputError(f"the results must be written down, but {error}")
