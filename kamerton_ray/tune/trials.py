"""Which of Ray's trials runs which suggestion of a search."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field

from kamerton_ray.search.nelder_mead import NelderMead, Signal
from kamerton_ray.trial.config import Config

logger = logging.getLogger(__name__)


@dataclass
class Trials:
    """The trials that a searcher still has to know of.

    Attributes:
        live: The open suggestion that each live trial runs, by their ids.
        lost: How many trials each open suggestion has cost, by its id.
        failed: The configuration of each trial that failed, by the trial's id.
    """

    live: dict[str, int] = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=dict)
    failed: dict[str, Config] = field(default_factory=dict)

    @property
    def opened(self) -> list[int]:
        """The suggestions that are open: those of live trials, and those to be tried again."""
        return [*self.live.values(), *(set(self.lost) - set(self.live.values()))]

    def knows(self, trial_id: str) -> bool:
        """Whether the search may still hear of a trial."""
        return trial_id in self.live or trial_id in self.failed

    def begin(self, trial_id: str, search: NelderMead) -> Config | Signal:
        """The configuration of a new trial, or why there is none; what was lost comes first."""
        lost = next((one for one in self.lost if one not in self.live.values()), None)
        if lost is not None:
            self.live[trial_id] = lost
            return search.space.config(search.open[lost])
        suggestion = search.ask()
        if isinstance(suggestion, Signal):
            return suggestion
        self.live[trial_id] = suggestion.id
        return suggestion.config

    def end(
        self, trial_id: str, search: NelderMead, value: float, *, sem: float, retries: int
    ) -> None:
        """Tell the search of a trial that it may still hear of, and that has ended.

        A trial that failed and is resumed under its id may have a value after all.

        Args:
            trial_id: The trial.
            search: The search.
            value: What it reported; NaN where it failed.
            sem: The value's standard error; NaN where it is not known.
            retries: How often its suggestion may be tried again.
        """
        if trial_id in self.live:
            suggestion = self.live.pop(trial_id)
            lost = self.lost.pop(suggestion, 0)
            if lost < retries:
                self.lost[suggestion] = lost + 1
                return
            if math.isnan(value):
                self.failed[trial_id] = search.space.config(search.open[suggestion])
            search.tell(suggestion, value, sem=sem)
        elif not math.isnan(value):
            search.add(self.failed.pop(trial_id), value, sem=sem)

    def give_up(self, search: NelderMead) -> None:
        """Give the suggestions of the live trials back, since none of these is alive."""
        logger.warning("Trials that never reported back are given up: %s", list(self.live))
        for suggestion in self.live.values():
            search.release(suggestion)
            self.lost.pop(suggestion, None)
        self.live = {}
