"""What passes inside of the default's step: how much is Python's, and how much waits for input."""

from __future__ import annotations

from dataclasses import replace

from kamerton_ray.process.outcome import AttemptError
from kamerton_ray.trial.model_instances import Instances
from kamerton_ray.trial.timing import Timing

LOOK_S = 0.3
"""The look takes about so many seconds, or one step."""

LONGEST_S = 3.0
"""A longer step is not looked into."""


def looked_inside(attempt: Instances, timing: Timing) -> Timing:
    """What was timed of a process, with what passes inside of its step.

    Where the look fails, what was timed before it stands.

    Args:
        attempt: The process, which has been timed.
        timing: What was found.
    """
    if timing.seconds > LONGEST_S:
        return timing
    count = max(1, round(LOOK_S / timing.seconds))
    try:
        inside = attempt.look_inside(count)
    except AttemptError:
        return timing
    # The profiler slows down Python, and a step may have been slower before than it is now.
    step = min(timing.seconds, inside.seconds / count)
    # A loop of Keras's calls the model as a function; its operations make the input's pipeline.
    within = inside.functions_s if inside.loop else inside.tensorflow_s
    elsewhere = (within + inside.waiting_s) / count
    return replace(
        timing,
        python_seconds=max(0.0, step - elsewhere),
        input_seconds=inside.input_s / count,
        loop=inside.loop,
    )
