"""kamerton-ray, the command line: what a user types, and what is shown.

The answer goes to standard output, everything else to standard error. Exit codes: 0 for an answer,
1 where nothing worked or a fault broke it off, 2 for a mistake on the command line, which may show
in the results alone, 130 after Ctrl-C.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import click
import cloudpickle

from kamerton_ray.answer.candidates import nothing_worked
from kamerton_ray.answer.verdict import Decision, Verdict, verdict, verdict_of
from kamerton_ray.cli.display import Display, printable
from kamerton_ray.cli.doctor import examine
from kamerton_ray.errors import InvalidInputError, KamertonError
from kamerton_ray.machine.environment import working_directory
from kamerton_ray.machine.neighbours import look, patience
from kamerton_ray.machine.threads import THREADS, default_threads, thread_bounds
from kamerton_ray.report.exports import FORMS, export
from kamerton_ray.report.report import check_extra, report
from kamerton_ray.trial.bench import check_keys
from kamerton_ray.trial.command import TIME, CommandOptions, Direction, read_as
from kamerton_ray.trial.config import in_words, is_variable
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result
from kamerton_ray.trial.script import Script, ScriptRunner, conclude, describe
from kamerton_ray.tune.run import INTERRUPTED, Ending, Goal, Limits, search
from kamerton_ray.tune.session import Session
from kamerton_ray.tune.thread_space import trial_cpus
from kamerton_ray.tune.trainable import benchmark, command, one_step

FAILED, INTERRUPTED_CODE = 1, 130

LEAST_COMPARISON_S = 60.0
"""The comparison may take as long as the search took, and at least so many seconds."""

IMPORTS = str(Path(importlib.__file__).parent)
"""Where the files of Python's own import lie."""

# A trial is as nice as the program would be, which its worker's own niceness decides where no root
# can take it back.
LOCAL: dict[str, Any] = {"include_dashboard": False, "_system_config": {"worker_niceness": 0}}
"""What a Ray on this machine alone is started with."""

TRAITS = ("cpu_model", "usable_cpus", "slots")
"""What nodes can be chosen by."""

BEFORE_THE_PROGRAM = {"allow_interspersed_args": False}
"""Our options end where the program begins: what follows is its own."""

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

Options = Mapping[str, Any]


def bounds(text: str) -> tuple[int, int]:
    """`1:16`, both included."""
    try:
        low, high = (int(part) for part in text.split(":"))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not of the form 1:16") from None
    if low < 0:
        raise click.BadParameter(f"{text!r}: the first number must be 0 or more")
    if low > high:
        raise click.BadParameter(f"{text!r}: the first number must not be above the second")
    return low, high


def knob(text: str) -> tuple[str, tuple[int, int]]:
    """`NAME=1:16`."""
    name, _, ends = text.partition("=")
    if not is_variable(name):
        raise click.BadParameter(f"{name!r} is not the name of a variable, in capitals")
    return name, bounds(ends)


def trait(text: str) -> tuple[str, str | int]:
    """`usable_cpus=64`, or `cpu_model=...`."""
    name, _, value = text.partition("=")
    if name not in TRAITS or not value:
        raise click.BadParameter(f"{text!r} is not of the form usable_cpus=64; keys: {TRAITS}")
    return name, int(value) if value.isdecimal() else value


def limit(text: str) -> tuple[str, float]:
    """`seconds_p99=0.02`."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not of the form seconds_p99=0.02") from None


SEARCH_OPTIONS = [
    click.option(
        "--intra",
        type=bounds,
        metavar="LOW:HIGH",
        help="The range of intra-op threads, both ends included; by default 1 to the usable CPUs.",
    ),
    click.option(
        "--inter",
        type=bounds,
        metavar="LOW:HIGH",
        help="The range of inter-op threads; by default 1 to the usable CPUs, at most 16.",
    ),
    click.option("--trials", type=click.IntRange(1), help="At most so many trials."),
    click.option(
        "--time-budget",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="The search may take so long; the comparison after it takes its own time.",
    ),
    click.option(
        "--address",
        help="A Ray cluster's, to which this folder travels; without it Ray starts here.",
    ),
    click.option(
        "--kind",
        "kinds",
        type=trait,
        multiple=True,
        metavar="KEY=VALUE",
        help="Run on nodes of this kind alone, as usable_cpus=64; by default the most numerous.",
    ),
    click.option(
        "--shared",
        is_flag=True,
        help="Tune for a machine that does other work, too: nothing waits for it to end.",
    ),
    click.option(
        "--storage",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("kamerton-ray"),
        show_default=True,
        help="Where a folder with the results is made.",
    ),
    click.option(
        "--resume",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Go on with the search in this folder.",
    ),
    click.option(
        "--report",
        "page",
        type=FILE,
        metavar="FILE",
        help="Write a page on what was found into this file, too.",
    ),
    click.option(
        "--export",
        "form",
        type=click.Choice(sorted(FORMS)),
        help="Print the setting alone, in the form in which it is put to use: for a shell (env), a "
        ".env file (dotenv), docker run, Kubernetes (k8s), TensorFlow Serving, Python, or as JSON.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON."),
    click.option("--quiet", is_flag=True, help="Show nothing on the way."),
    click.option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Settles what the search leaves to chance: another one takes another way.",
    ),
]


COMPARE_OPTIONS = [
    click.option(
        "--within",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.02,
        show_default=True,
        help="Configurations no farther apart than this share count as equal.",
    ),
    click.option(
        "--fewest",
        is_flag=True,
        help="Of those within that share of the best take the one with the fewest threads.",
    ),
    click.option(
        "--no-compare", is_flag=True, help="Leave out the comparison of the best with the default."
    ),
]


def search_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every command that searches has."""
    for option in reversed(SEARCH_OPTIONS):
        function = option(function)
    return function


def compare_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of those whose best is compared with the default at the end."""
    for option in reversed(COMPARE_OPTIONS):
        function = option(function)
    return function


def timeout_option(default: float, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option that says how long something may take, in seconds."""
    return click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help=text,
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kamerton_ray")
def main() -> None:
    """Find the TensorFlow thread counts that make a program fastest on this machine.

    \b
    Any program, unchanged:    kamerton-ray exec -- python infer.py
    A function that returns a step:  kamerton-ray tune my_model.py:build
    What this machine offers:  kamerton-ray doctor
    A page on what was found:  kamerton-ray report kamerton-ray/FOLDER
    """  # noqa: D301 - click wants the \b


@main.command("exec", context_settings=BEFORE_THE_PROGRAM)
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, required=True)
@search_options
@compare_options
@click.option(
    "--objective",
    default="time",
    show_default=True,
    help="'time' from start to end, 'last' for the last number printed, or a regular expression "
    "whose group is the number.",
)
@click.option("--maximize", is_flag=True, help="A higher number is better.")
@click.option(
    "--minimize",
    is_flag=True,
    help="A lower number is better, as without this; what looks like a rate needs one of the two.",
)
@click.option(
    "--knob",
    "knobs",
    type=knob,
    multiple=True,
    metavar="NAME=LOW:HIGH",
    help="Tune this variable, too.",
)
@timeout_option(3600.0, "A run that takes longer is ended, and has failed.")
def execute(argv: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401 - click's
    """Tune any program: ARGV is run with the thread counts in its environment.

    \b
    kamerton-ray exec -- python infer.py
    kamerton-ray exec --objective 'throughput: ([0-9.]+)' --maximize -- ./serve-and-measure.sh
    """  # noqa: D301 - click wants the \b
    described = {name: options[name] for name in ("objective", "maximize", "knobs", "timeout")}
    with _mistakes():
        direction = _direction(options)
        what = CommandOptions(
            argv=argv, objective=options["objective"], timeout_s=options["timeout"]
        )
        # A time is known to be one, in `seconds`; of any other number nobody knows what it is.
        objective = Objective(
            metric="seconds" if what.objective == TIME else "objective",
            mode=direction.mode,
            within=options["within"],
            fewest=options["fewest"],
        )

    def plan() -> Plan:
        return Plan(
            goal=_goal(options, "objective", direction.mode, knobs=dict(options["knobs"])),
            trainable=command(
                argv,
                objective=what.objective,
                timeout_s=what.timeout_s,
                patience_s=_patience(options),
            ),
            objective=objective,
            compare=not options["no_compare"],
            direction=direction,
        )

    _run(plan, _session("exec", options, {"argv": list(argv), **described}), options)


def _direction(options: Options) -> Direction:
    """Which numbers are better, as the options say.

    Raises:
        InvalidInputError: They say both, or do not say it of what looks like a rate.
    """
    said = [one for one in (Direction.HIGHER, Direction.LOWER) if options[f"{one.mode}imize"]]
    if len(said) > 1:
        raise InvalidInputError("--maximize and --minimize exclude each other")
    if options["objective"] == TIME and Direction.HIGHER in said:
        raise InvalidInputError("--maximize is for a number that is printed; see --objective")
    direction = said[0] if said else Direction.ASSUMED
    if doubt := direction.doubt(options["objective"]):
        raise InvalidInputError(doubt)
    return direction


@main.command()
@click.argument("target", metavar="MODULE:FUNCTION")
@search_options
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=4.0,
    show_default=True,
    help="Measured in each trial, the default's share included.",
)
@timeout_option(
    60.0, "A build, or a block of steps, that takes longer is ended, and its trial has failed."
)
@compare_options
@click.option(
    "--objective",
    type=click.Choice(["speedup", "throughput", "seconds_p90", "seconds_p99", "cpu_seconds"]),
    default="speedup",
    show_default=True,
    help="What is judged by: the median step time against the default's, steps per second, the "
    "time that 90 or 99 % of the steps keep below, or the CPU seconds of a step.",
)
@click.option(
    "--at-most",
    "limits",
    type=limit,
    multiple=True,
    metavar="KEY=VALUE",
    help="A limit on one of those, as seconds_p99=0.02.",
)
def tune(target: str, **options: Any) -> None:  # noqa: ANN401 - click's
    """Tune a function that builds a model and returns a step of it to time.

    It runs in each trial's process, its threads already set. Create the model inside of it: one
    that the module creates on import has the threads of whoever imports it.

    \b
    def build():
        import tensorflow as tf
        model = tf.keras.models.load_model("my_model.keras")
        images = tf.random.uniform((8, 224, 224, 3))
        return lambda: model(images)

    \b
    kamerton-ray tune my_model.py:build
    kamerton-ray tune my_package.models:build --time-budget 120 --export dotenv
    kamerton-ray tune my_model.py:build --objective throughput --at-most seconds_p99=0.02
    """  # noqa: D301 - click wants the \b
    with _mistakes():
        build = load_function(target)
        objective = Objective(
            metric=options["objective"],
            at_most=dict(options["limits"]),
            within=options["within"],
            fewest=options["fewest"],
        )
        check_keys(objective)

    def plan() -> Plan:
        from ray import cloudpickle as rays  # noqa: PLC0415 - the command line starts without Ray

        # The trials' processes, maybe on other machines, get the function by value.
        for pickler in (cloudpickle, rays):
            pickler.register_pickle_by_value(sys.modules[build.__module__])
        plain = objective.metric == "speedup" and not objective.at_most
        goal = _goal(options, "speedup" if plain else "score", "max", knobs={})
        trainable = benchmark(
            build,
            budget_s=options["seconds"],
            timeout_s=options["timeout"],
            patience_s=_patience(options),
            objective=None if plain else objective,
        )
        return Plan(goal, trainable, objective, compare=not options["no_compare"])

    described = {name: options[name] for name in ("seconds", "objective", "limits")}
    _run(plan, _session("tune", options, {"target": target, **described}), options)


@main.command("run", context_settings=BEFORE_THE_PROGRAM)
@click.argument("path", metavar="SCRIPT", type=click.Path(exists=True, dir_okay=False))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@search_options
def run_script(path: str, args: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401 - click's
    """Run a script with Kamerton's loop, unmodified, each attempt a trial of Ray.

    At the end the script is executed once more as its loop's last iteration would be, with the best
    vertex. --intra and --inter take the place of the loop's own bounds.

    \b
    kamerton-ray run script.py
    kamerton-ray run --address auto script.py --model resnet
    """  # noqa: D301 - click wants the \b
    # On a cluster the script's folder travels, and its name is found in there.
    folder, name, env = Path(path).resolve().parent, Path(path).name, dict(os.environ)
    here = Script(path=str(folder / name), args=args)
    there = Script(path=name, args=args) if options["address"] else here
    with _mistakes():
        _say(options, f"Asking {path} what its loop searches for ...")
        loop = describe(here)

    def plan() -> Plan:
        asked = {"intra_op": options["intra"], "inter_op": options["inter"]}
        space = {name: asked.get(name) or bounds for name, bounds in loop.space.items()}
        goal = Goal(space=space, starts=_inside(loop.starts, space), metric="objective", mode="min")

        waits = _patience(options)

        def runner() -> ScriptRunner:
            return ScriptRunner(
                there,
                names=list(space),
                repeats=loop.repeats,
                timeout_s=loop.timeout_s,
                patience_s=waits,
                cwd=working_directory(),
            )

        return Plan(goal, one_step(name, runner), Objective(metric="objective"), compare=False)

    session = _session("run", options, {"script": path, "args": list(args)})
    options = {**options, "trials": options["trials"] or loop.iterations}
    ending = _run(plan, session, options, folder=folder)
    if ending.best is not None:
        sys.exit(conclude(here, list(ending.best.values()), env))


@main.command("report")
@click.argument(
    "results", metavar="RESULTS", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--html", type=FILE, metavar="FILE", help="Write a page that needs no other file.")
@click.option("--png", type=FOLDER, metavar="DIR", help="Write the pictures into this folder.")
@click.option("--csv", type=FILE, metavar="FILE", help="Write a line for each trial.")
@click.option("--json", type=FILE, metavar="FILE", help="Write everything but the pictures.")
@click.option(
    "--metric", metavar="KEY", help="What the trials are judged by; for a run of Ray Tune."
)
@click.option("--mode", type=click.Choice(["min", "max"]), help="Whether less of that is better.")
def tell(results: Path, metric: str | None, mode: str | None, **files: Path | None) -> None:
    """Show what a search found: RESULTS is a session's folder, or that of a run of Ray Tune.

    The answer and a short table are printed. With no option a page is written beside the results,
    report.html: the map of what was measured, every speed-up, the fresh runs, what failed, and how
    to apply the answer.

    \b
    kamerton-ray report kamerton-ray/tune-20260101-120000-abc
    kamerton-ray report kamerton-ray/tune-20260101-120000-abc --png pictures --csv trials.csv
    kamerton-ray report ~/ray_results/my_run --metric seconds --mode min
    """  # noqa: D301 - click wants the \b
    if mode is not None and metric is None:
        raise click.UsageError("--mode says how a --metric is meant, so it needs one")
    with _mistakes(about=str(results)):
        asked = None if metric is None else Objective(metric=metric, mode=mode or "")
        told = report(results, objective=asked)
        click.echo(printable(told.text()))
        if not any(files.values()):
            files["html"] = results / "report.html"
        for path in told.save(**files):
            click.echo(f"Written: {path}", err=True)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def doctor(*, as_json: bool) -> None:
    """Show what this machine offers TensorFlow, and what to mend before tuning."""
    findings = examine()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
        return
    for finding in findings:
        click.echo(f"{finding.name:<20} " + finding.found.replace("\n", "\n" + " " * 21))
    advice = [finding.advice for finding in findings if finding.advice]
    click.echo("\nNothing to mend." if not advice else "\nBefore tuning:")
    for text in advice:
        click.echo(f"- {text}")
    click.echo("\nNext: kamerton-ray exec -- python my_program.py")


@dataclass(frozen=True)
class Plan:
    """A search.

    Attributes:
        goal: What is searched for.
        trainable: What a trial runs.
        objective: What is shown of it, and by what the best and the default are compared.
        compare: Whether they are.
        direction: Which numbers of a command are better.
    """

    goal: Goal
    trainable: type[Any]
    objective: Objective
    compare: bool
    direction: Direction = Direction.LOWER


def load_function(target: str) -> Callable[..., Any]:
    """`module:function` or `path.py:function`.

    Raises:
        InvalidInputError: It is not of this form, or there is no such function.
    """
    place, _, name = target.rpartition(":")
    if not place or not name.isidentifier():
        raise InvalidInputError(f"a target is module:function or path.py:function, got {target!r}")
    sys.path.insert(0, str(Path(place).resolve().parent if place.endswith(".py") else Path.cwd()))
    try:
        with redirect_stdout(sys.stderr):  # standard output is for the answer
            module = importlib.import_module(Path(place).stem if place.endswith(".py") else place)
    except (Exception, SystemExit) as error:
        raise InvalidInputError(f"{place!r} cannot be imported: {_own_lines(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InvalidInputError(f"{place!r} has no function {name!r}")
    return cast("Callable[..., Any]", function)


def _own_lines(error: BaseException) -> str:
    """What an exception says, with the lines of the user's own files."""
    ours, frame = (__file__, "<frozen "), error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith((*ours, IMPORTS)):
        frame = frame.tb_next
    if frame is None and not isinstance(error, SyntaxError):
        return str(error)
    return "\n" + "".join(traceback.format_exception(type(error), error, frame)).rstrip()


def _run(
    plan: Callable[[], Plan], session: Session, options: Options, *, folder: Path | None = None
) -> Ending:
    """Search, compare, and say the answer; ends the process after Ctrl-C, or if nothing worked.

    To a cluster the folder travels, by default the current one.
    """
    _say(options, f"The results go to {session.folder}.")
    if options["address"] is None:
        _say_who_else(options)
    with _mistakes(), _ray(options["address"], folder or Path.cwd()):
        ending, answer = _answered(plan, session, options)
        _conclude(ending, answer, session, options)  # now: Ray's end takes seconds
    return ending


def _answered(
    plan: Callable[[], Plan], session: Session, options: Options
) -> tuple[Ending, Verdict]:
    """Search, and compare."""
    # Ray tells of lost nodes on the standard output, which is for the answer.
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        planned = plan()
        _check_ranges(session, planned.goal)
        session.describe({"goal": asdict(planned.goal)})
        kept = len(session.results())
        ending = _searched(planned, session, options, before=kept)
        trials = "1 trial" if len(ending.results) == 1 else f"{len(ending.results)} trials"
        _say(options, f"The search ended after {trials}: {ending.reason}.")
        stopped = ending.reason == INTERRUPTED or ending.broken
        earlier = _settled(session) if len(ending.results) == kept else None
        if earlier is not None:
            answer = earlier
        elif ending.best is None or stopped or not planned.compare:
            answer = _without_comparison(ending)
        else:
            answer = _compared(planned, ending, options)
    return ending, answer


def _settled(session: Session) -> Verdict | None:
    """The answer of an earlier comparison that came to its end."""
    answer = session.answer()
    if answer is None or answer["decision"] not in {"use", "keep"}:
        return None
    return verdict_of(answer)


def _patience(options: Options) -> float:
    """How many seconds a trial waits for other work to end."""
    return 0.0 if options["shared"] else patience()


def _say_who_else(options: Options) -> None:
    """Say what other work takes this machine's CPUs, before Ray's own start takes them."""
    reading, names = look()
    if not reading.disturbed:
        return
    what = f"Other work takes {reading.cpus:.1f} CPUs here: {names or 'processes without a name'}."
    if options["shared"]:
        _say(options, f"{what} The answer will be that of a machine shared with it.")
        return
    _say(
        options,
        f"{what} Trials wait up to {patience():.0f} s for it to end, and what it disturbs is "
        "measured again. For an answer beside it: --shared.",
    )


def _compared(plan: Plan, ending: Ending, options: Options) -> Verdict:
    took = sum(result.time_total_s for result in ending.results)
    with Display(plan.goal, Limits(), plan.objective, quiet=options["quiet"]) as display:
        return verdict(
            ending.results,
            plan.trainable,
            objective=plan.objective,
            budget_s=max(LEAST_COMPARISON_S, took),
            shared=options["shared"],
            watch=display.show_round,
        )


def _without_comparison(ending: Ending) -> Verdict:
    if ending.best is None:
        return Verdict(decision=Decision.NONE, sentence=nothing_worked(ending.results))
    standing = "the best so far" if ending.reason == INTERRUPTED else "the best of the search"
    sentence = f"{in_words(ending.best)} is {standing}; it was not compared with the default."
    return Verdict(decision=Decision.UNSURE, sentence=sentence, config=ending.best)


def _check_folder_of(page: Path) -> None:
    if not page.absolute().parent.is_dir():
        raise InvalidInputError(
            f"--report must be a file in a folder that exists, but {page.parent} does not"
        )


def _session(kind: str, options: Options, description: Mapping[str, Any]) -> Session:
    with _mistakes():
        if options["page"] is not None:  # now, not when the search is over
            check_extra()
            _check_folder_of(options["page"])
        resumed: Path | None = options["resume"]
        if resumed is None:
            session = Session.create(options["storage"], kind, description)
        else:
            session = Session.open(resumed)
        click.get_current_context().with_resource(session.held())
        if resumed is not None:
            _check_same(session, {"kind": kind, **description})
            _say(options, f"Trials of before that are kept: {len(session.results())}.")
    return session


def _check_same(session: Session, description: Mapping[str, Any]) -> None:
    """See to it that a resumed search is for what it was for before."""
    earlier = session.description()
    for name, value in json.loads(json.dumps(description)).items():
        if earlier.get(name) != value:
            raise InvalidInputError(
                f"a resumed search must be for the same {name} as before, {earlier.get(name)!r}, "
                f"but got {value!r}"
            )


def _check_ranges(session: Session, goal: Goal) -> None:
    """See to it that a resumed search has the ranges of before, of which each has its option."""
    earlier = session.description().get("goal", asdict(goal))["space"]
    for name in earlier.keys() | goal.space.keys():
        before, now = (
            "none" if space.get(name) is None else f"{space[name][0]}:{space[name][1]}"
            for space in (earlier, goal.space)
        )
        if before != now:
            option = f"--{name[:5]} " if name in THREADS else f"--knob {name}="
            raise InvalidInputError(
                f"a resumed search must have the ranges of before, {option}{before}, but got {now}"
            )


def _goal(
    options: Options, metric: str, mode: str, *, knobs: Mapping[str, tuple[int, int]]
) -> Goal:
    cpus = trial_cpus(dict(options["kinds"]))
    asked = {name: options[name[:5]] for name in THREADS}
    usual = thread_bounds(cpus)
    space = {**{name: asked[name] or usual[name] for name in usual}, **knobs}
    start = {**{name: low for name, (low, _) in knobs.items()}, **default_threads(cpus)}
    return Goal(space=space, starts=_inside([start], space), metric=metric, mode=mode)


def _inside(
    starts: Sequence[Mapping[str, int]], space: Mapping[str, tuple[int, int]]
) -> list[dict[str, int]]:
    """The configurations to begin with, moved onto the bounds."""
    return [
        {name: min(max(start[name], low), high) for name, (low, high) in space.items()}
        for start in starts
    ]


@contextmanager
def _mistakes(about: str = "") -> Iterator[None]:
    """A user's mistake is said in a sentence, without a traceback.

    Args:
        about: What it is about, where the sentence does not say that itself.
    """
    try:
        yield
    except KamertonError as error:
        said = printable(str(error))
        said = said if about in said else f"{about}: {said}"
        # A sentence begins with a capital, but not the name of an argument.
        said = said[0].upper() + said[1:] if re.match(r"[a-z]+[ ,:]", said) else said
        raise click.UsageError(said) from error


@contextmanager
def _ray(address: str | None, folder: Path) -> Iterator[None]:
    """Ray on this machine or the cluster's, for so long."""
    if (address or "").startswith("ray://"):
        raise InvalidInputError(
            "the address must be that of a cluster which this machine is part of, since Ray Client "
            f"would take the search elsewhere, but got {address!r}. From outside: ray job submit "
            "--address http://HEAD:8265 --working-dir . -- kamerton-ray ... --address auto"
        )
    import ray  # noqa: PLC0415 - the command line must start without it

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails, we say ourselves
    try:
        ray.init(
            address or "local",
            **(_travelling(folder) if address else LOCAL),
            log_to_driver=False,
            logging_level="ERROR",
        )
    except ConnectionError as error:
        raise InvalidInputError(f"no Ray cluster answers at {address!r}: {error}") from error
    # Now: what stands in the environment before Ray's start is in that of every trial, too.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # our own display instead of Ray's
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    try:
        yield
    finally:
        ray.shutdown()


def _travelling(folder: Path) -> Options:
    """The option by which a folder travels to the nodes, unless a job of Ray has brought its own.

    Ray refuses two (ray/_private/worker.py, `_merge_runtime_env`).
    """
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    brought = "working_dir" in (job.get("runtime_env") or {})
    return {} if brought else {"runtime_env": {"working_dir": str(folder)}}


def _searched(plan: Plan, session: Session, options: Options, *, before: int) -> Ending:
    limits = Limits(trials=options["trials"], time_budget_s=options["time_budget"])

    def note(result: Result) -> str:
        return read_as(result, plan.direction)

    display = Display(
        plan.goal,
        limits,
        plan.objective,
        quiet=options["quiet"],
        before=before,
        note=note,
    )
    with display:
        return search(
            plan.trainable,
            plan.goal,
            session,
            limits=limits,
            seed=options["seed"],
            kind=dict(options["kinds"]),
            watch=display.show,
            doubt=lambda result: plan.direction.doubt(result.line),
        )


def _say(options: Options, text: str) -> None:
    if not options["quiet"]:
        click.echo(printable(text), err=True)


def _resuming(session: Session) -> str:
    """The command that goes on with a search."""
    command, *rest = sys.argv[1:]
    return shlex.join(["kamerton-ray", command, "--resume", str(session.folder), *rest])


def _conclude(ending: Ending, answer: Verdict, session: Session, options: Options) -> None:
    """Say the answer, and end with the exit code that goes with it."""
    about = {
        "trials": len(ending.results),
        "stopped_by": ending.reason,
        "folder": str(session.folder),
    }
    try:
        session.conclude({**answer.to_json(rounds=True), **about})
        written = True
    except OSError as error:
        _say(options, f"The answer cannot be written down: {error}")
        written = False
    if options["as_json"]:
        click.echo(json.dumps({**answer.to_json(), **about}))
    else:
        _answer(answer, options)
    if options["page"] is not None and ending.results:
        with _mistakes():
            report(session.folder).save(html=options["page"])
    _say(options, f"A page on the results: kamerton-ray report {session.folder}")
    if ending.broken or ending.reason == INTERRUPTED or answer.interrupted:
        _say(options, f"Go on with: {_resuming(session)}")
        sys.exit(FAILED if ending.broken else INTERRUPTED_CODE)
    if answer.decision is Decision.NONE or not written:
        sys.exit(FAILED)


def _answer(answer: Verdict, options: Options) -> None:
    """Say it in words, or in the form that is asked for."""
    form = options["form"]
    if form is None or not options["quiet"]:
        for one in (answer, *answer.elsewhere):
            where = f"On {one.machine}: " if answer.elsewhere else ""
            click.echo(printable(f"{where}{one.sentence}"), err=form is not None)
            for reason in one.reasons:
                _say(options, f"  {reason}")
    if form is None:
        return
    if answer.decision is Decision.USE:
        click.echo(export(answer.config or {}, form), nl=False)
    elif answer.decision is Decision.UNSURE and options.get("no_compare"):
        _say(options, "Not compared with the default: what is exported is the search's best.")
        click.echo(export(answer.config or {}, form), nl=False)
    elif answer.decision is Decision.BUSY:
        _say(options, "Nothing is exported: the machine was busy. With --shared it would be.")
    else:
        kept = answer.decision is Decision.KEEP
        why = "the default needs no setting" if kept else "there is no answer"
        _say(options, f"Nothing is exported: {why}.")
