"""Commands for enrollment requests."""

import json

import click

from portal import clock, jobs
from portal.cli.common import command, fail
from portal.credentials import sign_in as corporate
from portal.credentials.base import AccountProblem, SourceUnavailable
from portal.enrollment import reports, requests
from portal.enrollment.errors import NoManagedAppleAccount, TooManyDevices, UnknownPerson
from portal.extensions import portal
from portal.models import EnrollmentRequest, Person


@click.option("--json", "as_json", is_flag=True, help="Print {id, url, passcode, expires_at}.")
@click.argument("username")
@command("invite")
def invite(username: str, as_json: bool) -> None:
    """Create an enrollment request for USERNAME and mail it."""
    try:
        person = corporate.look_up(portal.database, portal.sources, portal.settings, username, clock.now())
        if person is None:
            raise UnknownPerson
        with portal.database.transaction() as session:
            person = session.get_one(Person, person.id)
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
    except TooManyDevices:
        fail(f"{username} has as many managed devices as one may have.")
    except SourceUnavailable as problem:
        fail(f"The directory cannot be asked: {problem}")
    except AccountProblem as problem:
        fail(f"{username} cannot be taken over from the directory: {problem.reason}")
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
        report = reports.of_request(session, request, clock.now())
    if as_json:
        click.echo(json.dumps(report))
        return
    click.echo(f"{report['status']} (step {report['step']}), {report['employee']}")
    for event in report["events"]:
        click.echo(f"  {event['at']}  {event['kind']}  {event['reason'] or ''}".rstrip())
    click.echo(json.dumps(report["device"], indent=2))
