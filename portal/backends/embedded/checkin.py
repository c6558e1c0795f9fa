"""Check-in messages of user-enrolled devices: Authenticate, TokenUpdate, CheckOut; the rest is declined."""

from typing import Any

from portal.backends import messages
from portal.backends.embedded import identity
from portal.backends.messages import Desk
from portal.enrollment.errors import DeviceRefused
from portal.models import Device
from portal.plists import text


class NotOffered(Exception):
    """A check-in message this server does not serve."""


def handle(desk: Desk, fingerprint: str, message: dict[str, Any]) -> None:
    """Take one check-in message signed by ``fingerprint``. An empty 200 answers it.

    Raises DeviceRefused (recorded), NotIdentified, NotOffered, BadPlist.
    """
    device, kind = speaker(desk, fingerprint, message), message["MessageType"]
    if kind == "CheckOut":
        messages.check_out(desk, device)
    elif kind == "TokenUpdate":
        messages.token_update(desk, device, message)


def speaker(desk: Desk, fingerprint: str, message: dict[str, Any]) -> Device:
    """Whose check-in message this is; an Authenticate binds its certificate to the EnrollmentID that it names.

    Raises DeviceRefused (recorded; the enrollment is over, or never begins), NotIdentified, NotOffered, BadPlist.
    """
    certificate = identity.certificate_of(desk.session, fingerprint)
    kind = text(message, "MessageType")
    if kind == "Authenticate":
        return messages.authenticate(desk, certificate.profile_id, message)
    if kind not in ("TokenUpdate", "CheckOut"):
        raise NotOffered(kind or "no MessageType")
    device = identity.device_of(desk.session, certificate, text(message, "EnrollmentID"))
    if kind != "CheckOut" and (device.ended_at is not None or certificate.revoked_at is not None):
        raise DeviceRefused("enrollment_ended")
    return device
