"""What a device reports of itself, taken by an allow-list: of personal things nothing gets further than this module.

Facts: the schema's ``declarative/protocol/statusreport.yaml`` and ``declarative/status``; which items user enrollment
allows is in ``ITEMS``. A report tells what changed; a full one (``FullReport``) replaces everything before it.
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from portal.versions import is_version

LARGEST_REPORT = 512 * 1024
"""Bytes."""
DEEPEST = 12
MOST_ENTRIES = 200
"""Of one list."""
LONGEST = 200
"""Characters of one value."""
CAPABILITIES, DECLARATIONS = "management.client-capabilities", "management.declarations"
"""Reported without being asked for."""
ITEMS: dict[str, type] = {
    "device.model.identifier": str,
    "device.model.marketing-name": str,
    "device.operating-system.version": str,
    "device.operating-system.build-version": str,
    "device.operating-system.supplemental.build-version": str,
    "passcode.is-present": bool,
    "passcode.is-compliant": bool,
    "mdm.enrollment-type": str,
}
"""Values that are kept, and what each is. Serial number, UDID, battery and location are none, and user enrollment tells
none of them."""
ACCOUNTS = tuple(
    f"account.list.{kind}"
    for kind in ("caldav", "carddav", "exchange", "google", "ldap", "mail", "subscribed-calendar")
)
CERTIFICATES = "security.certificate.list"
REASON = "reason"
"""The first of an entry's reasons, as Apple's code; never what stands beside it."""
LISTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(ACCOUNTS, ("identifier", "declaration-identifier")),
    CERTIFICATES: ("identifier", "declaration-identifier", "subject-summary"),
    "mdm.app": ("identifier", "state", "short-version"),
    "app.managed.list": ("identifier", "declaration-identifier", "state", "short-version", REASON),
}
"""Lists that are kept, and what of each entry; entries are told apart by ``identifier``."""
MANAGED_APPS = "app.managed.list"
OF_DECLARATIONS = frozenset({*ACCOUNTS, CERTIFICATES, MANAGED_APPS})
"""Of these only what a declaration put there: nothing of an account or certificate of anybody's own ever stays."""
SINCE: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(ACCOUNTS, (16, 0)),
    CERTIFICATES: (17, 0),
    "device.model.identifier": (15, 0),
    "device.model.marketing-name": (15, 0),
    "device.operating-system.version": (15, 0),
    "device.operating-system.build-version": (15, 0),
    "device.operating-system.supplemental.build-version": (16, 1),
    "passcode.is-present": (16, 0),
    "passcode.is-compliant": (16, 0),
    "mdm.enrollment-type": (27, 0),
    "mdm.app": (16, 0),
    "app.managed.list": (17, 2),
}
"""Since which iOS user enrollment allows each of both."""
VERSION = "device.operating-system.version"
_A_CODE = re.compile(r"[A-Za-z0-9._-]{1,80}")
VALID = ("valid", "invalid", "unknown")
MOST_REASONS = 3
_KINDS = ("activations", "configurations", "assets", "management")


class BadReport(Exception):
    """Not a report that a device would send."""


@dataclass(frozen=True)
class Known:
    """What is known of a device from its reports: JSON in every part.

    ``supported``: the status items that it can report, None before it said so; ``declarations``: by identifier its
    server token, whether it is active, whether it is valid, and why not.
    """

    supported: Sequence[str] | None = None
    values: dict[str, Any] = field(default_factory=dict)
    lists: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    declarations: dict[str, dict[str, Any]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """To be kept; ``Known(**...)`` is the way back."""
        return {
            "supported": list(self.supported) if self.supported is not None else None,
            "values": self.values,
            "lists": self.lists,
            "declarations": self.declarations,
        }


def subscribable(version: tuple[int, ...], supported: Sequence[str] | None) -> list[str]:
    """The items to subscribe to: what its iOS knows, and what it said itself that it ``supported`` if it did."""
    known = (name for name, since in SINCE.items() if version >= since)
    return sorted(name for name in known if supported is None or name in supported)


def is_full(body: bytes) -> bool:
    """Whether a report replaces everything before it. Raises BadReport."""
    return _read(body).get("FullReport") is True


def learn(known: Known, body: bytes) -> Known:
    """What is known after a report. Raises BadReport."""
    report = _read(body)
    items = report.get("StatusItems")
    if not isinstance(items, dict):
        raise BadReport("no StatusItems")
    if report.get("FullReport") is True:
        known = Known(supported=known.supported)
    capabilities = _at(items, CAPABILITIES)
    if isinstance(capabilities, dict):
        known = replace(known, supported=_supported(capabilities))
    values = known.values | {
        name: value for name, kind in ITEMS.items() if (value := _value(items, name, kind)) is not None
    }
    lists = dict(known.lists)
    for name, kept in LISTS.items():
        told = _at(items, name)
        if isinstance(told, list):
            own = [each for each in told if name not in OF_DECLARATIONS or _is_declared(each)]
            lists[name] = _merged(lists.get(name, {}), own, kept)
    declarations = _declarations(known.declarations, _at(items, DECLARATIONS))
    return replace(known, values=values, lists=lists, declarations=declarations)


def only_of(declared: Collection[str], known: Known) -> Known:
    """Without what is said to come of declarations other than these, by identifier: it is none of the portal's."""
    lists = dict(known.lists)
    for name in OF_DECLARATIONS & lists.keys():
        entries = lists[name].items()
        lists[name] = {key: each for key, each in entries if each.get("declaration-identifier") in declared}
    return replace(known, lists=lists)


def _read(body: bytes) -> dict[str, Any]:
    if len(body) > LARGEST_REPORT:
        raise BadReport("too large")
    try:
        report = json.loads(body)
    except (ValueError, RecursionError):
        raise BadReport("no JSON") from None
    if not isinstance(report, dict) or _too_deep(report):
        raise BadReport("not a report")
    return report


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    return True


def _at(items: dict[str, Any], name: str) -> Any:
    """What stands under a dotted name: nested, one level for each part."""
    found: Any = items
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _value(items: dict[str, Any], name: str, kind: type) -> str | bool | None:
    value = _at(items, name)
    if not isinstance(value, kind):
        return None
    if name == VERSION and not is_version(str(value)):
        return None
    return text(value) if isinstance(value, str) else bool(value)


def _supported(capabilities: dict[str, Any]) -> tuple[str, ...]:
    told = _at(capabilities, "supported-payloads.status-items")
    names = {name for name in told if isinstance(name, str)} if isinstance(told, list) else set()
    return tuple(sorted(names & {*ITEMS, *LISTS}))


def _is_declared(entry: Any) -> bool:
    """Whether a declaration put it there, or it is gone."""
    return isinstance(entry, dict) and (bool(entry.get("declaration-identifier")) or entry.get("_removed") is True)


def _merged(before: dict[str, dict[str, str]], told: list[Any], kept: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """A list after what changed in it; ``_removed`` entries are gone."""
    after = dict(before)
    for entry in told[:MOST_ENTRIES]:
        if not isinstance(entry, dict) or not isinstance(entry.get("identifier"), str):
            continue
        identifier = text(entry["identifier"])
        if entry.get("_removed") is True:
            after.pop(identifier, None)
        elif identifier in after or len(after) < MOST_ENTRIES:
            codes = {"reason": codes[0]} if REASON in kept and (codes := _reasons(entry.get("reasons"))) else {}
            texts = {key: text(entry[key]) for key in kept if key != REASON and isinstance(entry.get(key), str)}
            after[identifier] = texts | codes
    return after


def _declarations(before: dict[str, dict[str, Any]], told: Any) -> dict[str, dict[str, Any]]:
    """What became of each declaration. Whether a report lists all of them or only what changed nobody says [?]: what it
    does not mention stays, and counts as long as the portal still declares it (``became``)."""
    after = dict(before)
    for kind in _KINDS if isinstance(told, dict) else ():
        entries = told.get(kind)
        for entry in entries[:MOST_ENTRIES] if isinstance(entries, list) else ():
            if not isinstance(entry, dict) or not isinstance(entry.get("identifier"), str):
                continue
            identifier = text(entry["identifier"])
            if entry.get("_removed") is True:
                after.pop(identifier, None)
            elif identifier in after or len(after) < MOST_ENTRIES:
                token, valid = entry.get("server-token"), entry.get("valid")
                after[identifier] = {
                    "token": text(token)[:64] if isinstance(token, str) else "",
                    "active": entry.get("active") is True,
                    "valid": valid if isinstance(valid, str) and valid in VALID else "unknown",
                    "reasons": _reasons(entry.get("reasons")),
                }
    return after


def _reasons(told: Any) -> list[str]:
    """Apple's codes; what it says beside them is free text, which may name anything."""
    found = told if isinstance(told, list) else []
    codes = (each.get("code") for each in found[:MOST_REASONS] if isinstance(each, dict))
    return [code for code in codes if isinstance(code, str) and _A_CODE.fullmatch(code)]


def text(value: str) -> str:
    """One value as it is kept: what can be printed."""
    return "".join(filter(str.isprintable, value[: 2 * LONGEST]))[:LONGEST]
