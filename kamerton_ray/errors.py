"""The errors that kamerton_ray raises on purpose; each is a `KamertonError`."""

from __future__ import annotations


class KamertonError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidInputError(KamertonError, ValueError):
    """An argument breaks a rule; the message names the rule and what was received."""


class UndefinedSearchError(KamertonError, RuntimeError):
    """The searcher was asked to work before it knew its space, metric or mode."""


class StateError(KamertonError, ValueError):
    """A saved search is damaged, or was not saved by this package."""


class RuntimeStartedError(KamertonError, RuntimeError):
    """TensorFlow's runtime has already started, so its thread counts cannot change."""


class LoopError(KamertonError, RuntimeError):
    """Kamerton's loop cannot run where it stands, or none of its attempts worked."""


class MissingExtraError(KamertonError, ImportError):
    """Something is asked for that needs a package which is only installed on demand."""

    @classmethod
    def of(cls, extra: str, missing: ImportError) -> MissingExtraError:
        """The error for an extra of ours, one of whose packages is missing."""
        return cls(f"{missing.name} is missing: pip install 'kamerton_ray[{extra}]'")
