"""How things are said to the user beside the answer: on standard error, in plain sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import click

from kamerton_ray.cli.options import SearchOptions
from kamerton_ray.errors import KamertonError


def printable(text: str) -> str:
    """A text without what would steer a terminal, which a program's output or a folder may hold."""
    return "".join(one if one in "\n\t" or one.isprintable() else "?" for one in text)


def say(options: SearchOptions, text: str) -> None:
    """Say something on standard error, unless the user wants it quiet."""
    if not options.quiet:
        click.echo(printable(text), err=True)


@contextmanager
def mistakes(about: str = "") -> Iterator[None]:
    """Say a user's mistake in a sentence, without a traceback.

    Args:
        about: What it is about, where the sentence does not say that itself.
    """
    try:
        yield
    except KamertonError as error:
        raise click.UsageError(_sentence(printable(str(error)), about)) from error


def _sentence(said: str, about: str) -> str:
    said = said if about in said else f"{about}: {said}"
    # A sentence begins with a capital, but not the name of an argument.
    return said[0].upper() + said[1:] if re.match(r"[a-z]+[ ,:]", said) else said
