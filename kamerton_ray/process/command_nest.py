"""A nest whose attempts become commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from kamerton_ray.machine.environment import user_environment
from kamerton_ray.process.attempt import Attempt
from kamerton_ray.process.handle import TAIL, CleanNest
from kamerton_ray.process.messages import StartCommand
from kamerton_ray.process.room import Room


class CommandNest:
    """A clean nest that starts commands: begun for the first one, and anew after it was lost."""

    def __init__(self) -> None:
        self._nest: CleanNest | None = None
        self._room = Room()

    @contextmanager
    def started(
        self, commands: Sequence[StartCommand], *, keep: int = TAIL
    ) -> Iterator[list[Attempt]]:
        """Start commands at the same time, and end them all when it is left.

        All are forked before the first is let go.

        Args:
            commands: The commands.
            keep: How many of the last bytes of each output are kept.

        Raises:
            AttemptError: The nest was lost; or there are several, and they would not fit into
                memory by what those before them have held.
        """
        if commands[1:]:
            self._room.check(len(commands))
        nest = self._living()
        attempts: list[Attempt] = []
        with ExitStack() as stack:
            attempts += [stack.enter_context(Attempt(nest, keep=keep)) for _ in commands]
            for attempt, command in zip(attempts, commands, strict=True):
                attempt.give(command)
            yield attempts
        self._room.note(max(attempt.peak for attempt in attempts))

    def close(self) -> None:
        """End every process."""
        if self._nest is not None:
            self._nest.close()
            self._nest = None

    def _living(self) -> CleanNest:
        if self._nest is not None and self._nest.lost:
            self.close()
        if self._nest is None:
            module = "kamerton_ray.process.in_command_nest"
            self._nest = CleanNest(module, b"", env=user_environment())
        return self._nest
