"""Student's distribution, from SciPy.

SciPy is imported on the first call: it takes longer to import than the rest of the package.
"""

from __future__ import annotations

from collections.abc import Sequence

from kamerton_ray.trial.estimate import Floats


def student(freedom: float, t: Floats | float) -> Floats:
    """The cumulative distribution for so many degrees of freedom, at one place or at several."""
    from scipy.special import stdtr  # noqa: PLC0415 - slow to import, as said above

    found: Floats = stdtr(freedom, t)
    return found


def student_quantile(freedom: Sequence[float], share: float) -> Floats:
    """The place below which this share lies, for each of some degrees of freedom."""
    from scipy.special import stdtrit  # noqa: PLC0415 - slow to import, as said above

    found: Floats = stdtrit(freedom, share)
    return found
