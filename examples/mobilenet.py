"""Find the thread counts that make MobileNetV2 fastest on this machine.

It needs no network: the weights are random.
"""

import argparse
import os
import tempfile

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # our own display instead of Ray's

import ray
from display import Progress
from ray import tune

from kamerton_ray import NelderMeadSearcher, benchmark, thread_space, usable_cpus

BATCH, SIZE = 8, 96


def build():
    """Called in each trial's process, after its threads are set: the model, and one step of it."""
    import tensorflow as tf

    model = tf.keras.applications.MobileNetV2((SIZE, SIZE, 3), weights=None)
    predict = tf.function(model)
    images = tf.random.uniform((BATCH, SIZE, SIZE, 3))
    return lambda: predict(images)


def main() -> None:
    """Search, and say what to export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=-1, help="at most so many; -1 for no limit")
    parser.add_argument("--seconds", type=float, default=1.5, help="measured a trial (%(default)s)")
    args = parser.parse_args()

    print(f"MobileNetV2, batch {BATCH}, {SIZE}x{SIZE}, on {usable_cpus().count} CPUs", flush=True)
    ray.init("local", include_dashboard=False, log_to_driver=False)
    progress = Progress()
    searcher = NelderMeadSearcher(patience=11, budget=12)
    with tempfile.TemporaryDirectory() as results:
        tune.run(
            benchmark(build, budget_s=args.seconds, warmup_s=1.0),
            config=thread_space(),
            metric="speedup",
            mode="max",
            search_alg=searcher,
            num_samples=args.trials,
            max_concurrent_trials=1,
            reuse_actors=True,  # the process that has imported TensorFlow outlives the trial
            callbacks=[progress],
            storage_path=results,
            verbose=0,
        )
    ray.shutdown()
    progress.table()
    if searcher.stopped_by:
        print(
            f"The search ended after {len(progress.results)} trials: {searcher.stopped_by.value}."
        )


if __name__ == "__main__":
    main()
