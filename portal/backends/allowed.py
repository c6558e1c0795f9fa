"""What user enrollment allows, from ``user_enrollment.toml``: refused here, in code, not hidden in a page."""

import tomllib
from pathlib import Path
from typing import Any

from portal.backends.base import Order
from portal.enrollment.errors import CommandForbidden

_FACTS = tomllib.loads((Path(__file__).parent / "user_enrollment.toml").read_text("utf-8"))

COMMANDS = frozenset(_FACTS["commands"])
QUERIES = frozenset(_FACTS["device_information"])
SETTINGS_ITEMS = frozenset(_FACTS["settings_items"])
ASKED_QUERIES = tuple(_FACTS["asked"])
IDENTIFIERS = frozenset(_FACTS["identifiers"])


def check(order: Order) -> None:
    """Raises CommandForbidden unless a user-enrolled iPhone would obey ``order``."""
    if order.request_type not in COMMANDS:
        raise CommandForbidden(order.request_type)
    if order.request_type == "DeviceInformation":
        refused = set(order.keys.get("Queries") or ["(all)"]) - QUERIES
    elif order.request_type == "Settings":
        refused = {item.get("Item") for item in order.keys.get("Settings", [])} - SETTINGS_ITEMS
    elif order.request_type == "InstallApplication":
        refused = {"ChangeManagementState"} & set(order.keys)
    elif order.request_type == "DeviceLock":
        refused = {"PIN"} & set(order.keys)
    else:
        refused = set()
    if refused:
        raise CommandForbidden(f"{order.request_type}: {', '.join(sorted(map(str, refused)))}")


def without_identifiers(value: Any) -> Any:
    """``value`` without any hardware identifier, number or location, at any depth: nothing of it is ever stored."""
    if isinstance(value, dict):
        return {key: without_identifiers(child) for key, child in value.items() if key not in IDENTIFIERS}
    if isinstance(value, list):
        return [without_identifiers(child) for child in value]
    return value
