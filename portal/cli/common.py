"""What the commands share."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

import click
from flask.cli import with_appcontext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from portal import clock
from portal.audit import Editor
from portal.events import Actor
from portal.extensions import current_portal
from portal.pki.authority import AuthorityMissing
from portal.vault import VaultError


def command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command with the application's context, by name."""

    def register(function: Callable[..., None]) -> click.Command:
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            function(*args, **kwargs)

        return click.command(name)(with_appcontext(run))

    return register


def say_plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, ended with status 1 and a sentence by what is wrong with the installation or a file."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except DBAPIError as problem:
            cause = str(problem.orig).strip().partition("\n")[0]
            fail(f"The database does not do it: {cause}. Before the first start, and after an upgrade: run setup.")
        except VaultError as problem:
            fail(str(problem))
        except AuthorityMissing:
            fail("There is no CA yet: run setup first.")
        except UnicodeDecodeError:
            fail("That file is not UTF-8 text.")

    return run


def editor(session: Session) -> Editor:
    """A command that changes something of the company's now."""
    return Editor(session, current_portal.vault, Actor.COMMAND, clock.now())


def fail(reason: str) -> NoReturn:
    """End with status 1 and a reason."""
    click.echo(reason, err=True)
    sys.exit(1)
