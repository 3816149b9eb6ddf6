"""The pictures that there are of a part, and how the page shows them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kamerton_ray.report.palette import DARK, LIGHT, Palette
from kamerton_ray.report.paper import WIDTH
from kamerton_ray.report.part import Part
from kamerton_ray.report.plot_progress import progress
from kamerton_ray.report.plot_rounds import rounds
from kamerton_ray.report.plot_speedups import speedups
from kamerton_ray.report.plot_surface import surface
from kamerton_ray.report.plot_trade_off import has_trade_off, trade_off

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = 1.5
"""A picture this many times as wide as usual has the page's whole width."""

POINTS = 72
"""Points to the inch, in which an SVG is measured."""

LEAST_SHOWN, MOST_SHOWN = 0.9, 1.4
"""A picture is shrunk and stretched as far as this, where it has more to show than usual."""

LABELS = {
    "map": "Map of the measured configurations",
    "speedups": "Gain over the default of each configuration, sorted",
    "trials": "The search's best so far against trials",
    "rounds": "Fresh runs of the default and of the configuration beside it",
    "trade_off": "Throughput against the time that 99 % of the steps keep",
}
"""What a picture shows, for those who cannot see it."""

Draw = Callable[[Palette], "Figure"]
"""It draws a picture in some colours."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A picture for the page.

    Attributes:
        svg: In both palettes, of which the page shows one.
        is_wide: Whether it needs the page's whole width.
    """

    svg: str
    is_wide: bool


def pictures(part: Part) -> dict[str, Draw]:
    """What draws the pictures that there is something for, by name."""
    found, verdict = part.measured, part.verdict
    draw: dict[str, Draw] = {}
    if found.working:
        draw["map"] = lambda palette: surface(found, verdict=verdict, palette=palette)
        draw["speedups"] = lambda palette: speedups(found, verdict=verdict, palette=palette)
        draw["trials"] = lambda palette: progress(found, palette=palette)
    if verdict is not None and verdict.rounds:
        draw["rounds"] = lambda palette: rounds(verdict, objective=found.objective, palette=palette)
    if has_trade_off(found, verdict):
        draw["trade_off"] = lambda palette: trade_off(found, verdict=verdict, palette=palette)
    return draw


def charts(part: Part, prefix: str) -> dict[str, Chart]:
    """The pictures for the page; a prefix tells those of several parts apart."""
    return {name: _chart(name, draw, prefix) for name, draw in pictures(part).items()}


def _chart(name: str, draw: Draw, prefix: str) -> Chart:
    both = {mode: draw(palette) for mode, palette in (("light", LIGHT), ("dark", DARK))}
    shown = "".join(
        f'<div class="{mode}">{_svg(figure, f"{prefix}-{name}-{mode}", LABELS[name])}</div>'
        for mode, figure in both.items()
    )
    return Chart(svg=shown, is_wide=both["light"].get_figwidth() > WIDE * WIDTH)


def _svg(figure: Figure, prefix: str, label: str) -> str:
    """A figure as an SVG element whose texts are texts and whose ids begin with a prefix.

    Its width is that of its place, but no less than its texts need to be read.
    """
    opening, _, inside = _saved(figure, prefix).partition(">")
    box = re.findall(r'viewBox="[^"]*"', opening)[0]
    width = figure.get_figwidth() * POINTS
    least = width * LEAST_SHOWN if width > WIDTH * POINTS else 0
    body = re.sub(r"<[^>]*>", lambda tag: _own_ids(tag.group(), prefix), inside)
    return (
        f'<svg role="img" aria-label="{label}" {box} '
        f'style="min-width:{least:.0f}px;max-width:{width * MOST_SHOWN:.0f}px">{body}'
    )


def _saved(figure: Figure, salt: str) -> str:
    """The SVG element that matplotlib makes, in which it has escaped the names."""
    from matplotlib import rc_context  # noqa: PLC0415 - an extra

    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    return text[text.index("<svg") :]


def _own_ids(tag: str, prefix: str) -> str:
    """A tag with its ids, and its references to some, made its own."""
    return re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{prefix}-", tag)
