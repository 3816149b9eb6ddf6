"""Record the speed-up at every pair of thread counts, as surfaces for search.py.

Every call adds a pass: call it again on another occasion, so that the truth is known better than
the noise of one. The pairs are measured in random order, each in a process of its own.
"""

import argparse
import datetime as dt
import json
import random
from pathlib import Path

from models import RECORDED

from kamerton_ray.machine.hardware import UNKNOWN
from kamerton_ray.trial.bench import Bench, BenchOptions, Isolation
from kamerton_ray.trial.timing import TimingOptions

FOLDER = Path(__file__).parent / "surfaces"


def measured(build, largest: int, options: BenchOptions) -> tuple[dict, list[list[float]]]:
    """The machine, and the speed-ups: a row for each intra_op, a column for each inter_op."""
    counts = range(1, largest + 1)
    pairs = [(intra, inter) for intra in counts for inter in counts]
    random.shuffle(pairs)
    found, machine = {}, UNKNOWN
    bench = Bench(build, options)
    try:
        for intra, inter in pairs:
            result = bench.measure({"intra_op": intra, "inter_op": inter})
            machine = result.machine or machine
            found[intra, inter] = result.speedup
    finally:
        bench.close()
    return machine.to_json(), [[round(found[a, b], 4) for b in counts] for a in counts]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=6, help="the highest count (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="measured a pair (%(default)s)")
    parser.add_argument("--model", default="", help="this model alone")
    args = parser.parse_args()
    options = BenchOptions(
        timing=TimingOptions(budget_s=args.seconds, warmup_s=1.0),
        timeout_s=60.0,
        pair=True,
        env={},
        isolation=Isolation.FORK,
    )
    FOLDER.mkdir(exist_ok=True)
    for build in RECORDED:
        name = build.__name__
        if args.model not in {"", name}:
            continue
        machine, speedups = measured(build, args.largest, options)
        path = FOLDER / f"{name}.json"
        surface = json.loads(path.read_text()) if path.exists() else {"model": name, "passes": []}
        now = dt.datetime.now(dt.timezone.utc)
        surface["passes"].append(
            {"when": f"{now:%Y-%m-%d %H:%M}", "machine": machine, "speedups": speedups}
        )
        path.write_text(json.dumps(surface, indent=1) + "\n", encoding="utf-8")
        best = max(value for row in speedups for value in row)
        print(f"{name}: pass {len(surface['passes'])}, best {best:.2f}x", flush=True)


if __name__ == "__main__":
    main()
