"""A run of Ray Tune that is meant to be interrupted: `python resumable.py DIRECTORY ADDRESS`."""

import sys
import time

import ray
from ray import tune

from kamerton_ray import NelderMeadSearcher

NAME = "run"
SPACE = {"x": tune.randint(1, 17), "y": tune.randint(1, 17), "unit": "ms"}
START = {"x": 14, "y": 2}
LOWEST = {"x": 5, "y": 7, "unit": "ms"}


def simulated(config):
    """A benchmark that takes its time."""
    time.sleep(0.2)
    tune.report({"loss": (config["x"] - 5) ** 2 + (config["y"] - 7) ** 2})


def tuner(directory):
    """The run, to be kept in `directory`."""
    return tune.Tuner(
        simulated,
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            search_alg=NelderMeadSearcher(points_to_evaluate=[START], repeats=0),
            num_samples=-1,
            max_concurrent_trials=2,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name=NAME, storage_path=directory, verbose=0),
    )


if __name__ == "__main__":
    ray.init(sys.argv[2], log_to_driver=False)
    tuner(sys.argv[1]).fit()
    ray.shutdown()
