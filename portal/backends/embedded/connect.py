"""The command channel: the device reports on one command and gets the next, until its queue is empty."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.backends import messages
from portal.backends.embedded import identity
from portal.backends.messages import Desk
from portal.enrollment.errors import DeviceRefused
from portal.models import Command, Device
from portal.plists import text


def handle(desk: Desk, fingerprint: str, message: dict[str, Any]) -> bytes:
    """Take one report signed by ``fingerprint``; returns the next command's plist, or nothing when all is done.

    Raises DeviceRefused (the enrollment is over), NotIdentified, BadPlist.
    """
    certificate = identity.certificate_of(desk.session, fingerprint)
    device = identity.device_of(desk.session, certificate, text(message, "EnrollmentID"))
    if device.ended_at is not None or certificate.revoked_at is not None:
        raise DeviceRefused("enrollment_ended")
    messages.report(desk, device, message)
    command = _next(desk.session, device, fresh=message["Status"] == "Idle")
    if command is None or device.ended_at is not None:
        return b""
    command.status, command.sent_at, command.handed_at = "sent", desk.now, command.handed_at or desk.now
    return command.payload


def _next(session: Session, device: Device, fresh: bool) -> Command | None:
    # A command put off with NotNow waits for the device's next own connection.
    open_states = ["queued", "sent", "not_now"] if fresh else ["queued", "sent"]
    query = (
        select(Command)
        .where(Command.device_id == device.id, Command.status.in_(open_states))
        .order_by(Command.id)
        .limit(1)
    )
    return session.scalar(query)
