"""Parts out of an uploaded profile: with names of their own, so that the same file in two policies never clashes."""

import uuid
from collections.abc import Mapping
from typing import Any

from portal.policies import catalogue
from portal.policies.content import Part

ENVELOPE = {"PayloadType", "PayloadVersion", "PayloadIdentifier", "PayloadUUID", "PayloadOrganization",
            "PayloadDescription", "PayloadEnabled"}  # fmt: skip
"""Keys around each payload that are written anew."""


def parts_of(profile: Mapping[str, Any]) -> list[Part]:
    """The parts of a profile that was checked; references by UUID follow the new ones."""
    payloads = profile["PayloadContent"]
    fresh = {str(each.get("PayloadUUID", "")).casefold(): str(uuid.uuid4()).upper() for each in payloads}
    found = []
    for each in payloads:
        known = catalogue.load().payloads[each["PayloadType"]].keys
        own = {key: value for key, value in each.items() if key not in ENVELOPE or key in known}
        name = fresh[str(each.get("PayloadUUID", "")).casefold()]
        found.append(Part(name, each["PayloadType"], {key: _follow(value, fresh) for key, value in own.items()}))
    return found


def _follow(value: Any, fresh: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _follow(each, fresh) for key, each in value.items()}
    if isinstance(value, list):
        return [_follow(each, fresh) for each in value]
    return fresh.get(value.casefold(), value) if isinstance(value, str) and value else value
