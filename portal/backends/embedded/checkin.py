"""Check-in messages of user-enrolled devices: Authenticate, TokenUpdate, CheckOut; the rest is declined."""

from typing import Any

from portal.backends import messages
from portal.backends.embedded import identity
from portal.declarations import speaking
from portal.enrollment.case import Case
from portal.models import Device
from portal.plists import text

DECLARES = "DeclarativeManagement"


class NotOffered(Exception):
    """A check-in message this server does not serve."""


def handle(case: Case, topic: str, message: dict[str, Any]) -> bytes:
    """Take one check-in message of whoever signed with the case's certificate; the body that answers it.

    Only declarative management has one. Raises DeviceRefused (recorded), NotIdentified, NotOffered, NothingThere,
    BadPlist.
    """
    kind = message.get("MessageType")
    if kind == DECLARES:
        identity.device_of(case, text(message, "EnrollmentID"))
        identity.must_go_on(case)
        return speaking.answer(case, message)
    speaker(case, topic, message)
    if kind == "CheckOut":
        messages.check_out(case)
    elif kind == "TokenUpdate":
        messages.token_update(case, topic, message)
    return b""


def speaker(case: Case, topic: str, message: dict[str, Any]) -> Device:
    """Whose check-in message this is; an Authenticate binds its certificate to the EnrollmentID that it names.

    Raises DeviceRefused (recorded; the enrollment is over, or never begins), NotIdentified, NotOffered, BadPlist.
    """
    kind = text(message, "MessageType")
    if kind == "Authenticate":
        return messages.authenticate(case, topic, message)
    if kind not in ("TokenUpdate", "CheckOut"):
        raise NotOffered(kind or "no MessageType")
    device = identity.device_of(case, text(message, "EnrollmentID"))
    if kind != "CheckOut":
        identity.must_go_on(case)
    return device
