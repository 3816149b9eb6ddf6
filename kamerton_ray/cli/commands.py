"""kamerton-ray, the command line: its six commands, and what each does first.

The answer goes to standard output, everything else to standard error. Exit codes: 0 for an answer,
1 where nothing worked or a fault broke it off, 2 for a mistake on the command line, which may show
in the results alone, 130 after Ctrl-C.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import click

from kamerton_ray.cli.capping import run_capped
from kamerton_ray.cli.checking import check
from kamerton_ray.cli.doctor import as_text, examine
from kamerton_ray.cli.options import (
    FILE,
    FOLDER,
    Command,
    Decorator,
    Limit,
    SearchOptions,
    check_options,
    combine_option,
    compare_options,
    limit,
    search_options,
    shape,
    timeout_option,
)
from kamerton_ray.cli.planning import (
    FunctionTask,
    LoopTask,
    ProgramTask,
    combine_of,
    direction_of,
    names_of,
    usual_combine,
)
from kamerton_ray.cli.saying import mistakes, printable, say
from kamerton_ray.cli.searching import run
from kamerton_ray.cli.target import what_builds
from kamerton_ray.report.report import report
from kamerton_ray.trial.command import CommandOptions
from kamerton_ray.trial.instances import ALONE, Combine
from kamerton_ray.trial.judged import check_keys
from kamerton_ray.trial.knobs import Knobs, check_program_knobs
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.script import Script, conclude, describe

BEFORE_THE_PROGRAM = {"allow_interspersed_args": False}
"""Our options end where the program begins: what follows is its own."""


def examples(*blocks: str) -> Decorator:
    """Show these blocks below a command's help, with the line breaks that they have."""

    def shown(command: Command) -> Command:
        text = inspect.cleandoc(command.__doc__ or "")
        command.__doc__ = "\n\n\b\n".join([text, *blocks])  # \b: click does not wrap what follows
        return command

    return shown


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kamerton_ray")
@examples(
    """Any program, unchanged:    kamerton-ray exec -- python infer.py
A function that returns a step:  kamerton-ray tune my_model.py:build
What this machine offers:  kamerton-ray doctor
A page on what was found:  kamerton-ray report kamerton-ray/FOLDER
Whether it still holds:  kamerton-ray check kamerton-ray/FOLDER"""
)
def main() -> None:
    """Find the TensorFlow thread counts that make a program fastest on this machine."""


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
@combine_option("per-program of 'time', else sum with --maximize and slowest without")
@timeout_option(3600.0, "A run that takes longer is ended, and has failed.")
@click.option(
    "--no-search",
    is_flag=True,
    help="Only run it, with no more threads than the CPUs that a container's quota gives.",
)
@examples(
    """kamerton-ray exec -- python infer.py
kamerton-ray exec --no-search -- python serve.py
kamerton-ray exec --objective 'throughput: ([0-9.]+)' --maximize -- ./serve-and-measure.sh
kamerton-ray exec --instances 1:4 -- python infer.py"""
)
def execute(
    *,
    argv: tuple[str, ...],
    objective: str,
    maximize: bool,
    minimize: bool,
    combine: Combine | None,
    timeout: float,
    no_search: bool,
    options: SearchOptions,
) -> None:
    """Tune any program: ARGV is run with the thread counts in its environment.

    With --instances several copies of it run at the same time, each with its number, from 0, in
    KAMERTON_RAY_INSTANCE. Of a time then counts that of the slowest, divided by the number of
    programs that ran.
    """
    with mistakes():
        if no_search:
            run_capped(argv, options)
        check_program_knobs(options.also)
        direction = direction_of(objective, maximize=maximize, minimize=minimize)
        combine = combine_of(combine, usual_combine(objective, direction), options)
        command = CommandOptions(argv=argv, objective=objective, combine=combine, timeout_s=timeout)
        task = ProgramTask(
            command=command,
            direction=direction,
            objective=Objective(
                metric=command.metric,
                mode=direction.mode,
                within=options.within,
                fewest=options.fewest,
            ),
            knobs=options.knobs,
            also=options.also,
        )
    run(task, options)


@main.command()
@click.argument("target", metavar="MODEL")
@search_options
@click.option(
    "--batch",
    type=click.IntRange(1),
    help="How many examples a step of a saved model takes; by default one.",
)
@click.option(
    "--shape",
    "shapes",
    type=shape,
    multiple=True,
    metavar="INPUT=SIZES",
    help="The whole shape of a saved model's input of which more than that is open, as ids=8,128.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    help="Measured in each trial, the default's share included; by default a sixtieth of the time "
    "that the whole may take, half a second to 4.",
)
@timeout_option(
    60.0, "A build, or a block of steps, that takes longer is ended, and its trial has failed."
)
@compare_options
@click.option(
    "--objective",
    type=click.Choice(
        ["speedup", "throughput", "seconds_p90", "seconds_p99", "cpu_seconds", "cpus"]
    ),
    default="speedup",
    show_default=True,
    help="What is judged by: how many times the steps of the default are done, steps per second, "
    "the time that 90 or 99 % of the steps keep below, the CPU seconds of a step, or how many CPUs "
    "are kept busy.",
)
@click.option(
    "--at-most",
    "most",
    type=limit,
    multiple=True,
    metavar="KEY=VALUE",
    help="A limit on one of those, as seconds_p99=0.02.",
)
@click.option(
    "--at-least",
    "least",
    type=limit,
    multiple=True,
    metavar="KEY=VALUE",
    help="A lower limit, as throughput=100 with --objective cpus: the fewest CPUs for that.",
)
@examples(
    """def build():
    import tensorflow as tf
    model = tf.keras.models.load_model("my_model.keras")
    images = tf.random.uniform((8, 224, 224, 3))
    return lambda: model(images)""",
    """kamerton-ray tune my_model.keras --batch 8 --instances auto
kamerton-ray tune my_model.py:build
kamerton-ray tune my_package.models:build --time-budget 120 --export dotenv
kamerton-ray tune my_model.py:build --objective throughput --at-most seconds_p99=0.02""",
)
def tune(
    *,
    target: str,
    seconds: float | None,
    timeout: float,
    objective: str,
    most: tuple[Limit, ...],
    least: tuple[Limit, ...],
    batch: int | None,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    options: SearchOptions,
) -> None:
    """Tune a model: MODULE:FUNCTION, FILE.py:FUNCTION, or where a saved one lies.

    The function builds the model and returns a step of it to time. It runs in each trial's process,
    its threads already set. Create the model inside of it: one that the module creates on import
    has the threads of whoever imports it.

    Of a saved model, a file of Keras's or the folder of a SavedModel, a step is a call with made up
    numbers.
    """
    with mistakes():
        build = what_builds(target, batch=batch, shapes=dict(shapes))
        judged_by = Objective(
            metric=objective,
            at_most=dict(most),
            at_least=dict(least),
            within=options.within,
            fewest=options.fewest,
        )
        check_keys(judged_by)
    task = FunctionTask(
        target=target,
        build=build,
        objective=judged_by,
        most=most,
        least=least,
        seconds=seconds,
        timeout_s=timeout,
        knobs=names_of(options),
    )
    run(task, options)


@main.command("run", context_settings=BEFORE_THE_PROGRAM)
@click.argument("path", metavar="SCRIPT", type=click.Path(exists=True, dir_okay=False))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@search_options
@combine_option("slowest")
@examples(
    """kamerton-ray run script.py
kamerton-ray run --address auto script.py --model resnet"""
)
def run_script(
    *, path: str, args: tuple[str, ...], combine: Combine | None, options: SearchOptions
) -> None:
    """Run a script with Kamerton's loop, unmodified, each attempt a trial of Ray.

    At the end the script is executed once more as its loop's last iteration would be, with the best
    vertex. --intra and --inter take the place of the loop's own bounds.

    --knob and --also set variables for the body, which the loop knows nothing of.

    With --instances several copies of the loop's body run at the same time, each with its number,
    from 0, in KAMERTON_RAY_INSTANCE. The largest of the numbers that they print counts; where these
    are times, say --combine per-program, or one instance wins.
    """
    begin = time.monotonic()
    # On a cluster the script's folder travels, and its name is found in there.
    folder, name = Path(path).resolve().parent, Path(path).name
    alone = ALONE if options.instances else {}
    env = {**os.environ, **alone}
    here = Script(path=str(folder / name), args=args)
    there = Script(path=name, args=args) if options.address else here
    with mistakes():
        check_program_knobs(options.also)
        combine = combine_of(combine, Combine.SLOWEST, options)
        say(options, f"Asking {path} what its loop searches for ...")
        loop = describe(here, env=alone)
    task = LoopTask(path=path, script=there, loop=loop, combine=combine, knobs=names_of(options))
    options = replace(options, trials=options.trials or loop.iterations)
    ending = run(task, options, folder=folder, begin=begin)
    if ending.best is not None:
        env = Knobs(task.knobs).applied(env, ending.best)
        sys.exit(conclude(here, [ending.best[name] for name in loop.space], env))


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
@examples(
    """kamerton-ray report kamerton-ray/tune-20260101-120000-abc
kamerton-ray report kamerton-ray/tune-20260101-120000-abc --png pictures --csv trials.csv
kamerton-ray report ~/ray_results/my_run --metric seconds --mode min"""
)
def tell(results: Path, metric: str | None, mode: str | None, **files: Path | None) -> None:
    """Show what a search found: RESULTS is a session's folder, or that of a run of Ray Tune.

    The answer and a short table are printed. With no option a page is written beside the results,
    report.html: the map of what was measured, every speed-up, the fresh runs, what failed, and how
    to apply the answer.
    """
    if mode is not None and metric is None:
        raise click.UsageError("--mode says how a --metric is meant, so it needs one")
    with mistakes(about=str(results)):
        asked = None if metric is None else Objective(metric=metric, mode=mode or "")
        told = report(results, objective=asked)
        click.echo(printable(told.text()))
        if not any(files.values()):
            files["html"] = results / "report.html"
        for path in told.save(**files):
            click.echo(f"Written: {path}", err=True)


@main.command("check")
@click.argument(
    "folder", metavar="FOLDER", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@check_options
@examples("kamerton-ray check kamerton-ray/tune-20260101-120000-abc && deploy")
def check_again(*, folder: Path, options: SearchOptions) -> None:
    """Measure the answer in FOLDER once more: its configuration against TensorFlow's default.

    For after an update of TensorFlow, of the image or of the machine, as in a job of CI. It ends
    with 0 where the answer still holds, with 3 where it no longer does, and with 1 where that was
    not decided. It runs what the session has tuned, from the same folder.
    """
    check(folder, options)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def doctor(*, as_json: bool) -> None:
    """Show what this machine offers TensorFlow, and what to mend before tuning."""
    findings = examine()
    told = json.dumps([asdict(one) for one in findings]) if as_json else as_text(findings)
    click.echo(told)
