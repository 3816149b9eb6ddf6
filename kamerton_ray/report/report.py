"""The report of a search and its verdict: a page, pictures, CSV and JSON."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kamerton_ray.answer.verdict import Verdict
from kamerton_ray.errors import InvalidInputError, MissingExtraError
from kamerton_ray.numeric import plain
from kamerton_ray.report.about import About
from kamerton_ray.report.page import page
from kamerton_ray.report.palette import LIGHT, Palette
from kamerton_ray.report.paper import png as as_png
from kamerton_ray.report.part import Part, parts_of
from kamerton_ray.report.pictures import pictures
from kamerton_ray.report.tables import brief
from kamerton_ray.trial.objective import Objective
from kamerton_ray.trial.result import Result
from kamerton_ray.tune.folders import write
from kamerton_ray.tune.results import trial_results
from kamerton_ray.tune.session import Session

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DPI = 200


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is to be told of a search.

    Attributes:
        parts: What each kind of machine found, the one with the most trials first.
        about: What was searched for, and how, where that is known.
    """

    parts: tuple[Part, ...]
    about: About = field(default_factory=About)

    @property
    def sentence(self) -> str:
        """The answer."""
        return self.parts[0].sentence

    def html(self) -> str:
        """One page, which needs no other file.

        Raises:
            MissingExtraError: matplotlib or jinja2 is not installed.
        """
        return page(self.parts, self.about)

    def figures(self, *, palette: Palette = LIGHT) -> dict[str, Figure]:
        """The pictures by name.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        return {
            f"{name}-{place}" if place > 1 else name: draw(palette)
            for place, part in enumerate(self.parts, 1)
            for name, draw in pictures(part).items()
        }

    def rows(self) -> list[dict[str, object]]:
        """Every trial, flat: its number, its configuration, its gain and what it reported."""
        return [row for part in self.parts for row in part.rows()]

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures, as what `json.dumps` takes; what is NaN is None."""
        found = {
            "sentence": self.sentence,
            "about": self.about.to_json(),
            "parts": [part.to_json() for part in self.parts],
            "trials": self.rows(),
        }
        text = json.dumps(found, default=plain)
        told: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
        return told

    def text(self) -> str:
        """The answer and a short table, for a terminal."""
        several = len(self.parts) > 1
        return "\n\n".join("\n".join(_lines(part, named=several)) for part in self.parts)

    def save(self, *, html: Path | None = None, png: Path | None = None, csv: Path | None = None,
             json: Path | None = None) -> list[Path]:  # fmt: skip
        """Write it.

        Args:
            html: A file for the page.
            png: A folder for the pictures.
            csv: A file for the trials.
            json: A file for everything but the pictures.

        Returns:
            What was written.

        Raises:
            InvalidInputError: That is not possible there.
            MissingExtraError: matplotlib or jinja2 is not installed.
        """
        texts = [(html, self.html), (csv, self._csv), (json, self._json)]
        written = [_write(path, text()) for path, text in texts if path is not None]
        if png is not None:
            for name, figure in self.figures().items():
                written.append(_write(png / f"{name}.png", as_png(figure, dpi=PNG_DPI)))
        return written

    def _csv(self) -> str:
        rows = self.rows()
        names = list(dict.fromkeys(name for row in rows for name in row))
        file = io.StringIO()
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue()

    def _json(self) -> str:
        return json.dumps(self.to_json(), indent=1) + "\n"


def report(
    results: object, verdict: Verdict | None = None, *, objective: Objective | None = None
) -> Report:
    """What is to be told of a search: `.html()`, `.figures()`, `.save(html=..., png=...)`.

    Args:
        results: An `ExperimentAnalysis`, a `ResultGrid`, the folder of one or of a session of
            `kamerton-ray`, or a list of results, each with its `config`.
        verdict: What `verdict` said of them; by default what the session's folder holds.
        objective: What the configurations are judged by; by default what the session was for, or
            Ray's own metric, or the first of `speedup`, `objective` and `seconds` that there is.

    Raises:
        InvalidInputError: The results are empty, or do not have what they are judged by.
    """
    found, about = trial_results(results), About()
    if isinstance(results, str | os.PathLike) and Session.is_one(Path(results)):
        session = Session.open(Path(results))
        answer = session.answer() or {}
        stopped_by = answer.get("stopped_by", "")
        about = About.of(session.description(), stopped_by=stopped_by, work=session.work())
        verdict = verdict or (Verdict.from_json(answer) if answer else None)
    objective = objective or about.objective or _of_ray(results, found)
    parts = parts_of(found, objective, verdict, start=about.start)
    return Report(parts=tuple(parts), about=about)


def check_extra() -> None:
    """See to it that a page can be written.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    for name in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError.of("report", ImportError(name=name))


def _of_ray(results: object, found: Sequence[Result]) -> Objective | None:
    """What a run of Ray Tune was asked to optimise, where its trials report it."""
    analysis = getattr(results, "_experiment_analysis", results)
    metric, mode = (getattr(analysis, f"default_{name}", None) for name in ("metric", "mode"))
    # A score is a ratio already, and no picture shows it.
    if metric in {None, "score"} or not any(metric in result.names for result in found):
        return None
    return Objective(metric=str(metric), mode=str(mode or ""))


def _lines(part: Part, *, named: bool) -> list[str]:
    """The answer on one kind of machine, line by line."""
    where = f"On {part.name}: " if named else ""
    reasons = [] if part.verdict is None else [f"  {one}" for one in part.verdict.reasons]
    return [f"{where}{part.sentence}", *reasons, *brief(part)]


def _write(path: Path, content: str | bytes) -> Path:
    """Write a file, and the folders above it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, content)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}") from error
    return path
