"""What more nodes bring, up to 256 of them: Tune's own loop and the searcher, in simulated time.

`tune.run` runs as it is: controller, limiter, searcher, loggers, checkpoints. Only its actors are
simulated, a node each, and its clock, which leaps from event to event. A trial takes 4 to 6 s and
0.14 s (docs/explanation/step-time.md), one in fifty three times as long; a new actor imports
TensorFlow in 6 to 10 s; a value has 2 % noise and outliers, as in search.py, whose held-out
surfaces are searched.

For "all nodes busy" so many points are given that every node always has one. There `ray.wait` is
the real one, with as many futures as there are nodes; what Ray's calls cost the driver beside is
the difference between the real loop, with few actors that return at once, and the simulated one.
A utilisation is that cost times the trials that end in a second. CPU time is that of the thread
that runs the loop; those of Ray's that run beside it do not hold it up.

Tune's default loggers are off (TUNE_DISABLE_AUTO_CALLBACK_LOGGERS), as on the command line.
"""

import argparse
import contextlib
import heapq
import itertools
import logging
import math
import os
import random
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import numpy as np
import ray
from ray import tune
from ray.air.execution._internal.tracked_actor import TrackedActor
from rivals import OUTLIERS
from search import NEVER, Where, surfaces
from surfaces import Surface

from kamerton_ray import NelderMeadSearcher, benchmark

TRIAL_S, IMPORT_S = [4.0, 6.0], [6.0, 10.0]
OVERHEAD_S, RESET_S = 0.14, 0.01
STRAGGLERS, STRAGGLES = 0.02, 3.0
NOISE = 0.02
MACHINES = 15
"""So many parametric surfaces, a third of them held out, beside the published and recorded."""

FEW = 4
"""So many real actors."""

SIDE = 256
"""The values on each of two axes, where thousands of points are given."""

KEEPS_GOING = 10**6
"""The patience of a search that is not to end."""

Trial = Callable[[dict[str, Any]], tuple[float, dict[str, Any]]]
"""A trial's seconds and its result, by its configuration."""


class Clock:
    """Simulated time, in place of the module `time`; what the driver computes takes time, too."""

    def __init__(self) -> None:
        """Start."""
        self._leapt = -time.thread_time()

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self._leapt + time.thread_time()

    time = monotonic

    def sleep(self, seconds: float) -> None:
        """Let them pass, or take some back that were not the driver's."""
        self._leapt += seconds


class Fleet:
    """Nodes with one actor each, in simulated time, in place of Ray's `RayActorManager`.

    Attributes:
        busy_s: The seconds that all nodes together spent in trials.
        ended_s: When the last trial ended.
        trials: How many ended.
        actors: How many were started, those too that Tune dropped before they ran a trial.
        waited_for: Real futures of which as many as there are tasks are waited for in each step.
    """

    def __init__(self, nodes: int, clock: Clock, trial: Trial, import_s: list[float]) -> None:
        self.busy_s = self.ended_s = 0.0
        self.trials = self.actors = 0
        self.waited_for: list[ray.ObjectRef] = []
        self.watch: Callable[[float], None] = lambda _: None
        self._nodes, self._clock, self._trial, self._import_s = nodes, clock, trial, import_s
        self._rng = random.Random(0)  # noqa: S311
        self._numbers = itertools.count()
        self._events: list[tuple[float, int, TrackedActor, Callable[[], None]]] = []
        self._configs: dict[TrackedActor, dict[str, Any]] = {}
        self._pending: list[TrackedActor] = []
        self._live_actors_to_ray_actors_resources: dict[TrackedActor, tuple[None, None]] = {}

    # What Tune's controller asks of its actor manager.

    num_pending_actors = property(lambda self: len(self._pending))
    num_live_actors = property(lambda self: len(self._live_actors_to_ray_actors_resources))
    num_total_actors = property(lambda self: self.num_pending_actors + self.num_live_actors)
    num_actor_tasks = property(lambda self: len(self._events))

    def is_actor_started(self, tracked_actor: TrackedActor) -> bool:
        """Whether it has a node."""
        return tracked_actor in self._live_actors_to_ray_actors_resources

    def is_actor_failed(self, tracked_actor: TrackedActor) -> bool:  # noqa: ARG002
        """None ever does."""
        return False

    def add_actor(
        self, *, kwargs: dict[str, Any], on_start, on_stop, on_error, **_: object
    ) -> TrackedActor:
        """Have an actor started as soon as there is a node for it."""
        actor = TrackedActor(next(self._numbers), on_start, on_stop, on_error)
        self._configs[actor] = kwargs["config"]
        self._pending.append(actor)
        return actor

    def remove_actor(self, tracked_actor: TrackedActor, **_: object) -> bool:
        """Free the actor's node; False where it had none yet."""
        del self._configs[tracked_actor]
        if tracked_actor in self._pending:
            self._pending.remove(tracked_actor)
            return False
        self.clear_actor_task_futures(tracked_actor)  # it may be starting still
        self._after(RESET_S, tracked_actor, lambda: self._gone(tracked_actor))
        return True

    def schedule_actor_task(
        self, tracked_actor: TrackedActor, method_name: str, args=(), on_result=None, **_: object
    ) -> None:
        """Let an actor train, or take up another configuration; both end later."""
        if method_name == "reset":
            [self._configs[tracked_actor]] = args
            self._after(RESET_S, tracked_actor, lambda: on_result(tracked_actor, True))  # noqa: FBT003
        elif method_name == "train":
            with self._aside():
                seconds, result = self._trial(self._configs[tracked_actor])
            self._after(
                seconds, tracked_actor, lambda: self._end(tracked_actor, seconds, result, on_result)
            )

    def clear_actor_task_futures(self, tracked_actor: TrackedActor) -> None:
        """Forget what the actor was doing."""
        if any(actor == tracked_actor for _, _, actor, _ in self._events):
            self._events = [event for event in self._events if event[2] != tracked_actor]
            heapq.heapify(self._events)

    def next(self, timeout: float) -> bool:
        """Go to the next event, if there is one within `timeout` seconds."""
        while self._pending and self.num_live_actors < self._nodes:
            self._start(self._pending.pop(0))
        if some := self.waited_for[: len(self._events)]:
            random.shuffle(some)  # as Ray does
            ray.wait(some, num_returns=1, timeout=0.001)
        wait = self._events[0][0] - self._clock.monotonic() if self._events else math.inf
        self._clock.sleep(min(max(wait, 0.0), timeout))
        if wait > timeout:
            return False
        heapq.heappop(self._events)[-1]()
        return True

    def cleanup(self) -> None:
        """Nothing is left behind."""

    # What happens.

    def _start(self, actor: TrackedActor) -> None:
        self.actors += 1
        self._live_actors_to_ray_actors_resources[actor] = (None, None)
        self._after(self._rng.uniform(*self._import_s), actor, lambda: actor._on_start(actor))  # noqa: SLF001

    def _end(self, actor: TrackedActor, seconds: float, result: dict[str, Any], on_result) -> None:
        self.busy_s += seconds
        self.ended_s = self._clock.monotonic()
        self.trials += 1
        on_result(actor, result)
        with self._aside():
            self.watch(self.ended_s)

    def _gone(self, actor: TrackedActor) -> None:
        del self._live_actors_to_ray_actors_resources[actor]
        if actor._on_stop:  # noqa: SLF001
            actor._on_stop(actor)  # noqa: SLF001

    def _after(self, seconds: float, actor: TrackedActor, happen: Callable[[], None]) -> None:
        heapq.heappush(
            self._events, (self._clock.monotonic() + seconds, next(self._numbers), actor, happen)
        )

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """No time passes: this is not the driver's work."""
        begin = time.thread_time()
        yield
        self._clock.sleep(begin - time.thread_time())


class Timed(NelderMeadSearcher):
    """The searcher, which counts CPU seconds.

    Attributes:
        cpu_s: Its own.
        told: The loop's thread's, and of these its own, after each result.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        """As the searcher."""
        super().__init__(*args, **kwargs)
        self.cpu_s = 0.0
        self.told: list[tuple[float, float]] = []

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The searcher's."""
        begin = time.thread_time()
        found = super().suggest(trial_id)
        self.cpu_s += time.thread_time() - begin
        return found

    def on_trial_complete(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """The searcher's."""
        begin = time.thread_time()
        super().on_trial_complete(*args, **kwargs)
        end = time.thread_time()
        self.cpu_s += end - begin
        self.told.append((end, self.cpu_s))

    @property
    def rest_ms(self) -> float:
        """What all but the searcher costs a trial, once the first half of them has ended."""
        half = len(self.told) // 2
        (begin, before), (end, after) = self.told[half], self.told[-1]
        return 1e3 * (end - begin - after + before) / (len(self.told) - half - 1)


def run(trainable: type[tune.Trainable], searcher: NelderMeadSearcher, nodes: int) -> None:
    """A whole run of Tune."""
    with tempfile.TemporaryDirectory() as results:
        tune.run(
            trainable,
            search_alg=searcher,
            num_samples=-1,
            max_concurrent_trials=nodes,
            reuse_actors=True,
            storage_path=results,
            verbose=0,
        )


def simulated(
    searcher: NelderMeadSearcher,
    nodes: int,
    trial: Trial,
    *,
    import_s: list[float] = IMPORT_S,
    waited_for: list[ray.ObjectRef] | None = None,
    watch: Callable[[float], None] = lambda _: None,
) -> Fleet:
    """A whole run of Tune on simulated nodes."""
    clock = Clock()
    fleet = Fleet(nodes, clock, trial, import_s)
    fleet.waited_for, fleet.watch = waited_for or [], watch
    searcher._clock = clock.monotonic  # noqa: SLF001
    loop = "ray.tune.execution"
    with (
        mock.patch(f"{loop}.tune_controller.RayActorManager", return_value=fleet),
        mock.patch(f"{loop}.tune_controller.time", clock),
        mock.patch(f"{loop}.experiment_state.time", clock),
    ):
        run(benchmark(lambda: None), searcher, nodes)
    return fleet


# --- searches -------------------------------------------------------------------------------------


@dataclass
class Search:
    """What a search came to.

    Attributes:
        fleet: The nodes it ran on.
        nodes: How many those were.
        searcher_ms: The searcher's CPU milliseconds a trial.
        reached: After how many seconds the recommended configuration was truly within a share.
    """

    fleet: Fleet
    nodes: int
    searcher_ms: float
    reached: dict[float, float]

    @property
    def idle(self) -> float:
        """The share of the nodes' time, until the last trial ended, without a trial."""
        return 1 - self.fleet.busy_s / (self.nodes * self.fleet.ended_s)


def noisy(surface: Surface, seed: int) -> Trial:
    """Trials that take as long as measured ones, and give a noisy step time."""
    rng = np.random.default_rng([seed, zlib.crc32(surface.name.encode())])

    def trial(config: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        seconds = rng.uniform(*TRIAL_S) * (STRAGGLES if rng.random() < STRAGGLERS else 1)
        value = surface.seconds(config) * float(np.exp(NOISE * rng.standard_normal()))
        if rng.random() < OUTLIERS:
            value *= float(rng.uniform(1.3, 2.0))
        return float(seconds) + OVERHEAD_S, result(value)

    return trial


def result(value: float) -> dict[str, Any]:
    """What an actor sends: a result of `benchmark`, as long as a real one, and Tune's own."""
    return {
        "seconds": value,
        **dict.fromkeys(("seconds_p90", "seconds_p99", "default_seconds"), value),
        **dict.fromkeys(("speedup", "speedup_low", "speedup_high", "measured_s"), 1.0),
        **dict.fromkeys(("outcome", "estimate", "isolation", "error"), "ok"),
        **dict.fromkeys(("blocks", "strays", "stolen", "settled", "cut_short"), 0),
        "machine": {"cpu_model": "", "usable_cpus": 1, "tensorflow": "", "onednn": ""},
        **dict.fromkeys(("time_this_iter_s", "time_total_s", "time_since_restore"), 5.0),
        **dict.fromkeys(("training_iteration", "iterations_since_restore"), 1),
        **dict.fromkeys(("timestamp", "pid"), 1),
        **dict.fromkeys(("hostname", "node_ip", "date"), "node"),
        "done": True,
    }


def searched(surface: Surface, seed: int, nodes: int, import_s: list[float]) -> Search:
    """One search, from TensorFlow's default, that ends by itself."""
    surface.optimum  # noqa: B018 - looked for once, and not by the driver
    space = {
        name: range(values[0], values[-1] + 1)
        if values == tuple(range(values[0], values[-1] + 1))
        else tune.choice(list(values))
        for name, values in surface.axes.items()
    }
    searcher = Timed(space, "seconds", "min", [surface.start], seed=seed)
    reached: dict[float, float] = {}

    def watch(now: float) -> None:
        for within in (0.05, 0.02):
            if surface.regret(searcher.best.config) <= within:
                reached.setdefault(within, now)

    fleet = simulated(searcher, nodes, noisy(surface, seed), import_s=import_s, watch=watch)
    return Search(fleet, nodes, 1e3 * searcher.cpu_s / fleet.trials, reached)


# --- all nodes busy -------------------------------------------------------------------------------


def given(count: int) -> Timed:
    """A searcher of so many given points, in any order."""
    axis = range(SIDE)
    everywhere = [{"x": x, "y": y} for x in axis for y in axis]
    points = random.Random(0).sample(everywhere, count)  # noqa: S311
    return Timed({"x": axis, "y": axis}, "seconds", "min", points, budget=count, repeats=0)


def steady() -> Trial:
    """Trials without stragglers."""
    rng = random.Random(0)  # noqa: S311

    def trial(config: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        return rng.uniform(*TRIAL_S) + OVERHEAD_S, result(1.0 + config["x"])

    return trial


def at_once(config: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """A trial that takes no time."""
    return 0.0, result(1.0 + config["x"])


class AtOnce(tune.Trainable):
    """A real trial that takes no time."""

    def step(self) -> dict[str, Any]:
        """Its result."""
        return result(1.0 + self.config["x"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:  # noqa: ARG002 - Ray sets it
        """Take up another configuration."""
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:  # noqa: ARG002
        """Nothing is kept."""
        return {}


@ray.remote(num_cpus=0, max_concurrency=1000)
class Never:
    """An actor whose tasks do not end."""

    async def end(self) -> None:
        """Wait for ever."""
        import asyncio

        await asyncio.Event().wait()


def calls_ms(trials: int) -> float:
    """The driver's CPU milliseconds a trial in Ray's calls, `ray.wait` among them."""
    real, alike = given(trials), given(trials)
    run(AtOnce, real, FEW)
    simulated(alike, FEW, at_once, import_s=[0.0, 0.0])
    return max(0.0, real.rest_ms - alike.rest_ms)


def loop_ms(nodes: int, trials: int, waited_for: list[ray.ObjectRef]) -> float:
    """The driver's CPU milliseconds a trial in Tune when all nodes are busy."""
    searcher = given(trials)
    simulated(searcher, nodes, steady(), waited_for=waited_for)
    return searcher.rest_ms


# --- memory ---------------------------------------------------------------------------------------


def resident_mb() -> float:
    """This process's memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory(trials: int) -> None:
    """Print how a long search grows, alone and within Tune's loop."""
    searcher = Timed(
        {"x": range(SIDE), "y": range(SIDE)}, "seconds", "min", patience=KEEPS_GOING, repeats=0
    )
    sizes, halves = [resident_mb()], []
    for half in range(2):
        searcher.cpu_s = 0.0
        for number in range(trials // 2):
            config = searcher.suggest(f"{half}-{number}")
            ripple = 40 * ((3 * config["x"] + 5 * config["y"]) % 7)
            value = (config["x"] - 5) ** 2 + (config["y"] - 7) ** 2 + ripple
            searcher.on_trial_complete(f"{half}-{number}", {"seconds": value})
        halves.append(2e3 * searcher.cpu_s / trials)
        sizes.append(resident_mb())
    print(
        f"searcher alone, {trials} trials: grows by {sizes[1] - sizes[0]:.1f} MB in the first "
        f"half and {sizes[2] - sizes[1]:.1f} MB in the second; {halves[0]:.2f} and "
        f"{halves[1]:.2f} ms of CPU a trial"
    )
    begin = resident_mb()
    simulated(given(trials), 256, steady())
    print(f"within Tune's loop, {trials} trials: grows by {resident_mb() - begin:.0f} MB")


# --- the table ------------------------------------------------------------------------------------


def middle(searches: list[Search], within: float) -> str:
    """After how many seconds half of the searches were so good."""
    found = statistics.median_low(one.reached.get(within, NEVER) for one in searches)
    return "never" if found == NEVER else f"{found:.0f}"


def table(args: argparse.Namespace) -> None:
    """Print a row for each number of nodes."""
    held_out = surfaces(Where(knobs=args.knobs, count=MACHINES, held_out=True))
    calls = calls_ms(max(args.load, 40))
    never = Never.remote()
    futures = [never.end.remote() for _ in range(max(args.nodes))]
    print(
        f"{args.knobs} knobs, {args.searches} searches for each number of nodes; "
        f"Ray's calls {calls:.1f} ms a trial\n"
    )
    print(
        "| nodes | within 5 %, s | within 2 %, s | until it ends, s | trials | actors | idle | "
        "searcher, ms a trial | Tune and Ray, ms a trial, all nodes busy | driver's utilisation, "
        "all nodes busy |"
    )
    print("|---" * 10 + "|")
    for nodes in args.nodes:
        searches = [
            searched(held_out[i % len(held_out)], i // len(held_out), nodes, args.import_s)
            for i in range(args.searches)
        ]
        tune_ms = calls + loop_ms(nodes, max(args.load, 4 * nodes), futures)
        rate = nodes / (statistics.mean(TRIAL_S) + OVERHEAD_S + RESET_S)
        searcher_ms = statistics.mean(one.searcher_ms for one in searches)
        ended, trials, actors = (
            statistics.median(getattr(one.fleet, name) for one in searches)
            for name in ("ended_s", "trials", "actors")
        )
        print(
            f"| {nodes} | {middle(searches, 0.05)} | {middle(searches, 0.02)} | {ended:.0f} | "
            f"{trials:.0f} | {actors:.0f} | {statistics.mean(one.idle for one in searches):.0%} | "
            f"{searcher_ms:.2f} | {tune_ms:.1f} | {rate * (searcher_ms + tune_ms) / 1e3:.1%} |",
            flush=True,
        )
    ray.kill(never)
    print()


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="*", default=[2**n for n in range(9)])
    parser.add_argument("--searches", type=int, default=10, help="of a row (%(default)s)")
    parser.add_argument("--knobs", type=int, default=2, choices=(2, 3, 4))
    parser.add_argument("--load", type=int, default=60, help="trials, all busy (%(default)s)")
    parser.add_argument(
        "--import-s", type=float, nargs=2, default=IMPORT_S, help="a new actor's seconds"
    )
    parser.add_argument("--loggers", action="store_true", help="with Tune's default loggers")
    parser.add_argument("--memory", type=int, default=10_000, help="trials (%(default)s; 0: none)")
    args = parser.parse_args()
    if not args.loggers:
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    logging.getLogger("ray.tune").setLevel(logging.ERROR)  # it misses what the loggers write
    ray.init("local", num_cpus=FEW, include_dashboard=False, log_to_driver=False)
    if args.nodes:
        table(args)
    if args.memory:
        memory(args.memory)
    ray.shutdown()


if __name__ == "__main__":
    main()
