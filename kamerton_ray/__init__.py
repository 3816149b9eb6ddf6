"""kamerton_ray: find the TensorFlow thread counts that make a model fastest, with Ray Tune.

Importing this package imports nothing else: a public name is imported when it is first used. Each
process that measures is started anew, and needs little of the package. `NelderMeadSearcher` and
`every_node` import Ray, and `set_threading` imports TensorFlow when it is called.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    from kamerton_ray.trial.saved_model import SavedModel
    from kamerton_ray.tune.concurrency import every_node
    from kamerton_ray.tune.placement import node_kinds, one_per_node, trial_nodes
    from kamerton_ray.tune.searcher import NelderMeadSearcher
    from kamerton_ray.tune.thread_space import instance_limit, instance_space, thread_space
    from kamerton_ray.tune.trainable import benchmark

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
    "SavedModel",
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

_HOMES = {
    "verdict": "answer.comparing",
    "Decision": "answer.verdict",
    "Standing": "answer.verdict",
    "Verdict": "answer.verdict",
    "InvalidInputError": "errors",
    "KamertonError": "errors",
    "LoopError": "errors",
    "MissingExtraError": "errors",
    "RuntimeStartedError": "errors",
    "StateError": "errors",
    "UndefinedSearchError": "errors",
    "CpuLimit": "machine.cpus",
    "UsableCpus": "machine.cpus",
    "usable_cpus": "machine.cpus",
    "Threading": "machine.threads",
    "set_threading": "machine.threads",
    "Report": "report.report",
    "report": "report.report",
    "AtMost": "search.constraints",
    "Best": "search.nelder_mead",
    "NelderMead": "search.nelder_mead",
    "Signal": "search.nelder_mead",
    "StopRule": "search.nelder_mead",
    "Suggestion": "search.nelder_mead",
    "Axis": "search.space",
    "IntegerSpace": "search.space",
    "Scale": "search.space",
    "Vertex": "trial.loop",
    "kamerton": "trial.loop",
    "Objective": "trial.objective",
    "SavedModel": "trial.saved_model",
    "node_kinds": "tune.placement",
    "one_per_node": "tune.placement",
    "trial_nodes": "tune.placement",
    "instance_limit": "tune.thread_space",
    "instance_space": "tune.thread_space",
    "thread_space": "tune.thread_space",
    "benchmark": "tune.trainable",
    "every_node": "tune.concurrency",
    "NelderMeadSearcher": "tune.searcher",
}
"""The module of each public name."""

# `report` is a function, and a folder of this package has the same name, which its first import
# takes. So it is imported now, and the name is given back.
import_module("kamerton_ray.report")
del report


def __getattr__(name: str) -> object:
    if name == "plot":
        return import_module("kamerton_ray.plot")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"kamerton_ray.{_HOMES[name]}"), name)
    globals()[name] = found  # the next time it is there
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "plot"})
