"""Whether the verdict can be trusted beside other work: on an idle machine, and on busy ones.

MobileNetV2, as in `make demo`: so many verdicts each with no, one and two busy processes on this
machine, every one on the same searched configurations. No verdict beside other work may claim a win
that the idle ones do not have within their intervals, unless it says that the machine was busy.
Run from another checkout with its path in PYTHONPATH it shows what that code says.
"""

import argparse
import os

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import cloudpickle
import models
import ray
from machines import neighbours
from models import mobilenet

from kamerton_ray import Verdict, benchmark, usable_cpus, verdict

cloudpickle.register_pickle_by_value(models)

QUICK = {"warmup_s": 0.5, "budget_s": 1.0}
BUDGET_S = 30.0
"""What a comparison may take, beside what it waits for."""


def judged() -> Verdict:
    """A verdict on all counts up to the number of CPUs."""
    counts = range(1, usable_cpus().count + 1)
    results = [
        {"config": {"intra_op": intra, "inter_op": inter}, "speedup": 1.0}
        for intra in counts
        for inter in counts
    ]
    return verdict(results, benchmark(mobilenet, **QUICK), budget_s=BUDGET_S)


def verdicts(times: int, busy: int) -> list[Verdict]:
    """So many verdicts beside so many busy processes, each printed."""
    found = []
    with neighbours(busy):
        for _ in range(times):
            found.append(judged())
            print(f"{busy} busy: {found[-1].decision.value:<6} {found[-1].sentence}", flush=True)
    return found


def wrong(idle: list[Verdict], beside: list[Verdict]) -> list[Verdict]:
    """The plain wins beside other work that lie above every idle verdict's interval."""
    most = max(one.high for one in idle)
    return [one for one in beside if one.decision.value == "use" and one.low > most]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="verdicts each (%(default)s)")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    ray.init("local", log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    found = {busy: verdicts(args.times, busy) for busy in args.busy}
    for busy, told in found.items():
        plain = sum(one.decision.value == "use" for one in told)
        print(f"{busy} busy: {plain} of {len(told)} claim a plain win")
    if idle := found.pop(0, []):
        false = [one for told in found.values() for one in wrong(idle, told)]
        print(f"{len(false)} plain wins beside other work that no idle verdict has")
    ray.shutdown()


if __name__ == "__main__":
    main()
