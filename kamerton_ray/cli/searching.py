"""A search from beginning to end: search, compare the best with the default, say the answer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path

from kamerton_ray.answer.candidates import nothing_worked
from kamerton_ray.answer.comparing import verdict
from kamerton_ray.answer.finalists import MOST_FINALISTS
from kamerton_ray.answer.verdict import Decision, Verdict
from kamerton_ray.cli.answering import conclude
from kamerton_ray.cli.connecting import connected
from kamerton_ray.cli.display import Display
from kamerton_ray.cli.options import SearchOptions
from kamerton_ray.cli.planning import Plan, Task
from kamerton_ray.cli.resuming import check_ranges, open_session, settled, work_of_this_command
from kamerton_ray.cli.saying import mistakes, say
from kamerton_ray.cli.timing import comparison_s, say_how_long, schedule_of
from kamerton_ray.machine.neighbours import look, patience
from kamerton_ray.trial.config import INSTANCES_KEY, Config, in_words
from kamerton_ray.trial.instances import Combine
from kamerton_ray.trial.reading import read_as
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.ending import INTERRUPTED, TIME_SPENT, Ending
from kamerton_ray.tune.goal import Goal, Limits
from kamerton_ray.tune.run import search
from kamerton_ray.tune.session import Session

QUICK = "A quick look, with no other configuration compared: "
"""What a quick answer begins with."""


def run(
    task: Task, options: SearchOptions, *, folder: Path | None = None, begin: float | None = None
) -> Ending:
    """Search, compare, and say the answer; ends the process after Ctrl-C, or if nothing worked.

    Args:
        task: What is tuned.
        options: What the user says of the search.
        folder: What travels to a cluster, by default the current folder.
        begin: When the command has begun, by `time.monotonic`; by default now.
    """
    compares = task.is_compared and not options.no_compare
    repeats = not task.is_compared  # a script's loop has its last iteration after the search
    schedule = schedule_of(options, compares=compares, repeats=repeats, begin=begin)
    session = open_session(task.kind, options, task.description())
    say(options, f"The results go to {session.folder}.")
    say_how_long(options, schedule)
    if options.address is None:
        _say_who_else(options)
    with mistakes(), connected(options.address, folder or Path.cwd()):
        with nothing_on_standard_output():
            limits = Limits(trials=options.trials, schedule=schedule)
            with task.plan(options).hosted(options) as plan:
                ending, answer = _answered(plan, session, options, limits)
        # Now: Ray's end takes seconds.
        conclude(ending, answer, session, options, compares=compares)
    return ending


def _say_who_else(options: SearchOptions) -> None:
    """Say what other work takes this machine's CPUs, before Ray's own start takes them."""
    reading, names = look()
    if not reading.disturbed:
        return
    what = f"Other work takes {reading.cpus:.1f} CPUs here: {names or 'processes without a name'}."
    if options.shared:
        then = "The answer will be that of a machine shared with it."
    else:
        then = (
            f"Trials wait up to {patience():.0f} s for it to end, and what it disturbs is "
            "measured again. For an answer beside it: --shared."
        )
    say(options, f"{what} {then}")


@contextmanager
def nothing_on_standard_output() -> Iterator[None]:
    """Keep it for the answer: Ray tells of lost nodes there."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def _answered(
    plan: Plan, session: Session, options: SearchOptions, limits: Limits
) -> tuple[Ending, Verdict]:
    """Search, and compare unless that is done already."""
    check_ranges(session, plan.goal)
    session.describe({"goal": asdict(plan.goal)})
    session.begin(work_of_this_command())
    before = len(session.results())
    ending = _searched(plan, session, options, limits, before=before)
    trials = "1 trial" if len(ending.results) == 1 else f"{len(ending.results)} trials"
    say(options, f"The search ended after {trials}: {ending.reason}.")
    is_new = options.sure or len(ending.results) > before
    earlier = None if is_new else settled(session)
    if earlier is not None:
        return ending, earlier
    return ending, _judged(plan, ending, options, limits)


def _searched(
    plan: Plan, session: Session, options: SearchOptions, limits: Limits, *, before: int
) -> Ending:
    if plan.combine is not None:
        say(options, _combining(plan.combine, plan.goal))
    display = Display(
        plan.goal,
        limits,
        plan.objective,
        quiet=options.quiet,
        before=before,
        note=lambda result: read_as(result, plan.direction),
    )
    with display:
        return search(
            plan.trainable,
            plan.goal,
            session,
            limits=limits,
            seed=options.seed,
            kind=dict(options.kinds),
            watch=display.show,
            doubt=lambda result: plan.direction.doubt(result.line),
        )


def _combining(combine: Combine, goal: Goal) -> str:
    """What counts of several instances."""
    said = f"What counts of several instances is {combine.value}."
    fewest, *_, most = goal.space[INSTANCES_KEY]
    if combine is not Combine.SLOWEST or fewest == most:
        return said
    return f"{said} One alone mostly has a lower one; of a time ask for --combine per-program."


def _judged(plan: Plan, ending: Ending, options: SearchOptions, limits: Limits) -> Verdict:
    """The answer to what the search found."""
    if ending.best is None:
        return Verdict(decision=Decision.NONE, sentence=_without_a_best(ending))
    if ending.broken or ending.reason == INTERRUPTED or not limits.schedule.compares:
        return _not_compared(ending, ending.best)
    return _compared(plan, ending, options, limits)


def _without_a_best(ending: Ending) -> str:
    said = nothing_worked(ending.results)
    too_short = ending.reason == TIME_SPENT and not ending.results
    return f"{said} Give it more time: --time-budget." if too_short else said


def _not_compared(ending: Ending, best: Config) -> Verdict:
    standing = "the best so far" if ending.reason == INTERRUPTED else "the best of the search"
    sentence = f"{in_words(best)} is {standing}; it was not compared with the default."
    return Verdict(decision=Decision.UNSURE, sentence=sentence, config=best)


def _compared(plan: Plan, ending: Ending, options: SearchOptions, limits: Limits) -> Verdict:
    finalists = 1 if options.quick else MOST_FINALISTS
    found = compare(plan, ending.results, options, limits, finalists=finalists)
    return replace(found, sentence=f"{QUICK}{found.sentence}") if options.quick else found


def compare(
    plan: Plan,
    results: Sequence[Result],
    options: SearchOptions,
    limits: Limits,
    *,
    finalists: int,
) -> Verdict:
    """Compare the best of some results, at most so many, with the default, and show how it goes."""
    display = Display(plan.goal, limits, plan.objective, quiet=options.quiet)
    with display:
        return verdict(
            results,
            plan.trainable,
            objective=plan.objective,
            budget_s=comparison_s(results, options, limits.schedule),
            finalists=finalists,
            shared=options.shared,
            watch=display.show_round,
        )
