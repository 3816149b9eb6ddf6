"""Join a cgroup; measure one thread against two in turn, and each alone; print it as JSON."""

import contextlib
import hashlib
import json
import os
import statistics
import sys
import threading
import time
from pathlib import Path

import cloudpickle

from kamerton_ray.machine.cgroups import tightest_quota
from kamerton_ray.machine.threads import Threading
from kamerton_ray.process.model_nest import ModelNest
from kamerton_ray.trial.model_instances import Instances
from kamerton_ray.trial.timing import Timer, TimingOptions

ROUNDS = 6000  # of hashing, some milliseconds without the interpreter's lock


def build(config):
    def work():
        hashlib.pbkdf2_hmac("sha256", b"any", b"salt", ROUNDS // config["threads"])

    def step():
        threads = [threading.Thread(target=work) for _ in range(config["threads"])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return step


def alone(attempt):
    """The mean step time over a second, in the long run under the quota."""
    attempt.run(20)
    begin, steps = time.perf_counter(), 0
    while time.perf_counter() - begin < 1:
        steps += attempt.run(10).steps
    return (time.perf_counter() - begin) / steps


def main():
    Path(sys.argv[1]).write_text(f"{os.getpid()}\n")
    quota = tightest_quota()
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    nest = ModelNest(cloudpickle.dumps(build), env=dict(os.environ), tensorflow=False)
    with contextlib.closing(nest), contextlib.ExitStack() as stack:
        attempts = []
        for threads in (1, 2):
            attempt = nest.attempt(Threading(), {"threads": threads}, timeout=60)
            attempts.append(stack.enter_context(Instances([attempt])))
            attempts[-1].build()
        one, two = attempts
        # Whatever else the machine does meanwhile meets both.
        ratio = statistics.median(alone(two) / alone(one) for _ in range(3))
        timing = Timer(TimingOptions(budget_s=6.0)).against(one, two)
    found = {"quota": quota.cpus, "ratio": ratio, "speedup": timing.speedup}
    found |= {"throttled": timing.throttled, "default_throttled": timing.default_throttled}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
