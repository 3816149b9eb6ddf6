"""Recognises trials that never report back, by how often Ray polls the searcher."""

from __future__ import annotations

IDLE_POLL_S = 0.9
"""Polls this far apart show that no trial is alive. Ray polls a searcher at least ten times a
second while one is, and once a second while none is (ray/tune/execution/tune_controller.py,
`_update_trial_queue`)."""

IDLE_POLLS = 5
"""After so many such polls in a row no trial is alive for certain."""


class Silence:
    """Counts the polls since something was heard of a trial.

    Ray does not tell a searcher of trials that it skips on restore, or whose actor could not be
    reset. A searcher that waits for them would hang the run for ever.
    """

    def __init__(self) -> None:
        self._polls = 0
        self._last: float | None = None

    def heard(self) -> None:
        """Something was heard: trials are alive."""
        self._polls, self._last = 0, None

    def polled(self, now: float) -> bool:
        """Ray polls at this second; whether the polls show that no trial is alive."""
        if self._last is not None:
            self._polls = self._polls + 1 if now - self._last >= IDLE_POLL_S else 0
        self._last = now
        return self._polls >= IDLE_POLLS
