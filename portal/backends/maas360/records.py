"""What MaaS360 tells of people and devices, taken by an allow-list: the rest is dropped here, before any log or table.

Its JSON is an XML answer turned over: one row is an object, several are a list; numbers come as numbers or as text;
what is unknown is an empty string. Shapes: IBM's ``fn_maas360`` (recorded answers) and public clients.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

LONGEST = 200
"""Characters of one value."""


@dataclass(frozen=True, slots=True)
class UserRecord:
    """One user of MaaS360."""

    username: str
    email: str
    domain: str
    active: bool


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """One device, with the little of it that the portal takes.

    UDID, IMEI, serial, phone number, MAC addresses, its owner's name for it and everything else never get this far.
    ``server_id`` may be made from the serial number: it is only ever kept sealed.
    """

    server_id: str
    username: str
    email: str
    platform: str
    model: str
    os_version: str
    managed_status: str
    ownership: str
    mode: str
    policy: str
    wipe: str
    compliance: str
    passcode: str
    supervised: bool
    registered_at: datetime | None
    last_reported_at: datetime | None


def users(root: dict[str, Any]) -> list[UserRecord]:
    """The users of a search."""
    return [
        UserRecord(
            text(row, "userName"),
            text(row, "emailAddress"),
            text(row, "domain"),
            active=text(row, "status").casefold() not in ("inactive", "deleted"),
        )
        for row in rows(root, "user")
    ]


def devices(root: dict[str, Any]) -> list[DeviceRecord]:
    """The devices of a search."""
    return [device(row) for row in rows(root, "device")]


def device(row: dict[str, Any]) -> DeviceRecord:
    """One device."""
    return DeviceRecord(
        server_id=text(row, "maas360DeviceID", "maas360DeviceId"),
        username=text(row, "username"),
        email=text(row, "emailAddress"),
        platform=text(row, "platformName"),
        model=text(row, "model", "modelId"),
        os_version=text(row, "osVersion"),
        managed_status=text(row, "maas360ManagedStatus"),
        ownership=text(row, "ownership"),
        mode=text(row, "enrollmentMode"),
        policy=text(row, "mdmPolicy"),
        wipe=text(row, "selectiveWipeStatus"),
        compliance=text(row, "policyComplianceState"),
        passcode=text(row, "passcodeCompliance"),
        supervised=text(row, "isSupervisedDevice").casefold() in ("true", "yes", "1"),
        registered_at=moment(row, "lastMdmRegistered") or moment(row, "installedDate"),
        last_reported_at=moment(row, "lastReported"),
    )


def rows(root: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The rows of an answer: none, one as an object, or a list."""
    found = root.get(key)
    if isinstance(found, dict):
        return [found]
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def text(row: dict[str, Any], *keys: str) -> str:
    """The first of ``keys`` that says something, as text; the empty string if none does."""
    for key in keys:
        value = row.get(key)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float) and str(value).strip():
            plain = str(value).encode("utf-8", "ignore").decode()  # no half of a character
            return plain.strip().replace("\x00", "")[:LONGEST]
    return ""


def whole(root: dict[str, Any], key: str) -> int | None:
    """A number, which may have come as text; None if it is none."""
    told = text(root, key)
    return int(told) if told.isascii() and told.isdigit() and len(told) < 16 else None


def moment(row: dict[str, Any], key: str) -> datetime | None:
    """A time: its milliseconds since 1970 (``…InEpochms``), else its text, which is taken for UTC [?]."""
    milliseconds = whole(row, f"{key}InEpochms")
    try:
        if milliseconds:
            return datetime.fromtimestamp(milliseconds / 1000, UTC)
        told = datetime.fromisoformat(text(row, key))
        return told.astimezone(UTC) if told.tzinfo else told.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None


def every_value(told: object, keys: frozenset[str]) -> Iterator[str]:
    """The texts under any of ``keys`` (casefolded), at any depth of an answer whose shape nobody has seen."""
    if isinstance(told, dict):
        for key, value in told.items():
            if str(key).casefold() in keys and isinstance(value, str | int):
                yield str(value)
            yield from every_value(value, keys)
    elif isinstance(told, list):
        for each in told:
            yield from every_value(each, keys)
