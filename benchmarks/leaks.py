"""What many trials of two instances leave behind: processes, memory, open files.

    python benchmarks/leaks.py --trials 100

Two instances of a trivial model are measured again and again, in every tenth trial with one that
ends itself. It prints what there is before, after ten trials, after all of them, when two processes
are kept warm for more, and when these are closed: processes, those too that have lost their
parents, and their memory; this process's resident memory and its open files.
"""

import argparse
import contextlib
import gc
import os
from dataclasses import dataclass

import psutil

from kamerton_ray.machine.memory import held_memory
from kamerton_ray.trial.bench import Bench, BenchOptions, Isolation
from kamerton_ray.trial.config import INSTANCE
from kamerton_ray.trial.timing import TimingOptions

MARK = "KAMERTON_RAY_LEAK_CHECK"
"""A variable in the environment of every process that the check starts."""

FIRST = 10
"""What still grows after so many trials grows for ever; so often one fails."""

HELD = 8 << 20
"""So many bytes each instance holds."""


def trivial(config):
    """A step of little work; on demand the second instance ends itself."""
    held = b"x" * HELD

    def step():
        if config["ends"] and os.environ[INSTANCE] == "1":
            os._exit(1)
        return sum(range(20_000 + 0 * len(held)))

    return step


@dataclass(frozen=True)
class State:
    """What there is at a moment.

    Attributes:
        processes: Those that the check has started, the dead ones that nobody has waited for too.
        own: This process's resident memory, in bytes.
        theirs: The memory of those.
        files: How many files this process has open.
    """

    processes: frozenset[psutil.Process]
    own: int
    theirs: int
    files: int

    @classmethod
    def now(cls) -> "State":
        """That of this moment."""
        gc.collect()
        mine = frozenset(filter(_is_ours, psutil.process_iter()))
        me, theirs = psutil.Process(), sum(held_memory(one.pid) for one in mine)
        return cls(mine, me.memory_info().rss, theirs, me.num_fds())

    def __str__(self) -> str:
        own, theirs = self.own / 1e6, self.theirs / 1e6
        return f"{len(self.processes):>9}{theirs:>10.1f}{own:>9.1f} {self.files:>6}"


def _is_ours(process: psutil.Process) -> bool:
    """Whether the check has started a process, even where that has lost its parents."""
    with contextlib.suppress(psutil.Error):
        if process.status() == psutil.STATUS_ZOMBIE:
            return process.ppid() == os.getpid()
        return process.environ().get(MARK) == str(os.getpid())
    return False


def leaks(trials: int) -> None:
    """Print what so many trials leave behind."""
    options = BenchOptions(
        timing=TimingOptions(warmup_s=0.05, budget_s=0.1, patience_s=0),
        timeout_s=30.0,
        pair=True,
        env={MARK: str(os.getpid())},
        isolation=Isolation.FORK,
        tensorflow=False,
    )
    print(f"{'':<18} processes, their MB   our MB  files")
    before = shown("before")
    with contextlib.closing(Bench(trivial, options)) as bench:
        for number in range(1, trials + 1):
            ends = number % FIRST == 0
            bench.measure({"instances": 2, "intra_op": 1, "inter_op": 1, "ends": ends})
            if number in {FIRST, trials}:
                shown(f"after {number} trials")
    left = len(shown("after the end").processes - before.processes)
    print(f"{left or 'no'} process{'es are' if left > 1 else ' is'} left")


def shown(when: str) -> State:
    """The state of this moment, printed."""
    now = State.now()
    print(f"{when:<18} {now}", flush=True)
    return now


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=100, help="so many (%(default)s)")
    leaks(parser.parse_args().trials)


if __name__ == "__main__":
    main()
