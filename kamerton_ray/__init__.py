"""kamerton_ray: find the TensorFlow thread counts that make a model fastest, with Ray Tune.

Importing this package imports neither TensorFlow nor Ray; `NelderMeadSearcher` and `every_node`
import Ray when they are first used, and `set_threading` imports TensorFlow when it is called.
"""

from typing import TYPE_CHECKING

from kamerton_ray import plot as plot
from kamerton_ray.answer.comparing import verdict
from kamerton_ray.answer.verdict import Decision, Standing, Verdict
from kamerton_ray.errors import (
    InvalidInputError,
    KamertonError,
    LoopError,
    MissingExtraError,
    RuntimeStartedError,
    StateError,
    UndefinedSearchError,
)
from kamerton_ray.machine.cpus import CpuLimit, UsableCpus, usable_cpus
from kamerton_ray.machine.threads import Threading, set_threading
from kamerton_ray.report.report import Report, report
from kamerton_ray.search.constraints import AtMost
from kamerton_ray.search.nelder_mead import Best, NelderMead, Signal, StopRule, Suggestion
from kamerton_ray.search.space import Axis, IntegerSpace, Scale
from kamerton_ray.trial.loop import Vertex, kamerton
from kamerton_ray.trial.objective import Objective
from kamerton_ray.tune.placement import node_kinds, one_per_node, trial_nodes
from kamerton_ray.tune.thread_space import instance_limit, instance_space, thread_space
from kamerton_ray.tune.trainable import benchmark

if TYPE_CHECKING:
    from kamerton_ray.tune.concurrency import every_node
    from kamerton_ray.tune.searcher import NelderMeadSearcher

__version__ = "0.2.0"

__all__ = [
    "AtMost",
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
    "instance_limit",
    "instance_space",
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
        from kamerton_ray.tune.searcher import NelderMeadSearcher  # noqa: PLC0415 - it imports Ray

        return NelderMeadSearcher
    if name == "every_node":
        from kamerton_ray.tune.concurrency import every_node  # noqa: PLC0415 - the same

        return every_node
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
