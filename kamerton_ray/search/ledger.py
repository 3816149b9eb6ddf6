"""Ledger: which points were asked for, and which of them are still open."""

from __future__ import annotations

from collections.abc import ValuesView
from dataclasses import dataclass, field

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.search.points import Point


@dataclass
class Ledger:
    """The suggestions made so far.

    Attributes:
        asked: How many there were; this is the next one's id.
        opened: The points asked for and not yet told, by the suggestion's id.
    """

    asked: int = 0
    opened: dict[int, Point] = field(default_factory=dict)

    @property
    def points(self) -> ValuesView[Point]:
        """The open points."""
        return self.opened.values()

    def enter(self, point: Point) -> int:
        """Note that a point is asked for.

        Returns:
            The suggestion's id.
        """
        suggestion_id = self.asked
        self.opened[suggestion_id] = point
        self.asked += 1
        return suggestion_id

    def close(self, suggestion_id: int) -> Point:
        """Take an open point out.

        Raises:
            InvalidInputError: No point with that id is open.
        """
        if suggestion_id not in self.opened:
            raise InvalidInputError(
                f"only an open point can be told or released, which are {sorted(self.opened)}, but "
                f"got {suggestion_id!r}"
            )
        return self.opened.pop(suggestion_id)
