"""NelderMeadSearcher: `kamerton_ray.NelderMead` as a Ray Tune `Searcher`; no algorithm in here.

The comments name the places in Ray 2.60 that a rule comes from, below `ray/tune/`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from ray.tune.result import DEFAULT_METRIC
from ray.tune.search import UNDEFINED_METRIC_MODE, UNDEFINED_SEARCH_SPACE, Searcher

from kamerton_ray.errors import UndefinedSearchError
from kamerton_ray.numeric import number
from kamerton_ray.search.constraints import Constraint, Constraints, checked
from kamerton_ray.search.nelder_mead import Best, NelderMead, Signal, StopRule
from kamerton_ray.search.options import USUAL_REPEATS
from kamerton_ray.search.space import IntegerSpace, Scale
from kamerton_ray.trial.config import Config
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.arguments import (
    check_metric_mode,
    checked_options,
    checked_points,
    checked_retries,
    checked_scale,
    tuned_space,
)
from kamerton_ray.tune.searcher_state import SearcherState
from kamerton_ray.tune.silence import Silence

logger = logging.getLogger(__name__)


class NelderMeadSearcher(Searcher):  # type: ignore[misc]  # Ray is untyped
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
        points_to_evaluate: Configurations to try first, in order. What one leaves out is
            TensorFlow's default of threads, one instance, and else the middle of the range.
        evaluated_rewards: The metric's values at these, which are then whole and are not run.
        seed: Settles what the search leaves open: with the same results it repeats itself.
        scale: `"linear"` or `"log"` by parameter name; see `IntegerSpace`.
        budget: Ask for at most so many configurations (`num_samples` does the same).
        patience: How many in a row may pass without an improvement; see `NelderMead`.
        repeats: How often each of the last few configurations is run again at the end, at most,
            while that makes the choice better; 0 never does. A result may say how sure it is under
            the key `<metric>_sem`, the metric's standard error, or as `<metric>_low` and
            `<metric>_high`, its 95 % interval. Otherwise the search estimates it.
        retries: How often a configuration is tried again, as a new trial, when Ray reports that its
            trial has ended with an error, as one does that has lost its node. Unlike Ray's
            `max_failures` it also helps a trial whose reused actor had died while it was idle.
        constraints: What every configuration has to keep; see `NelderMead`. Functions get the
            constants, too, and have to be given again to go on from a file.

    Raises:
        InvalidInputError: An argument breaks its rule.
    """

    __module__ = "kamerton_ray"  # pickles name this place, wherever the class stands

    def __init__(  # noqa: PLR0913 - Ray's searchers are made by one call
        self,
        space: Mapping[str, object] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, object]] | None = None,
        evaluated_rewards: Sequence[float] | None = None,
        *,
        seed: int = 0,
        scale: Mapping[str, Scale | str] | None = None,
        budget: int | None = None,
        patience: int | None = None,
        repeats: int = USUAL_REPEATS,
        retries: int = 0,
        constraints: Constraint | Iterable[Constraint] = (),
    ) -> None:
        check_metric_mode(metric, mode)
        super().__init__(metric=metric, mode=mode)
        points, rewards = checked_points(points_to_evaluate, evaluated_rewards)
        options = checked_options(seed=seed, budget=budget, patience=patience, repeats=repeats)
        scales, self._given = checked_scale(scale or {}), checked(constraints)
        self._state = SearcherState(
            metric=metric,
            mode=mode,
            points=points,
            rewards=rewards,
            options=options,
            scale=scales,
            space=None if space is None else tuned_space(space, scales),
            constraints=self._given,
        )
        self._retries = checked_retries(retries)
        self._max_concurrent: int | None = None
        self._clock: Callable[[], float] = time.monotonic
        self._silence = Silence()
        self._state.begin(DEFAULT_METRIC)

    @property
    def best(self) -> Best | None:
        """The best configuration reported so far, or None."""
        return None if self._state.search is None else self._state.search.best

    @property
    def stopped_by(self) -> StopRule | None:
        """The rule that ended the search, or None while it goes on."""
        return None if self._state.search is None else self._state.search.stopped_by

    @property
    def metric(self) -> str | None:
        """The key of the result to optimise."""
        return self._state.metric

    @property
    def mode(self) -> str | None:
        """Whether the lowest (`"min"`) or the highest value (`"max"`) is searched for."""
        return self._state.mode

    @staticmethod
    def convert_search_space(spec: Mapping[str, object]) -> IntegerSpace | Config:
        """The lattice of a `param_space`; `{}` where it tunes nothing, as Ray's searchers say.

        Raises:
            InvalidInputError: A domain is not a finite, ordered set of integers.
        """
        return space if (space := IntegerSpace(spec)).axes else {}

    def set_search_properties(
        self,
        metric: str | None,
        mode: str | None,
        config: Config,
        **spec: object,  # noqa: ARG002 - Ray's signature
    ) -> bool:
        """Take over what `TuneConfig` and `param_space` say; Ray calls it before the first trial.

        Returns:
            False where the searcher already has a different space, which Ray reports as an error.

        Raises:
            InvalidInputError: The space breaks a rule, or tunes nothing.
        """
        check_metric_mode(metric, mode)
        taken = self._state.offer(metric, mode, config)
        if taken:
            self._state.begin(DEFAULT_METRIC)
        return taken

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Keep the number of live trials here rather than in Ray's `ConcurrencyLimiter`.

        The limiter would drop what it hears of a resumed or restarted trial, and would never free
        the slot of one that does not report back (search/concurrency_limiter.py).
        """
        self._max_concurrent = max_concurrent
        return True

    def _ready(self) -> NelderMead:
        """The search.

        Raises:
            UndefinedSearchError: The space, the metric or the mode is not known yet.
        """
        if self._state.search is None or not self._state.metric:
            raise _undefined(self._state, type(self).__name__)
        return self._state.search

    def suggest(self, trial_id: str) -> Config | str | None:
        """The next configuration; None while a live trial has to report first; or `FINISHED`.

        Raises:
            UndefinedSearchError: The space, the metric or the mode is not known yet.
        """
        search, trials = self._ready(), self._state.trials
        if self._silence.polled(self._clock()) and trials.live:
            trials.give_up(search)
            self._silence.heard()
        if self._max_concurrent is not None and len(trials.live) >= self._max_concurrent:
            return None
        found = trials.begin(trial_id, search)
        if found is Signal.DONE:
            _log_end(search, self.metric)
            return _Finished(Searcher.FINISHED)
        if isinstance(found, Signal):
            return None
        self._silence.heard()
        return found

    def on_trial_result(self, trial_id: str, result: object) -> None:  # noqa: ARG002 - Ray's signature
        """Note that trials are alive; the value is taken once, when the trial completes."""
        self._silence.heard()

    def on_trial_complete(
        self,
        trial_id: str,
        result: Mapping[str, object] | None = None,
        error: bool = False,  # noqa: FBT001, FBT002 - Ray's signature
    ) -> None:
        """Learn a trial's result; an unknown or already reported trial is ignored."""
        self._silence.heard()
        if not self._state.trials.knows(trial_id):
            return
        told, metric = Result.of({} if error or not result else result), str(self.metric)
        value, sem = told.number(metric), told.standard_error(metric)
        retries = self._retries if error else 0
        self._state.trials.end(trial_id, self._ready(), value, sem=sem, retries=retries)

    def has_failed(self, trial_id: str) -> bool:
        """Whether a trial counts as failed, rather than being tried again."""
        return trial_id in self._state.trials.failed

    def forget(self, config: Mapping[str, object]) -> None:
        """Discard a configuration's value; it is tried again before any other.

        Raises:
            InvalidInputError: The configuration is not in the space.
            UndefinedSearchError: The space, the metric or the mode is not known yet.
        """
        self._ready().forget(config)

    def add_evaluated_point(
        self,
        parameters: Mapping[str, object],
        value: float | None,
        error: bool = False,  # noqa: FBT001, FBT002 - Ray's signature
        pruned: bool = False,  # noqa: FBT001, FBT002 - Ray's signature
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

    def save(self, checkpoint_path: str) -> None:
        """Write the whole searcher, open trials included, to a JSON file."""
        Path(checkpoint_path).write_text(json.dumps(self._state.to_json()), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Go on from a file that `save` wrote. Nothing in it can run code.

        Raises:
            StateError: The file is damaged, was not written by `save`, or has other constraints.
        """
        self._state = SearcherState.read(Path(checkpoint_path), self._given)
        self._silence.heard()

    # Ray pickles the searcher into tuner.pkl before a run, and users deep-copy it.
    def __getstate__(self) -> _Pickled:
        state, most, retries = self._state.to_json(), self._max_concurrent, self._retries
        return _Pickled(state=state, max=most, retries=retries, constraints=self._given)

    def __setstate__(self, state: _Pickled) -> None:
        given = state.get("constraints", ())
        NelderMeadSearcher.__init__(self, retries=state["retries"], constraints=given)
        self._state = SearcherState.from_json(state["state"], self._given)
        self._max_concurrent = state["max"]


class _Pickled(TypedDict):
    """What a pickle of a searcher holds."""

    state: object
    max: int | None
    retries: int
    constraints: Constraints  # earlier ones have none


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


def _undefined(state: SearcherState, name: str) -> UndefinedSearchError:
    """The error for a searcher that does not know its space, its metric or its mode."""
    if state.space is None:
        return UndefinedSearchError(UNDEFINED_SEARCH_SPACE.format(cls=name, space="space"))
    return UndefinedSearchError(
        UNDEFINED_METRIC_MODE.format(cls=name, metric=state.metric, mode=state.mode)
    )


def _log_end(search: NelderMead, metric: str | None) -> None:
    rule = search.stopped_by
    if rule is StopRule.FAILED:
        logger.error(
            "The search ended because all of its %d trials failed or reported no number as %r.",
            search.measured,
            metric,
        )
    elif rule is not None:
        logger.info("The search ended after %d trials: %s.", search.measured, rule.value)
