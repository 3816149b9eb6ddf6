"""How much a trial's answer wanders from process to process, and whether its interval is honest.

For each model the same threads are measured again and again, each time in a fresh process: the
coefficient of variation of the plain median step time and of the reported speed-up, side by side
from the same trials. With --aa the candidate is the default itself, set explicitly: the share of
trials whose interval holds 1. With --over trials of one configuration are spread over so many
minutes: how many of their intervals hold their common median. "stolen" is the share of CPU time
that the hypervisor gave to others.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator

from models import MODELS, mobilenet

from kamerton_ray import usable_cpus
from kamerton_ray.trial.bench import Bench, BenchOptions, Isolation
from kamerton_ray.trial.result import Result
from kamerton_ray.trial.timing import TimingOptions


def repeat(build, threads: tuple[int, int], times: int, options: BenchOptions) -> list[Result]:
    """The results of as many trials of the same threads."""
    bench = Bench(build, options)
    config = dict(zip(("intra_op", "inter_op"), threads, strict=True))
    try:
        return [bench.measure(config) for _ in range(times)]
    finally:
        bench.close()


def variation(values: list[float]) -> float:
    """The coefficient of variation."""
    return statistics.stdev(values) / statistics.mean(values)


def noise(times: int, options: BenchOptions, only: str) -> list[Result]:
    """Print a row for each model."""
    print(f"coefficient of variation over {times} processes")
    print("model        threads   step ms   plain   speed-up   blocks   stolen")
    every, rows = [], []
    for build, threads in MODELS.items():
        if only and only != build.__name__:
            continue
        results = repeat(build, threads, times, options)
        plain = variation([r.seconds for r in results])
        ours = variation([r.speedup for r in results])
        rows.append((plain, ours))
        every += [{"model": build.__name__, **r.to_json()} for r in results]
        milliseconds = 1e3 * statistics.median(r.seconds for r in results)
        blocks = statistics.median(r.blocks for r in results)
        stolen = statistics.mean(r.stolen for r in results)
        print(
            f"{build.__name__:<12} {threads}   {milliseconds:7.2f}  {plain:6.1%}   {ours:7.1%}"
            f"   {blocks:>6.0f}   {stolen:6.1%}",
            flush=True,
        )
    plain, ours = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"median over models            {plain:6.1%}   {ours:7.1%}")
    return every


def same_against_same(times: int, options: BenchOptions, only: str) -> list[Result]:
    """Print how often the interval of a speed-up that is 1 holds 1."""
    cpus = usable_cpus().count
    builds = [build for build in MODELS if only in {"", build.__name__}]
    print(f"A/A: intra_op={cpus} inter_op={cpus} against the default")
    held, found = 0, []
    for i, build in enumerate(builds):
        count = len(range(i, times, len(builds)))
        results = repeat(build, (cpus, cpus), count, options)
        inside = [r.speedup_low <= 1 <= r.speedup_high for r in results]
        held += sum(inside)
        found += [{"model": build.__name__, **r.to_json()} for r in results]
        speedups = " ".join(f"{r['speedup']:.3f}" for r in results)
        widths = statistics.median((r.speedup_high - r.speedup_low) / 2 for r in results)
        print(
            f"{build.__name__:<12} {sum(inside)} of {count} hold 1, half-width {widths:.3f}: "
            f"{speedups}",
            flush=True,
        )
    print(f"the 95 % interval holds 1 in {held} of {times}: {held / times:.0%}")
    return found


def visits(build, threads: tuple[int, int], times: int, options: BenchOptions) -> Iterator[Result]:
    """A trial of the same threads whenever the next one is asked for."""
    bench = Bench(build, options)
    config = dict(zip(("intra_op", "inter_op"), threads, strict=True))
    try:
        for _ in range(times):
            yield bench.measure(config)
    finally:
        bench.close()


def over(minutes: float, times: int, options: BenchOptions, only: str) -> list[Result]:
    """Print intervals from different times, and how many hold what they have in common."""
    build = next((build for build in MODELS if only == build.__name__), mobilenet)
    print(f"{build.__name__} {MODELS[build]}: {times} trials over {minutes:g} minutes")
    begin, found = time.monotonic(), []
    for result in visits(build, MODELS[build], times, options):
        found.append(result)
        print(interval(result), flush=True)
        due = begin + 60 * minutes * len(found) / max(times - 1, 1)
        if len(found) < times:
            time.sleep(max(0.0, due - time.monotonic()))
    print(held(found))
    return found


def interval(result: Result) -> str:
    """A trial's speed-up, as it is told."""
    low, high = result.speedup_low, result.speedup_high
    beside = f"   beside {result['beside']}" if result.beside else ""
    return f"{result['speedup']:.3f}x [{low:.3f}, {high:.3f}]{beside}"


def held(results: list[Result]) -> str:
    """How many intervals hold the median of all."""
    middle = statistics.median(r.speedup for r in results)
    inside = sum(r.speedup_low <= middle <= r.speedup_high for r in results)
    return f"{inside} of {len(results)} intervals hold their common median, {middle:.3f}x"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=12, help="processes per model (%(default)s)")
    parser.add_argument("--aa", type=int, default=0, metavar="N", help="N trials of A/A instead")
    parser.add_argument("--over", type=float, default=0, metavar="MIN", help="spread over so long")
    parser.add_argument("--model", default="", help="this model alone")
    parser.add_argument("--seconds", type=float, default=4.0, help="measured a trial (%(default)s)")
    parser.add_argument("--json", help="write every result to this file")
    args = parser.parse_args()
    options = BenchOptions(
        timing=TimingOptions(budget_s=args.seconds),
        timeout_s=60.0,
        pair=True,
        env={},
        isolation=Isolation.FORK,
    )
    if args.over:
        results = over(args.over, args.times, options, args.model)
    elif args.aa:
        results = same_against_same(args.aa, options, args.model)
    else:
        results = noise(args.times, options, args.model)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump(results, file)


if __name__ == "__main__":
    main()
