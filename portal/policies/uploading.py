"""Parts out of an uploaded profile: with names of their own, so that the same file in two policies never clashes."""

import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

from portal.policies import catalogue
from portal.policies.content import MERGED, PASSCODE, REFERS, Part

ENVELOPE = {"PayloadType", "PayloadVersion", "PayloadIdentifier", "PayloadUUID", "PayloadOrganization",
            "PayloadDescription", "PayloadEnabled"}  # fmt: skip
"""Keys around each payload that are written anew."""
OF_A_PASSCODE = ("forcePIN", "maxInactivity")
"""What user enrollment makes something of."""


class UuidTwice(Exception):
    """Two payloads have the same PayloadUUID: which one a reference means cannot be told."""


def parts_of(profile: Mapping[str, Any]) -> list[Part]:
    """The parts of a profile that was checked; references by UUID follow the new ones. Raises UuidTwice."""
    payloads = profile["PayloadContent"]
    told = [str(each["PayloadUUID"]).casefold() for each in payloads if each.get("PayloadUUID")]
    if any(count > 1 for count in Counter(told).values()):
        raise UuidTwice
    fresh = {each: str(uuid.uuid4()).upper() for each in told}
    return [_part(each, fresh) for each in payloads]


def _part(payload: Mapping[str, Any], fresh: Mapping[str, str]) -> Part:
    kind = payload["PayloadType"]
    known = catalogue.load().payloads[kind].keys
    own = {key: value for key, value in payload.items() if key not in ENVELOPE or key in known}
    if kind in MERGED:
        wanted = OF_A_PASSCODE if kind == PASSCODE else known
        own = {key: value for key, value in own.items() if key in wanted}
    name = fresh.get(str(payload.get("PayloadUUID", "")).casefold()) or str(uuid.uuid4()).upper()
    return Part(name, kind, {key: _follow(str(key), value, fresh) for key, value in own.items()})


def _follow(key: str, value: Any, fresh: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _follow(str(name), each, fresh) for name, each in value.items()}
    if isinstance(value, list):
        return [_follow(key, each, fresh) for each in value]
    return fresh.get(value.casefold(), value) if isinstance(value, str) and REFERS.search(key) else value
