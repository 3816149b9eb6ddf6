"""Faults thrown at searches on a real cluster, at seeded moments: what is lost, and what is found.

Each run is a search over a simulated objective. In its middle a node, an actor, a command nest or
the driver is killed by SIGKILL, a node stands still, or no more results can be written down.

    python benchmarks/faults.py --runs 50
"""

from __future__ import annotations

import argparse
import collections
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from cluster import Cluster

from kamerton_ray.tune.folders import write
from kamerton_ray.tune.goal import Goal, Limits
from kamerton_ray.tune.run import search
from kamerton_ray.tune.session import RESULTS, Session
from kamerton_ray.tune.trainable import command

NODES = 2
SIDE = 8
TRIAL_S = 0.3
DEADLOCK_S = 240.0
"""A search that has not ended after so many seconds never does."""

STANDS_STILL_S = 2.0

ENDING = "ending.json"
"""In the session's folder: how its search has ended."""

LAST_WORDS = 20
"""So many lines of what the driver said are shown where a search never ends."""

# Its line in the log comes last, so that it counts the executions that came to their end. A node
# with the variable SLOW is slow.
PROGRAM = """
a=$((TF_NUM_INTRAOP_THREADS - {intra_op})) b=$((TF_NUM_INTEROP_THREADS - {inter_op}))
sleep ${{SLOW:-{seconds}}}
echo $((1 + a * a + b * b))
echo $TF_NUM_INTRAOP_THREADS $TF_NUM_INTEROP_THREADS >> {log}
"""


class Driver:
    """A process that runs searches, one after the other.

    Args:
        cluster: Where they run.
        folder: Where it leaves what it has said.
    """

    def __init__(self, cluster, folder) -> None:
        self._cluster = cluster
        self._said = folder / "said"
        self._said.touch()
        self._process = None

    def begin(self, order):
        """Have it search, or go on with a search; it is started where it is not there."""
        if self._process is None:
            with self._said.open("ab") as said:
                self._process = subprocess.Popen(
                    [sys.executable, __file__, "--driver"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,  # Ray's own account of what was lost
                    stderr=said,
                    env=self._cluster.env,
                    text=True,
                )
        print(json.dumps(order), file=self._process.stdin, flush=True)

    def is_alive(self):
        """Whether it has not ended itself."""
        return self._process.poll() is None

    def close(self):
        """End it by SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def said(self):
        """What it has shown so far."""
        return self._said.read_text()


def drive():
    """The driver's whole life."""
    import ray

    ray.init(log_to_driver=False, logging_level="ERROR")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    for line in sys.stdin:
        order = json.loads(line)
        program = command(["sh", "-c", order["code"]], objective="last")
        ends = dict.fromkeys(("intra_op", "inter_op"), (1, SIDE))
        goal = Goal(space=ends, starts=[dict.fromkeys(ends, 2)], metric="objective", mode="min")
        session = Session(Path(order["session"]))
        ending = search(program, goal, session, limits=Limits(), seed=order["seed"])
        said = {"best": ending.best, "broken": ending.broken}
        write(session.folder / ENDING, json.dumps(said))


class Search:
    """A search of the driver's.

    Args:
        cluster: Where it runs.
        driver: What runs it.
        folder: Where its files lie.
        seed: Of the search.
        lowest: The configuration with the lowest objective.
        seconds: How long a trial takes.
    """

    def __init__(self, cluster, driver, folder, *, seed, lowest, seconds=TRIAL_S) -> None:
        self.cluster, self.driver, self.lowest = cluster, driver, lowest
        self._log = folder / "executions"
        folder.mkdir()
        self._log.touch()
        self._session = Session.create(folder, "search", {})
        self.file = self._session.folder / RESULTS
        self._ending = self._session.folder / ENDING
        code = PROGRAM.format(**lowest, seconds=seconds, log=self._log)
        self._order = {"code": code, "session": str(self._session.folder), "seed": seed}

    def begin(self):
        """Begin it, or go on with it."""
        self._ending.unlink(missing_ok=True)
        self.driver.begin(self._order)

    def ended(self):
        """How it has ended: its configuration, and whether it broke off; None before."""
        return json.loads(self._ending.read_text()) if self._ending.exists() else None

    def ending(self):
        """How it ends; None if it never does."""
        deadline = time.monotonic() + DEADLOCK_S
        while self.ended() is None and self.driver.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.ended()

    def results(self):
        """What it has written down."""
        return self._session.results()

    def executed(self):
        """The configurations that the program ran to its end with, in order."""
        lines = self._log.read_text().splitlines()
        return [tuple(int(number) for number in line.split()) for line in lines]

    def wait_for(self, count):
        """Wait until it has so many results; whether it goes on then."""
        deadline = time.monotonic() + DEADLOCK_S
        while self.ended() is None and time.monotonic() < deadline:
            if len(self.results()) >= count:
                return True
            time.sleep(0.02)
        return False


# --- faults: what each does to a search ---------------------------------------


def workers(cluster):
    """The nodes that trials run on."""
    return [node for node in cluster.nodes if node is not cluster.head]


def lose_node(search, rng):
    """A node is switched off, and another takes its place."""
    search.cluster.kill_node(rng.choice(workers(search.cluster)))
    search.cluster.add_node(1, wait=False)


def kill_actor(search, rng):
    """The process that a trial runs in is killed."""
    kill_one(search, rng, "ray::Command")


def kill_command_nest(search, rng):
    """The process that starts the commands of an actor is killed."""
    kill_one(search, rng, "kamerton_ray.process.in_command_nest")


def kill_one(search, rng, part):
    """A process of some node whose command line holds `part` is killed, once there is one."""
    while search.ended() is None:
        if pids := [pid for node in workers(search.cluster) for pid in node.pids_of(part)]:
            signal_all([rng.choice(pids)], signal.SIGKILL)
            return


def signal_all(pids, number):
    """Send a signal to processes, of which some may have ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_driver(search, _):
    """The driver is killed, and the search resumed."""
    search.driver.close()
    search.begin()


def stop_node(search, rng):
    """Every process of a node stands still for a while."""
    pids = rng.choice(workers(search.cluster)).pids()
    signal_all(pids, signal.SIGSTOP)
    time.sleep(STANDS_STILL_S)
    signal_all(pids, signal.SIGCONT)


def fill_disk(search, _):
    """No more results can be written down, until that has ended the search."""
    # A driver that has just begun would still read the file, and /dev/full has no end.
    search.wait_for(len(search.results()) + 1)
    fill(search.file)
    search.ending()
    empty(search.file)


def fill(file):
    """Nothing more can be written to a file."""
    file.touch()
    file.rename(file.with_suffix(".kept"))
    file.symlink_to("/dev/full")


def empty(file):
    """It can again."""
    file.unlink()
    file.with_suffix(".kept").rename(file)


FAULTS = {
    "node lost": lose_node,
    "actor killed": kill_actor,
    "command nest killed": kill_command_nest,
    "driver killed": kill_driver,
    "node stood still": stop_node,
    "disk full": fill_disk,
}


# --- runs ----------------------------------------------------------------------------------------


NO_END = "it does not end"
LOST = "a finished trial was lost"
TWICE = "a finished trial was run twice"
ANOTHER = "another answer"


@dataclass
class Run:
    """A search with its faults.

    Attributes:
        faults: What happened to it.
        wrong: What it should not have done.
        trials: How many results there are.
        again: How many executions came to their end but lost their result on its way.
        seconds: How long it took.
        said: What the user was told.
    """

    faults: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    trials: int = 0
    again: int = 0
    seconds: float = 0.0
    said: list[str] = field(default_factory=list)


def run(cluster, driver, folder, seed, faults=tuple(FAULTS), seconds=TRIAL_S):
    """A search with one or two faults at moments that the seed chooses."""
    rng = random.Random(seed)  # noqa: S311 - nothing secret
    while len(workers(cluster)) < NODES:
        cluster.add_node(1)
    lowest = {"intra_op": rng.randint(1, SIDE), "inter_op": rng.randint(1, SIDE)}
    search = Search(cluster, driver, folder, seed=seed, lowest=lowest, seconds=seconds)
    done, said, begin = Run(), len(driver.said()), time.monotonic()
    search.begin()
    kept, count = [], 0
    for _ in range(rng.randint(1, 2)):
        count += rng.randint(1, 6)
        if search.wait_for(count):
            time.sleep(rng.uniform(0, TRIAL_S))
            kept = search.results()
            done.faults.append(rng.choice(faults))
            FAULTS[done.faults[-1]](search, rng)
    while (ending := search.ending()) is not None and ending["broken"]:
        search.begin()
    done.seconds = time.monotonic() - begin
    done.trials = len(search.results())
    done.again = len(search.executed()) - done.trials
    done.said = [line for line in driver.said()[said:].splitlines() if line.startswith("The ")]
    done.wrong = complaints(search, kept, ending)
    if ending is None:
        done.said += driver.said()[said:].splitlines()[-LAST_WORDS:]
        driver.close()
    return done


def complaints(search, kept, ending):
    """What is wrong with how a search ended; nothing where all is well."""
    if ending is None:
        return [NO_END]
    results = search.results()
    tried = [(one.tuned["intra_op"], one.tuned["inter_op"]) for one in results]
    wrong = {
        LOST: results[: len(kept)] != kept,
        TWICE: len(set(tried)) != len(tried),
        ANOTHER: ending["best"] != search.lowest,
        "a trial failed": not all(one.worked for one in results),
        "a result without an execution": bool(set(tried) - set(search.executed())),
    }
    return [what for what, so in wrong.items() if so]


def main():
    """Print a line for each run, and a table of all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="Of the first run.")
    parser.add_argument("--driver", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.driver:
        drive()
        return
    runs = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster() as cluster,
        closing(Driver(cluster, Path(folder))) as driver,
    ):
        for seed in range(options.seed, options.seed + options.runs):
            one = run(cluster, driver, Path(folder, str(seed)), seed)
            runs.append(one)
            verdict = "; ".join(one.wrong) or "ok"
            faults = ", ".join(one.faults)
            print(f"{seed:>4} {one.seconds:5.1f} s {one.trials:>3} trials  {faults}: {verdict}")
            for line in one.said:
                print(f"       {line}", flush=True)
    hit = collections.Counter(fault for one in runs for fault in one.faults)
    print(f"\n{len(runs)} runs, {sum(hit.values())} faults: {dict(hit.most_common())}")
    for title, wrong in {
        "ended": NO_END,
        "lost no finished trial": LOST,
        "ran none twice": TWICE,
        "found what a run without a fault finds": ANOTHER,
    }.items():
        print(f"{sum(wrong not in one.wrong for one in runs):>4} of {len(runs)} {title}")
    print(f"{sum(not one.wrong for one in runs):>4} of {len(runs)} had nothing wrong at all")
    print(f"{sum(one.again for one in runs):>4} executions lost their result on its way")


if __name__ == "__main__":
    main()
