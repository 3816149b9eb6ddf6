"""NelderMeadSearcher: `kamerton_ray.NelderMead` as a Ray Tune `Searcher`; no algorithm in here.

The comments name the places in Ray 2.60 that a rule comes from, below `ray/tune/`.
"""

from __future__ import annotations

import json
import logging
import math
import operator
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune.result import DEFAULT_METRIC
from ray.tune.search import UNDEFINED_METRIC_MODE, UNDEFINED_SEARCH_SPACE, Searcher

from kamerton_ray.errors import InvalidInputError, StateError, UndefinedSearchError
from kamerton_ray.numeric import number
from kamerton_ray.search.nelder_mead import Best, NelderMead, Signal, StopRule
from kamerton_ray.search.space import IntegerSpace, Scale
from kamerton_ray.trial.result import Result

logger = logging.getLogger(__name__)

STATE_FORMAT = "kamerton_ray.NelderMeadSearcher/1"

IDLE_POLL_S = 0.9
"""Ray polls a searcher at least ten times a second while a trial is alive, and once a second when
none is (execution/tune_controller.py, `_update_trial_queue`): polls this far apart mean none."""

IDLE_POLLS = 5
"""After so many such polls in a row the open trials are given up."""


class _Finished(str):
    """Ray's `Searcher.FINISHED`, which says what to do where it is not understood.

    A `Repeater` takes it from Ray 2.60 on. Older ones refuse all but dicts, and show what they got
    (ray/tune/search/repeater.py, `_TrialGroup`).
    """

    __slots__ = ()

    def __str__(self) -> str:
        return (
            f"{self!r}: the search has ended, which this Ray's Repeater cannot pass on. Give the "
            "run a num_samples that ends it before, or use Ray 2.60 or later."
        )


class NelderMeadSearcher(Searcher):  # type: ignore[misc]
    """Nelder-Mead over integers for Ray Tune.

    `tune.run(trainable, search_alg=NelderMeadSearcher(...))` or
    `tune.TuneConfig(search_alg=NelderMeadSearcher(...))`. It ends by itself, so `num_samples=-1`
    is fine; `searcher.best` and `searcher.stopped_by` then say where and why.

    Args:
        space: The domains to search, constants beside them. Leave it out to take the `param_space`
            of the `Tuner` or the `config` of `tune.run`. Constants given here have to be plain
            JSON values.
        metric: The key of the result to optimise; nested keys are joined with `/`. May be left to
            `TuneConfig` or `tune.run`.
        mode: `"min"` or `"max"`; may be left likewise.
        points_to_evaluate: Configurations to try first, in order.
        evaluated_rewards: The metric's values at `points_to_evaluate`, which are then not run.
        seed: Settles what the search leaves open; the same seed and the same order of results
            give the same configurations.
        scale: `"linear"` or `"log"` by parameter name; see `IntegerSpace`.
        budget: Ask for at most so many configurations (`num_samples` does the same).
        patience: How many configurations in a row may pass without an improvement.
        repeats: How often each of the last few configurations, which cannot be told apart, is
            run again at the end; 0 never does. A result may say how sure it is under the key
            `<metric>_sem`, the metric's standard error, or as `<metric>_low` and `<metric>_high`,
            its 95 % interval; otherwise the search estimates it.
        retries: How often a configuration is tried again, as a new trial, whose trial Ray reports
            to have ended with an error, as one does that has lost its node. Unlike Ray's
            `max_failures` it also helps a trial whose reused actor had died while it was idle.

    Raises:
        InvalidInputError: An argument breaks its rule.
    """

    def __init__(  # noqa: PLR0913 - Ray's searchers are made by one call
        self,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[float] | None = None,
        *,
        seed: int = 0,
        scale: Mapping[str, Scale | str] | None = None,
        budget: int | None = None,
        patience: int | None = None,
        repeats: int = 2,
        retries: int = 0,
    ) -> None:
        _check_metric_mode(metric, mode)
        super().__init__(metric=metric, mode=mode)
        self._metric: str | None = metric
        self._mode: str | None = mode
        self._points, self._rewards = _checked_points(points_to_evaluate, evaluated_rewards)
        self._options = _checked_options(
            seed=seed, budget=budget, patience=patience, repeats=repeats
        )
        self._scale = _checked_scale(scale or {})
        self._space = None if space is None else _tuned(space, self._scale)
        self._search: NelderMead | None = None
        self._live: dict[str, int] = {}  # trial id -> id of the open suggestion
        self._lost: dict[int, int] = {}  # id of an open suggestion -> how many trials it has cost
        self._failed: dict[str, dict[str, Any]] = {}  # trial id -> configuration
        self._retries = _checked_retries(retries)
        self._max_concurrent: int | None = None
        self._clock: Callable[[], float] = time.monotonic
        self._last_poll: float | None = None
        self._idle_polls = 0
        self._set_up()

    # --- what the user asks ---------------------------------------------------------------------

    @property
    def best(self) -> Best | None:
        """The best configuration reported so far, or None."""
        return None if self._search is None else self._search.best

    @property
    def stopped_by(self) -> StopRule | None:
        """The rule that ended the search, or None while it goes on."""
        return None if self._search is None else self._search.stopped_by

    # --- setting up -----------------------------------------------------------------------------

    @staticmethod
    def convert_search_space(spec: Mapping[str, Any]) -> IntegerSpace | dict[str, Any]:
        """The lattice of a `param_space`; `{}` where it tunes nothing, as Ray's searchers say.

        Raises:
            InvalidInputError: A domain is not a finite, ordered set of integers.
        """
        space = IntegerSpace(spec)
        return space if space.axes else {}

    def set_search_properties(
        self,
        metric: str | None,
        mode: str | None,
        config: dict[str, Any],
        **spec: Any,  # noqa: ANN401, ARG002 - Ray's signature
    ) -> bool:
        """Take over what `TuneConfig` and `param_space` say; Ray calls it before the first trial.

        Returns:
            False where the searcher already has a different space, which Ray reports as an error.

        Raises:
            InvalidInputError: The space breaks a rule, or tunes nothing.
        """
        _check_metric_mode(metric, mode)
        offered = IntegerSpace(config).without_constants()
        if offered.axes:
            offered = _tuned(config, self._scale).without_constants()
            if self._space is not None and _values(self._space) != _values(offered):
                return False
            self._space = self._space or offered
        elif self._space is None:
            raise InvalidInputError(
                "the search space has nothing to tune: it must hold at least one tune.randint, "
                f"qrandint, lograndint, qlograndint or choice, but got {config!r}"
            )
        if mode and self._search and mode != self._search.mode:
            if self._search.open or self._search.measured:
                raise InvalidInputError(
                    f"this search has begun with mode={self._search.mode!r}, but got mode={mode!r}"
                )
            self._search = None
        self._metric = metric or self._metric
        self._mode = mode or self._mode
        self._set_up()
        return True

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Keep the number of live trials here rather than in Ray's `ConcurrencyLimiter`.

        The limiter would drop what it hears of a resumed or restarted trial, and would never free
        the slot of one that does not report back (search/concurrency_limiter.py).
        """
        self._max_concurrent = max_concurrent
        return True

    def _set_up(self) -> None:
        """Start the search once the space and the mode are known."""
        if self._metric is None and self._mode:
            self._metric = DEFAULT_METRIC  # what a trainable's `return number` is reported as
        if self._search is not None or self._space is None or not self._mode:
            return
        self._search = NelderMead(self._space, mode=self._mode, start=self._points, **self._options)
        for config, reward in zip(self._points, self._rewards or (), strict=False):
            self._search.add(config, reward)

    def _ready(self) -> NelderMead:
        """The search.

        Raises:
            UndefinedSearchError: The space, the metric or the mode is not known yet.
        """
        if self._space is None:
            raise UndefinedSearchError(
                UNDEFINED_SEARCH_SPACE.format(cls=type(self).__name__, space="space")
            )
        if self._search is None or not self._metric:
            raise UndefinedSearchError(
                UNDEFINED_METRIC_MODE.format(
                    cls=type(self).__name__, metric=self._metric, mode=self._mode
                )
            )
        return self._search

    # --- Ray's calls ----------------------------------------------------------------------------

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next configuration; None while a live trial has to report first; or `FINISHED`.

        Raises:
            UndefinedSearchError: The space, the metric or the mode is not known yet.
        """
        search = self._ready()
        self._note_poll()
        if self._max_concurrent is not None and len(self._live) >= self._max_concurrent:
            return None
        lost = next((n for n in self._lost if n not in self._live.values()), None)
        if lost is not None:
            return self._given(trial_id, lost, search.space.config(search.open[lost]))
        suggestion = search.ask()
        if suggestion is Signal.DONE:
            self._log_end(search)
            return _Finished(Searcher.FINISHED)
        if isinstance(suggestion, Signal):
            return None
        return self._given(trial_id, suggestion.id, suggestion.config)

    def _given(self, trial_id: str, opened: int, config: dict[str, Any]) -> dict[str, Any]:
        self._live[trial_id] = opened
        self._heard()
        return config

    def on_trial_complete(
        self,
        trial_id: str,
        result: Mapping[str, Any] | None = None,
        error: bool = False,  # noqa: FBT001, FBT002 - Ray's signature
    ) -> None:
        """Learn a trial's result; an unknown or already reported trial is ignored.

        A trial that failed and is resumed under its id may report a number after all.
        """
        self._heard()
        metric, reported = str(self._metric), Result.of({} if error or not result else result)
        value, sem = reported.number(metric), reported.standard_error(metric)
        if trial_id in self._live:
            search, opened = self._ready(), self._live.pop(trial_id)
            lost = self._lost.pop(opened, 0)
            if error and lost < self._retries:
                self._lost[opened] = lost + 1
                return
            if math.isnan(value):
                self._failed[trial_id] = search.space.config(search.open[opened])
            search.tell(opened, value, sem=sem)
        elif trial_id in self._failed and not math.isnan(value):
            self._ready().add(self._failed.pop(trial_id), value, sem=sem)

    def has_failed(self, trial_id: str) -> bool:
        """Whether a trial counts as failed, rather than being tried again."""
        return trial_id in self._failed

    def forget(self, config: Mapping[str, Any]) -> None:
        """Discard a configuration's value; it is tried again before any other.

        Raises:
            InvalidInputError: The configuration is not in the space.
            UndefinedSearchError: The space, the metric or the mode is not known yet.
        """
        self._ready().forget(config)

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Note that trials are alive; the value is taken once, when the trial completes."""
        self._heard()

    def add_evaluated_point(
        self,
        parameters: Mapping[str, Any],
        value: float | None,
        error: bool = False,  # noqa: FBT001, FBT002 - Ray's signature
        pruned: bool = False,  # noqa: FBT001, FBT002
        intermediate_values: Sequence[float] | None = None,  # noqa: ARG002 - Ray's signature
        *,
        sem: float | None = None,
    ) -> None:
        """Take in a result of an earlier run, so that its configuration is not tried again.

        Results taken in one by one, in the order of the earlier run, take the search to where that
        run stood.

        Args:
            parameters: The configuration; keys that are not tuned are ignored.
            value: The metric's value.
            error: Whether the trial failed.
            pruned: Whether it was stopped before it was finished; its value is then no result.
            intermediate_values: Not used.
            sem: The value's standard error, where it is known.

        Raises:
            InvalidInputError: The configuration is not in the space.
            UndefinedSearchError: The space, the metric or the mode is not known yet.
        """
        search = self._ready()
        if not pruned:
            search.add(parameters, None if error else number(value), sem=sem)

    # --- trials that never report back ----------------------------------------------------------

    def _heard(self) -> None:
        """Something happened: trials are alive."""
        self._idle_polls, self._last_poll = 0, None

    def _note_poll(self) -> None:
        """Give the open trials up when Ray's polling shows that none of them is alive.

        Ray does not tell a searcher of trials that it skips on restore, or whose actor could not
        be reset; waiting for them would hang the run for ever.
        """
        now = self._clock()
        if self._last_poll is not None:
            apart = now - self._last_poll
            self._idle_polls = self._idle_polls + 1 if apart >= IDLE_POLL_S else 0
        self._last_poll = now
        if self._idle_polls >= IDLE_POLLS and self._live:
            logger.warning("Trials that never reported back are given up: %s", list(self._live))
            for opened in self._live.values():
                self._ready().release(opened)
                self._lost.pop(opened, None)
            self._live = {}
            self._heard()

    def _log_end(self, search: NelderMead) -> None:
        rule = search.stopped_by
        if rule is StopRule.FAILED:
            logger.error(
                "The search ended because all of its %d trials failed or reported no number as %r.",
                search.measured,
                self._metric,
            )
        elif rule is not None:
            logger.info("The search ended after %d trials: %s.", search.measured, rule.value)

    # --- saving and restoring -------------------------------------------------------------------

    def save(self, checkpoint_path: str) -> None:
        """Write the whole searcher, open trials included, to a JSON file."""
        Path(checkpoint_path).write_text(json.dumps(self._to_json()), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Go on from a file that `save` wrote. Nothing in it can run code.

        Raises:
            StateError: The file is damaged, or was not written by `save`.
        """
        try:
            state = json.loads(Path(checkpoint_path).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise StateError(
                f"{checkpoint_path} is not a saved NelderMeadSearcher: it holds no JSON ({error})"
            ) from error
        self._from_json(state)

    def _to_json(self) -> dict[str, Any]:
        return {
            "format": STATE_FORMAT,
            "metric": self._metric,
            "mode": self._mode,
            "points": self._points,
            "rewards": self._rewards,
            "options": self._options,
            "scale": self._scale,
            "space": None if self._space is None else self._space.to_json(),
            "search": None if self._search is None else self._search.to_json(),
            "live": self._live,
            "lost": {str(opened): trials for opened, trials in self._lost.items()},
            "failed": self._failed,
        }

    def _from_json(self, state: Any) -> None:  # noqa: ANN401 - it is what is checked here
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        if found != STATE_FORMAT:
            raise StateError(f"a saved searcher has the format {STATE_FORMAT!r}, but got {found!r}")
        try:
            _check_metric_mode(state["metric"], state["mode"])
            points, rewards = _checked_points(state["points"], state["rewards"])
            options, scale = _checked_options(**state["options"]), _checked_scale(state["scale"])
            space = None if state["space"] is None else IntegerSpace.from_json(state["space"])
            search = None if state["search"] is None else NelderMead.from_json(state["search"])
            live = {str(trial): int(opened) for trial, opened in state["live"].items()}
            lost = {int(opened): int(trials) for opened, trials in state["lost"].items()}
            failed = {str(trial): dict(config) for trial, config in state["failed"].items()}
            opened = [*live.values(), *(set(lost) - set(live.values()))]
            _check_agreement(state["metric"], state["mode"], space, search, opened, failed)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise StateError(f"a saved searcher is damaged: {error!r}") from error
        self._metric, self._mode = state["metric"], state["mode"]
        self._points, self._rewards = points, rewards
        self._options, self._scale = options, scale
        self._space, self._search = space, search
        self._live, self._lost, self._failed = live, lost, failed
        self._heard()

    # Ray pickles the searcher into tuner.pkl before a run, and users deep-copy it.
    def __getstate__(self) -> dict[str, Any]:
        return {"state": self._to_json(), "max": self._max_concurrent, "retries": self._retries}

    def __setstate__(self, state: dict[str, Any]) -> None:
        NelderMeadSearcher.__init__(self, retries=state["retries"])
        self._from_json(state["state"])
        self._max_concurrent = state["max"]


def _values(space: IntegerSpace) -> dict[str, Sequence[int]]:
    """What may be tried; on which scale distances are measured is the searcher's own affair."""
    return {axis.name: axis.values for axis in space.axes}


def _tuned(space: Mapping[str, Any], scale: Mapping[str, str]) -> IntegerSpace:
    converted = IntegerSpace(space, scale=scale)
    if not converted.axes:
        raise InvalidInputError(
            "the search space has nothing to tune: it must hold at least one tune.randint, "
            f"qrandint, lograndint, qlograndint or choice, but got {dict(space)!r}"
        )
    return converted


def _checked_options(
    *, seed: int, budget: int | None, patience: int | None, repeats: int
) -> dict[str, Any]:
    """What `NelderMead` takes beside the space, checked by it before the space is known."""
    options = {"seed": seed, "budget": budget, "patience": patience, "repeats": repeats}
    NelderMead({"any": range(1)}, **options)  # type: ignore[arg-type]
    return options


def _checked_retries(retries: int) -> int:
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise InvalidInputError(f"retries must be an integer of at least 0, but got {retries!r}")
    return retries


def _checked_scale(scale: Mapping[str, Scale | str]) -> dict[str, str]:
    try:
        return {str(name): Scale(value).value for name, value in scale.items()}
    except ValueError as error:
        raise InvalidInputError(
            f"a scale is 'linear' or 'log' for each parameter, but got {scale!r}"
        ) from error


def _check_agreement(
    metric: str | None,
    mode: str | None,
    space: IntegerSpace | None,
    search: NelderMead | None,
    opened: Sequence[int],
    failed: Mapping[str, Mapping[str, Any]],
) -> None:
    """Refuse parts of a saved searcher that are sound one by one but never stand together."""
    if search is None:
        agreed = (space is None or mode is None) and not opened and not failed
    else:
        agreed = (
            metric is not None
            and mode == search.mode
            and space is not None
            and space.without_constants() == search.space.without_constants()
            and sorted(opened) == sorted(search.open)
        )
        for config in failed.values():
            search.space.point(config)
    if not agreed:
        raise StateError("its space, metric, mode and trials are not those of its search")


def _check_metric_mode(metric: object, mode: object) -> None:
    if mode is not None and mode not in ("min", "max"):
        raise InvalidInputError(f"mode must be 'min' or 'max', but got {mode!r}")
    if metric is not None and not isinstance(metric, str):
        raise InvalidInputError(f"metric must be the name of one result, but got {metric!r}")


def _checked_points(
    points: Sequence[Mapping[str, Any]] | None, rewards: Sequence[float] | None
) -> tuple[list[dict[str, Any]], list[float | None] | None]:
    """Our own copies of the two lists, so that the caller's are left alone."""
    if points is not None and (
        isinstance(points, (str, Mapping)) or not all(isinstance(p, Mapping) for p in points)
    ):
        raise InvalidInputError(
            f"points_to_evaluate must be a list of configurations, but got {points!r}"
        )
    copies = [json.loads(json.dumps(point, default=_plain)) for point in points or ()]
    if rewards is None:
        return copies, None
    if len(rewards) != len(copies):
        raise InvalidInputError(
            "evaluated_rewards must hold one value for each of points_to_evaluate, but got "
            f"{len(rewards)} values for {len(copies)} points"
        )
    return copies, [None if math.isnan(value := number(reward)) else value for reward in rewards]


def _plain(value: object) -> object:
    """What JSON can say of a value it does not know: NumPy's integers become Python's."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return repr(value)
