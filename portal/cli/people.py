"""Commands for employees and staff."""

from collections.abc import Callable
from datetime import datetime

import click
from flask.cli import AppGroup
from sqlalchemy.orm import Session

from portal import audit, clock, people
from portal.cli.common import fail
from portal.credentials import local, second_factor
from portal.extensions import portal
from portal.models import Person

people_group = AppGroup("people", help="Employees and staff with local accounts.")


@people_group.command("add", with_appcontext=True)
@click.argument("username")
@click.option("--name", required=True)
@click.option("--email", required=True)
@click.option("--managed-apple-account")
@click.option("--locale", default="en")
@click.option("--role", type=click.Choice(["employee", *people.STAFF_ROLES]), default="employee")
@click.password_option(help="Asked for when not given.")
def people_add(
    username: str,
    name: str,
    email: str,
    managed_apple_account: str | None,
    locale: str,
    role: str,
    password: str,
) -> None:
    """Add USERNAME; prints the TOTP secret of staff, once."""
    with portal.database.transaction() as session:
        if people.by_username(session, username):
            fail(f"{username} exists.")
        person = Person(
            username=people.fold_username(username),
            name=name,
            email=email,
            managed_apple_account=managed_apple_account and people.fold_username(managed_apple_account),
            locale=locale,
            role=role,
            created_at=clock.now(),
        )
        session.add(person)
        local.set_password(session, person, password)
        session.flush()
        if role in people.STAFF_ROLES:
            _give_second_factor(session, person)
        audit.record(session, audit.SETTINGS, "person.added", clock.now(), reason=role, actor="command")


def _give_second_factor(session: Session, person: Person) -> None:
    secret = second_factor.new_secret()
    codes = second_factor.set_up(session, portal.vault, person, secret)
    click.echo(f"TOTP secret: {secret}")
    click.echo(second_factor.address(secret, person.username, portal.settings.company.name))
    click.echo(f"Recovery codes, each once: {' '.join(codes)}")


@people_group.command("second-factor", with_appcontext=True)
@click.argument("username")
def people_second_factor(username: str) -> None:
    """A new second factor for USERNAME (staff who lost theirs); the old one and its recovery codes are dead."""

    def replace(session: Session, person: Person, actor: str, now: datetime) -> None:
        if person.role not in people.STAFF_ROLES:
            fail(f"{username} is not staff.")
        _give_second_factor(session, person)
        audit.record(session, audit.SETTINGS, "second_factor.replaced", now, actor=actor, detail={"person": person.id})

    _change(username, replace)


@people_group.command("disable", with_appcontext=True)
@click.argument("username")
def people_disable(username: str) -> None:
    """Stop USERNAME from signing in; every session ends at once."""
    _change(username, people.disable)


@people_group.command("erase", with_appcontext=True)
@click.argument("username")
def people_erase(username: str) -> None:
    """Remove everything personal about USERNAME; the audit chains stay valid."""
    _change(username, people.erase)


def _change(username: str, change: Callable[..., None]) -> None:
    try:
        with portal.database.transaction() as session:
            person = people.by_username(session, username)
            if person is None:
                fail(f"Nobody is known as {username!r}.")
            change(session, person, "command", clock.now())
    except people.LastAdmin:
        fail("The last admin has to stay.")
