"""Constraints: which configurations may not be tried, though they are in the space."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from kamerton_ray.errors import InvalidInputError, StateError
from kamerton_ray.search.points import distinct
from kamerton_ray.search.space import Config


@dataclass(frozen=True)
class AtMost:
    """A constraint: the product of some parameters is at most so many.

    Such as the threads of all processes together: `AtMost(("instances", "intra_op"), 8)`.

    Attributes:
        product: The parameters by name (`"a/b"` when nested); none of them may take a value
            below 0.
        most: The largest product that may be tried.

    Raises:
        InvalidInputError: An argument breaks its rule.
    """

    product: tuple[str, ...]
    most: int

    def __post_init__(self) -> None:
        names = () if isinstance(self.product, str) else tuple(self.product)
        if not names or not all(isinstance(name, str) for name in names):
            raise InvalidInputError(
                f"a product must be a sequence of parameters' names, but got {self.product!r}"
            )
        if distinct(names) != list(names):
            raise InvalidInputError(f"a product must name a parameter once, but got {names!r}")
        if isinstance(self.most, bool) or not isinstance(self.most, int):
            raise InvalidInputError(f"most must be an integer, but got {self.most!r}")
        object.__setattr__(self, "product", names)

    def keeps(self, values: Mapping[str, int]) -> bool:
        """Whether values, by the parameters' names, keep it; one that is missing does not count."""
        return math.prod(values.get(name, 1) for name in self.product) <= self.most

    def __str__(self) -> str:
        return f"{' x '.join(self.product)} <= {self.most}"


Rule: TypeAlias = Callable[[Config], bool]
"""A function of a whole configuration, constants included: whether it may be tried."""

Constraint: TypeAlias = AtMost | Rule

Constraints: TypeAlias = tuple[Constraint, ...]


def checked(constraints: object) -> Constraints:
    """The constraints as a tuple; a single one counts as a sequence of one.

    Raises:
        InvalidInputError: One is neither an `AtMost` nor a function.
    """
    if isinstance(constraints, AtMost) or callable(constraints):
        return (constraints,)
    found = constraints if isinstance(constraints, Iterable) else [constraints]
    return tuple(map(_checked, found))


def _checked(constraint: object) -> Constraint:
    if isinstance(constraint, AtMost) or callable(constraint):
        return constraint
    raise InvalidInputError(
        "a constraint must be an AtMost or a function of a configuration that returns True or "
        f"False, but got {constraint!r}"
    )


def described(constraint: Constraint) -> str:
    """A constraint in words; of a function its name."""
    if isinstance(constraint, AtMost):
        return str(constraint)
    return str(getattr(constraint, "__qualname__", None) or repr(constraint))


def is_kept(rule: Rule, config: Config) -> bool:
    """Whether a function lets a configuration be tried.

    Raises:
        InvalidInputError: It raised, or returned no boolean.
    """
    try:
        found: object = rule(config)
    except Exception as error:
        raise InvalidInputError(
            f"the constraint {described(rule)} must return True or False for every configuration, "
            f"but raised {error!r} for {config!r}"
        ) from error
    if not isinstance(found, bool | np.bool_):
        raise InvalidInputError(
            f"the constraint {described(rule)} must return True or False, but got {found!r} for "
            f"{config!r}"
        )
    return bool(found)


# --- saving -------------------------------------------------------------------------------------


def to_json(constraints: Constraints) -> list[dict[str, object]]:
    """The constraints as plain JSON values; of a function there is only its name."""
    return [
        {"product": list(one.product), "most": one.most}
        if isinstance(one, AtMost)
        else {"function": described(one)}
        for one in constraints
    ]


def restored(saved: object, given: Constraints) -> Constraints:
    """The constraints that `to_json` described, with the functions among those given.

    Args:
        saved: What `to_json` gave.
        given: All constraints once more; may be left out where none is a function.

    Raises:
        StateError: `saved` is something else, a function is missing, or those given are others
            than those saved.
    """
    before = _read(saved)
    limits = tuple(one for one in before if isinstance(one, AtMost))
    if not given and limits != before:
        raise StateError(
            "a search that was saved with constraints that are functions needs them once more as "
            f"constraints=..., since JSON cannot hold them; they were {_listed(before)}"
        )
    if given and _comparable(given) != _comparable(before):
        raise StateError(
            f"a saved search keeps its constraints, {_listed(before)}, but got {_listed(given)}"
        )
    return given or limits


def _read(saved: object) -> tuple[AtMost | str, ...]:
    """The constraints that were saved, of functions the names."""
    try:
        return tuple(
            str(one["function"]) if "function" in one else AtMost(**one)
            for one in saved  # type: ignore[attr-defined] # what is no list of dicts raises
        )
    except (TypeError, ValueError) as error:
        raise StateError(f"a saved search's constraints are damaged: {error!r}") from error


def _comparable(constraints: Iterable[Constraint | str]) -> list[AtMost | None]:
    """The constraints, where functions are all alike: only the caller knows what they do."""
    return [one if isinstance(one, AtMost) else None for one in constraints]


def _listed(constraints: Iterable[Constraint | str]) -> str:
    words = [one if isinstance(one, str) else described(one) for one in constraints]
    return ", ".join(words) or "none"
