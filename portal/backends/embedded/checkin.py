"""Check-in messages of user-enrolled devices: Authenticate, TokenUpdate, CheckOut, and what has an answer of its own
(declarative management, GetToken); the rest is declined."""

import plistlib
from typing import Any

from portal.apple_business import vouching
from portal.backends import messages
from portal.backends.embedded import identity
from portal.declarations import speaking
from portal.enrollment.case import Case
from portal.events import Event
from portal.models import Device
from portal.plists import text

DECLARES = "DeclarativeManagement"
ANSWERED_HERE = (DECLARES, vouching.MESSAGE)
"""The portal answers these, whoever keeps the queue of commands."""


class NotOffered(Exception):
    """A check-in message this server does not serve."""


def handle(case: Case, topic: str, message: dict[str, Any]) -> bytes:
    """Take one check-in message of whoever signed with the case's certificate; the body that answers it.

    Only declarative management and tokens have one. Raises DeviceRefused (an Authenticate is
    recorded then), NotIdentified, NotOffered, NothingThere, BadPlist.
    """
    kind = message.get("MessageType")
    if kind in ANSWERED_HERE:
        identity.names_no_other(message)
    if kind == DECLARES:
        identity.device_of(case, text(message, "EnrollmentID"))
        identity.must_go_on(case)
        return speaking.answer(case, message)
    if kind == vouching.MESSAGE:
        identity.device_of(case, text(message, "EnrollmentID"))
        identity.must_go_on(case)
        return _token(case, message)
    speaker(case, topic, message)
    if kind == "CheckOut":
        messages.check_out(case)
    elif kind == "TokenUpdate":
        messages.token_update(case, topic, message)
    return b""


def _token(case: Case, message: dict[str, Any]) -> bytes:
    """A token for Apple: its owner signs in with the Managed Apple Account. Raises NotOffered."""
    if case.device is None or not case.device.is_served:
        raise NotOffered(vouching.MESSAGE)
    voucher = case.store.voucher() if message.get("TokenServiceType") == vouching.SERVICE else None
    if voucher is None:
        raise NotOffered(vouching.MESSAGE)
    case.record_once(Event.ACCOUNT_VOUCHED, vouching.SERVICE)
    return plistlib.dumps({"TokenData": voucher.token(case.now)})


def speaker(case: Case, topic: str, message: dict[str, Any]) -> Device:
    """Whose check-in message this is; an Authenticate binds its certificate to the EnrollmentID that it names.

    Raises DeviceRefused (recorded; the enrollment is over, or never begins), NotIdentified, NotOffered, BadPlist.
    """
    kind = text(message, "MessageType")
    if kind == "Authenticate":
        return messages.authenticate(case, topic, message)
    if kind not in ("TokenUpdate", "CheckOut"):
        raise NotOffered(kind or "no MessageType")
    identity.names_no_other(message)
    device = identity.device_of(case, text(message, "EnrollmentID"))
    if kind != "CheckOut":
        identity.must_go_on(case)
    return device
