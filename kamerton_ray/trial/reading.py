"""What is read in a program's output: the number that counts, or a rate that might."""

from __future__ import annotations

import contextlib
import math
import re
import shlex
from dataclasses import dataclass
from enum import Enum

from kamerton_ray.process.attempt import Attempt
from kamerton_ray.process.handle import TAIL
from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.result import Result

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"

PARTS = re.compile(rf"([^\d]*?)({NUMBER})(?=([^\d]*))")
"""A number, what stands before it, back to the one before, and what follows, up to the next."""

RATE = re.compile(
    r"(?:/|(?<![a-z])per)[\s_-]*(?:s|secs?|seconds?|mins?|minutes?|h|hours?)(?![a-z0-9])"
    r"|throughput|(?<![a-z])(?:[fqrt]ps|iops|[kmgtp]?flops)(?![a-z])",
    re.IGNORECASE,
)
"""What is so much in a second is mostly better the higher it is."""

AROUND = 80
"""How much of a line is kept before and after the number that is read from it."""

LAST_LINES = 10
"""So many of the last lines are shown of an output in which the number is not found."""

OTHERS = 8
"""So many of the last other lines with numbers are kept: one of them may hold the one meant."""

TIME, LAST = "time", "last"


class Direction(Enum):
    """Which numbers of a command are better; each value says it, and how that is known."""

    LOWER = "no (--minimize)"
    HIGHER = "yes (--maximize)"
    ASSUMED = "no (--maximize)"
    """Lower, since nobody has said it."""

    @property
    def mode(self) -> str:
        """`"min"` or `"max"`."""
        return "max" if self is Direction.HIGHER else "min"

    def doubt(self, text: str) -> str:
        """Why the direction has to be said first; empty where it has, or the text is no rate."""
        found = RATE.search(text)
        if self is not Direction.ASSUMED or found is None:
            return ""
        return (
            f"'{text}' looks like a rate ('{found[0].strip()}'): say --maximize if a higher number "
            "is better, or --minimize if a lower one is"
        )


@dataclass(frozen=True)
class Reading:
    """The number of a run, and where it was found.

    Attributes:
        objective: The number.
        read: It as it was printed; empty for a time, as the next.
        line: What it was read from: its line, or the middle of a long one.
        other_lines: The last of the other lines that hold numbers; of a time the last that looks
            like a rate.
    """

    objective: float
    read: str = ""
    line: str = ""
    other_lines: tuple[str, ...] = ()


def read_as(result: Result, direction: Direction) -> str:
    """What was read in a run, and how it is meant; of a time, what else the program tells."""
    if not result.line:
        return next(filter(None, map(_rate_instead, result.other_lines)), "")
    said = f'reading {result.read} from "{result.line}"'
    asked = "? (--maximize or --minimize)"
    return f"{said}; higher is better: {asked if direction.doubt(said) else direction.value}"


def _rate_instead(line: str) -> str:
    """What counts a line's rate in place of a time; empty where that is not sure."""
    rate, numbers = RATE.search(line), list(PARTS.finditer(line))
    if rate is None or not numbers:
        return ""
    number = min(numbers, key=lambda one: max(one.start(2) - rate.end(), rate.start() - one.end(2)))
    before, after = number[1].lstrip()[-AROUND:], line[number.end(2) : rate.end()]
    pattern = f"{_literally(before)}([0-9.]+){_literally(after)}"
    found = re.search(pattern, line)
    # Of 1,234.5 a part would be found.
    if found is None or found[1] != number[2] or "," in (before[-1:], number[3]):
        return ""
    return (
        f"counting the seconds of the whole run; --objective {shlex.quote(pattern)} --maximize "
        f'counts its "{line.strip()}" instead'
    )


def _literally(text: str) -> str:
    """A pattern for this text, as somebody would type it."""
    return re.sub(r"[\\^$.|?*+()\[\]{}]", r"\\\g<0>", text)


def read(objective: str, seconds: float, attempt: Attempt) -> Reading:
    """Find the number in what a run has printed.

    Args:
        objective: `TIME`, `LAST`, or a pattern whose group is the number.
        seconds: How long the run took.
        attempt: The run.

    Raises:
        AttemptError: It printed no such number.
    """
    if objective == TIME:
        return Reading(seconds, other_lines=_last_rate(attempt))
    pattern = NUMBER if objective == LAST else objective
    for text in attempt.printed, attempt.complained:
        for match in reversed(list(re.finditer(pattern, text, re.MULTILINE))):
            group = match.re.groups
            with contextlib.suppress(ValueError, TypeError):
                if math.isfinite(value := float(match.group(group))):
                    line, others = _place(text, *match.span(group))
                    return Reading(value, match.group(group).strip(), line, others)
    shown = "\n".join(attempt.printed[-TAIL:].splitlines()[-LAST_LINES:])
    said = f"Its last lines of stdout:\n{shown}" if shown else "It printed nothing to stdout."
    raise attempt.failed(Outcome.NO_OBJECTIVE, f"no number is matched by '{pattern}'\n{said}")


def _last_rate(attempt: Attempt) -> tuple[str, ...]:
    """The last line that looks like a rate, of stdout's where there is one; or none."""
    for text in attempt.printed, attempt.complained:
        for line in reversed(text.splitlines()):
            if RATE.search(line) and re.search(NUMBER, line):
                return (line[: 2 * AROUND],)
    return ()


def _place(text: str, begin: int, end: int) -> tuple[str, tuple[str, ...]]:
    """What stands around a part of a text in its line, and the last other lines with numbers."""
    before, after = text[:begin].splitlines(), text[end:].splitlines()
    first = "" if text[:begin].endswith(("\n", "\r")) or not before else before.pop()
    rest = "" if text[end:].startswith(("\n", "\r")) or not after else after.pop(0)
    others = [line[: 2 * AROUND] for line in (*before, *after) if re.search(NUMBER, line)]
    line = first[-AROUND:] + text[begin:end] + rest[:AROUND]
    return line.strip(), tuple(others[-OTHERS:])
