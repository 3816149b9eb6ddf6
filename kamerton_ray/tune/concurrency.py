"""every_node: how a search uses every node of a cluster, and keeps its warm processes.

Left alone, Tune starts one process at a time, and keeps one that is idle while it stops the others.
And a trial that waits for its process to start gets that of the next trial to end instead, the
start being called off (ray/tune/execution/tune_controller.py, `_maybe_reuse_cached_actor`), so that
where trials are shorter than a start most nodes never run one.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import ConcurrencyLimiter, Searcher

from kamerton_ray.trial.result import Result
from kamerton_ray.tune.pace import TOO_SLOW, out_of_pace
from kamerton_ray.tune.placement import Kind, chosen_kind, shun, trial_nodes
from kamerton_ray.tune.searcher import NelderMeadSearcher

logger = logging.getLogger(__name__)

MOST = 1024
"""So many trials may wait for their processes to start at the same time."""

PACED = 256
"""The nodes' pace is that of so many trials, the last ones."""

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


@dataclass
class _Paced:
    """What a trial reported, and whether it was run again elsewhere."""

    result: Result
    again: bool = False


class EveryNode(ConcurrencyLimiter):  # type: ignore[misc]
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
        self._configs: dict[str, dict[str, Any]] = {}  # of the live trials
        self._paced: deque[_Paced] = deque(maxlen=PACED)
        self._slow: set[str] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The searcher's next configuration, if there is a node for it."""
        shun(self._slow)
        self.max_concurrent = self._nodes.now()
        self._set_searcher_max_concurrency()
        found: dict[str, Any] | str | None = super().suggest(trial_id)
        if isinstance(found, dict):
            self._configs[trial_id] = found
        return found

    def on_trial_complete(
        self,
        trial_id: str,
        result: Mapping[str, Any] | None = None,
        error: bool = False,  # noqa: FBT001, FBT002 - Ray's signature
    ) -> None:
        """Tell the searcher, and see whether the trial's node keeps pace."""
        super().on_trial_complete(trial_id, result=result, error=error)
        config = self._configs.pop(trial_id, None)
        if config is None or not result or "default_seconds" not in result:
            return
        self._paced.append(_Paced(Result.of({**result, "config": config})))
        found = [one.result for one in self._paced]
        for ip, times in out_of_pace(found, least=TOO_SLOW).items():
            if ip not in self._slow:
                self._leave(ip, times)
        if self._slow:
            self._run_again()

    def _leave(self, ip: str, times: float) -> None:
        self._slow.add(ip)
        logger.warning(
            "The node %s is out of pace with the others of its kind: the default takes %.2f times "
            "as long there. It runs no more trials, and those that it ran are run again elsewhere.",
            ip,
            times,
        )

    def _run_again(self) -> None:
        """Have the trials of slow nodes run again, if there are other nodes."""
        shun(self._slow)
        left = {node.ip for node in chosen_kind(self._kind).nodes} - self._slow
        if not left or not isinstance(self.searcher, NelderMeadSearcher):
            return
        for one in self._paced:
            if one.result.node_ip in self._slow and not one.again:
                one.again = True
                self.searcher.forget(one.result.tuned)


class KeepsProcesses(FIFOScheduler):  # type: ignore[misc]
    """Starts trials in order, and has Tune keep an idle process for every node.

    Args:
        kind: What the nodes have to be.
    """

    def __init__(self, kind: Kind | None = None) -> None:
        super().__init__()
        self._nodes = _NodeCount(kind)
        self._kept: dict[Any, int] = {}  # of each request for resources

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:  # noqa: ANN401 - Ray is untyped
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

    def choose_trial_to_run(self, tune_controller: Any) -> None:  # noqa: ANN401 - Ray is untyped
        """None in particular: Tune then starts those that are new, with idle processes first.

        The oldest one, which `FIFOScheduler` chooses, would have its start called off instead.
        """
