"""Find the thread counts that make MobileNetV2 fastest on this machine.

Each trial is a Ray actor of its own, a fresh process, because TensorFlow fixes its thread pools
when the first tensor exists. It needs no network: the weights are random.
"""

import argparse
import statistics
import time

import numpy as np
import ray
from ray import tune

from kamerton_ray import NelderMeadSearcher, Threading, set_threading, thread_space, usable_cpus

BATCH, SIZE = 8, 96
DEFAULT = {"intra_op": 0, "inter_op": 0}  # zero leaves the choice to TensorFlow


def seconds_per_step(config: dict) -> dict:
    """One trial: set the threads, build the model, time it."""
    set_threading(config)  # before anything of TensorFlow starts
    import tensorflow as tf  # noqa: PLC0415 - in the trial's process alone

    model = tf.keras.applications.MobileNetV2((SIZE, SIZE, 3), weights=None)
    predict = tf.function(model)
    images = tf.constant(np.random.default_rng(0).random((BATCH, SIZE, SIZE, 3), np.float32))
    for _ in range(10):
        predict(images)
    times = []
    stop = time.perf_counter() + config["measure_s"]
    while time.perf_counter() < stop:
        start = time.perf_counter()
        predict(images).numpy()
        times.append(time.perf_counter() - start)
    return {"seconds": statistics.median(times)}


class Progress(tune.Callback):
    """A line for each trial."""

    def __init__(self, default_seconds: float) -> None:
        """Remember what to compare with."""
        self.default_seconds = default_seconds
        self.best = float("inf")
        self.done = 0

    def on_trial_complete(self, iteration: int, trials: list, trial: object, **_: object) -> None:  # noqa: ARG002
        """Print what the trial found."""
        self.done += 1
        seconds = trial.last_result["seconds"]
        self.best = min(self.best, seconds)
        print(
            f"trial {self.done:>2}  {describe(trial.config)}  {1e3 * seconds:7.2f} ms   "
            f"{self.default_seconds / seconds:.2f}x the default's speed   "
            f"best {self.default_seconds / self.best:.2f}x",
            flush=True,
        )


def describe(config: dict) -> str:
    """The two counts in words."""
    return f"intra_op={config['intra_op']} inter_op={config['inter_op']}"


def run(config: dict, **options: object) -> tune.ExperimentAnalysis:
    """Run trials one at a time, each with all CPUs: trials side by side would slow each other."""
    trainable = tune.with_resources(seconds_per_step, {"cpu": ray.cluster_resources()["CPU"]})
    return tune.run(
        trainable, config=config, metric="seconds", mode="min", verbose=0,
        raise_on_failed_trial=False, max_concurrent_trials=1, **options,
    )  # fmt: skip


def main() -> None:
    """Measure the default, search, and say what to export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=14, help="at most so many (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="time per trial (%(default)s)")
    args = parser.parse_args()

    ray.init(include_dashboard=False, log_to_driver=False)
    print(f"MobileNetV2, batch {BATCH}, {SIZE}x{SIZE}, on {usable_cpus().count} CPUs", flush=True)
    before = run(DEFAULT | {"measure_s": args.seconds}).best_result["seconds"]
    print(f"TensorFlow's default: {1e3 * before:.2f} ms per step", flush=True)
    searcher = NelderMeadSearcher()
    found = run(
        {**thread_space(), "measure_s": args.seconds},
        search_alg=searcher, num_samples=args.trials, callbacks=[Progress(before)],
    )  # fmt: skip
    after = run(DEFAULT | {"measure_s": args.seconds}).best_result["seconds"]
    ray.shutdown()

    default = (before + after) / 2
    tried = sorted(
        (t for t in found.trials if "seconds" in t.last_result),
        key=lambda t: t.last_result["seconds"],
    )
    print("\nintra_op inter_op   ms/step  speed-up")
    for trial in tried:
        seconds = trial.last_result["seconds"]
        intra, inter = trial.config["intra_op"], trial.config["inter_op"]
        print(f"{intra:>8} {inter:>8} {1e3 * seconds:9.2f} {default / seconds:8.2f}x")
    print(f" default  default {1e3 * before:9.2f}           before the search")
    print(f" default  default {1e3 * after:9.2f}           after it")
    best = tried[0].last_result["seconds"]
    print(f"\nBest: {describe(tried[0].config)}, {default / best:.2f}x the default's speed:")
    for name, value in Threading.of(tried[0].config).environment().items():
        print(f"export {name}={value}")


if __name__ == "__main__":
    main()
