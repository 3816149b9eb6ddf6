"""What the pictures are drawn on: matplotlib's figure in our style, whatever the user's is.

Names are shown as they are: on it `$` is a dollar sign, never mathematics.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from kamerton_ray.errors import MissingExtraError
from kamerton_ray.report.palette import Palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 4.4
"""A figure's width in inches, unless it has more to show: at 72 to the inch it fits a phone."""

GAP = 0.09
"""Names beside a picture are this far apart, as a share of its height."""

STYLE = {"text.parse_math": False, "text.usetex": False, "font.size": 10}
"""Our style, beside matplotlib's default."""


class Level(NamedTuple):
    """A name at the right end of a picture: how high it stands, its colour and its weight."""

    value: float
    name: str
    color: str
    weight: Literal["normal", "bold"] = "bold"


@dataclass(frozen=True)
class Paper:
    """A figure with one pair of axes, and the colours to draw with."""

    figure: Figure
    axes: Axes
    palette: Palette

    def count_below(self) -> None:
        """Show whole numbers alone on the axis below."""
        from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - an extra

        self.axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    def name_levels(self, levels: Iterable[Level]) -> None:
        """Write names at the right, as high as their values, apart where they would overlap."""
        low, high = self.axes.get_ylim()
        place = -math.inf
        for value, name, color, weight in sorted(levels):
            place = max((value - low) / (high - low), place + GAP)
            self.axes.annotate(
                name, (1.02, place), xycoords="axes fraction", va="center", color=color,
                weight=weight, annotation_clip=False,
            )  # fmt: skip


@contextmanager
def paper(palette: Palette, size: tuple[float, float]) -> Iterator[Paper]:
    """A sheet of this size in inches, in our style until it is left.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib import style, text  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError.of("report", error) from error
    with style.context(["default", STYLE]):
        figure = _picture()(figsize=size, layout="constrained", facecolor=palette.paper)
        axes = figure.add_subplot(facecolor="none")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[:].set_color(palette.line)
        axes.tick_params(colors=palette.soft, labelcolor=palette.soft, labelsize=9)
        yield Paper(figure, axes, palette)
        axes.xaxis.label.set_color(palette.ink)
        axes.yaxis.label.set_color(palette.ink)
        for one in figure.findobj(text.Text):
            one.set_parse_math(False)


@functools.cache
def _picture() -> type[Figure]:
    """A figure that a notebook shows, even one that has not loaded pyplot."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            return png(self, dpi=144)

    return Picture


def png(figure: Figure, *, dpi: int) -> bytes:
    """A figure as the content of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return file.getvalue()
