"""How good each searcher's answer is, on surfaces whose true minimum is known.

Every searcher gets the same surfaces, start points, seeds and budget, and one noisy measurement a
trial. The first table shows the final answers: by how much the recommended configuration is truly
slower than the best, when the search has stopped or its budget is spent, and "at ours" after as
many trials as this project's search used on the same surface. The second shows after how many
trials the recommended one was first so good, even if it was given up later.

Without --held-out the surfaces are those to design with; --tables searches measured ones instead.
Every share and mean has its standard error. Searches of one surface are alike, so it comes from the
surfaces' own means.

The rivals come with `pip install '.[bench]'`, those that insist on older versions of others with
`pip install '.[bench-pinned]'` in an environment of its own; one not installed is left out.
"""

import argparse
import concurrent.futures
import contextlib
import functools
import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rivals import CONSTRAINED, SEARCHERS, Spent, Task
from surfaces import Surface, combed, measured, parametric, published, recorded, served

BUDGET = 40
NEVER = math.inf
OURS = "kamerton_ray"

CLOSE, CLOSER = 0.05, 0.02
"""A configuration counts as good that is truly slower than the best by no more than this share."""


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which surfaces are searched.

    Attributes:
        knobs: How many knobs they have.
        count: How many of them are drawn at random; every third of these is held out.
        instances: Those with processes to choose, under a constraint.
        combed: Those on which few numbers of threads are good.
        held_out: Those that are kept for the end, or those to design with.
        tables: The folder of measured ones, instead of all others.
        draw: Settles which are drawn.
    """

    knobs: int = 2
    count: int = 0
    instances: bool = False
    combed: bool = False
    held_out: bool = False
    tables: Path | None = None
    draw: int = 0


@dataclass(frozen=True)
class Run:
    """What one search came to.

    Attributes:
        searcher: Which searcher.
        surface: The surface's name.
        family: What kind of surface it is.
        noise: How noisy.
        knobs: How many knobs the surface has.
        seed: What settled the noise.
        regrets: The true regret of what was recommended after each trial, up to the budget.
        least: The least true regret of all that it measured.
        used: After how many trials it stopped.
        wait_ms: The median milliseconds for a suggestion.
        wave: How many trials were run side by side.
    """

    searcher: str
    surface: str
    family: str
    noise: float
    knobs: int
    seed: int
    regrets: list[float]
    least: float
    used: int
    wait_ms: float
    wave: int

    def reached(self, within: float) -> float:
        """After how many trials the recommendation was first so good; infinite if never."""
        return next((i + 1 for i, r in enumerate(self.regrets) if r <= within), NEVER)

    @property
    def task(self) -> tuple[str, float, int]:
        """What is the same for every searcher."""
        return self.surface, self.noise, self.seed


@functools.cache  # a surface looks for its optimum once
def surfaces(where: Where) -> list[Surface]:
    """The surfaces."""
    if where.tables:
        return measured(where.tables)
    if where.instances:
        found = served(where.count, where.draw)
    elif where.combed:
        found = combed(where.count, where.draw)
    else:
        found = parametric(where.count, where.knobs, where.draw)
        if where.knobs == 2:  # noqa: PLR2004 - the others have two
            found += [*published(), *recorded()]
    return [surface for surface in found if surface.held_out == where.held_out]


def search(name: str, surface: Surface, noise: float, seed: int, wave: int) -> Run:
    """Let a searcher search."""
    task = Task(surface, noise, BUDGET, seed, wave)
    with contextlib.suppress(Spent):
        SEARCHERS[name](task)
    used = len(task.regrets)
    regrets = task.regrets + [task.regrets[-1]] * (BUDGET - used)
    return Run(
        searcher=name,
        surface=surface.name,
        family=surface.family.partition(",")[0],
        noise=noise,
        knobs=len(surface.axes),
        seed=seed,
        regrets=regrets,
        least=task.least,
        used=used,
        wait_ms=1e3 * statistics.median(task.waits),
        wave=wave,
    )


def _searches(job: tuple[str, Where, float, int, int]) -> list[Run]:
    name, where, noise, seeds, wave = job
    return [
        search(name, surface, noise, seed, wave)
        for surface in surfaces(where)
        for seed in range(seeds)
    ]


def table(runs: Sequence[Run], title: str) -> None:
    """Print a row for each searcher: its final answers, and when it was first as good."""
    by: dict[str, list[Run]] = {}
    for run in runs:
        by.setdefault(run.searcher, []).append(run)
    count = len(next(iter(by.values())))
    print(f"\n{title}: {count} searches each, on {len({run.surface for run in runs})} surfaces")
    final_answers(by)
    first_hits(by)


def final_answers(by: Mapping[str, list[Run]]) -> None:
    """Print what the searchers recommend at the end."""
    ours = {run.task: run.used for run in by.get(OURS, ())}
    print(
        f"{'final answers':<22} within 5 %   within 2 %   measured 2 %      regret   "
        "90th perc.   at ours     trials"
    )
    for name, rows in by.items():
        equal = [run for run in rows if run.task in ours]
        at_ours = _mean(equal, lambda r: r.regrets[ours[r.task] - 1]) if equal else "-"
        print(
            f"{name:<22} {_mean(rows, lambda r: r.regrets[-1] <= CLOSE, digits=0):>10} "
            f"{_mean(rows, lambda r: r.regrets[-1] <= CLOSER, digits=0):>12} "
            f"{_mean(rows, lambda r: r.least <= CLOSER, digits=0):>14} "
            f"{_mean(rows, lambda r: r.regrets[-1]):>11} "
            f"{np.quantile([r.regrets[-1] for r in rows], 0.9):>12.1%} {at_ours:>9} "
            f"{_mean(rows, lambda r: r.used, percent=False):>10}"
        )


def first_hits(by: Mapping[str, list[Run]]) -> None:
    """Print when what they recommend is first as good, even if it is given up later."""
    print(
        f"{'first hits':<22} within 5 %: med  p90  reached   within 2 %: med  reached   "
        "regret after 10, 20, 40   ms"
    )
    for name, rows in by.items():
        five, two = ([run.reached(w) for run in rows] for w in (CLOSE, CLOSER))
        regret = " ".join(f"{np.mean([r.regrets[n - 1] for r in rows]):6.1%}" for n in (10, 20, 40))
        print(
            f"{name:<22} {_count(five, 0.5):>15} {_count(five, 0.9):>4} {_share(five):>8}   "
            f"{_count(two, 0.5):>15} {_share(two):>8}   {regret:>23} "
            f"{statistics.median(r.wait_ms for r in rows):6.2f}"
        )


def _mean(
    runs: Iterable[Run], of: Callable[[Run], float], *, percent: bool = True, digits: int = 1
) -> str:
    """The mean of something over searches, and its standard error by the surfaces' own means."""
    by: dict[str, list[float]] = {}
    for run in runs:
        by.setdefault(run.surface, []).append(of(run))
    every = [value for values in by.values() for value in values]
    means = [statistics.mean(values) for values in by.values()]
    error = statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else math.nan
    scale = 100 if percent else 1
    return f"{scale * statistics.mean(every):.{digits}f}±{scale * error:.{digits}f}" + "%" * percent


def picture(runs: Iterable[Run], path: Path) -> None:
    """Draw each searcher's mean true regret against the trials, this project's in front."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    by: dict[str, list[list[float]]] = {}
    for run in runs:
        by.setdefault(run.searcher, []).append(run.regrets)
    ends = []
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, regrets in by.items():
        mean = np.mean(regrets, axis=0)
        ours = name == OURS
        style = {"color": "#0b6e99", "lw": 3, "zorder": 3} if ours else {"color": "0.6", "lw": 1.2}
        axes.plot(range(1, BUDGET + 1), mean, **style)
        ends.append((math.log(mean[-1]), name, style["color"]))
    axes.set(xlabel="trials", ylabel="slower than the optimum (mean)", xlim=(1, BUDGET))
    axes.set(yscale="log", xticks=[1, *range(5, BUDGET + 1, 5)])
    axes.set_yticks([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1], minor=False)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    low, high = map(math.log, axes.get_ylim())
    ends.sort()
    places = _spread([end for end, *_ in ends], (high - low) / 22)
    for at, (end, name, color) in zip(places, ends, strict=True):
        axes.annotate(
            name,
            (BUDGET, math.exp(end)),
            (BUDGET + 2, math.exp(at)),
            va="center",
            color="0.3" if color == "0.6" else color,
            weight="normal" if color == "0.6" else "bold",
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.6, "relpos": (0, 0.5)},
            annotation_clip=False,
        )
    figure.savefig(path, dpi=150)


def _spread(ends: list[float], gap: float) -> list[float]:
    """The labels' places, from the lowest up, none nearer than `gap` to the one below."""
    places: list[float] = []
    for end in ends:
        places.append(max(end, places[-1] + gap) if places else end)
    return places


def _count(trials: list[float], quantile: float) -> str:
    found = float(np.quantile(trials, quantile, method="inverted_cdf"))
    return "never" if found == NEVER else f"{found:.0f}"


def _share(trials: list[float]) -> str:
    return f"{statistics.mean(t < NEVER for t in trials):.0%}"


def installed(names: Iterable[str]) -> list[str]:
    """Those of the searchers whose packages are there."""
    return [name for name in names if _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        SEARCHERS[name](Task(parametric(1)[0], 0.0, 2, 0))
    except Spent:
        return True
    except ImportError as error:
        print(f"{name} is left out: {error}")
        return False
    return True


def where_of(args: argparse.Namespace, knobs: int) -> Where:
    """The surfaces that the command line asks for."""
    return Where(
        knobs=knobs,
        count=args.surfaces,
        instances=args.instances,
        combed=args.combed,
        held_out=args.held_out,
        tables=args.tables,
        draw=args.draw,
    )


def waves(args: argparse.Namespace) -> None:
    """Print how many rounds of trials side by side this project's searcher needs."""
    medians = {}
    for wave in (1, 4, 8):
        job = (OURS, where_of(args, 2), 0.02, args.seeds, wave)
        rounds = [
            math.ceil(run.reached(CLOSE) / wave) if run.reached(CLOSE) < NEVER else NEVER
            for run in _searches(job)
        ]
        medians[wave] = float(np.median(rounds))
        print(
            f"{wave} at once: {medians[wave]:.0f} rounds in the median until within 5 %, "
            f"mean {np.mean([r for r in rounds if r < NEVER]):.1f}"
        )


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--held-out", action="store_true", help="the surfaces kept for the end")
    parser.add_argument(
        "--tables",
        type=Path,
        metavar="FOLDER",
        help="measured surfaces: a CSV file each, whose columns are the counts and the seconds",
    )
    parser.add_argument("--surfaces", type=int, default=200, help="parametric ones (%(default)s)")
    parser.add_argument("--draw", type=int, default=0, help="draw others; no decision saw them")
    parser.add_argument("--seeds", type=int, default=3, help="searches a surface (%(default)s)")
    parser.add_argument("--knobs", type=int, nargs="+", default=[2], choices=(2, 3, 4))
    parser.add_argument(
        "--instances",
        action="store_true",
        help="processes and the threads of each, under a constraint",
    )
    parser.add_argument(
        "--combed", action="store_true", help="machines on which few numbers of threads are good"
    )
    parser.add_argument("--noise", type=float, nargs="+", default=[0.02])
    parser.add_argument("--only", nargs="*", help="these searchers alone")
    parser.add_argument("--families", action="store_true", help="a table for each family, too")
    parser.add_argument("--waves", action="store_true", help="trials side by side instead")
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--json", type=Path, help="write every search to this file")
    parser.add_argument(
        "--also", type=Path, nargs="+", default=[], help="show the searches in these files, too"
    )
    parser.add_argument("--png", type=Path, help="draw the mean regret after each trial")
    args = parser.parse_args()
    if args.waves:
        waves(args)
        return
    names = installed(SEARCHERS if args.only is None else args.only)
    if args.instances:
        names, args.knobs = [name for name in names if name in CONSTRAINED], [3]
    jobs = [
        (name, where_of(args, knobs), noise, args.seeds, 1)
        for name in names
        for knobs in args.knobs
        for noise in args.noise
    ]
    with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
        runs = [run for found in pool.map(_searches, jobs) for run in found]
    runs += [Run(**run) for path in args.also for run in json.loads(path.read_text("utf-8"))]
    for knobs in args.knobs:
        for noise in args.noise:
            chosen = [r for r in runs if r.knobs == knobs and r.noise == noise]
            table(chosen, f"{knobs} knobs, {noise:.0%} noise")
            if args.families:
                for family in dict.fromkeys(r.family for r in chosen):
                    table([r for r in chosen if r.family == family], f"  {family}")
    if args.png:
        picture([r for r in runs if (r.knobs, r.noise) == (args.knobs[0], args.noise[0])], args.png)
    if args.json:
        args.json.write_text(json.dumps([vars(run) for run in runs]), encoding="utf-8")


if __name__ == "__main__":
    main()
