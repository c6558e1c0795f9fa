"""The commands of ``flask --app app``."""

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import click
import pyotp
from flask import Flask
from flask.cli import AppGroup, with_appcontext
from sqlalchemy import select

from portal import audit, clock, demo, installation, jobs, people
from portal.credentials import local, totp
from portal.enrollment import journey, requests, terms
from portal.enrollment.errors import NoManagedAppleAccount, UnknownPerson
from portal.extensions import portal
from portal.models import Device, EnrollmentRequest, Person
from portal.simulator.iphone import InstallationFailed, IPhone, Unenrolled


def init_app(app: Flask) -> None:
    """Register every command."""
    commands = (setup, worker, invite, status, demo_people, demo_accounts)
    for command in (*commands, iphone, audit_group, keys, terms_group, people_group):
        app.cli.add_command(command)


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


@command("setup")
def setup() -> None:
    """Make keys, tables, CA and first terms; safe to repeat."""
    installation.setup(portal)


@command("worker")
def worker() -> None:
    """Deliver mail and clean up, until stopped."""
    jobs.Worker(portal.settings).run()


@click.option("--json", "as_json", is_flag=True, help="Print {id, url, passcode, expires_at}.")
@click.argument("username")
@command("invite")
def invite(username: str, as_json: bool) -> None:
    """Create an enrollment request for USERNAME and mail it."""
    try:
        with portal.database.transaction() as session:
            person = people.by_username(session, username)
            if person is None:
                raise UnknownPerson
            created = requests.create(
                session,
                portal.vault,
                portal.settings,
                person,
                "command",
                clock.now(),
                asked_by=portal.settings.company.name,
                actor="command",
            )
    except UnknownPerson:
        fail(f"Nobody is known as {username!r}, or the person is disabled.")
    except NoManagedAppleAccount:
        fail(f"{username} has no Managed Apple Account, so no request can be created.")
    jobs.nudge(portal.settings)
    url = portal.settings.url(f"/e/{created.token}")
    expires = created.request.expires_at.isoformat()
    if as_json:
        values = {"id": created.request.id, "url": url, "passcode": created.passcode, "expires_at": expires}
        click.echo(json.dumps(values))
    else:
        click.echo(f"Link      {url}\nPasscode  {created.passcode}\nRequest   {created.request.id}, until {expires}")


@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.argument("request_id")
@command("status")
def status(request_id: str, as_json: bool) -> None:
    """What helpdesk sees of REQUEST_ID."""
    with portal.database.session() as session:
        request = session.get(EnrollmentRequest, request_id)
        if request is None:
            fail(f"There is no request {request_id!r}.")
        facts, now = journey.of(request), clock.now()
        device = session.scalar(
            select(Device).where(Device.request_id == request_id).order_by(Device.authenticated_at.desc())
        )
        report = {
            "id": request.id,
            "status": journey.status(facts, now).value,
            "step": journey.current_step(facts, now).value,
            "employee": request.person.username,
            "events": [
                {"at": event.at.isoformat(), "kind": event.kind, "reason": event.reason}
                for event in audit.timeline(session, request_id)
            ],
            "device": _device(device),
        }
    if as_json:
        click.echo(json.dumps(report))
        return
    click.echo(f"{report['status']} (step {report['step']}), {report['employee']}")
    for event in report["events"]:  # type: ignore[union-attr]
        click.echo(f"  {event['at']}  {event['kind']}  {event['reason'] or ''}".rstrip())  # type: ignore[index]
    click.echo(json.dumps(report["device"], indent=2))


def _device(device: Device | None) -> dict[str, Any] | None:
    if device is None:
        return None
    return {
        "id": device.id,
        "enrollment_id": device.enrollment_id,
        "way": device.way,
        "product_name": device.product_name,
        "os_version": device.os_version,
        "build_version": device.build_version,
        "enrolled_at": device.enrolled_at and device.enrolled_at.isoformat(),
        "last_seen_at": device.last_seen_at.isoformat(),
        "ended_at": device.ended_at and device.ended_at.isoformat(),
        "end_reason": device.end_reason,
        "attributes": device.attributes,
        "profiles": device.profiles,
    }


@command("demo-people")
def demo_people() -> None:
    """Create the demo company's people (demo only)."""
    try:
        with portal.database.transaction() as session:
            demo.load_people(session, portal.vault, portal.settings, clock.now())
    except demo.NotADemo:
        fail("This portal is not a demo.")


@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@command("demo-accounts")
def demo_accounts(as_json: bool) -> None:
    """The demo's people with their passwords and TOTP secrets (demo only)."""
    try:
        found = demo.accounts(portal.settings)
    except demo.NotADemo:
        fail("This portal is not a demo.")
    if as_json:
        click.echo(json.dumps(found))
        return
    for account in found:
        click.echo("  ".join(str(value) for value in account.values() if value))


iphone = AppGroup("iphone", help="A simulated iPhone.")


@iphone.command("install", with_appcontext=True)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def iphone_install(file: Path) -> None:
    """Enroll with a downloaded .mobileconfig FILE."""
    phone = IPhone()
    try:
        for line in phone.install(file.read_bytes()):
            click.echo(line)
    except (InstallationFailed, Unenrolled) as error:
        fail(f"Not installed: {error}")
    phone.save(_phone_file(phone.enrollment_id))
    click.echo(f"enrolled as {phone.enrollment_id}")


@iphone.command("connect", with_appcontext=True)
@click.argument("enrollment_id")
def iphone_connect(enrollment_id: str) -> None:
    """Ask the server for commands and answer them."""
    try:
        click.echo("\n".join(_phone(enrollment_id).connect()) or "no commands")
    except (InstallationFailed, Unenrolled) as error:
        fail(f"Refused: {error}")


@iphone.command("remove", with_appcontext=True)
@click.argument("enrollment_id")
def iphone_remove(enrollment_id: str) -> None:
    """The owner removes the profile: CheckOut."""
    try:
        _phone(enrollment_id).remove()
    except (InstallationFailed, Unenrolled) as error:
        fail(f"Refused: {error}")
    _phone_file(enrollment_id).unlink()
    click.echo("removed")


def _phone(enrollment_id: str) -> IPhone:
    path = _phone_file(enrollment_id)
    if not path.exists():
        fail(f"No simulated iPhone is enrolled as {enrollment_id!r}.")
    return IPhone.load(path)


def _phone_file(enrollment_id: str) -> Path:
    return portal.settings.data / "iphones" / f"{Path(enrollment_id).name}.json"


audit_group = AppGroup("audit", help="The audit trail.")


@audit_group.command("verify", with_appcontext=True)
def audit_verify() -> None:
    """Check every chain; name the first broken link of each."""
    with portal.database.session() as session:
        broken = list(audit.broken_links(session))
    for chain, seq, problem in broken:
        click.echo(f"{chain} event {seq}: {problem}", err=True)
    if broken:
        sys.exit(1)
    click.echo("Every chain holds.")


keys = AppGroup("keys", help="The keys that seal stored secrets.")


@keys.command("rotate", with_appcontext=True)
def keys_rotate() -> None:
    """Seal every stored secret with a new key; restart web and worker afterwards."""
    click.echo(f"{installation.rotate_keys(portal)} secrets sealed anew. Restart web and worker now.")


terms_group = AppGroup("terms", help="The license terms.")


@terms_group.command("publish", with_appcontext=True)
@click.argument("version")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def terms_publish(version: str, files: tuple[Path, ...]) -> None:
    """Publish VERSION from text FILES named after their language (en.txt, de.txt)."""
    contents = {file.stem: file.read_text("utf-8") for file in files}
    try:
        with portal.database.transaction() as session:
            terms.publish(session, version, contents, "command", clock.now())
    except terms.TermsExist:
        fail(f"Version {version} was published already; a published text never changes.")
    except terms.TermsMissing as error:
        fail(str(error))


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
        account = local.set_password(session, person, password)
        if role in people.STAFF_ROLES:
            secret = totp.new_secret()
            account.totp_secret_sealed = portal.vault.seal(secret.encode())
            click.echo(f"TOTP secret: {secret}")
            click.echo(pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=portal.settings.company.name))
        audit.record(session, audit.SETTINGS, "person.added", clock.now(), reason=role, actor="command")


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
