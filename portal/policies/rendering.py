"""A profile out of parts: the property list that a device installs."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from portal.policies.content import PASSCODE, RESTRICTIONS, Part, is_secret
from portal.policies.variables import Recipient, fill

_OURS = uuid.UUID("6f1bb6a0-7c2e-4d0b-9a53-0c4b1f5b8d21")
"""Where the UUIDs begin of what has none of its own: the same identifier has the same one for ever."""


def profile(identifier: str, name: str, organization: str, parts: Sequence[Part]) -> dict[str, Any]:
    """The profile of these parts. Its identifier and UUIDs stay, so that a new content replaces the old one."""
    return {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": identifier,
        "PayloadUUID": _uuid(identifier),
        "PayloadDisplayName": name,
        "PayloadOrganization": organization,
        "PayloadContent": [_payload(identifier, each) for each in parts],
    }


def filled(parts: Sequence[Part], recipient: Recipient) -> list[Part]:
    """The parts with what of the person stands in them."""
    return [Part(each.uuid, each.type, fill(each.type, each.values, recipient, is_secret)) for each in parts]


def restrictions(identifier: str, values: Mapping[str, Any]) -> Part:
    """The merged Restrictions as a part."""
    return Part(_uuid(f"{identifier}.{RESTRICTIONS}"), RESTRICTIONS, values)


def passcode(identifier: str, minutes: int | None) -> Part:
    """The merged passcode as a part, for devices that know no declarations."""
    values = {"forcePIN": True} | ({"maxInactivity": minutes} if minutes else {})
    return Part(_uuid(f"{identifier}.{PASSCODE}"), PASSCODE, values)


def _payload(identifier: str, part: Part) -> dict[str, Any]:
    return {
        **part.values,
        "PayloadType": part.type,
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{identifier}.{part.uuid}",
        "PayloadUUID": part.uuid,
        "PayloadDisplayName": str(part.values.get("PayloadDisplayName") or part.title),
    }


def _uuid(name: str) -> str:
    return str(uuid.uuid5(_OURS, name)).upper()
