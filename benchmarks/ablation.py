"""What each part of the search is worth: the same searches with one part after another left out.

Runs on the surfaces to design with, or others by --draw, and two knobs; see search.py for the
columns.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
from unittest import mock

from search import OURS, Run, Where, search, surfaces, table

from kamerton_ray.search import finalists, measurements, opening, phases
from kamerton_ray.search.lattice import Lattice
from kamerton_ray.search.phases import Phases
from kamerton_ray.search.progress import Phase, Progress

WHOLE = "the whole search"


def _simplex_alone(self: Phases, progress: Progress) -> Progress:
    """From the first simplex on only what Nelder and Mead wrote, polish and restarts."""
    points = tuple(self._lattice.simplex(self._known.ranked()))
    if self._is_polished(progress) or len(points) <= self._lattice.dimension:
        return self._restarted(progress)
    return dataclasses.replace(progress, phase=Phase.SIMPLEX, simplex=points)


WITHOUT = {
    WHOLE: contextlib.nullcontext,
    "no trades": lambda: mock.patch.object(opening, "trades", opening.first_steps),
    "no halves and doubles": lambda: mock.patch.object(Lattice, "octaves", return_value=[]),
    "no surrogate": lambda: mock.patch.object(Phases, "_lead_step", _simplex_alone),
    "no quadratic": lambda: mock.patch.object(phases, "lowest_nearby", return_value=None),
    "no neighbours": lambda: mock.patch.object(Lattice, "neighbours", return_value=[]),
    "no teeth": lambda: mock.patch.object(Lattice, "passed", return_value=[]),
    "any improvement counts": lambda: mock.patch.object(measurements, "IMPROVEMENT", 0.0),
    "noise buys no repeats": lambda: mock.patch.object(finalists, "NOISY", finalists.QUIET),
    "no repeats": lambda: mock.patch.object(
        Phases, "_with_finalists", lambda _, progress: progress
    ),
}


def _searches(job: tuple[str, float, int, int, int]) -> list[Run]:
    name, noise, count, draw, seeds = job
    with WITHOUT[name]():
        runs = [
            search(OURS, surface, noise, seed, 1)
            for surface in surfaces(Where(count=count, draw=draw))
            for seed in range(seeds)
        ]
    return [dataclasses.replace(run, searcher=name) for run in runs]


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surfaces", type=int, default=200, help="parametric ones (%(default)s)")
    parser.add_argument("--draw", type=int, default=0, help="draw others; no decision saw them")
    parser.add_argument("--seeds", type=int, default=3, help="searches a surface (%(default)s)")
    parser.add_argument("--noise", type=float, default=0.02, help="of a measurement (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    args = parser.parse_args()
    jobs = [(name, args.noise, args.surfaces, args.draw, args.seeds) for name in WITHOUT]
    with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
        runs = [run for found in pool.map(_searches, jobs) for run in found]
    table(runs, f"2 knobs, {args.noise:.0%} noise")


if __name__ == "__main__":
    main()
