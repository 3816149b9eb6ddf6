"""How an attempt ends, in one word and in many."""

from __future__ import annotations

import signal
from enum import Enum

from kamerton_ray.errors import KamertonError

TRACEBACK = "Traceback (most recent call last):"
"""With this Python begins to tell of an exception."""


class Outcome(Enum):
    """How an attempt ended; each value says it in words.

    The names stand in results, in lower case.
    """

    OK = "measured"
    BUILD_RAISED = "build raised an exception"
    STEP_RAISED = "step raised an exception"
    BODY_RAISED = "the loop's body raised an exception"
    NO_NUMBER = "the last line that the loop's body prints must be a number"
    NO_OBJECTIVE = "its output does not hold the number that is asked for"
    WRONG_RETURN = "build must return a callable without arguments"
    EXITED = "the process exited"
    SIGNALLED = "the process was ended by a signal"
    OUT_OF_MEMORY = "out of memory"
    NO_EFFECT = "what the trial has set did not take effect"
    NO_ROOM = "it would not fit into memory, so it was not started"
    TIMEOUT = "it took longer than the timeout"
    OUTPUT_FLOOD = "it printed too much"
    TOO_FAST = "a step is too short to be timed"
    MALFORMED = "the process sent something that is no result"
    SERVER_LOST = "the process that forks the attempts ended"
    """The nest was lost; results of earlier versions hold this name."""
    LOST = "lost"
    """Whatever ran the trial was lost, as its node."""
    UNKNOWN = "it ended in another way"


class AttemptError(KamertonError):
    """An attempt failed.

    Attributes:
        outcome: How.
        detail: The traceback, the exit code or the signal.
        stderr: The last lines that the attempt wrote there.
    """

    def __init__(self, outcome: Outcome, detail: str = "", stderr: str = "") -> None:
        self.outcome, self.detail, self.stderr = outcome, detail.strip(), stderr.strip()
        said = f"Its last lines of stderr:\n{self.stderr}" if self.stderr else ""
        # The last line is the one that is read: an exception's, where there is one.
        parts = (said, self.detail) if TRACEBACK in self.detail else (self.detail, said)
        super().__init__("\n".join(part for part in (outcome.value, *parts) if part))


def how_ended(code: int) -> str:
    """An exit code in words; below 0 it is a signal's number."""
    if code >= 0:
        return f"with code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"
