"""The results of a search, from wherever they are kept: Ray's own objects, folders, lists."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.trial.result import Result
from kamerton_ray.tune import tune_folder
from kamerton_ray.tune.session import Session


class _TrialResult(Protocol):
    """What Ray's `ResultGrid` holds of each trial."""

    metrics: Mapping[str, object] | None
    config: Mapping[str, object] | None


def trial_results(results: object) -> list[Result]:
    """What each trial reported last, with its `config`.

    Args:
        results: Ray's `ExperimentAnalysis` or `ResultGrid`, the folder of one of them or of a
            session of `kamerton-ray`, or a list of such dicts.

    Raises:
        InvalidInputError: It is none of these, or empty.
    """
    found = list(_found(results))
    if not found:
        raise InvalidInputError(f"results must hold at least one trial, but {results!r} has none")
    return found


def _found(results: object) -> Iterable[Result]:
    if isinstance(results, str | os.PathLike):
        return _of_folder(Path(results))
    if hasattr(results, "trials"):  # ExperimentAnalysis
        return [Result.of({**t.last_result, "config": t.config}) for t in results.trials]
    if isinstance(results, Sequence) and all(isinstance(one, Mapping | Result) for one in results):
        return [one if isinstance(one, Result) else Result.of(one) for one in results]
    if hasattr(results, "get_best_result"):  # ResultGrid, which is no Iterable by its type
        grid = cast("Sequence[_TrialResult]", results)
        return [Result.of({**(r.metrics or {}), "config": r.config or {}}) for r in iter(grid)]
    raise InvalidInputError(
        "results must be an ExperimentAnalysis, a ResultGrid, a folder or a list of dicts, but got "
        f"{results!r}"
    )


def _of_folder(folder: Path) -> Iterable[Result]:
    if not folder.is_dir():
        raise InvalidInputError(f"a folder of results must be a folder, but {folder} is none")
    if Session.is_one(folder):
        return Session.open(folder).results()
    if not tune_folder.is_one(folder):
        raise InvalidInputError(
            f"a folder of results is one of kamerton-ray or of Ray Tune, but {folder} is neither"
        )
    return map(Result.of, tune_folder.results_in(folder))
