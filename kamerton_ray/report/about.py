"""What was searched for, as a session of `kamerton-ray` describes it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kamerton_ray.trial.config import Config
from kamerton_ray.trial.objective import Objective
from kamerton_ray.tune.work import Work


@dataclass(frozen=True, kw_only=True)
class About:
    """What was searched for, and how.

    Attributes:
        kind: The command: `"tune"`, `"exec"` or `"run"`; empty for a run of Ray Tune.
        target: What was tuned, as it was typed after the command.
        judged_by: The command's `--objective`; empty where it has none.
        maximize: Whether a higher number was asked for.
        combine: What several instances of a program come to; empty where they were not tuned.
        limits: The highest allowed value of other keys.
        least: The lowest allowed value of others.
        start: The configuration with which the search began; None where nobody knows.
        stopped_by: Why the search ended, in words; empty where nobody knows.
        work: The commands that have worked on it.
        told: The whole description, as it was written down.
    """

    kind: str = ""
    target: tuple[str, ...] = ()
    judged_by: str = ""
    maximize: bool = False
    combine: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    least: Mapping[str, float] = field(default_factory=dict)
    start: Config | None = None
    stopped_by: str = ""
    work: tuple[Work, ...] = ()
    told: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(
        cls, description: Mapping[str, object], *, stopped_by: str, work: Sequence[Work] = ()
    ) -> About:
        """The record of a session's description."""
        return cls(
            kind=_text(description.get("kind")),
            target=_target(description),
            judged_by=_text(description.get("objective")),
            maximize=description.get("maximize") is True,
            combine=_text(description.get("combine")),
            limits=_limits(description.get("limits")),
            least=_limits(description.get("least")),
            start=_start(description.get("goal")),
            stopped_by=stopped_by,
            work=tuple(work),
            told=description,
        )

    @property
    def objective(self) -> Objective | None:
        """What the configurations were judged by; None where nobody said it."""
        if not self.kind:
            return None
        if self.kind == "tune":
            metric = self.judged_by or "speedup"
            return Objective(metric=metric, at_most=self.limits, at_least=self.least)
        if self.judged_by == "time":  # of a command: the same numbers, with their unit
            shared = self.combine == "per-program"
            return Objective(metric="seconds_per_program" if shared else "seconds")
        return Objective(metric="objective", mode="max" if self.maximize else "min")

    @property
    def commands(self) -> list[str]:
        """The commands, as they were typed; of an older session, without their options."""
        if not self.kind:
            return ["a run of Ray Tune"]
        typed = [one.command for one in self.work if one.command]
        return typed or [shlex.join(["kamerton-ray", self.kind, *self.target])]

    def to_json(self) -> dict[str, object]:
        """The description as it was written down, and why the search ended."""
        return {**self.told, "stopped_by": self.stopped_by} if self.kind else {}


def _target(description: Mapping[str, object]) -> tuple[str, ...]:
    """What was tuned: a function, a command or a script."""
    kind = description.get("kind")
    if kind == "tune":
        return (_text(description.get("target")),)
    if kind == "exec":
        return ("--", *_texts(description.get("argv")))
    return (_text(description.get("script")), *_texts(description.get("args")))


def _limits(pairs: object) -> dict[str, float]:
    return dict(pairs) if isinstance(pairs, Sequence) else {}


def _start(goal: object) -> Config | None:
    """The first of the configurations with which a search began."""
    starts = goal.get("starts", ()) if isinstance(goal, Mapping) else ()
    return next((dict(one) for one in starts), None)


def _text(told: object) -> str:
    return told if isinstance(told, str) else ""


def _texts(told: object) -> tuple[str, ...]:
    return tuple(map(str, told)) if isinstance(told, Sequence) else ()
