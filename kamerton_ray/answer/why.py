"""Why: what keeps TensorFlow's default from being faster, and what would help where threads cannot.

Each rule looks for one trait of the model in what was measured. It says the trait with its
evidence, and something to type where there is, or nothing where it is not sure.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from kamerton_ray.answer.candidates import Kind
from kamerton_ray.answer.one_process import ms
from kamerton_ray.answer.rounds import Course
from kamerton_ray.machine.neighbours import QUIET
from kamerton_ray.machine.threads import THREADS
from kamerton_ray.trial.config import INSTANCES_KEY, Config, in_words, instances_of, key_of
from kamerton_ray.trial.result import Result, median_of

PYTHON = 0.5
"""From this share of a step on it is Python that takes it."""

INPUT = 0.3
"""From this share of a step on the wait for the next batch is worth a word."""

KERNEL, FAULTS = 0.15, 200
"""From this share of the CPU time on, and so many pages a step, memory that is given back to the
kernel and taken again is worth a word."""

ONE_THREAD = (0.8, 1.15)
"""One thread does it all where so many CPUs are busy. Where fewer are, something else is waited
for."""

MORE_CPU, NO_FASTER = 1.4, 1.1
"""Threads are of no use that take so many times the CPU seconds of one, and are no faster than
this."""

CROWDED, ENOUGH = 1.25, 2
"""Instances are in each other's way where a step takes so many times the CPU seconds of one's, and
each of them more than any of those alone did; so many times both have to have been measured."""


STEP, RUN = "step", "run"
"""What numbers are of: a step of a model, or a run of a program."""


def work_of(results: Sequence[Result]) -> str:
    """What the numbers of some results are of: programs report an objective, models do not."""
    return RUN if any("objective" in one.names for one in results) else STEP


@dataclass(frozen=True)
class Seen:
    """What was measured.

    Attributes:
        course: In the comparison.
        searched: In the search.
    """

    course: Course
    searched: Kind

    @cached_property
    def default(self) -> list[Result]:
        """The default's results."""
        return self.course.of(None)

    @cached_property
    def others(self) -> list[Result]:
        """The results of configurations, those of the search included."""
        fresh = [one for results in self.course.rounds for one in results if one.config is not None]
        return [one for one in (*fresh, *self.searched.results) if one.worked]

    @cached_property
    def looked(self) -> Result | None:
        """The default's result of the process that was looked into; None where none was."""
        return next((one for one in self.default if not math.isnan(one.python_seconds)), None)

    @cached_property
    def disturbed(self) -> bool:
        """Whether other work took CPUs, so that busy ones say little of the model."""
        return median_of(self.default, "others") > QUIET

    @cached_property
    def work(self) -> str:
        """What the default's numbers are of."""
        return work_of(self.default)

    def usual(self, name: str) -> float:
        """The default's value."""
        return median_of(self.default, name)


def why(course: Course, searched: Kind) -> list[str]:
    """What was seen of the model that explains the answer, in sentences.

    Args:
        course: How the comparison went.
        searched: What the search measured.
    """
    seen = Seen(course, searched)
    return [said for rule in RULES if (said := rule(seen))]


def _python(seen: Seen) -> str:
    """Most of a step is Python around TensorFlow's calls."""
    own = seen.looked
    if own is None or own.python_seconds < PYTHON * own.seconds:
        return ""
    took = f"{ms(own.python_seconds)} ms of the default's {ms(own.seconds)} ms a step"
    if own.loop:
        return (
            f"Python: {took} pass in what {own.loop}() does around the model. No thread count "
            "makes that faster; call = tf.function(model), and call(x) instead, may."
        )
    if _memory(seen):  # it is the kernel that takes it
        return ""
    return (
        f"Python: {took} pass outside of TensorFlow's calls. No thread count makes that faster; "
        "a tf.function around the step may."
    )


def _input(seen: Seen) -> str:
    """A step waits for its input."""
    own = seen.looked
    if own is None or own.input_seconds < INPUT * own.seconds:
        return ""
    waits = f"{ms(own.input_seconds)} ms of the default's {ms(own.seconds)} ms a step"
    return (
        f"Input: {waits} are a wait for the dataset's next batch. "
        ".map(..., num_parallel_calls=tf.data.AUTOTUNE), .prefetch(tf.data.AUTOTUNE) or .cache() "
        "may shorten it."
    )


def _memory(seen: Seen) -> str:
    """Memory is given back to the kernel and taken again, step by step."""
    pages = seen.usual("faults")
    share = _times(seen.usual("system_seconds"), seen.usual("cpu_seconds"))
    if not (pages >= FAULTS and share >= KERNEL):
        return ""
    return (
        f"Memory: a step of the default takes {pages:.0f} pages anew from the kernel, where "
        f"{share:.0%} of its CPU time passes. MALLOC_TRIM_THRESHOLD_=4294967296 and "
        "MALLOC_MMAP_THRESHOLD_=4294967296 in the environment, or tcmalloc by LD_PRELOAD, may keep "
        "them."
    )


def _one_thread(seen: Seen) -> str:
    """The default keeps one CPU busy, whatever threads there are."""
    busy = seen.usual("cpus")
    usable = max((one.machine.usable_cpus for one in seen.default), default=0)
    least, most = ONE_THREAD
    if not (usable > 1 and least <= busy <= most) or seen.disturbed:
        return ""
    if any(one.machine.default_intra_op == 1 for one in seen.default):  # somebody wants it so
        return ""
    if _python(seen) or _input(seen) or _memory(seen) or _unheard(seen):  # which is why
        return ""
    tried = any(instances_of(one.tuned) > 1 for one in seen.others)
    more = "" if tried else " More processes have: --instances auto."
    as_what = (
        "as XLA does on CPUs, or small operations in sequence"
        if seen.work == STEP
        else "as Python does, and what is imported and loaded at the start"
    )
    return (
        f"One thread does nearly all: the default keeps {busy:.1f} of {usable} CPUs busy, "
        f"{as_what}. More threads have nothing to do.{more}"
    )


def _unheard(seen: Seen) -> str:
    """A program has as many threads whatever its counts are."""
    runs = [one for one in seen.others if one.threads and instances_of(one.tuned) == 1]
    names = [name for name in THREADS if _changes_nothing(name, runs)]
    if not names:
        return ""
    least, most = (extreme(one.threads for one in runs) for extreme in (min, max))
    in_all = f"{least}" if least == most else f"{least} to {most}"
    return (
        f"No effect: the program had as many threads, {in_all}, whatever {' and '.join(names)} "
        "said. It sets them itself, by tf.config.threading or a session's ConfigProto: leave that "
        "out. Or it does not run TensorFlow."
    )


def _changes_nothing(name: str, runs: Sequence[Result]) -> bool:
    """Whether a count has changed no number of threads where it alone was changed."""
    threads: dict[str, dict[object, set[int]]] = {}
    for one in runs:
        rest = key_of({key: value for key, value in one.tuned.items() if key != name})
        threads.setdefault(rest, {}).setdefault(one.tuned.get(name), set()).add(one.threads)
    compared = [by_value for by_value in threads.values() if len(by_value) > 1]
    return sum(len(one) - 1 for one in compared) >= ENOUGH and all(
        len(set().union(*one.values())) == 1 for one in compared
    )


def _idle_threads(seen: Seen) -> str:
    """The default's threads take more CPU time than one, and are no faster."""
    alone = [
        one
        for one in seen.others
        if one.tuned.get("intra_op") == 1 and instances_of(one.tuned) == 1
    ]
    more = _times(seen.usual("cpu_seconds"), median_of(alone, "cpu_seconds"))
    faster = _times(1.0, median_of(alone, "speedup"))
    if not (more >= MORE_CPU and faster <= NO_FASTER) or seen.disturbed:
        return ""
    return (
        f"Threads that wait: the default takes {more:.1f} times the CPU seconds of intra_op=1 for "
        f"{faster:.2f}x its speed. Its threads wait for each other, or for memory."
    )


def _crowded(seen: Seen) -> str:
    """A step, or run, takes each of several instances more CPU time than it takes one alone."""
    groups: dict[str, list[Result]] = {}
    for one in seen.others:
        groups.setdefault(key_of(one.tuned), []).append(one)
    found = [
        (_share_of(some, groups.get(key_of(_single(config)), [])), config)
        for some in groups.values()
        if instances_of(config := some[0].tuned) > 1
    ]
    crowded = [one for one in found if one[0] >= CROWDED]
    if not crowded or seen.disturbed:
        return ""
    more, config = max(crowded, key=operator.itemgetter(0))
    return (
        f"Instances in each other's way: a {seen.work} takes each of {in_words(config)} {more:.1f} "
        "times the CPU seconds that it takes one alone. They share memory's bandwidth, a cache, a "
        "core's two hyperthreads, or memory that they write."
    )


def _single(config: Config) -> Config:
    return {**config, INSTANCES_KEY: 1}


def _share_of(several: Sequence[Result], alone: Sequence[Result]) -> float:
    """How many times the CPU seconds of one alone; NaN where that is not sure."""
    together, single = ([one.cpu_seconds for one in some] for some in (several, alone))
    if min(len(together), len(single)) < ENOUGH or not min(together) > max(single):
        return math.nan
    return _times(median_of(several, "cpu_seconds"), median_of(alone, "cpu_seconds"))


def _times(value: float, other: float) -> float:
    """How many times the other it is; NaN where that is 0 or unknown."""
    return value / other if other else math.nan


RULES: tuple[Callable[[Seen], str], ...] = (
    _python,
    _input,
    _unheard,
    _memory,
    _one_thread,
    _idle_threads,
    _crowded,
)
