"""Whether the speed-up holds under a CPU quota, as a container has it.

In a cgroup that gives one CPU on a machine of more, MobileNetV2 with one thread and with
TensorFlow's default is measured in turn, as a trial does it, and each alone, over many periods. The
speed-up should agree with the ratio of the two alone within 10 %.

With `--capped` a program that runs the model's steps is started there instead, as it is and by
`kamerton-ray exec --no-search`: in how many of its periods does the quota stop it, and for what
share of the CPU time? Beside it: a program without TensorFlow whose two threads take turns, which
never asks for more than one CPU, and one of a single thread.

It needs the right to make a cgroup, of version 1 or 2.
"""

import argparse
import contextlib
import functools
import hashlib
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from machines import PERIOD_US, UnavailableError, cgroup
from models import MODELS, mobilenet

from kamerton_ray.machine.cgroups import Quota
from kamerton_ray.machine.threads import Threading
from kamerton_ray.trial.bench import Bench, BenchOptions, Isolation
from kamerton_ray.trial.model_instances import Instances
from kamerton_ray.trial.timing import TimingOptions

ONE, DEFAULT = {"intra_op": 1, "inter_op": 1}, {"intra_op": 0, "inter_op": 0}


def alone(bench: Bench, seconds: float) -> float:
    """The default's step time over one thread's, each by itself in stretches of so many seconds.

    The stretches take turns, A B B A, since the machine is another one a minute later; each is so
    much longer than a period that what the other has left of the quota does not count.
    """
    nest = bench._nest(None)  # noqa: SLF001 - the same processes as a trial
    with contextlib.ExitStack() as stack:
        attempts = []
        for config in (ONE, DEFAULT):
            attempt = nest.attempt(Threading.of(config), config, timeout=120.0)
            attempts.append(stack.enter_context(Instances([attempt])))
            attempts[-1].build()
        spent = [[], []]
        for number in (0, 1, 1, 0, 0, 1, 1, 0):
            spent[number].append(stretch(attempts[number], seconds))
    return statistics.mean(spent[1]) / statistics.mean(spent[0])


def stretch(attempt, seconds: float) -> float:
    """A process's mean step time over so many seconds, after a first one that does not count."""
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        attempt.run(4)
    begin, steps = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        steps += attempt.run(8).steps
    return (time.perf_counter() - begin) / steps


def inside(procs: Path, model: str, seconds: float, times: int) -> None:
    """Join the cgroup, measure, and print each pair of figures, and the medians."""
    procs.write_text(f"{os.getpid()}\n", encoding="ascii")
    build = next(one for one in MODELS if one.__name__ == model)
    timing = TimingOptions(budget_s=2 * seconds)
    options = BenchOptions(
        timing=timing, timeout_s=120.0, pair=True, env={}, isolation=Isolation.FORK
    )
    bench = Bench(build, options)
    ratios, speedups = [], []
    try:
        for _ in range(times):
            ratios.append(alone(bench, seconds))
            found = bench.measure(ONE)
            speedups.append(found.speedup)
            print(
                f"alone {ratios[-1]:.2f}x; in turn {found.speedup:.2f}x "
                f"[{found.speedup_low:.2f}, {found.speedup_high:.2f}], throttled: one thread "
                f"in {found.throttled:.0%}, the default in "
                f"{found.default_throttled:.0%} of the periods",
                flush=True,
            )
    finally:
        bench.close()
    one, other = statistics.median(speedups), statistics.median(ratios)
    print(f"medians: in turn {one:.2f}x, alone {other:.2f}x: {abs(one / other - 1):.0%} apart")


def hashing(pool: ThreadPoolExecutor | None = None) -> None:
    """Work for some milliseconds: a little here, the most here too or in the pool's thread."""
    work = functools.partial(hashlib.pbkdf2_hmac, "sha256", b"any", b"salt")
    work(2000)
    if pool is None:
        work(20000)
    else:
        pool.submit(work, 20000).result()


BESIDE = {
    "one thread, no model": hashing,
    "two in turn, no model": functools.partial(hashing, ThreadPoolExecutor(1)),
}
"""What never asks for more than one CPU, by name."""


def run_steps(name: str, seconds: float) -> None:
    """Run steps of a model, or of what stands beside it, for so long; print how many a second."""
    step = BESIDE.get(name) or next(one for one in MODELS if one.__name__ == name)()
    step()
    begin, count = time.monotonic(), 0
    while time.monotonic() < begin + seconds:
        step()
        count += 1
    print(f"{count / (time.monotonic() - begin):.1f} steps/s", end="")


def say_throttled(name: str, prefix: list[str], model: str, args: argparse.Namespace) -> None:
    """Run a program in the cgroup, and print in how many of its periods the quota stops it."""
    program = [sys.executable, __file__, "--steps", "--model", model]
    program += ["--seconds", str(args.seconds * args.times)]
    with cgroup(args.cpus) as procs:
        join = f'echo $$ > {procs} && exec "$@"'
        command = ["/bin/sh", "-c", join, "sh", *prefix, *program]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        quota = Quota(args.cpus * PERIOD_US / 1e6, PERIOD_US / 1e6, procs)
        found = quota.throttling()
    print(
        f"{name:<22} {done.stdout}, stopped in {found.share:.1%} of {found.periods} periods; "
        f"{quota.held_back(found):.2%} of the CPU time had to wait",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpus", type=float, default=1.0, help="the quota (%(default)s)")
    parser.add_argument("--model", default=mobilenet.__name__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a stretch (%(default)s)")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--capped", action="store_true", help="with and without exec --no-search")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--steps", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.steps:
        run_steps(args.model, args.seconds)
        return
    if args.inside:
        inside(args.inside, args.model, args.seconds, args.times)
        return
    try:
        if args.capped:
            ours = [
                sys.executable,
                "-m",
                "kamerton_ray.cli",
                "exec",
                "--no-search",
                "--quiet",
                "--",
            ]
            say_throttled("as it is", [], args.model, args)
            say_throttled("exec --no-search", ours, args.model, args)
            for name in BESIDE:
                say_throttled(name, [], name, args)
            return
        with cgroup(args.cpus) as procs:
            command = [sys.executable, __file__, "--inside", str(procs), *sys.argv[1:]]
            subprocess.run(command, check=True)
    except UnavailableError as error:
        print(f"Skipped: {error}")


if __name__ == "__main__":
    main()
