"""kamerton_ray: find the TensorFlow thread counts that make a model fastest, with Ray Tune.

Importing this package imports neither TensorFlow nor Ray; `NelderMeadSearcher` and `every_node`
import Ray when they are first used, and `set_threading` imports TensorFlow when it is called.
"""

from typing import TYPE_CHECKING

from kamerton_ray.benchmark import benchmark
from kamerton_ray.errors import (
    InvalidInputError,
    KamertonError,
    LoopError,
    MissingExtraError,
    RuntimeStartedError,
    StateError,
    UndefinedSearchError,
)
from kamerton_ray.loop import Vertex, kamerton
from kamerton_ray.objective import Objective
from kamerton_ray.placement import node_kinds, one_per_node, trial_nodes
from kamerton_ray.report import Report, report
from kamerton_ray.simplex import Best, NelderMead, Signal, StopRule, Suggestion
from kamerton_ray.space import Axis, IntegerSpace, Scale
from kamerton_ray.threads import (
    CpuLimit,
    Threading,
    UsableCpus,
    set_threading,
    thread_space,
    usable_cpus,
)
from kamerton_ray.verdict import Decision, Standing, Verdict, verdict

if TYPE_CHECKING:
    from kamerton_ray.concurrency import every_node
    from kamerton_ray.searcher import NelderMeadSearcher

__version__ = "0.1.0"

__all__ = [
    "Axis",
    "Best",
    "CpuLimit",
    "Decision",
    "IntegerSpace",
    "InvalidInputError",
    "KamertonError",
    "LoopError",
    "MissingExtraError",
    "NelderMead",
    "NelderMeadSearcher",
    "Objective",
    "Report",
    "RuntimeStartedError",
    "Scale",
    "Signal",
    "Standing",
    "StateError",
    "StopRule",
    "Suggestion",
    "Threading",
    "UndefinedSearchError",
    "UsableCpus",
    "Verdict",
    "Vertex",
    "benchmark",
    "every_node",
    "kamerton",
    "node_kinds",
    "one_per_node",
    "report",
    "set_threading",
    "thread_space",
    "trial_nodes",
    "usable_cpus",
    "verdict",
]


def __getattr__(name: str) -> object:
    if name == "NelderMeadSearcher":
        from kamerton_ray.searcher import NelderMeadSearcher  # noqa: PLC0415 - it imports Ray

        return NelderMeadSearcher
    if name == "every_node":
        from kamerton_ray.concurrency import every_node  # noqa: PLC0415 - the same

        return every_node
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
