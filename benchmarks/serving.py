"""What a setting is worth in a server: requests a second under Ray Serve, against the default.

The default is one replica with TensorFlow's own thread counts. The other has as many replicas as
the setting has instances, and its counts. They take turns, each in a fresh deployment, behind the
same proxy. Clients in another process keep all replicas busy over HTTP. A request is empty, and a
replica runs one step of the model for it: so the model is compared, and not the network. It needs
pip install '.[serve]'; a setting comes from the command line or from a search:

    python benchmarks/serving.py --config '{"instances": 2, "intra_op": 1, "inter_op": 1}'
    kamerton-ray tune examples/mobilenet.py:build --json > answer.json
    python benchmarks/serving.py --verdict answer.json

It prints a line a round, the ratio with its 95 % interval beside what the verdict has promised, the
latencies of both, and how many CPUs the replicas, the proxy, the rest of Ray and the clients took.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import psutil
import ray
from ray import serve
from starlette.responses import Response

from kamerton_ray import set_threading
from kamerton_ray.answer.correlation import correlation
from kamerton_ray.answer.signed_rank import signed_rank_interval
from kamerton_ray.cli.target import load_function
from kamerton_ray.trial.config import has_threads, in_words, instances_of, variables

HERE = Path(__file__).parent
PORT = 8123
QUIET = {"enable_access_log": False, "log_level": "ERROR"}
LEAST_ROUNDS = 6
"""With fewer the interval is no 95 % one."""


class Model:
    """A replica: it sets its threads, builds its model, and runs a step for each request."""

    def __init__(self, target: str, config: dict, at_once: int) -> None:
        """Build it; so many steps may run at once."""
        if has_threads(config):
            set_threading(config)
        self.step = load_function(target)()
        self.step()
        self.threads = ThreadPoolExecutor(at_once) if at_once > 1 else None

    async def __call__(self) -> Response:
        """Run a step: in this thread, so that others wait, or in one of several."""
        if self.threads is None:
            self.step()
        else:
            await asyncio.get_running_loop().run_in_executor(self.threads, self.step)
        return Response()


@dataclass
class Arm:
    """One of the two that are compared.

    Attributes:
        config: The setting; empty for TensorFlow's default.
        at_once: How many steps a replica may run at once.
        rates: Requests a second, round by round.
        took: How long all requests took.
        cpus: How many CPUs each kind of process took, round by round.
    """

    config: dict
    at_once: int = 1
    rates: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    cpus: list[Counter] = field(default_factory=list)

    def application(self, options: argparse.Namespace) -> serve.Application:
        """It as Ray Serve runs it; Ray need not share out the CPUs, the setting has done so."""
        deployment = serve.deployment(
            Model,
            num_replicas=instances_of(self.config),
            max_ongoing_requests=options.ongoing,
            ray_actor_options={
                "num_cpus": 0,
                "runtime_env": {"env_vars": variables(self.config)},
            },
        )
        return deployment.bind(options.model, self.config, self.at_once)

    def visit(self, options: argparse.Namespace) -> None:
        """Deploy it, have the clients call it, and take it down."""
        serve.run(self.application(options), logging_config=QUIET)
        call = [f"http://127.0.0.1:{PORT}", str(options.clients), "1", str(options.seconds)]
        with subprocess.Popen(
            [sys.executable, str(HERE / "clients.py"), *call], stdout=subprocess.PIPE, text=True
        ) as clients:
            clients.stdout.readline()
            before, start = cpu_times(), time.monotonic()
            seen = json.loads(clients.stdout.readline())
            after, span = cpu_times(), time.monotonic() - start
        serve.delete("default")
        took = after - before
        took["clients"] = seen["cpu_s"]
        self.cpus.append(Counter({name: seconds / span for name, seconds in took.items()}))
        self.rates.append(len(seen["took"]) / options.seconds)
        self.took += seen["took"]


def cpu_times() -> Counter:
    """The CPU seconds that Ray's processes have taken, by what they are."""
    found = Counter()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found[kind_of(process)] += sum(process.cpu_times()[:2])
    return found


def kind_of(process: psutil.Process) -> str:
    """What a process of Ray is, by the name that it gives itself."""
    name = " ".join(process.cmdline())
    kinds = {"ServeReplica": "replicas", "ProxyActor": "proxy", "clients.py": "ignored"}
    return next((kind for part, kind in kinds.items() if part in name), "rest of Ray")


def take_turns(default: Arm, tuned: Arm, options: argparse.Namespace) -> None:
    """Visit both so often, spread over the time that is asked for; each is first as often."""
    begin = time.monotonic()
    for place in range(options.rounds):
        due = begin + 60 * options.over * place / max(options.rounds - 1, 1)
        time.sleep(max(0.0, due - time.monotonic()))
        for arm in (default, tuned) if place % 2 else (tuned, default):
            arm.visit(options)
        old, new = default.rates[-1], tuned.rates[-1]
        print(f"round {place + 1:>2}: {old:7.1f} {new:7.1f}   {new / old:.2f}x", flush=True)


def say_ratio(default: Arm, tuned: Arm, promised: str) -> None:
    """Print how many times as many requests the setting serves."""
    gains = [math.log(new / old) for new, old in zip(tuned.rates, default.rates, strict=True)]
    alike = correlation(np.array(gains)) if len(gains) >= LEAST_ROUNDS else 0.0
    found = signed_rank_interval(gains, correlation=alike)
    middle, low, high = (math.exp(one) for one in (found.middle, found.low, found.high))
    of = "95 %" if len(gains) >= LEAST_ROUNDS else "least and greatest"
    print(
        f"requests/s: {middle:.2f}x [{low:.2f}, {high:.2f}] ({of}, {len(gains)} rounds){promised}"
    )


def say_arm(name: str, arm: Arm) -> None:
    """Print an arm's rate, latencies, and who took the CPUs."""
    p50, p99 = (1e3 * float(np.percentile(arm.took, share)) for share in (50, 99))
    kinds = ("replicas", "proxy", "rest of Ray", "clients")
    cpus = {kind: statistics.median(one[kind] for one in arm.cpus) for kind in kinds}
    print(
        f"{name:<8} {statistics.median(arm.rates):7.1f} requests/s   p50 {p50:6.1f} ms   "
        f"p99 {p99:6.1f} ms   CPUs: " + ", ".join(f"{kind} {n:.2f}" for kind, n in cpus.items())
    )


def setting(options: argparse.Namespace) -> tuple[dict, str]:
    """The setting to deploy, and what was promised of it in words."""
    if options.verdict is None:
        promised = f"; promised {options.promised:.2f}x" if options.promised else ""
        return options.config, promised
    answer = json.loads(options.verdict.read_text(encoding="utf-8"))
    low, high, speedup = answer["low"], answer["high"], answer["speedup"]
    return answer["config"], f"; promised {speedup:.2f}x [{low:.2f}, {high:.2f}]"


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--config", type=json.loads, help="the setting, as JSON")
    which.add_argument("--verdict", type=Path, help="what kamerton-ray tune --json has printed")
    model = f"{HERE / 'models.py'}:mobilenet"
    parser.add_argument("--model", default=model, help="path.py:build; by default MobileNetV2")
    parser.add_argument("--rounds", type=int, default=8, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="a visit (%(default)s)")
    parser.add_argument("--over", type=float, default=0, metavar="MIN", help="spread over so long")
    parser.add_argument("--clients", type=int, help="by default two for each of the most replicas")
    parser.add_argument("--promised", type=float, help="the ratio that was promised")
    parser.add_argument(
        "--ongoing", type=int, default=5, help="requests that a replica holds (%(default)s)"
    )
    parser.add_argument(
        "--at-once", type=int, default=1, help="steps that the default runs at once (%(default)s)"
    )
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = arguments()
    config, promised = setting(options)
    options.clients = options.clients or 2 * instances_of(config)
    # The replicas may stand in another folder.
    place, _, name = options.model.rpartition(":")
    options.model = f"{Path(place).resolve()}:{name}"
    default, tuned = Arm({}, options.at_once), Arm(config)
    ray.init("local", log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    serve.start(http_options={"port": PORT}, logging_config=QUIET)
    print(f"{in_words(config)} against the default, {options.clients} clients", flush=True)
    take_turns(default, tuned, options)
    say_arm("default", default)
    say_arm("tuned", tuned)
    say_ratio(default, tuned, promised)
    ray.shutdown()


if __name__ == "__main__":
    main()
