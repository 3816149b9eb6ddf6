"""The checks of `NelderMeadSearcher`'s arguments."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Mapping, Sequence
from typing import TypedDict

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.numeric import number
from kamerton_ray.search.nelder_mead import NelderMead
from kamerton_ray.search.space import IntegerSpace, Scale
from kamerton_ray.trial.config import Config


class Options(TypedDict):
    """What `NelderMead` takes beside the space, the mode and the start."""

    seed: int
    budget: int | None
    patience: int | None
    repeats: int


def checked_options(
    *, seed: int, budget: int | None, patience: int | None, repeats: int
) -> Options:
    """The options, checked by `NelderMead` itself before the space is known.

    Raises:
        InvalidInputError: One breaks its rule.
    """
    options = Options(seed=seed, budget=budget, patience=patience, repeats=repeats)
    NelderMead({"any": range(1)}, **options)
    return options


def checked_retries(retries: int) -> int:
    """How often a lost configuration is tried again.

    Raises:
        InvalidInputError: It is no integer, or below 0.
    """
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise InvalidInputError(f"retries must be an integer of at least 0, but got {retries!r}")
    return retries


def checked_scale(scale: Mapping[str, Scale | str]) -> dict[str, str]:
    """The scale of each parameter, as text.

    Raises:
        InvalidInputError: One is neither linear nor logarithmic.
    """
    try:
        return {str(name): Scale(value).value for name, value in scale.items()}
    except ValueError as error:
        raise InvalidInputError(
            f"a scale is 'linear' or 'log' for each parameter, but got {scale!r}"
        ) from error


def check_metric_mode(metric: object, mode: object) -> None:
    """Check what is optimised, and whether the lowest or the highest is wanted.

    Raises:
        InvalidInputError: One of them breaks its rule.
    """
    if mode is not None and mode not in ("min", "max"):
        raise InvalidInputError(f"mode must be 'min' or 'max', but got {mode!r}")
    if metric is not None and not isinstance(metric, str):
        raise InvalidInputError(f"metric must be the name of one result, but got {metric!r}")


def checked_points(
    points: Sequence[Mapping[str, object]] | None, rewards: Sequence[float] | None
) -> tuple[list[Config], list[float | None] | None]:
    """Our own copies of the points to evaluate and of their rewards.

    Raises:
        InvalidInputError: They are no such lists, or not as long as each other.
    """
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


def tuned_space(domains: Mapping[str, object], scale: Mapping[str, str]) -> IntegerSpace:
    """The lattice of a search space that has something to tune.

    Raises:
        InvalidInputError: It has nothing to tune, or a domain breaks its rule.
    """
    space = IntegerSpace(domains, scale=scale)
    if not space.axes:
        raise nothing_to_tune(domains)
    return space


def nothing_to_tune(domains: Mapping[str, object]) -> InvalidInputError:
    """The error for a search space without anything to tune."""
    return InvalidInputError(
        "the search space has nothing to tune: it must hold at least one tune.randint, "
        f"qrandint, lograndint, qlograndint or choice, but got {dict(domains)!r}"
    )


def _plain(value: object) -> object:
    """What JSON can say of a value it does not know: NumPy's integers become Python's."""
    try:
        return operator.index(value)  # type: ignore[arg-type]  # what has no index raises
    except TypeError:
        return repr(value)
