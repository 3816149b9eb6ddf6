"""Names beside the points of a picture, where they cover neither each other nor a dot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from kamerton_ray.report.paper import Paper

if TYPE_CHECKING:
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

DOT, CLEAR = 3.5, 7.0
"""How far a dot reaches around its middle, in points, and from where on a name is not its own."""


class Named(NamedTuple):
    """A point in a picture, and its name."""

    at: tuple[float, float]
    name: str
    color: str
    weight: Literal["normal", "bold"] = "normal"


class Spot(NamedTuple):
    """Where a name may stand beside its point: how far to the right and up, in points."""

    right: float
    up: float

    @property
    def ha(self) -> Literal["left", "center", "right"]:
        """Which side of the name is turned to the point."""
        return "left" if self.right > 0 else "right" if self.right < 0 else "center"

    @property
    def va(self) -> Literal["bottom", "center", "top"]:
        """The same of its upper and its lower side."""
        return "bottom" if self.up > 0 else "top" if self.up < 0 else "center"


DIRECTIONS = ((-1, 1), (0, 1), (-1, 0), (1, 0), (1, -1), (0, -1), (-1, -1), (1, 1))
"""To the right and up; they are tried in this order."""

BESIDE = [Spot(5 * x if y else 9 * x, 4 * y if x else 8 * y) for x, y in DIRECTIONS]
"""The spots where it is clear whose name it is."""

FARTHER = [Spot(far * x, far * y) for far in (16, 26, 38) for x, y in DIRECTIONS]
"""Those where a line has to say it."""


def name_points(
    paper: Paper, points: Sequence[Named], *, dots: Iterable[tuple[float, float]]
) -> None:
    """Write names beside points; one that finds no room is left out.

    Args:
        paper: With axes that stay as they are.
        points: The most important first.
        dots: What the names leave free.
    """
    paper.figure.draw_without_rendering()  # only now it is known where everything is
    places = list(dots)
    taken = [_around(paper, place, DOT) for place in places]
    for point in points:
        rivals = [_around(paper, place, CLEAR) for place in places if place != point.at]
        tries = (BESIDE, [*taken, *rivals]), (FARTHER, taken), (BESIDE, taken)
        for spots, others in tries:
            box = _name(paper, point, spots, others)
            if box is not None:
                taken.append(box)
                break


def _name(paper: Paper, point: Named, spots: Sequence[Spot], taken: Sequence[Bbox]) -> Bbox | None:
    """Write a name in the first of these spots that is free; what it takes."""
    for spot in spots:
        note = _note(paper, point, spot)
        box = note.get_window_extent()
        inside = all(paper.axes.bbox.contains(*corner) for corner in (box.min, box.max))
        if inside and not any(box.overlaps(other) for other in taken):
            if spots is FARTHER:
                _lead(paper, point, spot)
            return box
        note.remove()
    return None


def _note(paper: Paper, point: Named, spot: Spot) -> Annotation:
    """A name on a ground of its own, so that no line crosses it."""
    note = paper.axes.annotate(
        point.name, point.at, spot, textcoords="offset points", color=point.color, size=9,
        weight=point.weight, ha=spot.ha, va=spot.va, zorder=3, gid="name",
        bbox={"facecolor": paper.palette.paper, "edgecolor": "none", "pad": 0.5},
    )  # fmt: skip
    note.set_in_layout(False)
    return note


def _lead(paper: Paper, point: Named, spot: Spot) -> None:
    """A line from a name to its point."""
    line = {"arrowstyle": "-", "color": paper.palette.soft, "lw": 0.6, "shrinkA": 0, "shrinkB": 4}
    paper.axes.annotate(
        "", point.at, spot, textcoords="offset points", arrowprops=line, zorder=3
    ).set_in_layout(False)


def _around(paper: Paper, dot: tuple[float, float], points: float) -> Bbox:
    """What lies around a dot, up to so many points from its middle."""
    from matplotlib.transforms import Bbox  # noqa: PLC0415 - an extra

    x, y = paper.axes.transData.transform(dot)
    reach = points * paper.figure.dpi / 72
    return Bbox.from_extents(x - reach, y - reach, x + reach, y + reach)
