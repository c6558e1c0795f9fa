"""Commands for devices: only what user enrollment allows, by the same rules as on the pages."""

import base64
import binascii
from math import isfinite
from typing import Any

from flask import jsonify
from flask.typing import ResponseReturnValue

from portal.enrollment import management
from portal.enrollment.commands import Order
from portal.enrollment.errors import CommandForbidden, DeviceGone, ProfileUnknown, RemovalsHeld
from portal.extensions import cases, db_session, transaction
from portal.models import Device
from portal.storage import reports
from portal.web.api import blueprint, caller, refuse
from portal.web.limits import json_object


@blueprint.get("/api/devices/<device_id>")
def read_device(device_id: str) -> ResponseReturnValue:
    """The little that is known of a device."""
    caller("devices")
    device = db_session.get(Device, device_id)
    return (
        refuse("not_found", "There is no such device.", 404)
        if device is None
        else jsonify(reports.of_device(db_session, device))
    )


@blueprint.post("/api/devices/<device_id>/commands")
def order_command(device_id: str) -> ResponseReturnValue:
    """``{"command", "keys"}``: 202 when it is queued; 403 with the reason for what user enrollment forbids.

    ``keys`` is the rest of the Command dictionary; a profile's ``Payload`` in base64.
    """
    token = caller("devices")
    wanted = _order(json_object())
    if wanted is None:
        return refuse("bad_request", 'Send {"command": "...", "keys": {...}} as JSON.', 400)
    try:
        with transaction():
            management.order(cases().of_device(device_id), wanted, f"token:{token.id}")
    except CommandForbidden as refusal:
        return jsonify(error="forbidden", reason=refusal.reason, parts=refusal.parts, message=str(refusal)), 403
    except DeviceGone:
        return refuse("not_managed", "There is no such device, or it is not managed any more.", 409)
    except RemovalsHeld:
        return refuse("removals_held", "Too many devices were to lose their work data: two admins have to agree.", 409)
    except ProfileUnknown:
        return refuse("unknown_profile", "The device has no such profile that IT installed.", 409)
    return jsonify(command=wanted.request_type), 202


def _order(body: dict[str, Any] | None) -> Order | None:
    if body is None or not isinstance(body.get("command"), str) or len(body["command"]) > 64:
        return None
    keys = body.get("keys", {})
    if not isinstance(keys, dict) or not all(_plain(each) for each in keys.values()):
        return None
    if "Payload" in keys:
        try:
            keys = {**keys, "Payload": base64.b64decode(keys["Payload"], validate=True)}
        except (binascii.Error, ValueError, TypeError):
            return None
    return Order(body["command"], keys)


def _plain(value: Any) -> bool:
    """Whether a property list can hold it."""
    if isinstance(value, list):
        return all(_plain(each) for each in value)
    if isinstance(value, dict):
        return all(_plain(each) for each in value.values())
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, str | bool) or (isinstance(value, int) and abs(value) < 2**63)
