"""From the domains of Ray Tune to axes; Ray itself is not imported."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Protocol

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.search.axis import Axis, Path, Scale, integer, name_of

LARGEST = 2**53
"""Beyond this, neighbouring integers are the same floating-point number."""

LOG_SCALE_RATIO = 8
"""A range that spans more than this factor gets a logarithmic scale unless the caller says."""

_FUNCTION_PLACEHOLDER = "__fn_ph"
"""What Ray puts in place of tune.sample_from (ray/tune/impl/placeholder.py)."""

_REFERENCE_PLACEHOLDER = "__ref_ph"
"""What Ray puts in place of an object, NumPy's integers included."""


class _Sampler(Protocol):
    """How a domain of Ray's draws; a quantized one has another inside."""

    def get_sampler(self) -> _Sampler: ...


class _Integers(Protocol):
    """An Integer domain of Ray's (ray/tune/search/sample.py, 2.60)."""

    lower: object
    upper: object
    _LogUniform: type

    def get_sampler(self) -> _Sampler: ...


def axis_of(path: Path, domain: object) -> Axis | None:
    """The axis of a domain, or None for a constant.

    Raises:
        InvalidInputError: The domain is no finite, ordered set of integers, and no set of words.
    """
    name = name_of(path)
    if isinstance(domain, range):
        return Axis(path, increasing(name, domain), Scale.LINEAR)
    if isinstance(domain, Mapping) and "grid_search" in domain:
        raise InvalidInputError(
            f"parameter {name!r}: tune.grid_search lists values to try one by one and cannot be "
            f"searched; use tune.randint or tune.choice instead, but got {dict(domain)!r}"
        )
    if _is_placeholder(domain, _FUNCTION_PLACEHOLDER):
        raise InvalidInputError(
            f"parameter {name!r}: tune.sample_from has no order and cannot be searched"
        )
    if isinstance(domain, (set, frozenset)):
        return word_axis(path, sorted(domain)) if are_words(domain) else None
    # Whoever holds one of Ray's domains has imported this module; nobody else needs it.
    sample = sys.modules.get("ray.tune.search.sample")
    if sample is None or not isinstance(domain, sample.Domain):
        return None
    if isinstance(domain, sample.Categorical):
        return _choice(path, domain.categories)
    if isinstance(domain, sample.Integer):
        return _integer_axis(path, domain, sample)
    raise InvalidInputError(
        f"parameter {name!r} must be an integer domain (tune.randint, qrandint, lograndint, "
        f"qlograndint, or choice of ordered integers) or a choice of words, but got "
        f"{domain.domain_str} of type {type(domain).__name__}"
    )


def _choice(path: Path, categories: Sequence[object]) -> Axis:
    if are_words(categories):
        return word_axis(path, categories)
    return Axis(path, ordered(name_of(path), categories), Scale.LINEAR)


def _integer_axis(path: Path, domain: _Integers, sample: ModuleType) -> Axis:
    name = name_of(path)
    lower, upper = integer(name, domain.lower), integer(name, domain.upper)
    sampler = domain.get_sampler()
    step = 1
    if isinstance(sampler, sample.Quantized):
        step = integer(name, sampler.q)
        sampler = sampler.get_sampler()
    values = _multiples(name, lower, upper, step)
    logarithmic = isinstance(sampler, domain._LogUniform)  # noqa: SLF001 - Ray has no public name
    if logarithmic and values[0] < 1:
        raise InvalidInputError(
            f"parameter {name!r}: a logarithmic range must start at 1 or above, but got "
            f"lower={lower}"
        )
    return Axis(path, values, Scale.LOG if logarithmic else Scale.LINEAR)


def _multiples(name: str, lower: int, upper: int, step: int) -> range:
    """The multiples of `step` from which Ray draws.

    Its upper bound is exclusive for a step of 1, and inclusive for larger ones.
    """
    if step < 1:
        raise InvalidInputError(f"parameter {name!r}: q must be at least 1, but got {step}")
    values = range(-(-lower // step) * step, upper if step == 1 else upper + 1, step)
    if not values:
        rule = (
            "the lower bound must be less than the upper bound, which is exclusive"
            if step == 1
            else f"a multiple of q={step} must lie between the bounds"
        )
        raise InvalidInputError(
            f"parameter {name!r}: {rule}, but got lower={lower}, upper={upper}, q={step}"
        )
    return values


def scaled(axis: Axis, asked: Scale | str | None) -> Axis:
    """The axis with the scale that the caller asks for, or that its range suggests.

    Raises:
        InvalidInputError: The scale is unknown, or does not fit the values.
    """
    if axis.words:
        if asked is None:
            return axis
        raise InvalidInputError(
            f"parameter {axis.name!r}: words have no scale, but got {asked!r} for "
            f"{list(axis.words)}"
        )
    low, high = axis.values[0], axis.values[-1]
    if low < -LARGEST or high > LARGEST:
        raise InvalidInputError(
            f"parameter {axis.name!r}: values must lie between -2**53 and 2**53, but got "
            f"{low} to {high}"
        )
    if asked is None:
        wide = low >= 0 and len(axis) > 1 and high > LOG_SCALE_RATIO * (low or axis.values[1])
        return replace(axis, scale=Scale.LOG) if wide else axis
    try:
        scale = Scale(asked)
    except ValueError:
        raise InvalidInputError(
            f"parameter {axis.name!r}: a scale is 'linear' or 'log', but got {asked!r}"
        ) from None
    if scale is Scale.LOG and low < 0:
        raise InvalidInputError(
            f"parameter {axis.name!r}: a logarithmic scale needs values of 0 or above, but the "
            f"lowest is {low}"
        )
    only_zero = high == 0
    return replace(axis, scale=Scale.LINEAR if only_zero else scale)


def increasing(name: str, values: range) -> range:
    """The range from its lowest value to its highest.

    Raises:
        InvalidInputError: It is empty.
    """
    if not values:
        raise InvalidInputError(f"parameter {name!r}: a range must not be empty, but got {values}")
    return values if values.step > 0 else values[::-1]


def ordered(name: str, categories: Sequence[object]) -> tuple[int, ...]:
    """The integers of a choice in increasing order.

    Raises:
        InvalidInputError: They are no integers, or neither rise nor fall.
    """
    if any(_is_placeholder(category, _REFERENCE_PLACEHOLDER) for category in categories):
        raise InvalidInputError(
            f"parameter {name!r}: Ray replaces every choice that is not a plain Python number by "
            "a reference, so NumPy integers cannot be ordered; use tune.choice(array.tolist())"
        )
    values = tuple(integer(name, category) for category in categories)
    rising = tuple(sorted(set(values)))
    if not values or values not in (rising, rising[::-1]):
        raise InvalidInputError(
            f"parameter {name!r}: the integers of tune.choice must be in strict order, but got "
            f"{list(values)}"
        )
    return rising


def are_words(choices: Collection[object]) -> bool:
    """Whether these are words: strings alone, and at least one."""
    return bool(choices) and all(isinstance(choice, str) for choice in choices)


def word_axis(path: Path, choices: Iterable[object]) -> Axis:
    """The axis of some words.

    Raises:
        InvalidInputError: One comes twice.
    """
    words = tuple(map(str, choices))
    if len(set(words)) < len(words):
        raise InvalidInputError(
            f"parameter {name_of(path)!r}: words must be distinct, but got {list(words)}"
        )
    return Axis(path, range(len(words)), Scale.LINEAR, words)


def plain(path: Path, constant: object) -> object:
    """A constant as plain JSON values, so that a saved search needs no pickle.

    Raises:
        InvalidInputError: JSON has nothing for it.
    """
    try:
        found: object = json.loads(json.dumps(constant))
    except (TypeError, ValueError):
        raise InvalidInputError(
            f"parameter {name_of(path)!r} is neither an integer domain nor a plain constant "
            "(None, bool, int, float, str, or lists of them); pass objects with "
            f"tune.with_parameters, but got {constant!r} of type {type(constant).__name__}"
        ) from None
    return found


def _is_placeholder(value: object, kind: str) -> bool:
    return isinstance(value, tuple) and len(value) > 0 and value[0] == kind
