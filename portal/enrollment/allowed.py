"""What user enrollment allows, from ``user_enrollment.toml``: refused here, in code, not hidden in a page.

What of a profile applies, ``policies.checking`` says.
"""

import plistlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portal import plists
from portal.enrollment.errors import CommandForbidden
from portal.pki import cms
from portal.policies import checking

_FACTS = tomllib.loads((Path(__file__).parent / "user_enrollment.toml").read_text("utf-8"))

NOT_SERVED = frozenset({"DeclarativeManagement"})
"""Allowed by Apple, but only the portal itself orders it (``commands.declare``)."""
COMMANDS = frozenset(_FACTS["commands"]) - NOT_SERVED
FORBIDDEN: dict[str, str] = {name: reason for reason, names in _FACTS["forbidden"].items() for name in names}
"""By RequestType of what Apple forbids: what it would reach (whole_device, passcode, location, ...)."""
QUERIES = frozenset(_FACTS["device_information"])
SETTINGS_ITEMS = frozenset(_FACTS["settings_items"])
ASKED_QUERIES = tuple(_FACTS["asked"])
HARDWARE = frozenset(name.casefold() for name in _FACTS["hardware"])
"""Folded keys under which a message would tell which device it is; in user enrollment none does."""
IDENTIFIERS = HARDWARE | frozenset(name.casefold() for name in _FACTS["identifiers"])
"""The same, with what else is never kept: numbers, addresses, places."""
ENROLLMENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What a device may call itself: it stands in addresses and names of files, and where a comma would make two of it."""
_OURS = {"requesttype", "commanduuid", "command"}
"""Keys that only the portal writes, however they are spelt."""
LARGEST_PROFILE = 512 * 1024
"""Bytes."""
ERRANDS: dict[str, frozenset[str]] = {
    "DeviceLock": frozenset(),
    "SelectiveWipe": frozenset(),
    "RevokeSelectiveWipe": frozenset(),
    "RemoveControl": frozenset(),
    "SendMessage": frozenset({"Title", "Text"}),
    "Refresh": frozenset(),
    "ChangePolicy": frozenset({"Policy"}),
}
"""What a server that enrolls devices by itself may be asked about one, with the keys of each. Never more: no whole
device is erased, no passcode reset, nobody located."""
LONGEST_ERRAND = 2000
"""Characters of one value."""


def command(request_type: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The Command dictionary for a device: what is checked here is what is sent.

    ``keys`` is everything but its RequestType. Raises CommandForbidden, with the reason, unless a user-enrolled iPhone
    would obey it.
    """
    asked = str(request_type)
    _refuse(asked, "hidden_command", {key for key in keys if str(key).casefold() in _OURS})
    made = {**keys, "RequestType": asked}
    if asked == "InstallProfile":
        made["Payload"] = read_profile(made.get("Payload")).content
    try:
        sent: dict[str, Any] = plistlib.loads(plistlib.dumps(made))
    except (TypeError, OverflowError, ValueError, RecursionError, AttributeError):
        raise CommandForbidden(asked, "unreadable") from None
    _check(sent)
    return sent


def errand(request_type: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a device that another server manages by itself. Raises CommandForbidden."""
    asked = str(request_type)
    if asked not in ERRANDS:
        raise CommandForbidden(asked, FORBIDDEN.get(asked, "managed_elsewhere"))
    _refuse(asked, "hidden_command", set(keys) - ERRANDS[asked])
    if not all(isinstance(value, str) and len(value) <= LONGEST_ERRAND for value in keys.values()):
        raise CommandForbidden(asked, "unreadable")
    return {**keys, "RequestType": asked}


def _check(sent: dict[str, Any]) -> None:
    asked = sent["RequestType"]
    if asked not in COMMANDS:
        raise CommandForbidden(asked, FORBIDDEN.get(asked, "unknown_command"))
    if asked == "DeviceInformation":
        _refuse(asked, "query", _names(asked, sent.get("Queries") or ["(all)"]) - QUERIES)
    elif asked == "Settings":
        items = sent.get("Settings")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise CommandForbidden(asked, "unreadable")
        _refuse(asked, "setting", _names(asked, [item.get("Item", "(none)") for item in items]) - SETTINGS_ITEMS)
    elif asked == "InstallApplication":
        _refuse(asked, "personal_app", {"ChangeManagementState"} & set(sent))
    elif asked == "DeviceLock":
        _refuse(asked, "passcode", {"PIN"} & set(sent))


def _names(request_type: str, values: Any) -> set[str]:
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise CommandForbidden(request_type, "unreadable")
    return set(values)


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile that user enrollment can install whole: its property list, and the bytes that say exactly that."""

    values: dict[str, Any]
    content: bytes


def read_profile(content: object) -> Profile:
    """A profile that a user-enrolled device would take whole.

    Raises CommandForbidden: what ``open_profile`` raises, ``removal`` (its owner could not remove it), ``payload``,
    ``restriction`` (a key).
    """
    profile = open_profile(content)
    forbidden = [each for each in checking.check(profile.values) if each.problem in checking.FORBIDDEN]
    _refuse(
        "InstallProfile", "unreadable", {each.key for each in forbidden if each.problem in ("unreadable", "no_payload")}
    )
    if any(each.problem == "removal" for each in forbidden):
        raise CommandForbidden("InstallProfile", "removal")
    of_payloads = ("unknown_payload", "forbidden_payload")
    _refuse("InstallProfile", "payload", {each.payload for each in forbidden if each.problem in of_payloads})
    _refuse("InstallProfile", "restriction", {each.key for each in forbidden})
    return profile


def open_profile(content: object) -> Profile:
    """A profile, signed or not (bytes). An unsigned one is written anew, so that the device reads what was read here.

    Raises CommandForbidden: ``unreadable`` (also for a key that stands twice: readers differ in which one counts),
    ``too_large``.
    """
    if not isinstance(content, bytes):
        raise CommandForbidden("InstallProfile", "unreadable")
    if len(content) > LARGEST_PROFILE:
        raise CommandForbidden("InstallProfile", "too_large")
    is_signed = content.lstrip()[:1] != b"<"
    try:
        values = plists.read(cms.verify(content, largest=LARGEST_PROFILE).content if is_signed else content, once=True)
        if not plists.text(values, "PayloadIdentifier", 255):
            raise CommandForbidden("InstallProfile", "unreadable")
        written = plistlib.dumps(values)  # also what is signed: what cannot be written may not be understood
    except (plists.BadPlist, cms.CmsError, KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise CommandForbidden("InstallProfile", "unreadable") from None
    return Profile(values, content if is_signed else written)


def _refuse(request_type: str, reason: str, parts: set[Any]) -> None:
    if parts:
        raise CommandForbidden(request_type, reason, tuple(sorted(map(str, parts))))


def names_hardware(message: dict[str, Any]) -> bool:
    """Whether a message tells which device it comes from, however the key is spelt."""
    return any(key.casefold() in HARDWARE for key in message)


def without_identifiers(value: Any) -> Any:
    """``value`` without any hardware identifier, number or location, at any depth: nothing of it is ever stored."""
    if isinstance(value, dict):
        return {key: without_identifiers(child) for key, child in value.items() if key.casefold() not in IDENTIFIERS}
    if isinstance(value, list):
        return [without_identifiers(child) for child in value]
    return value
