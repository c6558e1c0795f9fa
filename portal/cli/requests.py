"""Commands for enrollment requests."""

import json

import click

from portal import clock, jobs, labels
from portal.cli.common import command, fail
from portal.enrollment.invitations import Asker
from portal.events import Actor
from portal.extensions import current_portal
from portal.lifecycle import inviting
from portal.lifecycle.inviting import NotInvited
from portal.models import EnrollmentRequest
from portal.storage import reports
from portal.storage.cases import Cases


@click.option("--json", "as_json", is_flag=True, help="Print {id, url, passcode, expires_at}.")
@click.argument("username")
@command("invite")
def invite(username: str, as_json: bool) -> None:
    """Create an enrollment request for USERNAME and mail it."""
    try:
        with current_portal.database.session() as session:
            by = Asker(Actor.COMMAND, current_portal.settings.company.name)
            created = inviting.by_username(Cases(session, current_portal), current_portal, username, "command", by)
    except NotInvited as refusal:
        fail(f"{username}: {labels.FIELD.find(refusal.code)}")
    jobs.nudge(current_portal.settings)
    url = current_portal.settings.url(f"/e/{created.token}")
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
    with current_portal.database.session() as session:
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
