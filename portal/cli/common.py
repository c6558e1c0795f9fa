"""What the commands share."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

import click
from flask.cli import with_appcontext


def command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command with the application's context, by name."""

    def register(function: Callable[..., None]) -> click.Command:
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            function(*args, **kwargs)

        return click.command(name)(with_appcontext(run))

    return register


def fail(reason: str) -> NoReturn:
    """End with status 1 and a reason."""
    click.echo(reason, err=True)
    sys.exit(1)
