"""Whether the verdict can be trusted: on simulated machines whose truth is known, and on this one.

Simulated (the default): on surfaces with a known minimum a search of at most 40 trials is followed
by a verdict, both by the real code, with noise of 2 and of 8 % on every step time, 2 % of outliers
that take 1.3 to 2 times as long, and a machine whose pace drifts (a slow wave of 10 % and a random
walk). Beside it, from the same trials, what every peer says: the lowest step time wins, and its
speed-up is that over the default's trial. Each surface is run twice: as it is, and levelled so that
nothing beats the default.

Before it, the statistics by themselves, with rounds that are independent and such whose neighbours
correlate by 0.6: --rounds N finals (how long they take, how often the interval holds the truth and
a win is claimed), and --race N whole head-to-heads (how often the race chooses well).

On this machine: --same N lets the default meet itself N times, over several models; --repeat N
gives N verdicts of MobileNetV2.
"""

import argparse
import functools
import itertools
import math
import multiprocessing
import statistics
from dataclasses import dataclass

import numpy as np
from models import branched, gru, mlp, mobilenet, transformer
from surfaces import Surface, parametric, published, recorded

from kamerton_ray import (
    Decision,
    NelderMead,
    Objective,
    Suggestion,
    Verdict,
    benchmark,
    usable_cpus,
    verdict,
)
from kamerton_ray.answer.candidates import kinds_of
from kamerton_ray.answer.deciding import decide
from kamerton_ray.answer.final import MOST_FINAL, Final
from kamerton_ray.answer.finalists import MOST_FINALISTS, contestants, screen
from kamerton_ray.answer.head_to_head import HeadToHead
from kamerton_ray.answer.race import GOOD_SELECTION, Entrant
from kamerton_ray.answer.rounds import Contest
from kamerton_ray.answer.two_groups import two_groups
from kamerton_ray.machine import hardware
from kamerton_ray.trial.config import key_of
from kamerton_ray.trial.result import Result

TRIALS = 40
KNOBS = {"intra_op", "inter_op"}
OUTLIERS, SLOWEST, FASTEST = 0.02, 2.0, 1.3
WAVE, WAVE_STEPS, WALK = 0.1, 150, 0.003
QUICK = {"warmup_s": 0.5, "budget_s": 1.0}
SOON = 30.0
"""What the fresh processes of real models, and the race among them, may take in seconds."""

CLEAR, CLOSE = 1.10, 1.02
"""A win of so much has to be found; a configuration within so much of the best is right."""

WITHIN = 0.02
"""The tolerance of the verdict."""

ALIKE = (0.0, 0.6)
"""What neighbouring rounds correlate by."""

GAINS = (0.9, 1.0, 1.02, 1.05, 1.1, 1.3, 2.0)
"""The true gains of the configurations whose finals are run by themselves."""

SPREAD, BEHIND = 0.05, 0.025
"""The configurations of a race are as much faster than one another, as a standard deviation; or, as
is hardest, all but the best are by so much slower than it."""


class Machine:
    """A machine that takes turns in being fast, and measures with noise.

    Args:
        surface: Its true step times.
        noise: The standard deviation of a step time's log.
        levelled: Whether nothing is faster than the default.
        seed: Settles the noise.
    """

    def __init__(self, surface: Surface, *, noise: float, levelled: bool, seed: int) -> None:
        self._surface, self._noise, self._levelled = surface, noise, levelled
        self._random = np.random.default_rng(seed)
        self._phase = self._random.uniform(0, 2 * math.pi)
        self._steps, self._walk = 0, 0.0

    def truth(self, config: dict | None) -> float:
        """How many times faster than the default a configuration truly is."""
        if config is None:
            return 1.0
        speedup = self._surface.seconds(self._surface.start) / self._surface.seconds(config)
        return min(speedup, 1.0) if self._levelled else speedup

    def measure(self, config: dict) -> Result:
        """A trial's result: the step time, the default's beside it, and their ratio."""
        own, default = self._seconds(config), self._seconds(None)
        self._go_on()
        return self._result(config, own, default)

    def fits(self, _configs: list[dict | None]) -> bool:
        """Nothing here takes memory."""
        return True

    def measure_round(self, configs: list[dict | None]) -> list[Result]:
        """A round's results: a step time for each, one as noisy as the other."""
        self._go_on()
        found = [self._seconds(config) for config in configs]
        default = found[configs.index(None)] if None in configs else math.nan
        return [
            self._result(config, own, default) for config, own in zip(configs, found, strict=True)
        ]

    def _result(self, config: dict | None, own: float, default: float) -> Result:
        return Result(
            config=config,
            seconds=own,
            default_seconds=default,
            speedup=default / own,
            machine=hardware.Machine(usable_cpus=self._surface.start["intra_op"]),
            names=("seconds", "default_seconds", "speedup", "machine"),
        )

    def close(self) -> None:
        """Nothing is open."""

    def _go_on(self) -> None:
        self._steps += 1
        self._walk += WALK * self._random.standard_normal()

    def _seconds(self, config: dict | None) -> float:
        pace = WAVE / 2 * math.sin(self._phase + 2 * math.pi * self._steps / WAVE_STEPS)
        log = pace + self._walk + self._noise * self._random.standard_normal()
        if self._random.random() < OUTLIERS:
            log += math.log(self._random.uniform(FASTEST, SLOWEST))
        return math.exp(log) / self.truth(config)


@dataclass(frozen=True)
class Run:
    """What a search and its verdict came to.

    Attributes:
        ours: The verdict.
        truth: How much faster than the default the verdict's configuration truly is.
        lowest: What the lowest trial claims: its speed-up over the default's trial.
        lowest_truth: How much faster than the default that one truly is.
        best: How much faster the best of the measured configurations truly is.
        optimum: The same of all configurations.
        processes: How many fresh processes the verdict took.
    """

    ours: Verdict
    truth: float
    lowest: float
    lowest_truth: float
    best: float
    optimum: float
    processes: int


def simulate(surface: Surface, *, noise: float, levelled: bool, seed: int) -> Run:
    """Search, and decide."""
    machine = Machine(surface, noise=noise, levelled=levelled, seed=seed)
    axes = {name: range(values[0], values[-1] + 1) for name, values in surface.axes.items()}
    search = NelderMead(
        axes, start=[surface.start], mode="max", seed=seed, budget=TRIALS, repeats=0
    )
    results = []
    while isinstance(trial := search.ask(), Suggestion):
        result = machine.measure(trial.config)
        search.tell(trial.id, result.speedup)
        results.append(result)
    objective = Objective()
    (kind,) = kinds_of(results)
    chosen = screen(contestants(kind, objective), objective, most=MOST_FINALISTS)
    contest = Contest(
        machine,
        [one.config for one in chosen],
        objective,
        searched=[one.results for one in chosen],
    )
    while not contest.step():
        continue
    found = decide(contest.course, objective, searched=kind)
    lowest = min(results, key=lambda r: r.seconds)
    first = next(r for r in results if key_of(r.tuned) == key_of(surface.start))
    return Run(
        ours=found,
        truth=machine.truth(found.config),
        lowest=first.seconds / lowest.seconds,
        lowest_truth=machine.truth(lowest.config),
        best=max(machine.truth(r.config) for r in results),
        optimum=max(machine.truth(c) for c in surface.configs()),
        processes=sum(len(one) for one in contest.course.rounds),
    )


def noises_of(
    random: np.random.Generator, shape: tuple[int, int], *, noise: float, alike: float
) -> np.ndarray:
    """The log step times of some processes (columns) in a number of rounds, with outliers."""
    found = random.standard_normal(shape)
    for number in range(1, len(found)):
        found[number] *= math.sqrt(1 - alike**2)
        found[number] += alike * found[number - 1]
    slow = np.log(random.uniform(FASTEST, SLOWEST, shape))
    return noise * found + np.where(random.random(shape) < OUTLIERS, slow, 0.0)


def finals(times: int) -> None:
    """Print what finals say of configurations of several true gains, and how long they take."""
    print(f"{times} finals each")
    for noise, alike, gain in itertools.product((0.02, 0.08), ALIKE, GAINS):
        random = np.random.default_rng(1)
        rows = [final(random, gain, noise=noise, alike=alike) for _ in range(times)]
        count, holds, wins, groups = np.array(rows).T
        print(
            f"noise {noise:.0%}, correlation {alike}, truly {gain:.2f}x: {np.median(count):.0f} "
            f"rounds, holds the truth {holds.mean():.1%}, says it is a win {wins.mean():.1%}, sees "
            f"two groups where none are {groups.mean():.1%}",
            flush=True,
        )


def final(random: np.random.Generator, gain: float, *, noise: float, alike: float) -> list[float]:
    """How many rounds a final takes, and whether what it says is right."""
    own, default = noises_of(random, (MOST_FINAL, 2), noise=noise, alike=alike).T
    least, truth = math.log1p(WITHIN), math.log(gain)
    course = Final(least)
    for one in default - own:
        if not course.ended:
            course.tell(truth + one)
    found = course.interval()
    return [
        len(course.gains),
        found.low <= truth <= found.high,
        found.low > least,
        two_groups(course.gains, least=least) is not None,
    ]


def races(times: int) -> None:
    """Print how often the race chooses well, and what the finals after it say."""
    print(f"\n{times} head-to-heads each; promised: good, or undecided, {GOOD_SELECTION:.0%}")
    for hard, noise, count, alike in itertools.product(
        (False, True), (0.02, 0.08), (2, 6, 16), ALIKE
    ):
        found = [
            raced(count, hard=hard, noise=noise, alike=alike, seed=[seed, count])
            for seed in range(times)
        ]
        good, decided, holds, processes, final = np.array(found).T
        print(
            f"{'hardest' if hard else 'random'}, noise {noise:.0%}, {count:>2} configurations, "
            f"correlation {alike}: good {good.mean():.1%}, good or undecided "
            f"{np.mean((good > 0) | (decided == 0)):.1%}, decided {decided.mean():.0%}, holds the "
            f"truth {holds.mean():.1%}, rounds of the final {np.median(final):.0f}, processes "
            f"{np.median(processes):.0f}",
            flush=True,
        )


def raced(
    count: int, *, hard: bool, noise: float, alike: float, seed: list[int]
) -> tuple[bool, bool, bool, int, int]:
    """A head-to-head of configurations of known gains.

    Returns:
        Whether it chose well, whether it was decided, whether the interval holds the truth, the
        processes it took and the rounds of its final.
    """
    random = np.random.default_rng(seed)
    gains = random.normal(2 * SPREAD, SPREAD, count)
    if hard:
        gains = 2 * SPREAD - BEHIND * random.permutation(np.arange(count) > 0)
    head = HeadToHead([Entrant(one) for one in random.integers(1, 9, count)], within=WITHIN)
    levels = -noises_of(random, (200, count + 1), noise=noise, alike=alike)
    levels[:, :count] += gains
    processes = 0
    for row in levels:
        asked = head.ask()
        if not asked:
            break
        processes += len(asked)
        head.tell({arm: row[arm] for arm in asked})
    truth, interval = gains[head.chosen], head.interval()
    return (
        truth >= gains.max() - math.log1p(WITHIN),
        not head.undecided,
        interval.low <= truth <= interval.high,
        processes,
        head.final_rounds,
    )


def share(found: list[bool]) -> str:
    """As a percentage."""
    return f"{np.mean(found):6.1%}" if found else "     -"


@functools.cache
def surfaces_of(*, held_out: bool) -> list[Surface]:
    """The surfaces of two knobs."""
    every = [*parametric(90), *published(), *recorded()]
    return [one for one in every if one.held_out == held_out and set(one.axes) == KNOBS]


def one_run(number: int, *, noise: float, levelled: bool, held_out: bool) -> Run:
    """The run of this number, on the surface whose turn it is."""
    surfaces = surfaces_of(held_out=held_out)
    surface = surfaces[number % len(surfaces)]
    return simulate(surface, noise=noise, levelled=levelled, seed=number)


def simulated(runs: int, *, noises: list[float], held_out: bool) -> None:
    """Print how often the verdict, and the lowest trial, are right."""
    if not runs:
        return
    count = len(surfaces_of(held_out=held_out))
    print(f"{runs} runs each on {count} surfaces of two knobs, at most {TRIALS} trials")
    head = "                                           verdict   lowest trial"
    with multiprocessing.get_context("spawn").Pool(usable_cpus().count) as pool:
        for noise in noises:
            as_is, level = (
                pool.map(
                    functools.partial(one_run, noise=noise, levelled=levelled, held_out=held_out),
                    range(runs),
                    chunksize=1,
                )
                for levelled in (False, True)
            )
            print(f"\nnoise {noise:.0%}\n{head}", flush=True)
            report(as_is, level)


def report(as_is: list[Run], level: list[Run]) -> None:
    """Print the figures of one level of noise."""
    clear = [run for run in as_is if run.best >= CLEAR]
    ours = [use(run) and run.truth >= run.best / CLOSE for run in clear]
    peers = [run.lowest_truth >= run.best / CLOSE for run in clear]
    rows = [
        ("nothing beats the default: says so", [not use(r) for r in level], lowest_keeps(level)),
        (f"best {CLEAR:.2f}x or more: named within 2 %", ours, peers),
        (
            "  the same, of the best anywhere",
            [use(r) and r.truth >= r.optimum / CLOSE for r in clear],
            [r.lowest_truth >= r.optimum / CLOSE for r in clear],
        ),
        ("says faster, but is slower", loses(as_is + level), lowest_loses(as_is + level)),
    ]
    for name, mine, theirs in rows:
        print(f"{name:<40} {share(mine):>9}   {share(theirs):>12}")
    for name, runs in (("as they are", as_is), ("levelled", level)):
        covered = [r.ours.low <= r.truth <= r.ours.high for r in runs]
        flattery = statistics.median(r.lowest / r.lowest_truth for r in runs)
        own = statistics.median(r.ours.speedup / r.truth for r in runs)
        print(f"interval covers the truth, {name:<12}  {share(covered):>9}   {'none given':>12}")
        print(f"said / true speed-up, {name:<18} {own:9.3f}   {flattery:12.3f}")
    contradicting = sum(contradicts(run) for run in as_is + level)
    print(f"verdicts that contradict their interval: {contradicting} of {len(as_is + level)}")
    runs = [run.processes for run in as_is]
    print(
        f"fresh processes for a verdict: median {statistics.median(runs):.0f}, 90th percentile "
        f"{np.quantile(runs, 0.9):.0f}; {len(clear)} runs had a best of {CLEAR:.2f}x or more"
    )


def contradicts(run: Run) -> bool:
    """Whether the verdict says otherwise than its interval."""
    return use(run) != (run.ours.low > 1 + WITHIN)


def use(run: Run) -> bool:
    """Whether the verdict says that a configuration beats the default."""
    return run.ours.decision is Decision.USE


def loses(runs: list[Run]) -> list[bool]:
    """Whether what the verdict calls faster is slower."""
    return [use(run) and run.truth < 1 for run in runs]


def lowest_keeps(runs: list[Run]) -> list[bool]:
    """Whether the lowest trial claims no gain above the same 2 %."""
    return [run.lowest < CLOSE for run in runs]


def lowest_loses(runs: list[Run]) -> list[bool]:
    """Whether what the lowest trial calls faster is slower."""
    return [run.lowest >= CLOSE and run.lowest_truth < 1 for run in runs]


def same(times: int) -> None:
    """Print the verdicts on the default against itself."""
    cpus = usable_cpus().count
    builds = (gru, mlp, branched, transformer, mobilenet)
    print(f"intra_op={cpus} inter_op={cpus} against the default, {times} verdicts")
    claims = held = 0
    for number in range(times):
        build = builds[number % len(builds)]
        results = [{"config": {"intra_op": cpus, "inter_op": cpus}, "speedup": 1.0}]
        found = verdict(results, benchmark(build, **QUICK), budget_s=SOON)
        claims += found.decision is Decision.USE
        held += found.low <= 1 <= found.high
        print(f"{build.__name__:<12} {said(found)}", flush=True)
    print(f"{claims} of {times} claim a win of more than 2 %; {held} intervals hold 1")


def repeated(times: int) -> None:
    """Print verdicts of MobileNetV2, each on the same searched configurations."""
    cpus = usable_cpus().count
    points = [(intra, inter) for intra in range(1, cpus + 1) for inter in range(1, cpus + 1)]
    results = [
        {"config": {"intra_op": intra, "inter_op": inter}, "speedup": 1.0}
        for intra, inter in points
    ]
    verdicts = []
    for _ in range(times):
        verdicts.append(verdict(results, benchmark(mobilenet, **QUICK), budget_s=2 * SOON))
        print(said(verdicts[-1]), flush=True)
    low, high = max(one.low for one in verdicts), min(one.high for one in verdicts)
    print(f"all intervals have [{low:.2f}, {high:.2f}] in common" if low <= high else "disjoint")


def said(found: Verdict) -> str:
    """A verdict in a line."""
    return f"{found.decision.value:<5} {found.sentence}"


def main() -> None:
    """Read the command line and print what it asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=int, default=200, help="simulated runs for each noise; 0: none"
    )
    parser.add_argument("--noise", type=float, nargs="+", default=[0.02, 0.08])
    parser.add_argument("--design", action="store_true", help="on the surfaces to design with")
    parser.add_argument("--rounds", type=int, default=1000, help="finals of each kind; 0 for none")
    parser.add_argument(
        "--race", type=int, default=100, help="head-to-heads of each kind; likewise"
    )
    parser.add_argument("--same", type=int, metavar="N", help="N verdicts of the default on itself")
    parser.add_argument("--repeat", type=int, metavar="N", help="N verdicts of MobileNetV2")
    arguments = parser.parse_args()
    if arguments.same:
        same(arguments.same)
    if arguments.repeat:
        repeated(arguments.repeat)
    if not (arguments.same or arguments.repeat):
        if arguments.rounds:
            finals(arguments.rounds)
        if arguments.race:
            races(arguments.race)
        simulated(arguments.runs, noises=arguments.noise, held_out=not arguments.design)


if __name__ == "__main__":
    main()
