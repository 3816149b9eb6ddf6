"""Kamerton's own example: the minimum of (x - 5)^2 + (y - 7)^2, from (22, 2).

It is solved twice, through Ray Tune and by the search alone, and ends at (5, 7) by itself.
"""

import ray
from ray import tune

from kamerton_ray import NelderMead, NelderMeadSearcher, Suggestion

START = {"x": 22, "y": 2}


def quadratic(x: int, y: int) -> int:
    """The function to minimise."""
    return (x - 5) ** 2 + (y - 7) ** 2


def with_tune() -> None:
    """Through `tune.run`; each trial is a process of its own."""
    searcher = NelderMeadSearcher(points_to_evaluate=[START])
    analysis = tune.run(
        lambda config: {"value": quadratic(config["x"], config["y"])},
        config={"x": tune.randint(1, 65), "y": tune.randint(1, 65)},  # the upper bound is exclusive
        metric="value",
        mode="min",
        search_alg=searcher,
        num_samples=-1,  # the searcher ends by itself
        reuse_actors=True,  # nothing here needs a fresh process
        verbose=0,
    )
    trials = len(analysis.trials)
    print(f"tune.run:   {analysis.best_config} after {trials} trials: {searcher.stopped_by.value}")


def by_itself() -> None:
    """By ask and tell, without Ray."""
    search = NelderMead({"x": range(1, 65), "y": range(1, 65)}, start=[START])
    while isinstance(suggestion := search.ask(), Suggestion):
        search.tell(suggestion.id, quadratic(**suggestion.config))
    print(
        f"NelderMead: {search.best.config} after {search.measured} points: "
        f"{search.stopped_by.value}"
    )


if __name__ == "__main__":
    by_itself()
    ray.init("local", include_dashboard=False, log_to_driver=False)
    with_tune()
    ray.shutdown()
