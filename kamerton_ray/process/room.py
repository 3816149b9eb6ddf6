"""Room: whether instances fit into memory, by what one was seen to hold."""

from __future__ import annotations

from kamerton_ray.machine.memory import available_memory, in_words
from kamerton_ray.process.outcome import AttemptError, Outcome

MORE = 1.2
"""An instance may come to hold so many times what it was seen to hold."""


class Room:
    """What an instance of a model holds, and whether more of them fit.

    What would not fit is never started: a machine that swaps, or a kernel that kills, would choose
    for us.
    """

    def __init__(self) -> None:
        self._held = 0

    @property
    def known(self) -> bool:
        """Whether an instance was looked at."""
        return self._held > 0

    def note(self, held: int) -> None:
        """Take in what an instance was seen to hold, in bytes."""
        self._held = max(self._held, held)

    def fits(self, count: int) -> bool:
        """Whether so many instances fit; while nothing is known, they do."""
        return self._needed(count) <= available_memory()

    def check(self, count: int) -> None:
        """See to it that so many instances fit.

        Raises:
            AttemptError: They do not.
        """
        if self.fits(count):
            return
        who = f"{count} instances" if count > 1 else "it"
        raise AttemptError(
            Outcome.NO_ROOM,
            f"{who} may need {in_words(self._needed(count))}, and {in_words(available_memory())} "
            "are left",
        )

    def _needed(self, count: int) -> float:
        return MORE * self._held * count
