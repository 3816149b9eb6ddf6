"""The session of a search: a new one, or an earlier one that goes on, if it is for the same."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click

from kamerton_ray.answer.verdict import Verdict
from kamerton_ray.cli.options import SearchOptions
from kamerton_ray.cli.saying import mistakes, say
from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.threads import THREADS
from kamerton_ray.report.report import check_extra
from kamerton_ray.trial.config import INSTANCES_KEY, is_variable
from kamerton_ray.tune.goal import Domain, Goal, is_bounds
from kamerton_ray.tune.session import Session
from kamerton_ray.tune.work import Work

SETTLED = {"use", "keep"}
"""The decisions of a comparison that came to its end and holds."""


def open_session(kind: str, options: SearchOptions, description: Mapping[str, object]) -> Session:
    """The session that is asked for, held until the command ends."""
    with mistakes():
        if options.page is not None:  # now, not when the search is over
            _check_page(options.page)
        if options.resume is None:
            session = Session.create(options.storage, kind, description)
        else:
            session = Session.open(options.resume)
        click.get_current_context().with_resource(session.held())
        if options.resume is not None:
            _check_same(session, {"kind": kind, **description})
            say(options, f"Trials of before that are kept: {len(session.results())}.")
    return session


def _check_page(page: Path) -> None:
    check_extra()
    if not page.absolute().parent.is_dir():
        raise InvalidInputError(
            f"--report must be a file in a folder that exists, but {page.parent} does not"
        )


def _check_same(session: Session, description: Mapping[str, object]) -> None:
    """See to it that a resumed search is for what it was for before."""
    earlier = session.description()
    for name, value in json.loads(json.dumps(description)).items():
        if earlier.get(name) != value:
            raise InvalidInputError(
                f"a resumed search must be for the same {name} as before, {earlier.get(name)!r}, "
                f"but got {value!r}"
            )


def check_ranges(session: Session, goal: Goal) -> None:
    """See to it that a resumed search has the ranges of before, of which each has its option.

    Raises:
        InvalidInputError: It has others.
    """
    earlier = session.description().get("goal", asdict(goal))["space"]
    for name in earlier.keys() | goal.space.keys():
        before, now = (_range(space.get(name)) for space in (earlier, goal.space))
        if before != now:
            raise InvalidInputError(
                "a resumed search must have the ranges of before, "
                f"{_option(name)}{before}, but got {now}"
            )


def _option(name: str) -> str:
    """How the user says the range of a parameter."""
    if name == INSTANCES_KEY:
        return "--instances "
    if name in THREADS:
        return f"--{name[:5]} "
    return f"--knob {name}=" if is_variable(name) else f"--also for {name}: "


def _range(domain: Domain | None) -> str:
    if domain is None:
        return "none"
    return f"{domain[0]}:{domain[1]}" if is_bounds(domain) else ",".join(map(str, domain))


def settled(session: Session) -> Verdict | None:
    """The answer of an earlier comparison that came to its end."""
    answer = session.answer()
    if answer is None or answer["decision"] not in SETTLED:
        return None
    return Verdict.from_json(answer)


def work_of_this_command() -> Work:
    """What this command does, as its session keeps it."""
    return Work.now(shlex.join(["kamerton-ray", *sys.argv[1:]]))


def command_to_resume(session: Session) -> str:
    """The command that goes on with a search."""
    command, *rest = sys.argv[1:]
    return shlex.join(["kamerton-ray", command, "--resume", str(session.folder), *rest])
