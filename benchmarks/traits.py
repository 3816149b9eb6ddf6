"""Whether the reasons that a verdict gives are right: ten models with one trait each, or none.

    python benchmarks/traits.py
    python benchmarks/traits.py --only predict compiled

Each model is compared as after a search, without Ray: TensorFlow's default with one process of one
thread and with two such processes. Of what the verdict says the trait's sentence has to be there,
and no other one's. It needs two CPUs, and for the model under a quota the right to make a cgroup.
"""

import argparse
import contextlib
import fcntl
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import cloudpickle
from machines import UnavailableError, cgroup, neighbours

from kamerton_ray import Objective
from kamerton_ray.answer.candidates import Kind
from kamerton_ray.answer.deciding import decide
from kamerton_ray.answer.rounds import Contest
from kamerton_ray.answer.verdict import Verdict
from kamerton_ray.machine.hardware import UNKNOWN
from kamerton_ray.trial.bench import Bench, BenchOptions, Isolation
from kamerton_ray.trial.timing import TimingOptions

FINALISTS = [{"instances": n, "intra_op": 1, "inter_op": 1} for n in (1, 2)]

LOCK = Path(tempfile.gettempdir()) / f"kamerton-ray-traits-{os.getpid()}"
"""What the instances of `sharing` share."""

TRAITS = {
    "Python": "Python: ",
    "input": "Input: ",
    "memory": "Memory: ",
    "one thread": "One thread does nearly all",
    "threads that wait": "Threads that wait",
    "crowded": "Instances in each other's way",
    "two groups": "The rounds fall into two groups",
    "quota": "The CPU quota made",
    "neighbour": "The machine was busy",
}
"""How the sentence of each begins."""


def dense():
    """Large dense layers, which two threads share well."""
    import tensorflow as tf

    layer, x = tf.random.uniform((1024, 1024)), tf.random.uniform((512, 1024))
    return tf.function(lambda: tf.matmul(tf.matmul(x, layer), layer))


def mobilenet():
    """MobileNetV2, whose threads wait for each other between its many small operations."""
    import tensorflow as tf

    model = tf.keras.applications.MobileNetV2((96, 96, 3), weights=None)
    call, x = tf.function(model), tf.random.uniform((8, 96, 96, 3))
    return lambda: call(x)


def predict():
    """A small model behind Keras's `predict`."""
    import tensorflow as tf

    model = tf.keras.Sequential([tf.keras.Input((64,)), tf.keras.layers.Dense(64)])
    x = tf.random.uniform((8, 64)).numpy()
    return lambda: model.predict(x, verbose=0)


def starved():
    """A small model that waits for a dataset which makes its batches one by one."""
    import tensorflow as tf

    x = tf.random.uniform((256, 256))
    product = lambda _: tf.linalg.expm(x)  # noqa: E731 - what a batch costs
    batches = iter(tf.data.Dataset.range(1 << 40).map(product))
    call = tf.function(lambda batch: tf.matmul(batch, x))
    return lambda: call(next(batches))


def compiled():
    """A loop that XLA has compiled: on a CPU it runs on one thread."""
    import tensorflow as tf

    x = tf.random.uniform((64, 64))

    @tf.function(jit_compile=True)
    def step():
        found = x
        for _ in range(40):
            found = tf.tanh(tf.matmul(found, x)) + tf.sin(found)
        return found

    return step


def allocating():
    """Images that NumPy scales before each call, into memory that it takes anew from the kernel."""
    import numpy as np
    import tensorflow as tf

    images = np.ones((12, 512, 512, 3), np.float32)
    call = tf.function(tf.reduce_max)
    return lambda: call(images / 255)


def sharing():
    """Dense layers under a lock that all instances share, which spins, as locks in memory do.

    Cache lines that several write, or bandwidth, would be as good a trait, but what they cost
    depends on where the machine's two CPUs lie.
    """
    import tensorflow as tf

    call, lock = dense(), LOCK.open("w")

    def step():
        while not taken(lock):
            continue
        found = call()
        fcntl.lockf(lock, fcntl.LOCK_UN)
        tf.reduce_sum(found)
        return found

    return step


def taken(lock: IO[str]) -> bool:
    """Take a lock, unless another process has it."""
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def moody(config):
    """As TensorFlow's default fast in some processes and slow in others."""
    import tensorflow as tf

    x = tf.random.uniform((1024, 1024))
    moods = [8] if config["intra_op"] else [6, 10]
    times = random.Random(os.getpid()).choice(moods)  # noqa: S311 - not for secrets

    @tf.function
    def step():
        found = x
        for _ in range(times):
            found = tf.matmul(found, x)
        return found

    return step


@dataclass(frozen=True)
class Model:
    """A model, and what should be said of it.

    Attributes:
        build: Builds its step.
        trait: Which sentence; empty for none.
        may: Which other one may be said, since it has that as well.
        times: How many times the usual seconds it is compared for.
        under_quota: Whether it has one CPU by a quota.
        beside: Whether another process takes a CPU meanwhile.
    """

    build: Callable
    trait: str = ""
    may: str = ""
    times: float = 1.0
    under_quota: bool = False
    beside: bool = False


MODELS = {
    "dense": Model(dense),
    "mobilenet": Model(mobilenet, "threads that wait"),
    "predict": Model(predict, "Python"),
    "starved": Model(starved, "input"),
    "compiled": Model(compiled, "one thread"),
    "allocating": Model(allocating, "memory", may="crowded"),
    "sharing": Model(sharing, "crowded"),
    "moody": Model(moody, "two groups", times=4.0),
    "under a quota": Model(dense, "quota", under_quota=True),
    "beside another": Model(dense, "neighbour", beside=True),
}


def compared(build: Callable, seconds: float) -> Verdict:
    """What a verdict says of a model."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    options = BenchOptions(
        timing=TimingOptions(warmup_s=0.5, budget_s=2.0, patience_s=0.0),
        timeout_s=60.0,
        pair=True,
        env={},
        isolation=Isolation.FORK,
    )
    bench = Bench(build, options)
    try:
        contest = Contest(bench, FINALISTS, Objective(), budget_s=seconds)
        while not contest.step():
            continue
    finally:
        bench.close()
        LOCK.unlink(missing_ok=True)
    return decide(contest.course, Objective(), searched=Kind(UNKNOWN, [], []))


def circumstances(model: Model) -> contextlib.AbstractContextManager[object]:
    """A busy process beside the model, where it is to have one."""
    return neighbours(1) if model.beside else contextlib.nullcontext()


def in_a_cgroup(name: str, seconds: float) -> bool:
    """Have this script run a model in a cgroup that gives it one CPU; whether that was right."""
    with cgroup(cpus=1.0) as procs:
        command = [sys.executable, __file__, "--only", name, "--seconds", str(seconds), "--inside"]
        join = f'echo $$ > {procs} && exec "$@"'
        return subprocess.run(["/bin/sh", "-c", join, "sh", *command], check=False).returncode == 0


def is_right(name: str, options: argparse.Namespace) -> bool:
    """Whether what is said of a model is right, which is printed with it."""
    model, begin = MODELS[name], time.monotonic()
    if model.under_quota and not options.inside:
        try:
            return in_a_cgroup(name, options.seconds)
        except UnavailableError as error:
            print(f"{name}: left out, {error}")
            return True
    with circumstances(model):
        found = compared(model.build, model.times * options.seconds)
    texts = [found.sentence, *found.reasons]
    said = {trait for trait, text in TRAITS.items() if any(one.startswith(text) for one in texts)}
    right = said - {model.may} == {model.trait} - {""}
    print(
        f"{'right' if right else 'WRONG'}  {name} ({time.monotonic() - begin:.0f} s): "
        f"{', '.join(sorted(said)) or 'nothing'}; wanted {model.trait or 'nothing'}"
    )
    print("".join(f"    {text}\n" for text in texts), end="", flush=True)
    return right


def main() -> None:
    """Compare each, and print what was said."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seconds", type=float, default=25.0, help="for each (%(default)s)")
    parser.add_argument("--inside", action="store_true", help="the cgroup is there already")
    options = parser.parse_args()
    right = [is_right(name, options) for name in options.only]
    if len(right) > 1:
        print(f"{sum(right)} of {len(right)} right")
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
