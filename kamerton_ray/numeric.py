"""What counts as a number in a result, and how records compare that have none somewhere."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence

from kamerton_ray.errors import InvalidInputError

NORMAL_95 = 1.96
"""The half-width of a normal 95 % interval, in standard errors."""


class NanEqual:
    """A record that equals another one whose fields are the same, `math.nan` among them.

    A dataclass's own comparison does so up to Python 3.12, which compares tuples. Since 3.13 it
    compares field by field, and NaN, which stands for what was not measured, differs from itself.
    """

    def __eq__(self, other: object) -> bool:
        """Whether it is a record of the same kind with the same fields."""
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]  # some of the fields have none


def number(value: object) -> float:
    """A reported value as a finite Python float; NaN where it is none.

    Trainables report whatever their framework gives them. A number is what Python, NumPy, PyTorch,
    TensorFlow or `decimal` take for one, and an array or a tensor of one element, whose `item` is
    the number. None, NaN, the infinities and numbers beyond a float are none. Nor is a boolean,
    which says yes or no, nor text, which nobody has agreed to parse.
    """
    found = as_float(value)
    return found if found is not None and math.isfinite(found) else math.nan


def as_float(value: object) -> float | None:
    """The same, but NaN and the infinities as they are, and None for what is no number at all."""
    item = getattr(value, "item", None)
    try:
        plain = item() if callable(item) else value
        return None if isinstance(plain, bool | str | bytes | bytearray) else float(plain)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - code of others, which may raise anything
        return None


def mean(values: Sequence[float]) -> float:
    """The mean, which lies between the lowest and the highest however large they are."""
    half = math.fsum(value / (2 * len(values)) for value in values)
    return min(max(2 * half, min(values)), max(values))


def plain(value: object) -> object:
    """What JSON gets for a value that it does not know: NumPy's as numbers, others as texts."""
    if isinstance(value, numbers.Integral):
        return int(value)
    found = as_float(value)
    return repr(value) if found is None else found


def positive(name: str, value: float, *, zero: bool = False) -> float:
    """`value`, which must be a number above 0, or 0 where that is allowed, too.

    Raises:
        InvalidInputError: It is not.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not (value > 0 or (zero and value == 0)):
        raise InvalidInputError(f"{name} must be a number above 0, but got {value!r}")
    return float(value)
