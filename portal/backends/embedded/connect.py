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


def handle(desk: Desk, fingerprint: str, message: dict[str, Any] | None) -> bytes:
    """Take one report signed by ``fingerprint``; returns the next command's plist, or nothing when all is done.

    ``message`` is None for a report that cannot be read: it can only be the answer to the command that was sent last,
    which failed, and those behind it must not wait for ever.

    Raises DeviceRefused (the enrollment is over), NotIdentified, BadPlist.
    """
    certificate = identity.certificate_of(desk.session, fingerprint)
    told = text(message, "EnrollmentID") if message is not None else None
    device = identity.device_of(desk.session, certificate, told, unnamed=message is None)
    if device.ended_at is not None or certificate.revoked_at is not None:
        raise DeviceRefused("enrollment_ended")
    if message is None:
        messages.unreadable(desk, device)
    else:
        messages.report(desk, device, message)
    put_off = message is not None and message["Status"] == "NotNow"
    command = _next(desk.session, device, with_put_off=not put_off)
    if command is None or device.ended_at is not None:
        return b""
    command.status, command.sent_at, command.handed_at = "sent", desk.now, command.handed_at or desk.now
    return command.payload


def _next(session: Session, device: Device, with_put_off: bool) -> Command | None:
    # Apple: after NotNow a device is to be left in peace for a while; it does not come again by itself. So what it put
    # off comes after anything else that it says, and each of its other answers settles a command: that ends.
    open_states = ["queued", "sent", "not_now"] if with_put_off else ["queued", "sent"]
    query = (
        select(Command)
        .where(Command.device_id == device.id, Command.status.in_(open_states))
        .order_by(Command.id)
        .limit(1)
    )
    return session.scalar(query)
