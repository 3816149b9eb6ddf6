"""How much sooner a search ends on several nodes than on one, on a real cluster on this machine.

The objective is simulated and sleeps, so that the nodes do not disturb each other. Each run is a
whole search of so many trials, from its call to its end, the start of its processes included; with
Tune's own way to use the nodes beside `every_node`.

    python benchmarks/cluster.py --nodes 4 --seconds 3 --trials 40
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")

import cloudpickle
import ray
from cluster import Cluster
from ray import tune

from kamerton_ray import NelderMeadSearcher, every_node
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.trainable import one_step

cloudpickle.register_pickle_by_value(sys.modules[__name__])

SPACE = {"intra_op": tune.randint(1, 57), "inter_op": tune.randint(1, 17)}


class Sleeper:
    """Measures a valley with ridges by sleeping."""

    def __init__(self, seconds: float) -> None:
        """Sleep so long for each."""
        self.seconds = seconds

    def measure(self, config: dict) -> Result:
        """A trial's result."""
        time.sleep(self.seconds)
        intra, inter = config["intra_op"], config["inter_op"]
        loss = 1 + ((intra - 11) / 20) ** 2 + ((inter - 3) / 8) ** 2 + 0.05 * (intra % 2)
        return Result.of({"loss": loss})

    def close(self) -> None:
        """Nothing was started."""


def search(seconds: float, trials: int, how: dict) -> dict[str, float]:
    """Run a search; what it took, and what it used."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as storage:
        found = tune.run(
            one_step("Sleeper", lambda: Sleeper(seconds)),
            config=SPACE,
            metric="loss",
            mode="min",
            num_samples=trials,
            storage_path=storage,
            verbose=0,
            **how,
        )
    wall = time.monotonic() - begin
    results = sorted((t.last_result for t in found.trials), key=lambda result: result["began"])
    nodes = {result["node_ip"] for result in results}
    for ip in nodes:
        own = [result for result in results if result["node_ip"] == ip]
        if any(before["ended"] > after["began"] for before, after in pairwise(own)):
            raise RuntimeError(f"two trials ran on {ip} at the same time")
    return {
        "wall": wall,
        "measuring": max(r["ended"] for r in results) - results[0]["began"],
        "trials": len(results),
        "nodes": len(nodes),
        "processes": len({(result["node_ip"], result["pid"]) for result in results}),
        "best": found.best_result["loss"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a trial (%(default)s)")
    parser.add_argument("--trials", type=int, default=40, help="of a search (%(default)s)")
    args = parser.parse_args()

    def searcher() -> NelderMeadSearcher:
        return NelderMeadSearcher(seed=1, patience=args.trials)

    def show(name: str, found: dict[str, float]) -> float:
        values = "".join(f"{value:11.4g}" for value in found.values())
        print(f"{name:<28}{values}{one['wall'] / found['wall']:9.2f}x", flush=True)
        return found["wall"]

    with Cluster() as cluster:
        cluster.add_node(cpus=2)
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
        one = search(args.seconds, args.trials, every_node(searcher()))
        print(f"{'':<28}" + "".join(f"{name:>11}" for name in one) + f"{'sooner':>10}")
        show("1 node", one)
        joining = [cluster.add_node(cpus=2, wait=False) for _ in range(args.nodes - 1)]
        for node in joining:
            node.started()
        name = f"{args.nodes} nodes, "
        show(name + "every_node", search(args.seconds, args.trials, every_node(searcher())))
        tunes = {"search_alg": searcher(), "reuse_actors": True}
        show(name + "Tune's own way", search(args.seconds, args.trials, tunes))
        ray.shutdown()


if __name__ == "__main__":
    main()
