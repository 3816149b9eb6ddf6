"""What one kind of machine found: the search there, and the verdict on it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kamerton_ray.answer.candidates import kinds_of, nothing_worked
from kamerton_ray.answer.verdict import Decision, Verdict
from kamerton_ray.machine.hardware import Machine
from kamerton_ray.report.measured import Measured, Row
from kamerton_ray.report.told import best_row
from kamerton_ray.trial.config import Config, flat
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result

NOT_TO_USE = {Decision.KEEP, Decision.BUSY}
"""After these nothing is to be set."""

COMPARED = {Decision.USE, Decision.KEEP, Decision.BUSY}
"""Those of a comparison that came to its end."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one kind of machine found.

    Attributes:
        machine: What identifies it.
        measured: What the search measured there.
        verdict: What the comparison there says; None without one.
    """

    machine: Machine
    measured: Measured
    verdict: Verdict | None

    @property
    def name(self) -> str:
        """The machine in words."""
        return str(self.machine) or "an unknown machine"

    @property
    def sentence(self) -> str:
        """The answer, which may have more lines than one where something failed."""
        if self.verdict is not None:
            return self.verdict.sentence
        found, best = self.measured, self.measured.best
        if best is None:
            return nothing_worked(found.results)
        said = found.said(best)
        gain = said if found.ratios else f"{found.objective.metric} {said}"
        return (
            f"{found.words(best.config)} was the best of the search ({gain}), which "
            "flatters itself: it was not compared afresh with the default."
        )

    @property
    def config(self) -> Config | None:
        """What is to be applied, all of it; None where that is nothing."""
        if self.verdict is not None:
            return self.verdict.config if self.verdict.decision not in NOT_TO_USE else None
        best = self.measured.best
        return None if best is None else dict(best.results[0].tuned)

    @property
    def best(self) -> Row | None:
        """The row of the verdict's best, or else of the search's."""
        return best_row(self.measured, self.verdict)

    @property
    def decision(self) -> Decision | None:
        """What to do; None without a verdict."""
        return None if self.verdict is None else self.verdict.decision

    @property
    def is_used(self) -> bool:
        """Whether the configuration is to be used."""
        return self.decision is Decision.USE

    @property
    def is_kept(self) -> bool:
        """Whether the default is to be kept."""
        return self.decision is Decision.KEEP

    @property
    def is_compared(self) -> bool:
        """Whether the comparison came to its end."""
        return self.decision in COMPARED

    def rows(self) -> Iterator[dict[str, object]]:
        """Every trial, flat: its number, its configuration, its gain and what it reported."""
        for place, result in enumerate(self.measured.results, 1):
            config = {f"config/{name}": value for name, value in flat(result.tuned)}
            gain = self.measured.gain(self.measured.value(result))
            yield {"trial": place, **config, "gain": gain, **dict(flat(result.report()))}

    def to_json(self) -> dict[str, object]:
        """It by name, without the trials."""
        return {
            "machine": self.machine.to_json(),
            "sentence": self.sentence,
            "verdict": None if self.verdict is None else self.verdict.to_json(),
            "metric": self.measured.objective.metric,
            "gains_over": str(self.measured.baseline),
            "configurations": [row.to_json() for row in self.measured.rows],
        }


def parts_of(
    results: Sequence[Result],
    objective: Objective | None,
    verdict: Verdict | None,
    *,
    start: Config | None,
) -> Iterator[Part]:
    """A part for each kind of machine, the one with the most trials first.

    Args:
        results: What each trial reported.
        objective: What the configurations are judged by.
        verdict: What was said of the kind with the most trials, and of the others in it.
        start: The configuration with which the search began.
    """
    for place, kind in enumerate(kinds_of(results)):
        own = _verdict_on(kind.machine, verdict, is_first=place == 0)
        measured = Measured(kind.results, objective, start=start, fresh=_fresh_default(own))
        yield Part(machine=kind.machine, measured=measured, verdict=own)


def _verdict_on(machine: Machine, verdict: Verdict | None, *, is_first: bool) -> Verdict | None:
    """What was said of this kind of machine."""
    if verdict is None:
        return None
    same = [one for one in verdict.elsewhere if one.machine == machine]
    return next(iter(same), verdict if is_first else None)


def _fresh_default(verdict: Verdict | None) -> list[Result]:
    """The default's fresh runs."""
    fresh: Iterable[Result] = () if verdict is None else itertools.chain(*verdict.rounds)
    return [one for one in fresh if one.config is None]
