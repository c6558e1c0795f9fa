"""The command channel: the device reports on one command and gets the next, until its queue is empty."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.backends import allowed
from portal.backends.embedded import identity
from portal.backends.plists import BadPlist, text
from portal.enrollment import progress
from portal.enrollment.errors import DeviceRefused
from portal.models import Command, Device

ANSWERS = {
    "Acknowledged": "acknowledged",
    "Error": "error",
    "CommandFormatError": "format_error",
    "NotNow": "not_now",
}
SETTLED = ("acknowledged", "error", "format_error")
SEEN_EVERY_SECONDS = 60
MOST_ERRORS = 5


def handle(session: Session, fingerprint: str, message: dict[str, Any], now: datetime) -> bytes:
    """Take one report signed by ``fingerprint``; returns the next command's plist, or nothing when all is done.

    Raises DeviceRefused (the enrollment is over), NotIdentified, BadPlist.
    """
    certificate = identity.certificate_of(session, fingerprint)
    device = identity.device_of(session, certificate, text(message, "EnrollmentID"))
    if device.ended_at is not None or certificate.revoked_at is not None:
        raise DeviceRefused("enrollment_ended")
    status = text(message, "Status")
    if status != "Idle":
        _take_answer(session, device, status, message, now)
    if (now - device.last_seen_at).total_seconds() >= SEEN_EVERY_SECONDS:
        device.last_seen_at = now
    command = _next(session, device, fresh=status == "Idle")
    if command is None or device.ended_at is not None:
        return b""
    command.status, command.sent_at = "sent", now
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


def _take_answer(session: Session, device: Device, status: str | None, message: dict[str, Any], now: datetime) -> None:
    if status not in ANSWERS:
        raise BadPlist("unknown Status")
    command = session.scalar(
        select(Command).where(Command.uuid == text(message, "CommandUUID"), Command.device_id == device.id)
    )
    if command is None:
        raise BadPlist("unknown CommandUUID")
    if command.status in SETTLED:
        return  # devices report twice when an answer of ours got lost
    command.status, command.answered_at = ANSWERS[status], now
    command.errors = _errors(message)
    if status == "Acknowledged":
        _apply(session, device, command, allowed.without_identifiers(message), now)
    chain = audit.request_chain(device.request_id)
    audit.record(session, chain, f"command.{command.status}", now, actor=progress.DEVICE, reason=command.request_type)


def _apply(session: Session, device: Device, command: Command, message: dict[str, Any], now: datetime) -> None:
    if command.request_type == "DeviceInformation":
        answers = message.get("QueryResponses")
        if not isinstance(answers, dict):
            raise BadPlist("no QueryResponses")
        device.attributes = {key: _plain(answers[key]) for key in allowed.ASKED_QUERIES if key in answers}
        device.attributes_at = now
    elif command.request_type == "RemoveProfile":
        # The only profile that is ever removed is the enrollment's own: everything of work went with it.
        progress.device_left(session, device, "selective_wipe", now)
    elif command.request_type == "ProfileList":
        listed = message.get("ProfileList")
        if not isinstance(listed, list):
            raise BadPlist("no ProfileList")
        keys = ("PayloadIdentifier", "PayloadDisplayName", "PayloadUUID")
        entries = [entry for entry in listed if isinstance(entry, dict)]
        device.profiles = [{key: _plain(entry[key]) for key in keys if key in entry} for entry in entries]


def _errors(message: dict[str, Any]) -> list[dict[str, Any]] | None:
    chain = message.get("ErrorChain")
    if not isinstance(chain, list):
        return None
    keys = ("ErrorCode", "ErrorDomain", "USEnglishDescription", "LocalizedDescription")
    entries = [entry for entry in chain[:MOST_ERRORS] if isinstance(entry, dict)]
    return [{key: _plain(entry[key]) for key in keys if key in entry} for entry in entries]


def _plain(value: Any) -> str | int | float | bool:
    return value if isinstance(value, (bool, int, float)) else str(value)[:500].replace("\x00", "")
