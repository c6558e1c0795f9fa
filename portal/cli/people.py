"""Commands for employees and staff."""

from collections.abc import Callable
from pathlib import Path

import click
from flask.cli import AppGroup

from portal import clock, jobs, mail_addresses, people
from portal.audit import Editor
from portal.cli.common import editor, fail
from portal.credentials import local, passwords, second_factor
from portal.events import Event
from portal.extensions import current_portal
from portal.lifecycle import closing
from portal.models import LONGEST_NAME, LONGEST_USERNAME, Person
from portal.people import accounts, imports
from portal.storage.cases import Cases

people_group = AppGroup("people", help="Employees and staff with local accounts.")


@people_group.command("add", with_appcontext=True)
@click.argument("username")
@click.option("--name", required=True)
@click.option("--email", required=True)
@click.option("--managed-apple-account")
@click.option("--locale", default="en")
@click.option("--role", type=click.Choice(["employee", *people.STAFF_ROLES]), default="employee")
@click.password_option(help="Asked for when not given.")
def people_add(username: str, managed_apple_account: str | None, password: str, **known: str) -> None:
    """Add USERNAME; prints the TOTP secret of staff, once."""
    account = accounts.normal(managed_apple_account) if managed_apple_account else None
    if managed_apple_account and account is None:
        fail(f"{managed_apple_account!r} cannot be a Managed Apple Account.")
    if not mail_addresses.usable(known["email"]):
        fail(f"{known['email']!r} cannot be an e-mail address.")
    if known["locale"] not in current_portal.settings.languages:
        fail(f"The language {known['locale']!r} is not offered.")
    if not known["name"].isprintable() or len(known["name"]) > LONGEST_NAME:
        fail(f"The name is longer than {LONGEST_NAME} characters, or not text.")
    with current_portal.database.transaction() as session:
        if account and accounts.taken(session, account, None):
            fail(f"{account} belongs to somebody else.")
        person = Person(username=username, managed_apple_account=account, **known)
        try:
            people.add(editor(session), person)
        except people.UsernameUnusable:
            fail(f"The username is nothing, longer than {LONGEST_USERNAME} characters, or not text.")
        except people.UsernameTaken:
            fail(f"{username} exists.")
        local.set_password(session, person, password)
        if person.role in people.STAFF_ROLES:
            secret = second_factor.new_secret()
            _show(person, secret, second_factor.set_up(session, current_portal.vault, person, secret))


def _show(person: Person, secret: str, codes: list[str]) -> None:
    click.echo(f"TOTP secret: {secret}")
    click.echo(second_factor.address(secret, person.username, current_portal.settings.company.name))
    click.echo(f"Recovery codes, each once: {' '.join(codes)}")


@people_group.command("password-link", with_appcontext=True)
@click.argument("username")
@click.option("--mail", is_flag=True, help="Mail it to its owner instead of printing it.")
def people_password_link(username: str, mail: bool) -> None:
    """A link with which USERNAME, a local account, chooses a password: once, within a day."""

    def make(by: Editor, person: Person) -> None:
        try:
            if mail:
                passwords.mail_link(by, person, current_portal.settings)
                click.echo(f"Mailed to {person.email}.")
            else:
                click.echo(passwords.new_link(by, person, current_portal.settings))
        except people.NotLocal:
            fail(f"{username} signs in elsewhere ({person.source}).")
        except people.IsDisabled:
            fail(f"{username} is disabled.")

    _change(username, make)
    jobs.nudge(current_portal.settings)


@people_group.command("second-factor", with_appcontext=True)
@click.argument("username")
def people_second_factor(username: str) -> None:
    """A new second factor for USERNAME (staff who lost theirs); the old one, its codes and all passkeys are dead."""

    def replace(by: Editor, person: Person) -> None:
        if person.role not in people.STAFF_ROLES:
            fail(f"{username} is not staff.")
        _show(person, *second_factor.replace(by, person))

    _change(username, replace)


@people_group.command("unlock-second-factor", with_appcontext=True)
@click.argument("username")
def people_unlock_second_factor(username: str) -> None:
    """Let the codes of USERNAME work again after too many wrong ones."""
    _change(username, second_factor.unlock)


@people_group.command("import", with_appcontext=True)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only say what is wrong.")
def people_import(file: Path, dry_run: bool) -> None:
    """Take people or their Managed Apple Accounts from a CSV FILE.

    Columns: username, managed_apple_account; to add somebody also name and email, and if you like locale and source
    (the directory or oidc:NAME they will sign in with). Nothing is changed if a line is wrong.
    """
    try:
        with current_portal.database.transaction() as session:
            done = imports.read(session, current_portal.settings, file.read_bytes(), clock.now())
            if not dry_run:
                editor(session).record(Event.PEOPLE_IMPORTED, count=done)
            if dry_run:
                session.rollback()
    except imports.BadFile as bad:
        fail("\n".join(bad.problems))
    click.echo(f"{done} lines are right." if dry_run else f"{done} people added or changed.")


@people_group.command("disable", with_appcontext=True)
@click.argument("username")
def people_disable(username: str) -> None:
    """Stop USERNAME from signing in; every session ends at once."""
    _close(username, closing.disable)


@people_group.command("erase", with_appcontext=True)
@click.argument("username")
def people_erase(username: str) -> None:
    """Remove everything personal about USERNAME; the audit chains stay valid."""
    _close(username, closing.erase)


def _close(username: str, close: Callable[[Cases, Person, str], None]) -> None:
    _change(username, lambda by, person: close(Cases(by.session, current_portal, by.now), person, by.actor))


def _change(username: str, change: Callable[[Editor, Person], None]) -> None:
    try:
        with current_portal.database.transaction() as session:
            person = people.by_username(session, username)
            if person is None:
                fail(f"Nobody is known as {username!r}.")
            change(editor(session), person)
    except people.LastAdmin:
        fail("The last admin has to stay.")
    except people.DevicesManaged:
        fail("A device of theirs is still managed: remove its work data, or give it up, before.")
