"""All that a `NelderMeadSearcher` has been told and has found; it is saved as JSON.

JSON, so that restoring a file from elsewhere cannot run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kamerton_ray.errors import InvalidInputError, StateError
from kamerton_ray.search.constraints import Constraints, restored
from kamerton_ray.search.constraints import to_json as constraints_to_json
from kamerton_ray.search.lattice import lattice_of
from kamerton_ray.search.nelder_mead import NelderMead
from kamerton_ray.search.space import IntegerSpace
from kamerton_ray.search.starting import start_point
from kamerton_ray.trial.config import Config
from kamerton_ray.tune.arguments import (
    Options,
    check_metric_mode,
    checked_options,
    checked_points,
    checked_scale,
    nothing_to_tune,
    tuned_space,
)
from kamerton_ray.tune.folders import Json
from kamerton_ray.tune.thread_space import default_values
from kamerton_ray.tune.trials import Trials

STATE_FORMAT = "kamerton_ray.NelderMeadSearcher/1"


@dataclass(kw_only=True)
class SearcherState:
    """What a searcher has been told, and what it has found.

    Attributes:
        metric: The key of the result to optimise; None until somebody says it.
        mode: `"min"` or `"max"`; None likewise.
        points: The configurations to try first.
        rewards: Their values, where they are known.
        options: What the search takes beside these.
        scale: The scale of each parameter for which one is given.
        space: The lattice to search; None until somebody says it.
        search: The search, from when the space and the mode are known.
        trials: The trials that are not settled yet.
        constraints: What every configuration has to keep.
    """

    metric: str | None
    mode: str | None
    points: list[Config]
    rewards: list[float | None] | None
    options: Options
    scale: dict[str, str]
    space: IntegerSpace | None
    search: NelderMead | None = None
    trials: Trials = field(default_factory=Trials)
    constraints: Constraints = ()

    def offer(self, metric: str | None, mode: str | None, config: Mapping[str, object]) -> bool:
        """Take over what Ray knows of the run.

        Returns:
            Whether its space is the searcher's own, or the searcher had none.

        Raises:
            InvalidInputError: The space tunes nothing, or the search has begun with another mode.
        """
        if not self._take_space(config):
            return False
        if mode and self.search and mode != self.search.mode:
            if self.search.open or self.search.measured:
                raise InvalidInputError(
                    f"this search has begun with mode={self.search.mode!r}, but got mode={mode!r}"
                )
            self.search = None
        self.metric, self.mode = metric or self.metric, mode or self.mode
        return True

    def _take_space(self, config: Mapping[str, object]) -> bool:
        """Take over the space; whether there is no other one.

        Without its constants, unless a constraint is a function, which has to see them.

        Raises:
            InvalidInputError: It tunes nothing, or the points to try first are not in it.
        """
        if not IntegerSpace(config).axes:
            if self.space is None:
                raise nothing_to_tune(config)
            return True
        offered = tuned_space(config, self.scale)
        if self.space is not None:
            return _values(self.space) == _values(offered)
        # While its constants are known: a point may name them.
        self.points = self._completed(offered)
        with_constants = any(map(callable, self.constraints))
        self.space = offered if with_constants else offered.without_constants()
        return True

    def begin(self, usual_metric: str) -> None:
        """Begin the search once the space and the mode are known.

        Args:
            usual_metric: What is optimised where nobody says it.
        """
        if self.metric is None and self.mode:
            self.metric = usual_metric
        if self.search is not None or self.space is None or not self.mode:
            return
        self.search = NelderMead(
            self.space,
            mode=self.mode,
            start=self._start(self.space),
            constraints=self.constraints,
            **self.options,
        )
        for config, reward in zip(self.points, self.rewards or (), strict=False):
            self.search.add(config, reward)

    def _start(self, space: IntegerSpace) -> list[Config]:
        """The points to try first; where their values are known, those that may be tried."""
        if not self.rewards:
            return self._completed(space)
        allows = lattice_of(space, self.constraints).allows
        return [config for config in self.points if allows(space.point(config))]

    def _completed(self, space: IntegerSpace) -> list[Config]:
        """The points to try first; what they leave out is as by default, or in the middle.

        Raises:
            InvalidInputError: What one gives is not in the space, or breaks a constraint.
        """
        missing = {name for point in self.points for name in space.missing(point)}
        if self.rewards or not missing:
            return self.points
        usual = default_values(missing)
        found = (start_point(space, self.constraints, one, usual) for one in self.points)
        return list(map(space.config, found))

    def to_json(self) -> Json:
        """The whole state, open trials included, as plain JSON values."""
        constraints = constraints_to_json(self.constraints)
        return {
            **({"constraints": constraints} if constraints else {}),
            "format": STATE_FORMAT,
            "metric": self.metric,
            "mode": self.mode,
            "points": self.points,
            "rewards": self.rewards,
            "options": self.options,
            "scale": self.scale,
            "space": None if self.space is None else self.space.to_json(),
            "search": None if self.search is None else self.search.to_json(),
            "live": self.trials.live,
            "lost": {str(one): trials for one, trials in self.trials.lost.items()},
            "failed": self.trials.failed,
        }

    @classmethod
    def read(cls, path: Path, given: Constraints = ()) -> SearcherState:
        """The state in a file.

        Args:
            path: The file.
            given: The constraints once more; may be left out where none is a function.

        Raises:
            StateError: The file is damaged, or holds something else, or the constraints are others.
            InvalidInputError: A constraint breaks its rule.
        """
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise StateError(
                f"{path} is not a saved NelderMeadSearcher: it holds no JSON ({error})"
            ) from error
        return cls.from_json(state, given)

    @classmethod
    def from_json(cls, state: object, given: Constraints = ()) -> SearcherState:
        """The state that `to_json` described; see `read`."""
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        if not isinstance(state, dict) or found != STATE_FORMAT:
            raise StateError(f"a saved searcher has the format {STATE_FORMAT!r}, but got {found!r}")
        constraints = restored(state.get("constraints", []), given)
        search = _search(state.get("search"), constraints)
        try:
            return cls._checked(state, search, constraints)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise StateError(f"a saved searcher is damaged: {error!r}") from error

    @classmethod
    def _checked(
        cls, state: Json, search: NelderMead | None, constraints: Constraints
    ) -> SearcherState:
        """The state from an object of the right format; whatever is wrong raises something."""
        check_metric_mode(state["metric"], state["mode"])
        points, rewards = checked_points(state["points"], state["rewards"])
        space, _ = state["space"], state["search"]
        read = cls(
            metric=state["metric"],
            mode=state["mode"],
            points=points,
            rewards=rewards,
            options=checked_options(**state["options"]),
            scale=checked_scale(state["scale"]),
            space=None if space is None else IntegerSpace.from_json(space),
            search=search,
            constraints=constraints,
            trials=Trials(
                live={str(trial): int(one) for trial, one in state["live"].items()},
                lost={int(one): int(trials) for one, trials in state["lost"].items()},
                failed={str(trial): dict(config) for trial, config in state["failed"].items()},
            ),
        )
        read._check_agreement()
        return read

    def _check_agreement(self) -> None:
        """Refuse parts that are sound one by one but never stand together."""
        search, opened, failed = self.search, self.trials.opened, self.trials.failed
        if search is None:
            agreed = (self.space is None or self.mode is None) and not opened and not failed
        else:
            agreed = (
                self.metric is not None
                and self.mode == search.mode
                and self.space is not None
                and self.space.without_constants() == search.space.without_constants()
                and sorted(opened) == sorted(search.open)
            )
            for config in failed.values():
                search.space.point(config)
        if not agreed:
            raise StateError("its space, metric, mode and trials are not those of its search")


def _search(saved: object, constraints: Constraints) -> NelderMead | None:
    """The search of a saved searcher.

    Raises:
        StateError: It is damaged, or its constraints are others.
        InvalidInputError: A constraint breaks its rule.
    """
    try:
        return None if saved is None else NelderMead.from_json(saved, constraints=constraints)
    except StateError as error:
        raise StateError(f"a saved searcher is damaged: {error}") from error


def _values(space: IntegerSpace) -> dict[str, range | tuple[int, ...] | tuple[str, ...]]:
    """What may be tried; on which scale distances are measured is the searcher's own affair."""
    return {axis.name: axis.choices for axis in space.axes}
