"""What a Ray Tune trial of a TensorFlow model costs beyond the measuring itself.

Three ways side by side in one run, each measuring the same small model for the same time:
(a) a function trainable with Tune's defaults, (b) the same with reuse_actors as far as that is
possible, since a reused process keeps its first thread counts, (c) benchmark(build).
"""

import argparse
import os
import statistics
import tempfile
import time

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import cloudpickle
import models
import ray
from ray import tune

from kamerton_ray import benchmark, set_threading

cloudpickle.register_pickle_by_value(models)


def plain(config: dict) -> dict:
    """A trial as one writes it: set the threads, build, warm up, measure."""
    reused = config["reused"]
    if not reused:
        set_threading(config)
    step = models.mlp()
    end = time.perf_counter() + config["measure_s"]
    times = []
    while time.perf_counter() < end or not times:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return {"seconds": statistics.median(times)}


class Clock(tune.Callback):
    """When each trial ended."""

    def __init__(self) -> None:
        """Start."""
        self.ends = [time.monotonic()]

    def on_trial_complete(self, iteration: int, trials: list, trial: object, **_: object) -> None:  # noqa: ARG002
        """Note the time."""
        self.ends.append(time.monotonic())


def cost(trainable, config: dict, trials: int, measure_s: float, *, reuse: bool) -> list[float]:
    """The seconds between the ends of trials, less the measuring, without the first trial."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as results:
        analysis = tune.run(
            trainable,
            config={"intra_op": 1, "inter_op": tune.choice([1]), **config},
            metric="seconds",
            mode="min",
            num_samples=trials + 1,
            max_concurrent_trials=1,
            reuse_actors=reuse,
            callbacks=[clock],
            storage_path=results,
            verbose=0,
        )
    measured = [t.last_result.get("measured_s", measure_s) for t in analysis.trials]
    between = [after - before for before, after in zip(clock.ends, clock.ends[1:], strict=False)]
    return [b - m for b, m in zip(between, measured, strict=True)][1:]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=6, help="trials of each way (%(default)s)")
    args = parser.parse_args()
    measure_s = 0.5
    ray.init("local", include_dashboard=False, log_to_driver=False)
    whole = {"cpu": ray.cluster_resources()["CPU"]}
    function = tune.with_resources(plain, whole)
    forked = benchmark(models.mlp, pair=False, warmup_s=measure_s, budget_s=measure_s)
    ways = {
        "(a) function, Tune's defaults": (function, {"reused": False}, False),
        "(b) function, reuse_actors": (function, {"reused": True}, True),
        "(c) benchmark(build)": (forked, {}, True),
    }
    medians = []
    print("seconds per trial beyond the measuring, after the first trial")
    for name, (trainable, extra, reuse) in ways.items():
        config = {**extra, "measure_s": measure_s}
        seconds = cost(trainable, config, args.trials, measure_s, reuse=reuse)
        medians.append(statistics.median(seconds))
        print(
            f"{name:<32} median {medians[-1]:6.2f}   {min(seconds):.2f} to {max(seconds):.2f}",
            flush=True,
        )
    ray.shutdown()
    print(f"(a) / (c) = {medians[0] / medians[2]:.0f}")


if __name__ == "__main__":
    main()
