"""How a search from the command line ends, and what ends it before its own end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from kamerton_ray.process.outcome import Outcome
from kamerton_ray.trial.config import INSTANCES_KEY, Config, key_of
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.goal import Goal

INTERRUPTED = "it was interrupted"
BODY_LEFT = "the loop's body left its loop"
TIME_SPENT = "its time was spent"
FIRST_FAILED = "the configuration with which it begins does not work"

LOST_OUTCOMES = (Outcome.LOST, Outcome.SERVER_LOST)
"""The outcomes of trials that did not fail by themselves."""

ENOUGH_TO_DIFFER = 3
"""A number that is the same for so many configurations does not depend on them."""


@dataclass(frozen=True)
class Ending:
    """How a search ended.

    Attributes:
        results: What each finished trial reported, with its `config`, in order.
        best: The configuration that the searcher recommends; None where nothing worked.
        reason: Why it ended, in words; `INTERRUPTED` after Ctrl-C.
        broken: Whether that is a fault, as a full disk, rather than an end.
    """

    results: list[Result]
    best: Config | None
    reason: str
    broken: bool = False


class StopKind(Enum):
    """What makes a search stop before its end."""

    END = "end"
    """There is no more to be found."""
    FAULT = "fault"
    """It cannot go on."""
    MISTAKE = "mistake"
    """What it was asked to search by is nothing to search by."""


@dataclass(frozen=True)
class Stop:
    """Why a search stops before its end.

    Attributes:
        kind: What makes it stop.
        reason: The same in words.
    """

    kind: StopKind
    reason: str


def why_stop(
    result: Result,
    results: Sequence[Result],
    goal: Goal,
    doubt: Callable[[Result], str],
) -> Stop | None:
    """Why the newest result ends the search, if it does.

    Args:
        result: The newest one.
        results: All of them.
        goal: What is searched for.
        doubt: Says of a result that worked why it is none to search by, if it is not.
    """
    if result.left:
        return Stop(StopKind.END, BODY_LEFT)
    if not any(map(goal.has_worked, results)):
        first, lost = result.config in goal.starts[:1], result.outcome in LOST_OUTCOMES
        return Stop(StopKind.END, FIRST_FAILED) if first and not lost else None
    if not goal.has_worked(result):
        return None
    mistake = doubt(result) or _same_everywhere(results, goal)
    return Stop(StopKind.MISTAKE, mistake) if mistake else None


def _same_everywhere(results: Sequence[Result], goal: Goal) -> str:
    """That every trial gave the same number, if some of different configurations did.

    Only those with as many instances as the last one are compared: the sum of two constants differs
    from one of them.
    """
    last = results[-1].tuned.get(INSTANCES_KEY)
    alike = [one for one in results if one.tuned.get(INSTANCES_KEY) == last]
    working = list(filter(goal.has_worked, alike))
    values = {result.number(goal.metric) for result in working}
    if len(values) > 1 or len({key_of(result.tuned) for result in working}) < ENOUGH_TO_DIFFER:
        return ""
    newest = working[-1]
    rule = "the number to search by must depend on the configuration, but with every one it is"
    if not newest.line:
        return f"{rule} {values.pop():g}; of a loop it is the last line that the body prints"
    others = "".join(f"\n  {line}" for line in newest.other_lines)
    return (
        f"{rule} {newest.read}, read from '{newest.line}'. --objective takes a regular "
        "expression whose group is another number. "
        + (f"The other lines with numbers:{others}" if others else "No other line has a number.")
    )
