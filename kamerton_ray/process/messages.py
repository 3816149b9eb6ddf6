"""What a nest, its handle and its attempts tell each other: each message is a class.

Requests and notices pass over the nest's control socket, a packet each. Orders and answers pass
over a connection that each attempt has of its own, so nothing that it prints can be taken for one.
"""

from __future__ import annotations

import contextlib
import json
import traceback
from dataclasses import dataclass, field
from types import GenericAlias, UnionType
from typing import ClassVar, TypeVar, get_type_hints, overload

from kamerton_ray.process.outcome import Outcome

PACKET = 1 << 16
"""The largest request or notice, in bytes."""

SHOWN = 200
"""So many bytes are shown of what is no message."""

SAID_BY_ATTEMPTS = frozenset(
    {
        Outcome.BUILD_RAISED,
        Outcome.STEP_RAISED,
        Outcome.BODY_RAISED,
        Outcome.WRONG_RETURN,
        Outcome.OUT_OF_MEMORY,
        Outcome.NO_EFFECT,
    }
)
"""How an attempt may itself say that it failed; any other end is seen from outside."""


# --- how a message is written and read -----------------------------------------------------------


_Type = type[object] | UnionType | GenericAlias


@dataclass(frozen=True)
class Message:
    """Its class's name and its fields are what is sent, as JSON."""

    _types: ClassVar[dict[str, _Type]] = {}

    def __init_subclass__(cls) -> None:
        cls._types = get_type_hints(cls)

    @property
    def fits(self) -> bool:
        """Whether each field has its type, which it may lack where JSON was read."""
        return all(_fits(value, self._types[name]) for name, value in vars(self).items())

    def to_json(self) -> bytes:
        """What is sent."""
        return json.dumps({type(self).__name__: vars(self)}).encode()


Kind = TypeVar("Kind", bound=Message)
Other = TypeVar("Other", bound=Message)


@overload
def from_json(text: bytes | str, kind: type[Kind], /) -> Kind: ...


@overload
def from_json(text: bytes | str, kind: type[Kind], other: type[Other], /) -> Kind | Other: ...


def from_json(text: bytes | str, *kinds: type[Message]) -> Message:
    """The message that a text is; an attempt's may be anything, since it runs the user's code.

    Args:
        text: What was sent.
        kinds: What it may be.

    Raises:
        ValueError: It is none of these, or a field has another type.
    """
    with contextlib.suppress(ValueError, TypeError, AttributeError, LookupError, RecursionError):
        ((name, fields),) = json.loads(text).items()
        message = {kind.__name__: kind for kind in kinds}[name](**fields)
        if message.fits:
            return message
    raise ValueError(f"{text[:SHOWN]!r}")


def _fits(value: object, kind: _Type) -> bool:
    """Whether a value is of a type; of a dict's values nothing is asked."""
    if not isinstance(kind, GenericAlias):
        return isinstance(value, kind)
    if kind.__origin__ is dict:
        return isinstance(value, dict)
    return isinstance(value, list) and all(_fits(one, kind.__args__[0]) for one in value)


def end_of(text: str, size: int = PACKET // 2) -> str:
    """As much of a text's end as fits: JSON takes up to twelve bytes for a character."""
    while len(json.dumps(text)) > size:
        text = text[len(text) // 8 + 1 :]
    return text


# --- requests: from the handle to its nest -------------------------------------------------------


@dataclass(frozen=True)
class Fork(Message):
    """Fork an attempt, with the three file descriptors that come along; `Forked` is the answer."""

    number: int


@dataclass(frozen=True)
class Kill(Message):
    """End an attempt and its process group."""

    pid: int


# --- notices: from the nest to its handle --------------------------------------------------------


@dataclass(frozen=True)
class Ready(Message):
    """A model nest has imported what it needs. `started` says what that started."""

    started: str


@dataclass(frozen=True)
class ImportsFailed(Message):
    """A model nest could not import what it needs."""

    traceback: str


@dataclass(frozen=True)
class Forked(Message):
    """An attempt is there, as the request with this number asked."""

    number: int
    pid: int


@dataclass(frozen=True)
class Ended(Message):
    """An attempt has ended.

    Attributes:
        pid: Its id.
        code: Its exit code, or minus the signal that ended it.
        strays: How many processes it left behind in other groups; they were killed.
        peak: The most bytes that it, or a process that it waited for, has held.
        cpu_s: The CPU seconds that it and those have taken together.
    """

    pid: int
    code: int
    strays: int
    peak: int
    cpu_s: float


# --- orders: from the handle to an attempt -------------------------------------------------------


@dataclass(frozen=True)
class BuildStep(Message):
    """Set the thread counts, build the step and run one; the pickled configuration comes next.

    `Built` is the answer, and `StepSeconds` after the first step.

    Attributes:
        threads: The two counts.
        cpus: The CPUs to run on; none for all that there are.
        variables: What to add to its environment.
        knobs: The variables in it whose effect is checked after the first step.
    """

    threads: list[int]
    cpus: list[int]
    variables: dict[str, str]
    knobs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunSteps(Message):
    """Run so many steps, one after the other."""

    count: int


@dataclass(frozen=True)
class LookInside(Message):
    """Run so many steps under a profile; `Inside` is the answer."""

    count: int


@dataclass(frozen=True)
class StartCommand(Message):
    """Become a command. `reports` says whether it inherits the attempt's connection."""

    argv: list[str]
    env: dict[str, str]
    cwd: str | None
    reports: bool = False


# --- answers: from an attempt to its handle ------------------------------------------------------


@dataclass(frozen=True)
class Built(Message):
    """The step is built, on this machine."""

    machine: dict[str, object]


@dataclass(frozen=True)
class StepSeconds(Message):
    """The steps were run, one after the other.

    Attributes:
        began: When the first began, in seconds on the machine's clock, which all its processes
            share (CLOCK_MONOTONIC).
        seconds: How long each took; in a long block, each run of several steps, per step.
        each: How many steps these runs have.
        cpu_s: The CPU seconds of all.
        system_s: Those of them that went to the kernel.
        faults: How many pages of memory the kernel had to give meanwhile.
    """

    began: float
    seconds: list[float]
    each: int
    cpu_s: float
    system_s: float
    faults: int


@dataclass(frozen=True)
class Inside(Message):
    """What passes inside of a step, by its first thread; see `inside`.

    Attributes:
        count: How many steps were run.
        seconds: How long they took, the profile included.
        tensorflow_s: For how long of that Python was waiting for TensorFlow, or calling it.
        functions_s: For how long of that it called a `tf.function`, and not single operations.
        waiting_s: For how long it slept, or waited for another thread or a file.
        input_s: How long it waited for the next batch of a `tf.data.Dataset`, which is a part of
            the time in TensorFlow.
        loop: Keras's function in which most of the time passed; empty where it was none.
    """

    count: int
    seconds: float
    tensorflow_s: float
    functions_s: float
    waiting_s: float
    input_s: float
    loop: str


@dataclass(frozen=True)
class Failed(Message):
    """The user's code has failed; it comes in the place of any other answer."""

    outcome: str
    detail: str

    @classmethod
    def by(cls, error: BaseException, outcome: Outcome) -> Failed:
        """By an exception; one that says that memory is short has an outcome of its own."""
        memory = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
        found = Outcome.OUT_OF_MEMORY if memory else outcome
        return cls(found.name, "".join(traceback.format_exception(error)))

    def how(self) -> Outcome:
        """The outcome, where an attempt may say it."""
        said = {outcome.name: outcome for outcome in SAID_BY_ATTEMPTS}
        return said.get(self.outcome, Outcome.MALFORMED)


# --- what a model nest reads first ---------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ModelSetup:
    """What a model nest has to know; it is pickled, since `build` is.

    Attributes:
        build: The pickled function to build steps with.
        preload: Whether the nest imports TensorFlow and unpickles `build`, or each attempt.
        tensorflow: Whether to import TensorFlow and to set thread counts.
        folder: Python's temporary folder there.
        source: The file of `build`, for tracebacks.
    """

    build: bytes
    preload: bool
    tensorflow: bool
    folder: str
    source: str
