"""The knobs of a trial: which variables its configuration sets, and what the default has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kamerton_ray.errors import InvalidInputError
from kamerton_ray.machine.knobs import (
    KNOBS,
    ONEDNN,
    PRELOAD,
    STOCK,
    XLA,
    Binds,
    Variables,
    joined,
    word_of,
)
from kamerton_ray.machine.libraries import missing_preload
from kamerton_ray.process.outcome import AttemptError, Outcome
from kamerton_ray.trial.config import Config, is_variable


class Knobs:
    """Some knobs, and variables that are tuned by their own names.

    Args:
        names: The knobs by their names, and the variables, which are in capitals.

    Raises:
        InvalidInputError: One is neither.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._parameters: set[str] = set()
        self._variables: set[str] = set()
        for name in names:
            if name in KNOBS:
                self._parameters.add(KNOBS[name].parameter)
            elif is_variable(name):
                self._variables.add(name)
            else:
                raise InvalidInputError(
                    f"a knob must be one of {sorted(KNOBS)}, or a variable in capitals, but got "
                    f"{name!r}"
                )

    @property
    def tunes_onednn(self) -> bool:
        """Whether oneDNN is no property of the machine."""
        words = (
            word
            for knob in KNOBS.values()
            if knob.parameter in self._parameters
            for word in knob.words.values()
        )
        there = (ONEDNN in word.variables and not word.missing() for word in words)
        return ONEDNN in self._variables or any(there)

    @property
    def tunes_xla(self) -> bool:
        """Whether XLA may compile, which takes time before the first step."""
        return "xla" in self._parameters or XLA in self._variables

    def variables(self, config: Mapping[str, Any]) -> Variables:
        """What a configuration sets.

        Raises:
            AttemptError: It asks for what is not there on this machine.
            InvalidInputError: It says what is no word of a knob.
        """
        found = {**self._of_words(config), **self._of_names(config)}
        check_preload(found)
        return found

    def stock(self, config: Config) -> Config:
        """The configuration that the default has instead: the user's environment as it is."""
        kept = {name: value for name, value in config.items() if name not in self._variables}
        return {**kept, **{name: STOCK for name in self._parameters if name in config}}

    def applied(self, env: Mapping[str, str], config: Mapping[str, Any]) -> Variables:
        """An environment with what a configuration sets; see `variables`.

        What a knob sets comes before the user's own list; what is tuned by its name replaces it.
        """
        return {**joined(env, self._of_words(config)), **self._of_names(config)}

    def _of_words(self, config: Mapping[str, Any]) -> Variables:
        found: Variables = {}
        for parameter in sorted(self._parameters):
            found.update(_set_by(parameter, config.get(parameter, STOCK)))
        return found

    def _of_names(self, config: Mapping[str, Any]) -> Variables:
        return {name: str(config[name]) for name in sorted(self._variables) if name in config}


def _set_by(parameter: str, said: object) -> Variables:
    if said == STOCK:
        return {}
    word = word_of(parameter, said)
    if word is None:
        raise InvalidInputError(f"{parameter} must be a word of its knobs, but got {said!r}")
    if word.libraries and (missing := word.missing()):
        raise AttemptError(Outcome.NO_EFFECT, f"{parameter}={said}: {missing}")
    return word.set_here()


def check_preload(variables: Mapping[str, str]) -> None:
    """See to it that what is preloaded is there: the loader only warns of what is not.

    Raises:
        AttemptError: Something is not.
    """
    if missing := missing_preload(variables.get(PRELOAD, "")):
        raise AttemptError(Outcome.NO_EFFECT, f"{PRELOAD} names {missing}, which is not there")


def check_program_knobs(names: Iterable[str]) -> None:
    """Refuse knobs that no variable sets in a program here.

    Raises:
        InvalidInputError: One is such.
    """
    for name in names:
        words = KNOBS[name].words.values() if name in KNOBS else ()
        others = (one for one in words if one.binds is not Binds.CALL and not one.missing())
        if any(one.binds is Binds.CALL for one in words) and not any(others):
            raise InvalidInputError(
                f"the knob {name} is a call that benchmark makes before build, which a program has "
                "to make itself"
            )
