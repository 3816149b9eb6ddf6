"""Surfaces to search on: step times over thread counts whose true minimum is known.

Six kinds. `parametric` machines and graphs, drawn at random from a model of what threads do;
`combed`, others of them with teeth, quotas and valleys between the powers of two; `published`, a
measured curve over cores crossed with models of inter-op parallelism; `recorded`, grids that
record.py measured; `served`, a model served by several processes under a constraint; `measured`,
tables of whoever measured them. A third of those that are drawn and half of the recorded surfaces
are held out: look at the others only while designing.
"""

import csv
import functools
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from kamerton_ray import AtMost

RECORDED = Path(__file__).parent / "surfaces"

# ResNet50 at batch 1, milliseconds on 1 to 56 cores of two Xeon 8180M (28 cores each): intel-
# extension-for-pytorch, intel_extension_for_pytorch/cpu/hypertune/example/record.csv.
RESNET50_MS = [
    *(69.55, 39.55, 30.18, 24.36, 20.67, 17.92, 16.35, 15.31, 15.00, 13.98, 13.13, 12.96, 13.63),
    *(13.02, 12.34, 13.21, 13.01, 13.06, 12.60, 12.68, 13.40, 12.63, 12.93, 12.46, 13.55, 13.41),
    *(13.41, 14.26, 13.96, 14.08, 13.53, 14.55, 14.29, 14.33, 14.60, 14.33, 13.75, 14.62, 14.52),
    *(13.69, 13.83, 13.98, 13.08, 12.50, 13.20, 13.09, 13.12, 12.89, 13.95, 13.82, 13.20, 13.56),
    *(13.33, 13.55, 13.67, 13.42),
]

BATCHES = (1, 2, 4, 8, 16, 32, 64)

LEAST_SOCKETED = 16
"""From so many cores on a machine may have two sockets."""

Config = dict[str, int]


@dataclass(frozen=True)
class Surface:
    """A step time for each configuration.

    Attributes:
        name: What it is called.
        family: What kind of surface it is.
        axes: The values of each knob, in order.
        start: TensorFlow's default, which every searcher measures first.
        seconds: The true step time of a configuration.
        held_out: Whether it is kept for the final comparison.
        constraint: What a configuration has to keep, if anything.
        smooth: The same step time without what each configuration has for itself, by chance and
            unlike its neighbours; None where it has nothing, or nobody knows.
    """

    name: str
    family: str
    axes: dict[str, tuple[int, ...]]
    start: Config
    seconds: Callable[[Config], float]
    held_out: bool
    constraint: AtMost | None = None
    smooth: Callable[[Config], float] | None = None

    @functools.cached_property
    def optimum(self) -> float:
        """The least true step time."""
        return min(self.seconds(config) for config in self.configs())

    def configs(self) -> list[Config]:
        """Every configuration that keeps the constraint."""
        every = itertools.product(*self.axes.values())
        return [
            c
            for values in every
            if self.excess(c := dict(zip(self.axes, values, strict=True))) <= 0
        ]

    def excess(self, config: Config) -> float:
        """How far a configuration lies beyond the constraint; not above 0 where it keeps it."""
        if self.constraint is None:
            return 0.0
        product = math.prod(config[name] for name in self.constraint.product)
        return math.log(product / self.constraint.most)

    def regret(self, config: Config) -> float:
        """By which share a configuration is truly slower than the best."""
        return self.seconds(config) / self.optimum - 1


class Tooth(Enum):
    """Which numbers of threads are slow: those by which the work is not shared out evenly."""

    ODD = "odd"
    FOUR = "no multiples of four"
    CORES = "no divisors of the cores"
    BATCH = "no divisors of the batch"

    def has(self, threads: int, *, cores: int, batch: int) -> bool:
        """Whether so many threads are slow; one never is."""
        if threads == 1:
            return False
        evenly = {
            Tooth.ODD: threads % 2,
            Tooth.FOUR: threads % 4,
            Tooth.CORES: cores % threads,
            Tooth.BATCH: batch % threads,
        }
        return evenly[self] != 0


@dataclass(frozen=True)
class Machine:
    """A CPU server, and what threads cost on it.

    Attributes:
        cores: Physical cores.
        smt: What a core's second thread adds; 0 without one.
        sockets: Among how many sockets the cores are spread.
        remote: How much slower work is that is spread over two sockets.
        sync: What each further thread costs an operation, as a share of a core's work.
        crowd: How much more threads than CPUs cost.
        comb: How much slower the numbers of threads are that are slow.
        tooth: Which these are.
        batch: The batch that is shared out.
        quota: How many CPUs' time a container may take.
    """

    cores: int
    smt: float
    sockets: int
    remote: float
    sync: float
    crowd: float
    comb: float
    tooth: Tooth = Tooth.ODD
    batch: int = 1
    quota: float = math.inf

    @property
    def cpus(self) -> int:
        """Logical CPUs, which is TensorFlow's default for both counts."""
        return self.cores * (2 if self.smt else 1)

    def speed(self, threads: float) -> float:
        """How many cores' work so many threads do."""
        whole = min(threads, self.cores)
        second = self.smt * max(0.0, min(threads, self.cpus) - self.cores)
        across = self.remote if threads > self.cores / self.sockets and self.sockets > 1 else 0.0
        over = self.crowd * max(0.0, threads / min(self.cpus, self.quota) - 1)
        return float(min(whole + second, self.quota) / (1 + across) / (1 + over))

    def lag(self, intra: int) -> float:
        """How many times longer an operation takes that so many threads share out unevenly."""
        return 1 + self.comb * self.tooth.has(intra, cores=self.cores, batch=self.batch)


@dataclass(frozen=True)
class Graph:
    """A model's graph.

    Attributes:
        serial: The share of an operation that one thread does alone.
        width: How many operations can run at once.
        wide: The share of the work that lies where the graph is wide.
        dispatch: What handing an operation to another thread costs, as a share of the work.
        cache: From which batch size on the data no longer fit in the caches.
    """

    serial: float
    width: int
    wide: float
    dispatch: float
    cache: int

    def seconds(self, machine: Machine, intra: int, inter: int, load: float = 1.0) -> float:
        """The step time, where other work leaves 1 / load of the machine."""

        def operation(at_once: int) -> float:
            threads = intra * at_once
            share = machine.speed(threads * load) / load / at_once
            work = self.serial + (1 - self.serial) / min(share, intra)
            return work * machine.lag(intra) + machine.sync * (intra - 1)

        at_once = max(1, min(inter, self.width))
        rounds = math.ceil(self.width / at_once) / self.width
        waiting = self.dispatch * (inter - 1) + machine.crowd * 0.1 * max(
            0.0, (intra + inter) * load / machine.cpus - 1
        )
        return (1 - self.wide) * operation(1) + self.wide * rounds * operation(at_once) + waiting


def parametric(count: int, knobs: int = 2, seed: int = 0) -> list[Surface]:
    """So many machines and graphs; every third is held out."""
    return [_drawn(number, knobs, seed) for number in range(count)]


def _drawn(number: int, knobs: int, seed: int) -> Surface:
    rng = np.random.default_rng([seed, knobs, number])
    cores = int(rng.choice([2, 4, 8, 12, 16, 24, 32, 48, 64]))
    sockets = int(rng.choice([1, 2])) if cores >= LEAST_SOCKETED else 1
    machine = Machine(
        cores=cores,
        smt=float(rng.choice([0.0, rng.uniform(-0.1, 0.35)])),
        sockets=sockets,
        remote=float(rng.uniform(0.0, 0.6)),
        sync=float(10 ** rng.uniform(-4.5, -2)),
        crowd=float(rng.uniform(0.05, 1.5)),
        comb=float(rng.choice([0.0, rng.uniform(0.02, 0.12)])),
    )
    graph = Graph(
        serial=float(10 ** rng.uniform(-2.5, -0.3)),
        width=int(rng.choice([1, 1, 2, 3, 4, 8, 12])),
        wide=float(rng.uniform(0.2, 1.0)),
        dispatch=float(10 ** rng.uniform(-4.5, -2)),
        cache=int(rng.choice([4, 8, 16, 32])),
    )
    most = max(4, machine.cpus)
    counts = tuple(range(1, most + 1))
    axes = {"intra_op": counts, "inter_op": counts}
    start = {"intra_op": machine.cpus, "inter_op": machine.cpus}
    if knobs >= 3:  # noqa: PLR2004 - the third and fourth knob
        # Three counts together would be a lattice too large to know its minimum.
        axes = {"intra_op": counts, "inter_op": tuple(range(1, min(most, 16) + 1))}
        start["inter_op"] = min(most, 16, machine.cpus)
        axes["instances"] = tuple(range(1, min(cores, 16) + 1))
        start["instances"] = 1
    if knobs >= 4:  # noqa: PLR2004
        axes["batch"] = BATCHES
        start["batch"] = BATCHES[0]
    rough = rng.uniform(0.0, 0.02)

    def smooth(config: Config) -> float:
        instances, batch = config.get("instances", 1), config.get("batch", 1)
        taken = graph.seconds(machine, config["intra_op"], config["inter_op"], load=instances)
        spill = 1 + 0.15 * max(0.0, math.log2(batch * instances / graph.cache))
        return (taken * spill + 0.3 * graph.serial / batch) / instances

    @functools.cache
    def seconds(*values: int) -> float:
        bump = np.random.default_rng([seed, number, *values]).standard_normal()
        return float(smooth(dict(zip(axes, values, strict=True))) * math.exp(rough * bump))

    return Surface(
        name=f"{knobs} knobs, machine {number}",
        family=f"parametric, {cores} cores",
        axes=axes,
        start=start,
        seconds=lambda config: seconds(*(config[name] for name in axes)),
        held_out=number % 3 == 2,  # noqa: PLR2004 - every third
        smooth=smooth,
    )


def combed(count: int, seed: int = 0) -> list[Surface]:
    """So many machines of any number of cores on which few numbers of threads are good.

    A published curve has such teeth: on 18 cores GPT-2 takes 1.00 with 16 threads, 1.06 with 18 and
    1.71 with 17 (Packrat, ICML 2025). Every third is held out.
    """
    return [_combed(number, seed) for number in range(count)]


# Not powers of two alone: between these lie other divisors.
CORES = (2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 36, 40, 48, 56, 64, 96, 128)
FEW_INTER = 16


def _combed(number: int, seed: int) -> Surface:
    rng = np.random.default_rng([seed, number, 5])
    cores = int(rng.choice(CORES))
    smt = float(rng.choice([0.0, rng.uniform(-0.1, 0.35)]))
    cpus = cores * (2 if smt else 1)
    serial = float(10 ** rng.uniform(-2.5, -0.3))
    lowest = cores ** rng.uniform(0.2, 1.0)  # where more threads would cost what they save
    machine = Machine(
        cores=cores,
        smt=smt,
        sockets=int(rng.choice([1, 2])) if cores >= LEAST_SOCKETED else 1,
        remote=float(rng.uniform(0.0, 0.6)),
        sync=(1 - serial) / lowest**2,
        crowd=float(rng.uniform(0.05, 1.5)),
        comb=float(rng.uniform(0.0, 0.7)),
        tooth=list(Tooth)[rng.integers(len(Tooth))],
        batch=int(rng.choice([8, 12, 16, 24, 32, 48, 64, 96, 128])),
        quota=float(rng.choice([math.inf, math.inf, rng.uniform(1, cpus)])),
    )
    graph = Graph(
        serial=serial,
        width=int(rng.choice([1, 1, 2, 3, 4, 8, 12])),
        wide=float(rng.uniform(0.2, 1.0)),
        dispatch=float(10 ** rng.uniform(-4.5, -2)),
        cache=1,
    )
    rough = rng.uniform(0.0, 0.02)
    few = min(max(4, cpus), FEW_INTER)

    smooth = functools.partial(graph.seconds, machine)

    @functools.cache
    def seconds(intra: int, inter: int) -> float:
        bump = np.random.default_rng([seed, number, intra, inter, 5]).standard_normal()
        return smooth(intra, inter) * math.exp(rough * bump)

    return Surface(
        name=f"combed, machine {number}",
        family="combed",
        axes={"intra_op": tuple(range(1, max(4, cpus) + 1)), "inter_op": tuple(range(1, few + 1))},
        start={"intra_op": cpus, "inter_op": min(cpus, few)},
        seconds=lambda config: seconds(config["intra_op"], config["inter_op"]),
        held_out=number % 3 == 2,  # noqa: PLR2004 - every third
        smooth=lambda config: smooth(config["intra_op"], config["inter_op"]),
    )


@dataclass(frozen=True)
class Served:
    """A model that several processes on one machine serve, each with threads of its own.

    Attributes:
        cpus: How many CPUs the machine has.
        serial: The share of the work that one thread does alone (Amdahl).
        sync: What each further thread costs, as a share of the work.
        width: How many operations can run at once.
        wide: The share of the work that lies where the graph is wide.
        dispatch: What each further inter-op thread costs.
        traffic: How much slower all work is where all CPUs use the memory.
        weights: How much slower it is where every CPU has a copy of the model in the caches.
        crowd: What twice as many threads as CPUs cost.
    """

    cpus: int
    serial: float
    sync: float
    width: int
    wide: float
    dispatch: float
    traffic: float
    weights: float
    crowd: float

    def seconds(self, instances: int, intra: int, inter: int) -> float:
        """The time for a step, of whichever process."""
        at_once = min(inter, self.width)
        # Operations that run at once share the pool, but each has a thread of its own.
        shared = 1 + (intra - 1) / at_once
        rounds = math.ceil(self.width / at_once) / self.width
        alone = (1 - self.wide) * self._operation(intra) + self.wide * rounds * (
            self._operation(shared)
        )
        alone += self.dispatch * (inter - 1)
        busy = instances * (1 + self.sync * (intra - 1)) / alone
        waiting = max(1.0, busy / self.cpus)
        threads = instances * ((1 - self.wide) * intra + self.wide * (intra + at_once - 1))
        crowded = 1 + self.crowd * max(0.0, math.log2(threads / self.cpus))
        contention = self.traffic * min(1.0, busy / self.cpus)
        contention += self.weights * (instances - 1) / self.cpus
        return alone * waiting * crowded * (1 + contention) / instances

    def _operation(self, threads: float) -> float:
        return self.serial + (1 - self.serial) / threads + self.sync * (threads - 1)


def served(count: int, seed: int = 0) -> list[Surface]:
    """So many models and machines, with threads and processes to choose; every third is held out.

    On 16 cores instances of fewer threads served 1.43 to 1.83 times what one process did (Packrat,
    ICML 2025); on 2 cores two processes of one thread 1.29 to 2.02 times (measured here).
    """
    return [_served(number, seed) for number in range(count)]


def _served(number: int, seed: int) -> Surface:
    rng = np.random.default_rng([seed, number, 3])
    cpus = int(rng.choice([2, 4, 8, 12, 16, 24, 32, 48, 64]))
    model = Served(
        cpus=cpus,
        serial=float(10 ** rng.uniform(-2.5, -0.3)),
        sync=float(10 ** rng.uniform(-4, -2)),
        width=int(rng.choice([1, 1, 2, 4, 8, 16])),
        wide=float(rng.uniform(0.2, 1.0)),
        dispatch=float(10 ** rng.uniform(-4.5, -2)),
        traffic=float(rng.uniform(0.0, 1.0)),
        weights=float(rng.choice([0.0, rng.uniform(0.0, 3.0)])),
        crowd=float(rng.uniform(0.05, 0.6)),
    )
    rough = rng.uniform(0.0, 0.02)
    counts, few = tuple(range(1, cpus + 1)), tuple(range(1, min(cpus, 16) + 1))

    @functools.cache
    def seconds(instances: int, intra: int, inter: int) -> float:
        bump = np.random.default_rng([seed, number, instances, intra, inter]).standard_normal()
        return model.seconds(instances, intra, inter) * math.exp(rough * bump)

    return Surface(
        name=f"served, machine {number}",
        family=f"served, {cpus} CPUs",
        axes={"instances": counts, "intra_op": counts, "inter_op": few},
        start={"instances": 1, "intra_op": cpus, "inter_op": few[-1]},
        seconds=lambda config: seconds(config["instances"], config["intra_op"], config["inter_op"]),
        held_out=number % 3 == 2,  # noqa: PLR2004 - every third
        constraint=AtMost(("instances", "intra_op"), 2 * cpus),
    )


def published() -> list[Surface]:
    """ResNet50's curve, crossed with what inter-op threads do for a chain and for branches."""
    found = []
    counts = tuple(range(1, len(RESNET50_MS) + 1))
    # The share of the work that lies in branches, and how many: a chain; the two paths of a
    # residual block; the four of an inception block.
    for number, (width, wide) in enumerate([(1, 0.0), (2, 0.3), (4, 0.8)]):

        def seconds(config: Config, width: int = width, wide: float = wide) -> float:
            intra, inter = config["intra_op"], config["inter_op"]
            at_once = min(inter, width)
            # Operations that run at once share the cores.
            narrow, shared = RESNET50_MS[intra - 1], RESNET50_MS[max(1, intra // at_once) - 1]
            crowd = 0.002 * (inter - 1) + 0.3 * max(0.0, (intra + inter) / len(counts) - 1)
            return ((1 - wide) * narrow + wide * shared / at_once) * (1 + crowd) / 1e3

        found.append(
            Surface(
                name=f"ResNet50, {width} wide",
                family="published",
                axes={"intra_op": counts, "inter_op": counts},
                start={"intra_op": counts[-1], "inter_op": counts[-1]},
                seconds=seconds,
                held_out=number == 1,
            )
        )
    return found


def recorded() -> list[Surface]:
    """The grids of record.py, each the geometric mean of its passes; every second is held out."""
    found = []
    for number, path in enumerate(sorted(RECORDED.glob("*.json"))):
        surface = json.loads(path.read_text(encoding="utf-8"))
        speedups = np.exp(np.mean([np.log(p["speedups"]) for p in surface["passes"]], axis=0))
        cpus = surface["passes"][0]["machine"]["usable_cpus"]
        found.append(
            Surface(
                name=surface["model"],
                family="recorded",
                axes={
                    name: tuple(range(1, length + 1))
                    for name, length in zip(("intra_op", "inter_op"), speedups.shape, strict=True)
                },
                start={"intra_op": cpus, "inter_op": cpus},
                seconds=lambda config, speedups=speedups: float(
                    1 / speedups[config["intra_op"] - 1, config["inter_op"] - 1]
                ),
                held_out=number % 2 == 1,
            )
        )
    return found


def measured(folder: Path) -> list[Surface]:
    """Surfaces of other origin: CSV files of which each row is a configuration and its `seconds`.

    The table holds every configuration. The default is the one with the most of everything.
    """
    return [_measured(path) for path in sorted(folder.glob("*.csv"))]


def _measured(path: Path) -> Surface:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name != "seconds"]
    seconds = {tuple(int(row[name]) for name in names): float(row["seconds"]) for row in rows}
    axes = {name: tuple(sorted({key[i] for key in seconds})) for i, name in enumerate(names)}
    if len(seconds) != math.prod(map(len, axes.values())):
        raise ValueError(f"a table has to hold every configuration, but {path} does not")
    return Surface(
        name=path.stem,
        family="measured",
        axes=axes,
        start={name: values[-1] for name, values in axes.items()},
        seconds=lambda config: seconds[tuple(config[name] for name in names)],
        held_out=True,
    )
