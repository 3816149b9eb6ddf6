"""What is said at the end: the answer, how it is put to use, and the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import click

from kamerton_ray.answer.verdict import Decision, Verdict
from kamerton_ray.cli.options import SearchOptions
from kamerton_ray.cli.resuming import command_to_resume
from kamerton_ray.cli.saying import mistakes, printable, say
from kamerton_ray.errors import InvalidInputError
from kamerton_ray.report.exports import export
from kamerton_ray.report.report import report
from kamerton_ray.tune.ending import INTERRUPTED, Ending
from kamerton_ray.tune.session import Session

FAILED_CODE, INTERRUPTED_CODE = 1, 130

NOT_EXPORTED = {
    Decision.BUSY: "the machine was busy. With --shared it would be",
    Decision.KEEP: "the default needs no setting",
}
"""Why nothing is exported; of other decisions, since there is no answer."""


def conclude(
    ending: Ending, answer: Verdict, session: Session, options: SearchOptions, *, compares: bool
) -> None:
    """Say the answer, and end with the exit code that goes with it, unless that is 0.

    Args:
        ending: How the search has ended.
        answer: The answer.
        session: Where it is written down.
        options: What the user says of it.
        compares: Whether the best was to be compared with the default.
    """
    about = {
        "trials": len(ending.results),
        "stopped_by": ending.reason,
        "folder": str(session.folder),
    }
    written = _write_down({**answer.to_json(rounds=True), **about}, session, options)
    if options.as_json:
        click.echo(json.dumps({**answer.to_json(), **about}))
    else:
        _say_answer(answer, options)
    if options.page is not None and ending.results:
        with mistakes():
            report(session.folder).save(html=options.page)
    say(options, f"A page on the results: kamerton-ray report {session.folder}")
    is_broken = ending.broken or ending.reason == INTERRUPTED or answer.interrupted
    if is_broken or (compares and answer.decision is Decision.UNSURE):
        say(options, f"Go on with: {command_to_resume(session)}")
    if is_broken:
        sys.exit(FAILED_CODE if ending.broken else INTERRUPTED_CODE)
    if answer.decision is Decision.NONE or not written:
        sys.exit(FAILED_CODE)


def _write_down(answer: Mapping[str, object], session: Session, options: SearchOptions) -> bool:
    """Write the answer into the session's folder; whether that worked."""
    try:
        session.conclude(answer)
        session.end()
    except (OSError, InvalidInputError) as error:
        say(options, f"The answer cannot be written down: {error}")
        return False
    return True


def _say_answer(answer: Verdict, options: SearchOptions) -> None:
    """Say it in words, or in the form that is asked for; then the words are an addition."""
    if options.form is None:
        _say_in_words(answer, options, aside=False)
        return
    if not options.quiet:
        _say_in_words(answer, options, aside=True)
    _say_as_export(answer, options.form, options)


def _say_in_words(answer: Verdict, options: SearchOptions, *, aside: bool) -> None:
    """Say it, and the answers for other kinds of machines, on standard error if aside."""
    for one in (answer, *answer.elsewhere):
        where = f"On {one.machine}: " if answer.elsewhere else ""
        click.echo(printable(f"{where}{one.sentence}"), err=aside)
        for reason in one.reasons:
            say(options, f"  {reason}")


def _say_as_export(answer: Verdict, form: str, options: SearchOptions) -> None:
    """Print the setting, or say why there is none."""
    uncompared = answer.decision is Decision.UNSURE and options.no_compare
    if uncompared:
        say(options, "Not compared with the default: what is exported is the search's best.")
    if uncompared or answer.decision is Decision.USE:
        cpus = answer.machine.usable_cpus or None
        click.echo(export(answer.config or {}, form, cpus=cpus), nl=False)
    else:
        why = NOT_EXPORTED.get(answer.decision, "there is no answer")
        say(options, f"Nothing is exported: {why}.")
