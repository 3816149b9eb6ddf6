"""A trial's configuration: the words for it, and the variables that apply it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.knobs import STOCK, is_stock
from kamerton_ray.machine.threads import Threading, thread_count

Config = dict[str, Any]
"""The values of a trial's parameters, by name; nested where the search space is."""

INSTANCES_KEY = "instances"
"""The parameter that says how many processes of a model run at the same time."""

PINNED = "pinned"
"""The parameter that says whether each of them has CPUs of its own: 1 for yes, 0 for no."""

ONE_PROCESS = {INSTANCES_KEY: 1, PINNED: 0}
"""What both are for a configuration that does not say it, and for TensorFlow's default."""

INSTANCE, INSTANCES = "KAMERTON_RAY_INSTANCE", "KAMERTON_RAY_INSTANCES"
"""The variables that tell each of them its number, from 0, and how many there are."""


def pinned(config: Mapping[str, Any]) -> bool:
    """Whether each instance of a configuration has CPUs of its own; not where it does not say.

    Raises:
        InvalidInputError: It says something else than 0 or 1.
    """
    said = config.get(PINNED, 0)
    if not isinstance(said, int) or said not in {0, 1}:
        raise InvalidInputError(f"pinned must be 0 or 1, but got {said!r}")
    return bool(said)


def key_of(config: Mapping[str, Any]) -> str:
    """The same text for the same configuration."""
    return json.dumps(config, sort_keys=True, default=repr)


def in_words(config: Mapping[str, Any] | None) -> str:
    """A configuration as the user writes it; a knob that is left as it is goes without saying."""
    if config is None:
        return "TensorFlow's default"
    told = {name: value for name, value in config.items() if not is_stock(name, value)}
    said = " ".join(f"{name}={value}" for name, value in told.items() if name != INSTANCES_KEY)
    if INSTANCES_KEY not in config:
        return said or ("" if told == config else STOCK)
    count = config[INSTANCES_KEY]
    some = "1 instance" if count == 1 else f"{count} instances"
    return f"{some} of {said}" if said else some


def instances_of(config: Mapping[str, Any] | None) -> int:
    """How many processes a configuration runs at the same time; 1 where it does not say.

    Raises:
        InvalidInputError: It says something else than a positive integer.
    """
    return thread_count(INSTANCES_KEY, (config or {}).get(INSTANCES_KEY, 1), least=1)


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """What a nested dict holds, by names joined with `/`, as Ray joins them."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def environment(config: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables that apply a configuration.

    `intra_op` and `inter_op` become TensorFlow's own variables, which it reads where the program
    sets no counts (tensorflow/core/common_runtime/process_util.cc); what is written in capitals is
    a variable already; anything else only the program itself can apply.
    """
    found = Threading.of(config).environment() if has_threads(config) else {}
    return {**found, **variables(config)}


def is_variable(name: str) -> bool:
    """Whether a parameter is an environment variable: its name is one, in capitals."""
    return re.fullmatch(r"[A-Z_][A-Z0-9_]*", name) is not None


def variables(config: Mapping[str, Any]) -> dict[str, str]:
    """Those of its parameters that are environment variables."""
    return {name: str(value) for name, value in config.items() if is_variable(name)}


def has_threads(config: Mapping[str, Any]) -> bool:
    """Whether it says a thread count."""
    return "intra_op" in config or "inter_op" in config
