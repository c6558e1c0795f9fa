"""What a managed device says, and what it means: one meaning, whether it spoke to the portal or to a delegated backend.

Whoever receives a message has made sure of who speaks: the embedded server by its signature, a webhook by its HMAC.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography import x509

from portal.apps import delivering, listening
from portal.backends import sending
from portal.declarations import speaking
from portal.enrollment import allowed, commands, devices, ending
from portal.enrollment.case import Case
from portal.enrollment.devices import DeviceReport
from portal.enrollment.errors import DeviceRefused
from portal.events import Event
from portal.models import Command, CommandState, Device
from portal.plists import BadPlist, optional_text, text

ANSWERS = {
    "Acknowledged": CommandState.ACKNOWLEDGED,
    "Error": CommandState.ERROR,
    "CommandFormatError": CommandState.FORMAT_ERROR,
    "NotNow": CommandState.NOT_NOW,
}
ANSWERED = {
    CommandState.ACKNOWLEDGED: Event.COMMAND_ACKNOWLEDGED,
    CommandState.ERROR: Event.COMMAND_ERROR,
    CommandState.FORMAT_ERROR: Event.COMMAND_FORMAT_ERROR,
    CommandState.NOT_NOW: Event.COMMAND_NOT_NOW,
}
SEEN_EVERY_SECONDS = 60
MOST_ERRORS = 5
LARGEST_NUMBER = 10**15
MOST_ENTRIES = 500
"""Of apps, certificates or profiles of one device."""

log = logging.getLogger("portal.mdm")


class UnknownCommand(BadPlist):
    """An answer to a command that the portal never gave."""


def authenticate(case: Case, topic: str, message: dict[str, Any]) -> Device:
    """A device with the case's profile introduces itself. Raises DeviceRefused (recorded), BadPlist.

    A device that is refused removes its enrollment. If it was managed, that is over, here as there.
    """
    try:
        device = _authenticate(case, topic, message)
    except DeviceRefused as refusal:
        devices.ended_by_refusal(case, refusal.reason)
        raise
    if device.enrolled_at is not None:
        speaking.begins_anew(case)
        listening.begins_anew(case)
    return device


def _authenticate(case: Case, topic: str, message: dict[str, Any]) -> Device:
    if allowed.names_hardware(message):
        # Not a user enrollment: the whole device would be managed, and its identifiers collected.
        devices.refused(case, "hardware_identifier")
    enrollment_id = text(message, "EnrollmentID")
    if enrollment_id is None:
        devices.refused(case, "no_enrollment_id")
    if not allowed.ENROLLMENT_ID.fullmatch(enrollment_id):
        devices.refused(case, "odd_enrollment_id")
    if message.get("Topic") != topic:
        devices.refused(case, "wrong_topic")
    report = DeviceReport(
        enrollment_id=enrollment_id,
        os_version=optional_text(message, "OSVersion", 32),
        build_version=optional_text(message, "BuildVersion", 32),
        product_name=optional_text(message, "ProductName", 64),
    )
    return devices.authenticated(case, report)


def token_update(case: Case, topic: str, message: dict[str, Any]) -> None:
    """The device can be woken; the first time it is enrolled and asked what it is. Raises DeviceRefused, BadPlist."""
    if message.get("Topic") != topic:
        raise DeviceRefused("wrong_topic", for_good=False)
    token, magic = message.get("Token"), text(message, "PushMagic")
    if not isinstance(token, bytes) or not 0 < len(token) <= 256 or magic is None:
        raise BadPlist("TokenUpdate without Token or PushMagic")
    devices.enrolled(case)
    device = case.known_device
    if device.ended_at is None:
        device.push_sealed = case.vault.seal(json.dumps({"token": token.hex(), "magic": magic}).encode())


def check_out(case: Case) -> None:
    """Its owner removed the profile or the account; or the device obeyed, and says good-bye first."""
    ending.end(case, ending.Reason.LEFT)


def report(case: Case, message: dict[str, Any]) -> None:
    """A device connected: Idle, or an answer to a command. Raises BadPlist."""
    status, device = text(message, "Status"), case.known_device
    if status != "Idle":
        _answer(case, status, message)
    if (case.now - device.last_seen_at).total_seconds() >= SEEN_EVERY_SECONDS:
        device.last_seen_at = case.now


def _answer(case: Case, status: str | None, message: dict[str, Any]) -> None:
    if status not in ANSWERS:
        raise BadPlist("unknown Status")
    command = case.store.command(case.known_device, text(message, "CommandUUID"))
    if command is None:
        raise UnknownCommand("unknown CommandUUID")
    if command.status in commands.SETTLED:
        return  # devices report twice when an answer of ours got lost
    if ANSWERS[status] == CommandState.NOT_NOW and command.status not in commands.OPEN:
        return
    outcome = ANSWERS[status]
    if outcome == CommandState.ACKNOWLEDGED and not _has_result(command, message):
        _unusable(case, command)
        return
    put_off_again = outcome == CommandState.NOT_NOW and command.answered_at is not None  # told once
    if outcome == CommandState.NOT_NOW:
        command.status = outcome
    else:
        commands.over(command, outcome)
    command.answered_at, command.handed_at = case.now, command.handed_at or case.now
    command.errors = _errors(message)
    if not put_off_again:
        case.record(ANSWERED[outcome], command.request_type)
    if status == "Acknowledged":
        _apply(case, command, allowed.without_identifiers(message))
    if command.app_id is not None:
        listening.answered(case, command, message)
    elif command.profile is not None:
        speaking.answered(case, command)
    elif command.request_type == commands.DECLARE:
        if outcome == CommandState.ACKNOWLEDGED:
            speaking.follow_synchronization(case)
        elif outcome != CommandState.NOT_NOW:
            speaking.told_nothing(case)
    elif command.request_type == "DeviceInformation" and outcome == CommandState.ACKNOWLEDGED:
        speaking.announce(case)  # it said just now what it is
        if case.settings.apps.enabled:
            delivering.settle(case)


RESULTS: dict[str, tuple[str, type]] = {
    "DeviceInformation": ("QueryResponses", dict),
    "ProfileList": ("ProfileList", list),
    "ManagedApplicationList": ("ManagedApplicationList", dict),
    "CertificateList": ("CertificateList", list),
}
"""Where the answer to a command has its result, and what that is."""


def unreadable(case: Case) -> None:
    """The device answered in a way that cannot be read, or is too large: the command sent last failed.

    Raises BadPlist if none was sent.
    """
    sent = [each for each in case.store.open_commands(case.known_device) if each.status == CommandState.SENT]
    command = max(sent, key=lambda each: (each.sent_at or each.created_at, each.id), default=None)
    if command is None:
        raise BadPlist("not a property list that a device would send")
    _unusable(case, command)


def _has_result(command: Command, message: dict[str, Any]) -> bool:
    key, kind = RESULTS.get(command.request_type, ("Status", str))
    return isinstance(message.get(key), kind)


def _unusable(case: Case, command: Command) -> None:
    command.answered_at = case.now
    sending.failed(case, command, "unusable_answer", Event.COMMAND_UNUSABLE)


def _apply(case: Case, command: Command, message: dict[str, Any]) -> None:
    kind, device = command.request_type, case.known_device
    if kind == "DeviceInformation":
        answers = message["QueryResponses"]
        device.attributes = _known(answers, allowed.ASKED_QUERIES)
        device.attributes_at = case.now
        device.os_version = str(device.attributes.get("OSVersion") or device.os_version or "")[:32] or None
        device.build_version = str(device.attributes.get("BuildVersion") or device.build_version or "")[:32] or None
        device.product_name = str(device.attributes.get("ProductName") or device.product_name or "")[:64] or None
    elif kind == "ProfileList":
        keys = ("PayloadIdentifier", "PayloadDisplayName", "PayloadUUID")
        device.profiles = [_known(entry, keys) for entry in _list(message, kind)]
    elif kind == "ManagedApplicationList":
        if "Identifiers" not in commands.keys_of(command):
            told = listening.ours(case, message[kind]) if case.settings.apps.enabled else message[kind]
            known = [(name, entry) for name, entry in told.items() if isinstance(entry, dict)]
            device.apps = [{"Identifier": _plain(name), "Status": _plain(entry.get("Status", ""))}
                           for name, entry in known[:MOST_ENTRIES]]  # fmt: skip
            device.apps_at = case.now
        if case.settings.apps.enabled:
            listening.listed(case, command, message[kind])
    elif kind == "CertificateList":
        device.certificates = [_certificate(entry) for entry in _list(message, kind)]
        device.certificates_at = case.now
    elif kind == "RemoveProfile":
        _removed(case, command)


def _removed(case: Case, command: Command) -> None:
    if ending.is_removal(command, case.settings):  # everything of work went with it
        ending.end(case, ending.Reason.WIPED)
        return
    gone, device = commands.keys_of(command).get("Identifier"), case.known_device
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
    return [_known(entry, keys) for entry in entries]


def _known(entry: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Those of ``keys`` that ``entry`` has, with what may be kept of each."""
    told = {key: _plain(entry[key]) for key in keys if key in entry}
    return {key: value for key, value in told.items() if value is not None}


def _plain(value: Any) -> str | int | float | bool | None:
    """What JSON, a database and a page can carry; a number that none of them can is text.

    None for anything else: what is in there may say which device it is.
    """
    if isinstance(value, bool) or (isinstance(value, int | float) and abs(value) < LARGEST_NUMBER):
        return value  # neither NaN nor infinity is less
    return str(value)[:500].replace("\x00", "") if isinstance(value, str | int | float) else None
