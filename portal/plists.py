"""Reading property lists from devices: XML only, bounded in size and depth, no entities."""

import plistlib
from typing import Any

DEEPEST = 32
MOST_NODES = 50_000


class BadPlist(Exception):
    """The body is not a property list that a device would send."""


def read(body: bytes) -> dict[str, Any]:
    """The dictionary in ``body``. Raises BadPlist. plistlib itself refuses entity declarations."""
    try:
        value = plistlib.loads(body, fmt=plistlib.FMT_XML)
    except Exception as error:  # plistlib lets many kinds through: expat's, ValueError, IndexError, AttributeError...
        raise BadPlist("not an XML property list") from error
    if not isinstance(value, dict):
        raise BadPlist("not a dictionary")
    _check_bounds(value)
    return value


def _check_bounds(value: Any) -> None:
    pending, nodes = [(value, 1)], 0
    while pending:
        current, depth = pending.pop()
        nodes += 1
        if depth > DEEPEST or nodes > MOST_NODES:
            raise BadPlist("too deep or too large")
        if isinstance(current, dict):
            pending.extend((child, depth + 1) for child in current.values())
        elif isinstance(current, list):
            pending.extend((child, depth + 1) for child in current)


def text(message: dict[str, Any], key: str, longest: int = 128) -> str | None:
    """The string under ``key``, None if it is missing. Raises BadPlist for anything else."""
    value = message.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value or len(value) > longest or not value.isprintable():
        raise BadPlist(f"{key} is not a usable string")
    return value
