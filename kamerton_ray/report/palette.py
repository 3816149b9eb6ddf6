"""The colours of the pictures and the page, and how well one is read on another.

The colour-blind tell them apart: blue is better, orange worse.
"""

from __future__ import annotations

from dataclasses import dataclass

SRGB_LINEAR = 0.04045
"""Up to so much of a colour sRGB is linear (IEC 61966-2-1)."""


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours of a picture.

    Attributes:
        paper: The background.
        ink: What matters.
        soft: What explains.
        line: Axes and grids.
        better: Better than the default.
        worse: Worse.
        neither: Not told apart from it.
        middle: A cell that is as good as the default.
    """

    paper: str
    ink: str
    soft: str
    line: str
    better: str
    worse: str
    neither: str
    middle: str


LIGHT = Palette(
    paper="#ffffff",
    ink="#1a1f26",
    soft="#59636f",
    line="#d5dae0",
    better="#1b6cb0",
    worse="#b8500c",
    neither="#7c8692",
    middle="#eceff2",
)
"""The colours on a white page."""

DARK = Palette(
    paper="#14171b",
    ink="#e9ecef",
    soft="#a0a9b4",
    line="#3a414a",
    better="#63b3f4",
    worse="#f0984e",
    neither="#8d97a3",
    middle="#2a3037",
)
"""The colours on a dark page."""


def mixed(one: str, other: str, share: float) -> str:
    """A colour on the way from one to another."""
    parts = [(1 - share) * a + share * b for a, b in zip(_rgb(one), _rgb(other), strict=True)]
    return "#" + "".join(f"{round(part):02x}" for part in parts)


def readable_on(color: str) -> str:
    """Black or white, of which one always has a contrast above 4.5, as WCAG 2.2 asks for."""
    return max(("#000000", "#ffffff"), key=lambda one: contrast(one, color))


def contrast(one: str, other: str) -> float:
    """How well one colour is read on another, from 1 to 21 (WCAG 2.2, "contrast ratio")."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    red, green, blue = (_linear(value / 255) for value in _rgb(color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    """A part of an sRGB colour as light."""
    return part / 12.92 if part <= SRGB_LINEAR else ((part + 0.055) / 1.055) ** 2.4


def _rgb(color: str) -> list[int]:
    return [int(color[begin : begin + 2], 16) for begin in (1, 3, 5)]
