"""Commands about managed devices."""

import base64
import binascii
import json
from typing import Any

import click
from flask.cli import AppGroup

from portal import jobs
from portal.cli.common import fail
from portal.enrollment import management
from portal.enrollment.commands import Order
from portal.enrollment.errors import CommandForbidden, DeviceGone, ProfileUnknown, RemovalsHeld
from portal.events import Actor
from portal.extensions import current_portal
from portal.models import Device
from portal.storage import reports
from portal.storage.cases import Cases

device_group = AppGroup("device", help="Managed devices.")


@device_group.command("show", with_appcontext=True)
@click.argument("device_id")
def show(device_id: str) -> None:
    """Print what is known of DEVICE_ID, as JSON."""
    with current_portal.database.session() as session:
        device = session.get(Device, device_id)
        if device is None:
            fail(f"There is no device {device_id!r}.")
        click.echo(json.dumps(reports.of_device(session, device), indent=2))


@device_group.command("command", with_appcontext=True)
@click.argument("device_id")
@click.argument("request_type")
@click.option("--keys", default="{}", help="The rest of the Command dictionary, as JSON; a Payload in base64.")
def order(device_id: str, request_type: str, keys: str) -> None:
    """Queue the MDM command REQUEST_TYPE for DEVICE_ID, if user enrollment allows it."""
    try:
        with current_portal.database.transaction() as session:
            case = Cases(session, current_portal).of_device(device_id)
            management.order(case, Order(request_type, _keys(keys)), Actor.COMMAND)
    except CommandForbidden as refusal:
        fail(f"User enrollment does not allow it ({refusal.reason}): {refusal}")
    except DeviceGone:
        fail(f"There is no device {device_id!r}, or it is not managed any more.")
    except RemovalsHeld:
        fail("Too many devices were to lose their work data: two admins have to agree on the dashboard first.")
    except ProfileUnknown:
        fail("The device has no such profile that IT installed.")
    jobs.nudge(current_portal.settings, jobs.DEVICES)
    click.echo(f"{request_type} is queued.")


def _keys(text: str) -> dict[str, Any]:
    try:
        keys = json.loads(text)
        if "Payload" in keys:
            keys["Payload"] = base64.b64decode(keys["Payload"], validate=True)
        return dict(keys)
    except (ValueError, TypeError, binascii.Error):
        fail("--keys has to be a JSON object.")
