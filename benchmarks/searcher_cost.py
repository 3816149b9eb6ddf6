"""What the search itself costs per trial, in microseconds, beside the seconds of a trial.

Times `suggest` plus `on_trial_complete` of `NelderMeadSearcher`, and `ask` plus `tell` of
`NelderMead`, on two axes of 64 values each. The objective is not timed.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from ray import tune

from kamerton_ray import NelderMead, NelderMeadSearcher, Suggestion

SPACE = {"intra_op": tune.randint(1, 65), "inter_op": tune.randint(1, 65)}
MORE_THAN_THERE_ARE = 64 * 64  # the patience that keeps the search going


def objective(config: dict[str, int]) -> float:
    """Kamerton's example, with a ripple that gives it local minima."""
    x, y = config["intra_op"], config["inter_op"]
    return (x - 5) ** 2 + (y - 7) ** 2 + 40 * ((3 * x + 5 * y) % 7)


def searcher_trials(count: int) -> list[float]:
    """The seconds of each trial through Ray's interface."""
    searcher = NelderMeadSearcher(SPACE, "loss", "min", patience=MORE_THAN_THERE_ARE)
    seconds = []
    for i in range(count):
        trial_id = f"{i:08x}"
        begin = time.perf_counter()
        config = searcher.suggest(trial_id)
        suggested = time.perf_counter()
        if not isinstance(config, dict):
            raise SystemExit(f"the search ended after {i} trials: {searcher.stopped_by}")
        result = {"loss": objective(config), "training_iteration": 1}
        told = time.perf_counter()
        searcher.on_trial_complete(trial_id, result)
        seconds.append(suggested - begin + time.perf_counter() - told)
    return seconds


def search_trials(count: int) -> list[float]:
    """The seconds of each ask and tell, without Ray's interface."""
    search = NelderMead(SPACE, patience=MORE_THAN_THERE_ARE)
    seconds = []
    for i in range(count):
        begin = time.perf_counter()
        trial = search.ask()
        asked = time.perf_counter()
        if not isinstance(trial, Suggestion):
            raise SystemExit(f"the search ended after {i} trials: {search.stopped_by}")
        value = objective(trial.config)
        told = time.perf_counter()
        search.tell(trial.id, value)
        seconds.append(asked - begin + time.perf_counter() - told)
    return seconds


def report(name: str, trials: Callable[[int], list[float]], count: int, repeats: int) -> None:
    """Print the distribution over the trials, each as the least of its repeats' times."""
    each = [
        1e6 * min(times) for times in zip(*(trials(count) for _ in range(repeats)), strict=True)
    ]
    print(
        f"{name:<30} median {statistics.median(each):6.0f} us   "
        f"90 % {statistics.quantiles(each, n=10)[-1]:6.0f} us   most {max(each):6.0f} us"
    )


def main() -> None:
    """Run both and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500, help="trials told (default: 500)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default: 3)")
    options = parser.parse_args()
    print(
        f"{options.trials} trials, 2 axes of 64 values, least of {options.repeats} runs per trial"
    )
    report("suggest + on_trial_complete", searcher_trials, options.trials, options.repeats)
    report("ask + tell", search_trials, options.trials, options.repeats)


if __name__ == "__main__":
    main()
