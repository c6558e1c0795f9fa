"""What user enrollment allows, from ``user_enrollment.toml``: refused here, in code, not hidden in a page."""

import tomllib
from pathlib import Path
from typing import Any

from portal import plists
from portal.enrollment.errors import CommandForbidden
from portal.pki import cms

_FACTS = tomllib.loads((Path(__file__).parent / "user_enrollment.toml").read_text("utf-8"))

COMMANDS = frozenset(_FACTS["commands"])
FORBIDDEN: dict[str, str] = {name: reason for reason, names in _FACTS["forbidden"].items() for name in names}
"""By RequestType of what Apple forbids: what it would reach (whole_device, passcode, location, ...)."""
QUERIES = frozenset(_FACTS["device_information"])
SETTINGS_ITEMS = frozenset(_FACTS["settings_items"])
ASKED_QUERIES = tuple(_FACTS["asked"])
PAYLOADS = frozenset(_FACTS["payloads"])
RESTRICTIONS = frozenset(_FACTS["restrictions"])
IDENTIFIERS = frozenset(_FACTS["identifiers"])
_FORBIDDEN_KEYS = {payload: frozenset(keys) for payload, keys in _FACTS["forbidden_keys"].items()}
LARGEST_PROFILE = 512 * 1024
"""Bytes."""
_RESTRICTIONS_PAYLOAD = "com.apple.applicationaccess"


def check(request_type: str, keys: dict[str, Any]) -> None:
    """Raises CommandForbidden, with the reason, unless a user-enrolled iPhone would obey the command.

    ``keys`` is the rest of its Command dictionary.
    """
    if request_type not in COMMANDS:
        raise CommandForbidden(request_type, FORBIDDEN.get(request_type, "unknown_command"))
    if request_type == "DeviceInformation":
        _refuse(request_type, "query", set(keys.get("Queries") or ["(all)"]) - QUERIES)
    elif request_type == "Settings":
        _refuse(request_type, "setting", {item.get("Item") for item in keys.get("Settings", [])} - SETTINGS_ITEMS)
    elif request_type == "InstallApplication":
        _refuse(request_type, "personal_app", {"ChangeManagementState"} & set(keys))
    elif request_type == "DeviceLock":
        _refuse(request_type, "passcode", {"PIN"} & set(keys))
    elif request_type == "InstallProfile":
        check_profile(keys.get("Payload", b""))


def check_profile(content: bytes) -> dict[str, Any]:
    """The property list of a profile, signed or not, that user enrollment can install whole.

    Raises CommandForbidden: ``unreadable``, ``removal`` (its owner could not remove it), ``payload``, ``restriction``.
    """
    try:
        is_signed = content.lstrip()[:1] != b"<"
        profile = plists.read(cms.verify(content, largest=LARGEST_PROFILE).content if is_signed else content)
        payloads = profile["PayloadContent"]
        identifier = plists.text(profile, "PayloadIdentifier", 255)
        kinds = {str(payload["PayloadType"]) for payload in payloads}
    except (plists.BadPlist, cms.CmsError, KeyError, TypeError):
        raise CommandForbidden("InstallProfile", "unreadable") from None
    if profile.get("PayloadType") != "Configuration" or not identifier or not kinds:
        raise CommandForbidden("InstallProfile", "unreadable")
    if profile.get("PayloadRemovalDisallowed"):
        raise CommandForbidden("InstallProfile", "removal")
    _refuse("InstallProfile", "payload", kinds - PAYLOADS)
    for payload in payloads:
        own = {key for key in payload if not key.startswith("Payload")}
        kind = payload["PayloadType"]
        refused = own - RESTRICTIONS if kind == _RESTRICTIONS_PAYLOAD else own & _FORBIDDEN_KEYS.get(kind, frozenset())
        _refuse("InstallProfile", "restriction", refused)
    return profile


def _refuse(request_type: str, reason: str, parts: set[Any]) -> None:
    if parts:
        raise CommandForbidden(request_type, reason, tuple(sorted(map(str, parts))))


def without_identifiers(value: Any) -> Any:
    """``value`` without any hardware identifier, number or location, at any depth: nothing of it is ever stored."""
    if isinstance(value, dict):
        return {key: without_identifiers(child) for key, child in value.items() if key not in IDENTIFIERS}
    if isinstance(value, list):
        return [without_identifiers(child) for child in value]
    return value
