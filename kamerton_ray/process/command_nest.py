"""A nest whose attempts become commands."""

from __future__ import annotations

from kamerton_ray.machine.environment import user_environment
from kamerton_ray.process.attempt import Attempt
from kamerton_ray.process.handle import TAIL, CleanNest
from kamerton_ray.process.messages import StartCommand


class CommandNest:
    """A clean nest that starts commands: begun for the first one, and anew after it was lost."""

    def __init__(self) -> None:
        self._nest: CleanNest | None = None

    def attempt(self, command: StartCommand, *, keep: int = TAIL) -> Attempt:
        """Start a command.

        Args:
            command: The command.
            keep: How many of the last bytes of each output are kept.

        Raises:
            AttemptError: The nest was lost.
        """
        attempt = Attempt(self._living(), keep=keep)
        attempt.give(command)
        return attempt

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
