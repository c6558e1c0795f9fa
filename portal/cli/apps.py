"""Work apps on the command line: the content token, and apps of the catalogue."""

from pathlib import Path

import click
from flask.cli import AppGroup

from portal import jobs
from portal.apps import origin
from portal.apps.origin import OriginRefused
from portal.apps_and_books.client import ClaimedElsewhere, OtherLocation, Refused, TokenGone, Unavailable
from portal.apps_and_books.content_token import ContentTokenRefused
from portal.apps_and_books.store import NotFound
from portal.cli.common import editor, fail
from portal.events import Actor
from portal.extensions import current_portal
from portal.people.audiences import EVERYBODY, IN, Line
from portal.storage import app_intake, apps
from portal.storage.apps import OFFERED, Known, TooMany

group = AppGroup("apps", help="Work apps.")

ORIGIN_PROBLEMS = {
    "nothing": "Say one of --store and --manifest.",
    "adam_id": 'That is no App Store id: a number, as in the app\'s address after "id".',
    "manifest_url": f"The address has to begin with https:// and have at most {origin.LONGEST_ADDRESS} characters.",
}


def must_be_open() -> None:
    """End the command where this portal gives no apps."""
    if not current_portal.gives_apps:
        fail("Work apps are switched off in the settings (apps.enabled), or the device management gives them.")


@group.command("token", with_appcontext=True)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--take-over", is_flag=True, help="Also if another server uses the location.")
def upload_token(file: Path, take_over: bool) -> None:
    """Use the content token in FILE, as it was downloaded from Apple Business."""
    must_be_open()
    try:
        app_intake.take_token(
            current_portal.database, current_portal, file.read_bytes(), Actor.COMMAND, take_over=take_over
        )
    except ContentTokenRefused as refused:
        fail(f"Not usable: {refused.code}")
    except ClaimedElsewhere as elsewhere:
        fail(f"Another server uses the location: {elsewhere.claim.name}")
    except OtherLocation:
        fail("The token is for another location than the one in use.")
    except (Unavailable, Refused, TokenGone) as problem:
        fail(f"Apple does not take it: {problem}")
    click.echo("The token is in use.")


@group.command("add", with_appcontext=True)
@click.option("--store", "adam_id", help="Its App Store id.")
@click.option("--manifest", "manifest_url", help="The https address of an in-house app's manifest.")
@click.option("--everybody", is_flag=True, help="Everybody gets it.")
@click.option("--offer", is_flag=True, help="Everybody may take it.")
def add_app(adam_id: str | None, manifest_url: str | None, everybody: bool, offer: bool) -> None:
    """Take an app into the catalogue; prints its id."""
    must_be_open()
    try:
        comes_from = origin.entered(adam_id or "", manifest_url or "")
        app_id = app_intake.add(current_portal.database, current_portal, comes_from, Actor.COMMAND)
    except OriginRefused as refused:
        fail(ORIGIN_PROBLEMS[refused.code])
    except NotFound as unknown:
        fail(f"Nothing is known of it: {unknown.code}")
    except Known:
        fail("It is in the catalogue already.")
    except TooMany:
        fail("The catalogue is full.")
    lines = [Line(side, EVERYBODY) for side, wanted in ((IN, everybody), (OFFERED, offer)) if wanted]
    with current_portal.database.transaction() as session:
        app = apps.locked(session, app_id)
        if app is not None:
            apps.set_audience(editor(session), app, lines)
    jobs.nudge(current_portal.settings, jobs.POLICIES)
    click.echo(app_id)
