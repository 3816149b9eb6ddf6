"""Whether the speed-up holds under a CPU quota, as a container has it.

In a cgroup that gives one CPU on a machine of more, MobileNetV2 with one thread and with
TensorFlow's default is measured in turn, as a trial does it, and each alone, over many periods. The
speed-up should agree with the ratio of the two alone within 10 %. It needs the right to make a
cgroup, of version 1 or 2.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from machines import UnavailableError, cgroup
from models import MODELS, mobilenet

from kamerton_ray import benchmark as _  # noqa: F401 - the package must be importable here, too
from kamerton_ray.benchmark import Bench, BenchOptions, Isolation
from kamerton_ray.cgroups import tightest_quota
from kamerton_ray.threads import Threading
from kamerton_ray.timing import TimingOptions

ONE, DEFAULT = {"intra_op": 1, "inter_op": 1}, {"intra_op": 0, "inter_op": 0}


def alone(bench: Bench, config: dict, seconds: float) -> float:
    """The mean step time of a process by itself, over so many seconds."""
    server = bench._server(bench._environment(None))  # noqa: SLF001 - the same processes as a trial
    with server.fork(Threading.of(config), config, timeout=120.0) as child:
        child.build()
        end, spent, steps = time.monotonic() + 2.0, 0.0, 0
        while time.monotonic() < end:  # warm up
            child.run(4)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.perf_counter()
            steps += len(child.run(16))
            spent += time.perf_counter() - begin
    return spent / steps


def inside(procs: Path, model: str, seconds: float, times: int) -> None:
    """Join the cgroup, measure, and print each figure as a line of JSON."""
    procs.write_text(f"{os.getpid()}\n", encoding="ascii")
    build = next(one for one in MODELS if one.__name__ == model)
    timing = TimingOptions(budget_s=seconds)
    options = BenchOptions(
        timing=timing, timeout_s=120.0, pair=True, env={}, isolation=Isolation.FORK
    )
    quota = tightest_quota()
    bench = Bench(build, options)
    try:
        for _ in range(times):
            one, default = (alone(bench, config, seconds) for config in (ONE, DEFAULT))
            found = bench.measure(ONE)
            keys = ("speedup", "speedup_low", "speedup_high", "throttled", "default_throttled")
            line = {"quota": quota and quota.cpus, "ratio": default / one}
            print(json.dumps(line | {key: found.get(key) for key in keys}), flush=True)
    finally:
        bench.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpus", type=float, default=1.0, help="the quota (%(default)s)")
    parser.add_argument("--model", default=mobilenet.__name__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each figure (%(default)s)")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.inside, args.model, args.seconds, args.times)
        return
    try:
        with cgroup(args.cpus) as procs:
            command = [sys.executable, __file__, "--inside", str(procs), *sys.argv[1:]]
            subprocess.run(command, check=True)
    except UnavailableError as error:
        print(f"Skipped: {error}")


if __name__ == "__main__":
    main()
