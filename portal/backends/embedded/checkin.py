"""Check-in messages of user-enrolled devices: Authenticate, TokenUpdate, CheckOut; the rest is declined."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from portal import audit
from portal.backends import allowed
from portal.backends.base import Backend, Order
from portal.backends.embedded import identity
from portal.backends.plists import BadPlist, text
from portal.enrollment import progress
from portal.enrollment.errors import DeviceRefused
from portal.models import Certificate, Device
from portal.vault import Vault

HARDWARE_IDENTIFIERS = ("UDID", "SerialNumber", "IMEI", "MEID")
FIRST_ORDERS = (
    Order("DeviceInformation", {"Queries": list(allowed.ASKED_QUERIES)}),
    Order("ProfileList", {"ManagedOnly": True}),
)


class NotOffered(Exception):
    """A check-in message this server does not serve."""


def handle(
    session: Session, vault: Vault, backend: Backend, fingerprint: str, message: dict[str, Any], now: datetime
) -> None:
    """Take one check-in message signed by ``fingerprint``. An empty 200 answers it.

    Raises DeviceRefused (recorded), NotIdentified, NotOffered, BadPlist.
    """
    certificate = identity.certificate_of(session, fingerprint)
    kind = text(message, "MessageType")
    if kind == "Authenticate":
        _authenticate(session, backend, certificate, message, now)
        return
    if kind not in ("TokenUpdate", "CheckOut"):
        raise NotOffered(kind or "no MessageType")
    device = identity.device_of(session, certificate, text(message, "EnrollmentID"))
    if kind == "CheckOut":
        progress.device_left(session, device, "removed_on_device", now)
        return
    if device.ended_at is not None or certificate.revoked_at is not None:
        raise DeviceRefused("enrollment_ended")
    _check_topic(backend, certificate, message)
    _token_update(session, vault, backend, device, message, now)


def _authenticate(
    session: Session, backend: Backend, certificate: Certificate, message: dict[str, Any], now: datetime
) -> None:
    if any(key in message for key in HARDWARE_IDENTIFIERS):
        # Not a user enrollment: the whole device would be managed, and its identifiers collected.
        progress.device_refused(session, certificate.profile_id, "hardware_identifier", now)
        raise DeviceRefused("hardware_identifier")
    enrollment_id = text(message, "EnrollmentID")
    if enrollment_id is None:
        progress.device_refused(session, certificate.profile_id, "no_enrollment_id", now)
        raise DeviceRefused("no_enrollment_id")
    _check_topic(backend, certificate, message)
    report = progress.DeviceReport(
        enrollment_id=enrollment_id,
        os_version=text(message, "OSVersion", 32),
        build_version=text(message, "BuildVersion", 32),
        product_name=text(message, "ProductName", 64),
    )
    progress.device_authenticated(session, certificate.profile_id, report, now)


def _token_update(
    session: Session, vault: Vault, backend: Backend, device: Device, message: dict[str, Any], now: datetime
) -> None:
    token, magic = message.get("Token"), text(message, "PushMagic")
    if not isinstance(token, bytes) or not 0 < len(token) <= 256 or magic is None:
        raise BadPlist("TokenUpdate without Token or PushMagic")
    device.push_sealed = vault.seal(json.dumps({"token": token.hex(), "magic": magic}).encode())
    if not progress.device_enrolled(session, device, now):
        return
    for order in FIRST_ORDERS:
        backend.enqueue(session, device, order, now)
    reason = backend.wake(device)
    chain = audit.request_chain(device.request_id)
    audit.record(session, chain, "device.waits" if reason else "device.woken", now, reason=reason)


def _check_topic(backend: Backend, certificate: Certificate, message: dict[str, Any]) -> None:
    if message.get("Topic") != backend.management(certificate.profile_id).topic:
        raise DeviceRefused("wrong_topic")
