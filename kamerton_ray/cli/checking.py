"""An answer checked again: an earlier winner against the default, as things are now."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import click

from kamerton_ray.answer.verdict import Decision, Verdict
from kamerton_ray.cli.connecting import connected
from kamerton_ray.cli.options import COMBINE, SearchOptions
from kamerton_ray.cli.planning import FunctionTask, ProgramTask, Task
from kamerton_ray.cli.resuming import settled
from kamerton_ray.cli.saying import mistakes, printable, say
from kamerton_ray.cli.searching import compare, nothing_on_standard_output
from kamerton_ray.cli.target import what_builds
from kamerton_ray.cli.timing import schedule_of
from kamerton_ray.errors import InvalidInputError
from kamerton_ray.trial.command import CommandOptions
from kamerton_ray.trial.config import key_of
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.reading import Direction
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.folders import Json
from kamerton_ray.tune.goal import Limits
from kamerton_ray.tune.session import Session

Said = TypeVar("Said")

UNDECIDED_CODE, NO_LONGER_CODE = 1, 3

BUILD_TIMEOUT_S = 60.0
"""How long a build may take where an older session does not say it."""


def check(folder: Path, options: SearchOptions) -> None:
    """Measure an earlier answer again, say whether it holds, and end with the code that says so.

    Args:
        folder: The session's.
        options: What the user says of it.
    """
    schedule = schedule_of(options, compares=True)
    with mistakes():
        session = Session.open(folder)
        before = _answer_of(session)
        task, results = task_of(session.description(), options), _results_of(before, session)
        say(options, f"Checked is: {before.sentence}")
        with connected(options.address, Path.cwd()):
            with nothing_on_standard_output():
                limits = Limits(schedule=schedule)
                now = compare(task.plan(options), results, options, limits, finalists=1)
            _conclude(before, now, options)


def task_of(description: Json, options: SearchOptions) -> Task:
    """What a session has tuned.

    Raises:
        InvalidInputError: That cannot be compared with the default, or is not there any more.
    """
    if description["kind"] == FunctionTask.kind:
        return _function_task(description, options)
    if description["kind"] == ProgramTask.kind:
        return _program_task(description, options)
    raise InvalidInputError(
        "a session to check must be one of tune or exec, whose best is compared with the default, "
        f"but got one of {description['kind']}"
    )


def _function_task(description: Json, options: SearchOptions) -> FunctionTask:
    most, least = (
        tuple((name, value) for name, value in description.get(key, ()))
        for key in ("limits", "least")
    )
    target = _said(description, "target", str)
    seconds = description.get("seconds")
    return FunctionTask(
        target=target,
        build=what_builds(
            target,
            batch=description.get("batch"),
            shapes={name: tuple(sizes) for name, sizes in description.get("shapes", {}).items()},
        ),
        objective=Objective(
            metric=_said(description, "objective", str),
            at_most=dict(most),
            at_least=dict(least),
            within=options.within,
        ),
        most=most,
        least=least,
        seconds=float(seconds) if isinstance(seconds, (int, float)) else None,
        timeout_s=BUILD_TIMEOUT_S,
        knobs=tuple(description.get("also", ())),
    )


def _program_task(description: Json, options: SearchOptions) -> ProgramTask:
    higher = _said(description, "maximize", bool)
    direction = Direction.HIGHER if higher else Direction.LOWER
    command = CommandOptions(
        argv=tuple(_said(description, "argv", list)),
        objective=_said(description, "objective", str),
        combine=COMBINE.get(str(description.get("combine"))),
        timeout_s=_said(description, "timeout", float),
    )
    return ProgramTask(
        command=command,
        direction=direction,
        objective=Objective(metric=command.metric, mode=direction.mode, within=options.within),
        knobs=(),
        also=tuple(description.get("also", ())),
    )


def _said(description: Json, name: str, kind: type[Said]) -> Said:
    """What a session says of what it has tuned."""
    said = description.get(name)
    if not isinstance(said, kind):
        raise InvalidInputError(
            f"a session to check must say its {name}, a {kind.__name__}, but got {said!r}"
        )
    return said


def _answer_of(session: Session) -> Verdict:
    """The answer to check."""
    answer = settled(session)
    if answer is None or answer.config is None:
        raise InvalidInputError(
            "a session to check must have an answer, to use a configuration or to keep the "
            f"default, but {session.folder} has none"
        )
    return answer


def _results_of(answer: Verdict, session: Session) -> Sequence[Result]:
    """What the search found of the configuration that the answer names."""
    key = key_of(answer.config or {})
    found = [one for one in session.results() if one.worked and key_of(one.tuned) == key]
    if not found:
        raise InvalidInputError(
            f"a session to check must hold a trial of its answer, but {session.folder} does not"
        )
    return found


def _conclude(before: Verdict, now: Verdict, options: SearchOptions) -> None:
    """Say whether the answer holds; ends the process where it does not."""
    is_decided = now.decision in {Decision.USE, Decision.KEEP}
    holds = now.decision is before.decision
    said = ("Still true" if holds else "No longer true") if is_decided else "Not decided"
    if options.as_json:
        told = {"holds": holds if is_decided else None, **now.to_json()}
        click.echo(json.dumps({**told, "before": before.to_json()}))
    else:
        click.echo(printable(f"{said}: {now.sentence}"))
        for reason in now.reasons:
            say(options, f"  {reason}")
    if not is_decided:
        sys.exit(UNDECIDED_CODE)
    if not holds:
        sys.exit(NO_LONGER_CODE)
