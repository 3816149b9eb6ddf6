"""What Kamerton's loop in a script is ordered to do, and what it answers."""

from __future__ import annotations

import os
from dataclasses import dataclass

from kamerton_ray.process.messages import Message, from_json

ORDER = "KAMERTON_RAY_ORDER"
"""The variable by which `kamerton-ray run` gives the loop in a script its order."""


@dataclass(frozen=True)
class Describe(Message):
    """Say what is searched, and end; the answer is a `Search`."""


@dataclass(frozen=True)
class RunBody(Message):
    """Run the body with a vertex.

    Attributes:
        vertex: The vertex.
        goes_on: Whether the script goes on after the loop; otherwise the body's end is the
            process's, and the answer is `BodyEnded`.
    """

    vertex: list[int]
    goes_on: bool = False


@dataclass(frozen=True)
class Search(Message):
    """What a loop searches.

    Attributes:
        bounds: The lowest and the highest value of each axis.
        starts: The vertices to try first.
        iterations: At most so many attempts.
        repeats: How often each is run.
        timeout: How many seconds each may take.
    """

    bounds: list[list[int]]
    starts: list[list[int]]
    iterations: int | None
    repeats: int
    timeout: float


@dataclass(frozen=True)
class BodyEnded(Message):
    """The body has ended. `left` says whether by leaving its loop, which ends the search."""

    left: bool


def order() -> Describe | RunBody | None:
    """The order of `kamerton-ray run`, once; None in a script that it has not started."""
    given = os.environ.pop(ORDER, None)
    return None if given is None else from_json(given, Describe, RunBody)
