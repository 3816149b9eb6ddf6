"""What several instances of a model gain on this machine, and whether the best of them is found.

    python benchmarks/instances.py --json instances.json
    python benchmarks/instances.py --models mobilenet resnet --seconds 4

For each model:

* Every point of `instance_space` that keeps `instance_limit` is measured in fresh processes, at
  most six beside a default of their own. After each sweep the better half of the single processes
  stays, and that of the others, until two and three are left. Half of the sweeps come before the
  tool's search and half after it.
* The tool is used as a user does: `tune.run` on a local Ray, from TensorFlow's default, and then
  `verdict`.
* The best of every point, the best single process and the tool's choice meet the default in common
  rounds of fresh processes. These alone count: what made one of them the best flatters it.

It says how each of them goes, and ends with a table. A ratio is how many times as many steps are
done in the same time, with its 95 % interval by the signed-rank test, as the verdict's final has
it. A p99 is the median over the common rounds of what 99 of 100 steps of such a round kept.

A model that takes seconds to build takes long; fewer --sweeps, and --inter 1 2, make it shorter.
"""

import argparse
import contextlib
import itertools
import json
import math
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import cloudpickle
import models
import ray
from models import RECORDED, SERVED
from ray import tune

from kamerton_ray import (
    Decision,
    NelderMeadSearcher,
    Objective,
    Verdict,
    benchmark,
    instance_limit,
    instance_space,
    usable_cpus,
    verdict,
)
from kamerton_ray.answer.final import Final
from kamerton_ray.answer.race import DEFAULT
from kamerton_ray.answer.rounds import Round, groups
from kamerton_ray.answer.signed_rank import Interval
from kamerton_ray.machine.knobs import STOCK
from kamerton_ray.machine.threads import default_threads
from kamerton_ray.search.space import IntegerSpace
from kamerton_ray.trial.bench import Bench, BenchOptions, Isolation
from kamerton_ray.trial.config import ONE_PROCESS, PINNED, Config, in_words, instances_of
from kamerton_ray.trial.estimate import hodges_lehmann
from kamerton_ray.trial.measurer import RoundMeasurer
from kamerton_ray.trial.result import Result, median_of
from kamerton_ray.trial.timing import TimingOptions
from kamerton_ray.tune.results import trial_results

cloudpickle.register_pickle_by_value(models)

BUILDS = {build.__name__: build for build in (*SERVED, *RECORDED)}
JUDGE = Objective()

WARMUP_S = 0.5
TIMEOUT_S = 120.0
"""A build of a large model, beside others, takes long."""

FEW_SINGLE, FEW_SEVERAL = 2, 3
"""So many single processes, and so many configurations of several, are measured in every sweep."""

WITHIN = 0.05
"""The tool should come so close to the best."""

UNKNOWN = Interval(math.nan, math.nan, math.nan)


# --- every point ----------------------------------------------------------------------------------


def lattice(inter: list[int] | None = None) -> list[Config]:
    """Every point that the tool may try, or those with some inter-op counts alone."""
    space, limit = IntegerSpace(instance_space()), instance_limit()
    points = itertools.product(*(range(len(axis)) for axis in space.axes))
    return [
        config
        for config in map(space.config, points)
        if math.prod(config[name] for name in limit.product) <= limit.most
        and (not inter or config["inter_op"] in inter)
        and not (instances_of(config) == 1 and config.get(PINNED))  # it has all CPUs anyway
    ]


class Sweeps:
    """Points that are measured in sweeps, of which ever fewer are left.

    Args:
        measurer: What measures a round.
        points: All of them.

    Attributes:
        left: Those that the next sweep measures.
        rounds: What was found.
    """

    def __init__(self, measurer: RoundMeasurer, points: list[Config]) -> None:
        self.left = list(points)
        self.rounds: list[Round] = []
        self._measurer, self._random = measurer, random.Random(0)  # noqa: S311 - nothing secret

    def sweep(self) -> None:
        """Measure each point that is left, in any order, and leave those behind."""
        order = [DEFAULT, *range(len(self.left))]
        self._random.shuffle(order)
        for group in groups(order, lambda some: self._measurer.fits(self._configs(some))):
            self.rounds.append(self._measurer.measure_round(self._configs(group)))
        ranked = self.ranked()
        single = [config for config in ranked if instances_of(config) == 1]
        several = [config for config in ranked if instances_of(config) > 1]
        self.left = [*_better(single, FEW_SINGLE), *_better(several, FEW_SEVERAL)]

    def ranked(self) -> list[Config]:
        """Those of the points left that have worked, the best first."""
        found = [(gains(self.rounds, config), config) for config in self.left]
        known = [(hodges_lehmann(some), config) for some, config in found if some]
        return [config for _, config in sorted(known, key=lambda one: -one[0])]

    def said(self) -> str:
        """Who leads."""
        ranked = self.ranked()
        if not ranked:
            return "none worked: " + next((r.error for one in self.rounds for r in one), "")
        gain = hodges_lehmann(gains(self.rounds, ranked[0]))
        return f"best {in_words(ranked[0])}, {math.exp(gain):.2f}x; {len(ranked)} left"

    def _configs(self, group: list[int]) -> list[Config | None]:
        return [None if number == DEFAULT else self.left[number] for number in group]


def _better(ranked: list[Config], few: int) -> list[Config]:
    """The better half, but no fewer than a few."""
    return ranked[: max(few, math.ceil(len(ranked) / 2))]


def gains(rounds: list[Round], config: Config | None, over: Config | None = None) -> list[float]:
    """The log of how many times as many steps as another one does, of each round with both."""
    found = [
        JUDGE.gain(one, other)
        for results in rounds
        for one in results
        for other in results
        if one.config == config and other.config == over
    ]
    return [gain for gain in found if not math.isnan(gain)]


# --- the tool -------------------------------------------------------------------------------------


@contextlib.contextmanager
def local_ray() -> Iterator[None]:
    """A Ray on this machine, while it is needed."""
    ray.init("local", log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    try:
        yield
    finally:
        ray.shutdown()


def tuned(
    build, *, seconds: float, compare_s: float, knobs: tuple[str, ...] = (), trials: int = -1
) -> tuple[list[Result], Verdict]:
    """What a search, of some knobs as well, measures in so many trials, and the verdict on it."""
    trainable = benchmark(
        build, warmup_s=WARMUP_S, budget_s=seconds, timeout_s=TIMEOUT_S, knobs=knobs
    )
    with local_ray(), tempfile.TemporaryDirectory() as storage:
        space = instance_space(knobs=knobs)
        usual = {**ONE_PROCESS, **default_threads(usable_cpus().count)}
        default = {name: usual.get(name, STOCK) for name in space}
        analysis = tune.run(
            trainable,
            config=space,
            search_alg=NelderMeadSearcher(
                points_to_evaluate=[default], constraints=instance_limit()
            ),
            metric="speedup",
            mode="max",
            num_samples=trials,
            max_concurrent_trials=1,
            reuse_actors=True,
            storage_path=storage,
            verbose=0,
        )
        # It is wanted for the machine as it is, since all else is measured on that.
        found = verdict(analysis, trainable, budget_s=compare_s, shared=True)
        return trial_results(analysis), found


def chosen(found: Verdict) -> Config | None:
    """What a verdict says to use; None is the default."""
    return None if found.decision in {Decision.KEEP, Decision.NONE} else found.config


# --- common rounds --------------------------------------------------------------------------------


def together(measurer: RoundMeasurer, configs: list[Config | None], times: int) -> list[Round]:
    """Rounds of all of these, in orders that favour none of them."""
    return [measurer.measure_round(turned(configs, number)) for number in range(times)]


def turned(configs: list[Config | None], number: int) -> list[Config | None]:
    """The order of a round: rotated from round to round, and reversed in every second."""
    turn = number // 2 % len(configs)
    order = [*configs[turn:], *configs[:turn]]
    return order[::-1] if number % 2 else order


def interval(values: list[float]) -> Interval:
    """What the rounds of a final say."""
    final = Final(len(values))
    for value in values:
        final.tell(value)
    return final.interval() if values else UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found of a model.

    Attributes:
        model: Its name.
        points: How many points were measured.
        best: The best of them.
        single: The best of those with one process; None, the default, where none of them worked.
        tool: The tool's choice; None is the default.
        rounds: The common rounds.
    """

    model: str
    points: int
    best: Config
    single: Config | None
    tool: Config | None
    rounds: list[Round] = field(repr=False)

    def ratio(self, config: Config | None, over: Config | None = None) -> Interval:
        """The log of how many times as many steps one does as another, by the common rounds."""
        return interval(gains(self.rounds, config, over))

    def milliseconds(self, config: Config | None, key: str) -> float:
        """A time of a configuration's steps."""
        runs = [one for results in self.rounds for one in results if one.config == config]
        return 1e3 * median_of(runs, key)

    @property
    def near(self) -> bool:
        """Whether the tool's choice is near the best."""
        return self.ratio(self.tool, self.best).middle >= math.log1p(-WITHIN)

    def lines(self) -> Iterator[str]:
        """How each fares, in words."""
        rows = {
            "default": None,
            "best threads": self.single,
            f"best of {self.points}": self.best,
            "the tool's": self.tool,
        }
        for name, config in rows.items():
            yield (
                f"  {name:<14} {in_words(config):<40} {told(self.ratio(config)):<20} "
                f"step {self.milliseconds(config, 'seconds'):.3g} ms, "
                f"p99 {self.milliseconds(config, 'seconds_p99'):.3g} ms"
            )
        yield f"  the tool's over the best: {told(self.ratio(self.tool, self.best))}"

    def row(self) -> str:
        """Its row in the table."""
        cells = [
            self.model,
            f"{self.milliseconds(None, 'seconds_p99'):.3g}",
            *self._cells(self.single),
            *self._cells(self.best),
            *self._cells(self.tool),
            told(self.ratio(self.tool, self.best)),
            str(self.points),
        ]
        return f"| {' | '.join(cells)} |"

    def _cells(self, config: Config | None) -> list[str]:
        p99 = f"{self.milliseconds(config, 'seconds_p99'):.3g}"
        return [short(config), told(self.ratio(config)), p99]


HEAD = """
| model | p99 of the default, ms | best threads | ratio | p99 | best instances x threads | ratio | \
p99 | the tool's choice | ratio | p99 | over the best | of so many points |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def told(found: Interval) -> str:
    """As in 2.02x [1.97, 2.08]."""
    middle, low, high = map(math.exp, (found.middle, found.low, found.high))
    return f"{middle:.2f}x [{low:.2f}, {high:.2f}]"


def short(config: Config | None) -> str:
    """Instances x (intra_op, inter_op)."""
    if config is None:
        return "the default"
    pinned = " pinned" if config.get(PINNED) else ""
    return f"{instances_of(config)} x ({config['intra_op']}, {config['inter_op']}){pinned}"


# --- a model --------------------------------------------------------------------------------------


def sayer(model: str) -> Callable[[str], None]:
    """What prints how a model goes, and after how many seconds."""
    begin = time.monotonic()

    def say(text: str) -> None:
        print(f"{model:<12} {time.monotonic() - begin:4.0f} s  {text}", flush=True)

    return say


def measured(build, args: argparse.Namespace) -> tuple[Found | None, dict[str, object]]:
    """What was found of a model, unless nothing works, and all its results."""
    say, points = sayer(build.__name__), lattice(args.inter)
    with contextlib.closing(new_bench(build, args.seconds)) as bench:
        sweeps = Sweeps(bench, points)
        raw: dict[str, object] = {"model": build.__name__, "sweeps": sweeps.rounds}
        swept(sweeps, math.ceil(args.sweeps / 2), say)
        if not sweeps.ranked():
            return None, raw
        bench.close()  # its processes would lie idle meanwhile
        results, answer = tuned(build, seconds=args.seconds, compare_s=args.compare)
        say(f"the tool: {len(results)} trials, {answer.decision.value}: {answer.sentence}")
        swept(sweeps, args.sweeps // 2, say)
        best, *others = sweeps.ranked()
        single = next((one for one in (best, *others) if instances_of(one) == 1), None)
        arms = distinct([None, best, single, chosen(answer)])
        rounds = together(bench, arms, args.rounds)
    raw.update(search=results, verdict=answer.to_json(rounds=True), rounds=rounds)
    found = Found(
        model=build.__name__,
        points=len(points),
        best=best,
        single=single,
        tool=chosen(answer),
        rounds=rounds,
    )
    say("\n".join([f"{args.rounds} common rounds", *found.lines()]))
    return found, raw


def new_bench(build, seconds: float, knobs: tuple[str, ...] = ()) -> Bench:
    """What measures a model; so long where it is a trial, and a share of that in a round."""
    options = BenchOptions(
        timing=TimingOptions(warmup_s=WARMUP_S, budget_s=seconds),
        timeout_s=TIMEOUT_S,
        pair=True,
        env={},
        isolation=Isolation.FORK,
        knobs=knobs,
    )
    return Bench(build, options)


def distinct(configs: list[Config | None]) -> list[Config | None]:
    """Each of them once, in order."""
    return [one for number, one in enumerate(configs) if one not in configs[:number]]


def swept(sweeps: Sweeps, times: int, say: Callable[[str], None]) -> None:
    """Run so many sweeps, and say who leads after each."""
    for _ in range(times):
        count = len(sweeps.left)
        sweeps.sweep()
        say(f"a sweep of {count}: {sweeps.said()}")


def compared(args: argparse.Namespace) -> None:
    """Print how each model goes, and the table; keep the results of those that are done."""
    found, kept = [], []
    for name in args.models:
        one, raw = measured(BUILDS[name], args)
        found += [one] if one else []
        kept.append(raw)
        if args.json:
            args.json.write_text(json.dumps(kept, default=_plain), encoding="utf-8")
    print(HEAD, *(one.row() for one in found), sep="\n")
    near = sum(one.near for one in found)
    print(f"\nthe tool's choice is within {WITHIN:.0%} of the best in {near} of {len(found)}")


def _plain(value: object) -> object:
    return value.to_json() if isinstance(value, Result) else str(value)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = [build.__name__ for build in SERVED]
    parser.add_argument("--models", nargs="+", choices=BUILDS, default=usual, metavar="NAME")
    parser.add_argument("--seconds", type=float, default=2.0, help="measured a trial (%(default)s)")
    parser.add_argument("--sweeps", type=int, default=8, help="over the points (%(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="common ones (%(default)s)")
    parser.add_argument(
        "--compare", type=float, default=60.0, help="the verdict's seconds (%(default)s)"
    )
    parser.add_argument("--inter", type=int, nargs="+", help="the points with these counts alone")
    parser.add_argument("--json", type=Path, help="keep every result in this file")
    compared(parser.parse_args())


if __name__ == "__main__":
    main()
