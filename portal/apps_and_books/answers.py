"""What Apps and Books answers, read: only what the portal needs of it, each value checked.

Facts: Apple, "Managing assets", "Managing users", "Service config", "Handling error responses" (API version 2).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

STANDARD = "STDQ"
"""The usual quality of an app (``pricingParam``)."""
LONGEST = 200
"""Characters of one value."""
UNLIMITED = 2_000_000_000
"""Of a free app Apple says that there are 2147483647 licenses."""
COMPLETE, FAILED = "COMPLETE", "FAILED"

ADMIN_ACTS = frozenset({9601, 9621, 9622, 9625, 9634})
"""The token is not taken (any more): nothing works until an admin does something."""
LATER = frozenset({9603, 9646})
"""Apple cannot at the moment, or was asked too often: the same again later."""
USER_UNKNOWN, NOT_ENOUGH, USER_EXISTS = 9609, 9709, 9716


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may ask; Apple's figures of 2026 until it says others."""

    assets: int = 25
    users: int = 100
    client_user_ids: int = 1000
    requests_per_second: int = 15


_LIMITS = {
    "assets": "maxAssets",
    "users": "maxUsers",
    "client_user_ids": "maxClientUserIds",
    "requests_per_second": "maxRequestPerSecond",
}
MOST = 10_000
"""More than that in one request nobody sends, whatever the limit."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Which device management server a location belongs to, as that server said (``mdmInfo``)."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Location:
    """Whose licenses the token is about."""

    uid: str
    name: str
    country: str
    claim: Claim | None


@dataclass(frozen=True, slots=True)
class Asset:
    """The licenses of one app: how many there are, are free, are given."""

    adam_id: str
    pricing: str
    total: int
    available: int
    assigned: int
    revocable: bool
    is_app: bool
    for_iphone: bool


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who can get licenses, by our opaque id."""

    client_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Failure:
    """What of an event did not work: for these ids, or for all that are not named anywhere."""

    number: int
    client_ids: frozenset[str]
    adam_ids: frozenset[str]

    @property
    def names_somebody(self) -> bool:
        """Whether it says whom, or what, it is about."""
        return bool(self.client_ids or self.adam_ids)


@dataclass(frozen=True, slots=True)
class Event:
    """How far what was asked is."""

    status: str
    failures: tuple[Failure, ...] = field(default=())

    @property
    def over(self) -> bool:
        """Nothing more comes of it."""
        return self.status in (COMPLETE, FAILED)

    def number_for(self, client_id: str, adam_id: str) -> int:
        """The number of the failure that is about a user and an app; 0 for none, -1 for one without a number."""
        for failure in self.failures:
            about_user = not failure.client_ids or client_id in failure.client_ids
            about_app = not failure.adam_ids or not adam_id or adam_id in failure.adam_ids
            if about_user and about_app:
                return failure.number or -1
        return 0 if self.status == COMPLETE or self.failures else -1


def limits(told: Mapping[str, Any]) -> Limits:
    """From ``service/config``."""
    known = _mapping(told.get("limits"))
    values = {name: known.get(key) for name, key in _LIMITS.items()}
    return Limits(**{name: min(each, MOST) for name, each in values.items() if type(each) is int and each >= 1})


def claim(told: Mapping[str, Any]) -> Claim | None:
    """From whichever answer carries it."""
    known = _mapping(told.get("mdmInfo"))
    return Claim(text(known, "id"), text(known, "name")) if text(known, "id") else None


def location(told: Mapping[str, Any]) -> Location:
    """From ``client/config``."""
    return Location(text(told, "uId"), text(told, "locationName"), text(told, "countryISO2ACode")[:2], claim(told))


def asset(row: Mapping[str, Any]) -> Asset | None:
    """One of ``assets``; None without an id."""
    adam_id = text(row, "adamId")
    if not adam_id.isdecimal() or not adam_id.isascii() or len(adam_id) > 20:
        return None
    platforms = row.get("supportedPlatforms")
    return Asset(
        adam_id,
        text(row, "pricingParam")[:8] or STANDARD,
        _count(row, "totalCount"),
        _count(row, "availableCount"),
        _count(row, "assignedCount"),
        row.get("revocable") is not False,
        text(row, "productType") in ("App", ""),
        not isinstance(platforms, list) or not platforms or "iOS" in platforms,
    )


def user(row: Mapping[str, Any]) -> User:
    """One of ``users``."""
    return User(text(row, "clientUserId"), text(row, "status"))


def event(told: Mapping[str, Any]) -> Event:
    """From ``status``."""
    rows = told.get("failures")
    failures = [_failure(_mapping(row)) for row in rows[:MOST]] if isinstance(rows, list) else []
    return Event(text(told, "eventStatus"), tuple(failures))


def _failure(row: Mapping[str, Any]) -> Failure:
    info = _mapping(row.get("errorInfo"))
    assets = info.get("assets")
    named = [text(_mapping(each), "adamId") for each in assets] if isinstance(assets, list) else []
    return Failure(number(row), frozenset(_texts(info.get("clientUserIds"))), frozenset(named))


def number(told: Mapping[str, Any]) -> int:
    """Its ``errorNumber``, also in what came with status 200; 0 if all is well, -1 for none that Apple would give."""
    found = told.get("errorNumber")
    if isinstance(found, str) and found.isascii() and found.isdecimal() and len(found) < 10:
        return int(found)
    return found if type(found) is int and abs(found) < 10**9 else 0 if found is None else -1


def expiry(told: Mapping[str, Any]) -> datetime | None:
    """When the token ends, if the answer says so."""
    try:
        return datetime.fromisoformat(text(told, "tokenExpirationDate")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def text(told: Mapping[str, Any], key: str) -> str:
    """A value as text that can be shown; empty if there is none."""
    value = told.get(key)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    return "".join(each for each in str(value)[:LONGEST] if each.isprintable())


def _count(row: Mapping[str, Any], key: str) -> int:
    value = row.get(key)
    return max(0, min(value, 2**31 - 1)) if type(value) is int else 0


def _texts(value: object) -> list[str]:
    return [str(each)[:LONGEST] for each in value] if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
