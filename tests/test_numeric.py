import decimal
import fractions
import math

import numpy as np
import pytest

from kamerton_ray.numeric import as_float, number
from kamerton_ray.trial.result import Result
from kamerton_ray.trial.timing import Timing


class Tensor:
    """As PyTorch's: `item` gives the number of one element, and raises for more."""

    def __init__(self, *elements):
        self.elements = elements

    def item(self):
        if len(self.elements) != 1:
            raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")
        return self.elements[0]


class EagerTensor:
    """As TensorFlow's: `float` takes it, and it has no `item`."""

    def __float__(self):
        return 2.5


class OutOfReach:
    """Its number lies on a device that is gone."""

    def item(self):
        raise OSError("device lost")


NUMBERS = {
    "float": 2.5,
    "int": 2,
    "below zero": -2.5,
    "zero": 0,
    "the largest": 1.7e308,
    "the least": 5e-324,
    "NumPy float": np.float64(2.5),
    "NumPy half": np.float16(2.5),
    "NumPy single": np.float32(2.5),
    "NumPy int": np.int64(2),
    "NumPy unsigned": np.uint8(2),
    "array of one": np.array([2.5]),
    "array of one in one": np.array([[2.5]]),
    "array of no dimension": np.array(2.5),
    "PyTorch": Tensor(2.5),
    "TensorFlow": EagerTensor(),
    "decimal": decimal.Decimal("2.5"),
    "fraction": fractions.Fraction(5, 2),
}
NOT_FINITE = {
    "NaN": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "NumPy NaN": np.float32("nan"),
    "NumPy inf": np.array([np.inf]),
    "decimal NaN": decimal.Decimal("NaN"),
    "decimal inf": decimal.Decimal("-Infinity"),
}
NONE = {
    "None": None,
    "a word": "fast",
    "digits": "2.5",
    "bytes": b"2.5",
    "NumPy text": np.str_("2.5"),
    "true": True,
    "NumPy true": np.True_,
    "array of true": np.array([True]),
    "a list": [2.5],
    "a dict": {"item": 2.5},
    "array of two": np.array([2.5, 2.5]),
    "array of none": np.array([]),
    "PyTorch, two": Tensor(2.5, 2.5),
    "complex": 1j,
    "NumPy complex": np.complex64(1j),
    "beyond a float": 10**400,
    "signalling NaN": decimal.Decimal("sNaN"),
    "a type": np.float32,
    "a function": len,
    "out of reach": OutOfReach(),
}


@pytest.mark.parametrize("value", NUMBERS.values(), ids=NUMBERS)
def test_every_kind_of_number_is_a_python_float(value):
    expected = value.item() if hasattr(value, "item") else float(value)
    for found in (number(value), as_float(value)):
        assert type(found) is float
        assert found == expected


@pytest.mark.parametrize("value", NOT_FINITE.values(), ids=NOT_FINITE)
def test_what_is_not_finite_is_no_number_but_a_float(value):
    assert math.isnan(number(value))
    assert not math.isfinite(as_float(value))


@pytest.mark.parametrize("value", NONE.values(), ids=NONE)
def test_what_no_framework_takes_for_a_number_is_none(value):
    assert math.isnan(number(value))
    assert as_float(value) is None


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"loss_sem": np.float32(0.5)}, 0.5),
        ({"loss_low": 1.0, "loss_high": 4.92}, 1.0),
        ({"loss_sem": 0.5, "loss_low": 1.0, "loss_high": 4.92}, 0.5),
        ({"loss_sem": None, "loss_low": 1.0, "loss_high": 4.92}, 1.0),
        ({"loss_low": 1.0}, math.nan),
        ({"other_sem": 0.5}, math.nan),
        ({}, math.nan),
    ],
)
def test_a_standard_error_is_given_or_follows_from_a_95_percent_interval(result, expected):
    assert Result.of(result).standard_error("loss") == pytest.approx(expected, nan_ok=True)


def test_what_was_not_measured_is_alike():
    one, other = (Result.of({"speedup": 2.0, "seconds": None}) for _ in range(2))
    assert one == other
    assert math.isnan(one.seconds)
    assert one != Result.of({"speedup": 2.1, "seconds": None})
    assert Timing(seconds=1.0) == Timing(seconds=1.0) != Result(seconds=1.0)
