"""Running a program without a search: its thread counts capped at the CPUs that it can use.

TensorFlow counts the CPUs of the affinity mask and knows no quota. In a container with a quota it
starts more threads than the quota lets run, and these stop each other. Go 1.25 caps its own
(`GOMAXPROCS`) at the quota in the same way, rounded up.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NoReturn

from kamerton_ray.cli.options import SearchOptions
from kamerton_ray.cli.saying import say
from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.cpus import usable_cpus
from kamerton_ray.machine.threads import VARIABLES
from kamerton_ray.trial.instances import environments

POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What tells the other libraries in such a program, NumPy's above all, how many threads to start.
They count the CPUs as TensorFlow does, and OpenBLAS does so when NumPy is imported."""

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What is sent to us while several copies run, they get."""


def run_capped(argv: Sequence[str], options: SearchOptions) -> NoReturn:
    """Run a program with no more threads than its CPUs can run; this process ends with it.

    Where the environment says nothing of NumPy's own threads, there are as few of these.

    With instances there are as many copies as were asked for at the most, but no more than CPUs,
    which they share.

    Raises:
        InvalidInputError: There is no such program, or a variable for a count holds none.
    """
    cpus = usable_cpus().count
    _, most = options.instances or (1, 1)
    count = min(most, cpus)
    each = max(1, cpus // count)
    env = {**dict.fromkeys(POOLS, str(each)), **os.environ, **capped(os.environ, each)}
    counts = " ".join(f"{name}={env[name]}" for name in VARIABLES)
    some = "1 process" if count == 1 else f"{count} processes"
    usable = "1 CPU" if cpus == 1 else f"{cpus} CPUs"
    say(options, f"{some} with {counts}, since {usable} can be used.")
    if count == 1:
        become(argv, env)
    sys.exit(run_copies(argv, env, count))


def capped(env: Mapping[str, str], cpus: int) -> dict[str, str]:
    """TensorFlow's two variables: what the environment says, but no more than so many threads.

    What it does not say, or says as 0, is TensorFlow's own choice: as many as there are CPUs.

    Raises:
        InvalidInputError: A variable holds no count.
    """
    return {name: str(min(_said(env, name) or cpus, cpus)) for name in VARIABLES}


def _said(env: Mapping[str, str], name: str) -> int:
    text = env.get(name, "0")
    try:
        return max(0, int(text))
    except ValueError:
        raise InvalidInputError(f"{name} must be a number of threads, but is {text!r}") from None


def become(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Become a program: it has this process's id, its files and its signals.

    Raises:
        InvalidInputError: There is no such program.
    """
    try:
        os.execvpe(argv[0], list(argv), dict(env))  # noqa: S606 - the user's own command
    except OSError as error:
        raise InvalidInputError(f"{argv[0]} cannot be run: {error.strerror}") from error


def run_copies(argv: Sequence[str], env: Mapping[str, str], count: int) -> int:
    """Run so many copies of a program at the same time, to the end of the last.

    Each finds its number in its environment. What is sent to this process they get.

    Returns:
        The exit code of the first that failed, as a shell gives it; 0 where none did.

    Raises:
        InvalidInputError: There is no such program.
    """
    copies: list[subprocess.Popen[bytes]] = []
    early: list[int] = []  # what came before all were there

    def send(number: int) -> None:
        for copy in copies:
            with contextlib.suppress(ProcessLookupError):
                copy.send_signal(number)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if len(copies) < count:
            early.append(number)
        else:
            send(number)

    before = {one: signal.signal(one, pass_on) for one in PASSED_ON}
    try:
        told = environments({"instances": count})
        copies.extend(subprocess.Popen(list(argv), env={**env, **own}) for own in told)
        for number in early:
            send(number)
        codes = [copy.wait() for copy in copies]
    except OSError as error:
        send(signal.SIGKILL)
        raise InvalidInputError(f"{argv[0]} cannot be run: {error.strerror}") from error
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    failed = [code for code in codes if code]
    return 0 if not failed else failed[0] if failed[0] > 0 else 128 - failed[0]
