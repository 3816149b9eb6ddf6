"""every_node: how a search uses every node of a cluster, and keeps its warm processes.

Left alone, Tune starts one process at a time. Of the idle ones it keeps one and stops the others. A
trial that waits for its process to start gets that of the next trial to end instead, and the start
is called off (ray/tune/execution/tune_controller.py, `_maybe_reuse_cached_actor`). So where trials
are shorter than a start most nodes never run one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import ConcurrencyLimiter, Searcher

from kamerton_ray.trial.config import Config
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.pace import BY_DEFAULT, TOO_SLOW, SlowNodes
from kamerton_ray.tune.placement import Kind, chosen_kind, shun, trial_nodes
from kamerton_ray.tune.ray_api import Trial
from kamerton_ray.tune.searcher import NelderMeadSearcher

logger = logging.getLogger(__name__)

MOST = 1024
"""So many trials may wait for their processes to start at the same time."""

LOOK_S = 1.0
"""The nodes are counted no more often; Ray asks a searcher ten times a second and more."""


def every_node(searcher: Searcher, kind: Kind | None = None) -> dict[str, Any]:
    """The options of `tune.run` or `TuneConfig` by which a search uses every node, one trial each.

    `tune.run(benchmark(build), **every_node(NelderMeadSearcher(...)), num_samples=-1)`. Nodes that
    join are used, and each node keeps its warm process. Ray's own choice of when to ask for a
    trial, one ahead, would choose configurations before it has to.

    Args:
        searcher: The searcher.
        kind: What the nodes have to be, as for `one_per_node`.
    """
    return {
        "search_alg": EveryNode(searcher, kind),
        "scheduler": KeepsProcesses(kind),
        "reuse_actors": True,
    }


class _NodeCount:
    """How many nodes run trials, asked now and then.

    Args:
        kind: What they have to be.
        clock: The seconds on some clock.
    """

    def __init__(self, kind: Kind | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._kind, self._clock = kind, clock
        self._looked, self._count = -LOOK_S, 1

    def now(self) -> int:
        """So many; 1 where none is left, so that a trial waits for one and Tune says so."""
        # A restored run may count its seconds from elsewhere.
        if abs(self._clock() - self._looked) >= LOOK_S:
            self._looked, self._count = self._clock(), max(1, trial_nodes(self._kind))
        return self._count


class EveryNode(ConcurrencyLimiter):  # type: ignore[misc]  # Ray is untyped
    """Lets a searcher have as many live trials as there are nodes to run them.

    A node on which TensorFlow's default takes much longer than on the others, as the trials of
    `benchmark` tell, runs no more of them, and what it ran is run again elsewhere.

    Args:
        searcher: The searcher.
        kind: What the nodes have to be.
    """

    def __init__(self, searcher: Searcher, kind: Kind | None = None) -> None:
        # Ray takes the first number for how many processes may be starting.
        super().__init__(searcher, max_concurrent=MOST)
        self._kind = kind
        self._nodes = _NodeCount(kind)
        self._configs: dict[str, Config] = {}  # of the live trials
        self._slow = SlowNodes(least=TOO_SLOW, by=BY_DEFAULT)

    def suggest(self, trial_id: str) -> Config | str | None:
        """The searcher's next configuration, if there is a node for it."""
        shun(self._slow.ips)
        self.max_concurrent = self._nodes.now()
        self._set_searcher_max_concurrency()
        found: Config | str | None = super().suggest(trial_id)
        if isinstance(found, dict):
            self._configs[trial_id] = found
        return found

    def on_trial_complete(
        self,
        trial_id: str,
        result: Mapping[str, object] | None = None,
        error: bool = False,  # noqa: FBT001, FBT002 - Ray's signature
    ) -> None:
        """Tell the searcher, and see whether the trial's node keeps pace."""
        super().on_trial_complete(trial_id, result=result, error=error)
        config = self._configs.pop(trial_id, None)
        if config is None or not result or "default_seconds" not in result:
            return
        slow = self._slow.learn(Result.of({**result, "config": config}))
        for ip, times in slow.items():
            logger.warning(
                "The node %s is out of pace with the others of its kind: the default takes %.2f "
                "times as long there. It runs no more trials, and those that it ran are run again "
                "elsewhere.",
                ip,
                times,
            )
        if self._slow.ips:
            self._run_again()

    def _run_again(self) -> None:
        """Have the trials of slow nodes run again, if there are other nodes."""
        shun(self._slow.ips)
        left = {node.ip for node in chosen_kind(self._kind).nodes} - self._slow.ips
        if not left or not isinstance(self.searcher, NelderMeadSearcher):
            return
        for result in self._slow.take_back():
            self.searcher.forget(result.tuned)


class KeepsProcesses(FIFOScheduler):  # type: ignore[misc]  # Ray is untyped
    """Starts trials in order, and has Tune keep an idle process for every node.

    Args:
        kind: What the nodes have to be.
    """

    def __init__(self, kind: Kind | None = None) -> None:
        super().__init__()
        self._nodes = _NodeCount(kind)
        self._kept: dict[Hashable, int] = {}  # of each request for resources

    def on_trial_add(self, tune_controller: object, trial: Trial) -> None:
        """Have as many processes kept as there are nodes, all of them for such trials."""
        controller = getattr(tune_controller, "_tune_controller", None)
        cache = getattr(controller, "_actor_cache", None)
        if cache is None:  # another version of Ray: processes are started anew
            return
        # Those for other requests would hold the nodes that these trials wait for.
        wanted = {**dict.fromkeys(self._kept, 0), trial.placement_group_factory: self._nodes.now()}
        for request, count in wanted.items():
            cache.increase_max(request, count - self._kept.get(request, 0))
        self._kept = wanted

    def choose_trial_to_run(self, tune_controller: object) -> None:
        """None in particular: Tune then starts those that are new, with idle processes first.

        The oldest one, which `FIFOScheduler` chooses, would have its start called off instead.
        """
