"""Find the thread counts that make training steps of a small LSTM fastest on this machine.

With the `Tuner` API; a step is a forward pass, the gradients, and an update by the optimizer.
"""

import argparse
import os
import tempfile

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # our own display instead of Ray's

import ray
from display import Progress
from ray import tune

from kamerton_ray import NelderMeadSearcher, benchmark, thread_space, verdict

BATCH, LENGTH, FEATURES, UNITS = 16, 24, 32, 64


def build():
    """Called in each trial's process, after its threads are set: the model, and a training step."""
    import tensorflow as tf

    model = tf.keras.Sequential(
        [
            tf.keras.Input((LENGTH, FEATURES)),
            tf.keras.layers.LSTM(UNITS),
            tf.keras.layers.Dense(1),
        ]
    )
    optimizer = tf.keras.optimizers.Adam()
    inputs = tf.random.uniform((BATCH, LENGTH, FEATURES))
    targets = tf.random.uniform((BATCH, 1))

    @tf.function
    def train_step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(inputs, training=True) - targets))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return train_step


def main() -> None:
    """Search, and say what the best is worth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=-1, help="at most so many; -1 for no limit")
    parser.add_argument("--no-compare", action="store_true", help="leave out the verdict")
    args = parser.parse_args()

    ray.init("local", include_dashboard=False, log_to_driver=False)
    progress = Progress()
    with tempfile.TemporaryDirectory() as results:
        trainable = benchmark(build, budget_s=1.5, warmup_s=1.0)
        tuner = tune.Tuner(
            trainable,
            param_space=thread_space(),
            tune_config=tune.TuneConfig(
                metric="speedup",
                mode="max",
                search_alg=NelderMeadSearcher(),
                num_samples=args.trials,
                max_concurrent_trials=1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=results, callbacks=[progress], verbose=0),
        )
        grid = tuner.fit()
        progress.table()
        if not args.no_compare:
            print(verdict(grid, trainable, budget_s=60.0).sentence)
    ray.shutdown()


if __name__ == "__main__":
    main()
