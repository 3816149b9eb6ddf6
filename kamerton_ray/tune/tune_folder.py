"""What Ray Tune has written into a run's folder, read as JSON and never unpickled.

Ray writes for each trial `params.json` and `result.json`, a line for each report, or
`progress.csv`; and for the run `experiment_state-*.json`, in which whatever is no JSON is a pickle
(ray/tune/utils/serialization.py, `TuneFunctionEncoder`), which Ray's own `ExperimentAnalysis`
loads: whoever sends one a folder could run any code.
"""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator
from pathlib import Path

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.tune.folders import RESULT_SHAPE, Json, check, read_lines, read_object

STATES, RESULT, PARAMS, PROGRESS = (
    "experiment_state-*.json",
    "result.json",
    "params.json",
    "progress.csv",
)

PICKLED = "CLOUDPICKLE_FALLBACK"
"""What stands under `_type` where a pickle does."""


def is_one(folder: Path) -> bool:
    """Whether a folder looks like that of a run of Ray Tune."""
    return any(folder.glob(STATES)) or any(_trial_folders(folder))


def results_in(folder: Path) -> list[Json]:
    """What each trial of a run reported last, with its `config`, in the run's order.

    Raises:
        InvalidInputError: A file holds something else; it is named, with the place.
    """
    reported = {trial.name: _of_trial(trial) for trial in _trial_folders(folder)}
    found = []
    for number, known in _of_state(folder):
        # A trial's folder has its number in its name.
        name = next((name for name in reported if number and number in name), None)
        found.append(known if name is None else {**known, **reported.pop(name)})
    return [*found, *reported.values()]


def _trial_folders(folder: Path) -> list[Path]:
    return sorted(
        one
        for one in folder.iterdir()
        if one.is_dir() and any((one / name).is_file() for name in (RESULT, PARAMS))
    )


def _of_trial(folder: Path) -> Json:
    """What a trial reported last, from its own folder."""
    result: Json = {}
    if (folder / RESULT).is_file():
        lines = read_lines(folder / RESULT)
        result = lines[-1] if lines else {}
    elif (folder / PROGRESS).is_file():
        result = _last_row(folder / PROGRESS)
    if (folder / PARAMS).is_file():
        result["config"] = read_object(folder / PARAMS)
    check(result, RESULT_SHAPE, str(folder))
    return result


def _last_row(path: Path) -> Json:
    """The last row of a table, numbers as such."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(f"{path} must be a table in CSV: {error}") from error
    return {name: _typed(text) for name, text in (rows[-1] if rows else {}).items() if name}


def _typed(text: object) -> object:
    with contextlib.suppress(TypeError, ValueError):
        return float(text)  # type: ignore[arg-type]  # what is no number stays as it is
    return text


def _of_state(folder: Path) -> Iterator[tuple[str, Json]]:
    """Each trial's number, and what the run's state says of it."""
    path = max(folder.glob(STATES), default=None)
    if path is None:
        return
    trials = read_object(path).get("trial_data")
    if not isinstance(trials, list):
        raise InvalidInputError(f"{path} must hold a list under 'trial_data'")
    for place, trial in enumerate(trials):
        where = f"{path}, trial_data[{place}]"
        try:
            described, measured = (json.loads(text, object_hook=_unpickled) for text in trial)
            number, config = described["trial_id"], described["config"]
            result = {**(measured["last_result"] or {}), "config": config}
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"{where} must be a trial, as Ray writes it: {error!r}"
            ) from error
        check(result, RESULT_SHAPE, where)
        yield str(number), result


def _unpickled(value: Json) -> Json | None:
    """An object in JSON; None in place of a pickle, so that what it stands for stays unknown."""
    return None if value.get("_type") == PICKLED else value
