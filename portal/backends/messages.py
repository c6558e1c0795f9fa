"""What a managed device says, and what it means: one meaning, whether it spoke to the portal or to a delegated backend.

Whoever receives a message has made sure of who speaks: the embedded server by its signature, a webhook by its HMAC.
"""

import json
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.enrollment import allowed, commands, leaving, progress
from portal.enrollment.errors import DeviceRefused
from portal.events import Actor, Event
from portal.models import Command, Device
from portal.plists import BadPlist, optional_text, text
from portal.settings import Settings
from portal.vault import Vault

HARDWARE_IDENTIFIERS = ("UDID", "SerialNumber", "IMEI", "MEID")
ANSWERS = {
    "Acknowledged": "acknowledged",
    "Error": "error",
    "CommandFormatError": "format_error",
    "NotNow": "not_now",
}
ANSWERED = {
    "acknowledged": Event.COMMAND_ACKNOWLEDGED,
    "error": Event.COMMAND_ERROR,
    "format_error": Event.COMMAND_FORMAT_ERROR,
    "not_now": Event.COMMAND_NOT_NOW,
}
SEEN_EVERY_SECONDS = 60
MOST_ERRORS = 5
MOST_ENTRIES = 500
"""Of apps, certificates or profiles of one device."""

log = logging.getLogger("portal.mdm")


class UnknownCommand(BadPlist):
    """An answer to a command that the portal never gave."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Where messages are taken: a transaction, what it needs, the time."""

    session: Session
    vault: Vault
    settings: Settings
    topic: str
    now: datetime


def authenticate(desk: Desk, profile_id: str, message: dict[str, Any]) -> Device:
    """A device with this profile introduces itself. Raises DeviceRefused (recorded), BadPlist.

    A device that is refused removes its enrollment. If it was managed, that is over, here as there.
    """
    try:
        return _authenticate(desk, profile_id, message)
    except DeviceRefused as refusal:
        device = desk.session.scalar(select(Device).where(Device.profile_id == profile_id))
        if device is not None and device.enrolled_at is not None and device.ended_at is None:
            leaving.left(desk.session, desk.vault, desk.settings, device, refusal.reason, desk.now)
        raise


def _authenticate(desk: Desk, profile_id: str, message: dict[str, Any]) -> Device:
    session, now = desk.session, desk.now
    if any(key in message for key in HARDWARE_IDENTIFIERS):
        # Not a user enrollment: the whole device would be managed, and its identifiers collected.
        progress.device_refused(session, profile_id, "hardware_identifier", now)
        raise DeviceRefused("hardware_identifier")
    enrollment_id = text(message, "EnrollmentID")
    if enrollment_id is None:
        progress.device_refused(session, profile_id, "no_enrollment_id", now)
        raise DeviceRefused("no_enrollment_id")
    if message.get("Topic") != desk.topic:
        progress.device_refused(session, profile_id, "wrong_topic", now)
        raise DeviceRefused("wrong_topic")
    report = progress.DeviceReport(
        enrollment_id=enrollment_id,
        os_version=optional_text(message, "OSVersion", 32),
        build_version=optional_text(message, "BuildVersion", 32),
        product_name=optional_text(message, "ProductName", 64),
    )
    return progress.device_authenticated(session, profile_id, report, now)


def token_update(desk: Desk, device: Device, message: dict[str, Any]) -> None:
    """The device can be woken; the first time it is enrolled and asked what it is. Raises DeviceRefused, BadPlist."""
    _check_topic(desk, message)
    token, magic = message.get("Token"), text(message, "PushMagic")
    if not isinstance(token, bytes) or not 0 < len(token) <= 256 or magic is None:
        raise BadPlist("TokenUpdate without Token or PushMagic")
    enrolled(desk, device)
    if device.ended_at is None:
        device.push_sealed = desk.vault.seal(json.dumps({"token": token.hex(), "magic": magic}).encode())


def enrolled(desk: Desk, device: Device) -> None:
    """The device is managed; what follows from it, once. Raises DeviceRefused."""
    if progress.device_enrolled(desk.session, device, desk.now):
        for wanted in commands.FIRST:
            commands.order(desk.session, device, wanted, desk.now)


def check_out(desk: Desk, device: Device) -> None:
    """Its owner removed the profile or the account; or the device obeyed, and says good-bye first."""
    leaving.left(desk.session, desk.vault, desk.settings, device, "removed_on_device", desk.now)


def report(desk: Desk, device: Device, message: dict[str, Any]) -> None:
    """A device connected: Idle, or an answer to a command. Raises BadPlist."""
    status = text(message, "Status")
    if status != "Idle":
        _answer(desk, device, status, message)
    if (desk.now - device.last_seen_at).total_seconds() >= SEEN_EVERY_SECONDS:
        device.last_seen_at = desk.now


def _check_topic(desk: Desk, message: dict[str, Any]) -> None:
    if message.get("Topic") != desk.topic:
        raise DeviceRefused("wrong_topic")


def _answer(desk: Desk, device: Device, status: str | None, message: dict[str, Any]) -> None:
    if status not in ANSWERS:
        raise BadPlist("unknown Status")
    command = desk.session.scalar(
        select(Command).where(Command.uuid == text(message, "CommandUUID"), Command.device_id == device.id)
    )
    if command is None:
        raise UnknownCommand("unknown CommandUUID")
    if command.status in commands.SETTLED:
        return  # devices report twice when an answer of ours got lost
    if ANSWERS[status] == "not_now" and command.status not in commands.OPEN:
        return
    outcome = ANSWERS[status]
    if outcome == "acknowledged" and not _has_result(command, message):
        _failed(desk, device, command)
        return
    command.status, command.answered_at = outcome, desk.now
    command.handed_at = command.handed_at or desk.now
    command.errors = _errors(message)
    chain = audit.request_chain(device.request_id)
    audit.record(desk.session, chain, ANSWERED[command.status], desk.now, reason=command.request_type)
    if status == "Acknowledged":
        _apply(desk, device, command, allowed.without_identifiers(message))


RESULTS: dict[str, tuple[str, type]] = {
    "DeviceInformation": ("QueryResponses", dict),
    "ProfileList": ("ProfileList", list),
    "ManagedApplicationList": ("ManagedApplicationList", dict),
    "CertificateList": ("CertificateList", list),
}
"""Where the answer to a command has its result, and what that is."""


def unreadable(desk: Desk, device: Device) -> None:
    """The device answered in a way that cannot be read, or is too large: the command sent last failed.

    Raises BadPlist if none was sent.
    """
    query = select(Command).where(Command.device_id == device.id, Command.status == "sent")
    command = desk.session.scalar(query.order_by(Command.sent_at.desc(), Command.id.desc()).limit(1))
    if command is None:
        raise BadPlist("not a property list that a device would send")
    _failed(desk, device, command)


def _has_result(command: Command, message: dict[str, Any]) -> bool:
    key, kind = RESULTS.get(command.request_type, ("Status", str))
    return isinstance(message.get(key), kind)


def _failed(desk: Desk, device: Device, command: Command) -> None:
    command.status, command.answered_at, command.last_error = "failed", desk.now, "unusable_answer"
    command.handed_at = command.handed_at or desk.now
    audit.record(
        desk.session, audit.request_chain(device.request_id), Event.COMMAND_FAILED, desk.now,
        reason=command.request_type, actor=Actor.DEVICE, detail={"error": command.last_error},
    )  # fmt: skip


def _apply(desk: Desk, device: Device, command: Command, message: dict[str, Any]) -> None:
    kind = command.request_type
    if kind == "DeviceInformation":
        answers = message["QueryResponses"]
        device.attributes = {key: _plain(answers[key]) for key in allowed.ASKED_QUERIES if key in answers}
        device.attributes_at = desk.now
        device.os_version = str(device.attributes.get("OSVersion") or device.os_version or "")[:32] or None
        device.product_name = str(device.attributes.get("ProductName") or device.product_name or "")[:64] or None
    elif kind == "ProfileList":
        keys = ("PayloadIdentifier", "PayloadDisplayName", "PayloadUUID")
        device.profiles = [{key: _plain(entry[key]) for key in keys if key in entry} for entry in _list(message, kind)]
    elif kind == "ManagedApplicationList":
        known = [(name, entry) for name, entry in message[kind].items() if isinstance(entry, dict)]
        device.apps = [{"Identifier": _plain(name), "Status": _plain(entry.get("Status", ""))}
                       for name, entry in known[:MOST_ENTRIES]]  # fmt: skip
        device.apps_at = desk.now
    elif kind == "CertificateList":
        device.certificates = [_certificate(entry) for entry in _list(message, kind)]
        device.certificates_at = desk.now
    elif kind == "RemoveProfile":
        _removed(desk, device, command)


def _removed(desk: Desk, device: Device, command: Command) -> None:
    if leaving.is_removal(command, desk.settings):  # everything of work went with it
        leaving.left(desk.session, desk.vault, desk.settings, device, "selective_wipe", desk.now)
        return
    gone = commands.keys_of(command).get("Identifier")
    device.profiles = [entry for entry in device.profiles if entry.get("PayloadIdentifier") != gone]


def _certificate(entry: dict[str, Any]) -> dict[str, Any]:
    """What people want to know of a certificate on the device; the certificate itself is not kept."""
    known = {"CommonName": _plain(entry.get("CommonName", "")), "IsIdentity": entry.get("IsIdentity") is True}
    try:
        found = x509.load_der_x509_certificate(entry.get("Data", b""))
        known["NotValidAfter"] = found.not_valid_after_utc.isoformat()
    except (ValueError, TypeError):
        log.info("mdm.certificate_unreadable")
    return known


def _list(message: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [entry for entry in message[key][:MOST_ENTRIES] if isinstance(entry, dict)]


def _errors(message: dict[str, Any]) -> list[dict[str, Any]] | None:
    chain = message.get("ErrorChain")
    if not isinstance(chain, list):
        return None
    keys = ("ErrorCode", "ErrorDomain", "USEnglishDescription", "LocalizedDescription")
    entries = [entry for entry in chain[:MOST_ERRORS] if isinstance(entry, dict)]
    return [{key: _plain(entry[key]) for key in keys if key in entry} for entry in entries]


def _plain(value: Any) -> str | int | float | bool:
    return value if isinstance(value, (bool, int, float)) else str(value)[:500].replace("\x00", "")
