"""How long a whole job takes, from the command to its answer, and what others take beside it.

    python benchmarks/whole_job.py --models mobilenet bert resnet --times 5 --before d62d5fa

For each model, in turn, in one run, each with a Ray of its own, whose start counts:

* ours: `kamerton-ray tune`, as it is or within `--budget`, to its checked answer;
* before: the same of an earlier commit, where one is named;
* Optuna: Ray Tune with Optuna's searcher and 20 plain trials, each in a process of its own that
  measures for two seconds; its answer is the lowest step time;
* the loop: Kamerton's, 20 attempts in forked processes, of the same length; likewise.

Ours alone says how sure its answer is. Optuna is left out where it is not installed.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from budgets import answer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

PLAIN = """
import os, sys, statistics, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

def measured(threads):
    sys.path.insert(0, {here!r})  # in the process of the trial
    from kamerton_ray import set_threading
    set_threading(threads)
    import models
    step = models.{model}()
    step()
    begin, times = time.perf_counter(), []
    while time.perf_counter() < begin + 2:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
"""

OPTUNA = (
    PLAIN
    + """
from ray import tune
from ray.tune.search.optuna import OptunaSearch
cpus = os.cpu_count()
space = {{name: tune.randint(1, 2 * cpus + 1) for name in ("intra_op", "inter_op")}}
found = tune.run(
    lambda config: {{"seconds": measured(config)}}, config=space, num_samples=20, verbose=0,
    search_alg=OptunaSearch(), metric="seconds", mode="min", resources_per_trial={{"cpu": cpus}},
    storage_path=os.getcwd(),
)
print(found.best_config)
"""
)

LOOP = (
    PLAIN
    + """
from kamerton_ray import kamerton
cpus = os.cpu_count()
for attempt in kamerton(vertex=[cpus, cpus], bounds=[(1, 2 * cpus)] * 2, iterations=20):
    print(attempt)
    print(measured(attempt))
"""
)

Job = Callable[[str, str], tuple[list[str], dict[str, str]]]


def tune(checkout: Path, *more: str) -> Job:
    """The command line of a checkout."""

    def job(model: str, folder: str) -> tuple[list[str], dict[str, str]]:
        target = f"{HERE / 'models.py'}:{model}"
        options = ["--json", "--quiet", "--storage", folder, *more]
        argv = [sys.executable, "-m", "kamerton_ray.cli", "tune", target, *options]
        return argv, {"PYTHONPATH": str(checkout)}

    return job


def script(text: str) -> Job:
    """A program of its own."""
    return lambda model, _: (
        [sys.executable, "-c", text.format(here=str(HERE), model=model)],
        {"PYTHONPATH": str(ROOT)},
    )


def run(job: Job, model: str) -> tuple[float, str]:
    """How many seconds a job takes, and the sentence of its answer or the last that it prints."""
    with tempfile.TemporaryDirectory() as folder:
        argv, env = job(model, folder)
        begin = time.monotonic()
        done = subprocess.run(
            argv,
            cwd=folder,
            env={**os.environ, "RAY_AIR_NEW_OUTPUT": "0", **env},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - begin
    if done.returncode:
        return seconds, f"failed: {done.stderr[-500:]}"
    return seconds, answer(done.stdout) or done.stdout.strip().splitlines()[-1]


def compare(jobs: dict[str, Job], models: list[str], times: int) -> None:
    """Run all of them in turn, and print what each took."""
    for model in models:
        took: dict[str, list[float]] = {name: [] for name in jobs}
        for _ in range(times):
            for name, job in jobs.items():
                seconds, line = run(job, model)
                took[name].append(seconds)
                print(f"{model:<12} {name:<8} {seconds:6.1f} s  {line}", flush=True)
        usual = statistics.median(took["ours"])
        for name, found in took.items():
            middle = statistics.median(found)
            print(
                f"{model:<12} {name:<8} median {middle:6.1f} s ({min(found):.1f} to "
                f"{max(found):.1f}); {middle / usual:.2f} times ours",
                flush=True,
            )


def main() -> None:
    """Read the command line, and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["mobilenet", "bert", "resnet"])
    parser.add_argument("--times", type=int, default=5, help="of each (%(default)s)")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="ours may take no longer")
    parser.add_argument("--before", metavar="COMMIT", help="compare with this commit, too")
    parser.add_argument("--ours-only", action="store_true", help="leave the others out")
    arguments = parser.parse_args()
    within = ["--time-budget", str(arguments.budget)] if arguments.budget else []
    jobs = {"ours": tune(ROOT, *within)}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.before:
            git = ["git", "-C", str(ROOT), "worktree"]
            subprocess.run([*git, "add", "--quiet", folder, arguments.before], check=True)
            jobs["before"] = tune(Path(folder))
        if not arguments.ours_only:
            if importlib.util.find_spec("optuna"):
                jobs["optuna"] = script(OPTUNA)
            jobs["loop"] = script(LOOP)
        try:
            compare(jobs, arguments.models, arguments.times)
        finally:
            if arguments.before:
                subprocess.run([*git, "remove", "--force", folder], check=True)


if __name__ == "__main__":
    main()
