"""What the examples show while they search, and at the end."""

import math
import time

from ray import tune


def describe(config: dict) -> str:
    """The two counts in words."""
    return f"intra_op={config['intra_op']} inter_op={config['inter_op']}"


class Progress(tune.Callback):
    """A line for each trial of `benchmark`, and a table of all at the end."""

    def __init__(self) -> None:
        """Start the clock."""
        self.start = time.monotonic()
        self.results: list[dict] = []

    def on_trial_complete(self, iteration: int, trials: list, trial: object, **_: object) -> None:  # noqa: ARG002
        """Say what a trial found."""
        result = trial.last_result
        self.results.append(result)
        spent = time.monotonic() - self.start
        found = f"{1e3 * result['seconds']:8.2f} ms   {speedup(result)}"
        if math.isnan(result["seconds"]):
            found = f"failed: {result['error'].splitlines()[0]}"
        print(
            f"{spent:4.0f} s  trial {len(self.results):>2}  {describe(trial.config)}  {found}",
            flush=True,
        )

    def table(self) -> None:
        """All that was tried, the fastest first."""
        good = [r for r in self.results if not math.isnan(r["speedup"])]
        good.sort(key=lambda r: -r["speedup"])
        print("\nintra_op  inter_op   ms/step   p99 ms  speed-up [95 % interval]")
        for r in good:
            intra, inter = r["config"]["intra_op"], r["config"]["inter_op"]
            times = f"{1e3 * r['seconds']:9.2f} {1e3 * r['seconds_p99']:8.2f}"
            print(f"{intra:>8}  {inter:>8} {times}  {speedup(r)}")
        default = sorted(r["default_seconds"] for r in good)[len(good) // 2]
        print(f" default   default {1e3 * default:9.2f}           1.00x by definition")


def speedup(result: dict) -> str:
    """The speed-up with its interval."""
    low, high = result["speedup_low"], result["speedup_high"]
    return f"{result['speedup']:.2f}x [{low:.2f}, {high:.2f}]"
